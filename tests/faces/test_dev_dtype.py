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
    ("listing", "options", "dtype", "said"),
    [
        ("flags : fpu avx512_bf16 sse", ["--steer-profile=dev"], "bfloat16", "dtype auto: bfloat16 on the CPU, device"),
        ("Features : fp asimd bf16", ["--steer-profile=dev"], "bfloat16", "dtype auto: bfloat16 on the CPU, device"),
        ("flags : fpu avx512f sse", ["--steer-profile=dev"], "float32", "dtype auto, device"),
        (
            "flags : fpu avx512_bf16 sse",
            ["--steer-profile=dev", "--steer-dtype=float32"],
            "float32",
            "dtype float32, device",
        ),
        ("flags : fpu avx512_bf16 sse", [], "float32", "dtype auto, device"),
    ],
)
def test_the_dtype_of_a_quick_look(folder, monkeypatch, listing, options, dtype, said):
    file = folder.path / "cpuinfo"
    file.write_text(f"processor : 0\n{listing}\n")
    known = run_context.has_bfloat16.__wrapped__(file)
    monkeypatch.setattr("pytest_steer.pytest_plugin.options.has_bfloat16", lambda: known)
    result = folder.runpytest_inprocess("mine.steer.yaml", "--steer-device=cpu", "--steer-report=out.json", *options)
    result.stdout.fnmatch_lines([f"steer: 1 claim on builtin:tiny (*{said}*"])
    report = json.loads((folder.path / "out.json").read_text())
    assert report["claims"][0]["model"]["dtype"] == dtype


def test_a_processor_that_says_nothing_has_none(tmp_path):
    assert run_context.has_bfloat16.__wrapped__(tmp_path / "missing") is False
