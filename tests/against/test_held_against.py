"""Reports held against each other: outcomes, pairs and numbers, beside plain computations of scipy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from made_reports import BEFORE, DRAW, claim, code_of, held, lines_of, only, report, units
from scipy import stats

from pytest_steer.against.conditions import CONDITIONS
from pytest_steer.against.held_against import OUTCOMES


def test_the_same_report_twice_is_no_change():
    entry, code = only(claim(), claim())
    assert (entry["outcome"], entry["difference"], entry["interval"], code) == ("held", 0.0, [0.0, 0.0], 0)
    assert (entry["n"], entry["flipped"], entry["reasons"]) == (40, [], [])
    assert entry["items"] == {"new": 0, "gone": 0, "changed": 0}
    assert "equal on all 40" in entry["message"]


def test_a_proven_drop_is_worse_and_its_numbers_are_those_of_scipy():
    after = BEFORE - 0.05 + DRAW.normal(0, 0.02, 40)
    entry, code = only(claim(), claim(after))
    fall = stats.ttest_1samp(after - BEFORE, 0).confidence_interval(0.9)  # two one-sided bounds at 0.95
    assert (entry["outcome"], code) == ("worse", 1)
    assert entry["difference"] == pytest.approx((after - BEFORE).mean())
    assert entry["interval"] == pytest.approx([fall.low, fall.high])
    assert only(claim(), claim(after), tolerance=0.04)[0]["outcome"] == "worse"
    assert only(claim(), claim(after), tolerance=0.06)[0]["outcome"] == "held"
    assert only(claim(after), claim())[0]["outcome"] == "better"


def test_for_a_claim_of_at_most_a_rise_is_the_loss():
    after = BEFORE + 0.05 + DRAW.normal(0, 0.02, 40)
    kept = {"direction": "at_most", "threshold": 1.0}
    assert only(claim(**kept), claim(after, **kept))[0]["outcome"] == "worse"
    assert only(claim(after, **kept), claim(**kept))[0]["outcome"] == "better"


def test_a_difference_that_is_not_proven_is_said_to_be_so():
    after = BEFORE + DRAW.normal(0, 0.2, 40)
    after += 0.01 - (after - BEFORE).mean()
    entry, code = only(claim(), claim(after))
    assert (entry["outcome"], code) == ("held", 0)
    assert "not proven either way" in entry["message"]


def test_a_drop_within_rounding_is_no_drop():
    entry, code = only(claim(), claim(BEFORE - 5e-7))
    assert (entry["outcome"], code, entry["tolerance"]) == ("held", 0, 1e-6)
    assert entry["interval"][1] < 0


@pytest.mark.parametrize(
    ("before", "after", "outcome", "code"),
    [
        ("pass", "fail", "broken", 1),
        ("pass", "inconclusive", "broken", 1),
        ("pass", "error", "broken", 1),
        ("inconclusive", "fail", "worse", 1),
        ("inconclusive", "error", "worse", 1),
        ("fail", "error", "not_comparable", 3),
        ("error", "error", "not_comparable", 3),
        ("error", "fail", "not_comparable", 3),
        ("error", "pass", "newly_holding", 0),
        ("fail", "pass", "newly_holding", 0),
        ("inconclusive", "pass", "newly_holding", 0),
        ("fail", "inconclusive", "better", 0),
        ("fail", "fail", "unchanged", 0),
        ("inconclusive", "inconclusive", "unchanged", 0),
    ],
)
def test_verdicts(before, after, outcome, code):
    entry, found = only(claim(verdict=before), claim(verdict=after))
    assert (entry["outcome"], found) == (outcome, code)
    assert entry["outcome"] in OUTCOMES


def test_a_loosened_threshold_does_not_hide_a_drop():
    entry, code = only(claim(verdict="fail", threshold=0.6), claim(BEFORE - 0.2, threshold=0.1))
    assert (entry["outcome"], code) == ("worse", 1)
    assert "threshold: 0.6 -> 0.1" in entry["reasons"]


def test_a_threshold_that_is_set_or_emptied_is_named():
    entry, code = only(claim(verdict="inconclusive", threshold=None), claim())
    assert (entry["outcome"], code) == ("newly_holding", 0)
    assert "threshold: none yet -> 0.3" in entry["reasons"]
    entry, code = only(claim(), claim(BEFORE - 0.2, verdict="inconclusive", threshold=None))
    assert (entry["outcome"], code) == ("broken", 1)
    assert "threshold: 0.3 -> none yet" in entry["reasons"]


def test_shares_have_the_exact_paired_bound_and_say_what_flipped():
    before = np.array([0.0] * 36 + [1.0] * 4)
    after = before.copy()
    after[:9], after[39] = 1.0, 0.0
    kept = {"direction": "at_most", "threshold": 0.25, "min_n": None, "percent": True}
    old, new = (claim(values, units=units(values, "share"), **kept) for values in (before, after))
    entry, code = only(old, new)
    assert (entry["outcome"], code, entry["flips"]) == ("worse", 1, {"lost": 9, "gained": 1})
    assert entry["difference"] == pytest.approx(8 / 40)
    # McNemar's exact test of 9 against 1, one-sided, is conservative beside the unconditional one.
    assert stats.binomtest(9, 10, alternative="greater").pvalue < 0.05
    low, high = entry["interval"]
    wald = 8 / 40 - 1.645 * np.sqrt((10 - 64 / 40) / 40**2)
    assert low == pytest.approx(wald, abs=0.03)
    assert low > 0
    assert high < 0.35
    assert [one["id"] for one in entry["flipped"]] == [*map(str, range(9)), "39"]
    assert entry["flipped"][0]["question"] == "Question 0?"


def test_equal_shares_prove_no_more_than_their_number():
    flags = np.zeros(20)
    kept = {"direction": "at_most", "threshold": 0.25, "min_n": None}
    old, new = (claim(flags, units=units(flags, "share"), **kept) for _ in range(2))
    entry, _ = only(old, new)
    assert entry["difference"] == 0
    assert entry["interval"][0] < 0 < entry["interval"][1] < 0.2


def test_flipped_items_the_most_moved_first():
    after = BEFORE.copy()
    after[3], after[5] = -2.0, -1.0
    entry, _ = only(claim(), claim(after))
    assert [one["id"] for one in entry["flipped"]][:2] == ["3", "5"]
    assert entry["flipped"][0]["before"] == pytest.approx(BEFORE[3])


def test_units_are_paired_by_content_and_changed_new_and_gone_ones_are_counted():
    old = claim(BEFORE[:20], units=units(BEFORE[:20]))
    names = [str(index) for index in [*range(1, 20), 20]]
    new_units = units(np.append(BEFORE[1:20], 0.4), names=names)
    new_units["ids"][4] = "rewritten"  # item 5
    order = [*range(10, 20), *range(10)]
    for key in ("ids", "names", "values"):
        new_units[key] = [new_units[key][index] for index in order]
    new = claim(new_units["values"], units=new_units, data={"hash": "other", "n": 20})
    entry, code = only(old, new)
    assert entry["items"] == {"new": 1, "gone": 1, "changed": 1}
    assert (entry["n"], entry["difference"], entry["outcome"], code) == (18, 0.0, "held", 0)
    assert "units 1 changed, 1 gone, 1 new" in entry["message"]


def test_the_same_question_with_other_answers_is_changed():
    old, new = claim(), claim()
    new["units"]["ids"][2], new["units"]["names"][2], new["items"][2]["id"] = "other answers", "x", "x"
    assert only(old, new)[0]["items"] == {"new": 0, "gone": 0, "changed": 1}


def test_too_few_shared_units_cannot_be_compared():
    fresh = units(BEFORE, ids=[f"content {i}" if i < 5 else f"fresh {i}" for i in range(40)])
    fresh["names"] = [str(100 + i) for i in range(40)]
    entry, code = only(claim(), claim(units=fresh, data={"hash": "other", "n": 40}))
    assert (entry["outcome"], code, entry["n"]) == ("not_comparable", 3, 5)
    assert "5 items are the same, and 8 are needed" in entry["message"]


def test_clusters_of_either_run_keep_units_together():
    after = BEFORE - 0.1 + np.repeat(DRAW.normal(0, 0.1, 10), 4)
    clusters = np.repeat(np.arange(10), 4).tolist()
    old, new = claim(units=units(BEFORE)), claim(after, units=units(after, clusters=clusters))
    entry, _ = only(old, new)
    by_cluster = (after - BEFORE).reshape(10, 4).mean(1)
    plain = stats.ttest_1samp(by_cluster, 0).confidence_interval(0.9)
    assert (entry["n"], entry["interval"]) == (10, pytest.approx([plain.low, plain.high]))


def test_of_several_parts_the_one_that_lost_most_counts_at_a_stricter_level():
    parts = ["a"] * 20 + ["b"] * 20
    after = BEFORE + np.where(np.arange(40) < 20, 0.0, -0.05) + DRAW.normal(0, 0.02, 40)
    old, new = (
        claim(values, units=units(values, parts=parts), estimate=float(min(values[:20].mean(), values[20:].mean())))
        for values in (BEFORE, after)
    )
    entry, _ = only(old, new)
    fall = (after - BEFORE)[20:]
    strict = stats.t.interval(1 - 2 * 0.05 / 2, 19, fall.mean(), stats.sem(fall))
    assert entry["outcome"] == "worse"
    assert "most in b" in entry["reasons"]
    assert entry["difference"] == pytest.approx(fall.mean())
    assert entry["interval"][1] == pytest.approx(strict[1])


def test_without_values_only_verdict_and_estimate_are_compared():
    old, new = claim(None, unpaired="the search may differ"), claim(None, "fail", unpaired="the search may differ")
    entry, code = only(old, new)
    assert (entry["outcome"], code, entry["interval"]) == ("broken", 1, None)
    assert "no interval of the difference: the search may differ" in entry["message"]
    assert only(old, claim(None, data={"hash": "other", "n": 40}))[1] == 3


def changed(record, name, value):
    """A record with one condition changed."""
    found = copy.deepcopy(record)
    for path in ((name,), ("vector", name), ("model", name), ("asked", name), ("units", name)):
        holder = found if len(path) == 1 else found[path[0]]
        if path[-1] in holder:
            holder[path[-1]] = value
            return found
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("positions", "last", "positions: all -> last"),
        ("include_first", True, "include_first: False -> True"),
        ("template", "other", "chat template: chatml -> other"),
        ("thinking", "open", "thinking: closed -> open"),
        ("answers", "sum", "answers: token -> sum"),
        ("statistic", "mean effect", "statistic: steerability -> mean effect"),
        ("direction", "at_most", "direction: at_least -> at_most"),
        ("how", {"n_shots": 5}, "n_shots: 0 -> 5"),
    ],
)
def test_conditions_that_keep_claims_from_being_compared(key, value, shown):
    old = claim(units=units(BEFORE, how={"n_shots": 0}))
    old["asked"] |= {"template": "chatml", "thinking": "closed"}
    entry, code = only(old, changed(old, key, value))
    assert (entry["outcome"], code, entry["difference"]) == ("not_comparable", 3, None)
    assert shown in entry["reasons"]
    assert shown in entry["message"]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("dtype", "bfloat16", "dtype: float32 -> bfloat16"),
        ("device", "cuda:1", "device: cpu -> cuda"),
        ("layer", 2, "layer: 1 -> 2"),
        ("operation", "projected out", "operation: added -> projected out"),
        ("multiplier", 2.0, "multiplier: 1 -> 2"),
        ("confidence", 0.9, "confidence: 0.95 -> 0.9"),
        ("threshold", 0.2, "threshold: 0.3 -> 0.2"),
    ],
)
def test_conditions_that_are_named_beside_the_comparison(key, value, shown):
    entry, code = only(claim(), changed(claim(), key, value))
    assert (entry["outcome"], code, entry["difference"]) == ("held", 0, 0.0)
    assert entry["reasons"] == [shown]
    assert any(condition.name in shown and not condition.blocks for condition in CONDITIONS)


def test_another_tokenizer_is_named():
    old, new = claim(), claim()
    for record, tokens in ((old, ["Is", " it", "?"]), (new, ["I", "s it", "?"])):
        shown = {"tokens": tokens, "first_steered": 0, "first_scored": 3, "candidates": None}
        record["asked"]["first_item"] = [shown]
    assert "another tokenizer" in only(old, new)[0]["message"]


def test_another_version_of_the_scoring_compares_nothing():
    against = held(report(claim()), report(claim(), scoring=3))
    assert code_of(against) == 3
    assert "version of the scoring: 2 -> 3" in against["claims"][0]["message"]


def test_new_gone_and_renamed_claims():
    kept, gone, fresh = claim(), claim(BEFORE + 1, name="old-name"), claim(BEFORE + 1.1, name="new-name")
    against = held(report(kept, gone), report(kept, fresh, claim(name="added", check="promotes")))
    outcomes = {entry["name"]: entry["outcome"] for entry in against["claims"]}
    assert outcomes == {"steers": "held", "new-name": "new", "added": "new", "old-name": "gone"}
    assert code_of(against) == 3
    said = "\n".join(lines_of(against))
    assert "looks renamed to new-name" in said
    assert "looks like old-name renamed" in said
    assert "renamed" not in next(entry for entry in against["claims"] if entry["name"] == "added")["message"]


def test_claims_of_one_name_are_told_apart_by_their_files():
    old, new = claim(id="a.steer.yaml::steers"), claim(id="b.steer.yaml::steers")
    old, new = old | {"suite": "a"}, new | {"suite": "b"}
    messages = [entry["message"] for entry in held(report(old), report(new))["claims"]]
    assert sorted(messages) == [
        "a.steer.yaml::steers: gone: was pass (looks renamed to b.steer.yaml::steers)",
        "b.steer.yaml::steers: new: pass (looks like a.steer.yaml::steers renamed)",
    ]


def test_one_wins_over_three():
    broken = held(report(claim(), claim(name="b")), report(claim(verdict="fail")))
    assert {entry["outcome"] for entry in broken["claims"]} == {"broken", "gone"}
    assert code_of(broken) == 1


def test_claims_that_were_not_selected_are_not_gone():
    against = held(report(claim(), claim(name="b")), report(claim()), not_run={"a.steer.yaml::b"})
    assert ([entry["outcome"] for entry in against["claims"]], against["not_run"]) == (["held"], 1)


def test_reports_of_other_folders_are_paired_by_suite_and_name():
    moved = claim() | {"id": "elsewhere/a.steer.yaml::steers"}
    assert [entry["outcome"] for entry in held(report(claim()), report(moved))["claims"]] == ["held"]


def test_differences_between_the_runs_are_named_once():
    against = held(report(claim()), report(claim(), seed=1, versions={"torch": "3"}, interrupted=True))
    assert against["notes"] == ["seed: 0 -> 1", "torch: 2 -> 3", "the later run was not finished"]


def test_a_run_that_was_killed_is_named_on_either_side():
    assert held(report(claim(), partial=True), report(claim()))["notes"] == ["the earlier run was not finished"]
    assert held(report(claim()), report(claim(), partial=True))["notes"] == ["the later run was not finished"]


def test_another_model_is_named_with_its_fingerprint_also_where_the_path_is_the_same():
    old, same, other = (
        report(claim(), model={**claim()["model"], "id": "./m", "fingerprint": print_})
        for print_ in ("a" * 16, "a" * 16, "b" * 16)
    )
    assert held(old, same)["notes"] == []
    assert held(old, other)["notes"] == ["model: ./m (aaaaaaaaaaaa) -> ./m (bbbbbbbbbbbb)"]


def test_the_hash_of_a_template_stands_once():
    old, new = claim(), claim()
    for record, digest in ((old, "a" * 64), (new, "b" * 64)):
        record["model"] |= {"template": digest, "template_name": f"chat template {digest[:12]}"}
        record["asked"]["template"] = f"chat template {digest[:12]}"
    assert "chat template: aaaaaaaaaaaa -> bbbbbbbbbbbb" in only(old, new)[0]["reasons"]
    for record in (old, new):
        record["model"]["template_name"] = record["asked"]["template"] = "chatml"
    assert "chat template: chatml aaaaaaaaaaaa -> chatml bbbbbbbbbbbb" in only(old, new)[0]["reasons"]


def test_no_line_of_the_summary_is_wider_than_the_terminal():
    after = claim(BEFORE - 0.5, "fail", name="a-rather-long-name-of-a-claim[caa-14-some-behaviour]")
    before = claim(name=after["name"])
    for record in (before, after):
        for item in record["items"]:
            item["question"] = "What would you say about a question that is as long as this one, and longer? " * 3
    against = held(report(before, claim(name="gone")), report(after, claim(name="new")))
    against["baseline"] = {
        "path": "a/last.json",
        "date": "2026-11-01T00:00:00",
        "model": "m",
        "sha256": "0" * 64,
        "commit": None,
    }
    lines = lines_of(against, 80)
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("    [") for line in lines) == 3
