"""Mean-difference vectors: the mean activation of one class minus that of the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..data import ContrastItem, as_items
from ..model import Model
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import AnyReadout, Data, GivenReadout, Readout, difference_of_means, read_contrast
from .kinds import method


@checks_arguments
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
    data: Data = as_items(positive_texts) if negative_texts is None else (positive_texts, negative_texts)  # type: ignore
    return difference_of_means(read_contrast(model, data, layer=layer, readout=readout, context=context), "mean_difference")


@method("mean_difference", takes="contrast")
def of_two_sides(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: GivenReadout = "mean", context: Context = AS_GIVEN
) -> SteeringVector:
    """Mean of a readout over the positive side minus that over the negative side, of items or of texts."""
    return difference_of_means(read_contrast(model, data, layer=layer, readout=readout, context=context), "mean_difference")


@method("mean_matching", takes="contrast")
def mean_matching(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: AnyReadout = None, context: Context = AS_GIVEN
) -> SteeringVector:
    """h -> h + mu_target - mu_source (Singh et al. 2024, arXiv 2402.09631): W = I, so it is a vector to be added.

    The target are the positive (matching) activations, the source the negative ones. Raises what ``read_contrast`` raises.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    return difference_of_means(contrast, "mean_matching")
