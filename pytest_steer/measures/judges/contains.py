"""The judge ``contains``: the reply holds a text, or one or all of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from ...core.evidence import Json
from ...core.parameters import Param
from .kinds import Exchange, Judgement, judge


@judge("contains", title="Texts that the reply contains", main="texts")
@dataclass(frozen=True)
class Contains:
    """The reply contains a text: any of several, all of them, or none of them."""

    texts: Annotated[
        str | Sequence[str], Param("A text, or a list of texts.", example=["sorry", "cannot"], schema={"minItems": 1})
    ]
    match: Annotated[Literal["any", "all", "none"], Param("How many of the texts the reply has to contain.")] = "any"
    ignore_case: Annotated[bool, Param("Whether capital and small letters are the same.")] = True

    def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        return [self._judgement(exchange.reply) for exchange in exchanges]

    def _judgement(self, reply: str) -> Judgement:
        texts = (self.texts,) if isinstance(self.texts, str) else self.texts
        found = [text for text in texts if self._plain(text) in self._plain(reply)]
        accepted = {"any": bool(found), "all": len(found) == len(texts), "none": not found}[self.match]
        return Judgement(accepted, said=", ".join(found) or None)

    def _plain(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text

    def record(self) -> Json:
        texts = [self.texts] if isinstance(self.texts, str) else list(self.texts)
        return {"judge": "contains", "texts": texts, "match": self.match, "ignore_case": self.ignore_case}
