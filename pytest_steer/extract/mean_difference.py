"""Mean-difference vectors: the mean activation of one class minus that of the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..data import ContrastItem, as_items
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import Contrast, Data, read_contrast
from .readouts import ItemReadout, Readout
from .reliability import vouched


def caa(
    model: Model,
    items: Iterable[ContrastItem],
    *,
    layer: int | Sequence[int],
    readout: ItemReadout = "answer",
    context: Context = AS_GIVEN,
) -> SteeringVector:
    """Contrastive activation addition (Panickssery et al. 2023, arXiv 2312.06681, section 3).

    For every item the prompt is completed once with the matching and once with the not matching answer; the vector at
    each layer is the mean over items of residual(matching) - residual(not matching). Of several alternative answers
    the first one is used.

    Args:
        layer: decoder block(s), 0-based, whose output is read; all in one pass.
        readout: ``answer``, as in the paper: the last token of the answer as it is scored, the letter of "(A)" (Tan et
            al. 2024 read the same place and call it token -2). ``last``: the last token of the whole written answer, the
            bracket of "(A)". ``mean``: over the tokens of the written answer.

    Raises:
        DataError: no items, an unknown readout, or an item that cannot be tokenised.
        VectorError: a layer the model does not have.

    Warns:
        SteerWarning: one answer letter is the matching one in more than 60 % of the items, so that the vector is
            partly a vector for that letter; or the pairs agree little with it (see ``reliability``).
    """
    contrast = read_contrast(model, items, layer=layer, readout=readout, context=context)
    return _means(contrast, "caa")


def mean_difference(
    model: Model,
    positive_texts: Sequence[str] | Iterable[ContrastItem],
    negative_texts: Sequence[str] | None = None,
    *,
    layer: int | Sequence[int],
    readout: Readout = "mean",
    context: Context = AS_GIVEN,
) -> SteeringVector:
    """Mean of a readout of the residual stream over the positive side minus that over the negative side.

    Texts are read as they are, without a chat template. The first position is left out: it is an attention sink
    whose norm would drown everything else in the mean.

    Args:
        positive_texts / negative_texts: two lists of texts. Or contrast items, and no second list: the sides are each item's prompt completed
            with its first matching and with its first not matching answer, as for ``caa``.
        layer: decoder block(s), 0-based, whose output is read; all in one pass.
        readout: of texts ``mean`` over the tokens but the first, or the ``last`` token. Of items ``mean`` over the tokens of the
            written answer, ``last``, or ``answer``: see ``caa``.
        context: how items are asked; texts have none.

    Raises:
        DataError: one side is empty, a text has fewer than two tokens, an unknown readout, or one list of texts alone.
        TokenBoundaryError: an answer changes the tokens of its prompt.
        VectorError: a layer the model does not have.

    Warns:
        SteerWarning: the two sides are hard to tell apart along the vector (see ``reliability``); of items, one answer letter is
            the matching one in more than 60 % of them.
    """
    data: Data
    if negative_texts is None:
        data = as_items(positive_texts)  # type: ignore[arg-type]  # texts are refused there
    else:
        data = (positive_texts, negative_texts)  # type: ignore[assignment]
    return _means(read_contrast(model, data, layer=layer, readout=readout, context=context), "mean_difference")


def _means(contrast: Contrast, method: str) -> SteeringVector:
    directions = {at: contrast.mean_difference(at).float() for at in contrast.layers}
    return vouched(contrast, SteeringVector(directions, {"method": method, **contrast.record}), stacklevel=4)
