"""What claims about replies share: their parameters, what they count, and writing the replies, base and steered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..data import Dialogues, Sample
from ..data.units import cluster_record
from ..errors import MeasurementError
from ..measures import chance_warnings
from ..measures.outcomes import ENDED, Outcome, Span, read_reply
from ..measures.shown import shown_probe
from ..measures.subject import Subject
from ..model import Model, Probe
from ..model.drawing import Drawing
from ..model.replies import Replies, Reply, replies
from ..prompting import Context
from .common import Deployment
from .control_tokens import control_token_warnings
from .over_items import thinking_warnings, warnings_about

# A text of so many tokens is hardly the answer to several questions; a shorter one, such as "Yes.", may be.
_LONG = 8


class OverReplies(Deployment, total=False):
    """Keywords of every assertion about replies.

    Attributes:
        max_new_tokens: a reply of so many tokens is cut there; 64 by default.
        samples: replies to each prompt, which count as one cluster.
        temperature / top_p: how tokens are drawn; without a temperature the likeliest one is taken.
        span: what of a reply is judged: ``answer`` (the default), ``thought`` or ``both``.
        from_turn: the first turn that is steered; 1 by default.
        context: system prompt, template, thinking and date.
        cluster: a key of the prompts' ``meta`` that names what belongs together: bounds are over clusters.
    """

    max_new_tokens: int
    samples: int
    temperature: float | None
    top_p: float
    span: Span
    from_turn: int
    context: Context
    cluster: str


@dataclass(frozen=True, eq=False)
class Side:
    """All replies at one multiplier, the samples of a prompt side by side.

    Attributes:
        turns: for each reply the replies to all turns of its prompt.
        outcomes: of the reply to the last turn, which is the one that is judged.
    """

    multiplier: float
    turns: tuple[tuple[Reply, ...], ...]
    outcomes: tuple[Outcome, ...]

    @property
    def last(self) -> tuple[Reply, ...]:
        return tuple(one[-1] for one in self.turns)


@dataclass(frozen=True, eq=False)
class Written:
    """The replies of a claim.

    Attributes:
        sides: one for each multiplier, in their order.
        notes: what the chat template made necessary.
    """

    sample: Sample[Dialogues]
    drawing: Drawing
    span: Span
    sides: tuple[Side, ...]
    notes: tuple[str, ...]

    @property
    def clusters(self) -> tuple[int, ...] | None:
        """The cluster of each reply: samples of a prompt, and prompts that belong together. None if each stands for itself."""
        labels = self.sample.clusters or tuple(range(len(self.sample.units)))
        found = tuple(label for label in labels for _ in range(self.drawing.samples))
        return None if len(set(found)) == len(found) else found

    def clusters_of(self, replies: Sequence[int]) -> tuple[int, ...] | None:
        """The cluster of some of the replies; None if each stands for itself."""
        found = None if self.clusters is None else tuple(self.clusters[at] for at in replies)
        return None if found is None or len(set(found)) == len(found) else found

    @property
    def ids(self) -> list[tuple[int, int]]:
        """For each reply the number of its prompt and of its sample."""
        return [(prompt, sample) for prompt in range(len(self.sample.units)) for sample in range(self.drawing.samples)]


class AboutReplies(Protocol):
    """A claim about replies, as far as it says how they are written."""

    @property
    def subject(self) -> Subject: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float: ...
    @property
    def span(self) -> Span: ...
    @property
    def from_turn(self) -> int: ...
    @property
    def context(self) -> Context: ...
    @property
    def seed(self) -> int: ...


def drawing_of(claim: AboutReplies) -> Drawing:
    """How the tokens of a claim's replies are chosen.

    Raises:
        SteerError: settings that cannot be used.
    """
    return Drawing(claim.max_new_tokens, claim.samples, claim.temperature, claim.top_p, claim.seed)


def how_written(claim: AboutReplies) -> dict[str, Any]:
    """What the replies depend on besides their prompts, for the evidence's ``units``: where it differs, two runs are not compared."""
    return {
        "span": claim.span,
        "drawing": asdict(drawing_of(claim)),
        "from_turn": claim.from_turn,
        "context": claim.context.to_dict(),
    }


def write_replies(
    model: Model,
    claim: AboutReplies,
    sample: Sample[Dialogues],
    multipliers: Sequence[float],
    *,
    may_be_empty: Sequence[float] = (),
) -> Written:
    """Write the replies to a claim's prompts at each multiplier.

    Args:
        may_be_empty: multipliers at which it is no error if all replies are.

    Raises:
        MeasurementError: the replies at a multiplier are all empty.
        SteerError: see ``model.replies.replies``.
    """
    drawing = drawing_of(claim)
    found = replies(
        model,
        sample.units,
        claim.subject.intervention,
        multipliers=multipliers,
        drawing=drawing,
        from_turn=claim.from_turn,
        context=claim.context,
        **claim.subject.scope,
    )
    return read_replies(model, found, sample, drawing, claim.span, may_be_empty)


def read_replies(
    model: Model,
    found: Replies,
    sample: Sample[Dialogues],
    drawing: Drawing,
    span: Span,
    may_be_empty: Sequence[float] = (),
) -> Written:
    """The replies of each multiplier, with what there is to judge of each.

    Raises:
        MeasurementError: the replies at a multiplier that is not in ``may_be_empty`` are all empty.
    """
    sides = []
    for at, multiplier in enumerate(found.multipliers):
        turns = tuple(turns for own in found.of for turns in own[at])
        why = [
            found.ended.get((prompt, at, number)) for prompt, own in enumerate(found.of) for number in range(len(own[at]))
        ]
        outcomes = tuple(
            read_reply(model, one[-1], span) if ended is None else Outcome("", f"{ENDED}: {ended}")
            for one, ended in zip(turns, why, strict=True)
        )
        if multiplier not in may_be_empty and all(one.is_empty for one in outcomes):
            raise MeasurementError(_all_empty(multiplier, outcomes, span))
        sides.append(Side(float(multiplier), turns, outcomes))
    return Written(sample, drawing, span, tuple(sides), tuple(found.notes))


def _all_empty(multiplier: float, outcomes: Sequence[Outcome], span: Span) -> str:
    where = "of the unsteered model" if multiplier == 0 else f"at multiplier {multiplier:g}"
    return (
        f"all {len(outcomes)} replies {where} are empty ({span}): there is nothing to judge. Look at the prompt under `asked` in the report, "
        "raise max_new_tokens, or deploy a smaller multiplier"
    )


def reply_probes(side: Side) -> list[Probe]:
    """The judged replies with the prompts that they were given, as sequences: their tokens, and where steering begins."""
    return [
        Probe((*one.prompt_ids, *one.tokens), one.steer_from, score_from=len(one.prompt_ids), name=f"reply {at}")
        for at, one in enumerate(side.last)
    ]


def asked_replies(model: Model, written: Written, context: Context) -> dict[str, Any]:
    """The evidence's ``asked`` record: how the prompts were put, and the first one as the model sees it, up to its reply."""
    first = written.sides[-1].last[0]
    prompt = Probe(first.prompt_ids, first.steer_from, candidates=())
    return {
        "template": context.setting(model.format).form.name,
        "thinking": first.thinking,
        "date": None if first.thinking is None else (context.date or model.format.date),
        "answers": None,
        "lengths": None,
        "notes": list(written.notes),
        "first_item": [shown_probe(model, prompt) | {"candidates": None}],
    }


def describe_prompts(written: Written) -> dict[str, Any]:
    """Fields of evidence: the data, and what n counts."""
    sample = written.sample
    return {"n": sample.n, "unit": sample.counted, "data": sample.describe()}


def cluster_details(written: Written) -> dict[str, Any]:
    """The evidence's ``details.clusters`` record, if there are clusters of replies."""
    return {} if written.clusters is None else cluster_record(written.sample.key, written.clusters, "replies")


def reply_warnings(subject: Subject, written: Written, model: Model | None = None) -> list[str]:
    """What the reader of a claim about replies has to know about the prompts, the vector and what it does to the replies.

    Args:
        model: looks at how the model reads the prompts, too.
    """
    asked = ["\n\n".join(one.asked) for one in written.sample.units]
    found = [
        *warnings_about(subject, asked, written.sample.units.hash, unit="prompts"),
        *map(str, written.sample.findings),
        *written.notes,
    ]
    if model is not None:
        found += [*chance_warnings(model, asked), *control_token_warnings(model, asked)]
        found += thinking_warnings(model, subject, written.sides[-1].last[0].thinking)
    return [*found, *one_text_warnings(written), *unchanged_warnings(written)]


def one_text_warnings(written: Written) -> list[str]:
    """A longer text that is the reply to every prompt was not read from any of them."""
    return [
        f"at multiplier {side.multiplier:g} all {len(side.last)} replies are one text of {len(side.last[0].tokens)} tokens, whatever the prompt: "
        "the model does not answer its prompts any more"
        for side in written.sides[1:]
        if len({one.tokens for one in side.last}) == 1 and len(side.last[0].tokens) >= _LONG
    ]


def unchanged_warnings(written: Written) -> list[str]:
    """Replies at a multiplier that are all those of the unsteered model."""
    base, *others = written.sides
    same = [
        side.multiplier
        for side in others
        if all(one.tokens == two.tokens for one, two in zip(side.last, base.last, strict=True))
    ]
    if base.multiplier != 0 or not same:
        return []
    return [
        f"at multiplier {same[0]:g} every reply is that of the unsteered model, token by token: steering changes nothing here"
    ]
