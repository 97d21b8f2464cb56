"""Hypothesis strategies over contexts and prompts. Ordinary strategies: they compose, shrink and print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from ..errors import DataError
from .contexts import Context, OptionOrder
from .items import ContrastItem, as_items


@dataclass(frozen=True)
class Prompt:
    """An item in a context; hand ``[prompt.item]`` and ``prompt.context`` to any measure."""

    item: ContrastItem
    context: Context


def contexts(
    *,
    system: Sequence[str | None] = (None,),
    option_order: Sequence[OptionOrder] = ("as_given",),
) -> st.SearchStrategy[Context]:
    """Contexts drawn from the given values of each axis; each axis shrinks towards its first value.

    Raises:
        DataError: an axis has no values.
    """
    for name, values in (("system", system), ("option_order", option_order)):
        if isinstance(values, str) or not values:
            raise DataError(f"contexts: {name} takes a list with at least one value, not {values!r}")
    return st.builds(Context, system=st.sampled_from(list(system)), option_order=st.sampled_from(list(option_order)))


def prompts(items: Iterable[ContrastItem], context: st.SearchStrategy[Context] | None = None) -> st.SearchStrategy[Prompt]:
    """Items of a data set, each in a drawn context (as given if none is named); shrinks towards the first item.

    Raises:
        DataError: the data set is empty.
    """
    data = as_items(items)
    if not data:
        raise DataError("prompts: the data set is empty")
    return st.builds(Prompt, st.sampled_from(list(data)), context if context is not None else st.just(Context()))
