"""Blocks and words that claims share: verdict and numbers, what was steered, curves, strata, worst items, controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from statistics import fmean, stdev

from ..core.block import Block, Curve, Distribution, Entry, Excerpt, Items, Line, Series, Table, items_of
from ..core.evidence import Evidence, Verdict
from ..core.numbers import estimated, number, promised, would_decide
from ..core.record import Data, Dose, Item, Stratum, Vector

# Properties of hooks that only a model can keep from being checked; the others are left out for what an intervention is.
OF_THE_MODEL = ("all", "batch_size", "padding_side", "cached_decoding")
_ADDED = ("added", "added, norm kept", "added at length 1, norm kept")
_IDS = 3

# --- verdict and numbers ---


def headline(evidence: Evidence) -> str:
    """The estimate with its bounds and its promise."""
    if evidence.threshold is None:
        return f"{evidence.statistic} {_seen(evidence)}, no threshold yet"
    kept = promised(evidence.promised, evidence.threshold, evidence.percent)
    return f"{evidence.statistic} {_seen(evidence)}, promised {kept}"


def _seen(evidence: Evidence) -> str:
    if evidence.estimate is None:
        return "-"
    return estimated(evidence.estimate, evidence.interval, evidence.percent)


def reason(evidence: Evidence, own: str | None = None) -> str:
    """The basis of the verdict, and why it is this one.

    Args:
        own: the kind's own reason, which goes before where the interval lies.
    """
    drawn = evidence.details.get("sequential")
    of = f" of {drawn['available']}, drawn in rounds ({', '.join(map(str, drawn['looks']))})" if drawn else ""
    clusters = evidence.details.get("clusters")
    of += f" ({clusters['items']} {clusters.get('unit', 'items')})" if clusters else ""
    counted = f"n = {evidence.n} {evidence.unit}{of}"
    if evidence.interval_method:
        counted += f", bounds by {evidence.interval_method} at {evidence.confidence:.3g} each side"
    return f"{counted}: {_why(evidence, own)}"


def _why(evidence: Evidence, own: str | None) -> str:
    withheld = evidence.withheld.text if evidence.withheld else None
    if evidence.threshold is None:
        return f"no threshold yet{f'; {own or withheld}' if own or withheld else ''}"
    if evidence.holm is not None and evidence.holm.verdict_alone != evidence.verdict.value:
        return f"{evidence.holm.verdict_alone} by itself, not after Holm's adjustment over {evidence.holm.claims} claims"
    return (
        own
        or withheld
        or {
            Verdict.PASS: "the interval is on the good side",
            Verdict.FAIL: "the interval is on the bad side",
            Verdict.INCONCLUSIVE: too_few(evidence) or "the interval lies across the threshold",
        }[evidence.verdict]
    )


def too_few(evidence: Evidence) -> str | None:
    """The words for too few units for a verdict, or None."""
    is_floored = evidence.min_n is not None and evidence.n < evidence.min_n
    return f"n = {evidence.n} is below min_n {evidence.min_n}" if is_floored else None


def what_next(evidence: Evidence, own: str | None = None) -> list[Block]:
    """What to do about an inconclusive claim.

    Args:
        own: the kind's own advice; empty for none.
    """
    if evidence.verdict is not Verdict.INCONCLUSIVE:
        return []
    if evidence.threshold is None:
        written = f"{evidence.promise}: {{value: ..., set: {date.today()}, from: REPORT.json}}"
        return [Line(f"write `{written}` with the report of this run, and judge it on other data")]
    said = own if own is not None else _advice(evidence)
    return [Line(said)] if said else []


def _advice(evidence: Evidence) -> str:
    if evidence.holm is not None and evidence.holm.verdict_alone != evidence.verdict.value:
        return "the evidence is enough for this claim alone, and not for all claims of its file together: measure more items"
    if evidence.withheld:
        return evidence.withheld.cure
    if too_few(evidence):
        return f"not enough evidence: measure at least {evidence.min_n} {evidence.unit}"
    if evidence.holm is not None:
        return "not enough evidence; how many items would decide depends on the other claims of the file"
    if evidence.items_needed is None and evidence.replies is not None and "clusters" in evidence.details:
        return "not enough evidence: measure more prompts (how many would decide is not known of replies in clusters)"
    if evidence.items_needed is None:
        return "not enough evidence, and the estimate is so close to the threshold that no feasible number would decide"
    plan = "a fixed sample of " if "sequential" in evidence.details else ""
    return f"not enough evidence: {plan}{would_decide(evidence.items_needed, evidence.unit)}"


# --- whatever the verdict ---


def frame(evidence: Evidence) -> list[Block]:
    """The lines that every claim shows below its verdict, as far as its evidence has them."""
    lines = [
        *_by_themselves(evidence),
        *_reading(evidence),
        *_deployed(evidence),
        *_not_looked_at(evidence),
        *_controls(evidence),
        *texts_chosen(evidence.data),
    ]
    return [Line(words) for words in lines]


def _by_themselves(evidence: Evidence) -> list[str]:
    """The number of items on the promised side of the threshold, for a mean over them."""
    side = evidence.details.get("on_promised_side")
    if side is None:
        return []
    low, high = side["interval"]
    return [f"{side['items']} of {side['of']} keep the promise by themselves: {side['share']:.0%} [{low:.0%}, {high:.0%}]"]


def _reading(evidence: Evidence) -> list[str]:
    """How answers of different lengths were read, which can turn a sign."""
    asked = evidence.asked
    if asked is None or asked.lengths is None or not asked.lengths.different:
        return []
    lengths, (how, other) = asked.lengths, ("sum", "mean") if asked.answers == "sum" else ("mean", "sum")
    return [
        f"answers differ in length in {lengths.different} of {lengths.items} items (on average {lengths.matching:.1f} matching and "
        f"{lengths.not_matching:.1f} other tokens): scored by the {how} of token log-likelihoods (`answers: {other}` for the {other})"
    ]


def _deployed(evidence: Evidence) -> list[str]:
    """Which way the deployed model moves."""
    at = evidence.details.get("deployed") or {}
    if not at.get("interval"):
        return []
    moves = (
        f"the model moves {at['moves']}" if at["moves"] != "neither way" else "it is not proven which way the model moves"
    )
    lowers = "; direction: lowers" if at["direction"] == "lowers" else ""
    return [
        f"deployed at multiplier {at['multiplier']:g} {moves}: mean effect {estimated(at['mean_effect'], at['interval'])}{lowers}"
    ]


def _not_looked_at(evidence: Evidence) -> list[str]:
    """Properties of the hooks that could not be checked on this model, a line each."""
    if evidence.soundness is None or evidence.details.get("not_looked_at"):  # then the verdict is about that
        return []
    skipped = evidence.soundness.skipped
    return [f"hooks not checked ({name.replace('_', ' ')}): {why}" for name, why in skipped.items() if name in OF_THE_MODEL]


def _controls(evidence: Evidence) -> list[str]:
    """Where the vector ranks among random directions."""
    found = evidence.details.get("controls")
    if found is None or "steerabilities" not in found:
        return []
    each = found["steerabilities"]
    grid = ", ".join(f"{one:g}" for one in found["multipliers"])
    return [
        f"controls{found.get('where', '')} at multipliers {grid}: {found['count']} random directions of equal norm, on {found['n']} items, have "
        f"steerability {number(min(each))} to {number(max(each))}; the vector's, {number(found['steerability'])}, is {rank_of(found['p'], found['count'])}"
    ]


def rank_of(p: float, count: int) -> str:
    """The rank of a vector among its ``count`` controls, by its p-value."""
    return f"number {round(p * (count + 1))} of {count + 1} (p = {p:.3g})"


def controls_wanted(evidence: Evidence) -> list[Block]:
    """How to find out whether there is an effect, if none can be told from 0 and no controls were measured."""
    slopes = [item.slope for item in evidence.items or ()]
    has = "controls" in evidence.details or evidence.passed
    if has or len(slopes) < 2 or (evidence.vector and evidence.vector.operation) not in _ADDED:
        return []
    if abs(fmean(slopes)) > 2 * stdev(slopes) / len(slopes) ** 0.5:
        return []
    return [Line("no effect can be told from 0: `controls: 19` measures as many random directions of equal norm beside it")]


def texts_chosen(data: Data | None) -> list[str]:
    """How the texts were chosen, and which were left out by which rule."""
    if data is None:
        return []
    lines = [f"texts: {data.chosen}"] if data.chosen else []
    return lines + [f"texts: {one.n} of {one.of} left out, {one.rule}{_first_ids(one.ids)}" for one in data.left_out]


def _first_ids(ids: Sequence[str]) -> str:
    return f" ({', '.join([*ids[:_IDS], *(['...'] if len(ids) > _IDS else [])])})" if ids else ""


# --- why it did not pass ---


def where(evidence: Evidence) -> list[Block]:
    """The intervention, its dose and the data."""
    lines = []
    if evidence.vector is not None:
        vector = evidence.vector
        norm = f", norm {number(vector.norm)}" if vector.norm is not None else ""
        doses = () if evidence.receipt is None else evidence.receipt.doses
        moved = _dose(vector.operation, vector)
        relative = f" ({moved})" if moved and len(doses) < 2 else ""
        layer = list(vector.layer) if isinstance(vector.layer, tuple) else vector.layer
        lines.append(
            f"steered: {vector.method} at layer {layer}, positions {vector.positions}{norm}; multiplier "
            f"{number(evidence.multiplier)}{relative}"
        )
        if len(doses) > 1:
            each = [f"{one.layer}: {_dose(vector.operation, one) or 'not known'}" for one in doses]
            lines.append(f"dose by layer: {', '.join(each)}")
        if source := vector.source:
            done = f"; here it is {vector.operation}" if vector.operation else ""
            lines.append(f"vector from {source.get('format')}: {source.get('layers')}; norm {source.get('norm')}{done}")
    if evidence.data is not None:
        lines.append(f"data: {evidence.data.source}")
    return [Line(words) for words in lines]


def _dose(operation: str, dose: Vector | Dose) -> str:
    """How far steering moves: the vector's norm where it is added as it is, else by how much it really moves."""
    as_it_is = operation in ("added", "changed by a custom function") or dose.displacement is None
    if as_it_is and dose.relative_dose is not None:
        return f"{dose.relative_dose:.0%} of the median hidden norm"
    return f"moves hidden states by {dose.displacement:.0%}" if dose.displacement is not None else ""


def of_items(evidence: Evidence) -> list[Block]:
    """The curve, the strata, the spread and the worst items of a claim about contrast items."""
    return [*curve(evidence), *strata(evidence), *distribution(evidence), *worst_items(evidence)]


def curve(evidence: Evidence) -> list[Block]:
    """The mean propensity over the multiplier (Tan et al. 2024, figure 1), and the shape of the curve."""
    grid, mean, details = evidence.multipliers, evidence.curve, evidence.details
    if not grid or not mean:
        return []
    band = [(low, high) for low, high in evidence.curve_interval or ()] or None
    bounds = f"The band is the bounds of the mean at each multiplier, each at {evidence.confidence:g}." if band else ""
    drawn = Curve(
        [Series("mean propensity", list(zip(grid, mean, strict=True)), band)],
        "mean propensity",
        marked=deployed_mark(evidence),
        title="Propensity curve",
        about=f"Mean over {len(evidence.items or ()) or evidence.n} items. {bounds}".strip(),
    )
    if "steerability" not in details:
        return [drawn]
    # Where effects are judged, "anti-steerable" is about them; the slopes are shown under another name.
    sign, curvature = slope_sign(evidence), details.get("curvature")
    flat = wrong_share(sign)
    if "effects" in details:
        flat = f"slopes of 0 or {'less' if sign > 0 else 'more'}"
    shape = f"{steerability(sign)} {number(sign * details['steerability'])}, {flat} {details['anti_steerable_share']:.2f}"
    shape += f", curvature {number(curvature)}" if curvature is not None else ""
    return [drawn, Line(f"{shape}, monotonicity {number(details['monotonicity'])}")]


def distribution(evidence: Evidence) -> list[Block]:
    """The items' slopes, or their effects where a claim is about these, with what moves the wrong way marked."""
    items, details = evidence.items or [], evidence.details
    effects = details.get("effects")
    if not items or (effects is None and "anti_steerable_share" not in details):
        return []
    by_effect = effects is not None
    sign = effect_sign(evidence) if by_effect else slope_sign(evidence)
    values = [item.slope for item in items] if effects is None else [*effects]
    share, mean = details.get("anti_steerable_share"), details.get("steerability")
    marked = [(mean, "mean")] if mean is not None and not by_effect else []
    if evidence.threshold is not None and evidence.statistic.removeprefix("negative ") in ("steerability", "effect"):
        marked.append((sign * evidence.threshold, "promised"))
    anti = "are anti-steerable" if sign > 0 else "do not fall"
    return [
        Distribution(
            values,
            "effect: change of propensity" if by_effect else "slope: propensity per unit of the multiplier",
            wrong="below" if sign > 0 else "above",
            wrong_name=("moves the wrong way" if by_effect else "anti-steerable") if sign > 0 else "does not fall",
            marked=marked,
            title="Effects on the items" if by_effect else "Slopes of the items",
            about=f"{len(values)} items." if by_effect or share is None else f"{share:.0%} of {len(values)} items {anti}.",
        )
    ]


def strata(evidence: Evidence) -> list[Block]:
    """The strata by matching answer. Those that miss the threshold are marked if it is about a number that strata have."""
    if len(evidence.strata) < 2 or "effects" in evidence.details:  # strata are of slopes
        return []
    is_bad = _MISSES.get(evidence.statistic) if evidence.threshold is not None else None
    bad = [stratum for stratum in evidence.strata if is_bad and is_bad(stratum, evidence.threshold or 0.0)]
    sign = slope_sign(evidence)
    rows = [
        [
            f"matching answer {stratum.label}",
            str(stratum.n),
            number(sign * stratum.steerability),
            f"{stratum.anti_steerable_share:.2f}",
            "misses the threshold" if stratum in bad else "",
        ]
        for stratum in evidence.strata
    ]
    missed = f" (the claim misses its threshold in {len(bad)} of {len(evidence.strata)})" if is_bad else ""
    headers = ["", "n", steerability(sign), wrong_way(sign), ""]
    return [Table(rows, headers, title="strata", about=missed.strip(" ()")), *map(Line, _explained(evidence))]


def _explained(evidence: Evidence) -> list[str]:
    shares = evidence.details.get("explained") or {}
    called = {"letter": "the answer's letter", "yes_no": "Yes or No", "both": "both together"}
    each = ", ".join(f"{called[name]} {share:.0%}" for name, share in shares.items())
    if not shares and evidence.strata and all(stratum.n < 2 for stratum in evidence.strata):
        return ["what they explain is not said: each has one item"]
    return [f"of the variance of the slopes explains: {each}"] if each else []


_MISSES: dict[str, Callable[[Stratum, float], bool]] = {
    "steerability": lambda stratum, least: stratum.steerability < least,
    "negative steerability": lambda stratum, least: -stratum.steerability < least,
    "anti-steerable share": lambda stratum, most: stratum.anti_steerable_share > most,
    "share that does not fall": lambda stratum, most: stratum.anti_steerable_share > most,
}
"""Statistics that strata have, and whether a stratum misses the promise."""


def worst_items(evidence: Evidence, rank: Callable[[float], float] | None = None) -> list[Block]:
    """The items that move least in the promised direction.

    Args:
        rank: of an item's slope or effect, the worst first; by default the least first, by the direction that is promised.
    """
    items, effects = evidence.items or [], evidence.details.get("effects")
    sign = slope_sign(evidence) if effects is None else effect_sign(evidence)
    value = "slope" if effects is None else "effect"
    measured = [item.slope for item in items] if effects is None else effects
    ordered = sorted(zip(measured, items, strict=True), key=lambda pair: rank(pair[0]) if rank else sign * float(pair[0]))
    return items_block(
        (
            contrast_item(
                item, found, f"{value} {number(found)}, propensity {', '.join(f'{p:.2f}' for p in item.propensity)}"
            )
            for found, item in ordered
        ),
        value=value,
    )


def items_block(items: Iterable[Entry], *, title: str = "worst items", value: str = "slope") -> list[Block]:
    """A list of items, or nothing where there are none."""
    found: Items = items_of(items, title=title, value=value)
    return [found] if found.of else []


def contrast_item(item: Item, value: float, words: str) -> Entry:
    """A contrast item of the evidence in a list."""
    answers = (("matching", item.matching), ("not matching", item.not_matching))
    texts = [Excerpt(name, " | ".join(own)) for name, own in answers]
    return Entry(item.id, float(value), words, item.question or "", texts)


# --- parts of blocks ---


def promised_in(evidence: Evidence) -> list[float]:
    """The threshold, for ``promised``; empty without one."""
    return [] if evidence.threshold is None else [evidence.threshold]


def deployed_mark(evidence: Evidence) -> list[tuple[float, str]]:
    """The deployed multiplier, for ``marked``."""
    at = evidence.details.get("deployed")
    multiplier = at.get("multiplier") if isinstance(at, dict) else evidence.multiplier
    return [] if multiplier is None else [(multiplier, "deployed")]


def slope_sign(evidence: Evidence) -> int:
    """1 or -1, as ``Subject.slope_sign``: the factor that makes a slope above 0 mean as promised."""
    at = evidence.details.get("deployed") or {}
    return -1 if at.get("direction") == "lowers" and at["multiplier"] > 0 else 1


def effect_sign(evidence: Evidence) -> int:
    """The same for an effect at the deployed multiplier."""
    return -1 if (evidence.details.get("deployed") or {}).get("direction") == "lowers" else 1


def steerability(sign: int) -> str:
    """The name of a slope that is multiplied by the sign."""
    return "steerability" if sign > 0 else "negative steerability"


def wrong_share(sign: int) -> str:
    """The name of the share of items whose slope is not on the promised side of 0."""
    return "anti-steerable share" if sign > 0 else "share that does not fall"


def wrong_way(sign: int) -> str:
    """The name of an item whose slope is not on the promised side of 0."""
    return "anti-steerable" if sign > 0 else "does not fall"


def shorten(text: str, width: int) -> str:
    """A text in one line of at most ``width`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
