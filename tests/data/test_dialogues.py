"""Prompts and dialogues: each shape of file read, transcripts and tools in one form, and what is wrong named with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_files import put

from pytest_steer import ContrastItem, Dialogue, SteerError, read_items, read_prompts
from pytest_steer.core.errors import DataError
from pytest_steer.data import Dialogues, as_dialogues

OF_OTHERS = next((at for up in Path(__file__).parents if (at := up / "shared/data").is_dir()), None)
SEARCH = {
    "name": "search",
    "description": "Search.",
    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "search", "arguments": '{"q": "x"}'}}]}
RESULT = {"role": "tool", "content": {"found": 1}}
SYSTEM, USER, REPLY = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi."},
)


@pytest.mark.parametrize(
    ("entry", "turns"),
    [
        ("Is it so?", ("Is it so?",)),
        ({"question": "Is it so?"}, ("Is it so?",)),
        ({"prompt": "Is it so?", "completion": "Yes"}, ("Is it so?",)),
        ({"turns": ["Is it so?", "Why?"]}, ("Is it so?", "Why?")),
        ({"prompt": [{"role": "user", "content": "Is it so?"}]}, ("Is it so?",)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Is it so?"}]}]}, ("Is it so?",)),
        (
            {"question": "Is it so?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"},
            ("Is it so?",),
        ),
        (["Is it so?", "Yes", "No"], ("Is it so?",)),
        ({side: {"prompt": "Is it so?", "response": side} for side in ("positive", "negative")}, ("Is it so?",)),
        ({"prompt": "Is it so?", "chosen": "Yes", "rejected": "No"}, ("Is it so?",)),
    ],
)
def test_each_shape_gives_its_turns(tmp_path, entry, turns):
    for name, content in (("a.json", [entry]), ("a.jsonl", json.dumps(entry) + "\n")):
        (one,) = read_prompts(put(tmp_path, name, content))
        assert one == Dialogue(turns)
        assert one.id == "0"


def test_mt_bench_keeps_its_ids_and_categories(tmp_path):
    (one,) = read_prompts(
        put(tmp_path, "a.jsonl", '{"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]}')
    )
    assert (one.id, one.meta["category"], one.meta["question_id"]) == ("81", "writing", 81)


def test_lines_and_tables(tmp_path):
    assert [one.turns for one in read_prompts(put(tmp_path, "a.txt", "One?\n\n Two?\n"))] == [("One?",), ("Two?",)]
    table = put(tmp_path, "a.csv", 'q,turns\nOne?,"[""A?"", ""B?""]"\n')
    assert read_prompts(table)[0].turns == ("A?", "B?")
    assert read_prompts(table, columns={"prompt": "q"})[0].turns == ("One?",)


def test_a_transcript_and_tools_are_in_the_form_that_templates_take(tmp_path):
    entry = {"messages": [SYSTEM, USER, CALL, RESULT, REPLY, {"role": "user", "content": "And now?"}], "tools": [SEARCH]}
    (one,) = read_prompts(put(tmp_path, "a.json", [entry]))
    call = {"id": "call00000", "type": "function", "function": {"name": "search", "arguments": {"q": "x"}}}
    assert one.turns == ("And now?",)
    assert one.messages == (
        SYSTEM,
        USER,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": '{"found": 1}', "tool_call_id": "call00000", "name": "search"},
        REPLY,
    )
    assert one.tools == ({"type": "function", "function": SEARCH},)
    assert one.tool("search") is one.tools[0]
    assert one.tool("find") is None
    assert one.asked == ("Hello.", "And now?")
    assert one == Dialogue(one.turns, one.messages, one.tools)  # the form is a fixed point
    assert len({one.form, Dialogue(one.turns).form, Dialogue(one.turns, tools=one.tools).form}) == 3


def test_a_transcript_can_stand_beside_turns(tmp_path):
    (one,) = read_prompts(put(tmp_path, "a.json", [{"messages": [USER, REPLY], "turns": ["One?", "Two?"]}]))
    assert (one.messages, one.turns) == ((USER, REPLY), ("One?", "Two?"))


def test_a_transcript_can_end_with_a_tools_result_or_the_users_message(tmp_path):
    (one,) = read_prompts(put(tmp_path, "a.json", [{"messages": [USER, CALL, RESULT], "tools": [SEARCH]}]))
    assert (one.turns, one.n_replies, len(one.messages)) == ((), 1, 3)
    assert one.said == ('Hello.\n\n[search] {"found": 1}',)
    assert Dialogue(messages=(USER, REPLY, {"role": "user", "content": "Why?"})) == Dialogue(("Why?",), (USER, REPLY))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"turns": []}, "1 to 10 turns of the user, not 0"),
        ({"messages": [CALL, RESULT]}, "the transcript has no message of the user: put it before the call of the tool"),
        ({"messages": [USER, REPLY], "turns": []}, "that ends with a tool's result, not with a message of the assistant"),
        ({"turns": ["x", " "]}, "turn 2 is empty"),
        ({"turns": "x"}, "'turns': expected a list, found \"x\""),
        ({"prompt": 3}, "'prompt': expected a text, found 3"),
        ({"prompt": "x", "question": "y"}, "'question' and 'prompt' can each be what is asked"),
        ({"promt": "x"}, "unknown keys ['promt']"),
        (3, "expected a text or an object, found 3"),
        ({"messages": []}, "the last message has to be the user's turn or the tool's result that is replied to, and there is none"),
        ({"messages": [USER, REPLY]}, "the last one is the assistant's"),
        ({"messages": [USER, SYSTEM, USER]}, "message 1: a system prompt is the first message"),
        ({"messages": [{"role": "human", "content": "x"}, USER]}, "message 0: unknown role 'human'"),
        ({"messages": [{"content": "x"}, USER]}, "message 0: expected an object with 'role' and 'content'"),
        ({"messages": [USER, {"role": "assistant", "content": ""}, USER]}, "the content of message 1 is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, REPLY, USER]}, "message 0: 'content' has a part that is no text"),
        ({"messages": [USER, CALL, USER]}, "the call of 'search' has no message of a tool"),
        ({"messages": [USER, RESULT, USER]}, "message 1: answers no call: there is none before it"),
        ({"messages": [USER, CALL, {**RESULT, "tool_call_id": "z"}, USER]}, "there is none with the id 'z' before it"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "search", "arguments": "{"}]}, USER]},
            "message 1: tool_calls: the arguments of 'search' are not valid JSON",
        ),
        ({"prompt": "x", "tools": [{"type": "web"}]}, "tool 0: expected {type: function"),
        ({"prompt": "x", "tools": [SEARCH, SEARCH]}, "two tools have the name 'search'"),
        ({"prompt": "x", "tools": [{"name": "f", "parameters": {"type": "objekt"}}]}, "tool 0, 'f': 'parameters' is the JSON Schema of an object"),
        ({"prompt": "x", "tools": [{"name": "f", "parameters": {"properties": 3}}]}, "tool 0, 'f': 'parameters' is no JSON Schema"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path, entry, message):
    path = put(tmp_path, "a.jsonl", f'"Right?"\n{json.dumps(entry)}\n')
    with pytest.raises(DataError) as error:
        read_prompts(path)
    assert str(error.value).startswith(f"{path}: line 2: ")
    assert message in str(error.value)


def test_files_without_prompts_are_refused(tmp_path):
    for name, content in (("a.txt", "\n"), ("a.jsonl", "")):
        with pytest.raises(DataError, match="holds no prompts"):
            read_prompts(put(tmp_path, name, content))
    with pytest.raises(DataError, match="no such file"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(DataError, match="line 2: there is no 'q', which `columns` names"):
        read_prompts(put(tmp_path, "b.csv", "text\nx\n"), columns={"prompt": "q"})


def test_dialogues_of_texts_items_and_dialogues():
    item = ContrastItem("Is it so?", ("Yes",), ("No",), "i7", {"topic": "t"})
    made = as_dialogues(["One?", item, Dialogue(("Two?", "Why?"))])
    assert [one.id for one in made] == ["0", "i7", "2"]
    assert made[1].turns == ("Is it so?",)
    assert made[1].meta == {"topic": "t"}
    assert as_dialogues(made) is made
    assert made[:2] == Dialogues(made[:2])
    assert made[:2].expression == "prompts[:2]"
    assert made.hash != made[:2].hash
    assert made.most_turns == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no prompts"),
        ("Is it so?", r"prompts are a list, not 'Is it so\?'"),
        ([3], "prompt 0: is a int"),
    ],
)
def test_what_are_no_dialogues(given, message):
    with pytest.raises(SteerError, match=message):
        as_dialogues(given)


@pytest.mark.skipif(OF_OTHERS is None, reason="the data of others (MT-Bench, HarmBench, ...) is not part of the project")
def test_files_of_others():
    assert read_prompts(OF_OTHERS / "mt_bench/question.jsonl").most_turns == 2
    for file in OF_OTHERS.glob("caa/test/*/test_dataset_ab.json"):
        assert [one.turns[0] for one in read_prompts(file)] == [item.question for item in read_items(file)]
