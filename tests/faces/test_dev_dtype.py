"""The quick profile runs in bfloat16 where the processor has instructions for it, and says so."""

from __future__ import annotations

import json

import pytest

from pytest_steer.core import run_context

CLAIMS = """\
model: builtin:tiny
vector: {extract: {method: mean_difference, data: train.json}, layer: 1, positions: all}
data: {test: test.json}
claims:
  - steers: {steerability: 0.01}
"""


@pytest.fixture
def folder(pytester):
    items = [
        {"question": f"Was it number {n}?", "answer_matching_behavior": "Yes", "answer_not_matching_behavior": "No"}
        for n in range(12)
    ]
    pytester.makefile(".steer.yaml", mine=CLAIMS)
    pytester.path.joinpath("train.json").write_text(json.dumps(items[:6]))
    pytester.path.joinpath("test.json").write_text(json.dumps(items[6:]))
    return pytester


@pytest.mark.parametrize(
    ("known", "options", "dtype", "said"),
    [
        (True, ["--steer-profile=dev"], "bfloat16", "dtype auto: bfloat16 on the CPU, device"),
        (False, ["--steer-profile=dev"], "float32", "dtype auto, device"),
        (True, ["--steer-profile=dev", "--steer-dtype=float32"], "float32", "dtype float32, device"),
        (True, [], "float32", "dtype auto, device"),
    ],
)
def test_the_dtype_of_a_quick_look(folder, monkeypatch, known, options, dtype, said):
    monkeypatch.setattr("pytest_steer.pytest_plugin.options.has_bfloat16", lambda: known)
    result = folder.runpytest_inprocess("mine.steer.yaml", "--steer-device=cpu", "--steer-report=out.json", *options)
    result.stdout.fnmatch_lines([f"steer: 1 claim on builtin:tiny (*{said}*"])
    report = json.loads((folder.path / "out.json").read_text())
    assert report["claims"][0]["model"]["dtype"] == dtype


def test_what_a_processor_says_of_itself(tmp_path):
    for listing, known in (("flags : avx512_bf16 sse", True), ("Features : asimd bf16", True), ("flags : avx512f", False)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{listing}\n")
        assert run_context.has_bfloat16.__wrapped__(tmp_path / "cpuinfo") is known
    assert run_context.has_bfloat16.__wrapped__(tmp_path / "missing") is False
