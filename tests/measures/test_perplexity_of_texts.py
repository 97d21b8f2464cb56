"""Perplexity of completions and of texts in windows, against plain forwards: one sequence, one hook, nothing shared."""

from __future__ import annotations

import math

import builders
import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer import Completion, Deployed, multipliers_at_cost, perplexity, wrap_model
from pytest_steer.core.errors import DataError, SteerError
from pytest_steer.measures.asking import Windows

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=300)
FAMILIES = ["llama", "gpt2", "neox", "gemma3", "mamba"]
FAMILIES = [family for family in FAMILIES if family in builders.FAMILIES]
TEXTS = [
    Completion("What is a lichen?", "A fungus and an alga."),
    Completion("Is it Yes?", "  Yes, it is.\n"),
    "A plain text, beside them.",
    Completion("Why does the ferry wait so long, and for whom?", "No"),
]
M = 1.5


def rendered(tokenizer, text):
    """(turn, prompt, whole, special tokens): the template's own rendering of the conversation, or Question: / Answer:."""
    said = text.text.strip()
    if not tokenizer.chat_template:
        turn = f"Question: {text.prompt}"
        return turn, f"{turn}\n\nAnswer: ", f"{turn}\n\nAnswer: {said}", True
    user = {"role": "user", "content": text.prompt}
    turn = tokenizer.apply_chat_template([user], tokenize=False)
    whole = tokenizer.apply_chat_template([user, {"role": "assistant", "content": said}], tokenize=False)
    prompt = whole[: whole.rindex(said)]
    return turn, prompt, prompt + said, False


def plain_ids(tokenizer, text, scope):
    """Tokens, the first scored one, and the first steered one."""
    if isinstance(text, str):
        return plain.ids_of(tokenizer, text, special=True), 1, 1
    turn, prompt, whole, special = rendered(tokenizer, text)
    found = tokenizer(whole, add_special_tokens=special, return_offsets_mapping=True)
    ids, ends = list(found["input_ids"]), [end for _, end in found["offset_mapping"]]
    first = next(at for at, end in enumerate(ends) if end > len(prompt))
    turn_tokens = len(plain.ids_of(tokenizer, turn, special))
    return ids, first, plain.start_of(scope, min(turn_tokens, first - 1), first)


def plain_nll(model, text, scope, vector, m):
    ids, first, start = plain_ids(model.tokenizer, text, scope)
    return -plain.mean_loglikelihood(plain.logits(model.hf, ids, vector.directions, m, start), ids, first), len(ids) - first


@pytest.mark.covering(1)
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_completions_as_one_plain_forward_scores_them(family, scope, chat):
    model, vector = builders.random_model(family, chat), builders.random_vector(1)
    found = perplexity(model, TEXTS, vector, multiplier=M, positions=scope)
    base = perplexity(model, TEXTS, positions=scope)
    known = [plain_nll(model, text, scope, vector, M) for text in TEXTS]
    unsteered = [plain_nll(model, text, scope, vector, 0.0) for text in TEXTS]
    np.testing.assert_allclose(found.per_text, [nll for nll, _ in known], rtol=1e-4)
    np.testing.assert_allclose(base.per_text, [nll for nll, _ in unsteered], rtol=1e-4)
    assert found.tokens.tolist() == [count for _, count in known]
    assert abs(found.per_text - base.per_text).min() > 1e-3
    assert found.mean_of_texts == pytest.approx(np.mean([math.exp(nll) for nll, _ in known]), rel=1e-3)
    assert found.of_the_mean_text == pytest.approx(math.exp(np.mean([nll for nll, _ in known])), rel=1e-3)


def test_equal_cost_on_completions_is_that_of_the_scope():
    """The cost that the search reports, against the plain one at the multiplier that it found."""
    model, vector = builders.random_model("llama"), builders.random_vector(1, norm=1.0)
    texts = [text for text in TEXTS if isinstance(text, Completion)]
    scope = "after_prompt"
    deployed = {"one": Deployed(vector, 1.0, scope), "two": Deployed(vector, 1.0, "last")}
    at = multipliers_at_cost(model, texts, deployed, budget=0.02)["one"]
    both = [[plain_nll(model, text, scope, vector, m)[0] for text in texts] for m in (at.multiplier, 0.0)]
    rises = np.subtract(*both)
    assert at.cost == pytest.approx(math.expm1(rises.mean()), rel=2e-2, abs=1e-5)
    ratio = np.exp(both[0]).mean() / np.exp(both[1]).mean()
    assert at.mean_rises[at.multiplier] == pytest.approx(ratio - 1, abs=1e-4)


# --- windows -------------------------------------------------------------------------------------------------------------


def transformers_windows(tokens, window, stride):
    """The loop of transformers' documentation, which scores tokens ``previous`` to ``end`` of each window (its very first one aside)."""
    found, previous = [], 0
    for begin in range(0, tokens, stride):
        end = min(begin + window, tokens)
        found.append((begin, end, max(previous, 1)))
        previous = end
        if end == tokens:
            break
    return found


@quickly
@given(st.integers(2, 300), st.integers(2, 64), st.data())
def test_windows_are_those_of_transformers_documentation(tokens, window, data):
    stride = data.draw(st.integers(1, window - 1))
    found = [(one.start, one.end, one.scored) for one in Windows(window, stride).over(tokens, 1)]
    assert found == [one for one in transformers_windows(tokens, window, stride) if one[1] > one[2]]


@quickly
@given(st.integers(2, 300), st.integers(2, 64), st.data())
def test_each_token_is_scored_exactly_once_and_has_one_before_it(tokens, window, data):
    stride, first = data.draw(st.integers(1, window - 1)), data.draw(st.integers(1, tokens - 1))
    found = Windows(window, stride).over(tokens, first)
    assert [at for one in found for at in range(one.scored, one.end)] == list(range(first, tokens))
    assert all(0 <= one.start < one.scored and one.end - one.start <= window for one in found)
    assert all(one.scored - one.start >= window - stride for one in found[1:])


LONG = ["The lichen on the wall is older than the wall. " * 3, "Short.", Completion("Why? " * 12, "Because it is so. " * 4)]


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_as_plain_forwards_score_them(family):
    model, vector = builders.random_model(family), builders.random_vector(1)
    found = perplexity(model, LONG, vector, multiplier=M, positions="after_prompt", window=40, stride=13)
    for got, count, text in zip(found.per_text, found.tokens, LONG, strict=True):
        ids, first, start = plain_ids(model.tokenizer, text, "after_prompt")
        total, scored = 0.0, 0
        for begin, end, previous in transformers_windows(len(ids), 40, 13):
            previous = max(previous, first)
            if end <= previous:
                continue
            own = ids[begin:end]
            rows = plain.logits(model.hf, own, vector.directions, M, max(start - begin, 1))
            total -= plain.mean_loglikelihood(rows, own, previous - begin) * (end - previous)
            scored += end - previous
        assert (count, scored) == (len(ids) - first, len(ids) - first)
        assert got == pytest.approx(total / scored, rel=1e-4)


def test_a_text_that_fits_is_scored_as_a_whole_and_a_longer_one_is_an_error_without_a_window():
    model = wrap_model(builders.random_hf("llama", max_position_embeddings=64), builders.tokenizer(), "short")
    whole = builders.random_model("llama")
    fits = ["Sixty-four tokens are more than this."]
    assert perplexity(model, fits, stride=8).per_text == pytest.approx(perplexity(whole, fits).per_text, rel=1e-6)
    with pytest.raises(DataError, match=r"text 0: has 141 tokens, but short takes at most 64"):
        perplexity(model, LONG[:1])
    in_windows = perplexity(model, LONG[:1], stride=8)
    assert len(in_windows.probes) > 1
    assert in_windows.per_text == pytest.approx(perplexity(whole, LONG[:1], window=64, stride=8).per_text, rel=1e-6)
    assert perplexity(model, LONG[:1], window=64).per_text == pytest.approx(perplexity(model, LONG[:1], stride=32).per_text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 1}, "window is a number of tokens, at least 2, not 1"),
        ({"stride": 0}, "stride is a number of tokens, at least 1, not 0"),
        ({"window": 32, "stride": 32}, "stride 32 is not smaller than the window of 32 tokens.*Write stride 16"),
        ({"window": 4000}, "window 4000: random llama takes at most .* tokens"),
    ],
)
def test_windows_that_cannot_be_used(given, message):
    with pytest.raises(SteerError, match=message):
        perplexity(builders.random_model("llama"), LONG[:1], **given)


def test_a_condition_on_the_prompt_looks_at_the_prompt_of_a_completion():
    """The probe says how many tokens are the prompt's."""
    model = builders.random_model("llama")
    probe = perplexity(model, TEXTS[:1]).probes[0]
    ids, first, _ = plain_ids(model.tokenizer, TEXTS[0], "all")
    assert (list(probe.ids), probe.score_from, probe.prompt_tokens) == (ids, first, first)


def test_what_is_no_text_is_an_error_that_names_it():
    model = builders.random_model("llama")
    with pytest.raises(DataError, match=r"texts is a list of texts, and a tuple is in it"):
        perplexity(model, [("prompt", "text")])
    for wrong in ({"prompt": " ", "text": "a"}, {"prompt": "a", "text": ""}, {"prompt": "a", "text": 1}):
        with pytest.raises(DataError, match="of a completion"):
            Completion(**wrong)
