"""The outcome of a whole report: what each claim is counted as, and whether every one holds."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.record import ClaimRecord, Provenance, Report


@dataclass(frozen=True)
class Category:
    """What a claim is counted as.

    Attributes:
        key: in classes of the page's style sheet.
        sign: next to the words, so that colour never stands for itself.
        about: what it means.
    """

    key: str
    words: str
    sign: str
    about: str


CATEGORIES = BROKEN, ERROR, INCONCLUSIVE, UNEXPECTED, KNOWN, HELD = (
    Category("broken", "broken", "\u2715", "The evidence proves that the promise is not kept."),
    Category("error", "could not be measured", "!", "There is no result."),
    Category("inconclusive", "inconclusive", "?", "The evidence proves neither."),
    Category("unexpected", "xpass", "\u2260", "The claim is marked as known to fail, and it holds."),
    Category("known", "known to fail", "~", "The claim is marked as known to fail, and it does not hold."),
    Category("held", "held", "\u2713", "The evidence proves that the promise is kept."),
)
"""The most important first."""


def category_of(verdict: str, xfail: str | None) -> Category:
    """What a claim is counted as. An error is never what was expected."""
    if verdict == "error":
        return ERROR
    if xfail is not None:
        return UNEXPECTED if verdict == "pass" else KNOWN
    return {"fail": BROKEN, "inconclusive": INCONCLUSIVE, "pass": HELD}[verdict]


@dataclass(frozen=True)
class ReportVerdict:
    """The claims of a report by category.

    Attributes:
        claims: of every category, the most important category first.
        missing: why the report is not about all claims, one sentence each.
    """

    claims: dict[Category, list[ClaimRecord]]
    missing: list[str]

    @property
    def code(self) -> int:
        """The exit code: 1 if a claim is broken, else 3 if one could not be measured or decided, or is missing, else 0."""
        if self.claims[BROKEN]:
            return 1
        return 3 if self.claims[ERROR] or self.claims[INCONCLUSIVE] or self.missing else 0

    @property
    def headline(self) -> str:
        """The verdict on one line, for people."""
        many = {category: len(claims) for category, claims in self.claims.items()}
        count, known = sum(many.values()), many[KNOWN]
        said = f"{count} steering claim{'s' if count != 1 else ''}"
        if many[BROKEN]:
            return f"Broken: {many[BROKEN]} of {said}"
        if not count:
            return "No steering claim was measured"
        if undecided := many[ERROR] + many[INCONCLUSIVE]:
            return f"Not shown to hold: {undecided} of {said}"
        if self.missing:
            return f"Not all was measured: {said} of this report {'holds' if count == 1 else 'hold'}"
        if known:
            return f"{count - known} of {said} hold, {known} known to fail"
        return f"All {said} hold" if count > 1 else "The one steering claim holds"

    @property
    def counts(self) -> str:
        """How many claims are in each category."""
        holds = "holds" if len(self.claims[HELD]) == 1 else "hold"
        counted = [(len(claims), holds if category is HELD else category.words) for category, claims in self.claims.items()]
        return ", ".join(f"{count} {words}" for count, words in counted if count)


def verdict_of(report: Report) -> ReportVerdict:
    """Sort the claims of a report."""
    found: dict[Category, list[ClaimRecord]] = {category: [] for category in CATEGORIES}
    for claim in report.claims:
        found[category_of(claim.verdict, claim.xfail)].append(claim)
    return ReportVerdict(found, _missing(report.provenance, not report.claims))


def _missing(run: Provenance, is_empty: bool) -> list[str]:
    many = run.not_run
    reasons = {
        "the run was killed before its end, and this is what it had finished": run.partial,
        "the run was interrupted": run.interrupted,
        "it is not known how many claims did not run": many is None,
        f"{many} selected claim{'s were' if (many or 0) > 1 else ' was'} not run": many,
        "it holds no claim": is_empty,
    }
    return [reason for reason, applies in reasons.items() if applies]
