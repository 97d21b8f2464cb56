"""Which kind of claim has which general finding: a table made from one run of every kind with a vector of which everything is to be said."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
from evidence import evidence_of

import pytest_steer
from pytest_steer import ContrastItem, Dialogue, OtherData, Question, SteeringVector, TaskItem, load_model, wrap_model
from pytest_steer.claims import kind_of
from pytest_steer.claims.findings import FINDERS
from pytest_steer.core.registry import names
from pytest_steer.data.traces import traces

TABLE = Path(__file__).with_name("findings_by_kind.txt")
MARK = "<|im_end|>"
N = 12
QUESTIONS = [
    f"Did you like the {word} {MARK}?"
    for word in ["hat", "coat", "boat", "tree", "lamp", "desk", "pear", "owl", "fish", "road", "wall", "door"]
]
ITEMS = [ContrastItem(text, ("Yes",), ("No",), str(at)) for at, text in enumerate(QUESTIONS)]
OTHERS = [
    ContrastItem(f"Was the {word} {MARK} good?", ("Yes",), ("No",), str(at))
    for at, word in enumerate(
        ["walk", "fair", "dance", "race", "lesson", "concert", "meal", "trip", "game", "talk", "song", "film"]
    )
]
TEXTS = [
    f"They went to the {word} and stayed there for the whole day."
    for word in ["mill", "inn", "tower", "valley", "garden", "forest", "lake", "hill", "barn", "well", "ford", "glen"]
]
TASKS = [TaskItem(text, "Yes") for text in QUESTIONS]
ASKED = [Question(text, ("Yes", "No"), at % 2) for at, text in enumerate(QUESTIONS)]
TALKS = [Dialogue(turns=(text, "And then?")) for text in QUESTIONS]
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
CALLS = [Dialogue(turns=(text,), tools=(TOOL,)) for text in QUESTIONS]
RENDERS_TOOLS = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
)
REPLIES = {"max_new_tokens": 4, "judge": {"regex": "^Yes"}}
GENERAL = (
    "train-test-overlap", "letter-imbalance", "other-positions", "unreliable-vector", "vector-made-elsewhere", "overwhelming-dose",
    "control-tokens", "reads-at-chance", "weak-promise",
)  # fmt: skip
# What each kind is measured on, and a promise that can hardly fail.
MEASURED = {
    "steers": ((ITEMS,), {"steerability": -1000.0, "sequential": False}),
    "not_anti_steered": ((ITEMS,), {"share": 0.9, "sequential": False}),
    "promotes": ((ITEMS,), {"nats": 0.1}),
    "suppresses": ((ITEMS,), {"nats": 0.1}),
    "beats": ((ITEMS,), {"baseline": pytest_steer.Baseline.random(3)}),
    "steers_at_cost": ((ITEMS, TEXTS), {"effect": -1000.0, "budget": 5.0}),
    "holds_in_contexts": ((ITEMS,), {"steerability": -1000.0, "contexts": {"system": ["Be kind.", "Be rude."]}, "max_contexts": 2, "batch": 4}),
    "generalizes": ((ITEMS,), {"tan_relative": 0.01, "data_sets": {"others": OtherData(OTHERS, None)}}),
    "leaves_alone": (({"others": ITEMS},), {"band": 1000.0}),
    "ppl_delta_below": ((TEXTS,), {"limit": 1000.0}),
    "kl_below": ((TEXTS,), {"limit": 1000.0}),
    "capability_delta_below": ((ASKED,), {"limit": 0.9}),
    "performs_task": ((TASKS,), {"accuracy": 0.1}),
    "generates": ((QUESTIONS,), {"share": 0.1, **REPLIES}),
    "calls_tool": ((CALLS,), {"share": 0.1, "name": "search", "parser": "json", "max_new_tokens": 4}),
    "stays_fluent": ((QUESTIONS,), {"measure": "repetition", "limit": 0.99, "max_new_tokens": 8}),
    "no_cliff": ((QUESTIONS, TEXTS), {"budget": 1000.0, "max_new_tokens": 8, "max_multiplier": 1.0}),
    "drifts_less": ((TALKS,), {"limit": 1.9, **REPLIES}),
}  # fmt: skip


def vector(seed: int, size: float = 400.0) -> SteeringVector:
    """A direction that was made of the test data, by another model, with one letter and by two halves that disagree."""
    import torch

    direction = torch.randn(load_model("builtin:tiny").width, generator=torch.Generator().manual_seed(seed))
    made = {
        **traces([*QUESTIONS, *TEXTS]), "label_balance": {"A": 20, "B": 1}, "positions": "last", "method": "caa",
        "reliability": {"1": {"agreement": 0.01, "d_prime": None}}, "model": "another", "model_fingerprint": "0" * 64,
    }  # fmt: skip
    return SteeringVector({1: size * direction / direction.norm()}, metadata=made)


@pytest.fixture(scope="module")
def found():
    model = load_model("builtin:tiny")
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = RENDERS_TOOLS
    talking = wrap_model(model.hf, tokenizer, "tiny with tools")
    said = {}
    for name, (data, promise) in MEASURED.items():
        more = {"min_n": 5, "allow_mismatch": ("model", "template"), "positions": "all", **promise}
        if name == "generalizes":
            more["data_sets"] = {"others": OtherData(OTHERS, vector(2, -400.0))}
        assertion = getattr(pytest_steer, f"assert_{name}")
        said[name] = {
            one.code
            for one in evidence_of(assertion, talking if name == "calls_tool" else model, vector(1), *data, **more).findings
        }
    return said


def test_every_kind_is_in_the_table():
    ours = {name for name in names("claim") if kind_of(name).declared.__module__.startswith("pytest_steer.")}
    assert ours == MEASURED.keys() | {"hooks_are_sound", "no_regression"}  # which count no units


def test_the_table_of_kinds_and_findings(found):
    width = max(map(len, MEASURED))
    lines = [
        f"{name:{width}}  {' '.join(code for code in GENERAL if code in codes)}".rstrip() for name, codes in found.items()
    ]
    table = "\n".join(lines) + "\n"
    if os.environ.get("STEER_WRITE_EXPECTED"):
        TABLE.write_text(table, encoding="utf-8")
    assert table == TABLE.read_text(encoding="utf-8")
    assert len(FINDERS) >= 12
