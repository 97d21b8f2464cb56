"""What could hide a loss: lowered promises, other items, changed files. Each is worse, or not comparable, or named."""

from __future__ import annotations

import numpy as np
import pytest
from made_reports import BEFORE, DRAW, claim, code_of, held, only, report, units


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("kept", "lowered", "interval"),
    [("at_least", 0.1, [0.15, 0.9]), ("at_most", 0.9, [0.1, 0.7])],
)
def test_a_lowered_threshold_hides_no_lost_promise(paired, kept, lowered, interval):
    values = BEFORE if paired else None
    entry, code = only(
        claim(values, direction=kept), claim(values, direction=kept, threshold=lowered, interval=interval, p_pass=1e-9)
    )
    assert (entry["outcome"], code) == ("broken", 1)
    assert "inconclusive by the earlier threshold 0.3" in entry["reasons"]
    raised = 0.4 if kept == "at_least" else 0.2
    entry, code = only(claim(values, direction=kept), claim(values, direction=kept, threshold=raised, interval=interval))
    assert (entry["outcome"], code) == ("held", 0)


def test_a_lowered_confidence_hides_no_lost_promise():
    entry, code = only(claim(), claim(confidence=0.6, p_pass=0.3))
    assert (entry["outcome"], code) == ("broken", 1)
    assert "inconclusive by the earlier confidence 0.95" in entry["reasons"]
    assert only(claim(), claim(confidence=0.6, p_pass=0.01))[0]["outcome"] == "held"


def test_a_raised_confidence_hides_no_proven_loss():
    after = BEFORE - 0.01 + DRAW.normal(0, 0.03, 40)
    after -= (after - BEFORE).mean() + 0.01  # a loss of 0.01 at t = 2.1
    assert only(claim(), claim(after))[0]["outcome"] == "worse"
    entry, code = only(claim(), claim(after, confidence=0.9999, p_pass=1e-9))
    assert (entry["outcome"], entry["confidence"], code) == ("worse", 0.95, 1)


def test_a_lowered_min_n_makes_no_pairs():
    few = units(BEFORE[:4])
    entry, _ = only(claim(units=few), claim(units=few, min_n=2))
    assert entry["n"] == 4
    assert entry["interval"] is None  # by the earlier floor of 8


def test_a_loosened_no_regression_is_judged_as_before():
    own = {
        "check": "no_regression",
        "is_comparison": True,
        "direction": "at_most",
        "statistic": "loss of steers",
        "threshold": 0.05,
    }
    entry, code = only(
        claim(None, name="n", **own, interval=[-0.1, 0.01]),
        claim(None, name="n", **own | {"threshold": 10.0}, interval=[0.5, 2.0]),
    )
    assert (entry["outcome"], code) == ("broken", 1)
    assert "threshold: 0.05 -> 10" in entry["reasons"]


def test_one_loss_is_shown_once_and_what_is_left_out_is_named():
    """The loss of a claim, and that of the comparison which is about it."""
    own = {
        "check": "no_regression",
        "is_comparison": True,
        "direction": "at_most",
        "statistic": "loss of steers",
        "threshold": 0.05,
    }
    about = {"claims": [{"id": claim()["id"]}]}
    old = report(claim(), claim(None, "inconclusive", name="n", **own, multiplier=None, vector=None))
    new = report(claim(BEFORE - 0.3, "fail", interval=[0.1, 0.25]), claim(None, "fail", name="n", **own, details=about))
    against = held(old, new)
    assert [(one["name"], one["outcome"]) for one in against["claims"]] == [("steers", "broken")]
    assert against["notes"] == ["n (inconclusive -> fail) is left out: it is itself a comparison with a baseline"]
    assert code_of(against) == 1
    # Where the claim that it is about was not run, or it could not be measured, nothing else shows it.
    for one in (new["claims"][1], claim(None, "error", name="n", **own, error="why")):
        (entry,) = [one for one in held(old, report(one))["claims"] if one["name"] == "n"]
        assert entry["outcome"] == "worse"


@pytest.mark.parametrize(
    ("kept", "new"), [(15, 0), (15, 25), (40, 80)], ids=["most gone", "most changed", "most of the later are new"]
)
def test_items_that_are_mostly_others_are_not_compared(kept, new):
    names = [*map(str, range(kept)), *(f"new {index}" for index in range(new))]
    after = units(np.full(len(names), 0.9), names=names)
    entry, code = only(claim(), claim(units=after))
    assert (entry["outcome"], code) == ("not_comparable", 3)
    assert "less than half" in entry["message"]


def test_a_run_of_the_dev_profile_takes_part_of_the_data():
    old, new = report(claim()), report(claim(units=units(BEFORE[:12])), profile="dev")
    assert held(old, new)["claims"][0]["outcome"] == "held"
    old["provenance"]["profile"] = "dev"
    assert held(old, new)["claims"][0]["outcome"] == "not_comparable"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": [0.1] * 40}, "the mean of its values is 0.1"),
        ({"values": [0.4] * 39}, "40 `ids` and 39 `values`"),
        ({"clusters": [1]}, "40 `ids` and 1 `clusters`"),
        ({"values": [1.7e308, -1.7e308] * 20}, "1.7e+308"),
    ],
)
@pytest.mark.parametrize("side", ["earlier", "later"])
def test_units_changed_by_hand_are_noticed(change, said, side):
    right = claim()
    wrong = right | {"units": right["units"] | change}
    entry, code = only(*((wrong, right) if side == "earlier" else (right, wrong)))
    assert (entry["outcome"], code) == ("not_comparable", 3)
    assert f"the {side} report is damaged: " in entry["message"]
    assert said in entry["message"]


def test_a_share_of_other_values_is_noticed():
    old, new = (claim(units=units(BEFORE, kind="share")) for _ in range(2))
    assert "its values are no share" in only(old, new)[0]["message"]


def test_values_on_one_side_alone_are_not_compared():
    assert only(claim(), claim(None))[0]["outcome"] == "not_comparable"
    assert only(claim(None), claim())[0]["outcome"] == "not_comparable"


@pytest.mark.parametrize("key", ["template", "thinking", "answers"])
def test_a_setting_that_was_null_is_another_one(key):
    entry, code = only(claim(), claim(asked=claim()["asked"] | {key: None if key == "answers" else "open"}))
    assert (entry["outcome"], code) == ("not_comparable", 3)


def test_another_template_of_the_same_name_is_not_compared():
    def templated(digest):
        own = claim()
        return own | {
            "asked": own["asked"] | {"template": "its own"},
            "model": own["model"] | {"template": digest * 64, "template_name": "its own"},
        }

    assert only(templated("a"), templated("a"))[0]["outcome"] == "held"
    entry, code = only(templated("a"), templated("b"))
    assert (entry["outcome"], code) == ("not_comparable", 3)


def test_nothing_in_both_is_no_success():
    assert code_of(held(report(), report())) == 3
    assert code_of(held(report(), report(claim()))) == 3
    assert code_of(held(report(claim()), report())) == 3


def test_a_comparison_by_another_scoring_is_not_compared():
    own = claim(None, check="no_regression", is_comparison=True, statistic="loss of steers")
    against = held(report(own), report(own, scoring=2))
    assert code_of(against) == 3


def test_options_of_the_run_that_differ_are_named():
    given = {"no-soundness": False, "model": "a", "context": None}
    old, new = report(claim(), options=given), report(claim(), options=given | {"no-soundness": True, "model": "b"})
    assert held(old, new)["notes"] == ["--steer-no-soundness: False -> True"]


def test_clusters_in_one_run_only_are_named():
    entry, _ = only(claim(), claim(units=units(BEFORE, clusters=[index // 2 for index in range(40)])))
    assert "items stand in clusters in one run only" in entry["reasons"]


def test_xfail_hides_no_loss():
    assert only(claim(), claim(verdict="fail", xfail="known"))[1] == 1


def test_why_a_claim_cannot_be_measured_is_said():
    entry, _ = only(claim(), claim(verdict="error", error="the vector is 8 wide, the model 16\n  Extract it again"))
    assert entry["reasons"] == ["it cannot be measured now: the vector is 8 wide, the model 16"]
    bare = {"statistic": "", "direction": "at_least", "threshold": None, "multiplier": None, "min_n": None}
    entry, _ = only(claim(direction="at_most"), claim(verdict="error", error="no room") | bare)
    assert entry["reasons"] == ["it cannot be measured now: no room"]
    entry, _ = only(claim(verdict="error", error="x" * 300), claim(verdict="fail"))
    assert entry["reasons"] == [f"it could not be measured before: {'x' * 200}..."]


def test_suites_of_one_name_are_told_apart_by_their_folders():
    def of(*files):
        return report(*(claim(id=f"{file}/x.steer.yaml::steers", suite="x") for file in files))

    assert code_of(held(of("a", "b"), of("p/a", "p/b"))) == 0  # started in another folder
    against = held(of("a", "b"), of("p/b", "p/c"))
    assert [(one["id"], one["outcome"]) for one in against["claims"]] == [
        ("p/b/x.steer.yaml::steers", "held"),
        ("p/c/x.steer.yaml::steers", "new"),
        ("a/x.steer.yaml::steers", "gone"),
    ]
    assert code_of(held(of("a"), of("b"))) == 0  # moved, and no other has its name


def reading(loss, low, high):
    return {"reading": {"loss": loss, "interval": [low, high], "chance": 6.9, "is_better": True, "texts": 40}}


def test_an_unsteered_model_that_got_worse_is_named():
    old = claim(details=reading(0.992, 0.98, 1.0))
    worse = "the unsteered model reads its data worse: 0.992 -> 1.95 nats per token"
    assert worse in only(old, claim(details=reading(1.947, 1.9, 2.0)))[0]["message"]
    for alike in (reading(1.0, 0.99, 1.01), reading(0.5, 0.4, 0.6), reading(1.947, None, 2.0), {"reading": None}, {}):
        assert only(old, claim(details=alike))[0]["reasons"] == []
    assert only(old, claim(details=reading(1.947, 1.9, 2.0), data={"hash": "other", "n": 40}))[0]["reasons"] == []
