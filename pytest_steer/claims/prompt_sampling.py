"""What a claim about replies counts: distinct dialogues, and which of them belong together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..data import Dialogues, as_dialogues
from ..data.dialogues import DialogueLike
from ..data.likeness import normal_form
from ..errors import DataError, at_key
from ..measures.subject import Subject
from .over_items import warnings_about
from .sampling import cluster_numbers, cluster_record, kept_of, labels_of, shared_ids, twins_of


@dataclass(frozen=True, eq=False)
class PromptSample:
    """The dialogues of a claim.

    Attributes:
        dialogues: distinct ones, at least two.
        clusters: the cluster of each dialogue, or None if each stands for itself. key: that names the clusters.
        warnings: what the reader has to know about them.
    """

    dialogues: Dialogues
    clusters: tuple[int, ...] | None
    key: str | None
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        """Independent units."""
        return len(self.dialogues) if self.clusters is None else len(set(self.clusters))

    @property
    def unit(self) -> str:
        """What n counts."""
        return "prompts" if self.clusters is None else "clusters"

    def details(self) -> dict[str, Any]:
        """The evidence's ``details.clusters`` record, if there are clusters."""
        return {} if self.clusters is None else cluster_record(self.key, self.clusters, unit="prompts")

    def describe(self) -> dict[str, Any]:
        """The evidence's ``data`` record."""
        return {"hash": self.dialogues.hash, "n": len(self.dialogues), "source": self.dialogues.source}


def sample_of_prompts(dialogues: Iterable[DialogueLike], cluster: str | None = None) -> PromptSample:
    """The dialogues without those that repeat another one, and their clusters: by a key of their entries, and of those that begin with
    the same turn after the same transcript.

    Raises:
        DataError: fewer than two different dialogues, an unknown key, a dialogue that lacks it, or all dialogues are one cluster.
    """
    known = as_dialogues(dialogues)
    forms = [one.form for one in known]
    kept, repeats = kept_of(forms, "prompts")
    if len(kept) < 2:
        raise DataError(f"{known.source}: has {len(kept)} prompt(s); an interval needs at least two")
    if len(kept) < len(known):
        known = Dialogues((known[index] for index in kept), known.source, known.expression)
    labels: list[Hashable] = [index if one.cluster is None else one.cluster for index, one in enumerate(known)]
    if cluster is not None:
        with at_key("data.cluster"):
            labels = labels_of([(f"prompt {one.id}", one.meta) for one in known], cluster, known.source)
    numbers = cluster_numbers(labels, [(normal_form(one.said[0]), repr(one.messages)) for one in known])
    clusters = None if len(set(numbers)) == len(known) else tuple(numbers)
    if clusters is not None and len(set(clusters)) == 1:
        raise DataError(f"{known.source}: all prompts are one cluster, which says nothing about others")
    twins = twins_of([forms[index] for index in kept], "prompts", clusters)
    if clusters is not None:
        known = Dialogues(
            (replace(one, cluster=str(number)) for one, number in zip(known, clusters, strict=True)),
            known.source,
            known.expression,
        )
    return PromptSample(known, clusters, cluster, (*repeats, *shared_ids([one.id for one in known], "prompts"), *twins))


def prompt_warnings(subject: Subject, sample: PromptSample) -> list[str]:
    """What the reader of a claim about replies to these dialogues has to know about them and the vector."""
    asked = ["\n\n".join(one.asked) for one in sample.dialogues]
    return [*warnings_about(subject, asked, sample.dialogues.hash, unit="prompts"), *sample.warnings]
