"""Tensors that were read from a model in this process, the most recently used ones within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict

import torch

Tensors = dict[str, torch.Tensor]
# Bytes that are kept for one model. Activations of all layers of a large one take more, and are read anew.
_MOST = 2**28


class Recent:
    """Keeps tensors by what they are. What takes more than the limit by itself is not kept, and the least recently used goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Tensors] = OrderedDict()
        self._bytes = 0

    def get(self, what: bytes) -> Tensors | None:
        """Copies of the tensors, or None if they are not there."""
        if what not in self._kept:
            return None
        self._kept.move_to_end(what)
        return _copies(self._kept[what])

    def keep(self, what: bytes, tensors: Tensors) -> None:
        """Keep copies: what is handed out may be changed, and a view would keep the whole batch that it is a part of."""
        if what in self._kept or _bytes(tensors) > _MOST:
            return
        self._kept[what] = _copies(tensors)
        self._bytes += _bytes(tensors)
        while self._bytes > _MOST:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _copies(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
