"""A search of contexts in words: where the claim was judged, what was tried, what makes the difference."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from ..core.block import Block, Estimate, Intervals, Line, Table
from ..data import ContrastItem
from ..data.likeness import normal_form
from ..errors import DataError
from ..evidence import Direction, Evidence, Verdict
from ..prompting import Context, PromptFormat, render_item
from . import show
from .numbers import number

MOST_ROWS = 5


def contexts_tried(evidence: Evidence) -> Iterator[Block]:
    """Where it was judged, and what the search did not confirm."""
    details = evidence.details
    yield Line(_judged(evidence))
    if details["tried"] > 1:
        yield Line(_searched(evidence))
    if (suspicion := details["unconfirmed"]) is not None:
        outcome = "kept the promise" if evidence.passed else "do not prove it"
        yield Line(
            f"unconfirmed: {number(suspicion['estimate'])} in {shown_context(suspicion['context'])} on the batch; the items that the "
            f"search did not see {outcome} in the worst context"
        )


def worst_contexts(evidence: Evidence) -> Iterator[Block]:
    """What makes the difference, the worst contexts, and what it took to find them."""
    details = evidence.details
    if details["axes"]:
        first = details["axes"][0]
        means = [f"{show.shorten(_value(row['value']), 30)} {number(row['mean'])}" for row in first["values"]]
        if len(means) > 4:
            means = [*means[:2], "...", *means[-2:]]
        yield Line(
            f"{first['axis']} explains {100 * first['share']:.0f} % of the variation between the {details['unchosen']} randomly drawn contexts "
            f"({', '.join(means)})"
        )
    worst_first = 1 if evidence.direction is Direction.AT_LEAST else -1
    looked_at = sorted(details["contexts"], key=lambda row: worst_first * float(row["estimate"]))
    if len(looked_at) > 1:
        cells = [
            [number(row["estimate"]), show.shorten(shown_context(row["context"]), 100)] for row in looked_at[:MOST_ROWS]
        ]
        yield Table(cells, ["on the batch", "context"], title="the worst contexts")
    rows = [show.estimate_row(one, f"judged: {_named(one['context'])}") for one in details["judged"]]
    shown = f"the worst {_DRAWN} of {len(looked_at)}" if len(looked_at) > _DRAWN else f"all {len(looked_at)}"
    yield Intervals(
        [*rows, *(Estimate(_named(one["context"]), one["estimate"]) for one in looked_at[:_DRAWN])],
        evidence.statistic,
        promised=show.promised_in(evidence),
        title="Contexts",
        about=f"Bars are bounds on items that the search did not see. Dots alone are {shown} contexts of the search, on its batch.",
    )
    count = details["forwards"]
    yield Line(f"scores: {count['computed']:,} computed, {count['saved']:,} more asked for and answered from memory")


def nothing_searched(form: PromptFormat, items: Sequence[ContrastItem], contexts: Sequence[Context]) -> list[str]:
    """A warning if all contexts ask the items as the first one does, but for white space."""
    first, *others = contexts
    if any(_asked(form, item, other) != _asked(form, item, first) for other in others for item in items):
        return []
    what = f"all others tried ({len(others)}) differ from it in white space at most" if others else "no other was tried"
    return [f"nothing was searched but the context as given: {what}. Name axes with values that ask in another way"]


def _asked(form: PromptFormat, item: ContrastItem, context: Context) -> tuple[object, ...]:
    rendered = render_item(item, form, context)
    return normal_form(rendered.prompt), rendered.matching, rendered.not_matching, context.answers


def shown_context(values: dict[str, Any]) -> str:
    """``Context(option_order='swapped')``, or its axes if these values make no context here."""
    try:
        return repr(Context.from_dict(values))
    except DataError:  # axes that are not registered and few-shot examples are known to the run alone
        return f"Context({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def how_to_reproduce(evidence: Evidence) -> str:
    """A command, or outside of pytest an expression, that shows the counterexample again."""
    context = evidence.extra["counterexample"]["context"]
    if evidence.rerun is None:
        return f"assert_holds_in_contexts(..., only=Context.from_dict({context!r}))"
    if "--steer-context" in evidence.rerun:
        return evidence.rerun
    return f"{evidence.rerun} --steer-context {shlex.quote(json.dumps(context, ensure_ascii=False))}"


def _judged(evidence: Evidence) -> str:
    context = shown_context(evidence.details["context"])
    if evidence.verdict is Verdict.FAIL and len(evidence.details["contexts"]) > 1:
        return f"the smallest context that breaks it: {context}" + ("" if evidence.details["context"] else ", as given")
    return f"judged in {context}" + (", the worst context found" if evidence.details["tried"] > 1 else "")


def _searched(evidence: Evidence) -> str:
    details = evidence.details
    worst = details["worst"]
    tried = f"all {details['tried']} contexts tried" if details["exhausted"] else f"searched {details['tried']} contexts"
    missing = "" if evidence.threshold is None else f"; {details['breaking']} of them miss the threshold"
    return f"{tried} on {len(details['batch'])} other items{missing}; as given {number(details['as_given'])}, worst {number(worst['estimate'])}"


def _value(value: Any) -> str:
    if value is None:
        return "as given"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


_DRAWN = 12


def _named(context: dict[str, Any]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in context.items()) or "as given"
