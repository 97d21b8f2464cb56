"""``no_regression``: a claim of the file, or each of them, lost at most `tolerance` since the baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from ...against import Loss, compared, is_part, loss_of, pair_units
from ...core.block import Block, Entry, Line
from ...core.errors import SteerError
from ...core.evidence import SCORING, Direction, Evidence, Verdict, plain
from ...core.finding import Finding, Weight, code
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import AgainstClaim, ClaimRecord, Data, Report, record_of
from ...core.registry import did_you_mean
from ...core.run_context import current_run
from ...measures.compared import bounds_of
from ...model import Model
from ...stats import Inference, items_needed_mean, judge, least_of
from .. import show
from ..base import AnyClaim, concluded
from ..from_file import OtherClaim
from ..kind import claim

no_baseline = code(
    "no-baseline",
    signal="There is no earlier report with this claim to compare with.",
    meaning="Nothing was judged.",
    cure="Make a baseline, and compare later runs with it.",
)
runs_differ = code(
    "runs-differ",
    signal="The two runs differ in a condition, such as the device or a version.",
    meaning="A loss may come from that difference.",
    cure="Measure under the conditions of the baseline, or make a new baseline.",
    weight=Weight.ANOTHER,
)
not_in_baseline = code(
    "not-in-baseline",
    signal="A claim is new since the baseline.",
    meaning="It is compared with nothing.",
    cure="Make a new baseline with --steer-update-baseline.",
)
other_units = code(
    "other-units",
    signal="The two runs do not have the same units.",
    meaning="The loss is that of the units which both have.",
    cure="Measure the units of the baseline, or make a new baseline.",
)


@dataclass(frozen=True)
class Held:
    """A claim that both runs have; ``loss`` is None where its values cannot be paired."""

    old: ClaimRecord
    new: ClaimRecord
    entry: AgainstClaim
    loss: Loss | None

    @property
    def gain(self) -> float:
        """How far it moved towards its promise."""
        if self.loss is not None:
            return self.loss.gain.estimate
        if self.old.estimate is None or self.new.estimate is None:
            return 0.0
        rise = self.new.estimate - self.old.estimate
        return rise if self.new.direction == "at_least" else -rise


@dataclass(frozen=True)
class NotYet:
    """Why nothing was judged, and whether the run makes a baseline."""

    not_yet: str
    makes_baseline: bool


@dataclass(frozen=True)
class Details:
    """The claims that were compared.

    Attributes:
        of: which lost most. fallen: whose verdict fell, of those whose values cannot be paired.
        gone: which only the baseline has. unknown: which could not be measured in the baseline.
    """

    of: str
    fallen: list[str]
    gone: list[str]
    unknown: list[str]
    claims: list[AgainstClaim]


@claim("no_regression", title="Nothing got worse since the baseline", main="tolerance")
class NoRegression(AnyClaim):
    """A claim of the file, or each of them, lost at most `tolerance` since the report that ``--steer-baseline`` names.

    A loss is how far a claim's statistic moved away from its promise, over the units that both runs have, each paired with itself. The
    claim passes if a loss beyond `tolerance` is excluded, and fails if one is proven; of several claims each has to pass, and one that is
    refuted at a level divided by their number is a fail (``stats.least_of``). Without values that can be paired the verdict of the
    claim may not fall.

    Raises:
        SteerError: `of` names no claim of the file, a claim cannot be measured, or conditions differ so that the two runs do not compare.
    """

    tolerance: Annotated[
        Promise,
        Param(
            "The most that may be lost, in the unit of the claim: 0.05 of a steerability, or 5 % of a share or of perplexity.",
            title="Largest loss",
            example=0.05,
            at_least=0,
            weak_from=2,
            weak="lets more be lost than a share or a doubled perplexity can lose; 5 % is written 0.05",
        ),
    ]
    of: Annotated[
        str | None,
        Param(
            "The name of a claim of this file; without it, every claim of the file.",
            title="Claim that is held against the baseline",
            example="steers-in-french",
            schema={"type": ["string", "null"], "pattern": r"\S", "default": None},
        ),
    ] = None
    others: Sequence[OtherClaim] = ()
    confidence: float = 0.95
    min_n: int | None = None

    def conclude(self, model: Model) -> Evidence:
        """Measure the other claims and judge what they lost."""
        chosen = self._chosen()
        run = current_run()
        if run.baseline is None:
            return self._not_yet(_NO_BASELINE, makes=run.makes_baseline)
        if self.threshold is None:
            raise SteerError("no_regression: tolerance needs a number to judge a loss by, such as 0.05")
        file = run.place.partition("::")[0]
        measured = {one.name: one.evidence() for one in chosen}
        suite = chosen[0].suite
        for name, evidence in measured.items():
            if evidence.verdict is Verdict.ERROR:
                raise SteerError(f"{name} cannot be measured, so nothing can be held against the baseline: {evidence.error}")
        new = [replace(record_of(one.to_dict()), id=f"{file}::{one.name}", suite=suite) for one in measured.values()]
        pairs = compared(
            self._known(run.baseline, file, new),
            new,
            self.threshold,
            scoring=(run.baseline.provenance.scoring, SCORING),
            part=is_part(run.baseline, run.effort.name),
        )
        entries = [entry for *_, entry in pairs]
        if blocked := [entry.message for entry in entries if entry.outcome == "not_comparable"]:
            raise SteerError(
                f"what does not compare with the baseline cannot be judged: {'; '.join(blocked)}. Measure as before, or make a new baseline "
                "(--steer-update-baseline)"
            )
        both = [
            Held(old, now, entry, self._loss(old, now, entry))
            for old, now, entry in pairs
            if old is not None and now is not None
        ]
        if not both:
            return self._not_yet("the baseline has none of these claims", makes=False)
        return self._judged(both, entries, measured, self.threshold)

    def _chosen(self) -> list[OtherClaim]:
        if self.of is None:
            if not self.others:
                raise SteerError("no_regression is about other claims of its file, and there are none")
            return list(self.others)
        found = [one for one in self.others if self.of in (one.name, one.name.partition("[")[0])]
        if not found:
            hint = did_you_mean(self.of, [one.name for one in self.others])
            raise SteerError(f"of: there is no claim {self.of!r} in the file: {hint}")
        return found

    def _known(self, baseline: Report, file: str, new: Sequence[ClaimRecord]) -> list[ClaimRecord]:
        """The claims of the baseline that are held against these."""
        of_file = [one for one in baseline.claims if one.id.partition("::")[0] == file]
        own = of_file or [one for one in baseline.claims if one.suite == new[0].suite]
        names = {one.name for one in new}
        choice = {one.name.partition("[")[2] for one in self.others}
        return [
            one
            for one in own
            if not one.is_comparison and (one.name in names if self.of is not None else one.name.partition("[")[2] in choice)
        ]

    def _loss(self, old: ClaimRecord, new: ClaimRecord, entry: AgainstClaim) -> Loss | None:
        if entry.difference is None:
            return None
        if entry.n < (self.min_n or 0):
            raise SteerError(f"{entry.name}: {entry.n} units are the same, and min_n is {self.min_n}")
        return loss_of(old, new, pair_units(old, new), confidence=self.confidence)

    def _judged(
        self, both: Sequence[Held], entries: Sequence[AgainstClaim], measured: Mapping[str, Evidence], tolerance: float
    ) -> Evidence:
        gains = [one.loss.gain for one in both if one.loss is not None]
        unpaired = [one for one in both if one.loss is None]
        worst = min(both, key=lambda one: one.gain)
        about, estimate = measured[worst.entry.name], 0.0 - worst.gain  # which is never -0
        own = Details(
            of=worst.entry.name,
            fallen=[one.entry.name for one in unpaired if one.entry.outcome in ("broken", "worse")],
            gone=[entry.name for entry in entries if entry.outcome == "gone"],
            unknown=[one.entry.name for one in both if one.entry.before and one.entry.before.verdict == "error"],
            claims=[*entries],
        )
        has_few = any(one.old.units is not None and one.new.units is not None for one in unpaired)
        bounds = self._bounds(gains, tolerance) if gains else {}
        verdict = bounds.pop("verdict", Verdict.PASS)
        if own.fallen:
            verdict = Verdict.FAIL
        elif verdict is Verdict.PASS and (own.gone or has_few or own.unknown or estimate > tolerance):
            verdict = Verdict.INCONCLUSIVE  # nothing may pass that was not looked at
        ids = "".join(sorted(one.new.data.hash for one in both if one.new.data))
        data = Data(hash=hashlib.sha256(ids.encode()).hexdigest(), n=sum(one.entry.n for one in both), source="baseline")
        judged = self._evidence(
            verdict,
            own,
            statistic=f"loss of {own.of}" if len(both) == 1 else f"largest loss of {len(both)} claims",
            estimate=estimate,
            n=about.n if worst.loss is None else worst.loss.n,
            unit="units that both runs have",
            min_n=self.min_n,
            percent=about.percent and len({one.percent for one in measured.values()}) == 1,
            items_needed=_needed(gains, -tolerance, self.confidence) if verdict is Verdict.INCONCLUSIVE else None,
            findings=tuple(_findings(entries)),
            **bounds,
        )
        return judged.but(
            multiplier=about.multiplier, model=about.model, vector=about.vector, receipt=about.receipt, data=data
        )

    def _bounds(self, gains: Sequence[Inference], tolerance: float) -> dict[str, Any]:
        """The verdict on the least of the gains, and the fields of the evidence that say how it was reached."""
        least = least_of(gains)
        low, high = bounds_of(least)
        return {
            "verdict": judge(least, -tolerance, Direction.AT_LEAST),
            "interval": (None if high is None else 0.0 - high, None if low is None else 0.0 - low),
            "interval_method": f"paired: {least.method}",
            "p_pass": least.p_at_least(-tolerance),
            "p_fail": least.p_at_most(-tolerance),
        }

    def _not_yet(self, why: str, *, makes: bool) -> Evidence:
        cure = "" if why == _NO_BASELINE else "make a new one with --steer-update-baseline"
        own, findings = NotYet(why, makes), (no_baseline(why, cure),)
        return self._evidence(Verdict.INCONCLUSIVE, own, statistic="loss since the baseline", findings=findings)

    def _evidence(self, verdict: Verdict, own: Details | NotYet, **fields: Any) -> Evidence:
        promise = {"threshold": self.threshold, "direction": Direction.AT_MOST, "confidence": self.confidence}
        return concluded(self, verdict, own, unpaired="it is itself a comparison", **promise, **fields)

    @staticmethod
    def extra(evidence: Evidence) -> dict[str, bool]:
        return {"is_comparison": True}

    @staticmethod
    def headline(evidence: Evidence) -> str | None:
        return "no baseline yet" if isinstance(evidence.own, NotYet) else None

    @staticmethod
    def reason(evidence: Evidence) -> str | None:
        own: Details | NotYet = evidence.own
        if isinstance(own, NotYet):
            return None
        if own.fallen:
            return f"the verdict of {', '.join(own.fallen)} fell"
        if evidence.verdict is Verdict.INCONCLUSIVE and own.gone:
            return f"gone since the baseline: {', '.join(own.gone)}"
        if evidence.verdict is Verdict.INCONCLUSIVE and own.unknown:
            return f"could not be measured in the baseline: {', '.join(own.unknown)}"
        is_unbounded = evidence.interval == (None, None)
        return "no interval of the loss is possible: the verdict may not fall" if is_unbounded else None

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        own: Details | NotYet = evidence.own
        return "" if isinstance(own, NotYet) or own.gone or own.fallen or own.unknown else None

    @staticmethod
    def always(evidence: Evidence) -> Iterable[Block]:
        return [Line(entry.message) for entry in _entries(evidence)]

    @staticmethod
    def why(evidence: Evidence) -> Iterable[Block]:
        flipped = [one for entry in _entries(evidence) for one in entry.flipped]
        return show.items_block(
            (
                Entry(one.id, one.after - one.before, f"{one.before:.3g} -> {one.after:.3g}", one.question or "")
                for one in flipped
            ),
            title="flipped, the most moved first",
            value="change",
        )


_NO_BASELINE = (
    "no baseline yet: make one from a run of all claims, pytest --steer-baseline baseline.json --steer-update-baseline, and hold later runs "
    "against it, pytest --steer-baseline baseline.json"
)


def _entries(evidence: Evidence) -> list[AgainstClaim]:
    return [] if isinstance(evidence.own, NotYet) else evidence.own.claims


def _findings(entries: Sequence[AgainstClaim]) -> Iterator[Finding]:
    """What differs between the runs, and claims that have nothing to be compared with."""
    for entry in entries:
        counts = [f"{count} {what}" for what, count in plain(entry.items).items() if count]
        if entry.reasons:
            yield runs_differ(f"{entry.name}: {'; '.join(entry.reasons)}")
        if entry.outcome == "new":
            yield not_in_baseline(f"{entry.name} is not in the baseline")
        if counts:
            yield other_units(f"{entry.name}: units {', '.join(counts)}")


def _needed(gains: Sequence[Inference], at: float, confidence: float) -> int | None:
    """Units with which the most demanding of the open claims would be decided."""
    open_ones = [one for one in gains if one.low < at]
    needed = [
        items_needed_mean(one.estimate, one.standard_deviation, at, confidence=confidence)
        for one in open_ones
        if one.standard_deviation
    ]
    known = [number for number in needed if number is not None]
    return max(known) if known and len(known) == len(open_ones) else None
