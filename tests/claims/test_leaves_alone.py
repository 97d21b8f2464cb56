"""``leaves_alone``: against slopes known in closed form, against a plain implementation, and what it refuses."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from pathlib import Path

import builders
import jsonschema
import numpy as np
import plain
import pytest
import torch
from scipy import stats

from pytest_steer import (
    Context,
    ContrastItem,
    OtherData,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    assert_leaves_alone,
    extract,
    load_model,
    read_items,
)
from pytest_steer.claims import evidence_of
from pytest_steer.claims.kinds.leaves_alone import LeavesAlone
from pytest_steer.core.errors import DataError
from pytest_steer.data import read_contrast_texts, safety_items
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.report import build_report, report_schema
from pytest_steer.stats import Verdict
from pytest_steer.steering import custom

GRID = [-1.0, 0.0, 1.0]

# In this model the slope of an item along e1 is c(matching label) - c(other label), and along e0 it is b(matching) - b(other). What
# is read at the label of an answer is a(label) e0.
B = {"C": 0.5, "K": 0.25}
C = {"C": 1.0, "D": 0.25, "E": 2.0, "F": 0.5, "G": 1.5, "H": 0.5, "K": 0.3, "L": 0.3, "M": 0.375, "N": 0.3125}
PAIRS = [("C", "D"), ("E", "F"), ("G", "H")] * 4
SLOPES = np.array([C[first] - C[second] for first, second in PAIRS])


@pytest.fixture(scope="module")
def linear():
    words = ("Question:", "Answer:", "(", "So", *C)
    return builders.Linear(words, {"(": 2.0, "E": 1.0, "G": 1.0}, B, C)


def item(first, second, number, right=0, word="So", **meta):
    labels = (f"({first})", f"({second})")
    question = f"{word} {number}?\n({first}) x{number}\n({second}) y{number}"
    return ContrastItem(question, (labels[right],), (labels[1 - right],), str(number), meta)


MOVED = [item(*pair, number) for number, pair in enumerate(PAIRS)]
LEFT = [item("K", "L", 100 + number) for number in range(12)]
# Slopes of +-1/16: inside of 0.1, with a mean of 0 and a spread.
MIXED = [item("M", "N", 200 + number, right=number % 2) for number in range(16)]


def claim(linear, behaviours, band=0.1, vector=None, **arguments):
    arguments = {"multipliers": GRID} | arguments
    try:
        return assert_leaves_alone(linear.model, vector or linear.vector(), behaviours, band=band, **arguments)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def tost(values, confidence=0.95):
    """The upper bound of the size of the mean: the nearest band that two one-sided t tests prove."""
    error = stats.sem(values)
    margin = stats.t.ppf(confidence, len(values) - 1) * error
    return abs(values.mean()) + margin


def outside(values, band):
    error, degrees, seen = stats.sem(values), len(values) - 1, abs(values.mean())
    return stats.t.sf((seen - band) / error, degrees) + stats.t.sf((seen + band) / error, degrees)


# --- verdicts in closed form -----------------------------------------------------------------------------------------------


def test_a_vector_of_the_other_behaviour_fails_and_one_across_it_passes(linear):
    found = claim(linear, {"moved": MOVED})
    assert found.verdict is Verdict.FAIL
    assert found.estimate == pytest.approx(SLOPES.mean())
    assert found.interval[1] == pytest.approx(tost(SLOPES), rel=1e-5)
    assert outside(SLOPES, found.interval[0]) == pytest.approx(0.05 / 2, rel=1e-4)  # slopes, and effects
    assert (found.n, found.threshold, found.statistic) == (12, 0.1, "|steerability| of moved")
    assert found.details["behaviours"][0]["values"] == pytest.approx(SLOPES)
    across = SteeringVector({0: torch.eye(8)[2]})
    left = claim(linear, {"moved": MOVED}, vector=across)
    assert left.verdict is Verdict.PASS
    assert (left.estimate, *left.interval) == (0, 0, 0)


def test_a_mean_that_hides_what_items_do_is_said(linear):
    """Half of the items move by 1.5 and half by -1.5: the mean is 0, and is proven to be within 0.6."""
    opposite = [item("E", "F", 300 + number, right=number % 2) for number in range(40)]
    found = claim(linear, {"opposite": opposite}, band=0.6)
    assert (found.verdict, found.estimate) == (Verdict.PASS, pytest.approx(0))
    words = "opposite: 40 of 40 items move by more than the band, some up and some down (mean size 1.5)"
    assert len([text for text in found.warnings if text.startswith(words)]) == 1
    assert words in found.message
    assert not any("hides" in text for text in claim(linear, {"mixed": MIXED}).warnings)


def test_both_signs_are_outside(linear):
    turned = [item(*pair, number, right=1) for number, pair in enumerate(PAIRS)]
    up, down = claim(linear, {"moved": MOVED}), claim(linear, {"moved": turned})
    assert (down.verdict, down.estimate, down.interval) == (up.verdict, up.estimate, up.interval)
    assert down.details["behaviours"][0]["estimate"] == pytest.approx(-SLOPES.mean())
    low, high = down.details["behaviours"][0]["interval"]
    assert (low, high) == pytest.approx(
        (-up.details["behaviours"][0]["interval"][1], -up.details["behaviours"][0]["interval"][0])
    )


def test_all_have_to_be_inside_and_one_outside_is_enough(linear):
    found = claim(linear, {"left": LEFT, "moved": MOVED, "mixed": MIXED})
    assert (found.verdict, found.details["furthest"], found.n) == (Verdict.FAIL, "moved", 12)
    assert found.statistic == "largest |steerability| of 3 behaviours"
    assert [row["verdict"] for row in found.details["behaviours"]] == ["pass", "fail", "pass"]
    assert found.data.n == 12
    assert outside(SLOPES, found.interval[0]) == pytest.approx(0.05 / 6, rel=1e-4)
    assert found.details["behaviours"][1]["p_fail"] == pytest.approx(6 * outside(SLOPES, 0.1), rel=1e-4)
    inside = claim(linear, {"left": LEFT, "mixed": MIXED})
    mixed = np.array([C["M"] - C["N"], C["N"] - C["M"]] * 8)
    assert (inside.verdict, inside.details["furthest"]) == (Verdict.PASS, "left")  # both means are 0
    assert inside.interval == pytest.approx((0, tost(mixed)), rel=1e-5)
    assert inside.p_pass == pytest.approx(stats.ttest_1samp(mixed, 0.1, alternative="less").pvalue, rel=1e-4)


def test_few_items_are_inconclusive_and_say_how_many_would_decide(linear):
    values = np.array([C["M"] - C["N"], C["N"] - C["M"]] * 5)
    found = claim(linear, {"mixed": MIXED[:10]}, band=0.035)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval[1] == pytest.approx(tost(values), rel=1e-5)
    assert f"about {found.items_needed} items would decide" in found.message
    rng = np.random.default_rng(0)
    samples = rng.normal(0, values.std(ddof=1), (4000, found.items_needed))
    assert np.mean([tost(sample) <= 0.035 for sample in samples[:1500]]) == pytest.approx(0.8, abs=0.035)
    floored = claim(linear, {"mixed": MIXED, "left": LEFT[:7]})
    assert (floored.verdict, floored.min_n, floored.details["furthest"]) == (Verdict.INCONCLUSIVE, 8, "mixed")
    assert [row["verdict"] for row in floored.details["behaviours"]] == ["pass", "inconclusive"]
    assert claim(linear, {"left": LEFT[:7], "mixed": MIXED}, min_n=7).verdict is Verdict.PASS


def test_slopes_inside_do_not_hide_an_effect_at_the_deployed_multiplier(linear):
    """A dose that is 64 times smaller up to a strength of 1.5 than beyond."""
    vector = linear.vector().directions[0]

    def late(hidden, strength, _):
        return hidden + torch.where(strength.abs() > 1.5, 1.0, 1 / 64) * strength * vector

    change = custom(late, layers=[0], strength="linear", name="late")
    found = claim(linear, {"moved": MOVED}, vector=change, multiplier=-2.0)
    assert found.details["behaviours"][0]["estimate"] == pytest.approx(SLOPES.mean() / 64)
    assert found.verdict is Verdict.FAIL
    assert (found.statistic, found.estimate) == ("|effect at -2, per unit| of moved", pytest.approx(SLOPES.mean()))
    assert outside(SLOPES, found.interval[0]) == pytest.approx(0.05 / 2, rel=1e-4)
    assert found.details["behaviours"][0]["effect"] == pytest.approx(-2 * SLOPES.mean())
    assert found.details["behaviours"][0]["verdict"] == "fail"
    assert (
        "the slopes alone would pass, and at the deployed multiplier -2 the mean effect on moved is -2.17" in found.message
    )
    open_slopes = claim(linear, {"moved": MOVED}, band=0.0175, vector=change, multiplier=2.0)
    assert (open_slopes.verdict, open_slopes.estimate) == (Verdict.FAIL, pytest.approx(SLOPES.mean()))
    assert "the slopes alone would be inconclusive" in open_slopes.message
    # An effect that seems to be outside and is not proven to be: no pass, and no fail.
    values = np.array([C["M"] - C["N"], C["N"] - C["M"]] * 5 + [C["M"] - C["N"]])
    few = claim(linear, {"mixed": [*MIXED[:10], item("M", "N", 300)]}, vector=change, band=0.004, multiplier=2.0)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.estimate == pytest.approx(values.mean())
    assert few.details["behaviours"][0]["verdict"] == "inconclusive"
    assert few.items_needed is not None
    assert "the slopes alone would pass" in few.message
    assert f"about {few.items_needed} items would decide" in few.message


def test_an_intervention_without_a_slope_is_judged_by_its_effect(linear):
    vector = linear.vector().directions[0]
    fixed = custom(lambda hidden, _strength, _layer: hidden + vector, layers=[0], strength="ignored", name="fixed")
    found = claim(linear, {"moved": MOVED}, vector=fixed)
    assert (found.verdict, found.statistic) == (Verdict.FAIL, "|mean effect| of moved")
    assert found.estimate == pytest.approx(SLOPES.mean())
    assert outside(SLOPES, found.interval[0]) == pytest.approx(0.05, rel=1e-4)  # nothing is tested beside the effects
    assert found.details["by"] == "effect"
    assert found.multipliers == [0.0, 1.0]
    assert claim(linear, {"left": LEFT}, vector=fixed).verdict is Verdict.PASS


@pytest.mark.nightly
def test_a_false_pass_at_the_edge_of_the_band_is_as_rare_as_stated(linear):
    """Behaviours of 16 items that are drawn anew, with a mean slope on the edge of the band: at most 5 % pass."""
    rng = np.random.default_rng(0)
    pairs, slopes = [("E", "F"), ("C", "D")], (1.5, 0.75)
    verdicts = []
    for number in range(150):
        drawn = rng.integers(2, size=16)
        items = [item(*pairs[kind], 1000 * number + index) for index, kind in enumerate(drawn)]
        found = claim(linear, {"drawn": items}, band=1.125)
        assert found.details["behaviours"][0]["values"] == pytest.approx([slopes[kind] for kind in drawn])
        verdicts.append(found.verdict)
    passes, fails = (sum(verdict is one for verdict in verdicts) for one in (Verdict.PASS, Verdict.FAIL))
    most = stats.binom.isf(0.001, 150, 0.05)
    assert 0 < passes <= most
    assert 0 < fails <= most


def test_items_that_belong_together_count_once(linear):
    paired = [item(*PAIRS[number // 2], number, about=str(number // 2)) for number in range(24)]
    found = claim(linear, {"moved": paired}, cluster="about")
    assert (found.n, found.unit) == (12, "clusters")
    assert found.interval[1] == pytest.approx(tost(SLOPES), rel=1e-5)
    alone = claim(linear, {"moved": paired})
    assert (alone.n, alone.unit) == (24, "items")
    assert alone.interval[1] < found.interval[1]
    with pytest.raises(DataError, match="left: items: none of its 12 items has the key 'about'"):
        claim(linear, {"moved": paired, "left": LEFT}, cluster="about")


# --- against plain loops -----------------------------------------------------------------------------------------------------


def test_slopes_effects_cosines_and_entanglement_are_those_of_a_plain_implementation():
    model = builders.random_model("llama")
    vector = builders.random_vector(1)
    sets = {
        name: [
            ContrastItem(f"{word} {n}?\n(A) Slow {n}\n(B) Quick {n}", (f"({'AB'[n % 2]})",), (f"({'BA'[n % 2]})",), str(n))
            for n in range(10)
        ]
        for name, word in (("first", "Which"), ("second", "What"))
    }
    found = claim(type("M", (), {"model": model}), sets, band=10.0, vector=vector, multiplier=2.0)
    effects, changes = [], []
    for row, (name, items) in zip(found.details["behaviours"], sets.items(), strict=True):
        values = plain.curve(model.hf, model.tokenizer, items, vector.directions, [*GRID, 2.0], "after_prompt")
        slopes = np.array(plain.slopes(values[:, :3], GRID))
        assert row["name"] == name
        assert row["values"] == pytest.approx(slopes, abs=1e-4)
        assert row["estimate"] == pytest.approx(slopes.mean(), abs=1e-4)
        margin = stats.t.ppf(0.95, 9) * stats.sem(slopes)
        assert row["interval"] == pytest.approx([slopes.mean() - margin, slopes.mean() + margin], abs=1e-4)
        effects.append((values[:, 3] - values[:, 1]).mean())
        assert row["effect"] == pytest.approx(effects[-1], abs=1e-4)
        shares = [(values[:, at] > 0).mean() for at in (1, 3)]
        assert [row["chosen"]["unsteered"], row["chosen"]["steered"]] == pytest.approx(shares)
        changes.append(shares[1] - shares[0])
        own = plain_direction(model, items, 1)
        cosine = float(own @ vector.directions[1].double() / own.norm() / vector.directions[1].double().norm())
        assert row["cosine"]["by_layer"]["1"] == pytest.approx(cosine, abs=1e-4)
    assert found.estimate == pytest.approx(max(abs(row["estimate"]) for row in found.details["behaviours"]))
    assert found.details["entanglement"]["effect"] == pytest.approx(math.sqrt(np.mean(np.square(effects))), abs=1e-4)
    assert found.details["entanglement"]["chosen"] == pytest.approx(math.sqrt(np.mean(np.square(changes))), abs=1e-4)


def plain_direction(model, items, layer):
    """The mean difference at the letter: one text at a time, one forward each, the whole conversation rendered by the template."""
    sides = []
    for side in ("matching", "not_matching"):
        read = []
        for one in items:
            prompt = model.tokenizer.apply_chat_template(
                [{"role": "user", "content": one.question}], add_generation_prompt=True, tokenize=False
            )
            ids = model.tokenizer(prompt + getattr(one, side)[0][:2], add_special_tokens=False).input_ids
            # Not by output_hidden_states, for which transformers leaves hooks on a model that other tests share.
            read.append(plain.outputs(model.hf, ids)[layer][-1].double())
        sides.append(torch.stack(read).mean(0))
    return sides[0] - sides[1]


# --- directions --------------------------------------------------------------------------------------------------------------


def test_the_cosine_is_with_the_own_vector_or_with_the_direction_of_the_items(linear):
    both = SteeringVector({0: torch.eye(8)[0] + torch.eye(8)[1]}, {"method": "pca"})
    found = claim(linear, {"given": OtherData(MOVED, linear.vector()), "items": MIXED}, vector=both, band=9.0)
    given, made = found.details["behaviours"]
    assert given["cosine"] == {
        "by_layer": {"0": pytest.approx(math.sqrt(0.5))},
        "method": "a saved vector",
        "from_items": False,
    }
    assert made["cosine"] is None  # the labels M and N are read alike
    read = claim(linear, {"items": MOVED}, vector=both, band=9.0)  # a(E) - a(F) and a(G) - a(H) are 1 along e0
    assert read.details["behaviours"][0]["cosine"] == {
        "by_layer": {"0": pytest.approx(math.sqrt(0.5))}, "method": "caa", "from_items": True,
    }  # fmt: skip
    assert "cosine: of the vector with the behaviour's own direction (caa of its items)" in read.message
    assert "+0.71" in read.message


def test_where_there_is_nothing_to_compare_there_is_no_cosine(linear):
    other = SteeringVector({1: torch.eye(8)[1]})
    found = claim(linear, {"other": OtherData(MOVED, other)})
    assert found.details["behaviours"][0]["cosine"] is None
    assert "other: its vector is at the layers [1], and the claim's at [0], so there is no cosine" in found.warnings
    narrow = claim(linear, {"other": OtherData(MOVED, SteeringVector({0: torch.ones(5)}))})
    assert "other: its vector has the width 5, and the claim's 8, so there is no cosine" in narrow.warnings
    change = custom(lambda hidden, strength, _: hidden + strength, layers=[0], strength="linear", name="shift")
    assert claim(linear, {"moved": MOVED}, vector=change).details["behaviours"][0]["cosine"] is None


# --- the shipped items -------------------------------------------------------------------------------------------------------


def test_without_behaviours_the_safety_items_are_measured_by_their_open_answers():
    made = LeavesAlone(vector=builders.random_vector(1), band=0.1)
    assert {name: len(items) for name, items in made.others.items()} == {"safety_refuses": 60, "safety_answers": 60}
    one = made.others["safety_refuses"][0]
    assert not one.is_lettered
    assert "(A)" not in one.question
    lettered = safety_items("lettered")["safety_refuses"][0]
    assert lettered.is_lettered
    assert one.matching[0] in lettered.question
    both = LeavesAlone(vector=builders.random_vector(1), band=0.1, behaviours={"other": LEFT}, safety="lettered")
    assert list(both.others) == ["other", "safety_refuses", "safety_answers"]
    assert both.others["safety_answers"][0].is_lettered
    with pytest.raises(SteerError, match="'safety_refuses' is the name of the shipped safety items"):
        LeavesAlone(vector=made.vector, band=0.1, behaviours={"safety_refuses": LEFT}, safety="open")
    with pytest.raises(DataError, match="safety items are read as open or lettered, not 'closed'"):
        safety_items("closed")


# --- words and reports ---------------------------------------------------------------------------------------------------------


def test_the_message_and_the_report_hold_every_behaviour(linear):
    found = claim(linear, {"left": LEFT, "moved": MOVED}, items=MIXED)
    for words in (
        "leaves_alone: FAIL  largest |steerability| of 2 behaviours 1.08",
        "promised at most 0.1",
        "(its own)  16  0  ",
        "left  12  0  [0, 0]  0  100% -> 100%",
        "moved  12  1.08  ",
        "entanglement (root mean square over 2 behaviours): effects 0.766",
        "furthest out, moved:",
        "[1] slope 1.5",
    ):
        assert words in re.sub(" {2,}", "  ", found.message), words
    passed = claim(linear, {"left": LEFT})
    assert "left" in passed.message
    report = build_report([found.to_dict(), passed.to_dict()], seed=0, profile="ci", started=0.0)
    jsonschema.validate(report, report_schema())
    assert report["claims"][0]["details"]["own"]["n"] == 16


def test_behaviours_in_other_units_are_announced(linear):
    worded = [ContrastItem(f"So {number}?", ("C",), ("H H",)) for number in range(8)]
    assert any("some behaviours are scored in logits" in text for text in claim(linear, {"a": worded, "b": LEFT}).warnings)
    assert not any("some behaviours" in text for text in claim(linear, {"a": MIXED, "b": LEFT}).warnings)


def test_a_warning_about_one_behaviours_items_names_it(linear):
    twice = claim(linear, {"left": [*LEFT, LEFT[0]], "moved": MOVED})
    assert any(text.startswith("left: 1 of these 13 items repeat another one") for text in twice.warnings)
    shared = claim(linear, {"left": [*LEFT, *MOVED[:2]], "moved": MOVED})
    assert "moved: 2 of its 12 items are in left too" in shared.warnings


# --- what is refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviours", "more", "error", "message"),
    [
        ({}, {}, SteerError, "behaviours are named: write"),
        (MOVED, {}, SteerError, "behaviours are named: write"),
        ({1: MOVED}, {}, SteerError, "behaviours are named: write"),
        ({"a": "file.json"}, {}, SteerError, "behaviours.a: .*read_items"),
        ({"a": MOVED[:1]}, {}, DataError, r"a: items: has 1 item\(s\); an interval needs at least two"),
        ({"a": []}, {}, DataError, "a: items: has 0 item"),
        ({"a": MOVED}, {"items": MOVED}, DataError, "a: has the items of data.test and no others, so it is the claim's own"),
        ({"a": MOVED[:9]}, {"items": MOVED}, DataError, "a: has the items of data.test and no others"),
        ({"a": MOVED, "b": MOVED[::-1]}, {}, DataError, "b: has the same items as a: name each behaviour once"),
        ({"a": LEFT}, {"band": 0.0}, SteerError, "band must be"),
        ({"a": LEFT}, {"band": -0.1}, SteerError, "band must be"),
        ({"a": LEFT}, {"band": math.nan}, SteerError, "band must be"),
        ({"a": LEFT}, {"safety": "closed"}, SteerError, "safety must be open or lettered"),
        ({"a": LEFT}, {"multipliers": [1.0]}, SteerError, "cannot give a slope"),
        ({"a": LEFT}, {"context": Context(few_shot=20, examples=LEFT)}, DataError, "a: .*few_shot=20 needs"),
    ],
)
def test_what_cannot_be_measured(linear, behaviours, more, error, message):
    with pytest.raises(error, match=message):
        claim(linear, behaviours, **more)


def test_own_steering_that_does_nothing_is_no_pass(linear):
    with pytest.raises(SteerError):
        claim(linear, {"moved": MOVED}, apply=lambda _: contextlib.nullcontext())


# --- the claim file ------------------------------------------------------------------------------------------------------------

DATA = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"
SUITE = """
vector: {extract: {method: mean_difference}, layer: 1, positions: all}
matrix:
  behaviour:
    cheer: {train: DATA/cheer_train.json, test: DATA/cheer_test.json}
    loud: {train: DATA/loud_train.json, test: DATA/loud_test.json}
claims:
  - leaves_alone:
      band: 0.1
      behaviours:
        cheer: DATA/cheer_test.json
        loud: {test: DATA/loud_test.json, train: DATA/loud_train.json}
        copied: copied.json
  - leaves_alone: {name: kept, band: 0.1, behaviours: {quiz: {test: DATA/quiz_test.json}}}
  - leaves_alone: {name: shipped, band: 0.1}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    shutil.copy(DATA / "cheer_test.json", folder / "copied.json")
    (folder / "c.steer.yaml").write_text(SUITE.replace("DATA", str(DATA)))
    return read_suite(folder / "c.steer.yaml")


@pytest.fixture(scope="module")
def builder():
    return Builder(load_model("builtin:tiny"))


def test_under_a_matrix_a_behaviour_is_no_other_of_itself(suite, builder):
    specs = {spec.name: spec for spec in suite.entries}
    made = builder.build(suite, specs["leaves_alone[loud]"])
    assert list(made.behaviours) == ["cheer", "copied"]
    assert made.items == read_items(DATA / "loud_test.json")
    other = builder.build(suite, specs["leaves_alone[cheer]"]).behaviours["loud"]
    assert isinstance(other, OtherData)
    assert other.vector.directions[1].equal(made.subject.vector.directions[1])  # made by the claim's method
    assert list(builder.build(suite, specs["shipped[loud]"]).others) == ["safety_refuses", "safety_answers"]


def test_a_behaviour_that_is_the_claims_own_under_another_name_is_named_with_its_line_and_the_others_run(suite, builder):
    specs = {spec.name: spec for spec in suite.entries}
    spec = specs["leaves_alone[cheer]"]
    with pytest.raises(DataError) as refused:
        evidence_of(builder.build(suite, spec), builder.model)
    assert re.search(
        r"c\.steer\.yaml:13: claims\[0\]\.leaves_alone\.behaviours\.copied: copied: has the items of data.test",
        spec.located(refused.value, suite.path),
    )
    found = evidence_of(builder.build(suite, specs["kept[cheer]"]), builder.model)
    assert found.details["own"]["n"] == 80
    assert found.verdict is not Verdict.ERROR


def test_both_faces_say_the_same(suite, builder):
    spec = next(spec for spec in suite.entries if spec.name == "kept[cheer]")
    in_file = evidence_of(builder.build(suite, spec), builder.model)
    vector = extract.mean_difference(builder.model, *read_contrast_texts(DATA / "cheer_train.json"), layer=1)
    data = {"behaviours": {"quiz": read_items(DATA / "quiz_test.json")}, "items": read_items(DATA / "cheer_test.json")}
    try:
        found = assert_leaves_alone(builder.model, vector, **data, band=0.1, positions="all")
    except (SteeringFailure, SteeringInconclusive) as decided:
        found = decided.evidence
    assert (found.verdict, found.estimate, found.interval) == (in_file.verdict, in_file.estimate, in_file.interval)
    assert found.details["behaviours"][0]["cosine"] == in_file.details["behaviours"][0]["cosine"]
