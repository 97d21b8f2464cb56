"""The judge ``local``: a model in a folder gives each reply a score by a rubric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

import torch

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.parameters import Param
from ...core.run_context import current_run
from ...core.sources import find_model
from ...model import Model, load_model
from ...model.drawing import Drawing
from ...model.replies import Reply, replies
from ...steering import SteeringVector
from .kinds import (
    Cached,
    Exchange,
    Judgement,
    LeastScore,
    Rubric,
    Scale,
    UnusableAnswerError,
    check_scoring,
    end_of,
    judge,
    named_from,
    request_of,
    scored,
)

_BATCH = 8


@judge("local", title="A model in a folder")
@dataclass(frozen=True)
class Local:
    """A model that is loaded beside the one under test gives each reply a score by a rubric. Its tokens are the likeliest ones, and it does not think first."""

    model: Annotated[str, Param("A model's folder, or another name that `model` may have.", example="models/qwen3-4b")]
    rubric: Rubric
    scale: Scale
    at_least: LeastScore
    max_new_tokens: Annotated[int, Param("How long an answer may be.", at_least=1, unit="tokens")] = 512
    cache: Cached = None
    base: Path = Path()

    def __post_init__(self) -> None:
        check_scoring(self.scale, self.at_least, "the judge 'local'")
        find_model(named_from(self.base, self.model))

    @cached_property
    def _loaded(self) -> Model:
        run = current_run()
        return _load(named_from(self.base, self.model), run.dtype, run.device)

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        for start in range(0, len(exchanges), _BATCH):
            asked = [request_of(self.rubric, one, self.scale) for one in exchanges[start : start + _BATCH]]
            try:
                answers: list[Reply | DataError] = [*self._answers(asked)]
            except DataError:  # one of them does not fit the model
                answers = [self._answer_or_error(one) for one in asked]
            yield from map(self._judgement, answers)

    def _answers(self, asked: Sequence[str]) -> list[Reply]:
        model = self._loaded
        vector = SteeringVector({0: torch.ones(model.width)})  # any will do: at multiplier 0 nothing is steered
        drawing = Drawing(max_new_tokens=self.max_new_tokens)
        found = replies(model, asked, vector, multipliers=[0.0], drawing=drawing)
        return [conversation[0][0][0] for conversation in found.of]

    def _answer_or_error(self, asked: str) -> Reply | DataError:
        try:
            return self._answers([asked])[0]
        except DataError as error:
            return error

    def _judgement(self, answer: Reply | DataError) -> Judgement:
        if isinstance(answer, DataError):
            return Judgement.none(str(answer).removeprefix("prompt 0: "))
        said = end_of(answer.text)
        if answer.finish_reason == "length":
            return Judgement.none(f"the answer does not end within {self.max_new_tokens} tokens (max_new_tokens)", said=said)
        try:
            return scored(answer.text, self.scale, self.at_least)
        except UnusableAnswerError as error:
            return Judgement.none(str(error), said=said)

    def record(self) -> Json:
        names = ("model", "rubric", "at_least", "max_new_tokens")
        own = {name: getattr(self, name) for name in names}
        model = self._loaded
        return {"judge": "local", **own, "scale": list(self.scale), "fingerprint": model.fingerprint, "dtype": model.dtype}


@lru_cache(maxsize=1)
def _load(name: str, dtype: str, device: str) -> Model:
    return load_model(name, dtype=dtype, device=device)
