"""Two models side by side on the built-in model and a disturbed copy: slopes against the plain way, and what can be asked of them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
from scipy import stats

from pytest_steer import load_model, read_items
from pytest_steer.core.errors import DataError
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.data import ContrastItem
from pytest_steer.files import read_suite
from pytest_steer.files.inputs import Inputs
from pytest_steer.model.loading import Models
from pytest_steer.prompting import exchange_labels, swap_options
from pytest_steer.studies.compare_models import (
    answers_of,
    behaviours_of,
    differences_of,
    facts_of,
    measure_slopes,
    prompts_that_differ,
    unpaired,
)

DATA = Path(__file__).resolve().parents[2] / "example_suites" / "builtin" / "data"
FILE = """
model: builtin:tiny
multipliers: [-1, 0, 1]
data: {neutral: neutral.txt}
matrix:
  behaviour:
    approval: {train: approval_train.json, test: approval_test.json}
    loud: {train: loud_train.json, test: loud_test.json}
    quiz: {train: approval_train.json, test: quiz_test.json}
contexts: {option_order: [swapped], filler: [2], noise: [{typos: 0.2, seed: 0}]}
vector: {extract: {method: mean_difference}, layer: 1, positions: all}
claims:
  - not_anti_steered: {share: 0.2}
  - steers: {steerability: 0.2}
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The built-in model with disturbed weights, as a folder."""
    folder = tmp_path_factory.mktemp("other")
    model, draw = load_model("builtin:tiny"), torch.Generator().manual_seed(0)
    hf = type(model.hf)(model.hf.config)
    hf.load_state_dict(model.hf.state_dict())
    with torch.no_grad():
        for weight in hf.parameters():
            weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=draw)
    hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    for name in ("approval", "loud", "quiz"):
        for part in ("train", "test"):
            entries = json.loads((DATA / f"{name}_{part}.json").read_text())
            (folder / f"{name}_{part}.json").write_text(json.dumps(entries[:12] if part == "test" else entries))
    (folder / "neutral.txt").write_text((DATA / "neutral.txt").read_text())
    (folder / "c.steer.yaml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def measured(folder, other):
    """By model the slopes of the three behaviours."""
    behaviours = behaviours_of([read_suite(folder / "c.steer.yaml")])
    with running(RunContext()) as _:
        models = Models(RunContext())
        found = [measure_slopes(models, name, behaviours) for name in ("builtin:tiny", str(other))]
    assert found[0][1] == found[1][1] == {}
    return behaviours, models, found[0][0], found[1][0]


def test_a_vector_on_a_data_set_is_one_behaviour(measured):
    behaviours, *_ = measured
    assert [one.name for one in behaviours] == ["approval", "loud", "quiz"]
    assert [*behaviours[0].contexts] == ["option_order: swapped", "filler: 2", 'noise: {"typos": 0.2}']


def test_the_slopes_are_those_of_the_plain_way(folder, measured, other):
    behaviours, models, first, second = measured
    by_name = {one.name: one for one in behaviours}
    for name, place, found in (("builtin:tiny", "builtin:tiny", first), ("other", str(other), second)):
        model = models.load(place)
        for behaviour in ("approval", "quiz"):
            vector = Inputs(model).subject(by_name[behaviour].claim).vector
            items = list(read_items(folder / f"{behaviour}_test.json"))
            variants = {"as given": items}
            if behaviour == "quiz":
                exchanged = [exchange_labels(item) for item in items]
                variants |= {
                    "options swapped": [swap_options(item) for item in items],
                    "labels exchanged": exchanged,
                    "options swapped, labels exchanged": [swap_options(item) for item in exchanged],
                }
            for setting, own in variants.items():
                values = plain.curve(model.hf, model.tokenizer, own, vector.directions, (-1.0, 0.0, 1.0), "all")
                np.testing.assert_allclose(
                    found[behaviour].of(setting).slopes,
                    plain.slopes(values, (-1, 0, 1)),
                    atol=1e-4,
                    err_msg=f"{name} {setting}",
                )


def test_letter_and_position_are_crossed_and_follow_the_shown_item(measured):
    _, _, first, _ = measured
    quiz = first["quiz"]
    given, swapped, exchanged, both = (
        quiz.of(name) for name in ("as given", "options swapped", "labels exchanged", "options swapped, labels exchanged")
    )
    assert all(letter == "AB"[place - 1] for letter, place in zip(given.letter, given.position, strict=True))
    assert all(letter == "BA"[place - 1] for letter, place in zip(exchanged.letter, exchanged.position, strict=True))
    assert list(exchanged.position) == list(given.position) != list(swapped.position) == list(both.position)
    assert list(exchanged.letter) == list(swapped.letter) != list(given.letter) == list(both.letter)
    answers = answers_of(first, first)
    assert {*answers.variance[0]["quiz"].unique} == {"letter", "position", "context"}
    assert answers.variance[0]["quiz"].inseparable == ()


def test_ranks_are_scipys(measured):
    _, _, first, second = measured
    answers = answers_of(first, second)
    for ranked in answers.items:
        one, other = (own[ranked.name].base.slopes for own in (first, second))
        assert ranked.spearman.n == len(one)
        assert ranked.spearman.estimate == pytest.approx(stats.spearmanr(one, other).statistic)
    means = [[own[name].base.slopes.mean() for name in own] for own in (first, second)]
    assert answers.behaviours.spearman.estimate == pytest.approx(stats.spearmanr(*means).statistic)
    shifted = {ranked.name: ranked for ranked in answers.contexts[1]}
    filler = [own.of("filler: 2").slopes.mean() for own in second.values()]
    assert shifted["filler: 2"].spearman.estimate == pytest.approx(stats.spearmanr(means[1], filler).statistic)
    assert "mean of all contexts" in shifted


def test_items_that_belong_together_are_ranked_once(measured):
    _, _, first, second = measured
    clusters = np.arange(len(first["approval"].ids)) // 3
    pair = [replace(own["approval"], clusters=tuple(clusters.tolist())) for own in (first, second)]
    (ranked,) = answers_of(*({"approval": own} for own in pair)).items
    means = [[own.base.slopes[clusters == one].mean() for one in range(clusters.max() + 1)] for own in pair]
    assert ranked.spearman.n == clusters.max() + 1
    assert ranked.spearman.estimate == pytest.approx(stats.spearmanr(*means).statistic)


def test_one_model_is_in_order_with_itself(measured):
    _, models, first, _ = measured
    answers = answers_of(first, first)
    assert all(ranked.spearman.estimate == pytest.approx(1) for ranked in [answers.behaviours, *answers.items])
    model = models.load("builtin:tiny")
    assert differences_of(facts_of(model), facts_of(model)) == ["weights: equal to the last bit: this is one checkpoint"]
    assert prompts_that_differ(first, first) == []


def test_what_cannot_be_paired_is_refused(measured):
    _, _, first, second = measured
    assert unpaired(first["approval"], second["approval"]) is None
    assert unpaired(first["approval"], second["loud"]) == "the two models were asked different items"
    mixed = answers_of({"a": first["approval"]}, {"a": second["loud"]})
    assert mixed.refused == {"a": "the two models were asked different items"}
    assert mixed.behaviours.spearman is None
    assert "at least 3 behaviours" in mixed.behaviours.reason


def test_slopes_in_other_units_are_refused(measured):
    _, _, first, _ = measured
    own = first["approval"]
    worded = dataclasses.replace(
        own, settings=[dataclasses.replace(own.base, by_token=frozenset({not next(iter(own.base.by_token))}))]
    )
    assert "their slopes have different units" in unpaired(own, worded)
    assert "their slopes have different units" in answers_of({"a": own}, {"a": worded}).refused["a"]


def test_slopes_of_a_behaviour_that_is_meant_to_fall_are_turned_round(folder, measured):
    (folder / "falls.steer.yaml").write_text(FILE.replace("claims:", "direction: lowers\nclaims:"))
    behaviours = [one for one in behaviours_of([read_suite(folder / "falls.steer.yaml")]) if one.name == "approval"]
    with running(RunContext()):
        found, failures = measure_slopes(measured[1], "builtin:tiny", behaviours)
    assert not failures
    np.testing.assert_allclose(found["approval"].base.slopes, -measured[2]["approval"].base.slopes, atol=1e-5)


def test_without_contrast_items_there_is_nothing_to_compare(folder):
    text = (
        FILE[FILE.index("model") : FILE.index("matrix")]
        + "vector: {extract: {method: mean_difference, data: loud_train.json}, layer: 1}\n"
    )
    (folder / "texts.steer.yaml").write_text(f"{text}claims:\n  - ppl_delta_below: 0.1\n")
    with pytest.raises(DataError, match="no claim has contrast items"):
        behaviours_of([read_suite(folder / "texts.steer.yaml")])


def test_exchanged_labels_leave_the_texts_where_they_are():
    item = ContrastItem("Which?\n(A) crow\n(B) grape", ("(B)",), ("(A)",), "1")
    once = exchange_labels(item)
    assert once.question == "Which?\n(B) crow\n(A) grape"
    assert (once.matching, once.not_matching) == (("(A)",), ("(B)",))
    assert exchange_labels(once) == item
    with pytest.raises(DataError, match="cannot swap"):
        exchange_labels(ContrastItem("Which?\n(A) crow", ("(A)",), ("(B)",), "1"))
