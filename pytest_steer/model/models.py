"""The models of one run, each loaded once."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from functools import cached_property

import torch

from ..errors import SteerError
from ..run_context import RunContext
from .engine import engine_of
from .loaded import Model
from .loading import load_model, pick_device
from .memo import DiskMemo
from .weights import check_patterns, check_unexpected


class Models:
    """Loads the models of a run, with its score cache. A model is loaded once per name, dtype and device, and a failure is kept too."""

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self._loaded: dict[tuple[str, str, str], Model] = {}
        self._failed: dict[tuple[str, str, str, tuple[str, ...]], SteerError] = {}

    def load(
        self, name: str, *, dtype: str | None = None, device: str | None = None, allow_unexpected: Iterable[str] = ()
    ) -> Model:
        """The model of this name.

        Args:
            dtype / device: instead of the run's.
            allow_unexpected: patterns of weights that may be left out, beside those of the run.

        Raises:
            SteerError: the cache's folder cannot be used, or see ``pytest_steer.load_model``.
        """
        place = device or self.run.device
        key = (name, dtype or self._dtype_on(place), place)
        allowed = tuple(dict.fromkeys((*self.run.allow_unexpected, *check_patterns(allow_unexpected))))
        if (*key, allowed) in self._failed:
            raise self._failed[*key, allowed]
        try:
            if key not in self._loaded:
                disk = self._disk
                model = load_model(name, dtype=key[1], device=place, allow_unexpected=allowed)
                engine_of(model).disk = disk
                model.loaded_weights = model.weights_checksum()
                self._loaded[key] = model
            # Another claim file may have allowed what this one does not.
            check_unexpected(self._loaded[key].id, self._loaded[key].hf, self._loaded[key].unexpected, allowed)
        except SteerError as error:
            self._failed[*key, allowed] = error
            raise
        return self._loaded[key]

    def _dtype_on(self, device: str) -> str:
        return "bfloat16" if self.run.half_on_cpu and pick_device(device).type == "cpu" else self.run.dtype

    @cached_property
    def _disk(self) -> DiskMemo | None:
        return DiskMemo(self.run.cache) if self.run.cache is not None else None


def free_memory() -> None:
    """Give back the memory of models that nothing refers to any more; modules and hooks refer to each other in circles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
