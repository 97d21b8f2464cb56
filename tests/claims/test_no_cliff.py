"""``no_cliff``: against a model whose text collapses at a known multiplier, and rises in closed form."""

from __future__ import annotations

import math

import builders
import numpy as np
import pytest
from evidence import evidence_of
from replying import BARE, MOVED, looping
from scipy import stats

from pytest_steer import SteerError, assert_no_cliff
from pytest_steer.claims.kinds.no_cliff import find_collapse
from pytest_steer.core.errors import MeasurementError
from pytest_steer.steering import custom

TOKENS = 16
# Steering makes all their words less likely, since m is added to "on" alone. The model reads them better than chance: "up" after "moved0".
TEXTS = [f"{'moved1 ' * n}moved0 up moved2 up" for n in range(10)]


@pytest.fixture(scope="module")
def loop():
    return looping()


def found(loop, budget, vector=None, **more):
    settings = {"max_new_tokens": TOKENS, "context": BARE, "include_first": True, "name": "cliff"} | more
    vector = loop.vector() if vector is None else vector
    return evidence_of(assert_no_cliff, loop.model, vector, MOVED[:10], TEXTS, budget=budget, **settings)


def rises(loop, multiplier):
    """By how much each text's NLL per token rises: the logits of all words but "on" stay, so the rise is that of the partition."""
    a = {**dict.fromkeys(MOVED, 1.0), "up": -1.0}
    b = {"up": 2.0, "<unk>": -1.0}
    found = []
    for text in TEXTS:
        own = text.split()
        risen = []
        for index, last in enumerate(own[:-1]):
            logits = {word: a.get(last, 0.0) * b.get(word, 0.0) for word in loop.words}
            steered = multiplier if index > 0 else 0.0  # the first position is not steered
            partition = sum(math.exp(x + steered * (word == "on")) for word, x in logits.items())
            risen.append(math.log(partition / sum(map(math.exp, logits.values()))))
        found.append(np.mean(risen))
    return np.array(found)


def test_the_four_rises_in_closed_form(loop):
    # At 0.4 and 0.6 replies are "up"; at 1.5 times 0.8 "up on on on ...", with n - 4 equal 4-grams of "on".
    evidence = found(loop, 0.2, multiplier=0.8)
    parts = {(one["what"], round(one["multiplier"], 6)): one for one in evidence.details["parts"]}
    assert [*parts] == [("perplexity", 0.8), ("perplexity", 1.2), ("repetition", 0.8), ("repetition", 1.2)]
    for multiplier in (0.8, 1.2):
        rise = rises(loop, multiplier)
        low, high = stats.t.interval(0.9, 9, rise.mean(), stats.sem(rise))
        one = parts["perplexity", multiplier]
        assert (one["estimate"], *one["interval"]) == pytest.approx(
            tuple(map(math.expm1, (rise.mean(), low, high))), rel=1e-3
        )
    collapsed = 1 - 2 / (TOKENS - 3)  # "up on on on", and "on on on on"
    assert parts["repetition", 0.8]["interval"] == [0, 0]
    assert parts["repetition", 1.2]["interval"] == pytest.approx([collapsed, collapsed])
    assert evidence.verdict.value == "fail"
    assert evidence.estimate == pytest.approx(collapsed)
    assert evidence.details["largest"] == "repetition at 1.2"
    by_part = {}
    for part, value in zip(evidence.units.parts, evidence.units.values, strict=True):
        by_part.setdefault(part, []).append(value)
    assert max(np.mean(values) for values in by_part.values()) == pytest.approx(evidence.estimate)


def test_a_pass_needs_all_four_upper_bounds_and_the_strength_of_collapse_is_found(loop):
    evidence = found(loop, 0.2, multiplier=0.4)
    assert evidence.verdict.value == "pass"
    assert evidence.interval[1] == max(one["interval"][1] for one in evidence.details["parts"])
    # Doubled from 0.6, then halved three times: "on" wins after "up" above 1.
    at = evidence.details["collapse"]
    assert (at["within"], at["above"]) == pytest.approx((0.975, 1.05))
    assert "text collapses between multiplier 0.975 and 1.05 (perplexity +" in evidence.message
    assert "repetition +84.6%), by the budget of +20%" in evidence.message
    tight = found(loop, 0.005, multiplier=0.4)
    assert tight.verdict.value == "fail"
    assert tight.details["collapse"]["above"] <= 0.4
    assert found(loop, evidence.interval[1] * 0.999, multiplier=0.4).verdict.value == "inconclusive"


def test_text_that_does_not_collapse(loop):
    evidence = found(loop, 0.5, multiplier=0.1, max_multiplier=8.0)
    assert evidence.details["collapse"]["above"] is None
    assert "text does not collapse up to multiplier 0.8, the largest that was tried" in evidence.message


def test_replies_that_are_all_empty_beyond_the_deployed_multiplier_are_a_cliff():
    # From m = 0.75 on the end (-1 + 4 m) wins over "up" (2), so that replies are empty.
    ends = builders.Linear(
        (*MOVED, "up"), {**dict.fromkeys(MOVED, 1.0), "up": -1.0}, {"up": 2.0, "<unk>": -1.0}, {"<unk>": 4.0}
    )
    evidence = found(ends, 0.2, multiplier=0.6)
    (one,) = (one for one in evidence.details["parts"] if one["what"] == "repetition" and one["multiplier"] > 0.6)
    assert one["estimate"] == 1
    assert one["verdict"] == "fail"
    with pytest.raises(MeasurementError, match=r"all 10 replies at multiplier 1\.5 are empty"):
        found(ends, 0.2, multiplier=1.5)


def test_a_fixed_strength_has_nothing_beyond_it(loop):
    fixed = custom(lambda hidden, strength, layer: hidden, layers=0, strength="ignored", name="fixed")
    with pytest.raises(SteerError, match="one fixed strength"):
        found(loop, 0.2, vector=fixed)


@pytest.mark.parametrize(
    ("threshold", "known", "cap", "expected"),
    [
        (1.0, [0.4, 0.6], 3.2, (0.975, 1.05)),
        (1.0, [0.8, 1.2], 6.4, (0.95, 1.0)),
        (0.3, [1.0, 1.5], 8.0, (0.28125, 0.3125)),
        (9.0, [1.0, 1.5], 8.0, (8.0, None)),
        (1e-9, [1.0, 1.5], 8.0, (None, 1 / 64)),
        (1.2, [1.0, 1.5], 1.0, (1.1875, 1.25)),
        (9.0, [1.0, 1.5], 1.0, (1.5, None)),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_search_doubles_halves_and_then_looks_between(threshold, known, cap, expected, sign):
    tried = []

    def is_within(multiplier):
        tried.append(multiplier)
        return abs(multiplier) < threshold

    given = {sign * one: one < threshold for one in known}
    signed = tuple(None if one is None else sign * one for one in expected)
    assert find_collapse(is_within, given, sign * cap) == pytest.approx(signed)
    assert len(tried) <= 9
    assert not {*tried} & {*given}
