"""``stays_fluent``: against closed forms of a model that writes one token for ever, and one that answers in a word."""

from __future__ import annotations

import math

import builders
import numpy as np
import plain
import pytest
from evidence import evidence_of, said
from replying import BARE, MOVED, SILENT, STAYS, looping, moving
from scipy import stats

from pytest_steer import Dialogue, SteerError, assert_stays_fluent, wrap_model
from pytest_steer.core.errors import MeasurementError
from pytest_steer.model.replies import Drawing, replies

TOKENS = 16
TEN = MOVED[:10]


@pytest.fixture(scope="module")
def loop():
    return looping()


@pytest.fixture(scope="module")
def linear():
    return moving()


def found(linear, prompts, measure, limit, **more):
    settings = {"max_new_tokens": TOKENS, "context": BARE, "include_first": True} | more
    return evidence_of(assert_stays_fluent, linear.model, linear.vector(), prompts, measure=measure, limit=limit, **settings)


@pytest.mark.parametrize(
    ("measure", "value", "good", "bad"),
    [
        ("repetition", 1 - 1 / (TOKENS - 3), 0.95, 0.9),
        ("distinct_2", 1 / TOKENS, 0.05, 0.1),
        ("entropy", 0.0, None, 0.1),  # an entropy of at least 0 is no promise
    ],
)
def test_one_token_for_ever(loop, measure, value, good, bad):
    for limit, verdict in ((good, "pass"), (bad, "fail")):
        if limit is not None:
            evidence = found(loop, TEN, measure, limit, multiplier=3.0)
            assert evidence.verdict.value == verdict
            assert (evidence.estimate, *evidence.interval) == pytest.approx((value, value, value))
            assert evidence.direction.value == ("at_most" if measure == "repetition" else "at_least")
            assert said(evidence, "all 10 values are equal")


def test_the_perplexity_is_that_of_the_unsteered_model(loop):
    # The reply is "on" for ever. Unsteered, "on" has logit 0 after "moved" ("up" 2, the end -1), and after "on" all words are alike.
    words = len(loop.words)
    first = math.log(words - 2 + math.exp(2) + math.exp(-1))
    nll = (first + (TOKENS - 1) * math.log(words)) / TOKENS
    evidence = found(loop, TEN, "base_perplexity", 2 * math.exp(nll), multiplier=3.0)
    assert (evidence.estimate, *evidence.interval) == pytest.approx((math.exp(nll),) * 3, rel=1e-5)
    assert evidence.verdict.value == "pass"
    assert np.mean(evidence.units.values) == pytest.approx(evidence.estimate)
    # Unsteered it writes "up" and the end.
    end = math.log(words - 2 + math.exp(-2) + math.exp(1)) - 1
    assert evidence.details["base"] == pytest.approx(math.exp((first - 2 + end) / 2), rel=1e-5)
    assert found(loop, TEN, "base_perplexity", 0.9 * math.exp(nll), multiplier=3.0).verdict.value == "fail"


def test_the_perplexity_is_that_of_a_plain_forward():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    prompts = ["Is it so?", "Or not at all?", "When?"]
    settings = {"measure": "base_perplexity", "limit": 2.0, "max_new_tokens": 6, "multiplier": 2.0}
    evidence = evidence_of(assert_stays_fluent, model, vector, prompts, **settings)
    written = replies(model, prompts, vector, multipliers=[2.0], drawing=Drawing(max_new_tokens=6))
    for (((reply,),),), found in zip(written.of, evidence.details["values"]["steered"], strict=True):
        rows = plain.logits(model.hf, [*reply.prompt_ids, *reply.tokens]).log_softmax(-1)
        first = len(reply.prompt_ids)
        nll = -np.mean([float(rows[first + at - 1, token]) for at, token in enumerate(reply.tokens)])
        assert found == pytest.approx(math.exp(nll), rel=1e-4)


def test_bounds_are_those_of_t_over_prompts_with_samples_as_clusters(loop):
    settings = {"multiplier": 3.0, "samples": 3, "temperature": 0.7}
    evidence = found(loop, TEN, "repetition", 0.5, **settings)
    values = np.array(evidence.details["values"]["steered"]).reshape(10, 3)
    assert values.std() > 0
    means = values.mean(1)
    assert evidence.interval == pytest.approx(stats.t.interval(0.9, 9, means.mean(), stats.sem(means)))
    assert (evidence.n, evidence.unit) == (10, "prompts")


def test_an_empty_reply_counts_as_the_worst_for_a_pass_and_is_left_out_for_a_fail(linear):
    prompts = [*STAYS[:16], *SILENT[:4]]
    evidence = found(linear, prompts, "repetition", 0.3)
    filled = stats.t.interval(0.9, 19, 0.2, stats.sem([0] * 16 + [1] * 4))
    assert evidence.interval == pytest.approx((0, filled[1]))
    assert evidence.estimate == pytest.approx(0.2)
    assert evidence.verdict.value == "inconclusive"
    assert "steered replies:   4 empty" in evidence.message


def test_no_other_turns_reply_stands_for_one_that_was_never_written():
    model = wrap_model(builders.random_hf("llama", max_position_embeddings=128), builders.tokenizer(), "short")
    asked = [Dialogue(("Hi there", "Why?")), Dialogue(("Hello", "How so?"))]
    settings = {"measure": "base_perplexity", "limit": 900.0, "max_new_tokens": 50}
    with pytest.raises(MeasurementError, match="2 of 2 conversations end before their last turn"):
        evidence_of(assert_stays_fluent, model, builders.random_vector(1), asked, **settings)


def test_replies_that_cannot_be_measured_are_an_error(linear):
    with pytest.raises(MeasurementError, match="10 of 10 steered replies have fewer than 4 tokens"):
        found(linear, STAYS[:10], "entropy", 1.0)


def test_the_perplexity_of_the_end_alone_is_none_of_a_reply(linear):
    with pytest.raises(MeasurementError, match="2 of 22 steered replies have no text"):
        found(linear, [*STAYS[:20], *SILENT[:2]], "base_perplexity", 900.0)
    evidence = found(linear, [*STAYS[:20], *SILENT[:1]], "base_perplexity", 900.0)
    assert evidence.n == 20
    assert said(evidence, "1 of 21 replies have no text")


def test_most_replies_have_to_be_measured(linear):
    with pytest.raises(MeasurementError, match="10 of 10 steered replies have fewer than 4 tokens"):
        found(linear, STAYS[:10], "entropy", 1.5)


@pytest.mark.parametrize(("measure", "limit"), [("repetition", 0.99), ("distinct_2", 0.01), ("base_perplexity", 1e9)])
def test_a_limit_that_can_hardly_fail_is_told(loop, measure, limit):
    evidence = found(loop, TEN, measure, limit, multiplier=3.0)
    assert evidence.verdict.value == "pass"
    assert said(evidence, "this promise can hardly fail: limit")
    assert not said(
        found(loop, TEN, measure, {"repetition": 0.2, "distinct_2": 0.5, "base_perplexity": 9.0}[measure], multiplier=3.0),
        "hardly fail",
    )


def test_replies_of_too_few_tokens_are_left_out_and_told(loop):
    evidence = found(loop, TEN, "distinct_2", 0.2, multiplier=0.1, temperature=0.5, seed=3)
    known = [value for value in evidence.details["values"]["steered"] if value is not None]
    assert 2 <= len(known) < 10
    assert said(evidence, f"{10 - len(known)} of 10 replies have fewer than 2 tokens")
    assert (evidence.n, evidence.estimate) == (len(known), pytest.approx(np.mean(known)))


@pytest.mark.parametrize(
    ("measure", "limit", "message"),
    [
        ("repetition", 1.5, "between 0 and 1"),
        ("base_perplexity", 0.9, "between 1"),
        ("fluency", 1, "measure"),
        ("distinct_2", -1, "limit"),
    ],
)
def test_limits_that_a_measure_cannot_have(linear, measure, limit, message):
    with pytest.raises(SteerError, match=message):
        found(linear, STAYS[:10], measure, limit)
