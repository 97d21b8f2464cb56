"""What is written where there is no room: our own error, every verdict, and no half file. In processes that may write small files only.

The limit (RLIMIT_FSIZE) makes the system refuse to write on, in the middle of a file, as a full disk does.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import builders
import pytest
from forked import run_module
from gguf_model import write_gguf

from .conftest import HEAD, lettered

pytest.importorskip("resource")  # not on Windows

SEARCH = """
contexts: {option_order: [as_given, swapped]}
claims:
  - holds_in_contexts: {effect: 0.1, max_contexts: 2}
"""


def limited(size: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a module in a process that can write files of ``size`` bytes at most."""
    return run_module("limited", str(size), *arguments, env={**os.environ, **environment})


def run(size: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return limited(size, "pytest", "-s", "-p", "no:cacheprovider", *arguments, **environment)


@pytest.fixture
def here(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(suite)
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    return suite


def test_a_report(here: Path) -> None:
    (here / "r.json").write_text("before")
    ended = run(1000, "--steer-report=r.json", "c.steer.yaml")
    assert ended.returncode == 4
    assert "1 pass\n" in ended.stdout
    assert "r.json cannot be written: " in ended.stdout
    assert (here / "r.json").read_text() == "before"
    assert not list(here.glob(".r.json*"))


@pytest.mark.nightly
def test_a_cache(here: Path) -> None:
    ended = run(5000, "--steer-cache=kept", "c.steer.yaml")
    assert ended.returncode == 0
    assert "c: steers" in ended.stdout
    assert "1 pass" in ended.stdout
    assert "scores-2.sqlite cannot be used: " in ended.stdout
    assert "The run goes on without the cache" in ended.stdout


@pytest.fixture
def broken_by_a_context(here: Path) -> Path:
    """Claims about a letter, which fail with the options swapped."""
    import torch

    from pytest_steer import SteeringVector, load_model

    model = load_model("builtin:tiny")
    a, b = (model.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "AB")
    direction: torch.Tensor = model.hf.lm_head.weight[a] - model.hf.lm_head.weight[b]
    SteeringVector({5: 2 * direction / direction.norm()}).save("letter.safetensors")
    right = [item for item in lettered(36) if item["answer_matching_behavior"].strip() == "(A)"]
    (here / "letters.json").write_text(json.dumps(right))
    head = "model: builtin:tiny\nvector: {file: letter.safetensors}\ndata: {test: letters.json}"
    (here / "c.steer.yaml").write_text(head + SEARCH)
    return here


def test_contexts_that_broke_a_claim(broken_by_a_context: Path) -> None:
    ended = run(5, "--steer-counterexamples=kept", "c.steer.yaml")
    assert ended.returncode == 1
    assert "1 fail\n" in ended.stdout
    assert "warning: c: holds_in_contexts: the context that broke the claim is not kept: " in ended.stdout
    assert not [
        file for file in (broken_by_a_context / "kept").rglob("*") if file.is_file() and b"swapped" in file.read_bytes()
    ]


@pytest.mark.nightly
def test_pytests_cache_that_cannot_be_made(broken_by_a_context: Path) -> None:
    """Its folder is a file, so that root cannot make it either."""
    (broken_by_a_context / ".pytest_cache").touch()
    ended = limited(10**9, "pytest", "-q", "c.steer.yaml")
    assert ended.returncode == 1
    assert "1 fail\n" in ended.stdout
    assert "pytest's cache folder cannot be written" in ended.stdout


@pytest.mark.nightly
def test_regressions(broken_by_a_context: Path) -> None:
    before = (broken_by_a_context / "c.steer.yaml").read_text()
    ended = run(20, "--steer-save-counterexamples", "c.steer.yaml")
    assert ended.returncode == 1
    assert "1 fail\nregressions: c.steer.yaml is left as it was: " in ended.stdout
    assert (broken_by_a_context / "c.steer.yaml").read_text() == before
    assert not list(broken_by_a_context.glob(".c.steer*"))


@pytest.mark.parametrize(
    "size", [pytest.param(100, marks=pytest.mark.nightly), 1000]
)  # too few for the vector; enough for it, too few for the items
def test_what_a_sweep_writes(here: Path, size: int) -> None:
    (here / "more.json").write_text(json.dumps(lettered(60)))
    there = sorted(here.iterdir())
    asked = ("--data", "more.json", "--layers", "1", "--positions", "all", "--anti-steerable-share", "0.99")
    ended = limited(size, "pytest_steer", "sweep", *asked, "--write", "new.steer.yaml")
    assert (ended.returncode, "chosen: layer 1" in ended.stdout) == (4, True)
    assert "cannot be written: " in ended.stderr
    assert sorted(here.iterdir()) == there
    (here / "o.json").write_text("before")
    ended = limited(size, "pytest_steer", "sweep", *asked, "--out", "o.json")
    assert (ended.returncode, (here / "o.json").read_text()) == (4, "before")


@pytest.mark.parametrize(
    "size", [pytest.param(100, marks=pytest.mark.nightly), 20_000]
)  # too few for the configuration; enough for it, too few for the weights
def test_a_conversion(here: Path, size: int) -> None:
    write_gguf(here / "small.gguf", builders.random_hf("llama"))
    ended = run(size, "--steer-model=small.gguf", "c.steer.yaml", PYTEST_STEER_CACHE=str(here / "kept"))
    assert ended.returncode == 1
    assert "small.gguf: the conversion cannot be kept in " in ended.stdout
    assert "set PYTEST_STEER_CACHE to a folder that has some" in ended.stdout
    assert "1 error\n" in ended.stdout
    assert not list((here / "kept" / "models").iterdir())
