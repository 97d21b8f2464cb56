"""Check that a model's weights are all in its files and in memory, and that it uses all that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ModelError

_SHOWN = 3
_SUGGESTED = 4


def check_patterns(allow_unexpected: Iterable[str]) -> tuple[str, ...]:
    """The patterns, if they are a list of regular expressions.

    Raises:
        ModelError: they are not.
    """
    if isinstance(allow_unexpected, str):
        raise ModelError(f"allow_unexpected is a list of patterns: write [{json.dumps(allow_unexpected)}]")
    patterns = tuple(allow_unexpected)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise ModelError(f"allow_unexpected: {pattern!r} is not a pattern; name weights, as in {json.dumps(['^mtp.'])}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ModelError(
                f"allow_unexpected: {pattern!r} is not a regular expression ({error}). It is looked for anywhere in a weight's "
                f"name, so a part of the name will do: {json.dumps([re.sub(r'[^0-9A-Za-z_.]', '', pattern) or '^mtp.'])}"
            ) from None
    return patterns


def check_complete(name: str, hf: Any, info: Mapping[str, Any]) -> None:
    """Refuse a model with weights that its files do not have: transformers has filled them with random numbers.

    Args:
        name: of the model, for the error.
        info: what ``from_pretrained(..., output_loading_info=True)`` gave. It leaves out weights that are tied to others, and
            those that transformers ignores.

    Raises:
        ModelError: a weight is missing, or has another shape in the files.
    """
    reshaped = sorted(info["mismatched_keys"])
    missing = sorted(set(info["missing_keys"]) - {key for key, *_ in reshaped})
    others = sorted(info["unexpected_keys"])
    kind = type(hf).__name__
    if missing:
        beside = f" They hold {first_few(others)} instead, which it has no place for." if others else ""
        raise ModelError(
            f"model {name!r}: its files lack {_counted(missing, 'weight')} of {kind}: {first_few(missing)}.{beside} transformers fills such "
            "weights with random numbers, so another model would be measured. Save the whole model again with save_pretrained, or "
            "fetch its files again"
        )
    if reshaped:
        shown = [f"{key} {list(there)} in the files, {list(wanted)} in the model" for key, there, wanted in reshaped]
        raise ModelError(
            f"model {name!r}: {_counted(reshaped, 'weight')} of {kind} with another shape in the files: {first_few(shown)}. Correct "
            "config.json, or fetch the files again"
        )


def unexpected_weights(hf: Any, info: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the weights in the files for which the model has no place, transformers' own list of those to ignore left out.

    Buffers that a model computes by itself are no weights, though older versions of transformers saved them.
    """
    computed = {name for name, _ in hf.named_buffers()}
    return tuple(sorted(set(info["unexpected_keys"]) - computed))


def check_unexpected(name: str, hf: Any, unexpected: Sequence[str], allow_unexpected: Sequence[str]) -> None:
    """Refuse a model that leaves weights of its files out, unless a pattern allows it.

    Args:
        allow_unexpected: regular expressions that are looked for in the weights' names (``re.search``).

    Raises:
        ModelError: a weight is left out and matches no pattern.
    """
    refused = [weight for weight in unexpected if not any(re.search(pattern, weight) for pattern in allow_unexpected)]
    if refused:
        # Both YAML and Python read a list that is written like this.
        line = json.dumps([*allow_unexpected, *_patterns(refused, [*hf.state_dict()])])
        raise ModelError(
            f"model {name!r}: its files hold {_counted(refused, 'weight')} that {type(hf).__name__} has no place for: "
            f"{first_few(refused)}. Without them, another model than the one that was saved would be measured. If that is what you "
            f"mean, say so with `allow_unexpected: {line}` beside `model:` in the claim file; in Python, load_model(..., "
            f"allow_unexpected={line})"
        )


def without_values(name: str, hf: Any) -> str:
    """The message about a model with weights on ``meta``, which have no values."""
    tensors = [*hf.named_parameters(), *hf.named_buffers()]
    weights = [weight for weight, value in tensors if value.is_meta]
    if any(getattr(getattr(module, "_hf_hook", None), "offload", False) for module in hf.modules()):
        return (
            f"{name}: {len(weights)} of its weights are offloaded by accelerate ({first_few(weights)}): between forwards they have no "
            "values that could be checked. Load it with a device_map that keeps all of it in memory"
        )
    return (
        f"{name}: {len(weights)} of its weights are on the device 'meta', so they have no values ({first_few(weights)}). Load them "
        "before you measure: load_model(...), or from_pretrained(...) without torch.device('meta')"
    )


def first_few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _patterns(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Few patterns that cover the names and nothing that the model knows."""
    starts = dict.fromkeys(_own_start(name, known) for name in names)
    if len(starts) > _SUGGESTED:
        starts = dict.fromkeys(f"^{name.split('.')[0]}." for name in names)
    return list(starts)[:_SUGGESTED]


def _own_start(name: str, known: Sequence[str]) -> str:
    parts = name.split(".")
    for count in range(1, len(parts)):
        start = ".".join(parts[:count]) + "."
        if not any(other.startswith(start) for other in known):
            return f"^{start}"
    return f"^{name}$"


def _counted(names: Sequence[object], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"
