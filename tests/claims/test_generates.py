"""``generates``: against a model whose replies are known, with what is undetermined and missing filled both ways."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from evidence import evidence_of, said
from replying import BARE, DOWN, MOVED, SILENT, STAYS, Listening, looping, moving
from scipy import stats

from pytest_steer import Context, Dialogue, SteerError, assert_generates
from pytest_steer.claims import rulings
from pytest_steer.claims.drawn import explain
from pytest_steer.claims.kinds.generates import Generates
from pytest_steer.core.columns import columns_of
from pytest_steer.core.errors import MeasurementError
from pytest_steer.report import report_schema
from pytest_steer.stats import Verdict, paired_share_difference, share_difference_of_clusters, share_of_clusters


@pytest.fixture(scope="module")
def linear():
    return moving()


def found(linear, prompts, share=0.5, judge=DOWN, **more):
    settings = {"max_new_tokens": 4, "context": BARE, "include_first": True} | more
    return evidence_of(assert_generates, linear.model, linear.vector(), prompts, share=share, judge=judge, **settings)


def bounds(k, n, confidence=0.95):
    low = stats.binomtest(k, n, alternative="greater").proportion_ci(confidence).low
    return low, stats.binomtest(k, n, alternative="less").proportion_ci(confidence).high


@pytest.mark.parametrize(("moved", "verdict"), [(18, "pass"), (2, "fail"), (11, "inconclusive")])
def test_the_share_of_accepted_replies(linear, moved, verdict):
    evidence = found(linear, [*MOVED[:moved], *STAYS[: 20 - moved]])
    assert evidence.verdict.value == verdict
    assert (evidence.estimate, evidence.n, evidence.unit) == (moved / 20, 20, "prompts")
    assert evidence.interval == pytest.approx(bounds(moved, 20))
    counts = evidence.replies.counts
    assert vars(counts.base) == {"accepted": 0, "rejected": 20, "undetermined": 0, "missing": 0}
    assert vars(counts.steered) == {"accepted": moved, "rejected": 20 - moved, "undetermined": 0, "missing": 0}


@pytest.mark.parametrize("direction", ["raises", "lowers"])
def test_an_undetermined_reply_counts_against_the_promise_for_a_pass_and_for_it_for_a_fail(linear, direction):
    evidence = found(linear, [*MOVED[:10], *STAYS[:6], *SILENT[:4]], direction=direction)
    assert evidence.interval == pytest.approx((bounds(10, 20)[0], bounds(14, 20)[1]))
    assert evidence.estimate == (0.5 if direction == "raises" else 0.7)
    assert np.mean(evidence.units.values) == pytest.approx(evidence.estimate)
    assert evidence.direction.value == ("at_least" if direction == "raises" else "at_most")
    assert evidence.replies.counts.steered.undetermined == 4
    assert "steered replies:   10 accepted, 6 rejected, 4 undetermined (4 empty)" in evidence.message


def test_replies_that_are_all_undetermined_prove_nothing():
    linear = looping()
    for share in (0.01, 0.99):
        evidence = found(linear, MOVED[:20], share, multiplier=3.0, max_new_tokens=12)
        assert evidence.verdict is Verdict.INCONCLUSIVE
        assert evidence.interval == (0.0, 1.0)
        assert {one.steered.why.partition(":")[0] for one in evidence.replies.of} == {"loops"}
        assert any("undetermined" in line and "loops" in line for line in evidence.details["noted"])


@pytest.mark.parametrize("direction", ["raises", "lowers"])
def test_against_base_judges_the_paired_difference(linear, direction):
    evidence = found(linear, [*MOVED[:15], *STAYS[:5]], 0.3, against_base=True, direction=direction)
    up = (15, 0) if direction == "raises" else (0, 15)
    expected = paired_share_difference(*up, 20)
    assert (evidence.estimate, *evidence.interval) == pytest.approx((expected.estimate, expected.low, expected.high))
    assert evidence.verdict is (Verdict.PASS if direction == "raises" else Verdict.FAIL)


def test_against_base_the_undetermined_are_filled_on_both_sides(linear):
    evidence = found(linear, [*MOVED[:15], *STAYS[:1], *SILENT[:4]], 0.3, against_base=True)
    least, most = paired_share_difference(15, 4, 20), paired_share_difference(19, 0, 20)
    assert (evidence.estimate, *evidence.interval) == pytest.approx((least.estimate, least.low, most.high))
    assert evidence.units.kind == "change"
    assert np.mean(evidence.units.values) == pytest.approx(evidence.estimate)


@pytest.mark.parametrize("against_base", [False, True])
def test_samples_of_one_prompt_are_one_cluster(linear, against_base):
    evidence = found(
        linear, [*MOVED[:8], *STAYS[:8]], 0.3, samples=3, temperature=1.5, against_base=against_base, max_new_tokens=3
    )
    of = sorted(evidence.replies.of, key=lambda one: (int(one.id), one.sample))
    assert [(int(one.id), one.sample) for one in of] == [(prompt, sample) for prompt in range(16) for sample in range(3)]
    known = {"accepted": (1, 1), "rejected": (0, 0), "undetermined": (0, 1)}
    steered, base = ([known[getattr(one, side).outcome] for one in of] for side in ("steered", "base"))
    clusters = tuple(int(one.id) for one in of)
    if against_base:
        fillings = [[s[at] - b[1 - at] for s, b in zip(steered, base, strict=True)] for at in (0, 1)]
        least, most = (share_difference_of_clusters(np.array(one, dtype=float), clusters) for one in fillings)
    else:
        least, most = (share_of_clusters([bool(one[at]) for one in steered], clusters) for at in (0, 1))
    assert len({one.steered.turns[0] for one in of}) > 2  # else they would not vary
    assert (evidence.estimate, *evidence.interval) == pytest.approx((least.estimate, least.low, most.high))
    assert (evidence.n, evidence.unit, evidence.units.clusters) == (16, "prompts", clusters)
    assert evidence.details["clusters"] == {"key": None, "items": 48, "largest": 3, "unit": "replies"}


def test_a_missing_judgement_counts_as_an_undetermined_reply(linear):
    evidence = found(linear, [*MOVED[:24], *STAYS[:6]], judge=Listening(missing=3))
    assert evidence.interval == pytest.approx((bounds(21, 30)[0], bounds(24, 30)[1]))
    assert vars(evidence.replies.counts.steered) == {"accepted": 21, "rejected": 6, "undetermined": 0, "missing": 3}
    with pytest.raises(MeasurementError, match="no judgement for 4 of"):
        found(linear, [*MOVED[:24], *STAYS[:6]], judge=Listening(missing=4))


def test_the_judge_sees_one_reply_at_a_time_and_not_its_side(linear):
    judge = Listening()
    evidence = found(linear, [*MOVED[:5], *STAYS[:3], *SILENT[:2]], judge=judge)
    shown = [(one.prompt, one.reply, one.id) for one in judge.seen]
    both = [((word,), reply, "") for word in MOVED[:5] for reply in ("up", "down")]
    assert sorted(shown) == sorted([*both, *(((word,), "up", "") for word in STAYS[:3])])
    assert evidence.replies.of[-1].steered.said == "I looked"
    assert evidence.replies.of[-1].steered.score == 4


def test_all_replies_empty_is_an_error(linear):
    with pytest.raises(MeasurementError, match="all 8 replies of the unsteered model are empty"):
        found(linear, SILENT[:8])


def test_the_reply_to_the_last_turn_is_judged_after_the_models_own(linear):
    judge = Listening()
    prompts = [Dialogue((f"stays{i}", f"moved{i}")) for i in range(6)]
    evidence = found(linear, prompts, judge=judge, from_turn=2)
    assert evidence.estimate == 1
    assert {one.prompt for one in judge.seen} == {(f"stays{i}", "up", f"moved{i}") for i in range(6)}
    assert evidence.replies.of[0].steered.turns == ("up", "down")
    assert evidence.replies.of[0].base.turns == ("up", "up")
    with pytest.raises(SteerError, match="nothing is steered from turn 2"):
        found(linear, [*prompts, "moved9"], from_turn=2)


def test_the_worst_replies_stand_first_and_base_above_steered(linear):
    evidence = found(linear, [*MOVED[:9], *STAYS[:2], *SILENT[:1]], 0.99)
    assert [one.prompt[0] for one in evidence.replies.of[:4]] == ["stays0", "stays1", "silent0", "moved0"]
    lines = evidence.message.split("\n")
    at = lines.index("  worst replies:")
    assert lines[at + 1 : at + 10] == [
        "    [9] stays0",
        "      base:    rejected  'up'",
        "      steered: rejected  'up'",
        "    [10] stays1",
        "      base:    rejected  'up'",
        "      steered: rejected  'up'",
        "    [11] silent0",
        "      base:    undetermined (empty)  ''",
        "      steered: undetermined (empty)  ''",
    ]


def test_a_long_reply_is_cut_to_the_width_and_kept_up_to_a_limit(monkeypatch):
    linear = looping()
    monkeypatch.setattr(rulings, "MAX_CHARACTERS", 100)
    evidence = found(linear, MOVED[:9], multiplier=3.0, max_new_tokens=60)
    assert {one.steered.turns[0] for one in evidence.replies.of} == {("on " * 60)[:100]}
    assert all(one.steered.cut for one in evidence.replies.of)
    lines = [line for line in explain(evidence, width=60).split("\n") if line.startswith("      steered:")]
    assert [columns_of(line) for line in lines] == [60] * 3
    assert all(line.endswith("…") for line in lines)


def test_the_record_is_that_of_the_schema_and_says_what_was_asked(linear):
    evidence = found(linear, [*MOVED[:9], *SILENT[:1]], judge=Listening())
    record = json.loads(json.dumps(evidence.to_dict()))
    jsonschema.Draft202012Validator({"$ref": "#/$defs/ClaimRecord", "$defs": report_schema()["$defs"]}).validate(record)
    replies = record["replies"]
    assert (replies["span"], replies["judge"]["judge"], replies["max_characters"]) == ("answer", "listening", 2000)
    assert replies["drawing"] == {"max_new_tokens": 4, "samples": 1, "temperature": None, "top_p": 1.0, "seed": 0}
    assert record["asked"]["first_item"] == [
        {"tokens": ["moved0"], "first_steered": 0, "first_scored": 1, "candidates": None}
    ]
    assert record["receipt"]["steered_tokens"] == 9 * 3 + 2  # prompt, word and end; prompt and end


def test_agreement_with_human_labels_stands_beside_the_claim(linear, tmp_path):
    labels = tmp_path / "labels.jsonl"

    def write(accepts):
        rows = [{"id": str(at), "side": "steered", "accepted": accepts(at)} for at in range(20)]
        labels.write_text("\n".join(map(json.dumps, rows)))
        return found(linear, [*MOVED[:10], *STAYS[:10]], labels=labels)

    evidence = write(lambda at: at < 9)  # of ten that the judge accepts, people accept nine
    agreed = evidence.replies.agreement
    assert (agreed.kappa, agreed.n) == (pytest.approx(0.9), 20)
    assert "judged: the answer, by regex; Cohen's kappa with 20 human labels 0.9 [" in evidence.message
    assert any(line.startswith("Cohen's kappa with 20 human labels 0.9 [") for line in evidence.details["noted"])
    assert not said(evidence, "kappa")
    assert said(write(lambda at: at % 2 == 0), "below 0.4 its verdicts mean little")
    same = write(lambda at: True)
    assert same.replies.agreement.kappa is not None


def test_a_steering_vector_that_changes_no_reply_is_told(linear):
    assert said(found(linear, STAYS[:9]), "every reply is that of the unsteered model")
    assert not said(found(linear, MOVED[:9]), "every reply is that of the unsteered model")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": -0.2}, "share is above 0"),
        ({"share": 1}, "share"),
        ({"span": "reply"}, "span"),
        ({"samples": 3}, "temperature"),
        ({"judge": {"regx": "a"}}, "regex"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_settings_that_cannot_be_used(linear, wrong, message):
    with pytest.raises(SteerError, match=message):
        found(linear, MOVED[:9], **{"share": 0.5, **wrong})


@pytest.mark.parametrize(("word", "direction"), [("dwon", "lowers"), ("[du]", "raises")])
def test_a_judge_that_says_the_same_of_all_replies_is_told(linear, word, direction):
    evidence = found(linear, MOVED[:20], 0.3, judge={"regex": word}, direction=direction)
    assert evidence.verdict.value == "pass"
    assert said(evidence, "the judge calls all 40 replies")
    assert not said(found(linear, MOVED[:20], 0.3), "the judge calls all")


@pytest.mark.parametrize(
    "more", [{"share": 0.01}, {"share": 0.99, "direction": "lowers"}, {"share": -0.9, "against_base": True}]
)
def test_a_share_that_can_hardly_fail_is_told(linear, more):
    assert said(found(linear, MOVED[:8], **more), "this promise can hardly fail: share")


def test_one_text_as_the_reply_to_every_prompt_is_told():
    loop = looping()
    for tokens, is_long in ((8, True), (7, False)):
        settings = {"max_new_tokens": tokens, "context": BARE, "include_first": True, "multiplier": 3.0}
        evidence = evidence_of(assert_generates, loop.model, loop.vector(), MOVED[:8], share=0.5, judge=DOWN, **settings)
        assert bool(said(evidence, "all 8 replies are one text of 8 tokens")) is is_long


@pytest.mark.parametrize(
    "other",
    [
        {"max_new_tokens": 5},
        {"samples": 2, "temperature": 0.7},
        {"from_turn": 2},
        {"context": Context(system="Be odd.")},
        {"span": "both"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_replies_that_were_written_otherwise_are_not_those_of_the_baseline(linear, other):
    """In ``units.how``, in which a difference makes two runs not comparable."""

    def how(**more):
        return Generates(linear.vector(), ["a", "b"], share=0.5, judge=DOWN, **more).how

    assert how() == how()
    assert how(**other) != how()
