"""Contrastive activation addition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..data import ContrastItem
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import GivenReadout, difference_of_means, read_contrast
from .kinds import method


@method("caa", takes="items")
def caa(
    model: Model,
    items: Iterable[ContrastItem],
    *,
    layer: int | Sequence[int],
    readout: GivenReadout = "answer",
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
    return difference_of_means(contrast, "caa")
