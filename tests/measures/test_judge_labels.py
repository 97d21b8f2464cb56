"""Human labels of replies: files, which reply each is of, and the agreement of a judge with them."""

from __future__ import annotations

import json

import pytest
from sklearn.metrics import cohen_kappa_score

from pytest_steer.core.errors import DataError
from pytest_steer.core.record import Agreement
from pytest_steer.measures.judges import Exchange, Judgement, Rated, agreement, read_labels


def lines(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def rated(at: int, accepted: bool | None, *, side="steered", sample=0, reply=None) -> Rated:
    exchange = Exchange((f"question {at}",), reply or f"{side} {at}.{sample}", id=f"id{at}")
    return Rated(exchange, Judgement(accepted, missing=None if accepted is not None else "why"), side, sample)


def test_labels_of_json_lines(tmp_path):
    file = lines(
        tmp_path / "labels.jsonl",
        {"prompt": "question 1 ", "reply": " steered 1.0", "accepted": True, "by": "a person"},
        {"id": "id2", "side": "base", "accepted": False},
        {"id": 3, "side": "steered", "sample": 2, "accepted": True},
    )
    one, two, three = read_labels(file)
    assert (one.prompt, one.reply, one.accepted, one.where) == ("question 1", "steered 1.0", True, "line 1")
    assert (two.id, two.side, two.sample, two.accepted) == ("id2", "base", 0, False)
    assert (three.id, three.sample) == ("3", 2)
    assert one.is_of(rated(1, True))
    assert not one.is_of(rated(1, True, sample=1))
    assert not one.is_of(rated(2, True, reply="steered 1.0"))
    assert two.is_of(rated(2, True, side="base"))
    assert not two.is_of(rated(2, True))
    assert not three.is_of(rated(3, True))


def test_labels_of_a_table(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(
        "prompt,reply,accepted\nquestion 1,steered 1.0,yes\nquestion 2,steered 2.0,FALSE\nquestion 3,steered 3.0,1\n"
    )
    assert [one.accepted for one in read_labels(file)] == [True, False, True]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"reply": "a", "accepted": True}, "line 1: a label has either 'prompt' or 'id', and this one has neither"),
        ({"prompt": "q", "id": "1", "reply": "a", "accepted": True}, "line 1: a label has either 'prompt' or 'id', and this one has both"),
        ({"prompt": "q", "accepted": True}, "line 1: a label has either 'reply' or 'side', and this one has neither"),
        ({"prompt": "q", "reply": "a"}, "line 1: 'accepted' is true or false, not None"),
        ({"prompt": "q", "side": "left", "accepted": True}, "line 1: 'side' is base or steered, not 'left'"),
        ({"prompt": "q", "side": "base", "sample": -1, "accepted": True}, "line 1: 'sample' is a whole number from 0 on, not -1"),
        ("yes", "line 1: a label is an object with prompt, reply and accepted, not 'yes'"),
    ],
)  # fmt: skip
def test_a_wrong_label_is_named_with_its_line(tmp_path, entry, message):
    file = lines(tmp_path / "labels.jsonl", entry)
    with pytest.raises(DataError) as caught:
        read_labels(file)
    assert str(caught.value) == f"{file}: {message}"


def test_an_empty_file_has_no_labels(tmp_path):
    file = lines(tmp_path / "labels.jsonl")
    with pytest.raises(DataError, match="holds no labels"):
        read_labels(file)


def test_agreement_is_kappa_over_the_replies_that_have_both(tmp_path):
    people = [True] * 12 + [False] * 8
    judge = [True] * 9 + [False] * 3 + [True] * 2 + [False] * 6
    labels = read_labels(
        lines(
            tmp_path / "labels.jsonl",
            *({"id": f"id{at}", "reply": f"steered {at}.0", "accepted": one} for at, one in enumerate(people)),
            {"id": "id20", "reply": "steered 20.0", "accepted": True},
        )
    )
    replies = [rated(at, one) for at, one in enumerate(judge)]
    # A reply without a judgement, and one without a label, do not count.
    found = agreement(labels, [*replies, rated(20, None), rated(21, True)], source="labels.jsonl")
    assert found.kappa.estimate == pytest.approx(cohen_kappa_score(people, judge))
    assert found.kappa.low < found.kappa.estimate < found.kappa.high
    assert (found.n, found.warnings) == (20, ())
    assert found.record() == Agreement(kappa=found.kappa.estimate, interval=(found.kappa.low, found.kappa.high), n=20)


def test_little_agreement_is_a_warning(tmp_path):
    answers = [(True, True), (True, False), (False, True), (False, False)] * 3
    entries = [{"id": f"id{at}", "side": "steered", "accepted": one} for at, (one, _) in enumerate(answers)]
    labels = read_labels(lines(tmp_path / "labels.jsonl", *entries))
    found = agreement(labels, [rated(at, other) for at, (_, other) in enumerate(answers)], source="labels.jsonl")
    assert found.kappa.estimate == 0
    (warning,) = found.warnings
    assert warning.startswith("the judge hardly agrees with the labels in labels.jsonl: Cohen's kappa is 0.00 [-")
    assert "over 12 replies (6 are judged differently)" in warning


def test_labels_that_match_no_reply_are_named(tmp_path):
    entries = [{"id": f"id{at}", "reply": f"other {at}", "accepted": True} for at in range(5)]
    labels = read_labels(lines(tmp_path / "labels.jsonl", *entries))
    found = agreement(labels, [rated(at, True) for at in range(5)], source="labels.jsonl")
    assert (found.kappa, found.n) == (None, 0)
    assert found.warnings == (
        "5 of the 5 labels in labels.jsonl match no reply of this run (line 1, line 2, line 3 and 2 more): the replies have changed, or a "
        "prompt or id has",
    )
    assert found.record() == Agreement(kappa=None, interval=None, n=0)


def test_agreement_without_both_sorts_is_not_defined_and_said(tmp_path):
    entries = [{"id": f"id{at}", "side": "steered", "accepted": True} for at in range(5)]
    labels = read_labels(lines(tmp_path / "labels.jsonl", *entries))
    found = agreement(labels, [rated(at, True) for at in range(5)], source="labels.jsonl")
    assert found.kappa is None
    assert found.warnings[0].startswith("the judge and the labels in labels.jsonl accept all 5 replies")


def test_labels_that_contradict_each_other_are_an_error(tmp_path):
    entries = [
        {"id": "id1", "side": "steered", "accepted": False},
        {"prompt": "question 1", "reply": "steered 1.0", "accepted": True},
    ]
    labels = read_labels(lines(tmp_path / "labels.jsonl", *entries))
    with pytest.raises(
        DataError, match=r"^labels.jsonl: line 2 accepts a reply that line 1 does not: 'steered 1.0'. Keep one"
    ):
        agreement(labels, [rated(1, True)], source="labels.jsonl")


def in_turn_two(at: int, side: str, accepted: bool) -> Rated:
    exchange = Exchange((f"question {at}", f"{side} said", "Why?"), f"{side} {at}", id=f"id{at}")
    return Rated(exchange, Judgement(accepted), side)


def test_a_label_is_of_one_dialogue(tmp_path):
    labels = read_labels(lines(tmp_path / "labels.jsonl", {"prompt": "Why?", "side": "base", "accepted": True}))
    with pytest.raises(DataError, match=r"labels.jsonl: line 1 is of replies to several dialogues, since its prompt 'Why"):
        agreement(labels, [in_turn_two(at, "base", True) for at in range(2)], source="labels.jsonl")


def test_replies_in_one_dialogue_are_a_cluster_whatever_was_said_before(tmp_path):
    """The same with and without a first turn of the model's own in between."""
    answers = [(at, side, at % 3 > 0, at % 4 > 0) for at in range(12) for side in ("base", "steered")]
    entries = [{"id": f"id{at}", "side": side, "accepted": one} for at, side, one, _ in answers]
    labels = read_labels(lines(tmp_path / "labels.jsonl", *entries))
    one = agreement(labels, [rated(at, other, side=side) for at, side, _, other in answers], source="labels.jsonl")
    two = agreement(labels, [in_turn_two(at, side, other) for at, side, _, other in answers], source="labels.jsonl")
    assert one.record() == two.record()
