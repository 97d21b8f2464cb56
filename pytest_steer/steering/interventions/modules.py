"""Any torch module as an intervention."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterable

import torch

from ...core.errors import VectorError
from ..intervention import Intervention, Site, check_blocks, check_site

_made = itertools.count()


def module(net: torch.nn.Module, *, layers: int | Iterable[int], name: str, site: Site = "block") -> Intervention:
    """A non-linear intervention h -> f(h). The strength is interpolated: h + m (f(h) - h).

    A copy of the module is taken, in evaluation mode: training it further does not change the intervention. The
    module has to act on each position by itself (as MLPs do). Its code is no part of a hash, so scores of it are not
    kept across runs and it cannot be written to a file.

    Args:
        net: takes and gives [rows, positions, width]; the same one acts at each layer.

    Raises:
        VectorError: not a module, a module that cannot be copied, or no layers.
    """
    if not isinstance(net, torch.nn.Module):
        raise VectorError(f"expected a torch.nn.Module, not {type(net).__name__}; a function goes through custom(...)")
    blocks = check_blocks(layers)
    try:
        own = copy.deepcopy(net).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise VectorError(f"the module {name!r} cannot be copied: {error}") from None
    digest = hashlib.sha256(f"module:{type(net).__qualname__}:{name}:{blocks}:{site}:{next(_made)}".encode())
    for key, tensor in sorted(own.state_dict().items()):
        digest.update(key.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        kind = next((w.dtype for w in own.parameters()), hidden.dtype)
        own.to(hidden.device)
        changed: torch.Tensor = own(hidden.to(kind)).to(hidden.dtype)
        if changed.shape != hidden.shape:
            return changed  # Intervention.apply says what is wrong
        return hidden + strength * (changed - hidden)

    return Intervention(
        layers=blocks,
        transform=transform,
        strength="interpolated",
        hash=digest.hexdigest(),
        method=name,
        site=check_site(site),
    )
