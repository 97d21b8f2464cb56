"""Texts that a model does not read: that steering changes little about them, or costs little on them, says nothing, so it is no pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evidence import Evidence, Verdict
from ..measures import Reading
from ..measures.compared import bounds_of
from ..stats import mean_t
from .numbers import number


def withhold_unread(
    evidence: Evidence, reading: Reading | None, clusters: Sequence[int] | None = None, *, of: str = ""
) -> dict[str, Any] | None:
    """Take a pass back where the unsteered model is not proven to read the texts better than chance; ``details`` has why and what to do.

    The bound is Student's t of the texts' mean negative log-likelihoods per token, at the claim's confidence. A fail stays a fail.

    Args:
        reading: None if the texts are too short to say, which takes nothing back.
        clusters: the cluster of each text, or None if each stands for itself.
        of: which texts, where a claim has several groups of them; the first one that is not read is named.

    Returns:
        The record of the reading, for ``details``.
    """
    if reading is None:
        return None
    interval: tuple[float | None, float | None] = (None, None)
    is_better = False
    if len(reading.per_text) > 1:
        found = mean_t(reading.per_text, confidence=evidence.confidence, clusters=clusters)
        interval, is_better = bounds_of(found), reading.is_better_at(found.high)
    named = [f"{of}: {text}" if of else text for text in reading.warnings if text not in evidence.warnings]
    evidence.warnings += named
    if not is_better and evidence.verdict is not Verdict.FAIL and not evidence.details.get("withheld"):
        low, high = map(number, interval)
        evidence.details["withheld"] = (
            f"{f'{of}: ' if of else ''}it is not proven that the unsteered model reads {reading.of} better than chance: "
            f"{number(reading.loss)} [{low}, {high}] nats per token, and {number(reading.chance)} for tokens drawn at random"
        )
        evidence.details["cure"] = "give texts in a language that this model reads, or the right model and tokenizer"
        evidence.verdict, evidence.items_needed = Verdict.INCONCLUSIVE, None
        evidence.p_pass = None if evidence.p_pass is None else 1.0  # proves nothing, neither alone nor among others
    return {
        "loss": reading.loss,
        "interval": list(interval),
        "chance": reading.chance,
        "is_better": is_better,
        "texts": len(reading.per_text),
    }
