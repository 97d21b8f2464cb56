"""The judge ``regex``: a regular expression finds something in the reply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import regex

from ...core.errors import SteerError
from ...core.evidence import Json
from ...core.parameters import Param
from ...data.texts import PATIENCE
from .kinds import Exchange, Judgement, judge

Flag = Literal["ignorecase", "multiline", "dotall"]


@judge("regex", title="A regular expression", main="pattern")
@dataclass(frozen=True)
class Regex:
    """A regular expression is found in the reply (anywhere, unless it is anchored)."""

    pattern: Annotated[
        str, Param("The expression, as the package regex reads it.", example=r"\b[Yy]es\b", schema={"x-regex": True})
    ]
    flags: Annotated[Sequence[Flag], Param("How it is read.", example=["ignorecase"], schema={"uniqueItems": True})] = ()

    def __post_init__(self) -> None:
        try:
            _ = self._compiled
        except regex.error as error:
            raise SteerError(f"the judge 'regex': {self.pattern!r} is not a regular expression ({error})") from None

    @cached_property
    def _compiled(self) -> Any:
        flags = 0
        for name in self.flags:
            flags |= getattr(regex, name.upper())
        return regex.compile(self.pattern, flags)

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        for exchange in exchanges:
            try:
                found = self._compiled.search(exchange.reply, timeout=PATIENCE)
            except TimeoutError:
                yield Judgement.none(f"the expression takes more than {PATIENCE:g} s over this reply")
            else:
                yield Judgement(found is not None, said=found[0] if found else None)

    def record(self) -> Json:
        return {"judge": "regex", "pattern": self.pattern, "flags": list(self.flags)}
