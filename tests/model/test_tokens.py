"""Tokens of prompts and answers, and where the user's turn ends among them."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import ContrastItem, wrap_model
from pytest_steer.errors import DataError, TokenBoundaryError
from pytest_steer.model import encode, tokenize_item, tokenize_text
from pytest_steer.prompting import PromptFormat, render_item

ITEM = builders.LETTERED[0]
CHAT, PLAIN = builders.tokenizer(), builders.tokenizer(None)


def format_of(tokenizer):
    return wrap_model(builders.random_model("llama").hf, tokenizer, "m").format


def tokens_of(item, tokenizer):
    return tokenize_item(tokenizer, render_item(item, format_of(tokenizer)))


def texts(tokenizer, ids):
    return [tokenizer.decode([i]) for i in ids]


class Slow:
    """A tokenizer that cannot say where its tokens stand in the text."""

    is_fast = False

    def __init__(self, fast):
        self._fast = fast

    def __call__(self, text, *, return_offsets_mapping=False, **more):
        assert not return_offsets_mapping
        return self._fast(text, **more)

    def __getattr__(self, name):
        return getattr(self._fast, name)


# --- the parts of an item ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_the_users_turn_ends_where_the_opening_begins(wrap):
    found = tokens_of(ITEM, wrap(CHAT))
    assert texts(CHAT, found.prompt[found.turn_end :]) == ["<|im_start|>", *"assistant", "\n", "("]
    assert CHAT.decode(list(found.prompt[: found.turn_end])).endswith("(B) No<|im_end|>\n")
    assert (texts(CHAT, found.matching[0]), texts(CHAT, found.not_matching[0])) == (["A"], ["B"])
    assert found.is_single


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_the_plain_form(wrap):
    found = tokens_of(ITEM, wrap(PLAIN))
    assert PLAIN.decode(list(found.prompt[: found.turn_end])) == "Question: " + ITEM.question
    assert texts(PLAIN, found.prompt[found.turn_end :]) == ["\n", "\n", *"Answer", ":", " ", "("]


def test_yes_and_no_are_one_token_with_the_space_that_each_form_gives_them():
    item = ContrastItem("So?", ("Yes",), (" No",))
    assert texts(CHAT, tokens_of(item, CHAT).matching[0]) == ["Yes"]
    assert texts(PLAIN, tokens_of(item, PLAIN).not_matching[0]) == [" No"]
    assert tokens_of(item, CHAT).is_single
    assert tokens_of(item, PLAIN).is_single


def test_answers_of_several_tokens_and_alternatives():
    found = tokens_of(ContrastItem("So?", ("Yes", "sure"), ("not",)), CHAT)
    assert [texts(CHAT, ids) for ids in found.matching] == [["Yes"], list("sure")]
    assert [texts(CHAT, ids) for ids in found.not_matching] == [list("not")]
    assert not found.is_single


# --- the boundary between prompt and answer --------------------------------------------------------------------------------


def test_a_merge_across_the_boundary_is_an_error_that_shows_the_tokens():
    tokenizer = builders.tokenizer(merged=(("(", "A"),))
    # The question's own "(A)" may be merged, since it is not at the boundary; the opening "(" and the answer may not.
    with pytest.raises(TokenBoundaryError) as caught:
        tokens_of(ITEM, tokenizer)
    n = len(encode(tokenizer, render_item(ITEM, format_of(tokenizer)).prompt, special_tokens=False)[0])
    assert str(caught.value) == (
        f"item short: with the answer 'A' behind it, the prompt's token {n - 1} of {n} changes from '(' to '(A': the tokenizer "
        "merges the end of the prompt with the answer, so the answer cannot be scored by itself; use other answer labels or "
        "another opening"
    )


def test_a_merge_that_swallows_the_answer_is_an_error():
    tokenizer = builders.tokenizer(None, merged=((":", builders.SPACE), (":" + builders.SPACE, "x")))
    with pytest.raises(TokenBoundaryError, match=r"changes from ':' to ': x'"):
        tokens_of(ContrastItem("So?", ("x",), ("y",)), tokenizer)


def test_two_answers_with_the_same_tokens_are_an_error():
    words = builders.word_tokenizer(("Question:", "Answer:", "yes"))
    with pytest.raises(TokenBoundaryError, match="item 4: the answers ' foo' and ' bar' have the same tokens"):
        tokenize_item(words, render_item(ContrastItem("yes", ("foo",), ("bar",), "4"), PromptFormat()))


# --- where the user's turn ends ------------------------------------------------------------------------------------------


def test_a_token_that_reaches_over_the_turns_end_belongs_to_the_turn():
    """The turn ends in "?", the opening begins with a line feed; a tokenizer may make one token of both."""
    tokenizer = builders.tokenizer(None, merged=(("?", builders.LINE_FEED),))
    found = tokens_of(ContrastItem("So?", ("Yes",), ("No",)), tokenizer)
    assert texts(tokenizer, found.prompt[found.turn_end - 1 :]) == ["?\n", "\n", *"Answer", ":"]


def test_a_merge_of_the_turns_end_for_a_tokenizer_without_offsets():
    tokenizer = builders.tokenizer(None, merged=(("?", builders.LINE_FEED),))
    found = tokens_of(ContrastItem("So?", ("Yes",), ("No",)), Slow(tokenizer))
    assert texts(tokenizer, found.prompt[found.turn_end :]) == ["\n", *"Answer", ":"]


def test_a_template_that_writes_an_end_marker_unless_a_reply_follows():
    """As Phi-3's does: "<|im_end|>" closes the conversation, "<|im_start|>" opens the reply. The two markers' spellings
    begin alike, but each is one token, and the reply's first token is the one after the user's turn."""
    template = (
        "{% for message in messages %}<|im_start|>{{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<|im_end|>{% endif %}"
    )
    tokenizer = builders.tokenizer(template)
    found = tokens_of(ITEM, tokenizer)
    assert texts(tokenizer, found.prompt[found.turn_end :]) == ["<|im_start|>", *"assistant", "\n", "("]


# --- tokenizers that add special tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
@pytest.mark.parametrize(("begin", "end"), [(True, False), (False, True), (True, True)])
def test_a_begin_token_belongs_to_the_turn_and_an_end_token_is_left_out(begin, end, wrap):
    tokenizer = wrap(builders.tokenizer(None, begin=begin, end=end))
    bare, found = tokens_of(ITEM, PLAIN), tokens_of(ITEM, tokenizer)
    assert found.prompt == (1,) * begin + bare.prompt
    assert found.turn_end == bare.turn_end + begin
    assert (found.matching, found.not_matching) == (bare.matching, bare.not_matching)


def test_a_chat_template_writes_its_special_tokens_itself():
    tokenizer = builders.tokenizer(builders.CHATML, begin=True, end=True)
    assert tokens_of(ITEM, tokenizer) == tokens_of(ITEM, CHAT)


def test_an_end_token_that_the_text_itself_spells_stays():
    tokenizer = builders.tokenizer(None)
    assert encode(tokenizer, "x</s>", special_tokens=True)[0][-1] == tokenizer.eos_token_id


def test_of_two_end_tokens_the_one_in_the_text_stays():
    tokenizer = builders.tokenizer(None, end=True)
    ids, _ = encode(tokenizer, "x</s>", special_tokens=True)
    assert ids == tuple(PLAIN("x</s>")["input_ids"])


def test_texts_carry_the_begin_token_and_need_two_tokens():
    tokenizer = builders.tokenizer(begin=True, end=True)
    assert texts(tokenizer, tokenize_text(tokenizer, "ab", "text 0")) == ["<s>", "a", "b"]
    assert len(tokenize_text(tokenizer, "a", "text 0")) == 2
    with pytest.raises(DataError, match=r"text 3: has 1 token\(s\); every token but the first is scored"):
        tokenize_text(CHAT, "a", "text 3")
    with pytest.raises(DataError, match=r"text 4: has 0 token\(s\)"):
        tokenize_text(CHAT, "", "text 4")


def test_encode_says_where_tokens_begin():
    ids, starts = encode(PLAIN, "a Yes b", special_tokens=False)
    assert texts(PLAIN, ids) == ["a", " Yes", " ", "b"]
    assert starts == (0, 1, 5, 6)
    assert encode(Slow(PLAIN), "a Yes b", special_tokens=False) == (ids, None)
