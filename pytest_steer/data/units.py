"""What claims count: units of one kind, and the sample of distinct ones, with what belongs together."""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from ..core.clusters import clusters_of, independent, part_of
from ..core.errors import DataError, at_key
from ..core.evidence import Json
from ..core.finding import Finding, Weight, code
from ..core.record import Data
from ..core.registry import did_you_mean
from .likeness import TooManyPairs, Twins, case_twins, distinct, near_twins, normal_form, number_twins

Entry = TypeVar("Entry")


class Units(Sequence[Entry]):
    """An immutable sequence of what a claim counts; a slice is of the same class.

    Attributes:
        source: the file they were read from, or a name given by the user, for messages.
        expression: Python that gives them again, as far as that is known; else what they are called.
    """

    called: ClassVar[str]
    """What several are called in messages and evidence."""
    one: ClassVar[str]
    """What messages call one of them."""
    shown_as: ClassVar[str]
    """What their ``repr`` calls them."""
    key: ClassVar[str | None] = None
    """What names the clusters that they have by themselves."""

    def __init__(self, entries: Iterable[Entry], source: str = "", expression: str = "") -> None:
        self._entries = tuple(entries)
        self.source = source or self.called
        self.expression = expression or self.called

    @abstractmethod
    def content_of(self, entry: Entry) -> object:
        """What is hashed of one, as JSON takes it: its content without its id and its other keys."""

    def form_of(self, entry: Entry) -> tuple[str, ...]:
        """The normal form of one; those of one form are one unit."""
        found: tuple[str, ...] = entry.form  # type: ignore[attr-defined]
        return found

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each; its number where it has none."""
        return tuple(str(getattr(entry, "id", at)) for at, entry in enumerate(self))

    @property
    def forms(self) -> list[tuple[str, ...]]:
        """The normal form of each."""
        return [self.form_of(entry) for entry in self]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of their contents in order; ids, other keys and file names do not count."""
        content = [self.content_of(entry) for entry in self]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def describe(self) -> Data:
        """What they are, as the evidence has it."""
        return Data(hash=self.hash, n=len(self), source=self.source)

    def part(self, places: Iterable[int], expression: str = "") -> Self:
        """Those at some places, in this order."""
        return type(self)((self._entries[place] for place in places), self.source, expression)

    def first(self, count: int | None) -> Self:
        """The first ones, up to and including ``count`` distinct ones; all of them for None."""
        kept = distinct(self.forms) if count is not None else []
        return self[: kept[count]] if count is not None and len(kept) > count else self

    # --- what a kind says of itself where it is sampled ---

    def check(self) -> None:
        """Refuse entries that cannot be counted.

        Raises:
            DataError: it says which.
        """

    @property
    def is_too_long(self) -> bool:
        """Whether searching them would take minutes, and no model takes them."""
        return False

    @property
    def is_searched(self) -> bool:
        """Whether near-duplicates are looked for."""
        return True

    def labels(self) -> Sequence[Hashable]:
        """What each belongs to, as its entry says; its place where it says nothing."""
        return range(len(self))

    def together(self) -> Sequence[Hashable]:
        """A label of each by the rule of its kind: those of one label belong together."""
        return range(len(self))

    def why_together(self) -> str:
        """Why some were put together by the rule of their kind; "" if that needs no words."""
        return ""

    def remarks(self, clusters: Sequence[int] | None) -> list[Finding]:
        """What the reader has to know about this kind alone."""
        return []

    def name_of(self, place: int) -> str:
        """What messages call the one at a place."""
        return f"{self.one} {self.ids[place]}"

    def meta_of(self, entry: Entry) -> Mapping[str, object]:
        """The other keys of one, of which ``cluster`` names one."""
        found: Mapping[str, object] = getattr(entry, "meta", {})
        return found

    # --- a sequence ---

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Entry | Self:
        if not isinstance(index, slice):
            return self._entries[index]
        if index == slice(None):
            return self
        part = ":".join("" if at is None else str(at) for at in (index.start, index.stop, index.step))
        part = part.removesuffix(":") if index.step is None else part
        return self.part(range(len(self))[index], f"{self.expression}[{part}]")

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __add__(self, other: Sequence[Entry]) -> Self:
        return type(self)((*self, *other))

    def __radd__(self, other: Sequence[Entry]) -> Self:
        return type(self)((*other, *self))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, tuple)):
            return self._entries == tuple(other)
        return type(other) is type(self) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    def __repr__(self) -> str:
        return f"<{len(self)} {self.shown_as} from {self.source}>"


U = TypeVar("U", bound=Units[Any])


@dataclass(frozen=True, eq=False)
class Sample(Generic[U]):
    """The units of a claim.

    Attributes:
        units: the distinct ones.
        clusters: the cluster of each, or None if each stands for itself. key: that names the clusters.
        findings: what the reader has to know about them.
    """

    units: U
    clusters: tuple[int, ...] | None = None
    key: str | None = None
    findings: tuple[Finding, ...] = ()

    @cached_property
    def n(self) -> int:
        """Independent units."""
        return independent(len(self.units), self.clusters)

    @property
    def called(self) -> str:
        """What the units are: items, texts, prompts, questions, tasks."""
        return self.units.called

    @property
    def counted(self) -> str:
        """What n counts: the units, or clusters of them."""
        return self.called if self.clusters is None else "clusters"

    @property
    def drawable(self) -> int:
        """Units that may be drawn one by one."""
        return len(self.units) if self.clusters is None else 0

    @property
    def names(self) -> list[str]:
        """The id of each unit."""
        return list(self.units.ids)

    @property
    def forms(self) -> list[tuple[str, ...]]:
        """The normal form of each unit."""
        return self.units.forms

    def part(self, indices: Iterable[int]) -> Sample[U]:
        """Some of its units, in their order; clusters of one unit each are none."""
        kept = sorted(indices)
        return Sample(self.units.part(kept), part_of(self.clusters, kept), self.key, self.findings)

    def describe(self) -> Data:
        """What the units are, as the evidence has it."""
        return self.units.describe()

    def counts(self) -> Json:
        """Fields of evidence: what n counts."""
        return {"n": self.n, "unit": self.counted}

    def details(self) -> Json:
        """The evidence's ``details.clusters`` record, if there are clusters."""
        return {} if self.clusters is None else cluster_record(self.key, self.clusters, self.called)


def cluster_record(key: str | None, clusters: Sequence[int], called: str) -> Json:
    """The evidence's ``details.clusters`` record.

    Args:
        key: that names the clusters. clusters: of each unit. called: what the units are.
    """
    unit = {} if called in ("items", "tasks") else {"unit": called}
    return {"clusters": {"key": key, "items": len(clusters), "largest": max(Counter(clusters).values()), **unit}}


def sample_of(units: U | Sample[U], cluster: str | None = None, *, at_least: int = 2) -> Sample[U]:
    """The distinct units, and what belongs together: by a key of their entries, and by the rule of their kind.

    Args:
        units: what is counted; a sample is taken as it is. cluster: a key of the entries. at_least: how many distinct ones are needed.

    Raises:
        DataError: too few, one that cannot be counted, an unknown key, one that lacks it, or all are one cluster.
    """
    if isinstance(units, Sample):
        _check_enough(units.units, at_least)
        return units
    units.check()
    if units.is_too_long:
        _check_enough(units, at_least)
        return Sample(units, None, cluster)  # which no model takes, as the measure will say
    kept, findings = without_repeats(units)
    _check_enough(kept, at_least)
    labels = kept.labels()
    if cluster is not None:
        with at_key("data.cluster"):
            labels = _labels_under(cluster, kept)
    clusters = clusters_of(labels, kept.together())
    count = independent(len(kept), clusters)
    if clusters is not None and count == 1:
        under = f": {cluster!r} has one value" if cluster else ""
        raise DataError(f"{kept.source}: all {kept.one}s are one cluster, which says nothing about others{under}")
    if count < len(set(labels)) and (why := kept.why_together()):
        findings.append(MERGED(f"{len(kept)} {kept.called} are counted as {count} clusters: {why}"))
    findings += kept.remarks(clusters) + _shared_ids(kept.ids, kept.called)
    if kept.is_searched:
        findings += _near_duplicates(kept.forms, kept.called, clusters)
    return Sample(kept, clusters, cluster or kept.key, tuple(findings))


def _check_enough(units: Units[Any], at_least: int) -> None:
    if len(units) < at_least:
        raise DataError(f"{units.source}: has {len(units)} {units.called[:-1]}(s); an interval needs at least two")


# --- what the reader has to know ---

REPEATED = code(
    "repeated-units",
    signal="Some units repeat another one, white space aside.",
    meaning="A repeated unit says nothing new. It is left out, and n does not count it.",
    cure="Delete the repeats from the data.",
)
SHARED_IDS = code(
    "shared-ids",
    signal="Distinct units have the same id.",
    meaning="Messages and reports do not say which of them is meant.",
    cure="Give each unit an id of its own.",
)
NEAR_DUPLICATES = code(
    "near-duplicates",
    signal="Units differ from another one in case, in numbers and punctuation, or in one word of ten.",
    meaning="If they are variants of each other, they are not independent and the interval is too narrow.",
    cure="Keep one of each, or name with `cluster` the key that says which items belong together.",
    weight=Weight.DOUBTFUL,
)
NOT_SEARCHED = code(
    "near-duplicates-not-searched",
    signal="Too many units share rare words to compare them all.",
    meaning="The data may hold near-duplicates, and then the interval is too narrow.",
    cure="Look for near-duplicates yourself.",
)
MERGED = code(
    "merged-clusters",
    signal="Units that ask one question, or complete one prompt, are counted as one cluster.",
    meaning="n and the interval are over clusters, so n is smaller than the number of units.",
    cure="None is needed. Add other questions for a narrower interval.",
)


def without_repeats(units: U) -> tuple[U, list[Finding]]:
    """The distinct units, and a finding about the others."""
    forms = units.forms
    kept = distinct(forms)
    if len(kept) == len(forms):
        return units, []
    text = (
        f"{len(forms) - len(kept)} of these {len(forms)} {units.called} repeat another one (white space aside) and are left out: {len(kept)} "
        "are distinct"
    )
    return units.part(kept), [REPEATED(text)]


def _shared_ids(ids: Sequence[str], called: str) -> list[Finding]:
    """A finding about distinct units that have one id."""
    shared = {own: count for own, count in Counter(ids).items() if count > 1}
    if not shared:
        return []
    first = next(iter(shared))
    text = (
        f"{sum(shared.values())} of these {len(ids)} {called} share their id with another one (such as {first!r}, of {shared[first]}), so "
        "messages and reports do not say which is meant"
    )
    return [SHARED_IDS(text, "give each an id of its own")]


def _near_duplicates(
    forms: Sequence[tuple[str, ...]], called: str, clusters: Sequence[Hashable] | None = None
) -> list[Finding]:
    """Findings about units that are nearly the same, those of one cluster aside."""

    def about(twins: Twins | None, what: str) -> list[Finding]:
        if twins is None:
            return []
        first = forms[twins.example[0]][0]
        shown = first if len(first) <= 50 else f"{first[:47]}..."
        text = (
            f"{twins.units} of these {len(forms)} {called} {what} another one (such as {shown!r}), and n counts each: if they are variants of "
            "each other, the interval is too narrow"
        )
        return [NEAR_DUPLICATES(text, "keep one of each" + or_cluster)]

    or_cluster = ", or name what belongs together with cluster" if called == "items" else ""
    cased = about(case_twins(forms, clusters), "differ in nothing but case from")
    try:
        near = about(near_twins(forms, clusters), "share nine words of ten with")
    except TooManyPairs:
        return [
            *cased,
            NOT_SEARCHED(f"near twins were not looked for: too many of these {len(forms)} {called} share rare words"),
        ]
    return [*cased, *about(number_twins(forms, clusters), "differ in nothing but numbers or punctuation from"), *near]


def _labels_under(key: str, units: Units[Any]) -> list[Hashable]:
    """What each unit has under a key of its entry."""
    meta = [units.meta_of(entry) for entry in units]
    known = list(dict.fromkeys(name for own in meta for name in own))
    if key not in known:
        raise DataError(
            f"{units.source}: none of its {len(units)} items has the key {key!r} that cluster names: {did_you_mean(key, known)}"
        )
    labels: list[Hashable] = []
    for place, own in enumerate(meta):
        value = own.get(key)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            raise DataError(
                f"{units.source}: {units.name_of(place)} has no {key!r}, which cluster names: give one to every item"
            )
        if not isinstance(value, (str, int, float)):
            raise DataError(
                f"{units.source}: {units.name_of(place)}: {key!r} is {value!r}, and a cluster is named by a text or a number"
            )
        labels.append(normal_form(str(value)))
    return labels
