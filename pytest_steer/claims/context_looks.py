"""Contexts in which fresh items were looked at, and the record of the search that led to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..data import Items
from ..fuzzing.trials import Found, Trials, axis_shares
from ..measures import PropensityCurve
from ..measures.compared import bounds_of
from ..prompting import AS_GIVEN, Context
from ..stats import Inference, Verdict


@dataclass(frozen=True)
class Look:
    """A context in which fresh items were looked at."""

    context: Context
    curve: PropensityCurve
    inference: Inference
    verdict: Verdict

    def describe(self) -> dict[str, Any]:
        return {
            "context": self.context.to_dict(),
            "estimate": self.inference.estimate,
            "interval": list(bounds_of(self.inference)),
            "verdict": self.verdict.value,
        }


def search_details(
    statistic: str, seed: int, trials: Trials, found: Found, batch: Items, decisive: Look, looks: Sequence[Look]
) -> dict[str, Any]:
    """What the search tried and found, and the contexts that were judged, for the evidence's ``details``."""
    rows = trials.rows
    breaking = [row for row in rows if trials.breaks(row.estimate)]
    unchosen = [row for row in rows if row.how in ("single", "drawn") or row.context == AS_GIVEN]
    suspicion = found.smallest if decisive.verdict is not Verdict.FAIL else None
    return {
        "statistic": statistic,
        "context": decisive.context.to_dict(),
        "contexts": [row.describe() for row in rows],
        "tried": len(rows),
        "exhausted": found.exhausted,
        "breaking": len(breaking),
        "worst": found.worst.describe(),
        "as_given": next((row.estimate for row in rows if row.context == AS_GIVEN), None),
        "unconfirmed": suspicion.describe() if suspicion is not None else None,
        "judged": [one.describe() for one in looks],
        "axes": [axis.describe() for axis in axis_shares(unchosen)],
        "unchosen": len(unchosen),
        "batch": [item.id for item in batch],
        "seed": seed,
    }
