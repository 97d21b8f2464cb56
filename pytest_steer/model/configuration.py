"""Read settings from a configuration whose layers may differ."""

from __future__ import annotations

from typing import Any


def numbers_of(config: Any, name: str) -> tuple[int, ...]:
    """The whole numbers that a setting has, distinct: none, one, or several where layers differ."""
    depth = getattr(config, "num_hidden_layers", None)
    layers = range(depth) if isinstance(depth, int) and depth else [None]
    values = [setting_at(config, layer, name) for layer in layers]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, int) and not isinstance(value, bool)))


def setting_at(config: Any, layer: int | None, name: str) -> Any:
    """A setting as it is at one layer; None if it is not known."""
    try:
        return getattr(config, name, None)
    except RuntimeError:  # transformers refuses to read one value where layers differ
        return None if layer is None else getattr(config.per_layer_config[layer], name, None)
