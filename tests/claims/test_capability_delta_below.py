"""``capability_delta_below`` on a model whose answers are known in closed form: verdicts, gates, weights, words, both faces."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import builders
import numpy as np
import pytest
from evidence import shown
from scipy import stats

from pytest_steer import (
    Question,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    assert_capability_delta_below,
    load_model,
    read_questions,
)
from pytest_steer.claims import evidence_of
from pytest_steer.claims.judging import adjusted
from pytest_steer.core.block import Items
from pytest_steer.core.errors import DataError
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.stats import Verdict, mean_t, paired_share_difference, weighted_share_difference

# After "Answer:" at multiplier m the logit of a word is b + m c. Against "bad", at 0, at m = 1:
B = {"good": 1.0, "fragile": 0.5, "late": -0.5, "bad": 0.0, "poor": 0.0}
C = {"fragile": -1.0, "late": 1.0}
RIGHT = {"kept": ("good", "bad"), "lost": ("fragile", "bad"), "gained": ("late", "bad"), "never": ("bad", "good")}


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(("Answer:", *B), {"Answer:": 1.0}, B, C)


def ask(weights=None, **counts):
    """So many questions of each sort, the right option first or second in turn."""
    found = []
    for sort, count in counts.items():
        for _ in range(count):
            swapped = len(found) % 2
            # Not all with the same options: else the model says one thing whatever is asked.
            right, wrong = ("poor" if one == "bad" and len(found) % 4 > 1 else one for one in RIGHT[sort])
            choices = (wrong, right) if swapped else (right, wrong)
            weight = (weights or {}).get(sort, 1.0)
            found.append(Question(f"q{len(found)}", choices, swapped, subject=f"s{len(found) % 2}", weight=weight))
    return found


def evidence(linear, questions, limit, **more):
    try:
        return assert_capability_delta_below(linear.model, linear.vector(), questions, limit=limit, **more)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


MANY = {"kept": 150, "lost": 6, "gained": 2, "never": 42}


def test_the_bounds_are_those_of_the_counts(linear):
    questions, exact = ask(**MANY), paired_share_difference(6, 2, 200)
    assert 0 < exact.high < 0.06
    for limit, verdict in ((exact.high + 1e-4, Verdict.PASS), (exact.high - 1e-4, Verdict.INCONCLUSIVE)):
        found = evidence(linear, questions, limit)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((0.02, exact.low, exact.high))
        assert (found.n, found.unit, found.interval_method) == (200, "questions", "paired exact")
        assert found.p_pass == pytest.approx(exact.p_at_most(limit))
        assert (found.details["lost"], found.details["gained"]) == (6, 2)
        assert found.details["accuracy"] == pytest.approx({"unsteered": 156 / 200, "steered": 152 / 200})
    assert found.items_needed > 200
    assert evidence(linear, ask(kept=150, lost=30), 0.03).verdict is Verdict.FAIL


def test_the_probability_of_the_right_answer(linear):
    found = evidence(linear, ask(**MANY), 0.2).details["probability"]

    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    at = {"kept": (1, 1), "lost": (0.5, -0.5), "gained": (-0.5, 0.5), "never": (-1, -1)}
    each = np.array([[sigmoid(value) for value in at[sort]] for sort, count in MANY.items() for _ in range(count)])
    change = mean_t(each[:, 1] - each[:, 0])
    assert (found["unsteered"], found["steered"]) == pytest.approx(tuple(each.mean(axis=0)), abs=1e-5)
    assert (found["change"], *found["interval"]) == pytest.approx((change.estimate, change.low, change.high), abs=1e-5)


def test_no_loss_among_few_questions_proves_little(linear):
    found = evidence(linear, ask(kept=50), 0.03)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval[1] == pytest.approx(paired_share_difference(0, 0, 50).high)
    assert found.items_needed == 99
    assert "about 99 questions would decide" in found.message
    assert evidence(linear, ask(kept=99), 0.03).verdict is Verdict.PASS


def test_a_model_at_chance_cannot_lose_anything(linear):
    # 112 of 200 right is not yet proven (p = .051), 113 is (p = .038).
    found = evidence(linear, ask(kept=112, never=88), 0.04)
    assert found.interval[1] < 0.04  # it would have been a pass
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (found.p_pass, found.p_fail) == (1.0, 1.0)
    assert (
        "unsteered accuracy 56.0% is not proven above guessing, 50.0% (p = 0.052), so there is nothing to lose"
        in found.message
    )
    assert found.items_needed is None
    assert not found.details["chance"]["above"]
    (found,) = adjusted([found])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert evidence(linear, ask(kept=113, never=87), 0.04).details["chance"]["above"]
    # Below chance after steering is no loss of what it did not have.
    assert evidence(linear, ask(lost=55, never=45), 0.03).verdict is Verdict.INCONCLUSIVE


def test_a_model_with_less_to_lose_than_the_limit(linear):
    # 120 of 200: more than .54 is proven (p = .050), more than .55 is not (p = .089).
    questions, wanted = ask(kept=120, never=80), stats.binomtest(120, 200, 0.55, alternative="greater").pvalue
    found = evidence(linear, questions, 0.05)
    assert found.interval[1] < 0.05
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.details["chance"]["p_of_limit"] == pytest.approx(wanted)
    assert "not proven that unsteered accuracy, 60.0%, exceeds guessing, 50.0%, by more than the limit" in found.message
    assert found.p_pass == 1.0
    assert evidence(linear, questions, 0.03).verdict is Verdict.PASS
    assert evidence(linear, ask(lost=120, never=80), 0.05).verdict is Verdict.FAIL  # a proven loss stays one


def test_subjects(linear):
    found = evidence(linear, ask(**MANY), 0.001)
    assert [(one["subject"], one["n"]) for one in found.details["subjects"]] == [("s0", 100), ("s1", 100)]
    assert sum(one["lost"] for one in found.details["subjects"]) == 6
    assert "accuracy by subject:" in found.message
    at_chance = [Question("x" * i, ("good", "bad"), i % 2, "blind") for i in range(1, 9)]
    both = evidence(linear, [*ask(kept=40, lost=20), *at_chance], 0.03)
    assert "not above guessing" in next(line for line in both.message.splitlines() if line.strip().startswith("blind"))


def test_weights(linear):
    questions = ask({"lost": 4.0}, **MANY)
    changes = np.array([1.0 if "fragile" in one.choices else -1.0 if "late" in one.choices else 0.0 for one in questions])
    known = weighted_share_difference(changes, [one.weight for one in questions])
    found = evidence(linear, questions, 0.05)
    assert known.estimate == pytest.approx((6 * 4 - 2) / (6 * 4 + 194))
    assert (found.estimate, *found.interval) == pytest.approx((known.estimate, known.low, known.high))
    assert found.interval_method == "weighted paired"
    assert found.details["accuracy"]["unsteered"] == pytest.approx((150 + 24) / 218)
    moved = 1 / (1 + math.exp(0.5)) - 1 / (1 + math.exp(-0.5))
    assert found.details["probability"]["change"] == pytest.approx((6 * 4 - 2) / 218 * moved, abs=1e-5)
    assert "questions have weights: they say as much as 164 of equal weight" in found.message
    assert evidence(linear, ask({"kept": 2.0, "lost": 2.0}, kept=150, lost=6), 0.05).interval_method == "paired exact"


def test_the_worst_questions_are_the_lost_ones_that_lose_most(linear):
    found = evidence(linear, ask(kept=100, lost=20), 0.03)
    assert found.verdict is Verdict.FAIL
    worst = shown(found, Items)
    assert (worst.title, worst.of) == ("worst of the 20 lost questions (probability of the right answer)", 20)
    before, after = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))
    assert worst.items[0].words == f"{before:.2f} -> {after:.2f}"
    assert [one.text for one in worst.items[0].texts] == ["fragile", "bad"]
    assert (
        "asked: no chat template ('Question: {question}\\nAnswer: '); options scored by the summed log-likelihood"
        in found.message
    )


def test_repeats_are_dropped_and_near_twins_said(linear):
    questions = ask(kept=120)
    again = Question(" q0 ", tuple(reversed(questions[0].choices)), 1 - questions[0].answer)
    long = " ".join(f"word{i}" for i in range(30))
    twins = [Question(f"{long} {end}", ("good", "bad"), 0) for end in ("one", "two")]
    found = evidence(linear, [*questions, again, *twins], 0.03)
    assert found.n == 122
    assert any("1 of these 123 questions repeat another one" in text for text in found.warnings)
    assert any("2 of these 122 questions share nine words of ten" in text for text in found.warnings)


def test_a_question_that_rounding_decides_is_open(linear):
    near = {**B, "close": 1e-7}
    model = builders.Linear(("Answer:", *near), {"Answer:": 1.0}, near, C)
    questions = [*ask(kept=95), *(Question(f"r{i}", ("close", "bad"), 0) for i in range(5))]
    found = evidence(model, questions, 0.2)
    assert found.noise.statistic == pytest.approx(0.05)
    assert evidence(model, ask(kept=95), 0.2).noise.statistic == 0


def test_a_model_that_gives_one_letter_whatever_is_asked():
    letters = builders.Linear(("Answer:", "(", "A", "B"), {"(": 1.0}, {"A": 1.0}, {"A": -0.1})
    questions = [Question(f"q{i}\n(A) x\n(B) y", ("(A)", "(B)"), 0) for i in range(120)]
    found = evidence(letters, questions, 0.03)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "unsteered, the model gives option A in 120 of 120 questions: it reads letters and not questions" in found.message
    assert "options scored by the logits of their letters" in found.message


def test_a_model_that_gives_one_answer_whatever_is_asked(linear):
    def found(share):
        questions = [Question(f"q{i}", ("good", "bad"), int(i % 10 >= share)) for i in range(400)]
        return evidence(linear, questions, 0.05)

    # It says "good" to all, and that is right of 7 in 10, which no guess between two would be.
    assert found(7).details["chance"]["above"]
    assert found(7).verdict is Verdict.INCONCLUSIVE
    assert (
        "unsteered, the model gives the same option, 'good', in 400 of 400 questions: it reads options and not questions"
        in found(7).message
    )
    assert (found(7).p_pass, found(7).items_needed) == (1.0, None)


def test_guessing_is_weighted_as_accuracy_is(linear):
    # Right are the questions that count next to nothing; of the others half, as by guessing.
    light, heavy = ask({"kept": 0.001}, kept=300), ask(kept=100, never=100)
    heavy = [replace(one, question=f"heavy {one.question}") for one in heavy]
    found = evidence(linear, [*light, *heavy], 0.05)
    assert found.interval[1] < 0.05
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.details["chance"]["p"] == pytest.approx(
        stats.binom.sf(100, 200, 0.5), abs=0.02
    )  # the light ones break the tie
    assert "unsteered accuracy 50.1% is not proven above guessing, 50.0%" in found.message
    assert evidence(linear, [*light, *(replace(one, weight=0.01) for one in heavy)], 0.2).details["chance"]["above"]
    known = evidence(linear, [*ask({"kept": 3.0}, kept=150), *heavy[100:140]], 0.05)
    assert known.verdict is Verdict.PASS
    assert known.details["chance"]["share"] == 0.5


def test_a_loss_is_no_larger_than_all(linear):
    found = evidence(linear, [*ask(kept=200), *ask({"lost": 1e6}, lost=1)], 0.05)
    assert found.interval[1] == 1
    with pytest.raises(DataError, match=r"weight 1e\+308 is out of range, 1e-100 to 1e\+100.*scale all of them"):
        ask({"kept": 1e308}, kept=1)


def test_what_cannot_be_measured(linear):
    with pytest.raises(DataError, match=r"questions: has 1 question\(s\); an interval needs at least two"):
        evidence(linear, ask(kept=1), 0.1)
    with pytest.raises(DataError, match="there are no questions"):
        evidence(linear, [], 0.1)
    with pytest.raises(SteerError, match="has no chat template: write prompt: plain"):
        evidence(linear, ask(kept=10), 0.1, prompt="chat")
    with pytest.raises(SteerError, match="limit must be greater than 0"):
        evidence(linear, ask(kept=10), 0)
    with pytest.raises(SteerError, match="by must be sum, mean or letters, but is the text 'letter'"):
        evidence(linear, ask(kept=10), 0.1, by="letter")


# --- the claim file ------------------------------------------------------------------------------------------------------

CLAIMS = """
model: builtin:tiny
vector: {file: v.safetensors, layer: 1, positions: all}
multiplier: 2
claims:
"""


def built(folder, line):
    (folder / "c.steer.yaml").write_text(CLAIMS + line)
    suite = read_suite(folder / "c.steer.yaml")
    (entry,) = suite.entries
    return getattr(entry, "error", None) or Builder(load_model("builtin:tiny")).build(suite, entry)


@pytest.fixture
def folder(tmp_path):
    model = load_model("builtin:tiny")
    vector = builders.random_vector(1, width=model.width, norm=20.0)
    SteeringVector(dict(vector.directions)).save(tmp_path / "v.safetensors")
    lines = [
        {
            "question": f"Which one is number {i}?",
            "choices": [str(i), "a pear"],
            "answer": "AB"[i % 2],
            "subject": f"s{i % 3}",
        }
        for i in range(30)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_a_claim_file_and_an_assertion_are_alike(folder):
    model = load_model("builtin:tiny")
    claim = built(folder, "  - capability_delta_below: {limit: 0.5, questions: q.jsonl, by: mean, prompt: chat}")
    found = evidence_of(claim, model)
    vector = SteeringVector.load(folder / "v.safetensors")
    questions = read_questions(folder / "q.jsonl")
    with pytest.raises((SteeringInconclusive, SteeringFailure)) as decided:
        assert_capability_delta_below(
            model, vector, questions, limit=0.5, by="mean", prompt="chat", multiplier=2, positions="all"
        )
    other = decided.value.evidence
    for name in ("verdict", "estimate", "interval", "n", "details", "noise", "p_pass", "receipt"):
        assert getattr(found, name) == getattr(other, name), name
    assert found.n == 30


def test_without_a_file_the_questions_are_ours(folder):
    claim = built(folder, "  - capability_delta_below: 0.03")
    assert (claim.limit, claim.questions, claim.by, claim.prompt) == (0.03, read_questions(), "sum", "plain")
    claim = built(folder, "  - capability_delta_below: {limit: 0.03, questions: 'builtin:capability'}")
    assert claim.questions == read_questions()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{limit: 0.1, questions: none.jsonl}", "there is no file"),
        ("{limit: 0.1, by: letter}", "letters"),
        ("{limit: 3}", "less than 1"),
        ("{limit: 0.1, questions: [a]}", "must be text"),
    ],
)
def test_what_is_wrong_in_a_claim_file_is_known_at_collection(folder, line, words):
    (folder / "c.steer.yaml").write_text(CLAIMS + f"  - capability_delta_below: {line}")
    (entry,) = read_suite(folder / "c.steer.yaml").entries
    assert type(entry).__name__ == "BrokenClaim"
    assert words in str(entry)


def test_a_wrong_question_is_named_with_file_line_and_key(folder):
    (folder / "q.jsonl").write_text('{"question": "Why?", "choices": ["a", "b"], "answer": "C"}')
    with pytest.raises(DataError, match=r"q\.jsonl: line 1: there is no right answer: 'answer' is a letter") as wrong:
        built(folder, "  - capability_delta_below: {limit: 0.1, questions: q.jsonl}")
    assert wrong.value.key == "questions"
