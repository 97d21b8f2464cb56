"""Models with an engine of their own, questions for them, and whether the answers are those of the plain way."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import plain

from pytest_steer import Model, wrap_model
from pytest_steer.model import Engine, Probe, engine_of
from pytest_steer.steering import as_intervention


def fresh(family: str, padding: str = "right", sharing: bool = True, chat: bool = True) -> Model:
    """The family's shared weights with an engine, and so a memory, of its own."""
    base = builders.random_model(family, chat)
    model = wrap_model(base.hf, base.tokenizer, base.id)
    model.kept[engine_of] = Engine(model, padding=padding, sharing=sharing)
    return model


def tokens(start: int, n: int) -> tuple[int, ...]:
    return tuple((13 * start + 7 * j * (1 + start % 3)) % 250 + 10 for j in range(n))


def probes_of(kind: str, start: int, prefix: int = 0, count: int = 5) -> list[Probe]:
    """Questions of different lengths after a common prefix: letters, or two answers of several tokens each. Steering begins at token
    ``start``, or three tokens before the end of the prompt if ``start`` is more than 1."""
    probes = []
    for n in range(count):
        prompt = tokens(3, prefix) + tokens(n, 20 + 3 * n)
        begin = start if start < 2 else len(prompt) - 3
        if kind == "letter":
            probes.append(Probe(prompt, begin, (20, 30)))
        else:
            answers = (tokens(50 + n, 3), tokens(90 + n, 2))
            probes += [Probe(prompt + answer, begin, score_from=len(prompt)) for answer in answers]
    return probes


def run_pairs(model: Model, probes: list[Probe], pairs: Any) -> tuple[Any, dict[int, str]]:
    """Scores under each (layer or None, multiplier), and the path of each layer's vector."""
    vectors = {layer: as_intervention(builders.random_vector(layer)) for layer in (0, 1, 2)}
    found = engine_of(model).run_pairs(probes, [(None if layer is None else vectors[layer], m) for layer, m in pairs])
    return found, {layer: engine_of(model).path(change) for layer, change in vectors.items()}


def check(model: Model, probes: list[Probe], pairs: Any, found: Any) -> None:
    """The scores equal those of one sequence at a time with one hook."""
    for probe, scores in zip(probes, found, strict=True):
        for (layer, m), got in zip(pairs, scores, strict=True):
            directions = {} if layer is None else builders.random_vector(layer).directions
            np.testing.assert_allclose(got, plain.scores(model.hf, probe, directions, m), rtol=0, atol=1e-4)
