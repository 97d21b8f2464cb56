"""``promotes`` and ``suppresses`` on models whose likelihoods are known in closed form, one of which steering degrades."""

from __future__ import annotations

import math
from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from scipy import stats

from pytest_steer import (
    ContrastItem,
    Items,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    answer_likelihoods,
    assert_promotes,
    assert_steers,
    assert_suppresses,
)
from pytest_steer.claims.judging import adjusted
from pytest_steer.claims.kinds.sides import question_of
from pytest_steer.core.errors import DataError
from pytest_steer.data.traces import traces
from pytest_steer.prompting import Context
from pytest_steer.stats import Verdict, mean_t, rank_correlation
from pytest_steer.steering import ablate

M = 2.0
WORDS = ("Question:", "Answer:", "(", "up", "down", "half", "low", "A", "B", "noise")
A = {"Answer:": 2.0, "(": 2.0, "up": 1.0, "half": -1.0}
B = {"up": 0.5, "down": -0.25, "half": 0.25, "noise": 1.0}
C = {"up": 1.0, "half": 0.5, "down": -0.5, "low": -1.0, "A": 0.5, "B": -0.25}
PAIRS = [
    ("up", "down"),
    ("half", "low"),
    ("up half", "down"),
    ("half up", "low down"),
    ("up", "low"),
    ("up half", "low"),
] * 2
PAIRS[-1] = ("low", "half")
ITEMS = [ContrastItem(f"q{n} w{n}", (one,), (other,), str(n), {"pair": n % 6}) for n, (one, other) in enumerate(PAIRS)]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


@pytest.fixture(scope="module")
def degraded():
    """Steering makes one word likelier that is no answer, and so each answer less likely. The matching ones lose a little less."""
    return builders.Linear(WORDS, A, B, {"noise": 3.0, "up": 0.3, "half": 0.2})


@pytest.fixture(scope="module")
def inflated():
    """Steering takes likelihood from the word that is no answer. Those that do not match gain most."""
    return builders.Linear(WORDS, A, B | {"noise": 2.0}, {"noise": -3.0, "down": 0.3, "low": 0.2})


def loglikelihood(linear, b, answer, m):
    """Mean over the tokens of log softmax (a_t b_j + m c_j), t the token before."""
    before, found = "Answer:", []
    for word in answer.split():
        logits = [A.get(before, 0.0) * b.get(w, 0.0) + m * linear.c.get(w, 0.0) for w in linear.words]
        found.append(logits[linear.words.index(word)] - math.log(sum(map(math.exp, logits))))
        before = word
    return sum(found) / len(found)


def changes(linear, b=B, m=M):
    """[side, item]"""
    return np.array(
        [[loglikelihood(linear, b, text, m) - loglikelihood(linear, b, text, 0) for text in side] for side in zip(*PAIRS, strict=True)]
    )  # fmt: skip


def of(claim, linear, items=ITEMS, vector=None, **arguments):
    arguments = {"multiplier": M, "nats": 0.05} | arguments
    try:
        return claim(linear.model, vector or linear.vector(), items, **arguments)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


@pytest.mark.parametrize(("claim", "side", "sign"), [(assert_promotes, 0, 1), (assert_suppresses, 1, -1)])
def test_the_statistic_is_the_mean_change_of_one_side(linear, claim, side, sign):
    known = sign * changes(linear)[side]
    low, high = stats.t.interval(0.9, len(known) - 1, known.mean(), stats.sem(known))
    assert low > 0
    assert known.min() < 0  # some item moves the other way
    for nats, verdict in (
        (0.99 * low, Verdict.PASS),
        (1.01 * low, Verdict.INCONCLUSIVE),
        (0.99 * high, Verdict.INCONCLUSIVE),
        (1.01 * high, Verdict.FAIL),
    ):
        found = of(claim, linear, nats=nats)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((known.mean(), low, high), abs=1e-5)
        at = [stats.ttest_1samp(known, nats, alternative=alternative).pvalue for alternative in ("greater", "less")]
        assert (found.p_pass, found.p_fail) == pytest.approx(at, rel=1e-3)
        assert found.n == len(ITEMS)
        assert found.multiplier == M
    assert found.statistic == ("rise of matching log-likelihood" if side == 0 else "fall of not matching log-likelihood")


def test_the_evidence_has_both_sides_at_every_multiplier(linear):
    found = of(assert_promotes, linear, multipliers=[-1, 0, 1])
    assert found.multipliers == [-1.0, 0.0, 1.0, M]  # the deployed one is measured too
    for name, texts, change in zip(("matching", "not_matching"), zip(*PAIRS, strict=True), changes(linear), strict=True):
        record = found.details["sides"][name]
        at = [np.mean([loglikelihood(linear, B, text, m) for text in texts]) for m in found.multipliers]
        assert record["at"] == pytest.approx(at, abs=1e-5)
        assert (record["base"], record["steered"]) == pytest.approx((at[1], at[3]), abs=1e-5)
        t = stats.t.interval(0.9, len(change) - 1, change.mean(), stats.sem(change))
        assert (record["change"], *record["interval"]) == pytest.approx((change.mean(), *t), abs=1e-5)
    item = found.items[2]
    assert item.matching_likelihood == pytest.approx(
        [loglikelihood(linear, B, "up half", m) for m in found.multipliers], abs=1e-5
    )
    assert item.propensity == pytest.approx(np.subtract(item.matching_likelihood, item.not_matching_likelihood), abs=1e-9)
    assert found.details["diagnosis"] is None
    assert found.details["deployed"]["mean_effect"] == pytest.approx(
        np.subtract(*changes(linear)).mean(), abs=1e-5
    )  # fmt: skip
    assert found.compared.deployed.effect == pytest.approx(found.details["deployed"]["mean_effect"])
    assert "  matching answers: log-likelihood " in found.message
    assert found.seconds > 0


def test_quartiles_and_the_papers_scale_are_of_the_promised_side(linear):
    own, other = changes(linear)
    for claim, side in ((assert_promotes, 0), (assert_suppresses, 1)):
        base = np.array([loglikelihood(linear, B, pair[side], 0) for pair in PAIRS])
        found = of(claim, linear).details
        parts = np.array_split(np.argsort(base, kind="stable"), 4)
        assert [one["n"] for one in found["quartiles"]] == [3, 3, 3, 3]
        for one, part in zip(found["quartiles"], parts, strict=True):
            assert one["base"] == pytest.approx(base[part].mean(), abs=1e-5)
            # Items of one pair are equal, so that their order in a quartile does not matter for what is compared here.
        assert found["promised_side"] == ("matching", "not_matching")[side]
        tops = [max(loglikelihood(linear, B, text, m) for pair in PAIRS for text in pair) for m in (0, M)]
        scaled = [
            [loglikelihood(linear, B, text, m) / -top for m, top in zip((0, M), tops, strict=True)]
            for text in (pair[0] for pair in PAIRS)
        ]
        want = np.mean([steered - unsteered for unsteered, steered in scaled])
        assert found["normalised"]["promoted"][-1] == pytest.approx(want, abs=1e-5)
    assert own.mean() > 0 > other.mean()


def test_steering_that_lowers_all_likelihoods_is_called_degradation(degraded):
    """A propensity that rises hides it: the letters of a multiple-choice question would have called this steering."""
    own, other = changes(degraded)
    assert max(own.max(), other.max()) < 0 < (own - other).mean()
    assert assert_steers(degraded.model, degraded.vector(), ITEMS, steerability=0.1).passed
    promotes, suppresses = of(assert_promotes, degraded), of(assert_suppresses, degraded)
    assert promotes.verdict is Verdict.FAIL
    assert suppresses.verdict is Verdict.PASS  # the warning stands beside it
    for found in (promotes, suppresses):
        assert found.details["diagnosis"] == "degradation, not steering"
        (warning,) = [one for one in found.warnings if "degradation" in one]
        assert warning.startswith("degradation, not steering (Pres et al. 2024): the log-likelihood falls on both sides")
        assert f"{own.mean():+.3g} [" in warning
        assert f"{other.mean():+.3g} [" in warning
        assert f"  warning: {warning}" in found.message
    with pytest.raises(SteeringFailure, match="degradation, not steering"):
        assert_promotes(degraded.model, degraded.vector(), ITEMS, nats=0.05, multiplier=M)


def test_one_side_that_is_not_proven_to_fall_is_no_degradation(linear):
    for multiplier in (-M, M):
        found = of(assert_promotes, linear, multiplier=multiplier)
        assert found.details["diagnosis"] is None
        assert not any("Pres" in one for one in found.warnings)


def test_both_sides_that_rise_are_a_warning_where_the_model_does_not_move_towards_what_is_wanted(inflated):
    own, other = changes(inflated, B | {"noise": 2.0})
    assert own.min() > 0
    assert (other - own).mean() > 0
    found = of(assert_promotes, inflated)
    assert found.verdict is Verdict.PASS
    assert found.details["diagnosis"] == "both sides rise"
    assert any("it is not proven that the model prefers what is wanted" in one for one in found.warnings)
    failed = of(assert_promotes, inflated, nats=50)
    assert (failed.verdict, failed.details["diagnosis"]) == (Verdict.FAIL, "both sides rise")
    assert not any("both sides" in one for one in failed.warnings)
    turned = of(assert_promotes, inflated, [replace(item, matching=item.not_matching, not_matching=item.matching) for item in ITEMS])  # fmt: skip
    assert turned.verdict is Verdict.PASS
    assert not any("both sides" in one for one in turned.warnings)


def test_a_vector_that_is_deployed_to_lower_a_behaviour_promotes_the_answers_that_do_not_match(linear):
    own, other = changes(linear, m=-M)
    promotes = of(assert_promotes, linear, multiplier=-M, direction="lowers")
    suppresses = of(assert_suppresses, linear, multiplier=-M, direction="lowers")
    assert promotes.statistic == "rise of not matching log-likelihood"
    assert promotes.estimate == pytest.approx(other.mean(), abs=1e-5)
    assert suppresses.statistic == "fall of matching log-likelihood"
    assert suppresses.estimate == pytest.approx(-own.mean(), abs=1e-5)
    assert (promotes.details["promised_side"], suppresses.details["promised_side"]) == ("not_matching", "matching")
    assert promotes.passed
    assert suppresses.passed
    swapped = [replace(item, matching=item.not_matching, not_matching=item.matching) for item in ITEMS]
    other_way = of(assert_promotes, linear, swapped, multiplier=-M)
    assert other_way.estimate == pytest.approx(promotes.estimate)
    assert other_way.details["normalised"] == promotes.details["normalised"]


def test_bounds_over_clusters(linear):
    known = changes(linear)[0]
    found = of(assert_promotes, linear, cluster="pair", min_n=2)
    want = mean_t(known, clusters=[item.meta["pair"] for item in ITEMS])
    assert (found.estimate, *found.interval) == pytest.approx((want.estimate, want.low, want.high), abs=1e-5)
    assert (found.n, found.unit, found.interval_method) == (6, "clusters", "clustered t")
    assert found.details["sides"]["matching"]["interval"] == pytest.approx([want.low, want.high], abs=1e-5)


def test_what_moves_nothing_keeps_no_promise(linear):
    across = SteeringVector({0: torch.eye(8)[5]})
    for claim in (assert_promotes, assert_suppresses):
        found = of(claim, linear, ITEMS, vector=across, nats=0)
        assert (found.estimate, found.verdict.value) == (0, "fail")
        assert "0 [0, 0], promised more than 0" in found.message
        assert f"0 of {len(ITEMS)} keep the promise by themselves" in found.message
    with pytest.raises(SteeringFailure, match=r"steerability 0 \[0, 0\], promised more than 0"):
        assert_steers(linear.model, across, ITEMS, steerability=0)


def test_repeats_and_few_items(linear):
    found = of(assert_promotes, linear, [*ITEMS, ITEMS[0]])
    assert found.n == len(ITEMS)
    assert any("repeat another one" in one for one in found.warnings)
    few = of(assert_promotes, linear, ITEMS[:5])
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "n = 5 is below min_n 8" in few.message
    assert len(few.details["quartiles"]) == 4
    three = of(assert_promotes, linear, ITEMS[:3], min_n=3)
    assert (three.details["quartiles"], three.details["normalised"]) == ([], None)
    with pytest.raises(DataError, match=r"has 1 item\(s\); an interval needs at least two"):
        of(assert_promotes, linear, ITEMS[:1])


def test_strata_and_worst_items(linear):
    items = [ContrastItem(f"q{n}", (f"({'AB'[n % 2]})",), (f"({'BA'[n % 2]})",), str(n)) for n in range(10)]
    found = of(assert_promotes, linear, items)
    shift = {m: math.log(sum(math.exp(2 * B.get(w, 0) + m * C.get(w, 0)) for w in linear.words)) for m in (0, M)}
    want = {label: M * C[label] - shift[M] + shift[0] for label in "AB"}
    assert [(one.label, one.n) for one in found.strata] == [("A", 5), ("B", 5)]
    for one in found.strata:
        assert one.matching_change == pytest.approx(want[one.label], abs=1e-5)
        assert one.not_matching_change == pytest.approx(want["AB"[one.label == "A"]], abs=1e-5)
    assert "  strata:" in found.message
    worst = of(assert_promotes, linear, nats=2)
    assert "  worst items:\n    [11] change -" in worst.message  # ("low", "half"), the only one that falls
    assert "change by quartile of the unsteered log-likelihood of the matching answers:" in worst.message


def test_an_intervention_without_a_slope():
    model, change = builders.random_model("llama"), ablate(builders.random_vector(1))
    items = Items([ContrastItem(f"Question {n}?", ("surely",), ("no way",), str(n)) for n in range(8)])
    try:
        found = assert_promotes(model, change, items, nats=5)
    except (SteeringFailure, SteeringInconclusive) as decided:
        found = decided.evidence
    own, _ = answer_likelihoods(model, items, change, multipliers=[0, 1]).changes(1)
    assert found.multipliers == [0.0, 1.0]
    assert found.estimate == pytest.approx(own.mean())
    assert abs(own).max() > 0.01


def test_summed_answers_are_in_nats(linear):
    found = of(assert_promotes, linear, context=Context(answers="sum"), nats=5)
    tokens = np.array([len(one.split()) for one, _ in PAIRS])
    assert found.estimate == pytest.approx((changes(linear)[0] * tokens).mean(), abs=1e-5)
    assert " nats, change " in found.message


def test_holm_can_take_a_pass_back(linear):
    found = [of(assert_promotes, linear, nats=0.99 * of(assert_promotes, linear).interval[0]) for _ in range(2)]
    assert all(one.passed for one in found)
    found = adjusted(found)
    assert not any(one.passed for one in found)


# --- beside another form -------------------------------------------------------------------------------------------------

LETTERS = {"A": "up", "B": "down"}


def lettered(n, matching="A"):
    other = "AB"[matching == "A"]
    return ContrastItem(f"q{n}  W{n}?\n\nChoices:\n (A) up\n (B) down", (f"({matching})",), (f"({other})",), f"letter {n}")


def test_the_same_questions_in_another_form_are_shown_beside_with_their_rank_correlation(linear):
    beside = [lettered(n, "AB"[n % 3 == 0]) for n in range(3, 15)]
    found = of(assert_promotes, linear, beside=beside)
    record = found.details["beside"]
    assert (record["n"], record["shared"]) == (12, 9)
    letters = answer_likelihoods(linear.model, beside, linear.vector(), multipliers=[0, M])
    own, other = letters.changes(M)
    assert record["sides"]["matching"]["change"] == pytest.approx(own.mean())
    here, there = changes(linear)[:, 3:], np.array([own, other])[:, :9]
    want = {
        "effect": stats.spearmanr(here[0] - here[1], there[0] - there[1]).statistic,
        "matching_change": stats.spearmanr(here[0], there[0]).statistic,
        "not_matching_change": stats.spearmanr(here[1], there[1]).statistic,
    }
    assert record["rank_correlation"] == pytest.approx(want)
    assert len({round(value, 6) for value in want.values()}) == 3
    assert f"(Spearman) over the 9 questions that both ask: effect on propensity {want['effect']:.3g}" in found.message
    # It decides nothing.
    alone = of(assert_promotes, linear)
    assert (found.verdict, found.estimate, found.interval) == (alone.verdict, alone.estimate, alone.interval)
    assert "beside" not in alone.details


def test_what_there_is_to_know_of_the_other_form_is_a_warning(linear):
    record = traces([lettered(3).question])
    vector = SteeringVector(linear.vector().directions, record)
    found = of(assert_promotes, linear, vector=vector, beside=[lettered(n) for n in range(3, 12)])
    warning = next(one for one in found.warnings if "ask a question" in one)
    assert warning.startswith("beside: 1 of these 9 items ask a question that the vector was extracted from")


def test_several_items_of_one_question_are_averaged(linear):
    beside = [lettered(n) for n in range(6)] + [lettered(n, "B") for n in range(0, 6, 2)]
    record = of(assert_promotes, linear, beside=beside).details["beside"]
    own, _ = answer_likelihoods(linear.model, beside, linear.vector(), multipliers=[0, M]).changes(M)
    means = [(own[n] + own[6 + n // 2]) / 2 if n % 2 == 0 else own[n] for n in range(6)]
    assert record["shared"] == 6
    assert record["rank_correlation"]["matching_change"] == pytest.approx(rank_correlation(changes(linear)[0][:6], means))


def test_too_few_shared_questions_have_no_rank_correlation(linear):
    for start, words in (
        (12, "no questions of the two are the same"),
        (11, "1 question of the two is the same"),
        (10, "2 questions"),
    ):
        found = of(assert_promotes, linear, beside=[lettered(n) for n in range(start, start + 8)])
        assert set(found.details["beside"]["rank_correlation"].values()) == {None}
        assert words in found.message
    with pytest.raises(SteerError, match="an interval needs at least two"):
        of(assert_promotes, linear, beside=[lettered(1)])


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Is it?\n\nChoices:\n (A) Yes\n (B) No", "Is it?"),
        ("Is it?\n (A) Yes\n (B) No", "Is it?"),
        ("Is it?\nOptions:\n(A) Yes\n(B) No\n(C) Both\nSay which.", "Is it?\n\nSay which."),
        ("Is it?", "Is it?"),
        ("(A) Yes\n(B) No", "(A) Yes\n(B) No"),
    ],
)
def test_a_question_without_its_options(text, question):
    assert question_of(text) == question
