"""The replies of a claim, unsteered and steered: what there is to judge of each, which belong together, and how they were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import MeasurementError
from ..data import Dialogues, Sample
from ..data.units import cluster_record
from ..measures.outcomes import ENDED, Outcome, Span, read_reply
from ..measures.shown import shown_probe
from ..model import Model, Probe
from ..model.replies import Replies, Reply
from ..model.writing import Drawing
from ..prompting import Context


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


def cluster_details(written: Written) -> dict[str, Any]:
    """The evidence's ``details.clusters`` record, if there are clusters of replies."""
    return {} if written.clusters is None else cluster_record(written.sample.key, written.clusters, "replies")
