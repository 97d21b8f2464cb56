"""The bytes of tensors: a checksum that is quick enough for every measurement, and a hash for what outlives the process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

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
