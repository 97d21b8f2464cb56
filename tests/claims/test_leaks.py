"""What a vector was made of is found in what it is tested on, in whatever form; and data that ask one question more than once."""

from __future__ import annotations

from dataclasses import replace

import builders
import pytest
from evidence import evidence_of, said

from pytest_steer import (
    Completion,
    ContrastItem,
    Dialogue,
    SteeringVector,
    assert_generalizes,
    assert_kl_below,
    assert_not_anti_steered,
    assert_ppl_delta_below,
    assert_steers,
    assert_steers_at_cost,
    extract,
)
from pytest_steer.claims.findings import leaks
from pytest_steer.data.traces import FORM, traces
from pytest_steer.stats import mean_t

C = {"up": 1.0, "down": -0.5, "half": 0.5, "low": -20.0}
TOPICS = ("river", "market", "garden", "bridge", "harbour", "winter", "letter", "candle", "island")


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)


def item(topic, one="up", other="down", **meta):
    return ContrastItem(f"Is the {topic} old, or is it new?", (one,), (other,), topic, meta)


def items(count=9, **meta):
    return [item(topic, "up" if at % 3 else "half", **meta) for at, topic in enumerate(TOPICS[:count])]


def lettered(labels, count=9, swap=False):
    first, second = ("new", "old")[:: -1 if swap else 1]
    one, two = (f"({label})" for label in labels)
    return [
        ContrastItem(f"How is the {t}?\n {one} {first} {t}\n {two} {second} {t}", (one,), (two,), t) for t in TOPICS[:count]
    ]


LEAK = "9 of these 9 items ask a question that the vector was extracted from, in another form or among other words"


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        (items(), [replace(one, question=f"{one.question} Say up or down.") for one in items()]),
        ([replace(one, question=f"{one.question} Say up or down.") for one in items()], items()),
        (items(), [replace(one, question=one.question.replace(",", " -")) for one in items()]),
        (items(), [replace(one, question=f"{at}. {one.question}") for at, one in enumerate(items())]),
        (lettered("AB"), lettered("AB", swap=True)),
        (lettered("AB"), lettered("12")),
        (lettered("AB"), lettered("21", swap=True)),
    ],
)
def test_items_in_another_form_are_found_in_the_training_data(trained, tested):
    model = builders.random_model("llama")
    vector = extract.caa(model, trained, layer=1)
    for claim, promise in ((assert_steers, {"steerability": 0.0}), (assert_not_anti_steered, {"share": 0.9})):
        found = evidence_of(claim, model, vector, tested, **promise, multipliers=(0.0, 1.0))
        assert "(such as " in said(found, LEAK)[0]
        assert "test it on questions that it did not see" in said(found, LEAK)[0]
    clean = [replace(one, question=one.question.replace("the", "your")) for one in tested]
    assert not said(evidence_of(assert_steers, model, vector, clean, steerability=0.0, multipliers=(0.0, 1.0)), "test it on")


@pytest.mark.parametrize("method", ["mean_difference", "pca", "icv", "leace"])
def test_items_are_found_in_training_texts(method):
    model = builders.random_model("llama")
    texts = [f"You asked: {one.question} I say {one.matching[0]} to that." for one in items()]
    others = [f"You say that your {topic} is {word}" for topic, word in zip(TOPICS, ("so", "it", "we") * 3, strict=True)]
    where = {} if method == "icv" else {"layer": 1}
    data = (texts, others) if method == "mean_difference" else ((texts, others),)
    vector = getattr(extract, method)(model, *data, **where)
    found = evidence_of(assert_not_anti_steered, model, vector, items(), share=0.9, by="effect")
    assert said(found, "9 of these 9 items ask what is in the texts that the vector was extracted from, in another form")
    clean = evidence_of(
        assert_not_anti_steered, model, extract.mean_difference(model, others, others[1:], layer=1), items(), share=0.9
    )
    assert not said(clean, "extracted from")


def test_neutral_texts_that_are_training_texts(linear):
    model = builders.random_model("llama")
    texts = [f"The {topic} is old and so is the town around it" for topic in TOPICS]
    vector = extract.mean_difference(model, texts, [f"{text} in spring" for text in texts], layer=1)
    own = "9 of these 9 texts repeat texts that the vector was extracted from (such as"
    for neutral in ([text.upper() for text in texts], [f"{text}, they say." for text in texts]):
        found = evidence_of(assert_ppl_delta_below, model, vector, neutral, limit=0.5)
        assert said(found, "9 of these 9 texts repeat texts that the vector was extracted from")
        assert said(found, "so its cost is judged on what it was made of: take other neutral texts")
    assert said(found, own)
    found = evidence_of(assert_steers_at_cost, model, vector, items(), texts, effect=0.0, budget=0.5)
    assert said(found, "9 of these 9 texts repeat texts that the vector was extracted from")
    others = [f"No {topic} was there when we came" for topic in TOPICS]
    assert not said(evidence_of(assert_ppl_delta_below, model, vector, others, limit=0.5), "extracted from")


def test_neutral_texts_that_are_training_answers(tmp_path):
    model = builders.random_model("llama")
    trained = [item(t, f"The {t} is old and worn.", f"No, the {t} is new.") for t in TOPICS]
    file = extract.caa(model, trained, layer=1).save(tmp_path / "v.safetensors")
    vector = SteeringVector.load(tmp_path / "v.safetensors" if file is None else file)
    texts = [f"the {t} is OLD, and worn" for t in TOPICS]
    others = [f"No {t} was there when we came" for t in TOPICS]
    for neutral in (texts, [Completion(f"And the {t}?", text) for t, text in zip(TOPICS, texts, strict=True)]):
        for assertion in (assert_ppl_delta_below, assert_kl_below):
            found = evidence_of(assertion, model, vector, [*neutral[:3], *others], limit=0.5)
            assert said(
                found, "3 of these 12 texts are answers that the vector was extracted from (such as 'the river is OLD"
            )
    for assertion in (assert_ppl_delta_below, assert_kl_below):
        assert not said(evidence_of(assertion, model, vector, others, limit=0.5), "extracted from")
    # Labels and single words stand in any text.
    short = extract.caa(model, items(), layer=1)
    assert "answer_forms" not in short.metadata


def test_a_vector_of_an_older_form_says_that_it_cannot_be_compared(linear, tmp_path):
    old = {"method": "caa", "data_hash": "0" * 64, "item_hashes": ["0" * 16]}
    file = tmp_path / "old.safetensors"
    SteeringVector(linear.vector().directions, old).save(file)
    vector = SteeringVector.load(file)
    words = "whether the vector was extracted from these {} cannot be compared"
    assert said(evidence_of(assert_steers, linear.model, vector, items(), steerability=0.1), words.format("items"))
    texts = [f"{topic} down half up" for topic in TOPICS]
    assert said(evidence_of(assert_ppl_delta_below, linear.model, vector, texts, limit=50.0), words.format("texts"))
    for record in ({**old, "item_form": FORM}, {"method": "by hand"}, {"source": {"format": "repeng"}}):
        clean = SteeringVector(linear.vector().directions, record)
        assert not said(evidence_of(assert_steers, linear.model, clean, items(), steerability=0.1), "cannot be compared")


def test_the_base_data_in_another_form_are_a_warning_and_no_error(linear):
    asked = [replace(one, question=f"{one.question} Say it.") for one in items()]
    found = evidence_of(
        assert_generalizes, linear.model, linear.vector(), items(), retention=0.5, data_sets={"other": asked}
    )
    assert said(found, "other: 9 of its 9 items ask a question of the base data too, or nearly do")


# --- one question more than once ---------------------------------------------------------------------------------------------


def test_numbered_twins_warn(linear):
    numbered = [replace(item("river"), question=f"{n}. Is the river old, or is it new?") for n in range(9)]
    found = evidence_of(assert_steers, linear.model, linear.vector(), numbered, steerability=0.1)
    assert found.n == 9
    assert said(
        found, "9 of these 9 items differ in nothing but numbers or punctuation from another one (such as '0. Is the"
    )
    together = [replace(one, meta={"about": n // 2}) for n, one in enumerate(numbered[:2])] + [
        replace(one, meta={"about": one.id}) for one in items()
    ]
    assert not said(
        evidence_of(assert_steers, linear.model, linear.vector(), together, steerability=0.1, cluster="about"), "numbers"
    )


def test_one_question_with_other_answers_is_one_cluster(linear):
    data = [*items(), *(item(topic, "half", "low") for topic in TOPICS[:4])]
    found = evidence_of(assert_steers, linear.model, linear.vector(), data, steerability=0.1)
    slopes = [C[one.matching[0]] - C[one.not_matching[0]] for one in data]
    inferred = mean_t(slopes, clusters=[*range(9), *range(4)])
    assert (found.n, found.unit) == (9, "clusters")
    assert found.interval == pytest.approx((inferred.low, inferred.high), abs=1e-5)
    assert said(found, "13 items are counted as 9 clusters: some ask one question with other answers")
    one_question = [replace(one, question="Which?", matching=(one.id, one.matching[0])) for one in items()]
    found = evidence_of(assert_steers, linear.model, linear.vector(), one_question, steerability=0.1)
    assert (found.n, found.unit) == (9, "items")
    assert said(found, "these 9 items ask one question with other answers, and n counts the answers")


_ASKED = ("How do rivers begin?", "Why is the sea salt?", "Where do birds sleep?", "What makes bread rise?")


@pytest.mark.parametrize("turn", [0, 1])
def test_a_training_question_in_any_turn_is_found(turn):
    record = {**traces([_ASKED[0]]), "data_hash": "x"}
    turns = [_ASKED[1], "And tell me more, please."]
    turns[turn] = _ASKED[0]
    asked = ["\n\n".join(Dialogue(tuple(turns)).asked), *_ASKED[2:]]
    (warning,) = leaks(record, asked, "y", unit="prompts")
    assert warning.startswith("1 of these 3 prompts ask a question that the vector was extracted from")
    assert leaks(record, _ASKED[2:], "y", unit="prompts") == []
