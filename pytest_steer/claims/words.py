"""The words that claims share: verdict and numbers, where it was measured, worst cases, how to run it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from statistics import fmean, stdev
from typing import Any

from .. import columns
from ..evidence import Direction, Evidence, Verdict
from .numbers import low_confidence, number, promise

WORST = 3

# Properties of hooks that only a model can keep from being looked at; the others are left out for what an intervention is.
OF_THE_MODEL = ("all", "batch_size", "padding_side", "cached_decoding")


def of_items(evidence: Evidence) -> list[str]:
    """Why a claim about contrast items did not pass."""
    return [
        *decide(evidence),
        *where(evidence),
        *curve(evidence),
        *strata(evidence),
        *worst_items(evidence),
    ]


def headline(evidence: Evidence, reason: str | None = None) -> str:
    """The verdict, the estimate with its bounds, and why that is the verdict.

    Args:
        reason: said instead of where the interval lies.
    """
    if evidence.has_no_threshold:
        return no_threshold(evidence, reason or _withheld(evidence) or _contradiction(evidence))
    percent = evidence.percent
    low, high = (number(bound, percent) for bound in evidence.interval)
    promised = "at least" if evidence.direction is Direction.AT_LEAST else "at most"
    if evidence.direction is Direction.AT_LEAST and (evidence.is_strict or evidence.threshold == 0):
        promised = "more than"
    if evidence.holm is not None and evidence.holm["verdict_alone"] != evidence.verdict.value:
        reason = (
            f"{evidence.holm['verdict_alone']} by itself, not after Holm's adjustment over {evidence.holm['claims']} claims"
        )
    elif reason is None:
        reason = (
            _withheld(evidence)
            or _contradiction(evidence)
            or {
                Verdict.PASS: "the interval is on the good side",
                Verdict.FAIL: "the interval is on the bad side",
                Verdict.INCONCLUSIVE: too_few(evidence) or "the interval lies across the threshold",
            }[evidence.verdict]
        )
    drawn = evidence.details.get("sequential")
    of = f" of {drawn['available']}, drawn in rounds ({', '.join(map(str, drawn['looks']))})" if drawn else ""
    clusters = evidence.details.get("clusters")
    of += f" ({clusters['items']} {clusters.get('unit', 'items')})" if clusters else ""
    return (
        f"{evidence.name}: {evidence.verdict.value.upper()}{low_confidence(evidence.confidence) if evidence.verdict is not Verdict.INCONCLUSIVE else ''}  {evidence.statistic} {number(evidence.estimate, percent)} "
        f"[{low}, {high}], promised {promised} {promise(evidence.threshold, percent)}\n"
        f"  n = {evidence.n} {evidence.unit}{of}, bounds by {evidence.interval_method} at {evidence.confidence:.3g} each side: {reason}"
    )


def no_threshold(evidence: Evidence, but: str | None = None) -> str:
    """What was seen where nothing is promised yet, and how to promise something.

    Args:
        but: why there would be no pass with a threshold either.
    """
    percent = evidence.percent
    low, high = (number(bound, percent) for bound in evidence.interval)
    seen = f"{number(evidence.estimate, percent)} [{low}, {high}]"
    line = f"{evidence.promise}: {{value: ..., set: {date.today()}, from: REPORT.json}}"
    return (
        f"{evidence.name}: {evidence.verdict.value.upper()}  {evidence.statistic} {seen}, no threshold yet\n"
        f"  no threshold yet: seen {seen} on {evidence.n} {evidence.unit}, bounds by {evidence.interval_method} at {evidence.confidence:.3g} "
        f"each side{'' if but is None else f'; {but}'}\n  write `{line}` with the report of this run, and judge it on other data"
    )


def too_few(evidence: Evidence) -> str | None:
    """That the units are fewer than a verdict needs, or None."""
    is_floored = evidence.min_n is not None and evidence.n < evidence.min_n
    return f"n = {evidence.n} is below min_n {evidence.min_n}" if is_floored else None


def decide(evidence: Evidence, instead: str | None = None) -> list[str]:
    """What would decide an inconclusive claim.

    Args:
        instead: said in the place of a number of items.
    """
    if evidence.verdict is not Verdict.INCONCLUSIVE:
        return []
    if evidence.holm is not None and evidence.holm["verdict_alone"] != evidence.verdict.value:
        return [
            "  the evidence is enough for this claim alone, and not for all claims of its file together: measure more items"
        ]
    if _withheld(evidence):
        instead = evidence.withheld["cure"] if evidence.withheld else evidence.details["cure"]
    if instead is None and _contradiction(evidence):
        instead = "choose a smaller deployed multiplier, or multipliers that reach it"
    if instead is not None:
        return [f"  {instead}"]
    if too_few(evidence):
        return [f"  not enough evidence: measure at least {evidence.min_n} {evidence.unit}"]
    if evidence.holm is not None:
        return ["  not enough evidence; how many items would decide depends on the other claims of the file"]
    if evidence.items_needed is None and evidence.replies is not None and "clusters" in evidence.details:
        return ["  not enough evidence: measure more prompts (how many would decide is not known of replies in clusters)"]
    if evidence.items_needed is None:
        return ["  not enough evidence, and the estimate is so close to the threshold that no feasible number would decide"]
    plan = "a fixed sample of about" if "sequential" in evidence.details else "about"
    return [
        f"  not enough evidence: {plan} {evidence.items_needed} {evidence.unit} would decide (80 % power, if the estimate is the truth)"
    ]


def _withheld(evidence: Evidence) -> str | None:
    """Why a pass was taken back, or None."""
    found: str | None = evidence.withheld["text"] if evidence.withheld else evidence.details.get("withheld")
    return found


def _contradiction(evidence: Evidence) -> str | None:
    """Why the effect at the deployed multiplier does not fit the slope, or None."""
    found: str | None = (evidence.details.get("deployed") or {}).get("contradicts")
    return found


def remarks(evidence: Evidence) -> list[str]:
    """Which way the deployed model moves, and what the check of the hooks could not look at."""
    at = evidence.details.get("deployed") or {}
    lines = []
    if at.get("interval"):
        low, high = map(number, at["interval"])
        moves = (
            f"the model moves {at['moves']}"
            if at["moves"] != "neither way"
            else "it is not proven which way the model moves"
        )
        lines.append(
            f"  deployed at multiplier {at['multiplier']:g} {moves}: mean effect {number(at['mean_effect'])} [{low}, {high}]"
            + ("; direction: lowers" if at["direction"] == "lowers" else "")
        )
    return lines + not_looked_at(evidence)


def remarks_with_controls(evidence: Evidence) -> list[str]:
    """The remarks, and where the vector ranks among random directions."""
    return [*remarks(evidence), *controls(evidence)]


def texts_chosen(data: Mapping[str, Any] | None) -> list[str]:
    """How the texts of a ``data`` record were chosen from more, and what was left out by which rule."""
    found = data or {}
    lines = [f"  texts: {found['chosen']}"] if found.get("chosen") else []
    return lines + [
        f"  texts: {one['n']} of {one['of']} left out, {one['rule']}{_first_ids(one['ids'])}"
        for one in found.get("left_out", ())
    ]


def _first_ids(ids: Sequence[str]) -> str:
    return f" ({', '.join([*ids[:WORST], *(['...'] if len(ids) > WORST else [])])})" if ids else ""


def where(evidence: Evidence, *, at: str = "deployed ") -> list[str]:
    """What was steered and on which data.

    Args:
        at: which multiplier the evidence names.
    """
    lines = []
    if evidence.vector is not None:
        vector = evidence.vector
        norm = f", norm {number(vector['norm'])}" if vector["norm"] is not None else ""
        doses = (evidence.receipt or {}).get("doses", ())
        relative = f" ({_dose(vector, vector)})" if _dose(vector, vector) and len(doses) < 2 else ""
        lines.append(
            f"  steered: {vector['method']} at layer {vector['layer']}, positions {vector['positions']}{norm}; {at}"
            f"multiplier {number(evidence.multiplier)}{relative}"
        )
        if len(doses) > 1:
            each = [f"{one['layer']}: {_dose(vector, one) or 'not known'}" for one in doses]
            lines.append(f"  dose by layer: {', '.join(each)}")
        source = vector.get("source")
        if source:
            done = f"; here it is {vector['operation']}" if vector.get("operation") else ""
            lines.append(f"  vector from {source.get('format')}: {source.get('layers')}; norm {source.get('norm')}{done}")
    if evidence.data is not None:
        lines.append(f"  data: {evidence.data['source']}")
    return lines


def _dose(vector: dict[str, Any], dose: Mapping[str, Any]) -> str:
    """How far steering moves: the vector's norm where it is added as it is, else by how much it really moves."""
    as_it_is = vector.get("operation") in ("added", "changed by a custom function") or dose.get("displacement") is None
    if as_it_is and dose["relative_dose"] is not None:
        return f"{dose['relative_dose']:.0%} of the median hidden norm"
    return f"moves hidden states by {dose['displacement']:.0%}" if dose.get("displacement") is not None else ""


def controls(evidence: Evidence) -> list[str]:
    """Where the vector ranks among random directions; where there seems to be no effect, how to find out."""
    found, slopes = evidence.details.get("controls"), [item["slope"] for item in evidence.items or ()]
    if found is not None:
        each = found["steerabilities"]
        rank = round(found["p"] * (found["count"] + 1))
        return [
            f"  controls{found.get('where', '')} at multipliers {', '.join(f'{one:g}' for one in found['multipliers'])}: {found['count']} random directions of equal norm, "
            f"on {found['n']} items, have steerability {number(min(each))} to {number(max(each))}; the "
            f"vector's, {number(found['steerability'])}, is number {rank} of {found['count'] + 1} (p = {found['p']:.3g})"
        ]
    if evidence.verdict is Verdict.PASS or len(slopes) < 2 or (evidence.vector or {}).get("operation") not in _ADDED:
        return []
    mean = fmean(slopes)
    if abs(mean) > 2 * stdev(slopes) / len(slopes) ** 0.5:
        return []
    return ["  no effect can be told from 0: `controls: 19` measures as many random directions of equal norm beside it"]


def controls_beside(evidence: Evidence) -> list[str]:
    """The same line for a claim without a parameter `controls`, where there are some."""
    return controls(evidence) if "controls" in evidence.details else []


_ADDED = ("added", "added, norm kept", "added at length 1, norm kept")


def by_themselves(evidence: Evidence) -> list[str]:
    """How many items are on the promised side of the threshold, beside a mean over them."""
    side = evidence.details.get("on_promised_side")
    if side is None:
        return []
    low, high = side["interval"]
    return [f"  {side['items']} of {side['of']} keep the promise by themselves: {side['share']:.0%} [{low:.0%}, {high:.0%}]"]


def reading(evidence: Evidence) -> list[str]:
    """How answers of different lengths were read, which can turn a sign."""
    lengths = (evidence.asked or {}).get("lengths")
    if evidence.asked is None or not lengths or not lengths["different"]:
        return []
    how = "sum" if evidence.asked["answers"] == "sum" else "mean"
    other = {"mean": "sum", "sum": "mean"}[how]
    return [
        f"  answers differ in length in {lengths['different']} of {lengths['items']} items (on average {lengths['matching']:.1f} matching and "
        f"{lengths['not_matching']:.1f} other tokens): scored by the {how} of token log-likelihoods (`answers: {other}` for the {other})"
    ]


def slope_sign(evidence: Evidence) -> int:
    """1 or -1, as ``Subject.slope_sign``: what a slope is multiplied with so that above 0 means as promised."""
    at = evidence.details.get("deployed") or {}
    return -1 if at.get("direction") == "lowers" and at["multiplier"] > 0 else 1


def effect_sign(evidence: Evidence) -> int:
    """The same for an effect at the deployed multiplier."""
    return -1 if (evidence.details.get("deployed") or {}).get("direction") == "lowers" else 1


def steerability(sign: int) -> str:
    """What a slope that is multiplied with the sign is called."""
    return "steerability" if sign > 0 else "negative steerability"


def wrong_way(sign: int) -> str:
    """What an item is called whose slope is not on the promised side of 0."""
    return "anti-steerable" if sign > 0 else "does not fall"


def curve(evidence: Evidence) -> list[str]:
    """The mean propensity at each multiplier, and the shape of the curve."""
    if evidence.multipliers is None or evidence.curve is None or "steerability" not in evidence.details:
        return []
    details = evidence.details
    rows = [
        ["multiplier", *(f"{m:g}" for m in evidence.multipliers)],
        ["mean propensity", *(f"{p:.2f}" for p in evidence.curve)],
    ]
    curvature = details.get("curvature")
    # Where effects are judged, "anti-steerable" is about them; the slopes are shown under another name.
    sign = slope_sign(evidence)
    flat = "anti-steerable share" if sign > 0 else "share that does not fall"
    if "effects" in details:
        flat = f"slopes of 0 or {'less' if sign > 0 else 'more'}"
    shape = f"  {steerability(sign)} {number(sign * details['steerability'])}, {flat} {details['anti_steerable_share']:.2f}"
    shape += f", curvature {number(curvature)}" if curvature is not None else ""
    shape += f", monotonicity {number(details['monotonicity'])}"
    return [*table(rows, align="right"), shape]


def strata(evidence: Evidence) -> list[str]:
    """The items by matching answer; which of these miss the threshold, if it is one of the numbers that strata have."""
    if len(evidence.strata) < 2 or "effects" in evidence.details:  # strata are of slopes
        return []
    is_bad = _MISSES.get(evidence.statistic) if evidence.threshold is not None else None
    bad = [stratum for stratum in evidence.strata if is_bad and is_bad(stratum, evidence.threshold)]
    sign = slope_sign(evidence)
    rows = [
        [
            f"matching answer {stratum['label']}",
            stratum["n"],
            number(sign * stratum["steerability"]),
            f"{stratum['anti_steerable_share']:.2f}",
            "misses the threshold" if stratum in bad else "",
        ]
        for stratum in evidence.strata
    ]
    missed = f" (the claim misses its threshold in {len(bad)} of {len(evidence.strata)})" if is_bad else ""
    title = f"  strata{missed}:"
    return [title, *table(rows, ["", "n", steerability(sign), wrong_way(sign), ""]), *_explained(evidence)]


def _explained(evidence: Evidence) -> list[str]:
    shares = evidence.details.get("explained") or {}
    called = {"letter": "the answer's letter", "yes_no": "Yes or No", "both": "both together"}
    each = ", ".join(f"{called[name]} {share:.0%}" for name, share in shares.items())
    if not shares and evidence.strata and all(stratum["n"] < 2 for stratum in evidence.strata):
        return ["    what they explain is not said: each has one item"]
    return [f"    of the variance of the slopes explains: {each}"] if each else []


_MISSES: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "steerability": lambda stratum, least: stratum["steerability"] < least,
    "negative steerability": lambda stratum, least: -stratum["steerability"] < least,
    "anti-steerable share": lambda stratum, most: stratum["anti_steerable_share"] > most,
    "share that does not fall": lambda stratum, most: stratum["anti_steerable_share"] > most,
}
"""Statistics that strata have, and whether a stratum misses the promise."""


def worst_items(evidence: Evidence, rank: Callable[[float], float] | None = None) -> list[str]:
    """The items that move least in the promised direction.

    Args:
        rank: of an item's slope or effect, the worst first; by default the least first, by the direction that is promised.
    """
    items = evidence.items or []
    by_effect = "effects" in evidence.details
    sign = effect_sign(evidence) if by_effect else slope_sign(evidence)
    measured = evidence.details["effects"] if by_effect else [item["slope"] for item in items]
    lines = ["  worst items:"]
    rank = rank or (lambda value: sign * value)
    for value, item in sorted(zip(measured, items, strict=True), key=lambda pair: rank(pair[0]))[:WORST]:
        curve = ", ".join(f"{p:.2f}" for p in item["propensity"])
        lines.append(f"    [{item['id']}] {'effect' if by_effect else 'slope'} {number(value)}, propensity {curve}")
        lines.append(f"      {shorten(item['question'])}")
        matching, other = (" | ".join(item[side]) for side in ("matching", "not_matching"))
        lines.append(f"      matching: {shorten(matching, 60)}   not matching: {shorten(other, 60)}")
    return lines


def rerun(evidence: Evidence) -> list[str]:
    """The command that runs the claim again."""
    return [f"  run again: {evidence.rerun}"] if evidence.rerun else []


def shorten(text: str, width: int = 110) -> str:
    """A text in one line of at most so many characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def table(rows: Sequence[Sequence[object]], headers: Sequence[str] = (), *, align: str = "left") -> list[str]:
    """The lines of a table, indented, in the columns of the terminal (``columns.in_columns``)."""
    lines = columns.table(rows, headers, width=columns.current_columns() - 4, right=align == "right", rule=False)
    return [f"    {line}".rstrip() for line in lines]


def not_looked_at(evidence: Evidence) -> list[str]:
    """What the check of the hooks could not look at on this model, a line each."""
    record = evidence.soundness or {}
    skipped = {name: why for name, why in record.get("skipped", {}).items() if name in OF_THE_MODEL}
    return [f"  hooks not checked ({name.replace('_', ' ')}): {why}" for name, why in skipped.items()]
