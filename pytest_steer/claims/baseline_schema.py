"""How a claim file writes what a vector is held against: a word, or one key with what the baseline is made of."""

from __future__ import annotations

from typing import Any

from .other_data_schema import file_schema


def _count(about: str) -> dict[str, Any]:
    return {"description": about, "type": "integer", "minimum": 1, "maximum": 999, "examples": [19]}


BASELINE_SCHEMA: dict[str, Any] = {
    "type": ["string", "object"],
    "pattern": "^(random|shuffled)$",
    "x-words": "random, shuffled, or one baseline with what it is made of, such as {vector: FILE}",
    "x-names": ["random", "shuffled"],
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "random": _count("So many random directions of the vector's norm."),
        "shuffled": _count("So many vectors of the same training pairs, the labels of each shuffled in another way."),
        "unrelated": file_schema(
            "Training data of another behaviour, from which the claim's method makes a vector.", "other_train.json"
        ),
        "prompt": {
            "description": "System prompts, without steering; of several the best on `chosen_on` is to be beaten.",
            "type": "array",
            "minItems": 1,
            "examples": [["Be honest.", "You are an honest assistant."]],
            "items": {"description": "A system prompt.", "type": "string", "pattern": r"\S"},
        },
        "model": {
            "description": "Another checkpoint, without steering, named as the model under test is.",
            "type": "string",
            "pattern": r"\S",
            "examples": ["./my-tuned-model"],
        },
        "adapter": {
            "description": "A folder with a PEFT adapter for the model under test, without steering.",
            "type": "string",
            "pattern": r"\S",
            "examples": ["adapters/honest"],
        },
        "vector": file_schema(
            "A saved vector or intervention, such as the last release's.", "vectors/last_release.safetensors"
        ),
    },
    "additionalProperties": False,
    "x-baseline": True,
}
