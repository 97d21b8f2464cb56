"""How a claim file writes other data and other contexts: of ``generalizes`` and ``leaves_alone``."""

from __future__ import annotations

from typing import Any


def file_schema(about: str, example: str) -> dict[str, Any]:
    """A file, relative to the folder of the claim file."""
    return {"description": about, "type": "string", "pattern": r"\S", "x-file": True, "examples": [example]}


CONTEXTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {
        "$ref": "#/$defs/context",
        "description": "A value for each axis that is not as given, `{option_order: swapped}`.",
        "minProperties": 1,
        "examples": [{"option_order": "swapped"}],
        "x-context": True,
    },
}

DATA_SETS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {
        "description": "A file of contrast items, or the files `test` and `train` (or `vector`).",
        "type": ["string", "object"],
        "pattern": r"\S",
        "required": ["test"],
        "properties": {
            "test": file_schema(
                "A file of contrast items that the vector of this data set was not made from.",
                "data/formal.json",
            ),
            "train": file_schema(
                "Training data, from which the claim's method makes this data set's own vector.",
                "data/formal_train.json",
            ),
            "vector": file_schema("A saved vector of this data set.", "vectors/formal.safetensors"),
        },
        "additionalProperties": False,
        "x-items": True,
    },
}

BEHAVIOURS_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "default": None,
    "minProperties": 1,
    "additionalProperties": {
        "description": "A file of contrast items, or the file `test` with `train` or `vector`.",
        "type": ["string", "object"],
        "pattern": r"\S",
        "required": ["test"],
        "properties": {
            "test": file_schema("A file of contrast items of the other behaviour.", "data/honesty.json"),
            "train": file_schema(
                "Training data, from which the claim's method makes this behaviour's own vector.",
                "data/honesty_train.json",
            ),
            "vector": file_schema("A saved vector of this behaviour.", "vectors/honesty.safetensors"),
        },
        "additionalProperties": False,
        "x-items": True,
        "x-others": True,
    },
}
