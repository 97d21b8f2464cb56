"""``pytest-steer compare-methods`` and the comparison in pytest's summary and report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from pytest_steer import SteeringVector, extract, load_model, perplexity, propensity_curve, read_items
from pytest_steer.cli.main import main
from pytest_steer.files import read_suite
from pytest_steer.prompting import Context
from pytest_steer.report import report_schema
from pytest_steer.steering import ablate, save_intervention

PAIRS = [
    {"input": one, "output": other}
    for one, other in zip(
        ("hot", "big", "up", "old", "wet", "soft"), ("cold", "small", "down", "new", "dry", "hard"), strict=True
    )
]
FILE = """
model: builtin:tiny
multipliers: [-1, 0, 1]
min_n: 2
data: {neutral: neutral.txt}
matrix:
  method:
    caa: {layer: 1, positions: all}
    leace: {layer: 1, positions: all}
  behaviour:
    letters: {train: train.json, test: test.json}
    opposites: {train: pairs.json, test: pairs.json, demonstrations: pairs.json}
claims:
"""
# An effect is made of four float32 logits below 16, each rounded by half a unit in its last place in a batch of another shape.
ROUNDING = 4 * float(np.spacing(np.float32(8))) / 2
CLAIMS = """
  - not_anti_steered: {share: 0.99, by: effect}
  - ppl_delta_below: {limit: 90}
  - steers_at_cost: {effect: -90, budget: 0.1}
"""


@pytest.fixture
def folder(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(suite)
    (suite / "pairs.json").write_text(json.dumps(PAIRS))
    (suite / "c.steer.yaml").write_text(FILE + CLAIMS)
    return suite


def compared(*options: str) -> dict:
    assert main(["compare-methods", "c.steer.yaml", "--budget", "0.1", "--n-shots", "2", "--out", "out.json", *options]) == 0
    return json.loads(Path("out.json").read_text())


def test_what_is_printed_and_written(folder, capsys):
    found = compared()
    output = capsys.readouterr().out
    assert output.startswith("builtin:tiny: 2 methods on letters, opposites (seed 0, dtype float32, device cpu)\n")
    for heading in (
        "at each method's own deployed strength",
        "at equal perplexity cost (+10.0%)",
        "effects in standard deviations",
        "opposites: accuracy of 6 items, first token / exact answer",
    ):
        assert heading in output
    assert found["schema"] == "pytest-steer/comparison/1"
    (record,) = found["models"]
    assert {(row["method"], row["behaviour"]) for row in record["rows"]} == {
        (method, behaviour) for method in ("caa", "leace") for behaviour in ("letters", "opposites")
    }
    assert {task["setting"] for task in record["tasks"]} == {"zero-shot", "2-shot", "2-shot shuffled"}
    assert {vector["strength"] for vector in record["vectors"]} == {"linear", "interpolated"}
    assert record["failures"] == []
    schema = report_schema()
    rows = {"$ref": "#/$defs/Row", "$defs": schema["$defs"]}
    for row in record["rows"]:
        jsonschema.validate(row, rows)


def test_the_claims_of_a_run_make_the_same_table(folder, pytester):
    rows = {(row["method"], row["behaviour"]): row for row in compared()["models"][0]["rows"]}
    result = pytester.runpytest("--steer-report=r.json")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["at each method's own deployed strength", "at equal perplexity cost (+10.0%)"])
    report = json.loads((folder / "r.json").read_text())
    jsonschema.validate(report, report_schema())
    assert {(row["method"], row["behaviour"]) for row in report["comparison"]["rows"]} == set(rows)
    for row in report["comparison"]["rows"]:
        want = rows[row["method"], row["behaviour"]]
        assert row["n"] == want["n"]
        for at in ("deployed", "at_cost"):
            assert row[at]["multiplier"] == want[at]["multiplier"]
            for key in ("wrong_way", "cost"):
                np.testing.assert_allclose(row[at][key], want[at][key], rtol=0, atol=1e-7)
            for key in ("effect", "effect_standardised", "interval"):
                np.testing.assert_allclose(row[at][key], want[at][key], rtol=0, atol=ROUNDING)
        assert row["at_cost"]["reached"] == want["at_cost"]["reached"]


def test_further_strengths_and_budgets_are_further_rows(folder, pytester):
    (folder / "c.steer.yaml").write_text(
        FILE.replace("    leace: {layer: 1, positions: all}\n", "").replace(
            "    opposites: {train: pairs.json, test: pairs.json, demonstrations: pairs.json}\n", ""
        )
        + CLAIMS
        + "  - not_anti_steered: {name: double, share: 0.99, by: effect, multiplier: 2}\n"
        "  - ppl_delta_below: {name: double-cost, limit: 90, multiplier: 2}\n"
        "  - steers_at_cost: {name: dear, effect: -90, budget: 0.2}\n"
    )
    result = pytester.runpytest("--steer-report=r.json")
    result.assert_outcomes(passed=6)
    claims = json.loads((folder / "r.json").read_text())
    rows = {row["method"]: row for row in claims["comparison"]["rows"]}
    assert set(rows) == {"caa", "caa x 2", "caa for +20.0%"}
    by_name = {claim["name"].partition("[")[0]: claim for claim in claims["claims"]}
    assert rows["caa"]["deployed"]["cost"] == by_name["ppl_delta_below"]["estimate"]
    assert rows["caa x 2"]["deployed"]["cost"] == by_name["double-cost"]["estimate"]
    assert rows["caa x 2"]["deployed"]["wrong_way"] == by_name["double"]["estimate"]
    assert rows["caa x 2"]["at_cost"] is None
    assert rows["caa for +20.0%"]["at_cost"]["multiplier"] == by_name["dear"]["multiplier"]
    assert rows["caa"]["at_cost"]["multiplier"] == by_name["steers_at_cost"]["multiplier"]
    slopes = [item["slope"] for item in by_name["not_anti_steered"]["items"]]
    np.testing.assert_allclose(rows["caa"]["steerability"], np.mean(slopes), atol=1e-9)


def test_the_worst_items_of_a_claim_about_effects_are_those_of_the_smallest_effect(folder, pytester):
    (folder / "c.steer.yaml").write_text(
        FILE.replace("    leace: {layer: 1, positions: all}\n", "").replace(
            "layer: 1, positions: all", "layer: 1, multiplier: -1"
        )
        + "  - not_anti_steered: {share: 0.0001, by: effect}\n"
    )
    result = pytester.runpytest("--steer-report=r.json", "-k", "letters")
    result.stdout.fnmatch_lines(["* slopes of 0 or less *"])
    (claim,) = json.loads((folder / "r.json").read_text())["claims"]
    grid = claim["multipliers"]
    effects = {i["id"]: i["propensity"][grid.index(-1)] - i["propensity"][grid.index(0)] for i in claim["items"]}
    worst = min(effects, key=effects.get)
    (shown, *_) = [line for line in claim["message"].splitlines() if "] effect " in line]
    assert shown.strip().startswith(f"[{worst}] effect {effects[worst]:.3g}")


def test_claims_about_steerability_and_tasks_are_in_the_table_too(folder, pytester):
    (folder / "c.steer.yaml").write_text(
        FILE.replace("    leace: {layer: 1, positions: all}\n", "")
        .replace("letters:", "more:")
        .replace("more: {train: train.json, test: test.json}", "more: {train: pairs.json, test: pairs.json}")
        + "  - steers: {steerability: -90}\n  - performs_task: {accuracy: 0.0001, xfail: cannot, baseline_n_shots: 2}\n"
    )
    found = compared()["models"][0]
    result = pytester.runpytest("--steer-report=r.json")
    result.stdout.fnmatch_lines(["opposites: accuracy of 6 items, first token / exact answer"])
    report = json.loads((folder / "r.json").read_text())["comparison"]
    for row, want in zip(report["rows"], found["rows"], strict=True):
        np.testing.assert_allclose(row["steerability"], want["steerability"], atol=1e-6)
        np.testing.assert_allclose(row["steerability_interval"], want["steerability_interval"], atol=1e-6)
        assert row["anti_steerable_share"] == want["anti_steerable_share"]
        assert row["at_cost"] is None

    def accuracies(tasks):
        cells = {
            (t["behaviour"], t["method"], t["setting"]): (t["first_token"], t["exact"]) for t in tasks if not t["at_cost"]
        }
        return {place: cell for place, cell in cells.items() if place[1] == "unsteered" or place[2] == "zero-shot"}

    assert accuracies(report["tasks"]) == accuracies(found["tasks"])
    assert ("opposites", "unsteered", "2-shot shuffled") in accuracies(report["tasks"])


def test_a_failure_is_named_and_is_the_exit_code(folder, capsys):
    (folder / "c.steer.yaml").write_text(FILE.replace("leace:", "fv:") + CLAIMS)
    assert main(["compare-methods", "c.steer.yaml", "--out", "out.json", "--max-items", "4", "--no-soundness"]) == 1
    output = capsys.readouterr().out
    assert "not measured: fv on letters: a prompt of 10 demonstrations and a query needs 11 pairs, but there are 8" in output
    record = json.loads(Path("out.json").read_text())["models"][0]
    assert {failure["method"] for failure in record["failures"]} >= {"fv"}
    assert {row["method"] for row in record["rows"]} == {"caa"}
    assert {row["n"] for row in record["rows"]} == {4}


@pytest.mark.filterwarnings("ignore::pytest_steer.core.errors.SteerWarning")  # the data mean nothing
def test_saved_vectors_are_compared_on_every_behaviour(folder, capsys):
    model = load_model("builtin:tiny")
    made = extract.caa(model, read_items("train.json"), layer=(1, 2))
    made.at(1).save("one.safetensors")
    made.save("both.safetensors")
    (folder / "c.steer.yaml").write_text(FILE.replace("    leace: {layer: 1, positions: all}\n", "") + CLAIMS)
    vectors = ["--vector", "one.safetensors", "--vector", "both.safetensors@1", "--vector", "both.safetensors@1,2"]
    rows = {(row["method"], row["behaviour"]): row for row in compared(*vectors, "--methods", "caa")["models"][0]["rows"]}
    methods = ("caa", "one", "both@1", "both@1+2")
    assert set(rows) == {(method, behaviour) for method in methods for behaviour in ("letters", "opposites")}
    own = {key: value for key, value in rows["caa", "letters"].items() if key != "method"}
    for method in ("one", "both@1"):
        assert {key: value for key, value in rows[method, "letters"].items() if key != "method"} == own
        assert rows[method, "opposites"]["deployed"]["effect"] != rows["caa", "opposites"]["deployed"]["effect"]
    assert rows["both@1+2", "letters"]["deployed"]["effect"] != own["deployed"]["effect"]
    (letters,) = compared("--vector", "one.safetensors", "--methods", "caa", "--behaviours", "letters")["models"]
    assert [(row["method"], row["behaviour"]) for row in letters["rows"]] == [("caa", "letters"), ("one", "letters")]
    capsys.readouterr()
    assert main(["compare-methods", "c.steer.yaml", "--vector", "both.safetensors"]) == 4
    error = capsys.readouterr().err
    assert "holds directions for 2 layers, 1 to 2" in error
    assert "Write --vector both.safetensors@2" in error


@pytest.mark.filterwarnings("ignore::pytest_steer.core.errors.SteerWarning")
def test_a_saved_intervention_says_itself_how_it_is_applied(folder):
    vector = extract.caa(load_model("builtin:tiny"), read_items("train.json"), layer=1)
    save_intervention(ablate(vector), "taken-out.safetensors")
    found = compared("--vector", "taken-out.safetensors", "--behaviours", "letters")["models"][0]
    assert {one["method"]: one["strength"] for one in found["vectors"]}["taken-out"] == "ignored"


def test_what_to_try_when_the_budget_is_not_met(folder, capsys):
    compared("--behaviours", "letters", "--no-soundness", "--budget", "1e-9")
    said = capsys.readouterr().out
    assert "caa on letters: perplexity exceeds the budget even at multiplier 0.000977, the smallest tried (" in said
    assert "Deploy it at a smaller `multiplier`" in said
    compared("--behaviours", "letters", "--no-soundness", "--budget", "1e9")
    said = capsys.readouterr().out
    assert "caa on letters: perplexity stays within the budget up to multiplier 8, the largest tried (" in said
    assert "Try --max-multiplier 16\n" in said
    # Beyond its deployed strength an erasure is something else, so there is nothing to try.
    assert "leace on letters" not in said


APPROVAL = """
model: builtin:tiny
multipliers: [-1, 0, 1]
data: {neutral: neutral.txt, test: approval.json}
answers: sum
matrix:
  method:
    diff: {layer: 1, positions: all, extract: {method: mean_difference, data: texts.json}}
    pushed: {layer: 1, positions: all, multiplier: -1, extract: {method: mean_difference, data: texts.json}}
    taken: {kind: ablate, layer: 1, positions: all, extract: {method: mean_difference, data: texts.json}}
claims:
  - not_anti_steered: {share: 0.5, by: effect}
"""
BUILTIN = Path(__file__).resolve().parents[2] / "example_suites" / "builtin" / "data"


@pytest.fixture
def approval(folder: Path) -> Path:
    texts = json.loads((BUILTIN / "approval_train.json").read_text())
    (folder / "texts.json").write_text(json.dumps({side: texts[side][:30] for side in ("positive", "negative")}))
    (folder / "approval.json").write_text(json.dumps(json.loads((BUILTIN / "approval_test.json").read_text())[:30]))
    (folder / "neutral.txt").write_text("\n".join((BUILTIN / "neutral.txt").read_text().splitlines()[:20]))
    (folder / "c.steer.yaml").write_text(APPROVAL)
    return folder


def test_the_claim_file_of_the_best_method_is_judged_on_what_was_not_compared(approval, capsys, pytester):
    (record,) = compared("--write", "best.steer.yaml", "--split", "40/60")["models"]
    printed = capsys.readouterr().out
    assert "approval: 18 test items and 12 test texts are not looked at\n" in printed
    rows = {row["method"]: row for row in record["rows"]}
    assert {row["n"] for row in rows.values()} == {12}
    best = rows["diff"]["at_cost"]
    assert best["effect"] == max(row["at_cost"]["effect"] for row in rows.values())
    assert f"chosen: diff at multiplier {best['multiplier']:.3g} (effect {best['effect']:+.3g}, " in printed
    assert printed.endswith("judge it: pytest best.steer.yaml\n")
    # Items and texts in two parts each, of which the comparison saw one.
    everything, kept = read_items("approval.json"), read_items("best.test.json")
    assert len(kept) == 18
    texts, kept_texts = Path("neutral.txt").read_text().splitlines(), json.loads(Path("best.neutral.json").read_text())
    assert len(kept_texts) == 12
    vector = SteeringVector.load("best.safetensors")
    assert vector.hash == next(one["hash"] for one in record["vectors"] if one["method"] == "diff")
    model, seen = load_model("builtin:tiny"), [text for text in texts if text not in kept_texts]
    steered, unsteered = perplexity(model, seen, vector, multiplier=best["multiplier"]), perplexity(model, seen)
    assert best["cost"] == pytest.approx(np.expm1((steered.per_text - unsteered.per_text).mean()), abs=1e-6)
    validation = [item for item in everything if item.id not in {one.id for one in kept}]
    grid = [0.0, best["multiplier"]]
    curve = propensity_curve(model, validation, vector, multipliers=grid, positions="all", context=Context(answers="sum"))
    assert best["effect"] == pytest.approx((curve.values[:, 1] - curve.values[:, 0]).mean(), abs=1e-5)

    (claim, other) = read_suite("best.steer.yaml").entries
    assert (claim.kind, other.kind) == ("steers_at_cost", "not_anti_steered")
    assert claim.multiplier == pytest.approx(best["multiplier"])
    assert claim.asked == {"answers": "sum"}
    assert 0 < claim.params["effect"] <= best["effect"] - 2 * (best["effect"] - best["interval"][0]) + 1e-9
    assert (claim.params["budget"], other.params["share"], other.params["by"]) == (0.1, 0.25, "effect")
    pytester.runpytest_inprocess("best.steer.yaml", "-q", "--steer-report=r.json")
    claims = json.loads((approval / "r.json").read_text())["claims"]
    assert [one["n"] for one in claims] == [18, 18]
    assert "error" not in {one["verdict"] for one in claims}


def test_a_task_is_written_as_pairs_and_an_intervention_as_such(folder, capsys, pytester):
    pairs = PAIRS + [{"input": pair["output"], "output": pair["input"]} for pair in PAIRS]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    (found,) = compared("--behaviours", "opposites", "--methods", "leace", "--no-soundness", "--split", "50/50")["models"]
    assert {row["n"] for row in found["rows"]} == {6}
    assert {task["n"] for task in found["tasks"]} == {6}
    options = ["--behaviours", "opposites", "--methods", "leace", "--n-shots", "2", "--split", "50/50", "--budget", "9"]
    capsys.readouterr()
    code = main(
        ["compare-methods", "c.steer.yaml", *options, "--anti-steerable-share", "0.99", "--write", "best.steer.yaml"]
    )
    printed = capsys.readouterr().out
    if found["rows"][0]["at_cost"]["effect"] <= 0:
        assert code == 1
        assert "chosen: none" in printed
        return
    assert code == 0
    kept = json.loads(Path("best.test.json").read_text())
    assert len(kept) == 6
    assert all(pair in pairs for pair in kept)
    assert "intervention: {file: best.safetensors, positions: all}" in printed
    pytester.runpytest_inprocess("best.steer.yaml", "-q", "--steer-report=r.json")
    assert "error" not in {one["verdict"] for one in json.loads((folder / "r.json").read_text())["claims"]}


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            ["--methods", "pushed"],
            ["nearest: pushed at multiplier -", "Try training data with more or clearer pairs, or other"],
        ),
        (["--methods", "taken", "--budget", "1e-9"], ["nearest: taken at multiplier ", "Try a larger budget: --budget "]),
    ],
)
def test_what_to_try_when_no_method_keeps_the_limits(approval, capsys, options, lines):
    assert main(["compare-methods", "c.steer.yaml", "--no-soundness", *options, "--write", "best.steer.yaml"]) == 1
    printed = capsys.readouterr().out
    assert "chosen: none, no method has an effect above 0 for a perplexity of at most " in printed
    for line in lines:
        assert f"\n{line}" in printed
    assert not list(Path().glob("best.*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("", ""), "--write takes one behaviour, and the file compares letters, opposites. Add --behaviours letters"),
        (
            ("data: {neutral: neutral.txt}", ""),
            "--write chooses at equal perplexity cost. Add `neutral: FILE` to the `data`",
        ),
        (
            ("  behaviour:", "  model: [builtin:tiny, ./m]\n  behaviour:"),
            "--write takes one model, and the file names builtin:tiny",
        ),
    ],
)
def test_what_no_claim_file_can_be_written_about(folder, capsys, change, message):
    kinds = "  - not_anti_steered: {share: 0.99, by: effect}\n"
    (folder / "c.steer.yaml").write_text(FILE.replace(*change) + kinds if change[0] else FILE + kinds)
    behaviours = [] if not change[0] else ["--behaviours", "letters"]
    assert main(["compare-methods", "c.steer.yaml", *behaviours, "--write", "best.steer.yaml"]) == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.steer.yaml"], "nowhere.steer.yaml: there is no such file"),
        (["c.steer.yaml", "--methods", "cca"], "no method 'cca' in the file; there are: caa, leace"),
        (["c.steer.yaml", "--methods", ","], "names such as caa,icv"),
        (["c.steer.yaml", "--split", "40/20/40"], "'40/20/40'. Write two numbers above 0 such as 30/70"),
        (["c.steer.yaml", "--write", "c.yaml"], "c.yaml: the name has to end in .steer.yaml"),
        (["c.steer.yaml", "--write", "c.steer.yaml"], "c.steer.yaml exists, and is not overwritten"),
        (["broken.steer.yaml"], "broken.steer.yaml:2"),
    ],
)
def test_wrong_usage(folder, capsys, options: list[str], message: str):
    (folder / "broken.steer.yaml").write_text("claims:\n  - steers: {steerability: much}\n")
    assert main(["compare-methods", *options]) == 4
    assert message in capsys.readouterr().err
