"""A folder with a claim file's data, and pytest runs in it. All on the built-in model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def heavy_modules() -> None:
    """Imports everything heavy once: pytester takes what a run imported out of sys.modules again, and torch breaks."""
    import pytest_steer.claims
    import pytest_steer.files.build
    import pytest_steer.model.loading
    import pytest_steer.report

    model = pytest_steer.load_model("builtin:tiny")
    model.hf(**model.tokenizer("Hello.", return_tensors="pt"))


@pytest.fixture(autouse=True)
def no_controls_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random directions beside each claim that fails are tested in ``tests/claims``; here they would take a tenth of the time."""
    monkeypatch.setattr("pytest_steer.claims.base.controls_of_no_effect", lambda *_, **__: {})


@pytest.fixture(autouse=True)
def few_safety_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the shipped ones, which ``tests/claims`` measures whole."""
    from pytest_steer.claims.kinds import leaves_alone

    whole = leaves_alone.safety_items
    monkeypatch.setattr(
        leaves_alone, "safety_items", lambda reading: {name: items[:12] for name, items in whole(reading).items()}
    )


@pytest.fixture(autouse=True)
def surveys_are_kept(each_space_is_surveyed_once: None) -> None:
    """Between all tests of a folder whose searches are in the same few spaces."""


@pytest.fixture(autouse=True)
def no_line_is_broken(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """A terminal so wide that words stand on one line: ``test_terminal.py`` is about narrow ones."""
    if pytestconfig.pluginmanager.has_plugin("terminalreporter"):  # which keeps its own width
        writer = pytestconfig.get_terminal_writer()
        writer.fullwidth = writer.fullwidth
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def registered_here_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is there for that test alone, although pytester runs in this process."""
    from pytest_steer.core import registry

    monkeypatch.setattr(registry, "_things", {kind: dict(things) for kind, things in registry._things.items()})
    monkeypatch.setattr(registry, "_homes", dict(registry._homes))
    yield
    registry._version += 1


WORDS = ["tea", "coffee", "rain", "snow", "bread", "soup", "a walk", "a nap", "the train", "the bus", "a song", "a book"]


# Texts mostly of what the built-in model was trained on, so that it reads them; their last words are others, which steering can spoil.
PLACES = ["hill", "mill", "inn", "lake", "forest", "market", "school", "bridge", "garden", "tower", "island", "meadow"]
READ = [
    f"The {place} has two doors. {('Anna', 'Tom', 'Ruth', 'Hugo')[at % 4]} lives at the {place}. {word}."
    for at, (place, word) in enumerate(zip(PLACES, WORDS, strict=True))
]


def lettered(count: int, start: int = 0) -> list[dict[str, str]]:
    """Contrast items in the CAA manner; the matching letter alternates."""
    items = []
    for index in range(start, start + count):
        first, second = WORDS[index % len(WORDS)], WORDS[(index * 5 + 3) % len(WORDS)]
        letters = ("(A)", "(B)") if index % 2 else ("(B)", "(A)")
        items.append(
            {
                "question": f"Case {index}: which one?\n (A) {first}\n (B) {second}",
                "answer_matching_behavior": letters[0],
                "answer_not_matching_behavior": letters[1],
            }
        )
    return items


def steering_items(count: int, start: int) -> list[dict[str, str]]:
    """Items that the built-in model is moved on, in the sense of each by a vector for Yes."""
    return [
        {"question": f"Is number {n} even?", "answer_matching_behavior": "Yes", "answer_not_matching_behavior": "No"}
        for n in range(start, start + count)
    ]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    """The test folder, with data files, and the built-in model as default. Hooks are not checked before claims, which would take
    half of the time: ``test_hooks_are_sound.py`` is about that check."""
    root = Path(pytester.path)
    (root / "train.json").write_text(json.dumps(lettered(8)))
    (root / "test.json").write_text(json.dumps(lettered(10, start=8)))
    (root / "neutral.txt").write_text("\n".join(READ))
    (root / "pytest.ini").write_text("[pytest]\nsteer_no_soundness = true\n")
    return root


HEAD = """
vector:
  extract: {method: caa, data: train.json}
  layer: 1
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt}
claims:
"""
