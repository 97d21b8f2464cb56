"""The weights of a model: all of them in its files and in memory, all of them used, and their bytes as a checksum and a hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..core.errors import ModelError

LoadingInfo = Mapping[str, Collection[Any]]
"""The result of ``from_pretrained(..., output_loading_info=True)`` next to the model: names of weights by what is wrong with them."""

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


def check_complete(name: str, hf: Any, info: LoadingInfo) -> None:
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


def unexpected_weights(hf: Any, info: LoadingInfo) -> tuple[str, ...]:
    """Names of the weights in the files that the model does not have, except those that transformers itself ignores.

    Buffers that the model computes itself do not count, although older versions of transformers saved them.
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
    """A few patterns that match the names and no weight of the model."""
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


# How many values of a tensor are compared at their places. A sum does not see two values that have changed places.
_SAMPLE = 64
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensors: Iterable[torch.Tensor]) -> int:
    """A number that changes with any single value of the tensors: the sum of the bits of each, and some values at their places.

    It reads every tensor once, as a forward of one token does. Changes that leave the sum and the sample as they were are missed.
    """
    seen: list[object] = []
    elsewhere: list[tuple[torch.Tensor, torch.Tensor]] = []
    for tensor in tensors:
        flat = tensor.detach().reshape(-1).contiguous()
        some = flat[:: max(1, flat.numel() // _SAMPLE)].contiguous().view(torch.uint8)
        if flat.device.type == "cpu":
            raw: np.ndarray[Any, Any] = flat.view(torch.uint8).numpy()
            whole = raw.nbytes // 8 * 8
            seen += (int(np.add.reduce(raw[:whole].view(np.uint64))), raw[whole:].tobytes(), some.numpy().tobytes())
        else:
            elsewhere.append((flat.view(_INTEGERS[min(8, flat.element_size())]).sum(dtype=torch.int64), some))
    if elsewhere:  # one wait for the device
        sums, samples = zip(*elsewhere, strict=True)
        place = sums[0].device  # a model can be on several
        together = torch.stack([one.to(place) for one in sums]), torch.cat([one.to(place) for one in samples])
        seen += (tuple(together[0].tolist()), together[1].cpu().numpy().tobytes())
    return hash(tuple(seen))


def hash_of_bytes(named: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes; a tensor under a second name is read once."""
    digest = hashlib.sha256()
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in named:
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        same = first.setdefault(place, name) if tensor.numel() else name
        digest.update(repr((name, same, str(tensor.dtype), tuple(tensor.shape))).encode())
        if same == name:
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
