"""Data as people have it: preferences, triples, wrapped lists, other names of columns, tables of every kind."""

from __future__ import annotations

import sys

import pytest
from data_files import assistant, put, user

from pytest_steer import read_items, read_tasks, read_texts
from pytest_steer.core.errors import DataError
from pytest_steer.data import ContrastItem, Items, TaskItem, as_items


def held(items):
    return [(item.question, item.matching, item.not_matching, item.id) for item in items]


def refused(message, read, *args, **options):
    with pytest.raises(DataError, match=message) as caught:
        read(*args, **options)
    assert str(caught.value).startswith(str(args[0]))


# --- preferences ---------------------------------------------------------------------------------------------------------

WANT = [("Hi?", ("Hello.",), ("Go away.",), "0")]


@pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
@pytest.mark.parametrize(
    "entry",
    [
        {"prompt": "Hi?", "chosen": "Hello.", "rejected": "Go away."},
        {"prompt": "Hi?", "chosen": [assistant("Hello.")], "rejected": [assistant("Go away.")]},
        {"prompt": [user("Hi?")], "chosen": [assistant("Hello.")], "rejected": [assistant("Go away.")]},
        {"prompt": "Hi?", "chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("Go away.")]},
        {"prompt": "Hi?", "chosen": [user(" Hi?\n"), assistant("Hello.")], "rejected": "Go away."},
        {"chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("Go away.")], "score_chosen": 5},
    ],
    ids=["texts", "replies", "messages", "conversations", "one conversation", "no prompt"],
)
def test_preferences(tmp_path, name, entry):
    items = read_items(put(tmp_path, name, [entry]))
    assert held(items) == WANT
    assert items[0].meta == {key: value for key, value in entry.items() if key == "score_chosen"}


def test_preferences_have_ids_and_come_as_csv(tmp_path):
    items = read_items(put(tmp_path, "d.csv", "id,prompt,chosen,rejected\na7,Hi?,Hello.,Go away.\n"))
    assert held(items) == [("Hi?", ("Hello.",), ("Go away.",), "a7")]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"chosen": "a", "rejected": "b"}, "'prompt' is missing, and 'chosen' and 'rejected' hold replies alone"),
        ({"prompt": "P", "chosen": "a"}, "unknown keys"),
        ({"prompt": 1, "chosen": "a", "rejected": "b"}, "'prompt': expected a text or a list of messages, found a int"),
        (
            {"prompt": "P", "chosen": [], "rejected": "b"},
            "'chosen': the last message has to be the assistant's, and there is none",
        ),
        (
            {"prompt": "P", "chosen": [user("P")], "rejected": "b"},
            "'chosen': the last message .* the last one is the user's",
        ),
        (
            {"prompt": "P", "chosen": ["a"], "rejected": "b"},
            "'chosen': message 0 has to be an object with the texts 'role' and",
        ),
        (
            {"prompt": "P", "chosen": [user("Q"), assistant("a")], "rejected": [user("P"), assistant("b")]},
            "'chosen' answers 'Q', and 'prompt' is 'P': one of them is of another entry",
        ),
        (
            {"prompt": [{"role": "system", "content": "Be brief."}, user("P")], "chosen": "a", "rejected": "b"},
            "'prompt': a contrast item has one turn of the user before the reply, and here stand system, user. .*contexts: {system",
        ),
    ],
)
def test_preferences_that_are_refused(tmp_path, entry, message):
    refused(
        rf"item 1: .*{message}",
        read_items,
        put(tmp_path, "d.json", [{"prompt": "P", "chosen": "a", "rejected": "b"}, entry]),
    )


# --- triples and wrappers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
def test_arrays_of_three(tmp_path, name):
    items = read_items(put(tmp_path, name, [["Q?", "yes", "no"], ["R?", ["a", "b"], ["c"]]]))
    assert held(items) == [("Q?", ("yes",), ("no",), "0"), ("R?", ("a", "b"), ("c",), "1")]


def test_triples_in_python():
    items = as_items([("Q?", "yes", "no"), ContrastItem("R?", ("a",), ("b",)), ["S?", ("c", "d"), "e"]])
    assert isinstance(items, Items)
    assert held(items) == [("Q?", ("yes",), ("no",), "0"), ("R?", ("a",), ("b",), "1"), ("S?", ("c", "d"), ("e",), "2")]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["Q?", "yes"], "found|not a ContrastItem"),
        ([1, "yes", "no"], "the question has to be a text, not 1"),
        (["Q?", 1, "no"], "the matching answer has to be a text or a list of texts"),
        (["Q?", "yes", []], "there is no not matching answer"),
    ],
)
def test_triples_that_are_refused(tmp_path, entry, message):
    refused(
        f"item 1: .*(expected an object, )?({message})", read_items, put(tmp_path, "d.json", [["Q?", "yes", "no"], entry])
    )
    with pytest.raises(DataError, match=f"item 1.*{message}"):
        as_items([("Q?", "yes", "no"), tuple(entry)])


@pytest.mark.parametrize("key", ["items", "data"])
def test_a_list_under_a_key(tmp_path, key):
    content = {"name": "cheer", "version": 2, key: [{"question": "Q?", "matching": "yes", "not_matching": "no"}]}
    assert held(read_items(put(tmp_path, "d.json", content))) == [("Q?", ("yes",), ("no",), "0")]
    assert read_texts(put(tmp_path, "t.json", {key: ["one", {"text": "two"}]})) == ["one", "two"]
    assert read_tasks(put(tmp_path, "p.json", {key: [{"input": "a", "output": "b"}]})) == (TaskItem("a", "b"),)
    refused(rf"{key}\[0\]: unknown keys", read_items, put(tmp_path, "d.json", {key: [{"x": 1}]}))


# --- columns -------------------------------------------------------------------------------------------------------------

NAMES = {"question": "q", "matching": "good", "not_matching": "bad"}


def test_other_names_of_columns(tmp_path):
    entries = [{"q": "Q?", "good": "yes", "bad": "no", "n": 7}, {"q": "R?", "good": ["a", "b"], "bad": "c", "n": 8}]
    want = [("Q?", ("yes",), ("no",), "0"), ("R?", ("a", "b"), ("c",), "1")]
    for name in ("d.json", "d.jsonl"):
        items = read_items(put(tmp_path, name, entries), columns=NAMES)
        assert held(items) == want
        assert [item.meta for item in items] == [{"n": 7}, {"n": 8}]
        assert eval(items.expression, {"read_items": read_items}) == items
    items = read_items(tmp_path / "d.json", columns={**NAMES, "id": "n"})
    assert [(item.id, item.meta) for item in items] == [("7", {}), ("8", {})]
    assert held(read_items(put(tmp_path, "d.csv", "q,good,bad\nQ?,yes,no\n"), columns=NAMES)) == want[:1]
    # A name that is not given stays as it is, and other kinds of data are not touched.
    entry = {"frage": "Q?", "matching": "yes", "not_matching": "no"}
    assert held(read_items(put(tmp_path, "d.json", [entry]), columns={"question": "frage", "text": "body"})) == want[:1]
    known = {"question": "Q?", "matching": "yes", "not_matching": "no"}
    assert held(read_items(put(tmp_path, "d.json", [known]), columns={"text": "body", "input": "x"})) == want[:1]
    pairs = put(tmp_path, "p.csv", "word;opposite\nhot;cold\n")
    assert read_tasks(pairs, columns={"input": "word", "output": "opposite"}) == (TaskItem("hot", "cold"),)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": "x"}, r"item 0: has no 'x', which `columns` names or leaves as it is; it has \['bad', 'good', 'q'\]"),
        ({"reply": "q"}, "columns: 'reply' is nothing that is read; known: question, matching, not_matching, id, input"),
        ({"question": " "}, "columns: the column of 'question' is a name, not ' '"),
        ({**NAMES, "matching": "bad"}, "columns: 'bad' stands for two things"),
        (["q", "good", "bad"], "columns is a mapping such as"),
    ],
)
def test_columns_that_are_refused(tmp_path, columns, message):
    file = put(tmp_path, "d.json", [{"q": "Q?", "good": "yes", "bad": "no"}])
    with pytest.raises(DataError, match=message):
        read_items(file, columns=columns)


def test_pairs_without_the_named_columns(tmp_path):
    file = put(tmp_path, "p.json", [{"word": "hot", "output": "cold"}])
    refused(
        r"item 0: expected an object with 'wort' and 'output'; found \['output', 'word'\]",
        read_tasks,
        file,
        columns={"input": "wort"},
    )


# --- tables --------------------------------------------------------------------------------------------------------------

ROWS = [("One, or two; three?", "yes", "no"), ("Four\tfive\nsix?", "a", "b")]


@pytest.mark.covering(2)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "sep={}\n", "\n"])
def test_tables_with_any_separator(tmp_path, separator, suffix, line_end, start):
    if suffix == ".tsv" and separator != "\t":
        return  # the suffix says the separator
    lines = [("question", " matching ", '"not_matching"'), *((f'"{q}"', good, bad) for q, good, bad in ROWS)]
    text = start.format(separator).replace("\n", line_end) + "".join(separator.join(line) + line_end for line in lines)
    (tmp_path / f"d{suffix}").write_bytes(text.encode())
    items = read_items(tmp_path / f"d{suffix}")
    assert [(item.question, item.matching[0], item.not_matching[0]) for item in items] == ROWS


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "d.csv",
            "question,matching,not_matching\nQ, or R?,yes,no\n",
            "line 2: has 4 cells, and the header names 3 .* that hold a comma in",
        ),
        ("d.csv", "sep=;\nquestion;matching;not_matching\n\nQ;yes\n", "line 4: 'not_matching' is missing"),
        (
            "d.csv",
            "question,matching;not_matching\nQ,a;b\n",
            "line 1: a comma or a semicolon may separate the columns",
        ),
        ("d.csv", "question,matching,matching\nQ,a,b\n", "line 1: the header has the column 'matching' twice"),
        ("d.tsv", "question,matching,not_matching\nQ?,a,b\n", r"line 2: unknown keys \['question,matching,not_matching'\]"),
    ],
)
def test_tables_that_are_refused(tmp_path, name, text, message):
    refused(message, read_items, put(tmp_path, name, text))


def test_empty_cells_behind_a_row_do_not_matter(tmp_path):
    items = read_items(put(tmp_path, "d.csv", "question;matching;not_matching\nQ?;yes;no;;\n"))
    assert held(items) == [("Q?", ("yes",), ("no",), "0")]


# --- texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
def test_texts_of_a_table(tmp_path, name, separator):
    file = put(tmp_path, name, f"n{separator}body\n1{separator}one\n2{separator}two\n")
    assert read_texts(file, column="body") == ["one", "two"]
    refused(
        "has the columns 'n', 'body': which of them holds the texts.*columns: {text: body}.*column='body'",
        read_texts,
        file,
    )
    refused("there is no column 'text'; it has 'n', 'body'", read_texts, file, column="text")
    file = put(tmp_path, name, f"text{separator}n\none{separator}1\n{separator}2\n")
    refused(r"line 3: expected a text or an object with a 'text', found {\"text\": \"\"", read_texts, file)
    file = put(tmp_path, name, f"text{separator}n\none{separator}1\n")
    assert read_texts(file) == ["one"]


def test_texts_of_objects_and_of_text_files(tmp_path):
    file = put(tmp_path, "t.jsonl", [{"body": "one", "text": "other"}, {"body": "two"}])
    assert read_texts(file, column="body") == ["one", "two"]
    refused("there is no column 'x'; it has 'body', 'text'", read_texts, file, column="x")
    refused(
        "item 0: expected a text or an object with a 'body', found \"one\"",
        read_texts,
        put(tmp_path, "t.json", ["one"]),
        column="body",
    )
    refused(
        "is read as a text file, one text per line, which has no column 'body'",
        read_texts,
        put(tmp_path, "t.txt", "one\n"),
        column="body",
    )


# --- Parquet -------------------------------------------------------------------------------------------------------------


def test_a_parquet_file_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    for read in (read_items, read_texts, read_tasks):
        refused("is read by pyarrow, which is not installed: `pip install pyarrow`", read, tmp_path / "d.parquet")
    refused("no such file", read_items, tmp_path / "none.parquet")


def test_parquet_files(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(entries):
        parquet.write_table(pa.Table.from_pylist(entries), str(tmp_path / "d.parquet"), row_group_size=1)
        return tmp_path / "d.parquet"

    entries = [
        {"question": "Q?", "matching": "yes", "not_matching": "no"},
        {"question": "R?", "matching": "a", "not_matching": "b"},
    ]
    assert held(read_items(write(entries))) == [("Q?", ("yes",), ("no",), "0"), ("R?", ("a",), ("b",), "1")]
    chat = {"chosen": [user("Hi?"), assistant("Hello.")], "rejected": [user("Hi?"), assistant("Go away.")]}
    assert held(read_items(write([chat]))) == WANT
    assert read_texts(write([{"body": "one"}, {"body": "two"}]), column="body") == ["one", "two"]
    assert read_tasks(write([{"input": 7, "output": ["a", "b"]}])) == (TaskItem("7", "a"),)
    refused("row 1: 'matching' is missing", read_items, write([entries[0], {**entries[1], "matching": None}]))
    refused("which of them holds the texts", read_texts, write([{"body": "one"}]))
    (tmp_path / "d.parquet").write_bytes((tmp_path / "d.parquet").read_bytes()[:-9])
    refused("is not a readable Parquet file", read_items, tmp_path / "d.parquet")
