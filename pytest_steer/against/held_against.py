"""A report held against an earlier one, claim by claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from .conditions import conditions, report_notes
from .losses import Loss, loss_of
from .pairing import Paired, fault_of, pair_claims, pair_units, question_of
from .promised import RANK, as_promised
from .words import message

Record = Mapping[str, Any]
Entry = dict[str, Any]

WORSE = ("broken", "worse")
UNKNOWN = ("gone", "not_comparable")
OUTCOMES = (*WORSE, *UNKNOWN, "new", "newly_holding", "better", "unchanged", "held")
"""Worst first. ``unchanged`` is a claim that did not hold before and does not now."""

LEAST_N = 8
"""Paired units below which means are not compared, where the claim has no ``min_n``."""

_PROMISE = ("threshold", "confidence", "min_n")
_MOST_FLIPPED = 20
_MOST_OF_ERROR = 200


def held_against(
    old: Record,
    new: Record,
    tolerance: float = 0.0,
    *,
    baseline: Entry | None = None,
    not_run: Container[str] = (),
) -> Entry:
    """Hold a report against an earlier one.

    Args:
        old / new: reports as ``report/schema.json`` describes them.
        tolerance: a loss beyond this, in the claim's unit, that is proven at the claim's confidence is worse. Where rounding moves the
            statistic of one unit by more, that counts in its place.
        baseline: where ``old`` comes from, put into the result.
        not_run: ids of claims of ``old`` that this run did not select, which are left out.

    Returns:
        The report's ``against``: ``claims`` has an entry for each claim of either, ``notes`` what differs between the runs, and which claims
        are left out, and why.
    """
    before, after = (report["provenance"].get("scoring", 1) for report in (old, new))
    known = [claim for claim in old["claims"] if claim["id"] not in not_run]
    part = is_part(old, new["provenance"].get("profile"))
    pairs = compared(known, new["claims"], tolerance, scoring=(before, after), part=part)
    both = {now["id"]: (one, now) for one, now, _ in pairs if one is not None and now is not None}
    left_out = {own: pair for own, pair in both.items() if _says_nothing_more(*pair, both)}
    return {
        "baseline": baseline,
        "tolerance": tolerance,
        "notes": [*report_notes(old, new), *(_left_out(*pair) for pair in left_out.values())],
        "not_run": len(old["claims"]) - len(known),
        "claims": [entry for *_, entry in pairs if entry["id"] not in left_out],
    }


def _says_nothing_more(old: Record, new: Record, both: Container[str]) -> bool:
    """Whether a claim is a comparison whose loss stands in the entries of other claims.

    Args:
        both: ids of the claims that both reports have.
    """
    if not _are_comparisons(old, new) or "error" in (old["verdict"], new["verdict"]):
        return False
    is_as_before = not any(one.partition(":")[0] in _PROMISE for one in conditions(old, new)[1])
    return is_as_before and all(one["id"] in both for one in new["details"].get("claims", ()))


def _are_comparisons(old: Record, new: Record) -> bool:
    """Whether a claim compares with the baseline of its run itself.

    What it finds is in the entries of the claims that it is about, so it is left out; only where its promise changed or it cannot be measured
    are its verdicts compared.
    """
    return all(one.get("is_comparison") for one in (old, new))


def _left_out(old: Record, new: Record) -> str:
    verdicts = new["verdict"] if old["verdict"] == new["verdict"] else f"{old['verdict']} -> {new['verdict']}"
    return f"{new['name']} ({verdicts}) is left out: it is itself a comparison with a baseline"


def is_part(old: Record, profile: str | None) -> bool:
    """Whether a run of this profile takes part of the data that the earlier report took."""
    return profile == "dev" and old["provenance"].get("profile") != "dev"


def compared(
    old: Iterable[Record],
    new: Iterable[Record],
    tolerance: float = 0.0,
    *,
    scoring: tuple[int, int] = (1, 1),
    part: bool = False,
) -> list[tuple[Record | None, Record | None, Entry]]:
    """The claims of two runs in pairs, each with its entry of :func:`held_against`.

    Args:
        scoring: the version of the scoring of each run.
        part: whether the later run is known to take part of the data, see :func:`is_part`.
    """
    versions = [] if scoring[0] == scoring[1] else [f"version of the scoring: {scoring[0]} -> {scoring[1]}"]
    pairs = pair_claims(old, new)
    entries = [_entry(before, after, tolerance, versions, part) for before, after in pairs]
    _name_renamed(pairs, entries)
    names = Counter(entry["name"] for entry in entries)
    for entry in entries:
        # Several claims of one name are told apart by their files.
        entry["message"] = message({**entry, "name": entry["id"]} if names[entry["name"]] > 1 else entry)
    return [(before, after, entry) for (before, after), entry in zip(pairs, entries, strict=True)]


def exit_code(against: Record) -> int:
    """1 if something is worse, else 3 if claims are gone or cannot be compared, or no claim is in both, else 0."""
    outcomes = {entry["outcome"] for entry in against["claims"]}
    return 1 if outcomes & {*WORSE} else 3 if outcomes & {*UNKNOWN} or not outcomes - {"new"} else 0


def _entry(old: Record | None, new: Record | None, tolerance: float, versions: Sequence[str], part: bool) -> Entry:
    known = new or old
    assert known is not None
    entry: Entry = {
        "id": known["id"],
        "name": known["name"],
        "statistic": known.get("statistic", ""),
        "outcome": "new" if old is None else "gone",
        "before": _summary(old),
        "after": _summary(new),
        "difference": None,
        "interval": None,
        "confidence": known["confidence"],
        "tolerance": tolerance,
        "n": 0,
        "percent": bool(known.get("percent")),
        "flipped": [],
        "flips": {"lost": 0, "gained": 0},
        "items": {"new": 0, "gone": 0, "changed": 0},
        "reasons": [],
    }
    if old is not None and new is not None:
        _compare(entry, old, new, tolerance, versions, part)
    return entry


def _summary(claim: Record | None) -> Entry | None:
    return None if claim is None else {key: claim[key] for key in ("verdict", "estimate", "interval", "threshold")}


def _compare(entry: Entry, old: Record, new: Record, tolerance: float, versions: Sequence[str], part: bool) -> None:
    before, after = old["verdict"], new["verdict"]
    # The record of an error has no conditions.
    blocking, noted = ([], []) if "error" in (before, after) else conditions(old, new)
    if _are_comparisons(old, new):
        # What it compares is in the entries of those claims; of itself the promise counts.
        blocking, noted = [], [one for one in noted if one.partition(":")[0] in _PROMISE]
    blocking = [*versions, *blocking]
    entry["reasons"] = [*blocking, *noted]
    if "error" in (before, after):
        entry["outcome"] = _of_errors(entry, old, new)
        return
    pairs = loss = None
    if not blocking and not new.get("is_comparison"):
        pairs, loss = _measured(entry, old, new, blocking, part)
    if blocking:
        entry["outcome"] = "not_comparable"
        return
    entry["tolerance"] = room = max(tolerance, *(_noise(claim) for claim in (old, new)))
    fell = rose = False
    if loss is not None and pairs is not None:
        _put_loss(entry, old, new, pairs, loss)
        low, high = loss.bounds
        fell, rose = low > room, high < -room
    after, by_earlier = as_promised(old, new)
    if by_earlier is not None:
        entry["reasons"].append(by_earlier)
    entry["outcome"] = _outcome(before, after, fell, rose)


def _of_errors(entry: Entry, old: Record, new: Record) -> str:
    before, after = old["verdict"], new["verdict"]
    if after == "error":
        also = ", nor could it before" if before == "error" else ""
        entry["reasons"].append(f"it cannot be measured now{also}{_said(new)}")
        return {"pass": "broken", "inconclusive": "worse"}.get(before, "not_comparable")
    entry["reasons"].append(f"it could not be measured before{_said(old)}")
    return "newly_holding" if after == "pass" else "not_comparable"


def _said(claim: Record) -> str:
    """The first line of a claim's error, after a colon."""
    line = next(iter(str(claim.get("error") or "").strip().splitlines()), "")
    return f": {line if len(line) <= _MOST_OF_ERROR else f'{line[:_MOST_OF_ERROR]}...'}" if line else ""


def _measured(entry: Entry, old: Record, new: Record, blocking: list[str], part: bool) -> tuple[Paired | None, Loss | None]:
    """The pairs and the loss over them; what keeps the two from being compared is added to ``blocking``, and to the reasons."""

    def block(reason: str) -> None:
        blocking.append(reason)
        entry["reasons"].append(reason)

    other_data = (old.get("data") or {}).get("hash") != (new.get("data") or {}).get("hash")
    if not old.get("units") or not new.get("units"):
        if old.get("units") or new.get("units"):
            block("only one of the two says what its estimate is made of")
        elif other_data and new["interval"] != [None, None]:
            block("other data, and its values cannot be paired")
        why = new.get("unpaired") or old.get("unpaired") or "it does not say what its estimate is made of"
        entry["reasons"].append(f"no interval of the difference: {why}")
        return None, None
    faults = {which: fault for which, one in (("earlier", old), ("later", new)) if (fault := fault_of(one)) is not None}
    if faults:
        for which, fault in faults.items():
            block(f"the {which} report is damaged: {fault}")
        return None, None
    pairs = pair_units(old, new)
    entry["items"] = {"new": pairs.new, "gone": pairs.gone, "changed": pairs.changed}
    missing = {*(old["units"]["parts"] or [""])} ^ {*(new["units"]["parts"] or [""])}
    if missing:
        block(f"not in both: {', '.join(sorted(missing))}")
        return pairs, None
    entry["confidence"] = min(old["confidence"], new["confidence"])
    loss = loss_of(old, new, pairs, confidence=entry["confidence"])
    entry["n"] = 0 if loss is None else loss.n
    unit = new["units"]["unit"]
    least = max(2, old.get("min_n") or (LEAST_N if new["units"]["kind"] == "mean" else 2))
    if entry["n"] < least:
        if pairs.new or pairs.gone or pairs.changed:
            block(f"other data: {entry['n']} {unit} are the same, and {least} are needed")
        else:
            entry["reasons"].append(f"no interval of the difference: {entry['n']} {unit} are fewer than {least}")
        return pairs, None
    sizes = {"earlier": len(old["units"]["ids"]), "later": len(new["units"]["ids"])}
    for which, size in sizes.items():
        if 2 * len(pairs.places) < size and not (part and which == "earlier"):
            block(f"other data: {len(pairs.places)} of the {size} {unit} of the {which} run are in both, less than half")
            return pairs, None
    if (old["units"]["clusters"] is None) != (new["units"]["clusters"] is None):
        entry["reasons"].append(f"{unit} stand in clusters in one run only")
    if loss is not None and loss.part is not None:
        entry["reasons"].append(f"most in {loss.part}")
    return pairs, loss


def _put_loss(entry: Entry, old: Record, new: Record, pairs: Paired, loss: Loss) -> None:
    difference, interval = loss.difference
    entry["difference"], entry["interval"] = difference, list(interval)
    flips = []
    if new["threshold"] is None:  # there is no promised side yet
        return
    for (_, at), before, after in zip(pairs.places, loss.before.tolist(), loss.after.tolist(), strict=True):
        sides = _keeps(new, before), _keeps(new, after)
        if sides[0] != sides[1]:
            entry["flips"]["lost" if sides[0] else "gained"] += 1
            flips.append((not sides[0], -abs(after - before), at, before, after))
    for _, _, at, before, after in sorted(flips)[:_MOST_FLIPPED]:
        name = new["units"]["names"][at]
        entry["flipped"].append({"id": name, "question": question_of(new, name), "before": before, "after": after})


def _keeps(claim: Record, value: float) -> bool:
    """Whether a unit is on the promised side by itself."""
    at = claim["threshold"] if claim["units"]["kind"] == "mean" else 0.5
    if at is None:
        return True  # nothing is promised that it could miss
    return bool(value >= at if claim["direction"] == "at_least" else value <= at)


def _noise(claim: Record) -> float:
    return float((claim.get("noise") or {}).get("statistic") or 0.0)


def _outcome(before: str, after: str, fell: bool, rose: bool) -> str:
    if RANK[after] < RANK[before]:
        return "broken" if before == "pass" else "worse"
    if fell:
        return "worse"
    if after == "pass":
        return "newly_holding" if before != "pass" else "better" if rose else "held"
    return "better" if rose or RANK[after] > RANK[before] else "unchanged"


def _name_renamed(pairs: Iterable[tuple[Record | None, Record | None]], entries: Sequence[Entry]) -> None:
    """Say of a claim that is gone and of a new one, if they are the same measurement, that one looks like the other renamed."""
    both = [*zip(pairs, entries, strict=True)]
    fresh = [(new, entry) for (old, new), entry in both if old is None and new is not None]
    for (old, new), entry in both:
        if new is not None or old is None:
            continue
        alike = [(claim, other) for claim, other in fresh if _same_measurement(old, claim)]
        if len(alike) == 1:
            claim, other = alike[0]
            key = "id" if claim["name"] == old["name"] else "name"
            entry["reasons"].append(f"looks renamed to {claim[key]}")
            other["reasons"].append(f"looks like {old[key]} renamed")


def _same_measurement(old: Record, new: Record) -> bool:
    if any(old.get(key) != new.get(key) for key in ("check", "statistic")):
        return False
    before, after = old.get("units"), new.get("units")
    if before and after:
        both, either = {*before["ids"]} & {*after["ids"]}, {*before["ids"]} | {*after["ids"]}
        return 2 * len(both) > len(either) and before["how"] == after["how"]
    data, other = old.get("data"), new.get("data")
    return not before and not after and bool(data and other and data["hash"] == other["hash"])
