"""The other behaviours of ``leaves_alone``: what is measured of each, how its own direction lies to the vector, and their table."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..core.block import Block, Intervals, Line, Table
from ..data import Items, Sample
from ..errors import DataError
from ..evidence import Evidence, Verdict
from ..extract import read_contrast
from ..measures import Array, PropensityCurve
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context
from ..stats import Inference, items_needed_within
from ..steering import Intervention, SteeringVector, as_intervention
from . import show
from .judged import NOT_JUDGED, floor_of
from .numbers import number


@dataclass(frozen=True)
class Behaviour:
    """What was measured of one behaviour.

    Attributes:
        curve: over the claim's multipliers. at_deployed: of the same items, with the deployed multiplier and 0.
        values: [n_items] what the claim is about: slopes, or effects at the deployed multiplier.
        mean: of the values. effect: the mean effect at the deployed multiplier.
        size: bounds of the absolute value of the mean; see ``stats.size_of_mean``.
        deployed_size: the same of the effect per unit of the multiplier, beside slopes; None where the values are effects.
    """

    name: str
    sample: Sample[Items]
    context: Context
    curve: PropensityCurve
    at_deployed: PropensityCurve
    values: Array
    mean: Inference
    effect: Inference
    size: Inference
    deployed_size: Inference | None

    @property
    def sizes(self) -> list[Inference]:
        """What has to be within the band."""
        return [self.size, *([] if self.deployed_size is None else [self.deployed_size])]

    def judged(self, band: float | None, confidence: float, min_n: int | None, tests: int) -> dict[str, Any]:
        """The p-values and the verdict of this behaviour alone, as one of ``tests`` that can fail the claim."""
        if band is None:
            return NOT_JUDGED
        outside = min(1.0, tests * min(size.p_at_least(band) for size in self.sizes))
        inside = max([self.size.p_at_most(band), *(1.0 for size in self.sizes[1:] if size.estimate > band)])
        least, alpha = floor_of(self.size, min_n), 1 - confidence
        verdict = Verdict.FAIL if outside <= alpha else Verdict.PASS if inside <= alpha else Verdict.INCONCLUSIVE
        if least is not None and self.size.n < least:
            outside, inside, verdict = 1.0, 1.0, Verdict.INCONCLUSIVE
        return {"p_pass": inside, "p_fail": outside, "verdict": verdict.value}

    def chosen(self, multiplier: float) -> tuple[float, float]:
        """The share of items whose matching answer is the likelier one: unsteered, and at the multiplier."""
        columns = self.at_deployed.multipliers.tolist()
        shares = [float((self.at_deployed.values[:, columns.index(at)] > 0).mean()) for at in (0.0, multiplier)]
        return shares[0], shares[1]

    def describe(self, multiplier: float) -> dict[str, Any]:
        """Its part of the record that does not depend on the promise."""
        before, after = self.chosen(multiplier)
        return {
            "context": self.context.to_dict(),
            "data": {"hash": self.curve.items.hash, "n": len(self.curve.items), "source": self.curve.items.source},
            "n": self.mean.n,
            "estimate": self.mean.estimate,
            "interval": list(bounds_of(self.mean)),
            "interval_method": self.mean.method,
            "effect": self.effect.estimate,
            "effect_interval": list(bounds_of(self.effect)),
            "chosen": {"unsteered": before, "steered": after},
            "values": [float(value) for value in self.values],
            **self.sample.details(),
        }


def entanglement(behaviours: Sequence[Behaviour], multiplier: float) -> dict[str, float]:
    """Root mean square of the change over the behaviours (SteeringSafety, arXiv 2509.13450), at the deployed multiplier.

    Returns:
        ``effect``: of the mean change of propensity. ``chosen``: of the change of the share of items whose matching answer is the
        likelier one, which like the paper's scores lies in [0, 1].
    """

    def root_mean_square(changes: Iterable[float]) -> float:
        return math.sqrt(math.fsum(change**2 for change in changes) / len(behaviours))

    shares = [one.chosen(multiplier) for one in behaviours]
    return {
        "effect": root_mean_square(one.effect.estimate for one in behaviours),
        "chosen": root_mean_square(after - before for before, after in shares),
    }


def hidden_by_mean(behaviours: Sequence[Behaviour], band: float) -> list[str]:
    """Warnings about behaviours whose mean is within the band while most of their items are not: they move up and down alike."""
    found = []
    for one in behaviours:
        sizes = abs(one.values)
        outside = int((sizes > band).sum())
        if 2 * outside > len(sizes):
            found.append(
                f"{one.name}: {outside} of {len(sizes)} items move by more than the band, some up and some down (mean size "
                f"{number(float(sizes.mean()))}), and the mean over them hides it"
            )
    return found


def items_needed(behaviours: Sequence[Behaviour], band: float, confidence: float, tests: int) -> int | None:
    """What would prove one mean to be outside if one seems to be, else what the most demanding behaviour needs to be inside."""
    strict = 1 - (1 - confidence) / tests

    def needed(size: Inference) -> int | None:
        deviation = size.standard_deviation or 0.0
        return items_needed_within(size.estimate, deviation, band, confidence=confidence, fail_confidence=strict)

    outside = [size for one in behaviours for size in one.sizes if size.estimate >= band]
    if outside:
        return min((n for size in outside if (n := needed(size)) is not None), default=None)
    numbers = [needed(one.size) for one in behaviours if one.size.high > band]
    return None if not numbers or None in numbers else max(n for n in numbers if n is not None)


def cosines(
    model: Model, subject: Subject, items: Items, own: SteeringVector | Intervention | None, context: Context
) -> dict[str, Any] | None:
    """The cosine of the vector with a behaviour's own direction, at each layer that both have.

    Args:
        own: the behaviour's own vector; None to make it from its items: the mean difference of its answers, read at the letter of
            lettered ones (as ``caa`` does) and over the tokens of worded ones.

    Returns:
        ``by_layer``: layer to cosine, ``method`` of the own direction, and whether it is ``from_items``. None where there is nothing to
        compare: what steers adds no vector, or no direction of the residual stream at one of the layers.
    """
    change = subject.intervention
    vector = change.vector
    if vector is None or (own is None and change.site != "block"):
        return None
    if own is None:
        method, directions = _of_items(model, items, vector.layers, context)
    else:
        known = as_intervention(own).vector
        if known is None or known.width != vector.width:
            return None
        method, directions = str(known.metadata.get("method") or "a saved vector"), known.directions
    found = {}
    for layer in sorted(set(vector.layers) & directions.keys()):
        one, other = vector.directions[layer].double().flatten(), directions[layer].double().flatten()
        norms = float(one.norm()) * float(other.norm())
        if norms > 0:  # sides that look alike have no direction
            found[str(layer)] = float(one @ other) / norms
    return {"by_layer": found, "method": method, "from_items": own is None} if found else None


def no_cosine(name: str, subject: Subject, own: SteeringVector | Intervention) -> list[str]:
    """A warning if there is no cosine with the vector that was given for a behaviour."""
    vector, known = subject.intervention.vector, as_intervention(own).vector
    if vector is None:
        return []  # what steers is no direction, which is no fault of the behaviour's vector
    if known is None:
        why = "what was given as its vector adds none"
    elif known.width != vector.width:
        why = f"its vector has the width {known.width}, and the claim's {vector.width}"
    elif not set(known.layers) & set(vector.layers):
        why = f"its vector is at the layers {list(known.layers)}, and the claim's at {list(vector.layers)}"
    else:
        return []
    return [f"{name}: {why}, so there is no cosine"]


def _of_items(model: Model, items: Items, layers: Sequence[int], context: Context) -> tuple[str, Mapping[int, torch.Tensor]]:
    """The mean difference of the two sides of the items, by its method's name."""
    lettered = all(item.is_lettered for item in items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a direction that steers nothing
        contrast = read_contrast(model, items, layer=list(layers), readout="answer" if lettered else "mean", context=context)
    return "caa" if lettered else "mean_difference", {at: contrast.mean_difference(at) for at in contrast.layers}


def check_others(samples: dict[str, Sample[Items]], own: Items | None) -> list[str]:
    """Refuse behaviours that are the claim's own or one another, and warn of shared items.

    Raises:
        DataError: names the behaviour.
    """
    found = []
    known: dict[str, set[tuple[str, ...]]] = {} if own is None else {"data.test": {item.form for item in own}}
    for name, sample in samples.items():
        forms = {item.form for item in sample.units}
        for other, seen in known.items():
            shared = len(forms & seen)
            if shared == len(forms) and other == "data.test":
                error = DataError(
                    f"{name}: has the items of data.test and no others, so it is the claim's own behaviour: steering is meant to move it. "
                    "Name other behaviours"
                )
                error.key = f"behaviours.{name}"
                raise error
            if shared == len(forms) == len(seen):
                error = DataError(f"{name}: has the same items as {other}: name each behaviour once")
                error.key = f"behaviours.{name}"
                raise error
            if shared:
                found.append(f"{name}: {shared} of its {len(forms)} items are in {other} too")
        known[name] = forms
    return found


def behaviours_shown(evidence: Evidence) -> Iterator[Block]:
    """The behaviours side by side, the claim's own first if it was measured."""
    details = evidence.details
    rows = []
    for one in [*([details["own"]] if details.get("own") else []), *details["behaviours"]]:
        rows.append(
            [
                one["name"],
                str(one["n"]),
                number(one["estimate"]),
                "[{}, {}]".format(*map(number, one["interval"])),
                number(one["effect"]),
                f"{one['chosen']['unsteered']:.0%} -> {one['chosen']['steered']:.0%}",
                _cosine_words(one.get("cosine")),
                one.get("verdict", ""),
            ]
        )
    word = "steerability" if details["by"] == "slope" else "mean effect"
    headers = ["behaviour", "n", word, "interval", f"effect at {evidence.multiplier:g}", "matching likelier", "cosine", ""]
    if details["by"] == "effect":  # the same number twice
        headers.pop(4)
        for row in rows:
            row.pop(4)
    yield Table(rows, headers)
    made = [one["cosine"] for one in details["behaviours"] if one.get("cosine")]
    if made:
        methods = ", ".join(dict.fromkeys(one["method"] + (" of its items" if one["from_items"] else "") for one in made))
        yield Line(f"cosine: of the vector with the behaviour's own direction ({methods})")
    rms, count = details["entanglement"], len(details["behaviours"])
    if count > 1:
        yield Line(
            f"entanglement (root mean square over {count} behaviours): effects {number(rms['effect'])}, shares of likelier answers "
            f"{number(rms['chosen'])}"
        )


def behaviours_drawn(evidence: Evidence) -> Block:
    """The change of every behaviour, with the band that it is promised to stay in."""
    details, band = evidence.details, evidence.threshold
    return Intervals(
        [show.estimate_row(one, one["name"]) for one in details["behaviours"]],
        "mean steerability" if details["by"] == "slope" else "mean effect at the deployed multiplier",
        promised=[] if band is None else [-band, band],
        title="Other behaviours",
        about="How far steering moves each." + ("" if band is None else f" The band of {band:g} is promised."),
    )


def _cosine_words(cos: dict[str, Any] | None) -> str:
    """The cosine, or the ones of the smallest and largest size by layer."""
    if cos is None:
        return "-"
    by_layer = cos["by_layer"]
    if len(by_layer) == 1:
        return f"{next(iter(by_layer.values())):+.2f}"
    layer = max(by_layer, key=lambda at: abs(by_layer[at]))
    return f"{by_layer[layer]:+.2f} (layer {layer}, largest of {len(by_layer)})"
