"""Units: one frozen sequence for five kinds, and the sample of distinct ones with what belongs together."""

from __future__ import annotations

import hashlib
import json

import pytest

from pytest_steer import Completion, ContrastItem, Dialogue, Question, TaskItem
from pytest_steer.core.clusters import clusters_of
from pytest_steer.core.errors import DataError
from pytest_steer.core.record import Data
from pytest_steer.data import Dialogues, Items, Questions, Sample, Tasks, Texts, as_dialogues, as_texts, sample_of
from pytest_steer.data.questions import OWN_QUESTIONS

WORDS = ("rivers", "oceans", "birds", "bread", "storms")
QUESTIONS = ("How do rivers begin?", "Why is the sea salt?", "Where do birds sleep?", "What makes bread rise?")
SAID = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."})


def of_each_kind(count=5):
    words = WORDS[:count]
    return {
        "items": Items([ContrastItem(f"Of {word}?", ("yes",), ("no",), f"i{n}") for n, word in enumerate(words)]),
        "texts": Texts([Completion(f"Of {word}?", "Well.") for word in words], [f"t{n}" for n in range(len(words))]),
        "prompts": Dialogues([Dialogue((f"Of {word}?",), id=f"p{n}") for n, word in enumerate(words)]),
        "questions": Questions([Question(f"Of {word}?", ("one", "two"), 0, id=f"q{n}") for n, word in enumerate(words)]),
        "tasks": Tasks([TaskItem(word, word.upper()) for word in words]),
    }


KINDS = list(of_each_kind())


def codes(sample):
    return [finding.code for finding in sample.findings]


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_sequence_whose_slices_are_of_its_class(kind):
    units = of_each_kind()[kind]
    assert units[1:3] == list(units)[1:3]
    assert units[1:3] == tuple(units)[1:3]
    assert type(units[::2]) is type(units)
    assert units[::2].expression == f"{kind}[::2]"
    assert units[:] is units
    assert units != units[:2]
    assert hash(units) == hash(of_each_kind()[kind])
    assert units.part([2, 0]) == [units[2], units[0]]
    assert (units.source, units.part([0]).source) == (kind, kind)
    first = list(units[:2])
    assert units[:2] + units[2:] == units
    assert first + units[2:] == units
    assert type(first + units[2:]) is type(units)
    assert repr(units).startswith("<5 ")
    assert repr(units).endswith(f"from {kind}>")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_stay_with_their_units(kind):
    units = of_each_kind()[kind]
    if kind != "tasks":  # which have none, and count by place
        assert units[2:4].ids == units.ids[2:4]
        assert units.part([4, 0]).ids == (units.ids[4], units.ids[0])
    assert len(units.ids) == len(units.forms) == 5


def test_hashes_are_of_the_contents_in_order():
    def of(content):
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    kinds = of_each_kind(2)
    assert kinds["items"].hash == of([["Of rivers?", ["yes"], ["no"]], ["Of oceans?", ["yes"], ["no"]]])
    assert kinds["texts"].hash == of([["Of rivers?", "Well."], ["Of oceans?", "Well."]])
    assert kinds["prompts"].hash == of([[["Of rivers?"], [], []], [["Of oceans?"], [], []]])
    assert kinds["questions"].hash == of([["Of rivers?", ["one", "two"], 0, 1.0], ["Of oceans?", ["one", "two"], 0, 1.0]])
    assert kinds["tasks"].hash == of([["rivers", "RIVERS"], ["oceans", "OCEANS"]])
    other_ids = [ContrastItem(one.question, one.matching, one.not_matching, "other") for one in kinds["items"]]
    assert Items(other_ids, "elsewhere").hash == kinds["items"].hash
    assert kinds["tasks"].describe() == Data(hash=kinds["tasks"].hash, n=2, source="tasks")


@pytest.mark.parametrize("kind", KINDS)
def test_repeats_are_left_out_of_any_kind(kind):
    units = of_each_kind()[kind]
    sample = sample_of(units.part([0, 1, 1, 2, 0]))
    assert list(sample.units) == list(units[:3])
    assert type(sample.units) is type(units)
    assert (sample.n, sample.called, sample.counted, sample.clusters) == (3, kind, kind, None)
    assert codes(sample) == ["repeated-units"]
    assert str(sample.findings[0]) == (
        f"2 of these 5 {kind} repeat another one (white space aside) and are left out: 3 are distinct"
    )
    assert (sample.describe(), sample.details()) == (sample.units.describe(), {})
    assert (sample.names, sample.forms) == (list(sample.units.ids), sample.units.forms)


@pytest.mark.parametrize("kind", KINDS)
def test_one_unit_has_no_interval(kind):
    units = of_each_kind()[kind]
    message = rf"{kind}: has 1 {kind[:-1]}\(s\); an interval needs at least two"
    with pytest.raises(DataError, match=message):
        sample_of(units.part([0, 0]))
    one = sample_of(units.part([0, 0]), at_least=1)
    assert one.n == 1
    with pytest.raises(DataError, match=message):
        sample_of(one)


@pytest.mark.parametrize("kind", ["items", "texts", "prompts", "questions"])
def test_units_that_share_an_id(kind):
    units = of_each_kind()[kind]
    one = units.part([0])
    shared = {
        "items": lambda: Items([*one, ContrastItem("Other?", ("a",), ("b",), one.ids[0])]),
        "texts": lambda: Texts([*one, "other"], [*one.ids, *one.ids]),
        "prompts": lambda: Dialogues([*one, Dialogue(("Other?",), id=one.ids[0])]),
        "questions": lambda: Questions([*one, Question("Other?", ("a", "b"), 0, id=one.ids[0])]),
    }[kind]()
    (finding,) = sample_of(shared).findings
    assert (finding.code, finding.cure) == ("shared-ids", "give each an id of its own")
    assert str(finding).startswith(f"2 of these 2 {kind} share their id with another one (such as {one.ids[0]!r}, of 2)")


def test_parts_keep_clusters_that_have_more_than_one_unit():
    told = [Dialogue((QUESTIONS[0], then)) for then in ("Shorter.", "Longer.")]
    sample = sample_of(as_dialogues([*told, *QUESTIONS[1:]]))
    assert sample.part([1, 0, 3]).clusters == (0, 0, 2)
    assert sample.part([0, 2]).clusters is None
    assert sample_of(sample) is sample
    assert (sample.drawable, sample.part([0, 2]).drawable) == (0, 2)


def test_dialogues_that_begin_alike_are_one_cluster():
    told = [Dialogue((QUESTIONS[0], then)) for then in ("Shorter.", "Longer.")]
    sample = sample_of(as_dialogues([*told, *QUESTIONS[1:]]))
    assert (sample.n, sample.counted, sample.clusters) == (4, "clusters", (0, 0, 1, 2, 3))
    assert sample.details()["clusters"] == {"key": None, "items": 5, "largest": 2, "unit": "prompts"}
    apart = [told[0], Dialogue(told[1].turns, messages=SAID), *QUESTIONS[1:]]
    assert sample_of(as_dialogues(apart)).clusters is None  # another transcript before it
    named = [Dialogue((question,), cluster="all but one" if n else None) for n, question in enumerate(QUESTIONS)]
    assert sample_of(as_dialogues(named)).clusters == (0, 1, 1, 1)


def test_items_that_ask_one_question_are_one_prompt():
    items = [ContrastItem(question, (f"yes{n}",), ("no",)) for question in QUESTIONS for n in range(2)]
    assert sample_of(as_dialogues(items)).n == 4


def test_a_key_of_the_entries_names_clusters():
    prompts = as_dialogues([Dialogue((own,), meta={"topic": number % 2}) for number, own in enumerate(QUESTIONS)])
    assert sample_of(prompts, "topic").clusters == (0, 1, 0, 1)
    assert sample_of(prompts, "topic").key == "topic"
    with pytest.raises(DataError, match="none of its 4 items has the key 'topics'"):
        sample_of(prompts, "topics")
    with pytest.raises(DataError, match="all prompts are one cluster"):
        sample_of(as_dialogues([Dialogue((question,), meta={"topic": 1}) for question in QUESTIONS]), "topic")


def test_pairs_of_one_input_are_one_cluster():
    pairs = Tasks([TaskItem("hot", "cold"), TaskItem("hot", "icy"), TaskItem("big", "small"), TaskItem("far", "near")])
    sample = sample_of(pairs)
    assert (sample.clusters, sample.n) == ((0, 0, 1, 2), 3)
    assert sample.details() == {"clusters": {"key": None, "items": 4, "largest": 2}}
    with pytest.raises(DataError, match="tasks: all pairs are one cluster, which says nothing about others"):
        sample_of(pairs[:2])
    with pytest.raises(DataError, match=r"pair 1 \('b'\) has no 'kind', which cluster names: give one to every item"):
        sample_of(Tasks([TaskItem("a", "A", {"kind": 1}), TaskItem("b", "B")]), "kind")


def test_completions_of_one_prompt():
    replies = [Completion("Say.", word) for word in ("one", "two")]
    some = sample_of(as_texts([*replies, "Other text."], "mine"))
    assert (some.clusters, some.key, some.units.source) == ((0, 0, 1), "prompt", "mine")
    assert [str(one) for one in some.findings] == ["3 texts are counted as 2 clusters: some are completions of one prompt"]
    assert codes(some) == ["merged-clusters"]
    alone = sample_of(as_texts(replies))
    assert (alone.clusters, codes(alone)) == (None, ["one-prompt"])


def test_answers_to_one_question():
    items = Items([ContrastItem("How was it?", (f"{word} good",), ("bad",), word) for word in ("Very", "Quite", "Not")])
    assert codes(sample_of(items)) == ["one-question"]
    more = Items([*items, ContrastItem("And you?", ("well",), ("ill",), "you")])
    sample = sample_of(more)
    assert (sample.clusters, codes(sample)) == ((0, 0, 0, 1), ["merged-clusters"])
    assert str(sample.findings[0]).endswith("2 clusters: some ask one question with other answers")


def test_near_duplicates_are_not_looked_for_among_our_own_questions():
    asked = [Question(f"What is the sum of {n} and 3?", (str(n + 3), "none"), 0, id=str(n)) for n in range(2)]
    (finding,) = sample_of(Questions(asked)).findings
    assert (finding.code, finding.cure) == ("near-duplicates", "keep one of each")
    assert sample_of(Questions(asked, OWN_QUESTIONS)).findings == ()


def test_only_items_are_told_to_name_a_cluster():
    items = Items([ContrastItem(text, ("yes",), ("no",), text) for text in ("Is it red?", "is it red?")])
    (finding,) = sample_of(items).findings
    assert str(finding) == (
        "2 of these 2 items differ in nothing but case from another one (such as 'Is it red?'), and n counts each: if they are variants of each "
        "other, the interval is too narrow: keep one of each, or name what belongs together with cluster"
    )


def test_a_bad_text_is_named():
    with pytest.raises(DataError, match=r"mine: text 1 is a int: give a text"):
        sample_of(as_texts(["one", 2], "mine"))


def test_a_sample_is_made_of_units_alone():
    items = of_each_kind()["items"]
    assert (Sample(items).n, Sample(items).findings) == (5, ())


def test_clusters_join_what_shares_a_label_in_any_labeling():
    assert clusters_of("abc") is None
    assert clusters_of([]) is None
    assert clusters_of("aab", "xyy") == (0, 0, 0)
    assert clusters_of([3, 1, 3, 2], [0, 1, 2, 3]) == (0, 1, 0, 2)
    assert clusters_of([0, 1, 2, 0, 3], [0, 1, 5, 5, 3]) == (0, 1, 0, 0, 2)
