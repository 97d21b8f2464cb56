"""Evidence in words: each kind of claim says its own, in one frame."""

from __future__ import annotations

from ..columns import in_columns, wrapped
from ..evidence import Evidence, Verdict
from ..screen import visible
from . import words
from .kinds import ClaimKind, kind_of
from .pilots import threshold_line


def complete(evidence: Evidence) -> Evidence:
    """The evidence with what depends on the run it belongs to: how to see a counterexample again, and the message.

    Call it when nothing else of the evidence changes any more.
    """
    if evidence.check:
        try:
            evidence = evidence.but(extra=kind_of(evidence.check).said("extra", evidence))
        except Exception:  # of a user's claim, which may be the error itself
            if evidence.verdict is not Verdict.ERROR:
                raise
    return evidence.but(message=explain(evidence))


def explain(evidence: Evidence, *, brief: bool = False, width: int | None = None, first: int = 0) -> str:
    """The text that a terminal shows for one claim. A pass is a few lines; everything else says why and what to do.

    Args:
        brief: leave out why: the curve, strata, the worst items.
        width: columns that no line exceeds; controls are written out then. By default only tables are kept to 100.
        first: columns that something else takes in front of the first line.
    """
    if width is None:
        return "\n".join(_lines(evidence, brief))
    with in_columns(width):
        return wrapped(visible("\n".join(_lines(evidence, brief))), width, first=first)


def _lines(evidence: Evidence, brief: bool) -> list[str]:
    if evidence.verdict is Verdict.ERROR:
        return [f"{evidence.name}: ERROR  {evidence.error}", *words.rerun(evidence)]
    kind = kind_of(evidence.check)
    headline = _headline(kind, evidence)
    if evidence.passed and evidence.xfail is not None:
        headline = headline.replace(": PASS", ": XPASS", 1)
    few = words.too_few(evidence)
    said = f"{few}: " if few is not None and few in headline else ""  # which its warning need not say again
    lines = [headline, *(f"  warning: {warning.removeprefix(said)}" for warning in evidence.warnings)]
    lines += [f"  silenced: {one['code']} ({one['reason']})" for one in evidence.silenced]
    lines += (
        threshold_line(evidence) + words.by_themselves(evidence) + words.reading(evidence) + kind.said("remarks", evidence)
    )
    if evidence.passed:
        return lines + (words.rerun(evidence) if evidence.xfail is not None else [])
    found = evidence.counterexample
    reproduce = [f"  show the counterexample again: {found['reproduce']}"] if found else []
    if evidence.has_no_threshold:
        why = [*words.where(evidence), *words.curve(evidence)]
    else:
        why = kind.said("explanation", evidence)
    why = [] if brief else why
    return [*lines, *why, *reproduce, *words.rerun(evidence)]


def _headline(kind: ClaimKind, evidence: Evidence) -> str:
    try:
        found: str = kind.said("headline", evidence)
    except TypeError:  # of a kind that counts with a threshold, where there is none yet
        if not evidence.has_no_threshold:
            raise
        return words.no_threshold(evidence)
    return found if "no threshold yet" in found or not evidence.has_no_threshold else words.no_threshold(evidence)
