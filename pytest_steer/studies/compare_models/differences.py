"""What differs between two models before anything is measured: weights, tokenizer, template, precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...model import Model
from ...model.gguf import stored_in
from ...model.identity import tokenizer_hash
from ...sources import find_model
from .slopes import Slopes


@dataclass(frozen=True)
class Facts:
    """What tells a model from another one, kept when the model is no longer in memory.

    Attributes:
        weights / bytes: the fingerprint, and the hash of the weights as they are in memory.
        settings: what else is compared, by name.
        tokenizer: its hash. tokens: token to number.
    """

    weights: str
    bytes: str
    settings: Mapping[str, object]
    tokenizer: str
    tokens: Mapping[str, int]


def facts_of(model: Model) -> Facts:
    """What :func:`differences_of` compares."""
    settings = {
        "class": type(model.hf).__name__,
        "blocks": model.n_layers,
        "width": model.width,
        "quantisation": _quantisation(model),
        "dtype": model.dtype,
        "device": model.device.type,
        "vocabulary": model.vocabulary,
        "chat template": model.template_hash[:12],
    }
    tokens = dict(model.tokenizer.get_vocab())
    return Facts(model.fingerprint, model.bytes_hash, settings, tokenizer_hash(model.tokenizer), tokens)


def _quantisation(model: Model) -> str:
    """How its weights were stored; they are computed with as ``dtype``, so that a quantised model is compared like any other."""
    source = find_model(model.id)
    if source.kind != "gguf" or source.path is None:
        return "none"
    stored = stored_in(source.path)
    return "none" if stored in ("F32", "F16", "BF16") else stored


def differences_of(first: Facts, second: Facts) -> list[str]:
    """One line for each thing that differs."""
    lines = []
    if first.bytes == second.bytes:
        lines.append("weights: equal to the last bit: this is one checkpoint")
    elif first.weights == second.weights:
        lines.append("weights: equal in bfloat16, which is how a checkpoint is known: they differ in precision alone")
    else:
        lines.append(f"weights: {first.weights[:12]} and {second.weights[:12]}")
    for what, one in first.settings.items():
        other = second.settings[what]
        if one != other:
            lines.append(f"{what}: {one} and {other}")
    if first.tokenizer != second.tokenizer:
        shared = sum(second.tokens.get(token) == number for token, number in first.tokens.items())
        lines.append(f"tokenizer: {shared} of {len(first.tokens)} and {len(second.tokens)} tokens have the same number")
    return lines


def prompts_that_differ(first: Mapping[str, Slopes], second: Mapping[str, Slopes]) -> list[str]:
    """For each behaviour how many items reach the two models as different tokens, where any do."""
    found = []
    for name in first:
        if name not in second:
            continue
        pairs = list(zip(first[name].base.prompts, second[name].base.prompts, strict=False))
        different = sum(one != other for one, other in pairs)
        if different:
            found.append(f"{name}: {different} of {len(pairs)} items reach the two models as different tokens")
    return found
