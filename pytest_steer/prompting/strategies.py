"""Hypothesis strategies over contexts and prompts. Ordinary strategies: they compose, shrink and print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from .. import registry
from ..data import ContrastItem, Items, as_items
from ..errors import DataError
from .axes.noise import Noise
from .contexts import Context
from .kinds import Axis, axis_of, known_axes

Values = Sequence[Any] | st.SearchStrategy[Any]


@dataclass(frozen=True)
class Prompt:
    """An item in a context; hand ``[prompt.item]`` and ``prompt.context`` to any measure."""

    item: ContrastItem
    context: Context


def contexts(
    *, axes: Iterable[Axis] = (), examples: Iterable[ContrastItem] | None = None, **values: Values
) -> st.SearchStrategy[Context]:
    """Contexts drawn from the given values of each axis; an axis that is not named stays as given.

    ``contexts(option_order=["as_given", "swapped"], filler=st.integers(0, 20))``: the values of an axis are a list or a
    Hypothesis strategy, and are those of :class:`Context`. Each axis shrinks by itself: a list towards "as given" where that is in
    it, then towards less (filler, history, few-shot examples, noise) or towards the first one of the list; a strategy as it does
    everywhere.

    Args:
        axes: axes that are drawn from their own values, and "as given" too.
        examples: the items that few-shot examples are drawn from.

    Raises:
        DataError: an unknown axis, an axis that has no values, or one that it does not have; ``few_shot`` without examples.
    """
    known, of_own = known_axes(), tuple(axes)
    for axis in of_own:
        if not isinstance(axis, Axis):
            raise DataError(f"contexts: axes takes Axis objects, not {axis!r}")
    named = {axis_of(name, known): given for name, given in values.items()}
    Context(dict.fromkeys((*of_own, *named)))  # refuses two axes of one name
    pool = None if examples is None else as_items(examples)
    # All of ours are drawn, so that what else is drawn does not hang on which of them are named; of others only what is named.
    ours = [axis for axis in known.values() if registry.home_of("axis", axis.name).startswith(f"{__package__}.")]
    drawn = {axis: _listed(axis, named.pop(axis, [axis.as_given]), pool) for axis in ours}
    others = {axis: _listed(axis, named[axis], pool) for axis in known.values() if axis in named}
    others |= {axis: _of_own(axis) for axis in of_own}
    return st.tuples(st.fixed_dictionaries(drawn), st.fixed_dictionaries(others)).map(_with(pool))


def prompts(items: Iterable[ContrastItem], context: st.SearchStrategy[Context] | None = None) -> st.SearchStrategy[Prompt]:
    """Items of a data set, each in a drawn context (as given if none is named); shrinks towards the first item.

    Raises:
        DataError: the data set is empty.
    """
    data = as_items(items)
    if not data:
        raise DataError("prompts: the data set is empty")
    return st.builds(Prompt, st.sampled_from(list(data)), context if context is not None else st.just(Context()))


def noises(
    *, spacing: float = 0.0, case: float = 0.0, punctuation: float = 0.0, typos: float = 0.0, seeds: int = 4
) -> st.SearchStrategy[Noise]:
    """Noise with each rate up to a most, in whole per cent; shrinks towards none, kind by kind, and towards seed 0.

    (A strategy of floats shrinks towards simple ones, and 0.5 is a simpler float than 0.11.)

    Args:
        seeds: how many seeds there are to draw from.

    Raises:
        DataError: a most that is not between 0 and 1.
    """
    most = Noise(spacing=spacing, case=case, punctuation=punctuation, typos=typos)
    rates = {name: st.integers(0, round(100 * rate)) for name, rate in most.to_dict().items()}
    return st.fixed_dictionaries({**rates, "seed": st.integers(0, seeds - 1)}).map(_noise)


def _noise(drawn: dict[str, int]) -> Noise:
    return Noise(seed=drawn["seed"], **{name: rate / 100 for name, rate in drawn.items() if name != "seed"})


def _with(pool: Items | None) -> Callable[[tuple[dict[Axis, Any], dict[Axis, Any]]], Context]:
    def context(drawn: tuple[dict[Axis, Any], dict[Axis, Any]]) -> Context:
        return Context(drawn[0] | drawn[1], examples=pool)  # drops the examples where there are no shots

    return context


def _listed(axis: Axis, values: Values, pool: Items | None) -> st.SearchStrategy[Any]:
    if isinstance(values, st.SearchStrategy):
        return values
    if isinstance(values, str) or not isinstance(values, Iterable) or not (listed := list(values)):
        raise DataError(f"contexts: {axis.name} takes a list with at least one value, or a strategy, not {values!r}")
    read = list(dict.fromkeys(axis.checked(value) for value in listed))
    if axis.draws_examples and pool is None and read != [axis.as_given]:
        raise DataError(f"contexts: {axis.name} needs items to draw examples from: examples=read_items(...)")
    others = sorted((value for value in read if value != axis.as_given), key=axis.size)
    return st.sampled_from([axis.as_given] * (len(others) < len(read)) + others)


def _of_own(axis: Axis) -> st.SearchStrategy[Any]:
    as_given: st.SearchStrategy[Any] = st.just(axis.as_given)
    if isinstance(axis.values, st.SearchStrategy):
        return as_given | axis.values
    if not axis.choices:
        raise DataError(f"contexts: the axis {axis.name} lists no values of its own: name some, {axis.name}=[...]")
    return st.sampled_from([axis.as_given, *(value for value in axis.choices if value != axis.as_given)])
