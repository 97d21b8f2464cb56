"""What a vector is held against: random directions, other vectors, prompts, and other models."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch

from ...core.errors import DataError, Fault, SteerError, at_key
from ...core.parameters import Form
from ...data import ItemLike, Items, as_items
from ...extract import random_direction
from ...extract.training import holds_items, shuffled
from ...measures import can_have_controls
from ...measures.subject import Subject, as_the_subject
from ...model import Model
from ...model.loading import Models, with_adapter
from ...steering import Intervention, SteeringVector, as_intervention
from ..from_file import FromFile, Written, file_schema

Kind = Literal["random", "shuffled", "unrelated", "prompt", "model", "adapter", "vector"]
COUNT = 19
"""The fewest random directions that can show p = 0.05."""
_MADE_OF = {"shuffled": "vectors", "unrelated": "vector", "prompt": "texts", "model": "model", "vector": "vector"}


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a vector is held against; the static methods make one.

    Attributes:
        kind: what it is, as in a claim file.
        vectors: name to vector or intervention, of ``shuffled``, ``unrelated`` and ``vector``.
        multiplier: at which they are deployed; None for that of the claim.
        prompts: system prompts; the best on ``chosen_on`` is what is beaten.
        checkpoint: the model that stands in for steering.
        count: of ``random``.

    Raises:
        SteerError: it holds nothing.
    """

    kind: Kind
    vectors: Mapping[str, SteeringVector | Intervention] = field(default_factory=dict)
    multiplier: float | None = None
    prompts: tuple[str, ...] = ()
    chosen_on: Items | None = None
    checkpoint: Model | None = None
    count: int = COUNT

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SteerError(f"a baseline is one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        if self.kind == "prompt":
            _check_prompts(self.prompts)
        elif self.kind in ("model", "adapter"):
            if not isinstance(self.checkpoint, Model):
                raise SteerError(f"the baseline {self.kind!r} takes a model: write Baseline.model(load_model(...))")
        elif self.kind == "random":
            if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
                raise SteerError(f"the baseline 'random' takes a number of directions, at least 1, not {self.count!r}")
        elif not self.vectors:
            raise SteerError(f"the baseline {self.kind!r} takes a vector: write Baseline.{self.kind}(vector)")

    @property
    def has_strength(self) -> bool:
        """Whether it has a multiplier that can be chosen for its cost."""
        return self.kind not in ("prompt", "model", "adapter")

    def record(self) -> str:
        """What the values of a claim's units depend on: another vector of the same kind is the next release's baseline."""
        return self.kind

    @staticmethod
    def random(count: int = COUNT) -> Baseline:
        """So many random directions of the vector's norm at its layers, each of which has to be beaten."""
        return Baseline("random", count=count)

    @staticmethod
    def vector(vector: SteeringVector | Intervention, *, multiplier: float | None = None) -> Baseline:
        """Another vector or intervention as it is, such as the last release's."""
        return Baseline("vector", {"other vector": vector}, multiplier)

    @staticmethod
    def unrelated(vector: SteeringVector) -> Baseline:
        """The vector of another behaviour, brought to the norm of the claim's."""
        return Baseline("unrelated", {"unrelated": vector})

    @staticmethod
    def shuffled(vectors: Iterable[SteeringVector]) -> Baseline:
        """Vectors of the same training pairs with shuffled labels, brought to the norm of the claim's."""
        return Baseline("shuffled", {f"shuffled {number}": one for number, one in enumerate(vectors)})

    @staticmethod
    def prompt(prompts: str | Sequence[str], *, chosen_on: Iterable[ItemLike] | None = None) -> Baseline:
        """The best of these system prompts, without steering. Of several, the best on ``chosen_on`` is taken: training items."""
        texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        return Baseline("prompt", prompts=texts, chosen_on=None if chosen_on is None else as_items(chosen_on))

    @staticmethod
    def model(model: Model) -> Baseline:
        """Another checkpoint, such as a fine-tune, without steering."""
        return Baseline("model", checkpoint=model)


def as_baseline(given: Any, chosen_on: Iterable[ItemLike] | None = None, multiplier: float | None = None) -> Baseline:
    """What a claim takes as a baseline: one, ``"random"``, a vector, a model, or a list of prompts.

    Args:
        chosen_on: items on which the best of several prompts is chosen. multiplier: of a vector.

    Raises:
        SteerError: it is none of these, a multiplier for what has none, or items to choose on for what has nothing to choose.
    """
    found = given if isinstance(given, Baseline) else _made_of(given)
    if chosen_on is not None:
        if found.kind != "prompt":
            raise SteerError(
                f"chosen_on is what the best of several prompts is chosen on, and the baseline is {found.kind!r}: delete it"
            )
        found = replace(found, chosen_on=as_items(chosen_on))
    if multiplier is None:
        return found
    if found.kind != "vector":
        raise SteerError(f"baseline_multiplier is that of a vector, and the baseline is {found.kind!r}: delete it")
    return replace(found, multiplier=float(multiplier))


def check_choice(baseline: Baseline) -> None:
    """Refuse several prompts with nothing to choose the best of them on.

    Raises:
        SteerError: there are no training items. DataError: there is none among them.
    """
    if len(baseline.prompts) < 2:
        return
    if baseline.chosen_on is None:
        raise SteerError(nothing_to_choose_on(len(baseline.prompts), "give them as `chosen_on`, or one prompt"))
    if not baseline.chosen_on:
        raise DataError(f"chosen_on: {baseline.chosen_on.source}: there are no items to choose the prompt on")


def nothing_to_choose_on(count: int, why: str) -> str:
    """The words for prompts of which none can be chosen."""
    return f"the best of {count} prompts is chosen on training items, and there are none: {why}"


def _made_of(given: Any) -> Baseline:
    if given == "random":
        return Baseline.random()
    if isinstance(given, (SteeringVector, Intervention)):
        return Baseline.vector(given)
    if isinstance(given, Model):
        return Baseline("model", checkpoint=given)
    if isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(one, str) for one in given):
        return Baseline.prompt(given)
    if isinstance(given, str) and given in get_args(Kind):
        how = "load_model(folder)" if given == "adapter" else f"Baseline.{given}({_MADE_OF[given]})"
        raise SteerError(f"the baseline {given!r} does not say what it is made of: write baseline={how}")
    raise SteerError(
        f'baseline is "random", a vector, a model, a list of system prompts or Baseline.shuffled(...) and its like, not {given!r}'
    )


def vectors_of(baseline: Baseline, subject: Subject, seed: int) -> dict[str, Subject]:
    """The vectors that are measured beside the claim's, each deployed as it is or as the baseline says.

    Raises:
        SteerError: random directions, or vectors brought to its norm, in the place of an intervention that adds no vector.
    """
    if baseline.kind == "vector":
        strength = subject.multiplier if baseline.multiplier is None else baseline.multiplier
        return {name: replace(subject, vector=vector, multiplier=strength) for name, vector in baseline.vectors.items()}
    vector = subject.intervention.vector
    if vector is None or not can_have_controls(subject):
        raise SteerError(
            f"the baseline {baseline.kind!r} is a direction in the place of the claim's vector, and {subject.intervention.method!r} adds none: "
            "hold it against a prompt, a model or a `vector`"
        )
    if baseline.kind == "random":
        drawn = {f"random {number}": random_direction(vector, seed=seed + number) for number in range(baseline.count)}
    else:
        drawn = {name: of_equal_norm(one, vector) for name, one in baseline.vectors.items()}
    first: dict[str, str] = {}  # one that is there twice is one rival: a rank among repeats would say more than it knows
    for name, one in drawn.items():
        first.setdefault(one.hash, name)
    drawn = {name: drawn[name] for name in first.values()}
    return {name: replace(subject, vector=as_the_subject(subject, one)) for name, one in drawn.items()}


def of_equal_norm(vector: SteeringVector | Intervention, like: SteeringVector) -> SteeringVector:
    """The vector with the norm of another at each of its layers.

    Raises:
        SteerError: it is no vector, is 0 somewhere, or has other layers.
    """
    own = as_intervention(vector).vector
    if own is None or own.layers != like.layers:
        there = "is no vector" if own is None else f"is at the layers {list(own.layers)}"
        raise SteerError(
            f"the baseline {there}, and the claim's vector at {list(like.layers)}: bring one at the same layers"
        )
    directions: dict[int, torch.Tensor] = {}
    for layer, direction in own.directions.items():
        norm = float(direction.double().norm())
        if norm == 0:
            raise SteerError(f"the baseline's vector is 0 at layer {layer}, so it has no direction")
        directions[layer] = (direction.double() / norm * like.norms[layer]).float()
    return SteeringVector(directions, copy.copy(dict(own.metadata)))


def _check_prompts(prompts: Sequence[str]) -> None:
    if not prompts or not all(isinstance(text, str) and text.strip() for text in prompts):
        raise SteerError("the baseline 'prompt' takes system prompts: a list of texts that are not empty")


# --- in a claim file ---


def _count(about: str) -> dict[str, Any]:
    return {"description": about, "type": "integer", "minimum": 1, "maximum": 999, "examples": [19]}


_SCHEMA: dict[str, Any] = {
    "type": ["string", "object"],
    "pattern": "^(random|shuffled)$",
    "x-words": "random, shuffled, or one baseline with what it is made of, such as {vector: FILE}",
    "x-names": ["random", "shuffled"],
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "random": _count("So many random directions of the vector's norm."),
        "shuffled": _count("So many vectors of the same training pairs, the labels of each shuffled in another way."),
        "unrelated": file_schema(
            "Training data of another behaviour, from which the claim's method makes a vector.", "other_train.json"
        ),
        "prompt": {
            "description": "System prompts, without steering; of several the best on `chosen_on` is to be beaten.",
            "type": "array",
            "minItems": 1,
            "examples": [["Be honest.", "You are an honest assistant."]],
            "items": {"description": "A system prompt.", "type": "string", "pattern": r"\S"},
        },
        "model": {
            "description": "Another checkpoint, without steering, named as the model under test is.",
            "type": "string",
            "pattern": r"\S",
            "examples": ["./my-tuned-model"],
        },
        "adapter": {
            "description": "A folder with a PEFT adapter for the model under test, without steering.",
            "type": "string",
            "pattern": r"\S",
            "examples": ["adapters/honest"],
        },
        "vector": file_schema(
            "A saved vector or intervention, such as the last release's.", "vectors/last_release.safetensors"
        ),
    },
    "additionalProperties": False,
}


def _load(value: Any, file: FromFile) -> Baseline:
    """The baseline that a claim of a file names: vectors are made or read, models loaded.

    Args:
        value: ``random``, ``shuffled``, or one key with what it is made of.
    """
    kind: str
    given: Any
    kind, given = (value, None) if isinstance(value, str) else next(iter(value.items()))
    with warnings.catch_warnings(), at_key(file.key if given is None else file.under(kind).key):
        warnings.simplefilter("ignore")  # that labels without meaning support a vector weakly is no news
        if kind == "random":
            return Baseline.random(COUNT if given is None else given)
        if kind == "shuffled":
            return Baseline.shuffled(_shuffled(file, COUNT if given is None else given))
        if kind == "unrelated":
            if not file.has_method:
                raise DataError(_saved("unrelated"))
            return Baseline.unrelated(_vector(file.made_of(file.read_training(given))))
        if kind == "prompt":
            own = file.training if len(given) > 1 else None
            return Baseline.prompt(given, chosen_on=None if own is None else own.given)
        if kind == "vector":
            return Baseline.vector(file.saved_vector(given))
        place = file.path(given)
        if kind == "adapter":
            return Baseline("adapter", checkpoint=with_adapter(file.model, place))
        return Baseline("model", checkpoint=Models(file.run).load(str(place) if place.exists() else given))


BASELINE = Form(_SCHEMA, _load)


def _shuffled(file: FromFile, count: int) -> list[SteeringVector]:
    own, seed = file.training, file.run.seed
    if own is None:
        raise DataError(_saved("shuffled"))
    return [_vector(file.made_of(shuffled(own, seed=seed + number))) for number in range(count)]


def _saved(kind: str) -> str:
    return (
        f"the claim's vector is a saved one, so no method is known that would make the baseline {kind!r} from training data: "
        "hold it against `random` or a `vector`"
    )


def _vector(made: SteeringVector | Intervention) -> SteeringVector:
    if not isinstance(made, SteeringVector):
        raise SteerError(
            "the claim's method makes no vector, so there is none to shuffle or to replace: hold it against a `vector`"
        )
    return made


def choice_faults(written: Written) -> Iterator[Fault]:
    """Of several prompts, without ``chosen_on``: the vector's own training data have to be contrast items."""
    baseline = written.values.get("baseline")
    prompts = baseline.get("prompt") if isinstance(baseline, dict) else None
    if not isinstance(prompts, list) or len(prompts) < 2 or written.values.get("chosen_on") is not None:
        return
    extract = written.entry.get("extract")
    named = extract.get("data") if isinstance(extract, dict) else None
    why = "the claim's vector is made from no training file"
    if isinstance(named, str):
        file, why = written.path(named), f"{named!r} has no contrast items"
        try:
            if not file.is_file() or holds_items(file, written.values.get("data", {}).get("columns")):
                return
        except DataError:
            return  # what is wrong with it is said when it is read
    hint = "Add `chosen_on: FILE`, contrast items on which the claim is not tested, or write one prompt."
    yield Fault(("baseline", "prompt"), nothing_to_choose_on(len(prompts), why), hint)
