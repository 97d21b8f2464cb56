"""A record of a model before it is steered: what is different afterwards, and how to restore it."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import module as torch_module

from ..model import Model
from ..model.foreign import GLOBAL_TABLES, HOOK_TABLES

# Tables that say how each hook is called.
_BESIDE = (
    "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs", "_non_full_backward_hooks",
)  # fmt: skip
# Weights up to this size are copied, so that changed values can be put back.
_MOST_COPIED = 2**30


class ModelState:
    """A record of a model's modules, hooks and weights.

    Args:
        copy_weights: keep a copy of all weights, if they take at most 1 GiB, so that values can be restored too.
    """

    def __init__(self, model: Model, *, copy_weights: bool) -> None:
        self._model = model
        self._tables: list[tuple[str, str, dict[Any, Any], dict[Any, Any]]] = []
        self._modules: list[tuple[str, torch.nn.Module, Any, bool]] = []
        for name, module in model.hf.named_modules():
            where = name or "the model"
            self._modules.append((where, module, module.__dict__.get("forward"), module.training))
            for kind in (*HOOK_TABLES, *_BESIDE, "_modules", "_parameters"):
                table = getattr(module, kind, None)
                if table is not None:
                    self._tables.append((where, kind, table, dict(table)))
        for kind in GLOBAL_TABLES:
            table = getattr(torch_module, kind, None)
            if table is not None:
                self._tables.append(("every module of torch", kind, table, dict(table)))
        self._weights = model.weights_state()
        weights = dict(model.hf.named_parameters())
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        self._versions = self._written()
        self._copies = (
            {name: weight.detach().clone() for name, weight in weights.items()}
            if copy_weights and size <= _MOST_COPIED
            else None
        )

    def put_back(self, *, weights: bool = False) -> list[str]:
        """Restore everything, and return what was different.

        Args:
            weights: check the values of the weights too, by reading a part of each.
        """
        found: list[str] = []
        for where, kind, table, before in self._tables:
            if table.keys() == before.keys() and all(table[key] is before[key] for key in before):
                continue
            if kind not in _BESIDE:
                found.append(_difference(where, kind, table, before))
            table.clear()
            table.update(before)
        for where, module, forward, training in self._modules:
            if module.__dict__.get("forward") is not forward:
                found.append(f"{where}: its forward is replaced")
                module.__dict__.pop("forward", None)
                if forward is not None:
                    module.__dict__["forward"] = forward
            if module.training != training:
                found.append(f"{where}: is in {'training' if module.training else 'evaluation'} mode")
                module.training = training
        written = self._copies is not None and self._written() != self._versions
        if written or (weights and self._model.weights_state() != self._weights):
            found.append(self._weights_put_back())
            self._versions = self._written()
        return found

    def _written(self) -> int:
        """How often weights were written to, as torch counts it. Cheap, but it misses writes through ``.data``."""
        return sum(0 if weight.is_inference() else weight._version for weight in self._model.hf.parameters())

    @torch.no_grad()
    def _weights_put_back(self) -> str:
        if self._copies is None:
            self._weights = self._model.weights_state()
            return "weights are changed (and cannot be put back: load the model again)"
        changed = []
        for name, weight in self._model.hf.named_parameters():
            if not torch.equal(weight, self._copies[name]):
                weight.copy_(self._copies[name])
                changed.append(name)
        self._weights = self._model.weights_state()
        return f"weights are changed: {', '.join(changed[:3])}" if changed else "weights were written to"


def _difference(where: str, kind: str, now: dict[Any, Any], before: dict[Any, Any]) -> str:
    if kind in ("_modules", "_parameters"):
        things = {"_modules": "submodules", "_parameters": "parameters"}[kind]
        return f"{where}: {things} are replaced or added ({', '.join(k for k in now if now[k] is not before.get(k))})"
    added, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    words = [f"{count} hook(s) {what}" for count, what in ((added, "left"), (gone, "of others removed")) if count]
    return f"{where}: {', '.join(words) or 'hooks are replaced'}"
