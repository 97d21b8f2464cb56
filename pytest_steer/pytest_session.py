"""One pytest run: models, vectors and data are loaded once, claims are measured once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import progress
from .errors import SteerError, at_key
from .pytest_options import Settings
from .run_context import Recorder
from .sources import DEFAULT_MODEL, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pytest

    from .evidence import Evidence
    from .files import BrokenClaim, ClaimSpec, Suite
    from .files.build import Builder
    from .model import Model
    from .model.memo import DiskMemo


MODELS_OVERRULED = (
    "--steer-model (steer_model) puts {model} in the place of every model of `matrix.model`: items that differ in nothing but their "
    "model are the same measurement, whatever they are called"
)


class SteerSession:
    """What the fixtures and the claim items share.

    Attributes:
        settings: the options of this run.
        started: when it began, in seconds since the epoch.
    """

    def __init__(self, settings: Settings, cache: pytest.Cache | None = None) -> None:
        self.settings = settings
        self._cache = cache
        self.started = time.time()
        self._disk_memo: DiskMemo | None = None
        self._models: dict[tuple[str, str, str], Model] = {}
        self._failed: dict[tuple[str, str, str, tuple[str, ...]], SteerError] = {}
        self._builders: dict[int, Builder] = {}
        self._families: dict[int, dict[str, Evidence]] = {}

    def model_name(self, suite: Suite | None = None, claim: ClaimSpec | BrokenClaim | None = None) -> str:
        """The model of a claim: the option's, else that of its combination in ``matrix``, else the file's, else the built-in one."""
        of_matrix = getattr(claim, "model", None)
        return self.settings.model or of_matrix or (suite.model if suite is not None else None) or DEFAULT_MODEL

    def load_model(
        self, name: str, *, dtype: str | None = None, device: str | None = None, allow_unexpected: Iterable[str] = ()
    ) -> Model:
        """A model, loaded once per name, dtype and device. A failure is remembered too, and raised again.

        Args:
            allow_unexpected: patterns of weights that may be left out, beside those of the settings.

        Raises:
            ModelError: see ``pytest_steer.load_model``.
        """
        from .model import engine_of, load_model
        from .model.weights import check_patterns, check_unexpected

        key = (name, dtype or self._dtype_on(device or self.settings.device), device or self.settings.device)
        allowed = tuple(dict.fromkeys((*self.settings.allow_unexpected, *check_patterns(allow_unexpected))))
        if (*key, allowed) in self._failed:
            raise self._failed[*key, allowed]
        try:
            if key not in self._models:
                model = load_model(name, dtype=key[1], device=key[2], allow_unexpected=allowed)
                engine_of(model).disk = self._disk()
                self._models[key] = model
            # Another claim file may have allowed what this one does not.
            check_unexpected(self._models[key].id, self._models[key].hf, self._models[key].unexpected, allowed)
        except SteerError as error:
            self._failed[*key, allowed] = error
            raise
        return self._models[key]

    def _dtype_on(self, device: str) -> str:
        from .model.loading import pick_device

        settings = self.settings
        if settings.dtype_on_cpu != settings.dtype and pick_device(device).type == "cpu":
            return settings.dtype_on_cpu
        return settings.dtype

    def counterexamples_folder(self) -> Path | None:
        """Where contexts that broke a claim are kept: the user's folder, else one in pytest's cache if that is not switched off."""
        if self.settings.counterexamples is not None:
            return self.settings.counterexamples
        return self._cache.mkdir("steer-counterexamples") if self._cache is not None else None

    def recorder(self, add: Callable[[Evidence], None], place: str) -> Recorder:
        """What assertions in a running test are told."""
        settings, profile = self.settings, self.settings.profile
        return Recorder(
            add=add,
            seed=settings.seed,
            place=place,
            soundness=settings.soundness,
            max_contexts=profile.max_contexts,
            batch=profile.batch,
            memory=self.counterexamples_folder,
            only=settings.context,
        )

    def _disk(self) -> DiskMemo | None:
        """The scores kept on disk, opened with the first model."""
        if self.settings.cache is not None and self._disk_memo is None:
            from .model.memo import DiskMemo

            self._disk_memo = DiskMemo(self.settings.cache)
        return self._disk_memo

    def measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        """Evidence of one claim. With Holm's adjustment all claims of its file are measured, whichever were selected.

        Raises:
            SteerError: the claim cannot be measured.
        """
        if not (self.settings.holm or suite.holm):
            return self._measure(suite, claim)
        family = self._families.get(id(suite))
        if family is None:
            family = self._families[id(suite)] = self._measure_family(suite)
        return family[claim.name]

    def _measure_family(self, suite: Suite) -> dict[str, Evidence]:
        from .claims.multiplicity import adjust
        from .evidence import error_evidence
        from .files import BrokenClaim

        family = {}
        for entry in suite.entries:
            if isinstance(entry, BrokenClaim):
                family[entry.name] = error_evidence("", entry.name, str(entry.error))
                continue
            try:
                family[entry.name] = self._measure(suite, entry)
            except SteerError as error:
                known = {"soundness": getattr(error, "soundness", None)}
                family[entry.name] = error_evidence(entry.kind, entry.name, placed(error, suite, entry), **known)
        adjust(list(family.values()))
        return family

    def _measure(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        from .files.build import Builder, SearchEffort
        from .measures.subject import model_warnings

        progress.report("loading the model")
        with at_key("model" if self.settings.model is None else ""):
            model = self.load_model(self.model_name(suite, claim), allow_unexpected=suite.allow_unexpected)
        builder = self._builders.get(id(model))
        if builder is None:
            effort = self.settings.profile
            builder = self._builders[id(model)] = Builder(
                model,
                seed=self.settings.seed,
                max_items=effort.max_items,
                max_drawn=effort.max_drawn,
                in_rounds=effort.in_rounds,
                search=SearchEffort(effort.max_contexts, effort.batch, self.counterexamples_folder(), self.settings.context),
            )
        progress.report("preparing the vector")
        evidence = builder.build(suite, claim).measure(model)
        evidence.warnings += model_warnings(model)
        if claim.model is not None and self.settings.model is not None:
            evidence.warnings.append(MODELS_OVERRULED.format(model=self.settings.model))
        return evidence


def placed(error: SteerError, suite: Suite, claim: ClaimSpec) -> str:
    """What is wrong with a claim, after the line and the key of its file where that is written."""
    line, key = claim.place_of(error.key)
    return f"{shown(suite.path)}:{line}: {key}{': ' if key else ''}{error}"


def broken_evidence(broken: BrokenClaim) -> Evidence:
    """The evidence of a claim that could not even be read."""
    from .evidence import error_evidence

    return error_evidence("", broken.name, str(broken.error))
