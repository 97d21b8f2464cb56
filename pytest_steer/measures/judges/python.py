"""The judge ``python``: a function of the user's."""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ...core.columns import message_of
from ...core.errors import SteerError
from ...core.evidence import Json
from ...core.parameters import Param, check_takes
from .kinds import Exchange, Judgement, conversation_of, judge

_WHAT = "the judge 'python'"


@judge("python", title="A function", main="function")
@dataclass(frozen=True)
class PythonFunction:
    """A function of the prompt and the reply says whether the reply is accepted, or gives it a score."""

    function: Annotated[
        str, Param("Where the function is: its module, a colon, and its name.", example="my_package.judges:is_polite")
    ]
    at_least: Annotated[float | None, Param("The least score of a reply that is accepted.", example=0.5)] = None
    base: Path = Path()

    def __post_init__(self) -> None:
        check_takes(self._called, ("prompt", "reply"), f"{_WHAT}: {self.function}")

    @cached_property
    def _called(self) -> Callable[[str, str], Any]:
        """The function.

        Raises:
            SteerError: the module cannot be imported, or has no function of that name.
        """
        module, colon, name = self.function.partition(":")
        if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise SteerError(f"{_WHAT}: a function is named `package.module:function`, not {self.function!r}")
        try:
            with _importable_from(self.base):
                found = getattr(import_module(module), name)
        except AttributeError:
            raise SteerError(f"{_WHAT}: the module {module!r} has no {name!r}") from None
        except Exception as error:  # the user's module may raise anything
            raise SteerError(f"{_WHAT}: {module!r} cannot be imported: {message_of(error)}") from error
        if not callable(found):
            raise SteerError(f"{_WHAT}: {self.function} is no function: {type(found).__name__}")
        called: Callable[[str, str], Any] = found
        return called

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        for exchange in exchanges:
            try:
                found = self._called(conversation_of(exchange.prompt), exchange.reply)
            except Exception as error:  # of the user's code, about one reply
                yield Judgement.none(f"{self.function} raised {message_of(error)}")
            else:
                yield self._judgement(found)

    def _judgement(self, found: Any) -> Judgement:
        if isinstance(found, (bool, np.bool_)):
            return Judgement(bool(found))
        if found is None:
            return Judgement.none(f"{self.function} gave None")
        if not isinstance(found, Real):
            return Judgement.none(f"{self.function} gave {type(found).__name__}, not True, False or a number")
        if not math.isfinite(found):
            return Judgement.none(f"{self.function} gave {float(found)}")
        if self.at_least is None:
            raise SteerError(
                f"{_WHAT}: {self.function} gave the number {float(found):g}. Say from which on a reply is accepted: `at_least: ...`"
            )
        return Judgement(float(found) >= self.at_least, score=float(found))

    def record(self) -> Json:
        return {"judge": "python", "function": self.function, "at_least": self.at_least, "source": _hash_of(self._called)}


@contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    """Find modules in this folder too, after all other places."""
    before, place = sys.path, str(folder.resolve())
    sys.path = [*before, place]
    try:
        yield
    finally:
        sys.path = before


def _hash_of(function: Callable[..., Any]) -> str | None:
    """The hash of the file that a function is from; None where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    except (TypeError, OSError):
        return None
