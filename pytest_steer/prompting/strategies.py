"""Hypothesis strategies over contexts and prompts. Ordinary strategies: they compose, shrink and print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ..data import ContrastItem, Items, as_items
from ..errors import DataError
from .axes import Axis, Noise
from .context_values import AS_GIVEN_WORD, READERS
from .contexts import Context

Values = Sequence[Any] | st.SearchStrategy[Any]

# Axes whose values have a size, by which a list of them is ordered: shorter is simpler.
_SIZES: dict[str, Callable[[Any], float]] = {
    "filler": float,
    "few_shot": float,
    "history": len,
    "noise": lambda noise: 0 if noise is None else sum(v for name, v in noise.to_dict().items() if name != "seed"),
}


@dataclass(frozen=True)
class Prompt:
    """An item in a context; hand ``[prompt.item]`` and ``prompt.context`` to any measure."""

    item: ContrastItem
    context: Context


def contexts(
    *,
    system: Values = (None,),
    template: Values = (None,),
    option_order: Values = (AS_GIVEN_WORD,),
    option_labels: Values = (AS_GIVEN_WORD,),
    wording: Values = (None,),
    distractor: Values = (None,),
    filler: Values = (0,),
    history: Values = ((),),
    few_shot: Values = (0,),
    noise: Values = (None,),
    opening: Values = (None,),
    thinking: Values = (AS_GIVEN_WORD,),
    date: Values = (None,),
    axes: Iterable[Axis] = (),
    examples: Iterable[ContrastItem] | None = None,
) -> st.SearchStrategy[Context]:
    """Contexts drawn from the given values of each axis; an axis that is not named stays as given.

    The values of an axis are a list or a Hypothesis strategy, and are those of :class:`Context`. Each axis shrinks by
    itself: a list towards "as given" where that is in it, then towards less (filler, history, few-shot examples, noise) or
    towards the first one of the list; a strategy as it does everywhere.

    Args:
        axes: axes of one's own; each draws its own values, and "as given" too.
        examples: the items that few-shot examples are drawn from.

    Raises:
        DataError: an axis has no values, or one that it does not have; ``few_shot`` without examples.
    """
    given = {
        "system": system, "template": template, "option_order": option_order, "option_labels": option_labels,
        "wording": wording, "distractor": distractor, "filler": filler, "history": history, "few_shot": few_shot,
        "noise": noise, "opening": opening, "thinking": thinking, "date": date,
    }  # fmt: skip
    own = tuple(axes)
    for axis in own:
        if not isinstance(axis, Axis):
            raise DataError(f"contexts: axes takes Axis objects, not {axis!r}")
    Context(own=dict.fromkeys(own))  # two of one name, or the name of another axis
    pool = None if examples is None else as_items(examples)
    drawn = {name: _axis(name, values, pool) for name, values in given.items()}
    of_own = {axis: _own(axis) for axis in own}
    return st.tuples(st.fixed_dictionaries(drawn), st.fixed_dictionaries(of_own)).map(_together(pool))


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


def _together(pool: Items | None) -> Callable[[tuple[dict[str, Any], dict[Axis, Any]]], Context]:
    def context(drawn: tuple[dict[str, Any], dict[Axis, Any]]) -> Context:
        values, own = drawn
        return Context(**values, own=own, examples=pool)  # drops the examples where there are no shots

    return context


def _axis(name: str, values: Values, pool: Items | None) -> st.SearchStrategy[Any]:
    if isinstance(values, st.SearchStrategy):
        return values
    if isinstance(values, str) or not isinstance(values, Iterable) or not (listed := list(values)):
        raise DataError(f"contexts: {name} takes a list with at least one value, or a strategy, not {values!r}")
    read = list(dict.fromkeys(READERS[name](value) for value in listed))
    if name == "few_shot" and any(read) and pool is None:
        raise DataError("contexts: few_shot needs items to draw examples from: examples=read_items(...)")
    as_given, size = READERS[name](None), _SIZES.get(name, _same_size)
    return st.sampled_from(sorted(read, key=lambda value: (value != as_given, size(value))))


def _same_size(value: Any) -> float:
    return 0.0


def _own(axis: Axis) -> st.SearchStrategy[Any]:
    as_given: st.SearchStrategy[Any] = st.just(AS_GIVEN_WORD)
    if isinstance(axis.values, st.SearchStrategy):
        return as_given | axis.values
    listed = list(axis.values)
    for value in listed:
        Context(own={axis: value})
    return st.sampled_from([AS_GIVEN_WORD, *(value for value in listed if value != AS_GIVEN_WORD)])
