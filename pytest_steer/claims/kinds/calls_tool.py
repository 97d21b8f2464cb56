"""``calls_tool``: under steering, the share of replies that call a tool as promised is at least `share`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from ...core.block import Block, Line
from ...core.errors import DataError, SteerError
from ...core.evidence import Evidence
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.registry import did_you_mean, nearest
from ...data import Dialogue
from ...data.dialogues import name_of
from ...measures.ask import Ask
from ...measures.outcomes import Outcome, Span
from ...measures.tool_calls import PARSERS, Call, Parser, fault_of_arguments, has_own_parsing, holds, own_calls, parser_of
from ...model import Model
from ..asserting import assertion
from ..base import OverReplies
from ..curves import Deployed
from ..kind import claim
from ..measurement import Measurement
from ..rulings import (
    SIDES,
    AcceptedShare,
    Ruling,
    ShareAccepted,
    Side,
    SideName,
    Written,
    accepted,
    share_blocks,
    shares_by_side,
)

CALLED, MALFORMED, NO_CALL, OTHER_TOOL, OTHER_ARGUMENTS = (
    "calls the tool",
    "a malformed call",
    "no call",
    "a call of another tool",
    "other arguments than promised",
)
CUT = "cut inside a call"
Tool = dict[str, Any]
"""A tool as a chat template takes it: JSON with its name and the JSON Schema of its arguments."""
UNNAMED = "calls_tool"
"""The name of a claim that is given none."""


@dataclass(frozen=True)
class Details:
    """The tool, and how many replies of each side came to what."""

    tool: str
    outcomes: dict[SideName, dict[str, int]]
    shares: dict[SideName, AcceptedShare]
    deployed: Deployed


@claim("calls_tool", title="Steered, the model calls a tool", main="share", any_of=("tool", "name"), directed=False)
class CallsTool(OverReplies):
    """The share of replies that hold a well-formed call of the tool `tool` is at least `share`.

    A call counts if its arguments are valid under the tool's own JSON Schema and contain the promised `arguments`. The reply to the last turn
    of each dialogue is read, with the tokenizer's own parsing of responses or with `parser`. A reply that loops, never leaves its block
    of thought or is cut inside a call is undetermined: it counts against a pass and for a fail.

    Attributes:
        prompts: dialogues whose `tools` have the tool.
        name: the claim's name, which stands for `tool` where that is not given.

    Raises:
        SteerError: neither a tool nor a name; a parser or settings of drawing that cannot be used.
    """

    span: ClassVar[Span] = "answer"  # type: ignore[misc]  # outside of which no call counts
    share: Annotated[
        Promise,
        Param("The least share of replies that call the tool.", title="Share of replies", example=0.9, above=0, below=1),
    ]
    tool: Annotated[
        str | None,
        Param(
            "The name of the tool, as the prompts' `tools` give it; without it the claim's `name` is the tool.",
            title="Tool",
            example="search",
            schema={"type": "string", "x-default-key": "name"},
        ),
    ] = None
    arguments: Annotated[
        Mapping[str, Any],
        Param(
            "Arguments that the call has to have, with these values; it may have others.",
            title="Promised arguments",
            example={"query": "weather Rome"},
            schema={"type": "object", "default": {}},
        ),
    ] = field(default_factory=dict)
    parser: Annotated[
        Literal["json", "hermes", "mistral", "llama3_json", "pythonic", "regex"] | None,
        Param(
            "How calls are read where the tokenizer does not say it itself: json (a bare object), hermes (<tool_call>), mistral ([TOOL_CALLS]), "
            "llama3_json, pythonic, or regex, which `pattern` gives.",
            title="Parser of calls",
            example="hermes",
            schema={"enum": [*PARSERS, "regex", None], "default": None},
        ),
    ] = None
    pattern: Annotated[
        str | None,
        Param(
            "With `parser: regex`: a regular expression that finds a call, with the groups name and arguments (JSON).",
            title="Pattern of a call",
            example=r"CALL (?P<name>\w+) (?P<arguments>\{.*\})",
            schema={"type": ["string", "null"], "default": None, "x-regex": True},
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tool is None and self.name == UNNAMED:
            raise SteerError(
                f'{UNNAMED}: nothing names the tool: write name="search", which names the claim too, or tool="search"'
            )
        if self.parser is not None or self.pattern is not None:
            parser_of(self.parser, self.pattern)

    @property
    def promised_tool(self) -> str:
        """The tool; the one that is called as the claim is where none is given."""
        return self.name if self.tool is None else self.tool

    def measure(self, ask: Ask) -> Measurement:
        tools = [self._tool_of(one) for one in self.sampled_prompts.units]
        parser = self._parser(ask.model)
        written = self.write(ask, [0.0, self.subject.multiplier])
        base, steered = ruled = [[*self._rulings(ask.model, parser, written, side, tools)] for side in written.sides]
        order = {"rejected": 0, "undetermined": 1, "accepted": 2}
        how = {"parser": self.parser, "pattern": self.pattern}
        return self.over_replies(
            ask,
            written,
            ruled,
            accepted(steered),
            ShareAccepted(),
            statistic=f"share of replies that call {self.promised_tool!r}",
            worst_first=sorted(
                range(len(steered)), key=lambda at: (order[str(steered[at].outcome)], -order[str(base[at].outcome)])
            ),
            judge={"judge": "calls_tool", "tool": self.promised_tool, "arguments": dict(self.arguments), **how},
            how={"tool": self.promised_tool},
            details=Details(
                self.promised_tool,
                {name: _counted(own) for name, own in zip(SIDES, ruled, strict=True)},
                shares_by_side(ruled, written.clusters, self.confidence),
                Deployed.of(self.subject),
            ),
        )

    def _tool_of(self, dialogue: Dialogue) -> Tool:
        tool = dialogue.tool(self.promised_tool)
        if tool is not None:
            return tool
        if not dialogue.tools:
            raise DataError(f"prompt {dialogue.id}: has no tools: add `tools: [...]`, which the chat template renders")
        names = [name_of(one) for one in dialogue.tools]
        unsaid = self.name.partition("[")[0] == self.promised_tool  # of a matrix, a name has the combination in brackets
        why = f", which is the claim's name: add `tool: {nearest(self.promised_tool, names) or names[0]}`" if unsaid else ""
        raise DataError(
            f"prompt {dialogue.id}: has no tool {self.promised_tool!r}{why}: {did_you_mean(self.promised_tool, names)}"
        )

    def _parser(self, model: Model) -> Parser | None:
        """The named parser, or None for the tokenizer's own."""
        if self.parser is not None:
            return parser_of(self.parser, self.pattern)
        if not has_own_parsing(model):
            raise SteerError(
                "the tokenizer does not say how calls of tools are read (it has no response_template): add `parser:`, one of "
                f"{', '.join(PARSERS)}, or regex with `pattern:`"
            )
        return None

    def _rulings(
        self, model: Model, parser: Parser | None, written: Written, side: Side, tools: Sequence[Tool]
    ) -> Iterable[Ruling]:
        for (prompt, _), turns, outcome in zip(written.ids, side.turns, side.outcomes, strict=True):
            dialogue, reply = written.sample.units[prompt], turns[-1]
            if len(turns) < dialogue.n_replies:  # the conversation ended before
                yield Ruling("undetermined", outcome.why)
                continue
            if parser is None:
                calls = own_calls(model, reply.raw, reply.prompt, [*dialogue.tools])
            else:  # in the answer, or, where there is none to judge, in the whole reply
                calls = parser(outcome.text or ("" if outcome.is_undetermined else reply.text))
            yield self._ruling(calls, tools[prompt], outcome)

    def _ruling(self, calls: Sequence[Call], tool: Tool, outcome: Outcome) -> Ruling:
        """What became of a reply: that of the call that comes nearest to the promise."""
        # One without any words may be a call of special tokens alone.
        if outcome.is_undetermined and (not calls or not outcome.is_empty):
            return Ruling("undetermined", outcome.why)
        if not calls:
            return Ruling("rejected", NO_CALL)
        found = [self._call(call, tool) for call in calls]
        best = min(found, key=lambda one: _ORDER.index(_kind_of(one)))
        if outcome.cut and str(best.why).startswith(MALFORMED):
            return Ruling("undetermined", f"{CUT}: raise max_new_tokens", said=best.said)
        return best

    def _call(self, call: Call, tool: Tool) -> Ruling:
        said = call.name if call.fault else f"{call.name}({json.dumps(call.arguments, ensure_ascii=False, default=repr)})"
        if call.fault is not None:
            why = f"{MALFORMED}: {call.fault}"
        elif call.name != self.promised_tool:
            why = f"{OTHER_TOOL}: {call.name}"
        elif (fault := fault_of_arguments(tool, call.arguments)) is not None:
            why = f"{MALFORMED}: {fault}"
        elif not holds(call.arguments, self.arguments):
            why = f"{OTHER_ARGUMENTS}: {said}"
        else:
            return Ruling("accepted", said=said)
        return Ruling("rejected", why, said=said)

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        for name, counts in own.outcomes.items():
            yield Line(f"{name + ':':9}{', '.join(f'{count} {what}' for what, count in counts.items() if count)}")

    @staticmethod
    def why(evidence: Evidence) -> list[Block]:
        own: Details = evidence.own
        about = "Share of the replies that call the tool as promised. Undetermined replies count as not calling it where the lower end is judged."
        return share_blocks(evidence, own.shares, title=f"Calls of {own.tool}", about=about)


_ORDER = (CALLED, OTHER_ARGUMENTS, MALFORMED, OTHER_TOOL)


def _kind_of(ruling: Ruling) -> str:
    return "undetermined" if ruling.outcome == "undetermined" else str(ruling.why or CALLED).partition(":")[0]


def _counted(rulings: Sequence[Ruling]) -> dict[str, int]:
    found = Counter(map(_kind_of, rulings))
    return {kind: found[kind] for kind in (*_ORDER, NO_CALL, "undetermined")}


assert_calls_tool = assertion(CallsTool)
