"""Every trait of a chat template with every kind of vocabulary, item and scope: what is measured is a plain forward over the template's own
rendering of the whole conversation, and generation under steering is what full recomputation gives."""

from __future__ import annotations

import copy
from functools import cache

import builders
import numpy as np
import plain
import plain_chat
import pytest
import torch
from chat_templates import BY_NAME, CASES, SYSTEM, VOCABULARIES
from tokenizers import processors

from pytest_steer import Context, ContrastItem, generate, propensity_curve, wrap_model
from pytest_steer.model import steered

SCOPES = ("all", "after_prompt", "last")
GRID = (-1.0, 0.0, 1.0)
ITEMS = (
    ContrastItem("Is it so?\n(A) Yes\n(B) No", ("(A)",), ("(B)",), "lettered"),
    ContrastItem("Is it so?", (" Yes",), (" No",), "yes or no"),
    ContrastItem("Do you?", ("surely",), ("no way, not (at) all",), "worded"),
    ContrastItem("When?", ("now", "Yes, soon"), ("some day",), "several right answers"),
)
NEW = 4

_NAMES = tuple(VOCABULARIES)


def pairs(every_day):
    """All templates with all vocabularies; each template is tried with so many of them every day, and with the rest at night."""
    found = []
    for number, case in enumerate(CASES):
        daily = {_NAMES[(number + 3 * k) % len(_NAMES)] for k in range(every_day)}
        for name in _NAMES:
            marks = () if name in daily else (pytest.mark.nightly,)
            found.append(pytest.param(case.name, name, id=f"{case.name}-{name}", marks=marks))
    return found


@pytest.fixture(autouse=True)
def _day(monkeypatch):
    plain_chat.fix_the_day(monkeypatch)


@cache
def hf():
    return builders.random_hf("llama", vocab_size=builders.VOCABULARY + 16)


@cache
def fast_tokenizer(name, vocabulary):
    """Our template's tokenizer, its markers as tokens of their own unless the vocabulary spells them out."""
    found = copy.deepcopy(builders.tokenizer(BY_NAME[name].source, **VOCABULARIES[vocabulary]))
    if vocabulary != "markers spelled out":
        found.add_special_tokens({"additional_special_tokens": BY_NAME[name].markers})
    if vocabulary == "no pad token":
        found.pad_token = None
    return found


@cache
def model_of(name, vocabulary):
    own = fast_tokenizer(name, vocabulary)
    if vocabulary == "slow":
        own = builders.Slow(own)
    if vocabulary == "spans without white space":  # as those of RoBERTa's kind say them
        own = copy.deepcopy(own)
        trimmed = processors.ByteLevel(trim_offsets=True)
        own.backend_tokenizer.post_processor = processors.Sequence([trimmed, own.backend_tokenizer.post_processor])
    return wrap_model(hf(), own, f"{name}, {vocabulary}")


def _given(case):
    """Settings without which the template cannot render; whether it thinks is left as it is."""
    return {} if "enable_thinking" in case.settings else case.settings


VECTOR = builders.random_vector(0, 2)


@pytest.mark.covering(1)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("name", "vocabulary"), pairs(2))
def test_values_are_plain_forwards_over_the_templates_own_rendering(name, vocabulary, scope):
    case, model, fast = BY_NAME[name], model_of(name, vocabulary), fast_tokenizer(name, vocabulary)
    got = propensity_curve(model, ITEMS, VECTOR, multipliers=GRID, positions=scope).values
    for values, item in zip(got, ITEMS, strict=True):
        sides, single = plain_chat.answers(fast, case, item)

        def plainly(m, scope=scope, late=False, sides=sides, single=single):
            return plain_chat.propensity(hf(), sides, single, VECTOR.directions, m, scope, late=late)

        # One position later and the first scored token would be predicted by an unsteered one: those values are others.
        late = [plainly(m, "last", late=True) for m in (-1, 1)]
        np.testing.assert_allclose(values, [plainly(m) for m in GRID], rtol=0, atol=1e-4, err_msg=item.id)
        assert np.abs(values[[0, 2]] - late).min() > 1e-3, item.id


@pytest.mark.covering(1)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("name", "vocabulary"), pairs(1))
def test_cached_generation_is_full_recomputation(name, vocabulary, scope):
    """``steering`` around transformers' own generation, and ``generate``: the first new token is steered in every scope."""
    case, model, fast = BY_NAME[name], model_of(name, vocabulary), fast_tokenizer(name, vocabulary)
    for question in ("Is it so?", "Tell me"):
        if case.source is None:
            prompt = f"Question: {question}{case.generation}"
        else:
            prompt = fast.apply_chat_template(
                case.messages(question), tokenize=False, add_generation_prompt=True, **_given(case)
            )
        turn_end = prompt.rindex(question) + len(question) + len(case.closing)
        assert prompt[turn_end:] == case.generation
        asked = plain_chat.scored(fast, plain_chat.Reply(prompt + "x", len(prompt), turn_end, case.source is None))
        found = fast(prompt, add_special_tokens=case.source is None, return_offsets_mapping=True)
        ids = [
            i
            for i, (_, end) in zip(found["input_ids"], found["offset_mapping"], strict=True)
            if end or i != fast.eos_token_id
        ]
        turn = min(asked.turn, len(ids) - 1)
        start = {"all": 1, "after_prompt": turn, "last": len(ids) - 1}[scope]
        want = plain.greedy(hf(), ids, NEW, VECTOR.directions, 1.0, start)
        lengths = None if case.source is not None or scope != "after_prompt" else asked.turn
        with steered(model, VECTOR, positions=scope, prompt_lengths=lengths), torch.no_grad():
            out = hf().generate(input_ids=torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, use_cache=True)
        assert out[0, len(ids) :].tolist() == want, question
        (written,) = generate(model, [question], VECTOR, multipliers=[1.0], positions=scope, max_new_tokens=NEW)
        assert list(written[0].tokens) == want, question


@pytest.mark.parametrize("case", [c for c in CASES if c.source], ids=lambda c: c.name)
def test_a_system_prompt_stands_where_the_template_puts_it(case):
    model = model_of(case.name, "bytes")
    curve = propensity_curve(model, ITEMS, VECTOR, multipliers=GRID, context=Context(system=SYSTEM))
    for item, values in zip(ITEMS, curve.values, strict=True):
        sides, single = plain_chat.answers(fast_tokenizer(case.name, "bytes"), case, item, SYSTEM)
        want = [plain_chat.propensity(hf(), sides, single, VECTOR.directions, m, "after_prompt") for m in GRID]
        np.testing.assert_allclose(values, want, rtol=0, atol=1e-4)
    if case.note:
        assert any(case.note in note for note in curve.asked[0].notes)
    assert SYSTEM in model.tokenizer.decode(curve.probes[0].ids)


@pytest.mark.parametrize("case", [c for c in CASES if c.source], ids=lambda c: c.name)
def test_open_thinking_takes_the_generation_prompt(case):
    model = model_of(case.name, "bytes")
    curve = propensity_curve(model, ITEMS[2:3], VECTOR, multipliers=GRID, context=Context(thinking="open"))
    fast = fast_tokenizer(case.name, "bytes")
    said = case.messages(ITEMS[2].question)
    prompt = fast.apply_chat_template(said, tokenize=False, add_generation_prompt=True, **_given(case))
    turn_end = prompt.rindex(ITEMS[2].question) + len(ITEMS[2].question) + len(case.closing)
    sides = [
        [plain_chat.scored(fast, plain_chat.Reply(prompt + answer, len(prompt), turn_end))]
        for answer in (ITEMS[2].matching[0], ITEMS[2].not_matching[0])
    ]
    want = [plain_chat.propensity(hf(), sides, False, VECTOR.directions, m, "after_prompt") for m in GRID]
    np.testing.assert_allclose(curve.values[0], want, rtol=0, atol=1e-4)
    assert curve.asked[0].thinking == "open"


def test_another_date_is_another_prompt():
    model = model_of("today's date", "bytes")
    curves = {
        date: propensity_curve(model, ITEMS, VECTOR, multipliers=GRID, context=Context(date=date))
        for date in (None, "2025-01-01", "2026-11-25")
    }
    assert np.array_equal(curves[None].values, curves["2025-01-01"].values)
    assert curves[None].probes == curves["2025-01-01"].probes
    for date, said in ((None, "01 Jan 2025"), ("2026-11-25", "25 Nov 2026")):
        assert f"<|day|>{said}<|user|>" in model.tokenizer.decode(curves[date].probes[0].ids)
    assert np.abs(curves[None].values - curves["2026-11-25"].values).min() > 1e-4


def test_where_steering_begins_in_a_conversation_whose_earlier_replies_have_another_opening():
    """Earlier replies stand in their channel; the last one's generation prompt has none yet."""
    model, case = model_of("channel before a reply alone", "labels merged"), BY_NAME["channel before a reply alone"]
    said = [*case.messages("Or?", reply="Yes"), *case.messages("Why?")]
    prompt = model.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    ids = plain.ids_of(model.tokenizer, prompt, special=False)
    assert model.tokenizer.decode(ids[-1]) == "<|bot|>"
    with steered(model, VECTOR, positions="after_prompt"), torch.no_grad():
        got = hf()(input_ids=torch.tensor([ids])).logits[0]
    want = plain.logits(hf(), ids, VECTOR.directions, 1.0, len(ids) - 1)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
