"""``calls_tool``: under steering, the share of replies that call a tool as promised is at least `share`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Unpack

from ..data import Dialogue, DialogueLike, Dialogues, as_dialogues, sample_of
from ..data.transcripts import name_of
from ..errors import DataError, SteerError
from ..evidence import Evidence
from ..measures.outcomes import Outcome, Span
from ..measures.subject import Subject
from ..measures.tool_calls import PARSERS, Call, Parser, fault_of_arguments, has_own_parsing, holds, own_calls, parser_of
from ..model import Model
from ..model.replies import Reply
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..registry import did_you_mean, nearest
from ..soundness import check_before
from ..stats import Direction, Verdict, items_needed_share
from ..steering import Intervention, SteeringVector
from . import words
from .common import FromTurn, MaxNewTokens, Samples, Temperature, TopP
from .figures import Figure, Intervals, Row, promised_in
from .holding import hold
from .judged import judged
from .kinds import claim
from .over_replies import (
    OverReplies,
    Side,
    Written,
    asked_replies,
    cluster_details,
    describe_prompts,
    drawing_of,
    how_written,
    reply_probes,
    reply_warnings,
    write_replies,
)
from .rulings import share_accepted, share_record
from .shown_replies import SIDES, Ruling, noted_replies, replies_record, worst_replies
from .units import units_record

CALLED, MALFORMED, NO_CALL, OTHER_TOOL, OTHER_ARGUMENTS = (
    "calls the tool",
    "a malformed call",
    "no call",
    "a call of another tool",
    "other arguments than promised",
)
CUT = "cut inside a call"
UNNAMED = "calls_tool"
"""The name of a claim that is given none."""


@claim("calls_tool", title="Steered, the model calls a tool", main="share", any_of=("tool", "name"), directed=False)
@dataclass(frozen=True, kw_only=True)
class CallsTool:
    """The share of replies that hold a well-formed call of the tool `tool` is at least `share`.

    A call counts if its arguments are valid under the tool's own JSON Schema and contain the promised `arguments`. The reply to the last turn
    of each dialogue is read, with the tokenizer's own parsing of responses or with `parser`. A reply that loops, never leaves its block
    of thought or is cut inside a call is undetermined: it counts against a pass and for a fail.

    Attributes:
        prompts: dialogues whose `tools` have the tool.
        cluster: a key of the prompts that says which belong together.
        seed: of drawn tokens.
        name: the claim's name, which stands for `tool` where that is not given.

    Raises:
        SteerError: neither a tool nor a name; a parser or settings of drawing that cannot be used.
    """

    subject: Subject
    prompts: Dialogues
    share: Annotated[
        float | None,
        Param("The least share of replies that call the tool.", title="Share of replies", example=0.9, above=0, below=1),
    ]
    tool: Annotated[
        str,
        Param(
            "The name of the tool, as the prompts' `tools` give it; without it the claim's `name` is the tool.",
            title="Tool",
            example="search",
            schema={"x-default-key": "name"},
        ),
    ] = None  # type: ignore[assignment]
    arguments: Annotated[
        Mapping[str, Any],
        Param(
            "Arguments that the call has to have, with these values; it may have others.",
            title="Promised arguments",
            example={"query": "weather Rome"},
            schema={"type": "object", "default": {}},
        ),
    ] = None  # type: ignore[assignment]
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
    max_new_tokens: MaxNewTokens = 64
    samples: Samples = 1
    temperature: Temperature = None
    top_p: TopP = 1.0
    from_turn: FromTurn = 1
    span: ClassVar[Span] = "answer"  # outside of which no call counts
    context: Context = AS_GIVEN
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    cluster: str | None = None
    name: str = UNNAMED

    def __post_init__(self) -> None:
        if self.tool is None and self.name == UNNAMED:
            raise SteerError(
                f'{UNNAMED}: nothing names the tool: write name="search", which names the claim too, or tool="search"'
            )
        object.__setattr__(self, "tool", self.name if self.tool is None else self.tool)
        object.__setattr__(self, "arguments", dict(self.arguments or {}))
        if self.parser is not None or self.pattern is not None:
            parser_of(self.parser, self.pattern)
        drawing_of(self)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two prompts, one without the tool, or one that cannot be asked.
            ModelError: the chat template does not render the tools.
            MeasurementError: all replies are empty.
            SteerError: there is no parser, and the tokenizer has none of its own.
            SoundnessError: the hooks do not do what they say.
            VectorError: see ``check_fits``.
        """
        subject = self.subject
        sample = sample_of(as_dialogues(self.prompts), self.cluster)
        tools = [self._tool_of(one) for one in sample.units]
        parser = self._parser(model)
        soundness = check_before(model, subject)
        written = write_replies(model, self, sample, [0.0, subject.multiplier])
        base, steered = ([*self._rulings(model, parser, written, side, tools)] for side in written.sides)
        shares = share_accepted(steered, written.clusters, Direction.AT_LEAST, confidence=self.confidence)
        evidence = judged(
            model,
            subject,
            shares.found,
            reply_probes(written.sides[1]),
            threshold=self.share,
            direction=Direction.AT_LEAST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda _: 0.0,
            check="calls_tool",
            name=self.name,
            statistic=f"share of replies that call {self.tool!r}",
            soundness=soundness,
            asked=asked_replies(model, written, self.context),
            warnings=reply_warnings(subject, written),
            details=self._details(base, steered, written) | cluster_details(written),
            **describe_prompts(written),
        )
        evidence.noise = None  # how far rounding moves a share of texts is not known
        order = {"rejected": 0, "undetermined": 1, "accepted": 2}
        evidence.replies = replies_record(
            written,
            (base, steered),
            sorted(range(len(steered)), key=lambda at: (order[str(steered[at].outcome)], -order[str(base[at].outcome)])),
            judge=self._record,
        )
        evidence.details["noted"] = noted_replies(evidence)
        dialogues = written.sample.units
        evidence.units = units_record(
            [(*dialogues[prompt].form, str(number)) for prompt, number in written.ids],
            [dialogues[prompt].id for prompt, _ in written.ids],
            shares.values,
            unit="replies",
            kind="share",
            clusters=written.clusters,
            how={
                "judge": self._record,
                **how_written(self),
            },
        )
        if evidence.verdict is Verdict.INCONCLUSIVE and self.share is not None and written.clusters is None:
            evidence.items_needed = items_needed_share(
                shares.found.estimate, self.share, direction=Direction.AT_LEAST, confidence=self.confidence
            )
        return evidence

    @property
    def _record(self) -> dict[str, Any]:
        """What a reply is read by."""
        how = {"parser": self.parser, "pattern": self.pattern}
        return {"judge": "calls_tool", "tool": self.tool, "arguments": dict(self.arguments), **how}

    def _tool_of(self, dialogue: Dialogue) -> dict[str, Any]:
        tool = dialogue.tool(self.tool)
        if tool is not None:
            return tool
        if not dialogue.tools:
            raise DataError(f"prompt {dialogue.id}: has no tools: add `tools: [...]`, which the chat template renders")
        names = [name_of(one) for one in dialogue.tools]
        unsaid = self.name.partition("[")[0] == self.tool  # of a matrix, a name has the combination in brackets
        why = f", which is the claim's name: add `tool: {nearest(self.tool, names) or names[0]}`" if unsaid else ""
        raise DataError(f"prompt {dialogue.id}: has no tool {self.tool!r}{why}: {did_you_mean(self.tool, names)}")

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
        self, model: Model, parser: Parser | None, written: Written, side: Side, tools: Sequence[dict[str, Any]]
    ) -> Iterable[Ruling]:
        for (prompt, _), turns, outcome in zip(written.ids, side.turns, side.outcomes, strict=True):
            dialogue, reply = written.sample.units[prompt], turns[-1]
            if len(turns) < dialogue.n_replies:  # the conversation ended before
                yield Ruling("undetermined", outcome.why)
                continue
            if parser is None:
                calls = own_calls(model, reply.raw, reply.prompt, [*dialogue.tools])
            else:
                calls = parser(_said(reply, outcome))
            yield self._ruling(calls, tools[prompt], outcome)

    def _ruling(self, calls: Sequence[Call], tool: Mapping[str, Any], outcome: Outcome) -> Ruling:
        """What became of a reply: that of the call that comes nearest to the promise."""
        # One without any words may be a call of special tokens alone.
        if outcome.is_undetermined and (not calls or not outcome.is_empty):
            return Ruling("undetermined", outcome.why)
        if not calls:
            return Ruling("rejected", NO_CALL)
        found = [self._call(call, tool) for call in calls]
        best = min(found, key=lambda one: _ORDER.index(str(one.why or CALLED).partition(":")[0]))
        if outcome.cut and str(best.why).startswith(MALFORMED):
            return Ruling("undetermined", f"{CUT}: raise max_new_tokens", said=best.said)
        return best

    def _call(self, call: Call, tool: Mapping[str, Any]) -> Ruling:
        said = call.name if call.fault else f"{call.name}({json.dumps(call.arguments, ensure_ascii=False, default=repr)})"
        if call.fault is not None:
            return Ruling("rejected", f"{MALFORMED}: {call.fault}", said=said)
        if call.name != self.tool:
            return Ruling("rejected", f"{OTHER_TOOL}: {call.name}", said=said)
        fault = fault_of_arguments(tool, call.arguments)
        if fault is not None:
            return Ruling("rejected", f"{MALFORMED}: {fault}", said=said)
        if not holds(call.arguments, self.arguments):
            return Ruling("rejected", f"{OTHER_ARGUMENTS}: {said}", said=said)
        return Ruling("accepted", said=said)

    def _details(self, base: Sequence[Ruling], steered: Sequence[Ruling], written: Written) -> dict[str, Any]:
        sides = dict(zip(SIDES, (base, steered), strict=True))
        return {
            "tool": self.tool,
            "from_turn": self.from_turn,
            "outcomes": {name: _counted(own) for name, own in sides.items()},
            "shares": {name: share_record(own, written.clusters, self.confidence) for name, own in sides.items()},
            "deployed": {"multiplier": float(self.subject.multiplier), "direction": self.subject.direction},
        }

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        shares = record["details"]["shares"]
        return [
            Intervals(
                title=f"Calls of {record['details']['tool']}",
                about="Share of the replies that call the tool as promised. Undetermined replies count as not calling it where the lower end is judged.",
                rows=[Row(name, one["share"], tuple(one["interval"]), one["n"]) for name, one in shares.items()],
                x=record["statistic"],
                promised=promised_in(record),
            )
        ]

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        lines = [
            f"  {name + ':':9}{', '.join(f'{count} {what}' for what, count in counts.items() if count)}"
            for name, counts in evidence.details["outcomes"].items()
        ]
        return [*lines, *words.not_looked_at(evidence)]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [*words.decide(evidence), *words.where(evidence), *worst_replies(evidence)]


_ORDER = (CALLED, OTHER_ARGUMENTS, MALFORMED, OTHER_TOOL)


def _said(reply: Reply, outcome: Outcome) -> str:
    """What calls are looked for in: the answer, or, where there is none to judge, the whole reply."""
    return outcome.text or ("" if outcome.is_undetermined else reply.text)


def _counted(rulings: Sequence[Ruling]) -> dict[str, int]:
    kinds = [CALLED, OTHER_ARGUMENTS, MALFORMED, OTHER_TOOL, NO_CALL, "undetermined"]
    found = Counter(
        "undetermined" if one.outcome == "undetermined" else str(one.why or CALLED).partition(":")[0] for one in rulings
    )
    return {kind: found[kind] for kind in kinds}


def assert_calls_tool(
    model: Model,
    vector: SteeringVector | Intervention | None,
    prompts: Iterable[DialogueLike],
    *,
    share: Promise,
    tool: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    parser: str | None = None,
    pattern: str | None = None,
    **shared: Unpack[OverReplies],
) -> Evidence:
    """Assert that the share of the steered model's replies that call a tool is at least ``share``.

    Args:
        prompts: at least two :class:`Dialogue` with ``tools``; ``read_prompts(path)`` reads a file.
        share: the promise, between 0 and 1.
        tool: the tool's name; by default ``name``, which names the claim too. arguments: that the call has to have, with these values.
        parser: ``json``, ``hermes``, ``mistral``, ``llama3_json``, ``pythonic`` or ``regex``, which ``pattern`` gives; by default the
            tokenizer's own parsing of responses.
        pattern: an expression with the groups ``name`` and ``arguments``.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("calls_tool", locals())
