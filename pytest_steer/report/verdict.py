"""What a whole report comes to: whether every claim holds, one is broken, or one could not be measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.finding import CODES
from ..core.numbers import low_confidence
from ..core.record import ClaimRecord, Noted

HOLDS, BROKEN, NOT_MEASURED = 0, 1, 3

Claim = dict[str, Any]


@dataclass(frozen=True)
class ReportVerdict:
    """The claims of a report, each in one group.

    Attributes:
        broken: proven not to hold.
        errors: could not be measured.
        inconclusive: not enough evidence.
        unexpected: hold, although they are marked as known to fail.
        known: fail or are inconclusive, and are marked as known to.
        holding: hold.
        missing: why the report is not about all claims, one sentence each.
    """

    broken: list[Claim]
    errors: list[Claim]
    inconclusive: list[Claim]
    unexpected: list[Claim]
    known: list[Claim]
    holding: list[Claim]
    missing: list[str]

    @property
    def code(self) -> int:
        """The exit code: 1 if a claim is broken, else 3 if one could not be measured or decided, or is missing, else 0."""
        if self.broken:
            return BROKEN
        return NOT_MEASURED if self.errors or self.inconclusive or self.missing else HOLDS

    @property
    def count(self) -> int:
        return len(self.holding) + sum(len(group) for _, group in self.not_holding)

    @property
    def not_holding(self) -> list[tuple[str, list[Claim]]]:
        """The other groups with what they are called after their number, the worst first."""
        return [
            ("broken", self.broken),
            ("could not be measured", self.errors),
            ("inconclusive", self.inconclusive),
            ("xpass", self.unexpected),
            ("known to fail", self.known),
        ]

    @property
    def headline(self) -> str:
        """The verdict on one line, for people."""
        said = _claims(self.count)
        if self.code == BROKEN:
            return f"Broken: {len(self.broken)} of {said}"
        if not self.count:
            return "No steering claim was measured"
        open_ones = len(self.errors) + len(self.inconclusive)
        if open_ones:
            return f"Not shown to hold: {open_ones} of {said}"
        if self.missing:
            return f"Not all was measured: {said} of this report {'holds' if self.count == 1 else 'hold'}"
        if self.known:
            return f"{len(self.holding) + len(self.unexpected)} of {said} hold, {len(self.known)} known to fail"
        return f"All {said} hold" if self.count > 1 else "The one steering claim holds"

    @property
    def counts(self) -> str:
        """How many claims are in each group."""
        parts = [f"{len(group)} {words}" for words, group in self.not_holding if group]
        return ", ".join(
            [*parts, *([f"{len(self.holding)} hold{'s' if len(self.holding) == 1 else ''}"] if self.holding else [])]
        )


def verdict_of(report: Mapping[str, Any]) -> ReportVerdict:
    """Sort the claims of a report that was read or built."""
    groups: dict[str, list[Claim]] = defaultdict(list)
    for claim in report["claims"]:
        groups[_group(claim)].append(claim)
    return ReportVerdict(
        broken=groups["fail"],
        errors=groups["error"],
        inconclusive=groups["inconclusive"],
        unexpected=groups["unexpected"],
        known=groups["known"],
        holding=groups["pass"],
        missing=_missing(report),
    )


def verdict_words(verdict: str, xfail: str | None) -> str:
    """The verdict of a claim, and whether it was expected."""
    if xfail is None or verdict == "error":
        return verdict
    return "xpass" if verdict == "pass" else f"{verdict} (known)"


def _claims(count: int) -> str:
    return f"{count} steering claim{'s' if count != 1 else ''}"


def _group(claim: Claim) -> str:
    verdict = str(claim["verdict"])
    if claim.get("xfail") is None or verdict == "error":  # an error is never what was expected
        return verdict
    return "unexpected" if verdict == "pass" else "known"


def _missing(report: Mapping[str, Any]) -> list[str]:
    provenance = report["provenance"]
    not_run = provenance.get("not_run", 0)
    reasons = []
    if provenance.get("partial"):
        reasons.append("the run was killed before its end, and this is what it had finished")
    if provenance.get("interrupted"):
        reasons.append("the run was interrupted")
    if not_run is None:
        reasons.append("it is not known how many claims did not run")
    elif not_run:
        reasons.append(f"{not_run} selected claim{'s were' if not_run > 1 else ' was'} not run")
    if not report["claims"]:
        reasons.append("it holds no claim")
    return reasons


def marks_of(claim: ClaimRecord) -> list[str]:
    """Few words each: a low confidence, rounding that is wider than the interval, texts that the model does not read."""
    low = low_confidence(claim.confidence).strip() if claim.verdict in ("pass", "fail") else ""
    marks = [f"{low} confidence"] if low else []
    marks += ["within rounding"] if claim.noise and claim.noise.interval_is_narrower else []
    said = [*claim.findings, *([claim.withheld] if claim.withheld else [])]
    return marks + list(dict.fromkeys(CODES[one.code].mark for one in said if one.code in CODES and CODES[one.code].mark))


def words_of(finding: Noted) -> str:
    """A finding of a record as one sentence."""
    return f"{finding.text}: {finding.cure}" if finding.cure else finding.text
