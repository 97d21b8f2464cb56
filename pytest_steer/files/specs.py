"""What a claim file says, as plain data."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pytest_steer.core.errors import ClaimFileError, SteerError
from pytest_steer.core.evidence import Evidence, Json, error_evidence
from pytest_steer.core.sources import shown
from pytest_steer.data.formats.entries import full_name, is_builtin


def absolute(text: str, folder: Path) -> Path:
    """``text`` seen from ``folder``. Links are not followed: a link's own name can carry the suffix. Shipped data keep their name."""
    if is_builtin(text, folder):
        return Path(full_name(text))
    return folder / text


@dataclass(frozen=True)
class VectorSpec:
    """Where the steering vector or intervention comes from and where it acts.

    Either ``file`` is set (a saved vector), or ``method`` and ``data`` are (made from the model under test).

    Attributes:
        layers: 0-based decoder blocks, ``all`` of the saved vector's, or None: the only one that it has.
        rows: what the rows of a saved stack are, ``blocks`` or ``hidden_states``; None if the file does not say.
        positions: ``all``, ``after_prompt`` or ``last``.
        allow_mismatch: any of ``model``, ``template``: made elsewhere, and accepted all the same.
        line: 1-based line of the claim file.
        options: further settings of the method.
        asked: how items are asked to make it: ``thinking``, ``date``, as the file (not a claim) says.
        columns: what the columns of the training data are called, where they have other names.
        reading: settings of the file's format.
        shape: what an ``intervention:`` says beyond a vector: ``kind``, ``site``, ``value``, ``keep``, ``angle``, and with paths made
            absolute ``toward`` and ``condition``. None for a ``vector:``.
    """

    file: Path | None
    method: str | None
    data: Path | None
    layers: tuple[int, ...] | Literal["all"] | None
    positions: str
    include_first: bool
    allow_mismatch: tuple[str, ...]
    line: int
    options: Json = field(default_factory=dict)
    shape: Json | None = None
    asked: dict[str, str] = field(default_factory=dict)
    rows: Literal["blocks", "hidden_states"] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    reading: Json = field(default_factory=dict)

    @property
    def section(self) -> str:
        """The key that it stands under."""
        return "vector" if self.shape is None else "intervention"

    @property
    def key(self) -> tuple[object, ...]:
        """The same for two entries that make the same vector or intervention, wherever they stand and whichever tokens they steer."""
        return (
            self.file, self.method, self.data, self.layers, repr(self.options), repr(self.shape), self.rows, repr(self.columns),
            repr(self.asked), repr(self.reading),
        )  # fmt: skip


OWN_AXES = ("behaviour", "vector")
"""Axes of the matrix whose choice is the claim's own behaviour, or its vector."""


@dataclass(frozen=True)
class ClaimSpec:
    """One claim that can be measured.

    Attributes:
        kind: the claim's key in the file, such as ``steers``.
        name: unique in its file.
        params: the kind's own parameters, defaults filled in.
        multiplier: the deployed strength, never 0.
        multipliers: the strengths of the propensity curve, all different, at least two.
        direction: ``raises`` or ``lowers``: what the deployed model is meant to do.
        test: the contrast items. Only if the kind needs them it is sure that the file was there.
        neutral: the neutral texts. Only if the kind needs them it is sure that the file was there.
        prompts: what the model is asked to reply to, under the same condition; None for the questions of ``test``.
        neutral_settings: what of them is read and left out, as keywords of ``read_texts``.
        demonstrations: the items that demonstrations are drawn from, under the same condition.
        columns: what the columns of the data are called, where they have other names.
        min_n: with fewer units the claim is inconclusive; None for the default of its statistic.
        silence: codes of findings that are not shown, each with the reason.
        cluster: the key of the items that names what belongs together, or None.
        xfail: the reason why the claim is known to fail, or None.
        xfail_expires: the last day on which that excuses it, or None.
        line: 1-based line of the claim file.
        places: a key of the claim as it counts, such as ``vector.layer``, to the line and the key where it is written.
        model: the model that ``matrix`` gives this claim (a relative path made absolute), or None: that of the file.
        choice: the combination of the matrix, axis to the choice's name, as in ``{"method": "caa", "behaviour": "sentiment"}``, in
            the order of the file; empty without a matrix.
        asked: how items are asked and read where no context says: ``answers``, ``thinking``, ``date``; what is not there is the default.
    """

    kind: str
    name: str
    params: Json
    vector: VectorSpec
    multiplier: float
    multipliers: tuple[float, ...]
    confidence: float
    xfail: str | None
    line: int
    model: str | None = None
    direction: Literal["raises", "lowers"] = "raises"
    test: Path | None = None
    neutral: Path | None = None
    demonstrations: Path | None = None
    prompts: Path | None = None
    neutral_settings: Json = field(default_factory=dict)
    min_n: int | None = None
    cluster: str | None = None
    silence: dict[str, str] = field(default_factory=dict)
    choice: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    xfail_expires: datetime.date | None = None
    places: dict[str, tuple[int, str]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def is_expired(self) -> bool:
        """Whether the last day of its known failure is over, so that nothing excuses it any more."""
        return self.xfail_expires is not None and self.xfail_expires < datetime.date.today()

    @property
    def given_data(self) -> set[str]:
        """The keys of ``data`` that it has of what claims are measured on."""
        files = {"test": self.test, "neutral": self.neutral, "prompts": self.prompts}
        return {key for key, file in files.items() if file is not None}

    @property
    def own_names(self) -> frozenset[str]:
        """What the combination calls the claim's own behaviour: its choice of a behaviour, and of a vector."""
        return frozenset(self.choice[axis] for axis in OWN_AXES if axis in self.choice)

    def place_of(self, key: str) -> tuple[int, str]:
        """The line and the key where a key of the claim as it counts is written; the claim's line and no key if it is not."""
        inner = ""
        while key and key not in self.places:
            key, _, last = key.rpartition(".")
            inner = f".{last}{inner}"
        line, where = self.places[key] if key else (self.line, "")
        return line, f"{where}{inner}" if key else ""

    def located(self, error: SteerError, path: Path) -> str:
        """What is wrong with the claim, beginning with the file, the line and the key where that is written."""
        line, key = self.place_of(error.key)
        return f"{shown(path)}:{line}: {key}{': ' if key else ''}{error}"

    def failed(self, error: SteerError, path: Path) -> Evidence:
        """The evidence of an error, which begins with the line and the key of the claim's file where that is written."""
        said = self.located(error, path)
        return error_evidence(self.kind, self.name, said, soundness=getattr(error, "soundness", None))


@dataclass(frozen=True)
class BrokenClaim:
    """One claim that cannot be measured, and why. The claims around it can be good.

    Attributes:
        name: unique in its file, also where the claim itself gives no usable name.
        line: 1-based line of the claim (``error.line`` is the line of the fault).
        error: all that is wrong with the claim, the first fault first.
        kind: its kind; empty if it names none that is known.
    """

    name: str
    line: int
    error: ClaimFileError
    kind: str = ""
    # What a claim that can be measured may say.
    model: ClassVar[None] = None
    xfail: ClassVar[None] = None
    xfail_expires: ClassVar[None] = None
    is_expired: ClassVar[bool] = False
    choice: ClassVar[Mapping[str, str]] = {}

    @property
    def evidence(self) -> Evidence:
        """The evidence of a claim that could not even be read."""
        return error_evidence(self.kind, self.name, str(self.error))

    def place_of(self, key: str) -> tuple[int, str]:
        """The claim's line, and no key: it was not read far enough to know more."""
        return self.line, ""

    def located(self, error: SteerError, path: Path) -> str:
        """The error as it is, since it says itself where its fault is written."""
        return str(error)

    def failed(self, error: SteerError, path: Path) -> Evidence:
        """The evidence of an error."""
        return error_evidence(self.kind, self.name, str(error))


@dataclass(frozen=True)
class Suite:
    """One claim file.

    Attributes:
        path: the claim file, absolute.
        model: the model that the file names (a relative path made absolute), or None.
        allow_unexpected: patterns of weights that may be left out of the model.
        needs_template: a model without a chat template is an error.
        contexts: the axes that the file gives, such as ``{"system": ("", "Be brief.")}``.
        regressions: contexts that are always tried, each as its axes that are not as given.
        entries: all claims in the order of the file.
    """

    name: str
    path: Path
    model: str | None
    holm: bool
    contexts: dict[str, tuple[Any, ...]]
    entries: tuple[ClaimSpec | BrokenClaim, ...]
    regressions: tuple[Json, ...] = ()
    allow_unexpected: tuple[str, ...] = ()
    needs_template: bool = False

    def labelled(self, evidence: Evidence, entry: ClaimSpec | BrokenClaim) -> Evidence:
        """The evidence of an entry with what the file says of it beside the claim: its suite, combination and known failure."""
        return evidence.but(
            suite=self.name,
            matrix=dict(entry.choice) or None,
            xfail=None if entry.is_expired else entry.xfail,
            xfail_expires=None if entry.xfail_expires is None else entry.xfail_expires.isoformat(),
        )
