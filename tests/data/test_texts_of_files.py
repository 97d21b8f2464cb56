"""Files of texts with prompts, OpenAssistant's messages, and texts that are left out by a rule."""

from __future__ import annotations

from importlib import import_module

import pytest
from data_files import assistant, put, user

from pytest_steer import Completion, read_texts
from pytest_steer.core.errors import DataError
from pytest_steer.data import leave_out
from pytest_steer.data.texts import as_texts

WANT = [Completion("Hi?", "Hello.")]


# --- completions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        {"prompt": "Hi?", "completion": "Hello."},
        {"id": 7, "prompt": [user("Hi?")], "completion": [assistant("Hello.")]},
        {"question": "Hi?", "answer": "Hello.", "level": 1},
        {"instruction": "Hi?", "input": "", "output": "Hello."},
        {"query": "Hi?", "response": "Hello."},
        {"messages": [user("Hi?"), assistant("Hello.")]},
    ],
)
def test_every_shape_of_a_completion_is_read(tmp_path, entry):
    for name in ("a.json", "a.jsonl"):
        texts = read_texts(put(tmp_path, name, [entry]))
        assert texts == WANT
        assert texts.ids == (str(entry.get("id", 0)),)


def test_an_instruction_with_an_input_is_one_prompt(tmp_path):
    (text,) = read_texts(put(tmp_path, "a.json", [{"instruction": "Translate.", "input": "chat", "output": "cat"}]))
    assert text == Completion("Translate.\n\nchat", "cat")


def test_columns_name_what_is_called_otherwise(tmp_path):
    file = put(tmp_path, "a.csv", "n,q,a\n3,Hi?,Hello.\n")
    assert read_texts(file, columns={"prompt": "q", "completion": "a", "id": "n"}) == WANT
    assert read_texts(file, columns={"prompt": "q", "completion": "a", "id": "n"}).ids == ("3",)
    assert read_texts(file, column="a") == ["Hello."]
    both = put(tmp_path, "b.json", [{"prompt": "Hi?", "text": "Hello."}])
    assert read_texts(both) == ["Hello."]  # a text, whatever stands beside it
    assert read_texts(both, columns={"prompt": "prompt"}) == WANT


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"prompt": "P", "response": "a", "answer": "b"}, "'response' and 'answer' can each be the completion: say which"),
        ({"completion": "a"}, "'completion' has no prompt beside it.*columns: {text: completion}"),
        ({"prompt": "P", "body": "a"}, "which of them holds the texts.*columns: {prompt: prompt, completion: body}"),
        ({"prompt": "P", "completion": 3}, "'completion': expected a text, found 3"),
        ({"prompt": [user("P"), user("Q")], "completion": "a"}, "a text with a prompt has one turn of the user"),
        ({"messages": [user("P")]}, "'messages': the last message has to be the assistant's"),
        ({"prompt": "P", "completion": [user("a")]}, "'completion': expected one message of the assistant"),
    ],
)
def test_a_wrong_completion_is_an_error_that_says_where(tmp_path, entry, message):
    with pytest.raises(DataError, match=message) as caught:
        read_texts(put(tmp_path, "a.jsonl", [{"prompt": "P", "completion": "a"}, entry]))
    assert "a.jsonl: line 2: " in str(caught.value)


def test_invisible_characters_are_no_text_of_a_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.json: .*expected a text or an object with a 'text'"):
        read_texts(put(tmp_path, "a.json", ["A text.", "\u200b"]))


def test_columns_that_are_not_there(tmp_path):
    file = put(tmp_path, "a.json", [{"prompt": "P", "completion": "a"}])
    with pytest.raises(DataError, match="item 0: there is no column 'q'; it has 'prompt', 'completion'"):
        read_texts(file, columns={"prompt": "q"})


def test_texts_equal_a_list_and_parts_keep_their_ids(tmp_path):
    texts = read_texts(put(tmp_path, "a.jsonl", [{"id": f"t{n}", "text": f"text {n}"} for n in range(5)]))
    assert texts == [f"text {n}" for n in range(5)]
    assert texts.source == str(tmp_path / "a.jsonl")
    assert [*texts, "more"] == [*(f"text {n}" for n in range(5)), "more"]
    assert (texts[1:3], texts[1:3].ids, texts.part([4, 0]).ids) == (["text 1", "text 2"], ("t1", "t2"), ("t4", "t0"))
    assert as_texts(["a", "b"]).ids == ("0", "1")


# --- OpenAssistant -------------------------------------------------------------------------------------------------------


def message(number, parent, role, quality=None, *, hub=False, **more):
    labels = None
    if quality is not None:
        names = {"spam": 0.0, "quality": quality}
        labels = (
            {"name": [*names], "value": [*names.values()], "count": [3, 3]}
            if hub
            else {name: {"value": value, "count": 3} for name, value in names.items()}
        )
    return {
        "message_id": f"m{number}",
        "parent_id": parent,
        "text": f"{role} {number}",
        "role": role,
        "lang": "en",
        "labels": labels,
        **more,
    }


def messages(hub):
    return [
        message(0, None, "prompter", 0.9, hub=hub),
        message(1, "m0", "assistant", 0.5, hub=hub),
        message(2, "m0", "assistant", 0.75, hub=hub),
        message(3, "m0", "assistant", 1.0, hub=hub, lang="de"),
        message(4, "m0", "assistant", 1.0, hub=hub, deleted=True),
        message(5, "m0", "assistant"),  # nobody rated it
        message(6, "m2", "prompter", 0.8, hub=hub),
        message(7, "m6", "assistant", 0.95, hub=hub),
        message(8, "m0", "assistant", 0.75, hub=hub),
        message(9, "nowhere", "assistant", 1.0, hub=hub),
        message(10, None, "prompter", hub=hub, lang="de"),
        message(11, "m10", "assistant", 0.9, hub=hub),  # to a prompt in another language
    ]


def trees(hub):
    """The same, but for the reply whose parent is not there."""
    by_id = {one["message_id"]: {**one, "replies": []} for one in messages(hub)}
    roots = []
    for one in by_id.values():
        parent = one.pop("parent_id")
        (roots if parent is None else by_id.get(parent, {"replies": []})["replies"]).append(one)
    return [{"message_tree_id": one["message_id"], "tree_state": "ready_for_export", "prompt": one} for one in roots]


@pytest.mark.parametrize("hub", [True, False], ids=["lists of labels", "labels by name"])
@pytest.mark.parametrize("made", [messages, trees], ids=["messages", "trees"])
@pytest.mark.parametrize("name", ["oa.json", "oa.jsonl"])
def test_the_best_replies_of_a_language_with_their_parents(tmp_path, name, made, hub):
    """Written out by hand: rated English replies to English parents are 7 (.95), 8 and 2 (.75; the later first), 1 (.5)."""
    file = put(tmp_path, name, made(hub))
    texts = read_texts(file)
    assert texts.ids == ("m7", "m8", "m2", "m1")
    assert texts[0] == Completion("prompter 6", "assistant 7")
    assert {text.prompt for text in texts[1:]} == {"prompter 0"}
    assert texts.chosen == "all 4 rated replies in 'en' (128 wanted)"
    best = read_texts(file, best=2)
    assert (best.ids, best.chosen) == (("m7", "m8"), "the 2 best of 4 rated replies in 'en'")
    assert read_texts(file, first_turns=True).ids == ("m8", "m2", "m1")
    with pytest.raises(DataError, match=r"none is in the language 'eng': did you mean 'en'\?"):
        read_texts(file, language="eng")


def test_of_another_language_the_parent_has_to_be_in_it(tmp_path):
    with pytest.raises(DataError, match="1 of them in 'de', and none has its prompt"):
        read_texts(put(tmp_path, "oa.json", messages(hub=False)), language="de")


@pytest.mark.parametrize(
    ("entries", "message_"),
    [
        ([message(0, None, "prompter"), message(0, None, "prompter")], "line 2: the message_id 'm0' is there twice"),
        (
            [message(0, None, "prompter"), message(1, "m0", "assistant")],
            "1 of them in 'en' with their prompt, and none has a label of its quality, by which the best are chosen: write the replies "
            "that you want as entries of {prompt, completion}",
        ),
        ([message(0, None, "prompter")], "of 1 messages 0 are replies"),
        ([{**message(0, None, "prompter"), "labels": {"quality": {"value": "good"}}}], "the value of 'quality' is a number"),
        ([{**message(0, None, "prompter"), "labels": {"name": ["quality"], "value": []}}], "lists of one length"),
        ([{**message(0, None, "prompter"), "text": None}], "line 1: 'text' has to be a text"),
        ([{"message_tree_id": "t", "prompt": {"message_id": "m"}}], "lacks message_id, text or role"),
        (
            [{"message_tree_id": "t", "prompt": {**message(0, None, "prompter"), "replies": 1}}],
            "'replies' has to be a list of messages",
        ),
    ],
)
def test_wrong_messages(tmp_path, entries, message_):
    with pytest.raises(DataError, match=message_) as caught:
        read_texts(put(tmp_path, "oa.jsonl", entries))
    assert "oa.jsonl" in str(caught.value)


def test_settings_of_open_assistant_are_refused_elsewhere(tmp_path):
    for given in ({"best": 3}, {"language": "en"}, {"first_turns": True}):
        with pytest.raises(DataError, match=f"{next(iter(given))} chooses among the messages of OpenAssistant"):
            read_texts(put(tmp_path, "a.txt", "one\ntwo\n"), **given)
    with pytest.raises(DataError, match="best is how many replies are read, from 1 on, not 0"):
        read_texts(put(tmp_path, "oa.json", messages(hub=True)), best=0)


# --- left out ------------------------------------------------------------------------------------------------------------

ENTRIES = [
    {"id": "a", "text": "I am sorry, no."},
    {"id": "b", "prompt": "Are you sorry?", "completion": "Not at all."},
    {"id": "c", "text": "A plain text."},
    {"id": 4, "text": "Sorry again."},
]


@pytest.mark.parametrize(
    ("rule", "left", "words"),
    [
        ({"matching": "(?i)sorry"}, ("a", "4"), "matching '(?i)sorry'"),  # in the text, not in its prompt
        ({"matching": "nowhere"}, (), "matching 'nowhere'"),
        ({"ids": ["c", 4]}, ("c", "4"), "named by ids"),
        (lambda text: isinstance(text, Completion), ("b",), "the function <lambda>"),
    ],
)
def test_what_is_left_out_is_known(tmp_path, rule, left, words):
    texts = read_texts(put(tmp_path, "a.jsonl", ENTRIES), leave_out=rule)
    (record,) = texts.left_out
    assert (record.ids, record.of) == (left, 4)
    assert words in record.rule
    assert texts.ids == tuple(str(entry["id"]) for entry in ENTRIES if str(entry["id"]) not in left)
    assert texts[:1].left_out == texts.left_out


def test_two_rules_are_two_records(tmp_path):
    texts = read_texts(put(tmp_path, "a.jsonl", ENTRIES), leave_out={"matching": "orry", "ids": ["a"]})
    assert [(one.rule, one.ids, one.of) for one in texts.left_out] == [
        ("named by ids", ("a",), 4),
        ("matching 'orry'", ("4",), 3),
    ]
    assert leave_out(["one", "two"], {"ids": [0]}) == ["two"]


@pytest.mark.parametrize(
    ("rule", "message_"),
    [
        ({"matching": "."}, r"no text is left: all 4 are left out \(matching '\.'\)"),
        ({"matching": "("}, r"'\(' is not a regular expression \(missing \)"),
        ({"matching": ""}, "matching is a regular expression, not ''"),
        ({"ids": ["d"]}, "no text has the id 'd': there are 4, such as 'a'"),
        ({"ids": []}, r"ids is a list of ids, not \[\]"),
        ({"match": "x"}, "write {'matching': 'regular expression'}.*not {'match': 'x'}"),
    ],
)
def test_rules_that_cannot_be_used(tmp_path, rule, message_):
    with pytest.raises(DataError, match=message_) as caught:
        read_texts(put(tmp_path, "a.jsonl", ENTRIES), leave_out=rule)
    assert "a.jsonl: " in str(caught.value)


def test_an_id_of_several_texts_says_not_which(tmp_path):
    entries = [{"id": own, "text": f"Text {number}."} for number, own in enumerate("abca")]
    file = put(tmp_path, "a.jsonl", entries)
    with pytest.raises(DataError, match=r"a\.jsonl: leave_out: 2 texts have the id 'a', and it does not say which"):
        read_texts(file, leave_out={"ids": ["b", "a"]})
    assert read_texts(file, leave_out={"ids": ["b"]}).ids == ("a", "c", "a")


def test_an_expression_that_takes_exponential_time_is_an_error(monkeypatch):
    monkeypatch.setattr("pytest_steer.data.texts.PATIENCE", 0.05)
    with pytest.raises(DataError, match=r"\(a\|aa\)\+\$' takes more than 0.05 s over text 1"):
        leave_out(["a", "a" * 80 + "b"], {"matching": "(a|aa)+$"})


# --- shipped -------------------------------------------------------------------------------------------------------------


def test_shipped_texts_are_named(tmp_path, monkeypatch):
    put(tmp_path, "neutral.jsonl", [{"id": "neutral-001", "kind": "letter", "text": "Dear all,"}])
    monkeypatch.setattr(import_module("pytest_steer.data.formats.entries"), "BUILTIN_FOLDER", tmp_path)
    for name in ("builtin:neutral", "builtin"):
        texts = read_texts(name)
        assert (texts, texts.ids) == (["Dear all,"], ("neutral-001",))
    with pytest.raises(DataError, match=r"there are no shipped data 'builtin:neutrl': did you mean 'neutral'\?"):
        read_texts("builtin:neutrl")
