"""``drifts_less``: against a model whose replies are known in each turn, with what has no ruling filled both ways."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
from evidence import evidence_of, said, shown
from replying import DOWN, MOVED, SILENT, STAYS, Listening, moving
from scipy import stats

from pytest_steer import Context, Dialogue, SteerError, assert_drifts_less
from pytest_steer.core.block import Curve
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.report import report_schema
from pytest_steer.stats import change_difference, paired_share_difference

# The reply to a turn depends on its last word alone: "up", or "down" after "moved" where it is steered.
WORDS = Context(template="{question} ")


@pytest.fixture(scope="module")
def linear():
    return moving()


def dialogues(*patterns, n=1):
    """Dialogues of words of these kinds, each pattern so often, all different."""
    kinds = {"m": MOVED, "s": STAYS, "n": SILENT}
    found = [(pattern, at) for pattern in patterns for at in range(n)]
    return [
        Dialogue(tuple(kinds[kind][(number + place) % 40] for place, kind in enumerate(pattern)), meta={"pair": number // 2})
        for number, (pattern, _) in enumerate(found)
    ]


def found(linear, prompts, limit=0.2, judge=DOWN, **more):
    settings = {"max_new_tokens": 4, "context": WORDS, "include_first": True} | more
    return evidence_of(assert_drifts_less, linear.model, linear.vector(), prompts, limit=limit, judge=judge, **settings)


def effects(evidence):
    return [(row["turn"], row["effect"]) for row in evidence.details["turns"]]


@pytest.mark.parametrize(
    ("patterns", "n", "drift", "verdict"),
    [(("mm", "ss"), 20, 0.0, "pass"), (("ms", "mm"), 15, -0.5, "fail"), (("sm", "mm"), 15, 0.5, "fail"), (("mm",), 12, 0.0, "inconclusive")],
)  # fmt: skip
def test_the_drift_is_the_last_effect_minus_the_first_and_its_size_is_judged(linear, patterns, n, drift, verdict):
    evidence = found(linear, dialogues(*patterns, n=n))
    assert (evidence.details["drift"], evidence.estimate) == (drift, abs(drift))
    assert evidence.verdict.value == verdict
    assert (evidence.n, evidence.unit, evidence.threshold, evidence.direction.value) == (
        n * len(patterns),
        "prompts",
        0.2,
        "at_most",
    )
    starts = {"m": 1.0, "s": 0.0}
    first, last = (float(np.mean([starts[pattern[at]] for pattern in patterns])) for at in (0, -1))
    assert effects(evidence) == [(1, first), (2, last)]


def test_equal_drifts_leave_the_bound_of_the_exact_test(linear):
    """All drifts are 0, which t takes for certain; twice the exact paired bound of half the drift is not 0."""
    evidence = found(linear, dialogues("mm", n=20))
    assert evidence.interval == pytest.approx((0.0, 2 * paired_share_difference(0, 0, 20).high))
    assert evidence.interval[1] == pytest.approx(2 * (1 - 0.05 ** (1 / 20)), abs=1e-3)


def test_wide_drifts_have_the_bound_of_t_over_dialogues(linear):
    drifts = np.array([-1.0] * 20 + [1.0] * 20)
    evidence = found(linear, dialogues("ms", "sm", n=20))
    high = stats.t.ppf(0.95, 39) * drifts.std(ddof=1) / np.sqrt(40)
    assert evidence.estimate == 0
    assert evidence.interval[0] == 0
    assert evidence.interval[1] >= high
    assert evidence.items_needed > 40


def test_the_effect_is_that_from_the_first_steered_turn_on(linear):
    evidence = found(linear, dialogues("mms", n=10), from_turn=2)
    assert effects(evidence) == [(1, 0.0), (2, 1.0), (3, 0.0)]
    assert evidence.details["drift"] == -1
    assert {one.steered.turns[0] for one in evidence.replies.of} == {"up"}


def test_dialogues_of_other_lengths_end_in_their_own_last_turn(linear):
    evidence = found(linear, dialogues("ms", "mss", n=5))
    assert evidence.details["drift"] == -1
    assert [row["n"] for row in evidence.details["turns"]] == [10, 10, 5]


def test_replies_without_a_ruling_may_be_either(linear):
    """Half of them are silent in the last turn, steered and not: the effect there is from -1 to 1, so the drift from -2 to 0."""
    evidence = found(linear, dialogues("mn", "mm", n=10))
    least, most = change_difference([-2.0] * 10 + [0.0] * 10), change_difference([0.0] * 20)
    assert evidence.verdict.value == "inconclusive"
    assert evidence.estimate == 1
    assert evidence.interval == pytest.approx((0.0, max(-least.low, most.high)))
    assert evidence.replies.counts.steered.undetermined == 10


def test_dialogues_that_belong_together_count_as_one(linear):
    evidence = found(linear, dialogues("mm", "ss", n=10), cluster="pair")
    assert (evidence.n, evidence.unit) == (10, "clusters")
    assert evidence.interval[1] == pytest.approx(2 * paired_share_difference(0, 0, 10).high)


def test_samples_of_a_dialogue_are_one_cluster(linear):
    evidence = found(linear, dialogues("mm", "ss", n=5), samples=3, temperature=1.5, seed=1)
    assert evidence.n == 10
    assert len(evidence.replies.of) == 30
    values = [(row["base"], row["steered"]) for row in evidence.details["turns"]]
    assert all(
        effect == pytest.approx(steered - base)
        for (_, effect), (base, steered) in zip(effects(evidence), values, strict=True)
    )


def test_by_score_it_is_in_the_units_of_the_judge(linear):
    """The score is the length of the reply: "down" has two letters more than "up"."""
    evidence = found(linear, dialogues("ms", "mm", n=10), judge=Listening(), by="score", limit=3.0)
    assert effects(evidence) == [(1, 2.0), (2, 1.0)]
    drifts = np.array([-2.0] * 10 + [0.0] * 10)
    high = 1 + stats.t.ppf(0.95, 19) * drifts.std(ddof=1) / np.sqrt(20)
    assert (evidence.estimate, evidence.interval[1]) == (1, pytest.approx(high))
    assert evidence.verdict.value == "pass"


def test_every_turn_is_judged_with_the_conversation_before_it(linear):
    judge = Listening()
    found(linear, dialogues("ms", n=8), judge=judge)
    prompts = {one.prompt for one in judge.seen}
    assert {len(prompt) for prompt in prompts} == {1, 3}
    assert {prompt[1] for prompt in prompts if len(prompt) == 3} == {"up", "down"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompts": ["moved0", "moved1"]}, r"prompt 0 has 1 turn\(s\), and drift is between turn 1 and a later one: give it 2 or more"),
        ({"prompts": dialogues("mm", n=8), "from_turn": 2}, r"prompt 0 has 2 turn\(s\), and drift is between turn 2"),
        ({"limit": -0.1}, "limit"),
        ({"limit": 2}, "limit 2 cannot fail"),
        ({"by": "length"}, "by"),
        ({"by": "score"}, "have no score in their first or last turn"),
        ({"direction": "lowers"}, "direction"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_an_error(linear, more, message):
    more = {"prompts": dialogues("mm", n=8)} | more
    with pytest.raises((SteerError, TypeError), match=message):
        found(linear, more.pop("prompts"), **more)


def test_the_record_is_that_of_the_schema_and_has_the_curve(linear):
    evidence = found(linear, dialogues("ms", "mm", n=10))
    record = evidence.to_dict()
    jsonschema.Draft202012Validator({"$ref": "#/$defs/ClaimRecord", "$defs": report_schema()["$defs"]}).validate(record)
    assert shown(evidence, Curve).series[0].points == [(1, 1.0), (2, 0.5)]
    assert "turn 2: effect 0.5" in evidence.message
    assert record["replies"]["of"][0]["steered"]["turns"] == ["down", "up"]  # the widest drift first


def test_a_claim_file_asks_its_prompts(linear, tmp_path):
    linear.vector().save(tmp_path / "v.safetensors")
    lines = [f'{{"turns": ["{a}", "{b}"]}}' for a, b in zip(MOVED[:20], MOVED[20:], strict=True)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "a.steer.yaml").write_text(
        "vector: {file: v.safetensors, positions: all, include_first: true}\ndata: {prompts: prompts.jsonl}\n"
        "claims:\n  - drifts_less: {limit: 0.2, judge: {regex: down}, max_new_tokens: 4}\n",
        encoding="utf-8",
    )
    suite = read_suite(tmp_path / "a.steer.yaml")
    claim = Builder(linear.model).build(suite, suite.entries[0])
    assert (len(claim.prompts), claim.prompts.most_turns, claim.limit) == (20, 2, 0.2)


def test_an_effect_that_is_not_there_does_not_drift_and_that_is_told(linear):
    evidence = found(linear, dialogues("mm", n=30), judge={"regex": "dwon"})
    assert evidence.verdict.value == "pass"
    assert said(evidence, "the judge calls all 120 replies")
    assert said(evidence, "in turn 1 no effect of steering is proven")
    assert not said(found(linear, dialogues("mm", n=30)), "no effect of steering is proven")


@pytest.mark.parametrize("limit", [0.2, 0.3])
def test_how_many_dialogues_decide_where_none_drifts(linear, limit):
    """The least number whose exact bound is within the limit; a smaller one leaves the claim open."""
    needed = found(linear, dialogues("mm", n=12), limit=limit).items_needed
    decides = [change_difference(np.zeros(n), confidence=0.95).high <= limit for n in (needed - 1, needed)]
    assert decides == [False, True]


def test_equal_drifts_of_scores_are_doubted(linear):
    evidence = found(linear, dialogues("mm", n=12), judge=Listening(), by="score")
    assert (evidence.verdict.value, evidence.interval) == ("pass", (0.0, 0.0))
    assert any(
        warning.startswith("all 12 values are equal, so the interval has no width; up to 22%")
        for warning in evidence.warnings
    )


def test_samples_in_clusters_ask_for_more_prompts(linear):
    evidence = found(linear, dialogues("mm", n=12), samples=2, temperature=0.1)
    assert (evidence.verdict.value, evidence.items_needed) == ("inconclusive", None)
    assert "not enough evidence: measure more prompts" in evidence.message
