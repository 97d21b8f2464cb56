"""Readers: every shape of file that holds contrast items, and what they say about files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_files import put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_steer import read_items, read_texts
from pytest_steer.core.errors import DataError
from pytest_steer.data import Items, read_contrast_texts
from pytest_steer.prompting import Context

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CAA = {"question": "Q?\n(A) x\n(B) y", "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
EASY = {"question": "Q?", "matching": "yes", "not_matching": "no"}


def tan(prompt="Q?", other="Q?"):
    return {"positive": {"prompt": prompt, "response": "(A)"}, "negative": {"prompt": other, "response": "(B)"}, "meta": {}}


# --- right files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize(
    ("entry", "question", "matching", "not_matching"),
    [
        (CAA, CAA["question"], ("(A)",), ("(B)",)),
        (CAA | {"answer_matching_behavior": ["(A)", "(C)"]}, CAA["question"], ("(A)", "(C)"), ("(B)",)),
        (
            {"question": "So?", "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"},
            "So?",
            (" Yes",),
            (" No",),
        ),
        (EASY, "Q?", ("yes",), ("no",)),
        ({"prompt": "P?", "correct": "(B)", "incorrect": "(A)", "category": "law"}, "P?", ("(B)",), ("(A)",)),
        ({"prompt": "P?", "correct": "(B)", "incorrect": ["(A)", "(C)"]}, "P?", ("(B)",), ("(A)", "(C)")),
        (tan() | {"steering_token_index": -2}, "Q?", ("(A)",), ("(B)",)),
    ],
    ids=["caa", "caa-list", "model-written-evals", "easyedit", "mmlu", "truthfulqa-list", "tan"],
)
def test_every_shape_is_read(tmp_path, suffix, entry, question, matching, not_matching):
    items = read_items(put(tmp_path, f"data{suffix}", [entry, entry]))
    assert isinstance(items, Items)
    assert [(i.question, i.matching, i.not_matching, i.id) for i in items] == [
        (question, matching, not_matching, "0"),
        (question, matching, not_matching, "1"),
    ]
    assert items.source == str(tmp_path / f"data{suffix}")


def test_csv_is_read_with_quotes_and_line_breaks(tmp_path):
    text = 'question,matching,not_matching,extra\n"One, or ""two""?\nWell?",yes,no,e\nTwo?,a,b,\n'
    items = read_items(put(tmp_path, "bipo.csv", text))
    assert [i.question for i in items] == ['One, or "two"?\nWell?', "Two?"]
    assert (items[0].matching, items[0].not_matching, items[0].meta["extra"]) == (("yes",), ("no",), "e")


def test_other_keys_are_kept_and_an_id_names_the_item(tmp_path):
    items = read_items(put(tmp_path, "data.json", [CAA | {"category": 3}, CAA | {"id": 17}]))
    assert (items[0].id, items[0].meta) == ("0", {"category": 3})
    assert (items[1].id, items[1].meta) == ("17", {})


def test_a_byte_order_mark_and_blank_lines_do_not_matter(tmp_path):
    file = put(tmp_path, "data.jsonl", b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(CAA).encode() for _ in range(2)) + b"\n\n")
    assert [item.id for item in read_items(file)] == ["0", "1"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_json_lines_end_at_line_feeds_only(tmp_path, separator):
    """JSON text may hold U+2028 and its like unescaped; str.splitlines would cut the line there."""
    entry = json.dumps(EASY | {"question": f"one{separator}two?"}, ensure_ascii=False)
    file = put(tmp_path, "data.jsonl", entry + "\n")
    assert [item.question for item in read_items(file)] == [f"one{separator}two?"]


# --- wrong files ---------------------------------------------------------------------------------------------------------

WRONG = {
    "invalid JSON": ("d.json", '[\n{"question": }]', ": is not valid JSON: Expecting value: line 2"),
    "deep JSON": ("d.json", "[" * 100_000, ": is not valid JSON: maximum recursion depth"),
    "JSON Lines": (
        "d.json",
        '{"question": "Q?"}\n{"question": "R?"}\n',
        ": is not valid JSON: Extra data: line 2 column 1 (char 19). One entry per line is",
    ),
    "key twice": (
        "d.json",
        f'[{json.dumps(EASY)}, {{"question": "a", "x": [{{"b": 1, "b": 2}}]}}]',
        ": item 1: the key 'b' is there twice. Delete one",
    ),
    "an object": (
        "d.json",
        {"entries": []},
        ': expected a list of entries, {"items": [entries]} or {"positive": [texts], "negative": [texts]}, found {"entries": []}',
    ),
    "a wrapper without items": ("d.json", {"items": []}, ": the file holds no items"),
    "no lines": ("d.jsonl", "\n\n", ": the file holds no items"),
    "not UTF-8": (
        "d.json",
        b'["\xff"]',
        ": is not a readable json file, damaged or cut off: UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff",
    ),
    "other suffix": ("d.yaml", "[]", ": no data format has the suffix '.yaml'; use .csv, .tsv, .json, .jsonl, .parquet"),
    "a number": ("d.json", [CAA, 3], ": item 1: expected an object, found 3; known shapes: {question, answer_match"),
    "open-ended": ("d.json", [{"question": "Q?"}], ": item 0: only a question and no answers: an open-ended file does"),
    "a task": ("d.json", [{"input": "a", "output": "b"}], ": item 0: {input, output} is a task, not a contrast item"),
    "MT-Bench": ("d.jsonl", [{"question_id": 1, "category": "x", "turns": []}], ": line 1: unknown keys ['category', 'qu"),
    "no question": (
        "d.json",
        [EASY, {"matching": "a", "not_matching": "b"}],
        ": item 1: 'question' is missing; found ['mat",
    ),
    "British spelling": (
        "d.json",
        [{"question": "Q?", "answer_matching_behaviour": "a", "answer_not_matching_behavior": "b"}],
        "; rename 'answer_matching_behaviour' to 'answer_matching_behavior'",
    ),
    "question a list": ("d.json", [EASY | {"question": ["Q"]}], ": item 0: 'question': expected a text, found [\"Q\"]"),
    "answer a number": (
        "d.json",
        [EASY | {"matching": 1}],
        ": item 0: 'matching': expected a text or a list of texts, found 1",
    ),
    "same answers": (
        "d.json",
        [EASY | {"matching": " no"}],
        ": item 0: the matching and the not matching answer are the same",
    ),
    "invalid line": ("d.jsonl", json.dumps(CAA) + '\n{"question\n', ": line 2: is not valid JSON"),
    "unknown columns": ("d.csv", "q,a,b\n1,2,3\n", ": line 2: unknown keys ['a', 'b', 'q']"),
    "open quote": ("d.csv", 'question,matching,not_matching\n"Q?,a,b\n', ": is not valid CSV"),
    "side a text": (
        "d.json",
        [tan() | {"positive": "x"}],
        ": expected a list of contrast items, found two lists of texts",
    ),
    "no response": ("d.json", [tan() | {"negative": {"prompt": "Q?"}}], ": item 0: negative: 'response' is missing"),
    "two prompts": ("d.json", [tan(), tan(other="R?")], ": item 1: the positive and the negative prompt differ"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_an_error_that_says_where(tmp_path, name):
    filename, content, message = WRONG[name]
    file = put(tmp_path, filename, content)
    with pytest.raises(DataError) as caught:
        read_items(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        read_items(tmp_path / "none.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match=r"folder\.json: is a folder, not a file"):
        read_items(tmp_path / "folder.json")


KEYS = ["chosen", "rejected", "question", "answer_matching_behavior", "answer_not_matching_behavior", "matching", "not_matching", "prompt",
        "correct", "incorrect", "positive", "negative", "response", "id", "input", "output"]  # fmt: skip
leaves = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["", "(A)", "(B)", "Q?"]) | st.text(max_size=3)
)
junk = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=2), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.lists(junk, max_size=3) | junk)
def test_any_json_is_items_or_a_data_error(tmp_path, content):
    file = put(tmp_path, "data.json", json.dumps(content))
    try:
        items = read_items(file)
    except DataError as error:
        assert str(error).startswith(str(file))  # noqa: PT017
    else:
        assert len(items) == len(content) > 0


def test_a_lone_surrogate_is_a_data_error_and_not_a_crash_later(tmp_path):
    r"""JSON can spell "\ud800", which no tokenizer and no hash can encode."""
    file = put(tmp_path, "data.json", '[{"question": "Q \\ud800?", "matching": "yes", "not_matching": "no"}]')
    try:
        items = read_items(file)
    except DataError:
        return
    assert len(items.hash) == 64


# --- texts ---------------------------------------------------------------------------------------------------------------


def test_texts_are_read_from_lines_lists_and_objects(tmp_path):
    assert read_texts(put(tmp_path, "a.txt", "one\n\n  two \r\nthree")) == ["one", "two", "three"]
    assert read_texts(put(tmp_path, "a.json", ["one", {"text": "two", "n": 1}])) == ["one", "two"]
    assert read_texts(put(tmp_path, "a.jsonl", ["one", {"text": "two"}])) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", " \n", ": the file holds no texts"),
        ("a.json", ["one", {"body": "x"}], ": item 1: has the columns 'body': which of them holds the texts?"),
        ("a.jsonl", ["one", " "], ": line 2: expected a text or an object with a 'text', found \" \""),
    ],
)
def test_wrong_texts(tmp_path, name, content, message):
    with pytest.raises(DataError) as caught:
        read_texts(put(tmp_path, name, content))
    assert message in str(caught.value)


def test_contrast_texts(tmp_path):
    file = put(tmp_path, "a.json", {"positive": ["good", "fine"], "negative": ["bad"], "note": 1})
    assert read_contrast_texts(file) == (["good", "fine"], ["bad"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'expected an object {"positive": [texts], "negative": [texts]}, found []'),
        ({"positive": ["a"], "negative": []}, "'negative' has to be a list with at least one text"),
        ({"positive": ["a", 1], "negative": ["b"]}, "positive[1]: expected a text, found 1"),
    ],
)
def test_wrong_contrast_texts(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        read_contrast_texts(put(tmp_path, "a.json", content))
    assert message in str(caught.value)


# --- the field's own files -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the field's data files are not there ({SHARED})")
def test_the_fields_own_files_are_read():
    files = [
        *SHARED.glob("caa/generate/*/generate_dataset.json"),
        *SHARED.glob("caa/test/*/test_dataset_ab.json"),
        *SHARED.glob("caa/test/*/mmlu.json"),
        *SHARED.glob("caa/test/*/truthful_qa.json"),
        *SHARED.glob("model-written-evals/*/*.jsonl"),
        *SHARED.glob("tan_processed/*.json"),
    ]
    assert len(files) >= 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        n = text.count("\n{") + 1 if file.suffix == ".jsonl" else len(json.loads(text))
        items = read_items(file)
        assert len(items) == n, file
        assert len({item.id for item in items}) == n, file
        assert sum(items.label_balance().values()) == n, file  # all of these files have labelled answers


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the field's data files are not there ({SHARED})")
def test_the_fields_open_ended_files_and_tasks_are_refused_by_name():
    for file in SHARED.glob("caa/test/*/test_dataset_open_ended.json"):
        with pytest.raises(DataError, match="item 0: only a question and no answers"):
            read_items(file)
    for file in SHARED.glob("function_vectors/*.json"):
        with pytest.raises(DataError, match=r"item 0: \{input, output\} is a task"):
            read_items(file)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the field's data files are not there ({SHARED})")
def test_the_fields_lettered_items_can_be_swapped_unless_they_have_more_than_two_options():
    swap = Context(option_order="swapped")
    for file in SHARED.glob("caa/*/*/*_dataset*.json"):
        if "open_ended" in file.name:
            continue
        for item in read_items(file):
            try:
                once = swap.put(item)
            except DataError as error:
                assert "survival-instinct" in str(file)
                assert f"item {item.id}: cannot swap the options" in str(error)  # noqa: PT017
                assert "(C)" in item.question
            else:
                assert once.matching == item.not_matching, (file, item.id)
                assert swap.put(once).matching == item.matching, (file, item.id)
