"""What a vector's metadata say, as lines of a label and a value that fit the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..columns import columns_of, current_columns, cut, padded

_HASH = 12
# Shown with another key, or for machines alone.
_ELSEWHERE = {
    "model_fingerprint",
    "n",
    "seen",
    "item_form",
    "item_forms",
    "item_words",
    "answer_forms",
    "reliability",
    "together",
}
_LABELS = {
    "method": "method",
    "source": "read as",
    "model": "made on",
    "template_hash": "template",
    "data_hash": "made from",
    "readout": "read at",
    "positions": "positions",
    "context": "context",
    "thinking": "thinking",
    "label_balance": "matching",
    "item_hashes": "traces",
    "like": "control for",
    "heads": "heads",
    "seed": "seed",
}


def record_lines(metadata: Mapping[str, Any], above: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """One line for each thing that a vector's metadata say, those with a label first, each cut to the columns of the terminal.

    Args:
        above: labels and values that stand above them.
    """
    known = [key for key in _LABELS if key in metadata]
    others = [key for key in metadata if key not in _LABELS and key not in _ELSEWHERE]
    rows = [*above, *(row for key in known for row in _rows(key, metadata))]
    rows += [(key.replace("_", " "), _plain(metadata[key])) for key in others]
    room = max(12, current_columns() // 3)
    width = max((columns_of(cut(label, room)) for label, _ in rows), default=0)
    for label, value in rows:
        head = padded(cut(label, room), width)
        yield cut(f"  {head}  {' '.join(value.split())}".rstrip(), current_columns())


def _rows(key: str, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    label, value = _LABELS[key], metadata[key]
    if value is None and key != "template_hash":
        return []
    if key == "source" and isinstance(value, Mapping):
        own = {"format": label, "layers": "layers are", "norm": "norm is"}
        return [(own.get(part, part.replace("_", " ")), _plain(said)) for part, said in value.items()]
    return [(label, _value(key, value, metadata))]


def _value(key: str, value: Any, metadata: Mapping[str, Any]) -> str:
    seen = str(metadata.get("seen") or "items")
    if key == "model" and metadata.get("model_fingerprint"):
        return f"{value} (weights {str(metadata['model_fingerprint'])[:_HASH]})"
    if key == "template_hash":
        return "none" if value is None else str(value)[:_HASH]
    if key == "data_hash":
        count = metadata.get("n")
        counted = f"{count:,} {seen}, " if isinstance(count, int) else ""
        return f"{counted}hash {str(value)[:_HASH]}"
    if key == "item_hashes" and isinstance(value, (list, tuple)):
        return f"of {len(value):,} {seen}, by which they are found again in test data"
    if key == "label_balance" and isinstance(value, Mapping):
        return ", ".join(f"{label!r} in {count}" for label, count in value.items())
    if key == "heads" and isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) for one in value):
        places = ", ".join(f"{one.get('layer')}.{one.get('head')}" for one in value)
        return f"{len(value)}: {places} (layer.head)"
    return str(value)[:_HASH] if key == "like" else _plain(value)


def _plain(value: Any) -> str:
    """A value as it would stand in JSON; a text without quotation marks, and of a long list how many it has."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and len(value) > 12:
        return f"{len(value):,} values"
    return json.dumps(value, ensure_ascii=False, default=str)
