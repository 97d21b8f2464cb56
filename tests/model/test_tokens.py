"""Tokens of prompts and answers, and where the user's turn ends among them."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import ContrastItem, wrap_model
from pytest_steer.core.errors import DataError, TokenBoundaryError
from pytest_steer.model import encode, tokenize_item, tokenize_text
from pytest_steer.prompting import PromptFormat, render_item

Slow = builders.Slow
ITEM = builders.LETTERED[0]
CHAT, PLAIN = builders.tokenizer(), builders.tokenizer(None)


def format_of(tokenizer):
    return wrap_model(builders.random_model("llama").hf, tokenizer, "m").format


def tokens_of(item, tokenizer):
    return tokenize_item(tokenizer, render_item(item, format_of(tokenizer)))


def texts(tokenizer, ids):
    return [tokenizer.decode([i]) for i in ids]


# --- the parts of an item ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_the_users_turn_ends_where_the_opening_begins(wrap):
    found = tokens_of(ITEM, wrap(CHAT))
    assert texts(CHAT, found.prompt[found.turn_end :]) == ["<|im_start|>", *"assistant", "\n", "("]
    assert CHAT.decode(list(found.prompt[: found.turn_end])).endswith("(B) No<|im_end|>\n")
    assert (texts(CHAT, found.matching[0].scored), texts(CHAT, found.not_matching[0].scored)) == (["A"], ["B"])
    assert found.is_single


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_the_plain_form(wrap):
    found = tokens_of(ITEM, wrap(PLAIN))
    assert PLAIN.decode(list(found.prompt[: found.turn_end])) == "Question: " + ITEM.question
    assert texts(PLAIN, found.prompt[found.turn_end :]) == ["\n", "\n", *"Answer", ":", " ", "("]


def test_yes_and_no_are_one_token_with_the_space_that_each_form_gives_them():
    item = ContrastItem("So?", ("Yes",), (" No",))
    assert texts(CHAT, tokens_of(item, CHAT).matching[0].scored) == ["Yes"]
    assert texts(PLAIN, tokens_of(item, PLAIN).not_matching[0].scored) == [" No"]
    assert tokens_of(item, CHAT).is_single
    assert tokens_of(item, PLAIN).is_single


def test_answers_of_several_tokens_and_alternatives():
    found = tokens_of(ContrastItem("So?", ("Yes", "sure"), ("not",)), CHAT)
    assert [texts(CHAT, answer.scored) for answer in found.matching] == [["Yes"], list("sure")]
    assert [texts(CHAT, answer.scored) for answer in found.not_matching] == [list("not")]
    assert not found.is_single


# --- the boundary between prompt and answer --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_labels_are_compared_at_the_first_token_that_differs(wrap):
    """As in the vocabularies of Llama 3 and Qwen, where "(" and "A" become one token after a line end."""
    tokenizer = wrap(builders.tokenizer(merged=(("(", "A"), ("(", "B"))))
    found = tokens_of(ITEM, tokenizer)
    assert (texts(tokenizer, found.matching[0].scored), texts(tokenizer, found.not_matching[0].scored)) == (["(A"], ["(B"])
    assert found.is_single
    assert texts(tokenizer, found.prompt[-2:]) == ["t", "\n"]


def test_a_label_that_merges_beside_one_that_does_not():
    found = tokens_of(ITEM, tokenizer := builders.tokenizer(merged=(("(", "A"),)))
    assert (texts(tokenizer, found.matching[0].scored), texts(tokenizer, found.not_matching[0].scored)) == (["(A"], ["("])
    assert found.is_single


def test_three_labels_of_which_one_token_does_not_tell_the_sides_apart_are_scored_in_full():
    """ "(A" is one token, "(B" and "(C" are two that begin alike: B against A and C cannot be told apart at one position."""
    tokenizer = builders.tokenizer(merged=(("(", "A"),))
    found = tokens_of(builders.LETTERED[2], tokenizer)
    assert [texts(tokenizer, answer.scored) for answer in found.answers] == [["C"], ["(A"], ["B"]]
    assert not found.is_single


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_an_answer_has_every_token_that_holds_a_character_of_it(wrap):
    """ ": x" is one token here, so x is scored by it; y stands by itself after the space."""
    tokenizer = wrap(builders.tokenizer(None, merged=((":", builders.SPACE), (":" + builders.SPACE, "x"))))
    found = tokens_of(ContrastItem("So?", ("x",), ("y",)), tokenizer)
    assert [texts(tokenizer, answer.scored) for answer in found.answers] == [[": x"], ["y"]]
    assert not found.is_single
    assert texts(tokenizer, found.not_matching[0].ids[-2:]) == [": ", "y"]


def test_two_answers_with_the_same_tokens_are_an_error():
    words = builders.word_tokenizer(("Question:", "Answer:", "yes"))
    with pytest.raises(TokenBoundaryError, match="item 4: the answers 'foo' and 'bar' have the same tokens"):
        tokenize_item(words, render_item(ContrastItem("yes", ("foo",), ("bar",), "4"), PromptFormat()))


# --- where the user's turn ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_a_token_that_reaches_over_the_turns_end_belongs_to_the_turn(wrap):
    """The turn ends in "?", the opening begins with a line feed; a tokenizer may make one token of both."""
    tokenizer = wrap(builders.tokenizer(None, merged=(("?", builders.LINE_FEED),)))
    found = tokens_of(ContrastItem("So?", ("sure",), ("not",)), tokenizer)
    assert texts(tokenizer, found.prompt[found.turn_end - 1 :]) == ["?\n", "\n", *"Answer", ":", " "]


# --- tokenizers that add special tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
@pytest.mark.parametrize(("begin", "end"), [(True, False), (False, True), (True, True)])
def test_a_begin_token_belongs_to_the_turn_and_an_end_token_is_left_out(begin, end, wrap):
    tokenizer = wrap(builders.tokenizer(None, begin=begin, end=end))
    bare, found = tokens_of(ITEM, PLAIN), tokens_of(ITEM, tokenizer)
    assert found.prompt == (1,) * begin + bare.prompt
    assert found.turn_end == bare.turn_end + begin
    assert [answer.scored for answer in found.answers] == [answer.scored for answer in bare.answers]


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


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_encode_says_where_tokens_stand(wrap):
    ids, spans = encode(wrap(PLAIN), "a Yes b", special_tokens=False)
    assert texts(PLAIN, ids) == ["a", " Yes", " ", "b"]
    assert spans == ((0, 1), (1, 5), (5, 6), (6, 7))


@pytest.mark.parametrize("wrap", [lambda t: t, Slow], ids=["fast", "slow"])
def test_parts_of_a_character_stand_where_it_does(wrap):
    """A character of several bytes is several tokens, and the answer begins at the first of them."""
    tokenizer = wrap(PLAIN)
    found = tokens_of(ContrastItem("Gr\u00f6\u00dfe?", ("\u00fcber",), ("n\u00fc",)), tokenizer)
    assert PLAIN.decode(list(found.matching[0].scored)) == "\u00fcber"
    assert PLAIN.decode(list(found.not_matching[0].scored)) == "n\u00fc"
    assert PLAIN.decode(list(found.prompt[: found.turn_end])) == "Question: Gr\u00f6\u00dfe?"


def test_a_begin_token_that_the_text_writes_is_not_put_before_it_again():
    tokenizer = builders.tokenizer(None, begin=True)
    ids, spans = encode(tokenizer, "<s>ab", special_tokens=True)
    assert texts(tokenizer, ids) == ["<s>", "a", "b"]
    assert spans == ((0, 3), (3, 4), (4, 5))


def test_white_space_at_the_end_of_a_token_is_its_own_where_the_tokenizer_does_not_say():
    """ ".\n" is one token, so the next one begins after the line feed."""
    tokenizer = Slow(builders.tokenizer(None, merged=((".", builders.LINE_FEED),)))
    ids, spans = encode(tokenizer, "a.\nb", special_tokens=False)
    assert texts(tokenizer, ids) == ["a", ".\n", "b"]
    assert spans == ((0, 1), (1, 3), (3, 4))
