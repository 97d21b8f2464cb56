"""A report compared with an earlier one, claim by claim, and what a terminal shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..core.clusters import clusters_of
from ..core.columns import wrapped
from ..core.numbers import precise
from ..core.record import (
    UNBOUNDED,
    Against,
    AgainstClaim,
    BaselineSource,
    ClaimRecord,
    Flipped,
    Flips,
    Judged,
    OtherUnits,
    Outcome,
    Report,
)
from ..stats import Inference, least_of
from ..stats.estimators import gain_between
from .conditions import conditions, report_notes
from .pairing import Paired, fault_of, pair_claims, pair_units, question_of

Pair = tuple[ClaimRecord | None, ClaimRecord | None]

WORSE: tuple[Outcome, ...] = ("broken", "worse")
UNKNOWN: tuple[Outcome, ...] = ("gone", "not_comparable")
OUTCOMES: tuple[Outcome, ...] = (*WORSE, *UNKNOWN, "new", "newly_holding", "better", "unchanged", "held")
"""Worst first. ``unchanged`` is a claim that did not hold before and does not now."""

LEAST_N = 8
"""Paired units below which means are not compared, where the claim has no ``min_n``."""

_PROMISE = ("threshold", "confidence", "min_n")
_MOST_FLIPPED = 20
_MOST_OF_ERROR = 200
_SHOWN_FLIPS = 3


def held_against(
    old: Report,
    new: Report,
    tolerance: float = 0.0,
    *,
    baseline: BaselineSource | None = None,
    not_run: Container[str] = (),
) -> Against:
    """Compare a report with an earlier one.

    Args:
        tolerance: a loss beyond this, in the claim's unit, that is proven at the claim's confidence is worse. Where rounding moves the
            statistic of one unit by more, that counts in its place.
        baseline: where ``old`` comes from, put into the result.
        not_run: ids of claims of ``old`` that this run did not select, which are left out.

    Returns:
        The report's ``against``: ``claims`` has an entry for each claim of either, ``notes`` what differs between the runs, and which claims
        are left out, and why.
    """
    known = [claim for claim in old.claims if claim.id not in not_run]
    scoring = old.provenance.scoring, new.provenance.scoring
    part = is_part(old, new.provenance.profile)
    pairs = compared(known, new.claims, tolerance, scoring=scoring, part=part)
    both = {now.id: (one, now) for one, now, _ in pairs if one is not None and now is not None}
    left_out = {own: pair for own, pair in both.items() if _says_nothing_more(*pair, both)}
    return Against(
        baseline=baseline,
        tolerance=tolerance,
        notes=(*report_notes(old, new), *(_left_out(*pair) for pair in left_out.values())),
        not_run=len(old.claims) - len(known),
        claims=tuple(entry for *_, entry in pairs if entry.id not in left_out),
    )


def _says_nothing_more(old: ClaimRecord, new: ClaimRecord, both: Container[str]) -> bool:
    """Whether a claim is a comparison whose loss stands in the entries of other claims.

    Args:
        both: ids of the claims that both reports have.
    """
    if not (old.is_comparison and new.is_comparison) or "error" in (old.verdict, new.verdict):
        return False
    is_as_before = not any(one.partition(":")[0] in _PROMISE for one in conditions(old, new)[1])
    return is_as_before and all(one["id"] in both for one in new.details.get("claims", ()))


def _left_out(old: ClaimRecord, new: ClaimRecord) -> str:
    verdicts = new.verdict if old.verdict == new.verdict else f"{old.verdict} -> {new.verdict}"
    return f"{new.name} ({verdicts}) is left out: it is itself a comparison with a baseline"


def is_part(old: Report, profile: str | None) -> bool:
    """Whether a run of this profile takes part of the data that the earlier report took."""
    return profile == "dev" and old.provenance.profile != "dev"


def compared(
    old: Iterable[ClaimRecord],
    new: Iterable[ClaimRecord],
    tolerance: float = 0.0,
    *,
    scoring: tuple[int, int] = (1, 1),
    part: bool = False,
) -> list[tuple[ClaimRecord | None, ClaimRecord | None, AgainstClaim]]:
    """The claims of two runs in pairs, each with its entry of :func:`held_against`.

    Args:
        scoring: the version of the scoring of each run.
        part: whether the later run is known to take part of the data, see :func:`is_part`.
    """
    versions = [] if scoring[0] == scoring[1] else [f"version of the scoring: {scoring[0]} -> {scoring[1]}"]
    pairs = pair_claims(old, new)
    entries = _renamed(pairs, [_entry(before, after, tolerance, versions, part) for before, after in pairs])
    names = Counter(entry.name for entry in entries)
    # Several claims of one name are told apart by their files.
    said = [_message(replace(entry, name=entry.id) if names[entry.name] > 1 else entry) for entry in entries]
    return [(*pair, replace(entry, message=words)) for pair, entry, words in zip(pairs, entries, said, strict=True)]


def exit_code(against: Against) -> int:
    """1 if something is worse, else 3 if claims are gone or cannot be compared, or no claim is in both, else 0."""
    outcomes = {entry.outcome for entry in against.claims}
    return 1 if outcomes & {*WORSE} else 3 if outcomes & {*UNKNOWN} or not outcomes - {"new"} else 0


def _entry(
    old: ClaimRecord | None, new: ClaimRecord | None, tolerance: float, versions: Sequence[str], part: bool
) -> AgainstClaim:
    known = new or old
    assert known is not None
    entry = AgainstClaim(
        id=known.id,
        name=known.name,
        statistic=known.statistic,
        outcome="new" if old is None else "gone",
        before=_summary(old),
        after=_summary(new),
        difference=None,
        interval=None,
        confidence=known.confidence,
        tolerance=tolerance,
        n=0,
        percent=known.percent,
        flipped=(),
        flips=Flips(),
        items=OtherUnits(),
        reasons=(),
        message="",
    )
    return entry if old is None or new is None else _of_both(entry, old, new, versions, part)


def _summary(claim: ClaimRecord | None) -> Judged | None:
    if claim is None:
        return None
    return Judged(verdict=claim.verdict, estimate=claim.estimate, interval=claim.interval, threshold=claim.threshold)


def _of_both(entry: AgainstClaim, old: ClaimRecord, new: ClaimRecord, versions: Sequence[str], part: bool) -> AgainstClaim:
    """The entry of a claim that both runs have."""
    before, after = old.verdict, new.verdict
    # The record of an error has no conditions.
    blocking, noted = ([], []) if "error" in (before, after) else conditions(old, new)
    if old.is_comparison and new.is_comparison:
        # What it compares is in the entries of those claims; of itself the promise counts.
        blocking, noted = [], [one for one in noted if one.partition(":")[0] in _PROMISE]
    blocking = [*versions, *blocking]
    reasons = [*blocking, *noted]
    if "error" in (before, after):
        outcome, reason = _of_errors(old, new)
        return replace(entry, outcome=outcome, reasons=(*reasons, reason))
    if blocking:
        return replace(entry, outcome="not_comparable", reasons=tuple(reasons))
    room = max(entry.tolerance, _noise(old), _noise(new))
    fell = rose = False
    if not new.is_comparison:
        paired = _paired(old, new, part)
        reasons += paired.reasons
        if paired.pairs is not None:
            own = paired.pairs
            entry = replace(entry, items=OtherUnits(new=own.new, gone=own.gone, changed=own.changed))
        if paired.n is not None:
            entry = replace(entry, n=paired.n, confidence=min(old.confidence, new.confidence))
        if paired.is_blocked:
            return replace(entry, outcome="not_comparable", reasons=tuple(reasons))
        if paired.loss is not None and paired.pairs is not None:
            entry = _with_loss(entry, new, paired.pairs, paired.loss)
            low, high = paired.loss.bounds
            fell, rose = low > room, high < -room
    judged, by_earlier = as_promised(old, new)
    reasons += [] if by_earlier is None else [by_earlier]
    return replace(entry, tolerance=room, outcome=_outcome(before, judged, fell, rose), reasons=tuple(reasons))


def _of_errors(old: ClaimRecord, new: ClaimRecord) -> tuple[Outcome, str]:
    """The outcome of a claim that could not be measured in one of the runs, and why."""
    if new.verdict == "error":
        also = ", nor could it before" if old.verdict == "error" else ""
        outcomes: dict[str, Outcome] = {"pass": "broken", "inconclusive": "worse"}
        return outcomes.get(old.verdict, "not_comparable"), f"it cannot be measured now{also}{_said(new)}"
    return "newly_holding" if new.verdict == "pass" else "not_comparable", f"it could not be measured before{_said(old)}"


def _said(claim: ClaimRecord) -> str:
    """The first line of a claim's error, after a colon."""
    line = next(iter((claim.error or "").strip().splitlines()), "")
    return f": {line if len(line) <= _MOST_OF_ERROR else f'{line[:_MOST_OF_ERROR]}...'}" if line else ""


@dataclass(frozen=True, eq=False)
class _Pairing:
    """The units of two records in pairs, and the loss over them.

    Attributes:
        n: independent units that both have; None if they were not counted.
        reasons: what the reader has to know. is_blocked: these keep the records from being compared.
    """

    pairs: Paired | None = None
    loss: Loss | None = None
    n: int | None = None
    reasons: list[str] = field(default_factory=list)
    is_blocked: bool = False


def _paired(old: ClaimRecord, new: ClaimRecord, part: bool) -> _Pairing:
    if old.units is None or new.units is None:
        return _unpaired(old, new)
    faults = {which: fault for which, one in (("earlier", old), ("later", new)) if (fault := fault_of(one)) is not None}
    if faults:
        said = [f"the {which} report is damaged: {fault}" for which, fault in faults.items()]
        return _Pairing(reasons=said, is_blocked=True)
    pairs = pair_units(old, new)
    missing = {*(old.units.parts or [""])} ^ {*(new.units.parts or [""])}
    if missing:
        return _Pairing(pairs, reasons=[f"not in both: {', '.join(sorted(missing))}"], is_blocked=True)
    loss = loss_of(old, new, pairs, confidence=min(old.confidence, new.confidence))
    n = 0 if loss is None else loss.n
    unit = new.units.unit
    least = max(2, old.min_n or (LEAST_N if new.units.kind == "mean" else 2))
    if n < least:
        if pairs.new or pairs.gone or pairs.changed:
            said = [f"other data: {n} {unit} are the same, and {least} are needed"]
            return _Pairing(pairs, n=n, reasons=said, is_blocked=True)
        return _Pairing(pairs, n=n, reasons=[f"no interval of the difference: {n} {unit} are fewer than {least}"])
    sizes = {"earlier": len(old.units.ids), "later": len(new.units.ids)}
    for which, size in sizes.items():
        if 2 * len(pairs.places) < size and not (part and which == "earlier"):
            said = [f"other data: {len(pairs.places)} of the {size} {unit} of the {which} run are in both, less than half"]
            return _Pairing(pairs, n=n, reasons=said, is_blocked=True)
    said = []
    if (old.units.clusters is None) != (new.units.clusters is None):
        said.append(f"{unit} stand in clusters in one run only")
    if loss is not None and loss.part is not None:
        said.append(f"most in {loss.part}")
    return _Pairing(pairs, loss, n, said)


def _unpaired(old: ClaimRecord, new: ClaimRecord) -> _Pairing:
    """The reason why two records cannot be paired by unit, and whether they can still be compared."""
    said = []
    if old.units is not None or new.units is not None:
        said.append("only one of the two says what its estimate is made of")
    elif (old.data and old.data.hash) != (new.data and new.data.hash) and new.interval != (None, None):
        said.append("other data, and its values cannot be paired")
    why = new.unpaired or old.unpaired or "it does not say what its estimate is made of"
    return _Pairing(reasons=[*said, f"no interval of the difference: {why}"], is_blocked=bool(said))


def _with_loss(entry: AgainstClaim, new: ClaimRecord, pairs: Paired, loss: Loss) -> AgainstClaim:
    """The entry with the difference between the runs, and the units that changed sides; without a threshold there are no sides."""
    assert new.units is not None
    difference, interval = loss.difference
    entry = replace(entry, difference=difference, interval=interval)
    if new.threshold is None:
        return entry
    values = zip(pairs.places, loss.before.tolist(), loss.after.tolist(), strict=True)
    flips = [
        (not kept, -abs(after - before), at, before, after)
        for (_, at), before, after in values
        if (kept := _keeps(new, before)) != _keeps(new, after)
    ]
    lost = sum(not gained for gained, *_ in flips)
    return replace(
        entry,
        flips=Flips(lost=lost, gained=len(flips) - lost),
        flipped=tuple(
            Flipped(id=name, question=question_of(new, name), before=before, after=after)
            for _, _, at, before, after in sorted(flips)[:_MOST_FLIPPED]
            for name in [new.units.names[at]]
        ),
    )


def _keeps(claim: ClaimRecord, value: float) -> bool:
    """Whether a unit is on the promised side by itself."""
    assert claim.units is not None
    at = claim.threshold if claim.units.kind == "mean" else 0.5
    if at is None:
        return True  # nothing is promised that it could miss
    return value >= at if claim.direction == "at_least" else value <= at


def _noise(claim: ClaimRecord) -> float:
    return 0.0 if claim.noise is None else claim.noise.statistic


def _outcome(before: str, after: str, fell: bool, rose: bool) -> Outcome:
    if RANK[after] < RANK[before]:
        return "broken" if before == "pass" else "worse"
    if fell:
        return "worse"
    if after == "pass":
        return "newly_holding" if before != "pass" else "better" if rose else "held"
    return "better" if rose or RANK[after] > RANK[before] else "unchanged"


def _renamed(pairs: Sequence[Pair], entries: Sequence[AgainstClaim]) -> list[AgainstClaim]:
    """The entries, of which a claim that is gone and a new one say, if they are the same measurement, that one looks like the other renamed."""
    found = [*entries]
    fresh = [(at, new) for at, (old, new) in enumerate(pairs) if old is None and new is not None]
    for at, (old, new) in enumerate(pairs):
        if new is not None or old is None:
            continue
        alike = [(other, claim) for other, claim in fresh if _same_measurement(old, claim)]
        if len(alike) == 1:
            other, claim = alike[0]
            now, before = (claim.id, old.id) if claim.name == old.name else (claim.name, old.name)
            found[at] = _noting(found[at], f"looks renamed to {now}")
            found[other] = _noting(found[other], f"looks like {before} renamed")
    return found


def _noting(entry: AgainstClaim, reason: str) -> AgainstClaim:
    return replace(entry, reasons=(*entry.reasons, reason))


def _same_measurement(old: ClaimRecord, new: ClaimRecord) -> bool:
    if (old.check, old.statistic) != (new.check, new.statistic):
        return False
    if old.units and new.units:
        before, after = {*old.units.ids}, {*new.units.ids}
        return 2 * len(before & after) > len(before | after) and old.units.how == new.units.how
    return not old.units and not new.units and bool(old.data and new.data and old.data.hash == new.data.hash)


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
    proven = new.interval == UNBOUNDED or (new.p_pass is not None and new.p_pass <= 1 - old.confidence)
    if earlier == "pass" and doubted and (eased or not proven):
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


Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Loss:
    """A difference between two runs.

    Attributes:
        gain: inference of the rise towards the good side, over the part that fell most; a loss is a negative gain.
        sign: 1 if a rise of the statistic is good, -1 if a fall is.
        part: that fell most, where the statistic is the worst of several; else None.
        before / after: the values of the pairs.
        n: independent units of the part with the fewest.
    """

    gain: Inference
    sign: int
    part: str | None
    before: Array
    after: Array
    n: int

    @property
    def estimate(self) -> float:
        """How far the statistic moved towards the bad side."""
        return -self.gain.estimate

    @property
    def bounds(self) -> tuple[float, float]:
        """One-sided bounds of the loss."""
        return -self.gain.high, -self.gain.low

    @property
    def difference(self) -> tuple[float, tuple[float, float]]:
        """After minus before, on the scale of the statistic, and its bounds."""
        low, high = self.gain.low, self.gain.high
        return (self.gain.estimate, (low, high)) if self.sign > 0 else (self.estimate, (-high, -low))


def loss_of(old: ClaimRecord, new: ClaimRecord, pairs: Paired, *, confidence: float) -> Loss | None:
    """The loss over paired units; None with fewer than two units (or clusters) in a part.

    A mean is compared by Student's t over the paired differences (:func:`stats.mean_t`), a share by its exact paired bound
    (:func:`stats.paired_share_difference`), with clusters as in ``stats.share_difference_of_clusters``; a share lost by
    :func:`stats.change_difference`. Of several parts each has its bounds, combined as ``stats.least_of`` does.
    """
    assert old.units is not None
    assert new.units is not None
    sign = 1 if new.direction == "at_least" else -1
    before = np.array([old.units.values[at] for at, _ in pairs.places], dtype=np.float64)
    after = np.array([new.units.values[at] for _, at in pairs.places], dtype=np.float64)
    labels = np.array(pairs.parts, dtype=object)
    clusters = None if pairs.clusters is None else np.array(pairs.clusters)
    found: dict[str, Inference] = {}
    for part in dict.fromkeys(pairs.parts):
        own = labels == part
        together = None if clusters is None else clusters_of(clusters[own].tolist())
        if (own.sum() if together is None else len(set(together))) < 2:
            return None
        gains = sign * (after[own] - before[own])
        found[part] = gain_between(new.units.kind, gains, together, confidence=confidence)
    if not found:
        return None
    worst = min(found, key=lambda part: found[part].estimate)
    least = least_of(list(found.values()))
    return Loss(least, sign, worst if len(found) > 1 else None, before, after, least.n)


# --- a comparison in words: a message for each claim, and the lines that a terminal shows ---


def _message(entry: AgainstClaim) -> str:
    """What became of one claim, in one line."""
    before, after, name = entry.before, entry.after, entry.name
    what = f"{name}: {outcome_words(entry.outcome)}"
    if before is None or after is None:
        was = (
            f"{what}: was {before.verdict}" if before is not None else what if after is None else f"{what}: {after.verdict}"
        )
        return f"{was}{_because(entry)}"
    verdicts = after.verdict if before.verdict == after.verdict else f"{before.verdict} -> {after.verdict}"
    return f"{what}: {verdicts}{_moved(entry, before, after)}{_because(entry)}"


def _moved(entry: AgainstClaim, before: Judged, after: Judged) -> str:
    percent = entry.percent
    if before.estimate is None or after.estimate is None:
        return ""
    said = f", {entry.statistic} {precise(before.estimate, percent)} -> {precise(after.estimate, percent)}"
    if entry.difference is None or entry.interval is None:
        return said
    low, high = entry.interval
    if entry.difference == 0 and before.estimate == after.estimate and not (entry.flips.lost or entry.flips.gained):
        missed = f", where a change of up to {precise(max(-low, high), percent)} can be missed" if high > low else ""
        return f", {entry.statistic} {precise(after.estimate, percent)}, equal on all {entry.n}{missed}"
    moved, least, most = (precise(one, percent, signed=True) for one in (entry.difference, low, high))
    said += f": {moved} [{least}, {most}] over {entry.n}"
    if entry.outcome not in ("held", "unchanged"):
        return said
    # The interval says something where the verdicts say nothing.
    return said + (", a change that is not proven either way" if low < 0 < high else ", within the tolerance or rounding")


def _because(entry: AgainstClaim) -> str:
    reasons = list(entry.reasons)
    items, flips = entry.items, entry.flips
    named = (("changed", items.changed), ("gone", items.gone), ("new", items.new))
    counts = [f"{count} {name}" for name, count in named if count]
    reasons += [f"units {', '.join(counts)}"] if counts else []
    reasons += [f"{flips.lost} flipped to the bad side, {flips.gained} back"] if flips.lost or flips.gained else []
    return f" ({'; '.join(reasons)})" if reasons else ""


def outcome_words(outcome: Outcome) -> str:
    """The outcome of a claim in words."""
    return outcome.replace("_", " ")


def units_words(items: OtherUnits) -> str:
    """How many units only one of the two runs has; empty where both have the same."""
    return ", ".join(f"{count} {word}" for word, count in asdict(items).items() if count)


def summary_lines(against: Against, width: int = 80) -> list[str]:
    """The comparison as a terminal shows it: the baseline, the counts, and each claim that is not as it was.

    Args:
        width: no line is wider, except for a word that is.
    """
    baseline = against.baseline
    lines = [f"compared with {'an earlier report' if baseline is None else baseline.path} ({baseline_words(baseline)})"]
    lines += [f"  {note}" for note in against.notes]
    for entry in against.claims:
        if entry.outcome == "held" and not entry.reasons and entry.items == OtherUnits():
            continue
        lines.append(f"  {entry.message}")
        for one in entry.flipped[:_SHOWN_FLIPS] if entry.outcome in ("broken", "worse") else ():
            moved = f"    [{one.id}] {precise(one.before)} -> {precise(one.after)}  "
            text = f"{moved}{' '.join((one.question or '').split())}".rstrip()
            lines.append(text if len(text) <= width else f"{text[: width - 3]}...")
    return wrapped("\n".join([*lines, counts_line(against)]), width).split("\n")


def counts_line(against: Against) -> str:
    """The number of claims with each outcome, worst first."""
    counts = Counter(entry.outcome for entry in against.claims)
    said = [f"{counts[outcome]} {outcome_words(outcome)}" for outcome in OUTCOMES if counts[outcome]]
    said += [f"{against.not_run} of the baseline not run"] if against.not_run else []
    return ", ".join(said) or "no claims"


def baseline_words(baseline: BaselineSource | None) -> str:
    """Date, model and hash of a baseline."""
    if baseline is None:
        return "no provenance"
    return ", ".join(filter(None, (baseline.date[:10], baseline.model, f"sha256 {baseline.sha256[:12]}")))
