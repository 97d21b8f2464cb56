"""A measurement: what a claim returns. Units with a value each, the estimator of the promised number, and what there is to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ..core.clusters import clusters_of, independent
from ..core.evidence import Direction, Json
from ..core.finding import Finding
from ..core.record import Asked, Compared, Units, UnitsKind
from ..data import Sample, TextLike
from ..data.likeness import content_hash
from ..measures import Array, NoiseFloor, PropensityCurve, Reading
from ..measures.ask import Ask
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Probe
from ..prompting import Context
from ..stats import mean_t
from ..stats.estimators import Estimator
from .rulings import Ruling, Written

Clusters = Sequence[int] | None


@dataclass(frozen=True)
class Counted:
    """What n counts, entry by entry.

    Attributes:
        names: of the entries, for messages. forms: their content in normal form. called: what they are: items, texts, replies.
        clusters: of each entry; None if each stands for itself.
        n / unit: independent units and what they are, where a claim counts others than its entries or their clusters.
        of: the sample that they come from, if that is not the measurement's.
    """

    names: Sequence[str]
    forms: Sequence[Sequence[str]]
    called: str
    clusters: Clusters = None
    n: int | None = None
    unit: str | None = None
    of: Sample[Any] | None = None

    @property
    def count(self) -> int:
        """Independent units."""
        if self.n is not None:
            return self.n
        return independent(len(self.names), self.clusters)

    @property
    def counted(self) -> str:
        """What n counts."""
        return self.unit or (self.called if self.clusters is None else "clusters")

    def record(self, values: Array, kind: str, how: Json, parts: Sequence[str] | None = None) -> Units:
        """The units by content, so that two runs can be paired.

        Args:
            values: [n_entries] whose mean is the estimate, on its scale and with its sign. kind: of the estimator.
            how: what else the values depend on. Where it differs, two runs are not compared.
        """
        return Units(
            kind=cast(UnitsKind, kind),
            unit=self.called,
            ids=tuple(map(content_hash, self.forms)),
            names=tuple(self.names),
            values=tuple(map(float, values)),
            clusters=None if self.clusters is None else tuple(self.clusters),
            parts=None if parts is None else tuple(parts),
            how=how,
        )


def counted(sample: Sample[Any]) -> Counted:
    """The entries of a sample, each with its cluster."""
    return Counted(sample.names, sample.forms, sample.called, sample.clusters)


def counted_replies(written: Written, places: Sequence[int]) -> Counted:
    """The replies at these places, each known by its prompt and the number of its sample."""
    dialogues, ids = written.sample.units, [written.ids[at] for at in places]
    forms = [(*dialogues[prompt].form, str(number)) for prompt, number in ids]
    return Counted([dialogues[prompt].id for prompt, _ in ids], forms, "replies", written.clusters_of(places))


def counted_together(parts: Sequence[Counted], called: str, *, n: int, unit: str) -> Counted:
    """The entries of several parts, of which none is in a cluster with one of another part.

    Args:
        n / unit: see :class:`Counted`.
    """
    labels = [(at, own) for at, part in enumerate(parts) for own in part.clusters or range(len(part.names))]
    names = [name for part in parts for name in part.names]
    return Counted(names, [form for part in parts for form in part.forms], called, clusters_of(labels), n, unit)


@dataclass(frozen=True)
class Scale:
    """From the scale on which a statistic is inferred to that of its promise, and back.

    Attributes:
        shown: None for a bound that is no finite number. inferred: of a threshold.
        per_unit: numbers of the units on the scale of the promise, whose mean is the estimate.
    """

    shown: Callable[[float], float | None]
    inferred: Callable[[float], float]
    per_unit: Callable[[Array], Array]


@dataclass(frozen=True)
class Read:
    """How the unsteered model reads the texts or questions of a claim.

    Attributes:
        reading: None if they are too short to say. clusters: of the texts. of: which texts, where a claim has several groups.
        texts: that are read as they are; none of questions. asked: the steered probes of each.
    """

    reading: Reading | None
    clusters: Clusters = None
    of: str = ""
    texts: Sequence[TextLike] = ()
    asked: Sequence[Sequence[Probe]] = ()

    def record(self, confidence: float) -> Json | None:
        """Whether the model is proven to read them better than chance, by Student's t over the texts."""
        reading = self.reading
        if reading is None:
            return None
        interval: tuple[float | None, float | None] = (None, None)
        is_better = False
        if len(reading.per_text) > 1:
            found = mean_t(reading.per_text, confidence=confidence, clusters=self.clusters)
            interval, is_better = bounds_of(found), reading.is_better_at(found.high)
        return {
            "loss": reading.loss,
            "interval": list(interval),
            "chance": reading.chance,
            "is_better": is_better,
            "texts": len(reading.per_text),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """What a claim measured. Nothing here is about the verdict.

    Attributes:
        sample: what was counted. of: which data that is, where a claim has several groups of them; named in what is found of it. values: one row per entry of ``units``. estimator: from these to the promised number.
        statistic: the number in words. direction: whether it is promised to be large or small.
        probes: steered questions, for the receipt and the noise. noisy: those whose noise is measured, if not all.
        moved: how far rounding moves the statistic of one unit, or the share of units that it leaves open; None if that is not known.
        units: the entries with their clusters, if not those of the sample.
        scale: where the statistic is inferred on another scale than that of its promise.
        is_strict: the statistic has to exceed its threshold.
        subject / context: at and in which it was measured, if these are not the claim's.
        asked: how the data were put to the model.
        curve: of the items, of a claim about contrast items. deployed: the curve with 0 and the deployed multiplier.
        is_slope: the statistic depends on the slope over the curve's multipliers. has_slopes: the evidence describes the items' slopes.
        of_items: further entries of the record of each item.
        also: other data that the claim asked about, such as neutral texts beside items, by the name that stands before what is found of
            them; "" for none.
        reads: texts or questions that the unsteered model has to read for a pass to mean something.
        written: the replies, of a claim about replies. rulings: of a judge, on those of each side.
        how: what the values depend on beside the claim's own parameters. unpaired: why two runs are not compared, as the end of a sentence.
        details: further numbers: a frozen dataclass of the kind's own, or a mapping. described: those of the claim's base. compared: entries for a comparison of methods, if not those of the curve; empty for none.
        findings: the claim's own. kept: what the kind's hooks need again, which no report has.
        fields: other fields of the evidence, such as ``replies`` or ``strata``.
    """

    sample: Sample[Any]
    values: Array
    estimator: Estimator
    statistic: str
    direction: Direction = Direction.AT_LEAST
    probes: Sequence[Probe]
    noisy: Sequence[Probe] | None = None
    moved: Callable[[NoiseFloor], float] | None = None
    units: Counted | None = None
    scale: Scale | None = None
    is_strict: bool = False
    percent: bool = False
    subject: Subject | None = None
    context: Context | None = None
    asked: Asked | None = None
    curve: PropensityCurve | None = None
    deployed: PropensityCurve | None = None
    is_slope: bool = False
    has_slopes: bool = True
    of_items: Sequence[Json] = ()
    also: Mapping[str, Sample[Any]] = field(default_factory=dict)
    reads: Sequence[Read] = ()
    written: Written | None = None
    rulings: Sequence[Sequence[Ruling]] = ()
    how: Json = field(default_factory=dict)
    unpaired: str | None = None
    details: Any = field(default_factory=dict)
    described: Json = field(default_factory=dict)
    compared: Compared | Json | None = None
    findings: Sequence[Finding] = ()
    fields: Json = field(default_factory=dict)
    of: str = ""
    kept: Any = None

    @property
    def entries(self) -> Counted:
        return counted(self.sample) if self.units is None else self.units

    @property
    def sample_of_entries(self) -> Sample[Any]:
        """The sample that the entries, and the items of the curve, come from."""
        return self.entries.of or self.sample

    def where(self, ask: Ask) -> Ask:
        """The questions of a claim in the context in which this was measured."""
        return ask if self.context is None else ask.within(self.context)

    @property
    def fault(self) -> str | None:
        """What is wrong with a field, and what to write, as the end of a sentence; None if nothing is."""
        for field_, kind, cure in _KINDS:
            value = getattr(self, field_)
            if not isinstance(value, kind) or isinstance(value, type):
                return f"has the {field_} {value!r:.60}: {cure}"
        if self.moved is not None and not callable(self.moved):
            return f"has moved={self.moved!r:.60}: write a function of the noise floor, `moved=lambda floor: ...`, or leave it out"
        if wrong := next((one for one in self.findings if not isinstance(one, Finding)), None):
            return f"has the finding {wrong!r:.60}: make it of a code, `weak = code(...)`, then `findings=[weak('what was seen')]`"
        if len(self.values) != len(self.entries.names):
            return (
                f"has {len(self.values)} values for {len(self.entries.names)} {self.entries.called}: give one row of `values` for each, or say "
                "with `units=Counted(...)` what they are of"
            )
        return None

    def but(self, **changes: Any) -> Measurement:
        return replace(self, **changes)


_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("direction", Direction, "write `direction=Direction.AT_LEAST` or `direction=Direction.AT_MOST` (pytest_steer.extend)"),
    ("sample", Sample, "write `sample=self.sampled_items`, `self.sampled_texts` or `self.sampled_prompts`"),
    ("values", np.ndarray, "write `values=numpy.array(...)`, one row per unit"),
    ("estimator", Estimator, "write `estimator=Mean()`, or another one of pytest_steer.extend"),
    ("statistic", str, "write what the number is, as text"),
    ("probes", Sequence, "write `probes=curve.probes`: the steered questions"),
)
