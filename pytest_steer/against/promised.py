"""A later run judged by the earlier promise, so that a lowered threshold or confidence hides no loss."""

from __future__ import annotations

from ..core.record import UNBOUNDED, ClaimRecord

RANK = {"fail": 0, "inconclusive": 1, "pass": 2}


def as_promised(old: ClaimRecord, new: ClaimRecord) -> tuple[str, str | None]:
    """The verdict of the later run, or the one by the earlier threshold and confidence if that is worse, and the words for it.

    The bounds of the later run stand for its data. Where both threshold and confidence were lowered they are too narrow to prove a
    pass, so the claim is at best inconclusive.

    Args:
        old / new: records of one claim, neither of them an error.
    """
    verdict, at = str(new.verdict), old.threshold
    sign = 1 if new.direction == "at_least" else -1
    eased = at is not None and new.threshold is not None and sign * (new.threshold - at) < 0
    doubted = new.confidence < old.confidence
    earlier = _at(at, new, sign) if at is not None and eased else verdict
    if earlier == "pass" and doubted and (eased or not _proven(new, old.confidence)):
        earlier = "inconclusive"
    if RANK[earlier] >= RANK[verdict]:
        return verdict, None
    changed = [f"threshold {at:g}"] if eased else []
    changed += [f"confidence {old.confidence:g}"] if doubted else []
    return earlier, f"{earlier} by the earlier {' and '.join(changed)}"


def _at(threshold: float, new: ClaimRecord, sign: int) -> str:
    low, high = new.interval
    if low is None and high is None:
        low = high = new.estimate
    near, far = (low, high) if sign > 0 else (high, low)
    if near is not None and sign * (near - threshold) >= 0:
        return "pass"
    return "fail" if far is not None and sign * (far - threshold) < 0 else "inconclusive"


def _proven(new: ClaimRecord, confidence: float) -> bool:
    return new.interval == UNBOUNDED or (new.p_pass is not None and new.p_pass <= 1 - confidence)
