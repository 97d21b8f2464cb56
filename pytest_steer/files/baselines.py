"""The baseline of a claim of a file: vectors made or read, models loaded."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..claims.baselines import COUNT, Baseline
from ..errors import DataError, SteerError, at_key
from ..extract.kinds import Training
from ..model import Model, check_fits
from ..model.loading import Models, with_adapter
from ..run_context import RunContext
from ..steering import SteeringVector, as_intervention
from .files import absolute
from .make import extracted, make_steering
from .specs import ClaimSpec, VectorSpec
from .training import read_training


def make_baseline(model: Model, run: RunContext, claim: ClaimSpec, value: Any, folder: Path) -> Baseline:
    """The baseline that a claim names.

    Args:
        value: ``random``, ``shuffled``, or one key with what it is made of. folder: of the claim file.

    Raises:
        SteerError: a file cannot be used, or the claim's vector has no method that would make another one.
    """
    kind, given = _read(value)
    spec = claim.vector
    with warnings.catch_warnings(), at_key(f"baseline.{kind}" if given is not None else "baseline"):
        warnings.simplefilter("ignore")  # that labels without meaning support a vector weakly is no news
        if kind == "random":
            return Baseline.random(COUNT if given is None else given)
        if kind == "shuffled":
            return Baseline.shuffled(_shuffled(model, run, spec, COUNT if given is None else given))
        if kind == "unrelated":
            if spec.method is None:
                raise DataError(_saved("unrelated"))
            return Baseline.unrelated(
                _vector(extracted(model, spec, read_training(absolute(given, folder), run.seed), run.seed))
            )
        if kind == "prompt":
            return Baseline.prompt(given, chosen_on=_training_items(spec, run) if len(given) > 1 else None)
        if kind == "vector":
            return Baseline.vector(_saved_vector(model, run, spec, absolute(given, folder)))
        if kind == "adapter":
            return Baseline("adapter", checkpoint=with_adapter(model, absolute(given, folder)))
        place = absolute(given, folder)
        return Baseline("model", checkpoint=Models(run).load(str(place) if place.exists() else given))


def _read(value: Any) -> tuple[str, Any]:
    return (value, None) if isinstance(value, str) else next(iter(value.items()))


def _saved(kind: str) -> str:
    return (
        f"the claim's vector is a saved one, so no method is known that would make the baseline {kind!r} from training data: "
        "hold it against `random` or a `vector`"
    )


def _shuffled(model: Model, run: RunContext, spec: VectorSpec, count: int) -> list[SteeringVector]:
    if spec.method is None or spec.data is None:
        raise DataError(_saved("shuffled"))
    data = read_training(spec.data, run.seed, spec.columns)
    return [_vector(extracted(model, spec, shuffled(data, seed=run.seed + number), run.seed)) for number in range(count)]


def shuffled(training: Training, *, seed: int) -> Training:
    """The same pairs, in a random half of which the two sides are swapped. Texts that are not paired are dealt out anew.

    Raises:
        DataError: pairs of a task, which have no second side.
    """
    generator = np.random.default_rng(seed)
    if training.tasks is not None:
        raise DataError("pairs of a task have an output and no second side, so there are no labels to shuffle: use `random`")
    if training.given is not None:
        items = [*training.given]
        flips = _half(len(items), generator)
        turned = [
            replace(item, matching=item.not_matching, not_matching=item.matching) if flip else item
            for item, flip in zip(items, flips, strict=True)
        ]
        return replace(training, given=type(training.given)(turned, training.given.source))
    assert training.texts is not None
    positive, negative = training.texts
    if len(positive) == len(negative):
        flips = _half(len(positive), generator)
        pairs = [(b, a) if flip else (a, b) for a, b, flip in zip(positive, negative, flips, strict=True)]
        return replace(training, texts=([a for a, _ in pairs], [b for _, b in pairs]))
    together = [*positive, *negative]
    order = generator.permutation(len(together))
    dealt = [together[int(index)] for index in order]
    return replace(training, texts=(dealt[: len(positive)], dealt[len(positive) :]))


def _half(count: int, generator: np.random.Generator) -> list[bool]:
    flips = np.zeros(count, dtype=bool)
    flips[generator.permutation(count)[: count // 2]] = True
    return [bool(flip) for flip in flips]


def _training_items(spec: VectorSpec, run: RunContext) -> Any:
    """The vector's own training items, if it is made from such."""
    if spec.data is None:
        return None
    return read_training(spec.data, run.seed, spec.columns).given


def _saved_vector(model: Model, run: RunContext, spec: VectorSpec, file: Path) -> Any:
    own = replace(spec, file=file, method=None, data=None, options={}, shape=None)
    try:
        found = make_steering(model, own, run.seed)
    except SteerError:
        found = make_steering(model, replace(own, layers=None), run.seed)  # it knows its own layer
    check_fits(model, as_intervention(found), spec.allow_mismatch)
    return found


def _vector(made: Any) -> SteeringVector:
    if not isinstance(made, SteeringVector):
        raise SteerError(
            "the claim's method makes no vector, so there is none to shuffle or to replace: hold it against a `vector`"
        )
    return made
