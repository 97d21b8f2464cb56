"""Claims about the likelihood of answers through pytest: files and assertions, what is shown, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import plain
import pytest
from scipy import stats

from pytest_steer import extract, load_model, read_items
from pytest_steer.report import report_schema

HEAD = """
model: builtin:tiny
vector:
  extract: {method: caa, data: train.json}
  layer: 1
multipliers: [-1, 0, 1]
data: {test: open.json}
claims:
"""
CLAIMS = """
  - promotes: {name: fails, nats: 5, beside: letters.json}
  - suppresses: {name: too, nats: 5, multiplier: 2}
"""
ASSERTIONS = """
from pytest_steer import assert_promotes, assert_suppresses, extract, read_items

def test_all(steer_model):
    vector = extract.caa(steer_model, read_items("train.json"), layer=1)
    items, letters = read_items("open.json"), read_items("letters.json")
    claims = [
        lambda: assert_promotes(steer_model, vector, items, nats=5, beside=letters, multipliers=[-1, 0, 1]),
        lambda: assert_suppresses(steer_model, vector, items, nats=5, multiplier=2, multipliers=[-1, 0, 1]),
    ]
    for claim in claims:
        try:
            claim()
        except AssertionError:
            pass
"""
ANSWERS = [("It was merry.", "It was dreary."), ("Yes, it was fine and bright.", "No."), ("We sang", "We wept at the mill")]


@pytest.fixture
def both(suite: Path) -> Path:
    """Open items and, in another order, lettered ones of most of the same questions."""
    opened, letters = [], []
    for n in range(12):
        question, (one, other) = f"How was trip number {n} at the lake?", ANSWERS[n % 3]
        opened.append({"question": question, "matching": one, "not_matching": other})
        first, second = (one, other) if n % 2 else (other, one)
        letters.append(
            {
                "question": f"{question}\n\nChoices:\n (A) {first}\n (B) {second}",
                "answer_matching_behavior": "(A)" if n % 2 else "(B)",
                "answer_not_matching_behavior": "(B)" if n % 2 else "(A)",
            }
        )
    (suite / "open.json").write_text(json.dumps(opened))
    (suite / "letters.json").write_text(json.dumps(letters[:1:-1]))
    return suite


def claims_of(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, list[dict]]:
    result = pytester.runpytest("--steer-report=out.json", "--steer-model=builtin:tiny", *options)
    written = json.loads((Path(pytester.path) / "out.json").read_text())
    jsonschema.validate(written, report_schema())
    return result, written["claims"]


def test_files_and_assertions_measure_the_same_and_what_a_plain_loop_does(both: Path, pytester: pytest.Pytester) -> None:
    (both / "c.steer.yaml").write_text(HEAD + CLAIMS)
    pytester.makepyfile(test_c=ASSERTIONS)
    result, by_file = claims_of(pytester, "c.steer.yaml")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "fails: FAIL  rise of matching log-likelihood * promised at least 5",
            "  n = 12 items, bounds by t at 0.95 each side: the interval is on the bad side",
            "  deployed at multiplier 1 *",
            "  matching answers: log-likelihood * -> * nats per token, change * [[]*, *[]]",
            "  not matching answers: log-likelihood * -> * nats per token, change * [[]*, *[]]",
            "  beside: letters.json",
            "            n * matching * not matching",
            "    here    12 *",
            "    beside  10 *",
            "  rank correlation (Spearman) over the 10 questions that both ask: effect on propensity *, matching *, not matching *",
            "  steered: caa at layer 1, positions after_prompt, norm *; deployed multiplier 1 (* of the median hidden norm)",
            "  data: open.json",
            "  mean log-likelihood of the answers (nats per token):",
            "      multiplier     -1      0      1",
            "        matching *",
            "    not matching *",
            "  change by quartile of the unsteered log-likelihood of the matching answers:",
            "             n * unsteered *",
            "    lowest   3 *",
            "  on the scale of Pres et al. 2024 (divided by * unsteered, * steered): promoted *, suppressed *; in the quarter with most to gain *, *",
            "  worst items:",
            "    [[]*[]] change *: matching * -> *, not matching * -> *",
            "  run again: pytest c.steer.yaml::fails *",
            "  fail * fails (promotes) * rise of matching log-likelihood * >= 5 * 12",
            "  fail * too (suppresses) * fall of not matching log-likelihood * >= 5 * 12",
        ]
    )
    _, by_assertion = claims_of(pytester, "test_c.py")
    for one, other in zip(by_file, by_assertion, strict=True):
        for key in ("check", "estimate", "interval", "verdict", "noise", "items", "strata", "curve", "compared"):
            assert one[key] == other[key], key
        own = {key: value for key, value in one["details"].items() if key != "beside"}
        assert own == {key: value for key, value in other["details"].items() if key != "beside"}

    model = load_model("builtin:tiny")
    directions = extract.caa(model, read_items(both / "train.json"), layer=1).directions
    items, letters = read_items(both / "open.json"), read_items(both / "letters.json")

    def likelihoods(data, m):
        return np.array(
            [plain.likelihoods(model.hf, model.tokenizer, item, directions, m, "after_prompt") for item in data]
        ).T

    base = likelihoods(items, 0)
    for claim, side, m in ((by_file[0], 0, 1), (by_file[1], 1, 2)):
        change = (1 if side == 0 else -1) * (likelihoods(items, m) - base)[side]
        low, high = stats.t.interval(0.9, len(change) - 1, change.mean(), stats.sem(change))
        assert (claim["estimate"], *claim["interval"]) == pytest.approx((change.mean(), low, high), rel=1e-3, abs=1e-6)
    changes, lettered = likelihoods(items, 1) - base, likelihoods(letters, 1) - likelihoods(letters, 0)
    record = by_file[0]["details"]["beside"]
    assert record["sides"]["matching"]["change"] == pytest.approx(lettered[0].mean(), abs=1e-5)
    # The lettered ones are numbers 11 to 2.
    want = stats.spearmanr(changes[0][2:], lettered[0][::-1]).statistic
    assert record["rank_correlation"]["matching_change"] == pytest.approx(want)


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ([{"question": "How?"}] * 2, "c.steer.yaml:9: claims[[]0].promotes.beside: *letters.json: item 0: only a question"),
        ([{"question": "How?", "matching": "(A)", "not_matching": "(B)"}], "*letters.json: has 1 item(s)"),
        ([{"input": "up", "output": "down"}, {"input": "hot", "output": "cold"}], "*asked in different forms"),
    ],
)
def test_what_cannot_stand_beside(both: Path, pytester: pytest.Pytester, letters: list[dict], words: str) -> None:
    (both / "letters.json").write_text(json.dumps(letters))
    (both / "c.steer.yaml").write_text(HEAD + "  - promotes: {nats: 0.05, beside: letters.json}\n")
    result, (found,) = claims_of(pytester)
    assert found["verdict"] == "error"
    result.stdout.fnmatch_lines([f"promotes: ERROR  {words}*"])


def test_a_matrix_of_methods(both: Path, pytester: pytest.Pytester) -> None:
    matrix = HEAD.replace("claims:", "matrix: {method: {caa: {}, mean_difference: {}}}\nclaims:").replace(
        "method: caa, ", ""
    )
    (both / "c.steer.yaml").write_text(matrix + "  - promotes: 5\n")
    result, found = claims_of(pytester)
    assert [claim["name"] for claim in found] == ["promotes[caa]", "promotes[mean_difference]"]
    lines = [line for line in str(result.stdout).split("\n") if line.startswith("open ")]
    rows, sides = lines[:2], lines[2:]
    for claim, line in zip(found, sides, strict=True):
        own = [claim["details"]["sides"][side]["change"] for side in ("matching", "not_matching")]
        scaled = [claim["details"]["normalised"][name][-1] for name in ("promoted", "suppressed")]
        assert all(f" {value:.3g}" in line for value in [*own, *scaled])
    assert all(f"{claim['compared']['deployed']['effect']:.3g}" in row for claim, row in zip(found, rows, strict=True))
