"""Numbers as a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterable


def number(value: float | None, percent: bool = False) -> str:
    """Three significant digits, or per cent; a dash for an absent bound."""
    if value is None or not percent:
        return precise(value)
    value = round(value, 3) + 0.0  # no "-0.0%"
    return f"{value:+.1%}" if abs(value) < 10 else f"{value:+,.0%}"


def precise(value: float | None, percent: bool = False, *, signed: bool = False) -> str:
    """Three significant digits, per cent too, as small differences need; with ``signed``, a plus before what is above 0."""
    if value is None:
        return "-"
    plus = "+" if signed and value > 0 else ""
    return f"{plus}{100 * value + 0.0:.3g}%" if percent else f"{plus}{value + 0.0:.3g}"  # no "-0"


def promise(value: float | None, percent: bool = False) -> str:
    """A threshold as it was written, not rounded to what an estimate is worth."""
    if value is None:
        return "-"
    return f"{100 * value:+.6g}%" if percent else f"{value:.6g}"


def promised(sign: str, value: float | None, percent: bool = False) -> str:
    """On which side of its threshold a claim promises to be, if it has one."""
    return "no threshold yet" if value is None else f"{sign} {promise(value, percent)}"


def would_decide(n: int, unit: str) -> str:
    """How many units would decide an inconclusive claim, as a sentence."""
    return f"about {n} {unit} would decide (80 % power, if the estimate is the truth)"


def low_confidence(confidence: float) -> str:
    """What a verdict at less than 90 % is followed by."""
    return f" at {100 * confidence:.4g} %" if confidence < 0.9 else ""


def in_brackets(interval: Iterable[float | None], percent: bool = False) -> str:
    """Both bounds: ``[0.1, 0.3]``, with a dash for an absent one."""
    return f"[{', '.join(number(bound, percent) for bound in interval)}]"


def bounds(interval: tuple[float | None, float | None], percent: bool = False) -> str:
    """Both bounds in brackets; empty where both are absent."""
    return "" if interval == (None, None) else in_brackets(interval, percent)


def estimated(value: float | None, interval: Iterable[float | None], percent: bool = False) -> str:
    """An estimate with its bounds: ``0.2 [0.1, 0.3]``."""
    return f"{number(value, percent)} {in_brackets(interval, percent)}"
