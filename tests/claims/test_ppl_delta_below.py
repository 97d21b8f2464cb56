"""``ppl_delta_below``: bounds and p-values of a rise whose logarithm is known in closed form."""

from __future__ import annotations

import math

import builders
import numpy as np
import pytest
from scipy import stats

from pytest_steer import Completion, SteeringFailure, SteeringInconclusive, assert_ppl_delta_below, perplexity, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError
from pytest_steer.core.record import LeftOut
from pytest_steer.data import leave_out
from pytest_steer.data.texts import Texts
from pytest_steer.report.texts import with_texts
from pytest_steer.stats import Verdict, mean_bootstrap, mean_t, mean_transformed_t

C = {"up": 1.0, "down": -0.5, "still": 0.0, "much": 1.0}
TEXTS = [f"{'still ' * n}down much still" for n in range(10)]
M = 2.0


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(tuple(C), {}, {}, C)


def rises(words):
    """By how much the mean NLL of each text rises: tokens from the third on have log mean_j exp(m c_j) - m c_t, and the second, which
    an unsteered position predicts, has none."""
    partition = math.log(np.mean([math.exp(M * C.get(word, 0.0)) for word in words]))
    tokens = [text.split() for text in TEXTS]
    return np.array([sum(partition - M * C[t] for t in own[2:]) / (len(own) - 1) for own in tokens])


def evidence(linear, limit):
    try:
        return assert_ppl_delta_below(linear.model, linear.vector(), TEXTS, limit=limit, multiplier=M)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def test_the_limit_is_a_rise_and_the_bounds_are_those_of_its_logarithm(linear):
    known = rises(linear.words)
    low, high = np.expm1(stats.t.interval(0.9, len(known) - 1, known.mean(), stats.sem(known)))
    assert low > 0.2  # else a rise and its logarithm would hardly differ
    for limit, verdict in (
        (1.01 * high, Verdict.PASS),
        (0.99 * high, Verdict.INCONCLUSIVE),
        (1.01 * low, Verdict.INCONCLUSIVE),
        (0.99 * low, Verdict.FAIL),
    ):
        found = evidence(linear, limit)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((math.expm1(known.mean()), low, high), abs=1e-5)
        at_limit = [stats.ttest_1samp(known, math.log1p(limit), alternative=side).pvalue for side in ("less", "greater")]
        assert (found.p_pass, found.p_fail) == pytest.approx(tuple(at_limit), rel=1e-3)


def test_the_perplexities_shown_are_those_that_the_statistic_is_the_ratio_of(linear):
    """A short text whose perplexity rises beside a long one whose perplexity falls: per token it falls, per text it rises."""
    texts = ["up down down", "up " * 40 + "much"]
    with pytest.raises(SteeringFailure) as failed:
        assert_ppl_delta_below(linear.model, linear.vector(), texts, limit=1e-9, multiplier=M)
    found = failed.value.evidence
    base, steered = found.details["perplexity_base"], found.details["perplexity_steered"]
    assert found.estimate == pytest.approx(steered / base - 1)
    assert base == pytest.approx(math.exp(np.mean([text["nll_base"] for text in found.details["texts"]])))
    tokens = found.details["perplexity_over_tokens"]
    assert found.estimate > 0 > tokens["steered"] / tokens["base"] - 1
    assert f"perplexity (geometric mean of the texts): {base:.2f} unsteered, {steered:.2f} steered" in found.message


# --- arithmetic ----------------------------------------------------------------------------------------------------------


def perplexities(linear):
    """Of each text, unsteered and steered, in closed form: unsteered every word is as likely as any other."""
    base = np.full(len(TEXTS), float(len(linear.words)))
    return base, base * np.exp(rises(linear.words))


def arithmetic(linear, limit, **more):
    try:
        return assert_ppl_delta_below(
            linear.model, linear.vector(), TEXTS, limit=limit, multiplier=M, aggregate="arithmetic", **more
        )
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def test_the_arithmetic_limit_is_that_of_the_ratio_of_the_mean_perplexities(linear):
    base, steered = perplexities(linear)
    ratio = steered.mean() / base.mean()
    found = arithmetic(linear, 0.5)
    assert found.estimate == pytest.approx(ratio - 1, rel=1e-4)
    assert found.estimate > evidence(linear, 0.5).estimate + 1e-3  # by Jensen, and visibly
    assert found.details["perplexity_base"] == pytest.approx(base.mean(), rel=1e-4)
    assert found.details["perplexity_steered"] == pytest.approx(steered.mean(), rel=1e-4)
    # Equal unsteered perplexities, so that the ratio of means is a mean of ratios with Student's bounds.
    low, high = stats.t.interval(0.9, len(base) - 1, ratio - 1, stats.sem(steered / base))
    assert found.interval == pytest.approx((low, high), rel=1e-3)
    for limit, verdict in ((1.01 * high, Verdict.PASS), (0.99 * high, Verdict.INCONCLUSIVE), (0.99 * low, Verdict.FAIL)):
        decided = arithmetic(linear, limit)
        assert decided.verdict is verdict
        keeps = steered <= (1 + limit) * base
        assert decided.details["on_promised_side"]["items"] == keeps.sum()
        if verdict is Verdict.INCONCLUSIVE:
            assert decided.items_needed > len(TEXTS)
            assert f"about {decided.items_needed} texts would decide" in decided.message
    assert (
        f"perplexity (arithmetic mean of the texts): {base.mean():.2f} unsteered, {steered.mean():.2f} steered"
        in arithmetic(linear, 0.1).message
    )
    for interval in ("bootstrap", "transformed_t"):
        other = arithmetic(linear, 0.5, interval=interval)
        assert other.interval_method == f"fieller, {interval.replace('_', ' ')}"
        assert other.interval == pytest.approx((low, high), rel=0.2)
        assert other.interval != found.interval


def test_a_rise_beyond_all_numbers_says_that_the_model_breaks_down(linear):
    with pytest.raises(
        MeasurementError, match=r"the model breaks down: the texts lose .* nats .*Deploy a smaller multiplier"
    ):
        assert_ppl_delta_below(linear.model, linear.vector(), TEXTS, limit=0.1, multiplier=1e4)


def test_an_empty_text_is_named(linear):
    for text in ("", "\u200b"):
        with pytest.raises(DataError, match="texts: text 1 is empty"):
            assert_ppl_delta_below(linear.model, linear.vector(), ["up down", text, *TEXTS], limit=0.1)


def test_a_perplexity_beyond_all_numbers_has_no_arithmetic_mean(linear):
    with pytest.raises(MeasurementError, match=r"text 0: its perplexity, exp\(.*\), is beyond the range of numbers"):
        assert_ppl_delta_below(
            linear.model, linear.vector(), ["much " + "down " * 9, *TEXTS], limit=1, multiplier=1e4, aggregate="arithmetic"
        )


# --- prompts, rules, windows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"matching": "sorry"}, "leave_out leaves out none of the 10 texts, matching 'sorry'"),
        (
            {"ids": list("123456")},
            "leave_out leaves out 6 of the 10 texts, named by ids, and the claim is about the other 4 alone",
        ),
        ({"ids": list("12345")}, None),
    ],
)
def test_a_rule_that_leaves_out_nothing_or_most_is_a_warning(linear, rule, words):
    found = assert_ppl_delta_below(linear.model, linear.vector(), leave_out(TEXTS, rule), limit=1e9, multiplier=M, min_n=2)
    said = [warning for warning in found.warnings if warning.startswith("leave_out")]
    assert [warning.split(":")[0] for warning in said] == ([words] if words else [])


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ("abcabc.", "7 texts are counted as 4 clusters: some are completions of one prompt"),
        ("aaaaaa.", "7 texts are counted as 2 clusters: some are completions of one prompt"),
        ("aaaaaa", "these 6 completions answer one prompt, and n counts the completions"),
        ("abcdef.", None),
    ],
)
def test_completions_that_share_a_prompt_are_a_warning(prompts, words):
    model = builders.random_model("llama")
    texts = replies(prompts)
    with pytest.raises(SteeringFailure) as failed:
        assert_ppl_delta_below(model, builders.random_vector(1), texts, limit=1e-9, positions="last", min_n=2)
    found = failed.value.evidence
    said = [warning for warning in found.warnings if "of one prompt" in warning or "answer one prompt" in warning]
    assert [warning[: len(words or "")] for warning in said] == ([words] if words else [])


def replies(prompts):
    """One completion of the prompt of each letter. White space makes no other prompt; a dot is a plain text, which has none."""
    return [
        "Plain." if own == "." else Completion(f"{own}?{' ' * n}", f"Reply {n} {'to it ' * (n % 3)}.")
        for n, own in enumerate(prompts)
    ]


@pytest.mark.parametrize("interval", ["t", "transformed_t", "bootstrap"])
@pytest.mark.parametrize("aggregate", ["geometric", "arithmetic"])
def test_completions_of_one_prompt_are_one_cluster(aggregate, interval):
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    texts = replies("abcdefghabca.")
    settings = {"aggregate": aggregate, "interval": interval, "positions": "last", "multiplier": 3}
    with pytest.raises((SteeringFailure, SteeringInconclusive)) as decided:
        assert_ppl_delta_below(model, vector, texts, limit=1e-9, **settings)
    found = decided.value.evidence
    assert (found.n, found.unit) == (9, "clusters")
    assert found.details["clusters"] == {"key": "prompt", "items": 13, "largest": 3, "unit": "texts"}
    assert "n = 9 clusters (13 texts), bounds by clustered " in found.message
    base = perplexity(model, texts).per_text
    steered = perplexity(model, texts, vector, multiplier=3, positions="last").per_text
    clusters = [*"abcdefghabca", "plain"]
    known = {"t": mean_t, "transformed_t": mean_transformed_t, "bootstrap": mean_bootstrap}[interval]
    low, high = found.interval
    if aggregate == "geometric":
        of_logs = known(steered - base, clusters=clusters)
        assert (low, high) == pytest.approx((math.expm1(of_logs.low), math.expm1(of_logs.high)), rel=1e-6)
    else:  # the bounds are the rises that the test of the difference just rejects
        for bound, side in ((low, "p_at_least"), (high, "p_at_most")):
            difference = known(np.exp(steered) - (1 + bound) * np.exp(base), clusters=clusters)
            assert getattr(difference, side)(0.0) == pytest.approx(0.05, abs=1e-3)
    alone = decided_of(model, vector, [text if isinstance(text, str) else text.text for text in texts], settings)
    assert (alone.n, alone.unit, "clusters" in alone.details) == (13, "texts", False)


def decided_of(model, vector, texts, settings):
    with pytest.raises((SteeringFailure, SteeringInconclusive)) as decided:
        assert_ppl_delta_below(model, vector, texts, limit=1e-9, **settings)
    return decided.value.evidence


def test_texts_that_share_an_id_are_a_warning(linear):
    for ids, words in (
        ("abcdefghab", ["4 of these 10 texts share their id with another one (such as 'a', of 2)"]),
        ("abcdefghij", []),
    ):
        texts = Texts(TEXTS, list(ids))
        found = assert_ppl_delta_below(linear.model, linear.vector(), texts, limit=1e9, multiplier=M)
        said = [warning for warning in found.warnings if "share their id" in warning]
        assert [warning.split(", so")[0] for warning in said] == words


def test_completions_and_what_was_left_out_are_in_the_evidence():
    model = builders.random_model("llama")
    texts = leave_out(
        [*(Completion(f"What is {n}?", f"The number {n * 7}.") for n in range(9)), "sorry"], {"matching": "sorry"}
    )
    with pytest.raises(SteeringFailure) as failed:
        assert_ppl_delta_below(model, builders.random_vector(1), texts, limit=1e-9, positions="last")
    found = failed.value.evidence
    assert found.data.left_out == (LeftOut(rule="matching 'sorry'", n=1, of=10, ids=("9",)),)
    assert "texts: 1 of 10 left out, matching 'sorry' (9)" in found.message
    assert found.details["texts"][2]["prompt"] == "What is 2?"
    assert found.details["texts"][2]["text"] == "The number 14."
    assert found.asked.template.startswith("chat template")
    assert found.asked.first_item[0].first_steered == found.asked.first_item[0].first_scored - 1
    text = with_texts(found.to_dict(), "none")
    assert not {"prompt", "text"} & text["details"]["texts"][2].keys()


def test_equal_completions_count_once_and_one_answer_to_two_prompts_twice():
    model = builders.random_model("llama")
    texts = [Completion(f"What is {n // 2}?", "A number.") for n in range(6)]
    with pytest.raises(SteeringInconclusive) as open_:
        assert_ppl_delta_below(model, builders.random_vector(1), texts, limit=1e-9)
    assert open_.value.evidence.n == 3
    assert any("3 of these 6 texts repeat another one" in text for text in open_.value.evidence.warnings)


def test_windows_reach_the_claim():
    model = wrap_model(builders.random_hf("llama", max_position_embeddings=64), builders.tokenizer(), "short")
    texts = [f"{n} sheep. " * 12 for n in range(10)]
    with pytest.raises(DataError, match=r"texts: text 0: has .* tokens, but short takes at most 64"):
        assert_ppl_delta_below(model, builders.random_vector(1), texts, limit=1e-9)
    with pytest.raises(SteeringFailure) as failed:
        assert_ppl_delta_below(model, builders.random_vector(1), texts, limit=1e-9, stride=32)
    found = failed.value.evidence
    known = perplexity(model, texts, builders.random_vector(1), window=64, stride=32)
    assert [text["nll_steered"] for text in found.details["texts"]] == pytest.approx(known.per_text.tolist())
    assert found.n == 10
