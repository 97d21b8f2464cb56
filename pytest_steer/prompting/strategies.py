"""Hypothesis strategies over contexts and prompts. Ordinary strategies: they compose, shrink and print."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ..core import registry
from ..core.errors import DataError
from ..data import ContrastItem, Items, as_items
from .axes.noise import Noise
from .contexts import Context
from .kinds import Axis, axis_of, known_axes

Values = Sequence[Any] | st.SearchStrategy[Any]


@dataclass(frozen=True)
class Prompt:
    """An item in a context. Pass ``[prompt.item]`` and ``prompt.context`` to any measure."""

    item: ContrastItem
    context: Context


def contexts(
    *, axes: Iterable[Axis] = (), examples: Iterable[ContrastItem] | None = None, **values: Values
) -> st.SearchStrategy[Context]:
    """Contexts drawn from the given values of each axis. An axis that is not named stays as given.

    ``contexts(option_order=["as_given", "swapped"], filler=st.integers(0, 20))``: the values of an axis are a list or a
    Hypothesis strategy of the values that :class:`Context` takes. Each axis shrinks by itself: a list towards "as given" if it
    holds that, then towards less (filler, history, few-shot examples, noise) or towards its first value; a strategy as usual.

    Args:
        axes: axes that are drawn from their own values, and "as given" too.
        examples: the items that few-shot examples are drawn from.

    Raises:
        DataError: an unknown axis, an axis without values, a value that its axis does not have, ``few_shot`` without examples.
    """
    user_defined = tuple(axes)
    for axis in user_defined:
        if not isinstance(axis, Axis):
            raise DataError(f"contexts: axes takes Axis objects, not {axis!r}")
    named = {axis_of(name, known_axes()): given for name, given in values.items()}
    known = known_axes()
    Context(dict.fromkeys((*user_defined, *named)))  # refuses two axes of one name
    pool = None if examples is None else as_items(examples)
    # All of ours are drawn, so that the draws do not depend on which of them are named. Others are drawn if they are named.
    ours = [axis for axis in known.values() if registry.home_of("axis", axis.name).startswith(f"{__package__}.")]
    drawn = {axis: _listed(axis, named.pop(axis, [axis.as_given]), pool) for axis in ours}
    others = {axis: _listed(axis, named[axis], pool) for axis in known.values() if axis in named}
    others |= {axis: _user_defined(axis) for axis in user_defined}
    both = st.tuples(st.fixed_dictionaries(drawn), st.fixed_dictionaries(others))
    return both.map(lambda values: Context(values[0] | values[1], examples=pool))


def every_context(
    values: Mapping[str, Values], *, examples: Iterable[ContrastItem] | None = None, most: int
) -> list[Context] | None:
    """Each combination of the listed values and "as given", those with fewer axes first; None if there are more than ``most``.

    Also None if an axis has a strategy in the place of a list.

    Raises:
        DataError: as :func:`contexts`.
    """
    known, pool = known_axes(), None if examples is None else as_items(examples)
    choices: dict[Axis, list[Any]] = {}
    for name, given in values.items():
        if isinstance(given, st.SearchStrategy):
            return None
        axis = axis_of(name, known)
        choices[axis] = list(dict.fromkeys([axis.as_given, *(axis.checked(value) for value in given)]))
    if math.prod(map(len, choices.values())) > most:
        return None
    made = [Context(dict(zip(choices, each, strict=True)), examples=pool) for each in itertools.product(*choices.values())]
    return sorted(made, key=lambda context: len(context.to_dict()))


def as_space(given: st.SearchStrategy[Context] | Mapping[str, Any]) -> st.SearchStrategy[Context]:
    """A strategy of contexts as it is, or that of axes with their values.

    Raises:
        DataError: it is neither.
    """
    if isinstance(given, st.SearchStrategy):
        return given
    if not isinstance(given, Mapping):
        raise DataError("contexts are axes with their values, or a strategy: write contexts={'system': ['', 'Be brief.']}")
    if not given:
        raise DataError("there are no contexts to search: write contexts={'system': ['', 'Be brief.']}")
    return contexts(**given)


def prompts(items: Iterable[ContrastItem], context: st.SearchStrategy[Context] | None = None) -> st.SearchStrategy[Prompt]:
    """Items of a data set, each in a drawn context (by default as given). They shrink towards the first item.

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
    """Noise with each rate up to a maximum, in whole per cent. It shrinks towards none, kind by kind, and towards seed 0.

    (A strategy of floats would shrink towards simple floats, and 0.5 is simpler than 0.11.)

    Args:
        spacing, case, punctuation, typos: the largest rate of each kind.
        seeds: the number of seeds to draw from.

    Raises:
        DataError: a rate that is not between 0 and 1.
    """
    most = Noise(spacing=spacing, case=case, punctuation=punctuation, typos=typos)
    rates = {name: st.integers(0, round(100 * rate)) for name, rate in most.to_dict().items()}

    def noise(drawn: dict[str, int]) -> Noise:
        return Noise(seed=drawn["seed"], **{name: drawn[name] / 100 for name in rates})

    return st.fixed_dictionaries({**rates, "seed": st.integers(0, seeds - 1)}).map(noise)


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


def _user_defined(axis: Axis) -> st.SearchStrategy[Any]:
    as_given: st.SearchStrategy[Any] = st.just(axis.as_given)
    if isinstance(axis.values, st.SearchStrategy):
        return as_given | axis.values
    if not axis.choices:
        raise DataError(f"contexts: the axis {axis.name} lists no values: name some, {axis.name}=[...]")
    return st.sampled_from([axis.as_given, *(value for value in axis.choices if value != axis.as_given)])
