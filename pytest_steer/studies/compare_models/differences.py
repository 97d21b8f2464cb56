"""What differs between two models before anything is measured: weights, tokenizer, template, precision."""

from __future__ import annotations

from collections.abc import Mapping

from ...model import Model
from ...model.identity import tokenizer_hash
from .slopes import Slopes


def differences_of(first: Model, second: Model) -> list[str]:
    """One line for each thing that differs."""
    lines = []
    if first.bytes_hash == second.bytes_hash:
        lines.append("weights: equal to the last bit: this is one checkpoint")
    elif first.fingerprint == second.fingerprint:
        lines.append("weights: equal in bfloat16, which is how a checkpoint is known: they differ in precision alone")
    else:
        lines.append(f"weights: {first.fingerprint[:12]} and {second.fingerprint[:12]}")
    for what, one, other in (
        ("class", type(first.hf).__name__, type(second.hf).__name__),
        ("blocks", first.n_layers, second.n_layers),
        ("width", first.width, second.width),
        ("dtype", first.dtype, second.dtype),
        ("device", first.device.type, second.device.type),
        ("vocabulary", first.vocabulary, second.vocabulary),
        ("chat template", first.template_hash[:12], second.template_hash[:12]),
    ):
        if one != other:
            lines.append(f"{what}: {one} and {other}")
    if tokenizer_hash(first.tokenizer) != tokenizer_hash(second.tokenizer):
        one, other = (model.tokenizer.get_vocab() for model in (first, second))
        shared = sum(other.get(token) == number for token, number in one.items())
        lines.append(f"tokenizer: {shared} of {len(one)} and {len(other)} tokens have the same number")
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
