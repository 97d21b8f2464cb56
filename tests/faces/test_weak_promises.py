"""A promise that can hardly fail, and a slope far from the deployed multiplier, are named beside the verdict, whichever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reports import codes_of, noted

from .conftest import HEAD

CLAIMS = {
    "steers": ("assert_steers", "items", "steerability", -5, -0.5),
    "not_anti_steered": ("assert_not_anti_steered", "items", "share", 0.999, 0.5),
    "ppl_delta_below": ("assert_ppl_delta_below", "texts", "limit", 100, 0.9),
    "holds_in_contexts": ("assert_holds_in_contexts", "items", "effect", -5, -0.5),
    "steers_at_cost": ("assert_steers_at_cost", "items, texts", "effect", -5, -0.5),
    "beats": ("assert_beats", "items", "margin", -5, -0.5),
    "kl_below": ("assert_kl_below", "texts", "limit", 12, 0.9),
}
ASSERTIONS = """
import contextlib
import pytest_steer
from pytest_steer import extract, read_items, SteeringFailure

def test_all(steer_model):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    items = read_items("test.json")
    texts = open("neutral.txt").read().splitlines()
"""
MORE = {
    "holds_in_contexts": {"contexts": {"system": ["", "Be brief."]}, "max_contexts": 2, "batch": 2},
    "steers_at_cost": {"budget": 0.2, "max_multiplier": 2},
    "beats": {"baseline": "random"},
}


def weaknesses_of(suite: Path, pytester: pytest.Pytester, file: str) -> dict[str, list[str]]:
    pytester.runpytest(file, "--steer-report=out.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert len(claims) == 2 * len(CLAIMS), claims
    return {claim["name"]: noted(claim, "weak-promise") for claim in claims}


@pytest.mark.parametrize("face", ["file", pytest.param("assertion", marks=pytest.mark.nightly)])
def test_a_promise_that_can_hardly_fail_is_a_warning(suite: Path, pytester: pytest.Pytester, face: str) -> None:
    entries, calls = "contexts: {system: ['', 'Be brief.']}\n" + HEAD, ASSERTIONS
    for kind, (call, data, key, weak, honest) in CLAIMS.items():
        for value in (weak, honest):
            more = MORE.get(kind, {})
            own = {key: value, "name": f"{kind} {value}"}
            in_file = own | {k: v for k, v in more.items() if k != "contexts"}
            entries += f"  - {kind}: {json.dumps(in_file)}\n"
            said = ", ".join(f"{k}={v!r}" for k, v in (own | more).items())
            calls += f"    with contextlib.suppress(SteeringFailure):\n        pytest_steer.{call}(steer_model, vector, {data}, {said})\n"
    (suite / "c.steer.yaml").write_text(entries)
    (suite / "test_it.py").write_text(calls)
    found = weaknesses_of(suite, pytester, "c.steer.yaml" if face == "file" else "test_it.py")
    for kind, (_, _, key, weak, honest) in CLAIMS.items():
        own = found[f"{kind} {weak}"]
        assert len(own) == 1, found
        assert f"{key} {weak:g} lets " in own[0]
        assert found[f"{kind} {honest}"] == []


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    ("multipliers", "deployed", "says"),
    [
        ([0, 1e-2], 1, "the largest multiplier of the slope is 0.01 and the deployed one is 1, more than 10 times as large"),
        ([0, -0.01], -1, "the largest multiplier of the slope is 0.01 and the deployed one is -1, more than 10 times as large"),
        ([0, 2, 3], 0.1, "the smallest multiplier of the slope other than 0 is 2 and the deployed one is 0.1, more than 10 times as small"),
        ([0, 0.1], 1, None),
        ([0, 0.01, 2], 1, None),
        ([0, 1], 0.1, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("face", ["file", "assertion"])
def test_a_slope_far_from_the_deployed_multiplier_is_a_warning(
    suite: Path, pytester: pytest.Pytester, face: str, multipliers: list[float], deployed: float, says: str | None
) -> None:
    head = HEAD.replace("[-1, 0, 1]", f"{multipliers}\nmultiplier: {deployed}")
    (suite / "c.steer.yaml").write_text(head + "  - steers: -0.5\n  - not_anti_steered: {share: 0.5, by: effect}\n")
    (suite / "test_it.py").write_text(
        ASSERTIONS
        + f"    deployed = dict(multipliers={multipliers}, multiplier={deployed})\n"
        + "    with contextlib.suppress(SteeringFailure):\n"
        + "        pytest_steer.assert_steers(steer_model, vector, items, steerability=-0.5, **deployed)\n"
        + "    with contextlib.suppress(SteeringFailure):\n"
        + "        pytest_steer.assert_not_anti_steered(steer_model, vector, items, share=0.5, by='effect', **deployed)\n"
    )
    file = "c.steer.yaml" if face == "file" else "test_it.py"
    pytester.runpytest(file, "--steer-report=out.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
    steers, anti = json.loads((suite / "out.json").read_text())["claims"]
    found = noted(steers, "deployed-far-from-grid")
    assert len(found) == (says is not None)
    assert says is None or found[0].startswith(says)
    assert "deployed-far-from-grid" not in codes_of(anti)
