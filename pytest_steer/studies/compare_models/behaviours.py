"""What two models are compared on: the vectors and items that claim files name, and the contexts in which they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...data import Items
from ...errors import DataError
from ...files import BrokenClaim, ClaimSpec, Suite
from ...files.training import holds_tasks
from ...prompting import AS_GIVEN, Context, exchange_labels
from ...prompting.kinds import axis_of, known_axes, plain
from ...prompting.options import find_options, swap_options
from ..compare_methods.plan import behaviour_name, further_name, method_name

BASE = "as given"
SWAPPED, EXCHANGED, BOTH = "options swapped", "labels exchanged", "options swapped, labels exchanged"


@dataclass(frozen=True)
class Behaviour:
    """A vector on a behaviour's items, as the first claim about both says.

    Attributes:
        name: the behaviour's, with the method's where a file has several.
        contexts: the shifted contexts that the file names, by name; each differs from as given on one axis, or as ``generalizes`` says.
    """

    name: str
    suite: Suite
    claim: ClaimSpec
    contexts: Mapping[str, Context]


def behaviours_of(suites: Sequence[Suite]) -> list[Behaviour]:
    """Each vector on each data set of contrast items once, in the order of the files.

    Raises:
        DataError: there is none.
    """
    first: dict[tuple[object, ...], tuple[Suite, ClaimSpec]] = {}
    for suite in suites:
        for entry in suite.entries:
            if isinstance(entry, BrokenClaim) or entry.test is None or holds_tasks(entry.test, entry.columns):
                continue
            vector = entry.vector
            first.setdefault((vector.key, vector.positions, vector.include_first, entry.test), (suite, entry))
    if not first:
        raise DataError("no claim has contrast items (data.test), so there are no slopes to compare")
    found, names = [], [behaviour_name(claim) for _, claim in first.values()]
    used: dict[str, list[float]] = {}
    for (suite, claim), name in zip(first.values(), names, strict=True):
        full = name if names.count(name) == 1 else f"{name} ({method_name(claim)})"
        earlier = used.setdefault(full, [])
        found.append(Behaviour(further_name(full, claim.multiplier, earlier), suite, claim, contexts_of(suite)))
        earlier.append(claim.multiplier)
    return found


def contexts_of(suite: Suite) -> dict[str, Context]:
    """The shifted contexts of a file: each value of ``contexts`` by itself, and those that ``generalizes`` names.

    Values that need demonstrations are left out: other items would be spent on them.
    """
    known = known_axes()
    found: dict[str, Context] = {}
    for name, values in suite.contexts.items():
        axis = axis_of(name, known)
        if axis.draws_examples or not isinstance(values, (list, tuple)):
            continue
        for value in values:
            context = Context({axis: value})
            if context != AS_GIVEN:
                found.setdefault(f"{name}: {_short(plain(axis.checked(value)))}", context)
    for entry in suite.entries:
        named = getattr(entry, "params", {}).get("contexts") if getattr(entry, "kind", "") else None
        for name, values in (named or {}).items():
            if isinstance(values, Mapping) and not any(axis_of(one, known).draws_examples for one in values):
                found.setdefault(name, Context.from_dict(values))
    first: dict[Context, str] = {}
    for name, context in found.items():
        first.setdefault(context, name)
    return {name: context for context, name in first.items()}


def variants_of(items: Items) -> dict[str, Items]:
    """The same items with their two options swapped, with the labels exchanged, and with both: a letter and its position are then not
    the same thing. Empty unless every item has two lettered options."""
    try:
        if not all(item.is_lettered for item in items):
            return {}
        exchanged = [exchange_labels(item) for item in items]
        return {
            SWAPPED: Items((swap_options(item) for item in items), items.source),
            EXCHANGED: Items(exchanged, items.source),
            BOTH: Items((swap_options(item) for item in exchanged), items.source),
        }
    except DataError:
        return {}


def position_of(item: Any) -> int | None:
    """Where the option of the matching answer stands: 1 for the first; None for an item without lettered options."""
    if not item.is_lettered:
        return None
    labels = [option["label"] for option in find_options(item.question)]
    own = item.matching[0].strip()[1]
    return labels.index(own) + 1 if own in labels else None


def in_context(context: Context, base: Context) -> Context:
    """A shifted context, with what the claim says about how its items are asked."""
    return replace(context, answers=base.answers) if not base.values else context.over(base)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 30 else f"{text[:14]}...{text[-13:]}"


def each_setting(behaviour: Behaviour, items: Items, base: Context) -> Iterator[tuple[str, Items, Context, bool]]:
    """(name, items, context, whether it is a shifted context) of all that is asked about a behaviour."""
    yield BASE, items, base, False
    for name, variant in variants_of(items).items():
        yield name, variant, base, False
    for name, context in behaviour.contexts.items():
        yield name, items, in_context(context, base), True
