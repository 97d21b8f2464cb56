"""``no_regression``: a claim of the file, or each of them, lost at most `tolerance` since the baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from ..base import AnyClaim
from ..from_file import OtherClaim
from ..kind import claim

Pair = tuple[ClaimRecord | None, ClaimRecord | None, AgainstClaim]


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
            schema={"type": "number"},
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
        self._check(pairs)
        both = [(old, now, entry) for old, now, entry in pairs if old is not None and now is not None]
        if not both:
            return self._not_yet("the baseline has none of these claims", makes=False)
        return self._judged(both, pairs, measured, self.threshold)

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
        own = [one for one in baseline.claims if one.id.partition("::")[0] == file]
        if not own:
            suites = {one.suite for one in new}
            own = [one for one in baseline.claims if one.suite in suites]
        names = {one.name for one in new}
        choice = {one.name.partition("[")[2] for one in self.others}
        return [
            one
            for one in own
            if not one.is_comparison and (one.name in names if self.of is not None else one.name.partition("[")[2] in choice)
        ]

    def _check(self, pairs: Sequence[Pair]) -> None:
        blocked = [entry for *_, entry in pairs if entry.outcome == "not_comparable"]
        if blocked:
            said = "; ".join(entry.message for entry in blocked)
            raise SteerError(
                f"what does not compare with the baseline cannot be judged: {said}. Measure as before, or make a new baseline "
                "(--steer-update-baseline)"
            )

    def _judged(
        self, both: Sequence[Pair], pairs: Sequence[Pair], measured: Mapping[str, Evidence], tolerance: float
    ) -> Evidence:
        losses = {entry.name: self._loss(old, new, entry) for old, new, entry in both}
        paired = [loss.gain for loss in losses.values() if loss is not None]
        fallen = [e.name for *_, e in both if losses[e.name] is None and e.outcome in ("broken", "worse")]
        gone = [entry.name for *_, entry in pairs if entry.outcome == "gone"]
        worst = min(both, key=lambda pair: _gain_of(pair, losses[pair[2].name]))[2].name
        about, loss = measured[worst], losses[worst]
        few = [e.name for old, now, e in both if losses[e.name] is None and _has_units(old) and _has_units(now)]
        unknown = [entry.name for *_, entry in both if entry.before and entry.before.verdict == "error"]
        least = least_of(paired) if paired else None
        verdict = Verdict.PASS if least is None else judge(least, -tolerance, Direction.AT_LEAST)
        estimate = 0.0 - _gain_of(next(pair for pair in both if pair[2].name == worst), loss)  # which is never -0
        if fallen:
            verdict = Verdict.FAIL
        elif verdict is Verdict.PASS and (gone or few or unknown or estimate > tolerance):
            verdict = Verdict.INCONCLUSIVE  # nothing may pass that was not looked at
        low, high = (None, None) if least is None else bounds_of(least)
        ids = "".join(sorted(new.data.hash for _, new, _ in both if new is not None and new.data))
        is_open = verdict is Verdict.INCONCLUSIVE and least is not None
        return Evidence(
            self.kind.name,
            self.name,
            verdict,
            statistic=f"loss of {worst}" if len(both) == 1 else f"largest loss of {len(both)} claims",
            estimate=estimate,
            interval=(None if high is None else 0.0 - high, None if low is None else 0.0 - low),
            interval_method="" if least is None else f"paired: {least.method}",
            confidence=self.confidence,
            threshold=tolerance,
            direction=Direction.AT_MOST,
            n=about.n if loss is None else loss.n,
            unit="units that both runs have",
            min_n=self.min_n,
            percent=about.percent and len({one.percent for one in measured.values()}) == 1,
            multiplier=about.multiplier,
            model=about.model,
            vector=about.vector,
            data=Data(hash=hashlib.sha256(ids.encode()).hexdigest(), n=sum(e.n for *_, e in both), source="baseline"),
            receipt=about.receipt,
            p_pass=None if least is None else least.p_at_least(-tolerance),
            p_fail=None if least is None else least.p_at_most(-tolerance),
            items_needed=_needed(paired, -tolerance, self.confidence) if is_open else None,
            unpaired="it is itself a comparison",
            details={
                "of": worst,
                "fallen": fallen,
                "gone": gone,
                "unknown": unknown,
                "claims": [plain(entry) for *_, entry in pairs],
            },
            findings=tuple(_findings([entry for *_, entry in pairs])),
        )

    def _loss(self, old: ClaimRecord | None, new: ClaimRecord | None, entry: AgainstClaim) -> Loss | None:
        if entry.difference is None or old is None or new is None:
            return None
        least = self.min_n or 0
        if entry.n < least:
            raise SteerError(f"{entry.name}: {entry.n} units are the same, and min_n is {least}")
        return loss_of(old, new, pair_units(old, new), confidence=self.confidence)

    def _not_yet(self, why: str, *, makes: bool) -> Evidence:
        cure = "" if why == _NO_BASELINE else "make a new one with --steer-update-baseline"
        return Evidence(
            self.kind.name,
            self.name,
            Verdict.INCONCLUSIVE,
            statistic="loss since the baseline",
            threshold=self.threshold,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            unpaired="it is itself a comparison",
            details={"not_yet": why, "makes_baseline": makes},
            findings=(no_baseline(why, cure),),
        )

    @staticmethod
    def extra(evidence: Evidence) -> dict[str, Any]:
        return {"is_comparison": True}

    @staticmethod
    def headline(evidence: Evidence) -> str | None:
        return "no baseline yet" if "not_yet" in evidence.details else None

    @staticmethod
    def reason(evidence: Evidence) -> str | None:
        details = evidence.details
        if "not_yet" in details:
            return None
        if details["fallen"]:
            return f"the verdict of {', '.join(details['fallen'])} fell"
        if evidence.verdict is Verdict.INCONCLUSIVE and details["gone"]:
            return f"gone since the baseline: {', '.join(details['gone'])}"
        if evidence.verdict is Verdict.INCONCLUSIVE and details["unknown"]:
            return f"could not be measured in the baseline: {', '.join(details['unknown'])}"
        is_unbounded = evidence.interval == (None, None)
        return "no interval of the loss is possible: the verdict may not fall" if is_unbounded else None

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        return "" if any(evidence.details.get(key) for key in ("not_yet", "gone", "fallen", "unknown")) else None

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        for entry in evidence.details.get("claims", ()):
            yield Line(entry["message"])

    @staticmethod
    def why(evidence: Evidence) -> list[Block]:
        flipped = [one for entry in evidence.details.get("claims", ()) for one in entry["flipped"]]
        return show.items_block(
            (
                Entry(
                    one["id"],
                    one["after"] - one["before"],
                    f"{one['before']:.3g} -> {one['after']:.3g}",
                    one["question"] or "",
                )
                for one in flipped
            ),
            title="flipped, the most moved first",
            value="change",
        )


_NO_BASELINE = (
    "no baseline yet: make one from a run of all claims, pytest --steer-baseline baseline.json --steer-update-baseline, and hold later runs "
    "against it, pytest --steer-baseline baseline.json"
)


def _gain_of(pair: Pair, loss: Loss | None) -> float:
    """How far a claim moved towards its promise."""
    if loss is not None:
        return loss.gain.estimate
    old, new, _ = pair
    assert old is not None
    assert new is not None
    if old.estimate is None or new.estimate is None:
        return 0.0
    rise = new.estimate - old.estimate
    return rise if new.direction == "at_least" else -rise


def _has_units(claim: ClaimRecord | None) -> bool:
    return claim is not None and claim.units is not None


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
