"""Models whose weights are set by hand: slopes, anti-steerable items and perplexities are formulas.

The formulas are derived in ``builders.Linear`` and ``builders.Counting``.
"""

from __future__ import annotations

import math

import builders
import numpy as np
import pytest
import torch

from pytest_steer import ContrastItem, Items, SteeringFailure, SteeringVector, assert_steers, perplexity, propensity_curve
from pytest_steer.core.errors import DataError, SteerError
from pytest_steer.measures import steering_receipt, strata
from pytest_steer.steering import ablate, add_keeping_norm, as_intervention

GRID = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]

# --- logits that are linear in the multiplier ------------------------------------------------------------------------------

WORDS = ("Question:", "Answer:", "(", "up", "down", "still", "much", "A", "B", "C")
A = {"Answer:": 2.0, "(": 2.0}  # of the last token of a prompt
B = {"up": 0.5, "down": -0.25, "still": 1.0, "A": 0.75}
C = {"up": 1.0, "down": -0.5, "still": 0.0, "much": 1.0, "A": 1.0, "B": 0.25, "C": 0.25}


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


def item(matching, not_matching, number="0"):
    return ContrastItem("much", (matching,), (not_matching,), number)


PAIRS = [
    ("up", "down"),
    ("down", "up"),
    ("up", "still"),
    ("still", "down"),
    ("up", "much"),
    ("(A)", "(B)"),
    ("(B)", "(A)"),
    ("(B)", "(C)"),
]


@pytest.mark.parametrize("positions", ["all", "after_prompt", "last"])
@pytest.mark.parametrize("layer", [0, 1])
def test_propensities_slopes_and_anti_steerable_items(linear, positions, layer):
    """Propensity a (b+ - b-) + m (c+ - c-), so slope c+ - c-; items with equal c are exact ties."""
    items = [item(*pair, str(i)) for i, pair in enumerate(PAIRS)]
    curve = propensity_curve(linear.model, items, linear.vector(layer), multipliers=GRID, positions=positions)
    want_slopes = []
    for row, pair in enumerate(PAIRS):
        plus, minus = (name.strip("()") for name in pair)
        slope = C.get(plus, 0.0) - C.get(minus, 0.0)
        want = [2.0 * (B.get(plus, 0.0) - B.get(minus, 0.0)) + m * slope for m in GRID]
        np.testing.assert_allclose(curve.values[row], want, atol=1e-6)
        want_slopes.append(slope)
    np.testing.assert_allclose(curve.slopes, want_slopes, atol=1e-6)
    assert (
        curve.anti_steerable.tolist()
        == [slope <= 0 for slope in want_slopes]
        == [False, True, False, False, True, False, True, True]
    )
    np.testing.assert_allclose(curve.curvatures, 0, atol=1e-6)
    assert curve.monotonicity.tolist() == [1.0, -1.0, 1.0, 1.0, 0.0, 1.0, -1.0, 0.0]
    assert [(s.label, s.n) for s in strata(curve)] == [("A", 1), ("B", 2)]
    assert strata(curve)[1].steerability == pytest.approx(-0.375, abs=1e-6)


def test_several_alternatives_count_as_their_summed_probability(linear):
    """log(e^l1 + e^l2) - l3, with logits 2 b + m c."""
    several = ContrastItem("much", ("up", "still"), ("down",), "0")
    curve = propensity_curve(linear.model, [several], linear.vector(), multipliers=[0.0, 1.0])
    for column, m in enumerate([0.0, 1.0]):
        logit = {word: 2.0 * B[word] + m * C[word] for word in ("up", "still", "down")}
        assert curve.values[0, column] == pytest.approx(
            math.log(math.exp(logit["up"]) + math.exp(logit["still"])) - logit["down"], abs=1e-6
        )


def test_answers_of_several_tokens_are_mean_loglikelihoods(linear):
    """P(j | t) = softmax_j(a_t b_j + m c_j); a is 0 within an answer."""
    words, m = linear.words, 0.75

    def loglikelihood(word, after):
        logits = {j: A.get(after, 0.0) * B.get(j, 0.0) + m * C.get(j, 0.0) for j in words}
        return logits[word] - math.log(sum(math.exp(value) for value in logits.values()))

    curve = propensity_curve(linear.model, [item("up up down", "still", "0")], linear.vector(), multipliers=[m])
    want = (loglikelihood("up", "Answer:") + loglikelihood("up", "up") + loglikelihood("down", "up")) / 3
    assert curve.values[0, 0] == pytest.approx(want - loglikelihood("still", "Answer:"), abs=1e-6)


@pytest.mark.parametrize("m", [-1.0, 0.0, 0.5, 3.0])
def test_perplexity(linear, m):
    """Texts without any a: the k-th token (from 0) has logit m' c_j, with m' = m if the token before it is steered, that is
    for all but the first, else 0. V words, c summed over all of them:

        NLL = log V                                     for the second token
        NLL = log sum_j exp(m c_j) - m c_t              for each later token t
    """
    texts = ["up down still much", "still up", "much A B C up"]
    vocabulary = linear.words
    partition = math.log(sum(math.exp(m * C.get(j, 0.0)) for j in vocabulary))
    want = []
    for text in texts:
        tokens = text.split()
        nll = [math.log(len(vocabulary))] + [partition - m * C.get(t, 0.0) for t in tokens[2:]]
        want.append(sum(nll) / len(nll))
    found = perplexity(linear.model, texts, linear.vector(), multiplier=m)
    np.testing.assert_allclose(found.per_text, want, atol=1e-6)
    assert found.tokens.tolist() == [3, 1, 4]
    assert found.value == pytest.approx(math.exp((3 * want[0] + want[1] + 4 * want[2]) / 8), rel=1e-6)
    assert found.mean_of_texts == pytest.approx(sum(map(math.exp, want)) / 3, rel=1e-6)
    for scope in ("after_prompt", "last"):  # a text has no prompt
        np.testing.assert_allclose(
            perplexity(linear.model, texts, linear.vector(), multiplier=m, positions=scope).per_text, want, atol=1e-6
        )


@pytest.mark.parametrize(("positions", "steered"), [("after_prompt", 2), ("all", 4)])
def test_the_receipt(linear, positions, steered):
    """Two items, "Question: much Answer:", whose residuals have the norms 0, 0 and 2."""
    vector, items = linear.vector(1, 3.0), [item("up", "down"), item("up", "still")]
    curve = propensity_curve(linear.model, items, vector, multipliers=[1.0], positions=positions)
    receipt = steering_receipt(linear.model, curve.probes, as_intervention(vector), -4.0)
    (dose,) = receipt.doses
    assert (receipt.sequences, receipt.steered_tokens, dose.layer, dose.norm) == (2, steered, 1, 3.0)
    if positions == "after_prompt":
        assert (dose.median_hidden_norm, dose.relative_dose, dose.displacement) == (2.0, 6.0, 6.0)
        # 2 e0 - 12 e1 at the length of 2 e0 is where it was turned by an angle with cosine 2 / |2 e0 - 12 e1|.
        kept = steering_receipt(linear.model, curve.probes, add_keeping_norm(vector), -4.0)
        assert kept.doses[0].displacement == pytest.approx(math.sqrt(2 - 2 * 2 / math.sqrt(4 + 144)), rel=1e-6)
        assert steering_receipt(linear.model, curve.probes, ablate(vector), 1.0).doses[0].displacement == 0.0


def test_the_dose_of_every_layer_is_in_evidence_and_message(linear):
    items = [item("up", "down"), item("up", "still")]
    vector = SteeringVector({0: torch.eye(8)[1], 1: 3 * torch.eye(8)[1]})
    with pytest.raises(SteeringFailure) as failed:
        assert_steers(linear.model, vector, items, steerability=50, multipliers=[0.0, 1.0], multiplier=-1.0)
    doses = failed.value.evidence.receipt.doses
    assert [(dose.layer, dose.norm, dose.relative_dose) for dose in doses] == [(0, 1.0, 0.5), (1, 3.0, 1.5)]
    assert "  dose by layer: 0: 50% of the median hidden norm, 1: 150% of the median hidden norm\n" in str(failed.value)
    there = builders.Linear(WORDS, A | {"<unk>": 1.0}, B, C)  # else the texts of the check of hooks have no norm to keep
    kept = add_keeping_norm(there.vector())
    with pytest.raises(SteeringFailure, match=r"norm 1; multiplier -1 \(moves hidden states by 46%\)"):
        assert_steers(there.model, kept, items, steerability=50, multipliers=[0.0, 1.0], multiplier=-1.0)


def test_the_receipts_norm_is_the_median():
    """One position with a norm fifty times the others', as attention sinks have it: "up still Answer:" has 100, 0 and 2."""
    model = builders.Linear(WORDS, {"up": 100.0, "Answer:": 2.0}, B, C)
    vector = model.vector(0, 3.0)
    items = [ContrastItem("up still", ("up",), ("down",), "0")]
    curve = propensity_curve(model.model, items, vector, multipliers=[1.0], positions="all")
    (dose,) = steering_receipt(model.model, curve.probes, as_intervention(vector), 1.0).doses
    assert (dose.median_hidden_norm, dose.relative_dose) == (2.0, 1.5)


# --- a model that counts the steered tokens ---------------------------------------------------------------------------------

COUNTED = {"A": 1.0, "B": -0.5, "Yes": 2.0}


@pytest.fixture(scope="module")
def counting():
    return builders.Counting(COUNTED, builders.tokenizer())


@pytest.mark.parametrize(
    ("positions", "include_first", "count"),
    [
        ("all", False, lambda n: n - 1),
        ("all", True, lambda n: n),
        # "<|im_start|>", "assistant" in nine bytes, the line feed, "("
        ("after_prompt", False, lambda n: 12),
        ("last", False, lambda n: 1),
    ],
)
@pytest.mark.parametrize("question", ["?", "Is it so, or is it not?"])
def test_each_scope_steers_the_tokens_that_it_declares(counting, positions, include_first, count, question):
    items = [ContrastItem(question, ("(A)",), ("(B)",), "0")]
    grid = [-2.0, -0.5, 0.0, 1.0]
    curve = propensity_curve(
        counting.model, items, counting.vector(), multipliers=grid, positions=positions, include_first=include_first
    )
    n = len(curve.probes[0].ids)
    want = [counting.logit("A", m, n, count(n)) - counting.logit("B", m, n, count(n)) for m in grid]
    np.testing.assert_allclose(curve.values[0], want, atol=1e-6)
    slope = np.polyfit(grid, want, 1)[0]
    assert curve.slopes[0] == pytest.approx(slope, abs=1e-6)


def test_answers_of_several_tokens_are_steered_in_every_scope(counting):
    """The token after "Yes" is predicted with one more position, and it is steered."""
    items, m = [ContrastItem("?", ("Yes",), ("YesYes",), "0")], 1.25
    for positions, first in (("last", 1), ("after_prompt", 11)):
        curve = propensity_curve(counting.model, items, counting.vector(), multipliers=[m], positions=positions)
        prompt = curve.probes[0].score_from

        def loglikelihood(n, k):
            others = builders.VOCABULARY - len(COUNTED)
            total = others + sum(math.exp(counting.logit(token, m, n, k)) for token in COUNTED)
            return counting.logit("Yes", m, n, k) - math.log(total)

        one, two = loglikelihood(prompt, first), loglikelihood(prompt + 1, first + 1)
        assert curve.values[0, 0] == pytest.approx(one - (one + two) / 2, abs=1e-6)


# --- what cannot be measured -------------------------------------------------------------------------------------------------


def test_errors_of_propensity_curve(linear):
    with pytest.raises(DataError, match=r"empty\.json: there are no items to measure"):
        propensity_curve(linear.model, Items([], "empty.json"), linear.vector())
    with pytest.raises(SteerError, match="positions is one of"):
        propensity_curve(linear.model, [item("up", "down")], linear.vector(), positions="first")
    with pytest.raises(SteerError, match="finite numbers"):
        propensity_curve(linear.model, [item("up", "down")], linear.vector(), multipliers=[0, float("nan")])
    with pytest.raises(DataError, match="item 7: has 70 tokens, but linear takes at most 64"):
        propensity_curve(linear.model, [ContrastItem("much " * 68, ("up",), ("down",), "7")], linear.vector())
    with pytest.raises(SteerError, match=r"multiplier 1e\+30 \(of multipliers\) moves the hidden states by"):
        propensity_curve(linear.model, [item("up", "down")], linear.vector(), multipliers=[1e30])


def test_errors_of_perplexity(linear):
    with pytest.raises(DataError, match="perplexity takes a list with at least one text"):
        perplexity(linear.model, [])
    with pytest.raises(DataError, match="texts is the text 'one text'"):
        perplexity(linear.model, "one text")
    with pytest.raises(DataError, match=r"text 1: has 1 token\(s\); every token but the first is scored"):
        perplexity(linear.model, ["up down", "up"])
    with pytest.raises(SteerError, match="finite numbers"):
        perplexity(linear.model, ["up down"], linear.vector(), multiplier=float("inf"))
    with pytest.raises(SteerError, match="positions is one of"):
        perplexity(linear.model, ["up down"], positions="prompt")
    with pytest.raises(DataError, match="text 0: has 65 tokens, but linear takes at most 64"):
        perplexity(linear.model, ["up " * 65])
