"""Files of multiple-choice questions: each shape read, and what is wrong named with its place."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_steer import Question, Questions, SteerError, read_questions
from pytest_steer.core.errors import DataError
from pytest_steer.data import as_questions
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.build import Builder

# A folder shared/data in the checkout or beside it; it is never committed.
OF_OTHERS = next((at for up in Path(__file__).parents if (at := up / "shared/data/caa/test").is_dir()), None)
WANTED = Question("What is ice?", ("Water", "Sand", "Gas"), 1, subject="science")
TEXTS = list(WANTED.choices)
OURS = {"question": WANTED.question, "choices": TEXTS, "answer": "B", "subject": "science"}
LABELS = {"text": TEXTS, "label": ["A", "B", "C"]}

RIGHT = {
    "ours": OURS,
    "an index": {**OURS, "answer": 1},
    "a letter in brackets": {**OURS, "answer": "(B)"},
    "the option itself": {**OURS, "answer": "Sand"},
    "category": {"question": WANTED.question, "choices": TEXTS, "answer": 1, "category": "science"},
    "columns": {"question": WANTED.question, "A": "Water", "B": "Sand", "C": "Gas", "answer": "B", "subject": "science"},
    "arc": {"question": WANTED.question, "choices": LABELS, "answerKey": "B", "subject": "science"},
    "arc's files": {
        "question": {
            "stem": WANTED.question,
            "choices": [{"text": text, "label": label} for text, label in zip(TEXTS, "ABC", strict=True)],
        },
        "answerKey": "B",
        "subject": "science",
    },
    "truthful qa": {
        "question": WANTED.question,
        "mc1_targets": {"choices": TEXTS, "labels": [0, 1, 0]},
        "mc2_targets": {"choices": TEXTS, "labels": [1, 1, 0]},
        "category": "science",
    },
    "truthful qa's file": {
        "question": WANTED.question,
        "mc1_targets": {"Water": 0, "Sand": 1, "Gas": 0},
        "category": "science",
    },
}


def read(folder: Path, *entries: object) -> Questions:
    file = folder / "q.jsonl"
    file.write_text("\n".join(json.dumps(entry) for entry in entries))
    return read_questions(file)


@pytest.mark.parametrize("shape", RIGHT)
def test_every_shape_is_the_same_question(shape, tmp_path):
    found = read(tmp_path, RIGHT[shape])
    assert [(one.question, one.choices, one.answer, one.subject, one.weight) for one in found] == [
        (WANTED.question, WANTED.choices, WANTED.answer, WANTED.subject, 1.0)
    ]


def test_a_recast_has_the_labels_of_its_options(tmp_path):
    prompt = "Is it?\n\nChoices:\n(A) No\n(B) Yes"
    (found,) = read(tmp_path, {"prompt": prompt, "correct": "(B)", "incorrect": "(A)", "category": "law"})
    assert (found.question, found.choices, found.answer, found.subject) == (prompt, ("(A)", "(B)"), 1, "law")
    assert found.is_lettered
    assert not WANTED.is_lettered


WRONG = {
    "no right answer": ({**OURS, "answer": "D"}, "no right answer: 'answer' is a letter from A to C or an index from 0 to 2, found \"D\""),
    "two right": ({**OURS, "answer": ["A", "B"]}, "'answer': 2 options are right, and one has to be"),
    "the right option twice": ({**OURS, "choices": ["Sand", "Sand ", "Gas"]}, "the option 'Sand' is there twice and is the right answer, so two"),
    "a wrong option twice": ({**OURS, "choices": ["Gas", "Sand", "Gas"]}, r"the option 'Gas' is there twice\. Delete"),
    "one option": ({**OURS, "choices": ["Sand"], "answer": 0}, r"has 1 option\(s\); a question needs at least two"),
    "an empty option": ({**OURS, "choices": ["Sand", " "], "answer": 0}, "an option is empty"),
    "a number for an option": ({**OURS, "choices": ["Sand", 3], "answer": 0}, "an option has to be a text, not 3"),
    "options that are a text": ({**OURS, "choices": "Water, Sand"}, "'choices': expected a list of texts"),
    "a letter that is another's text": ({**OURS, "choices": ["B", "A", "C"]}, "'B' names one option and is the text of another"),
    "a label that none has": ({"question": "Why?", "choices": LABELS, "answerKey": "D"}, "no option has the label 'D'; the labels are A, B, C"),
    "two with the label": (
        {"question": "Why?", "choices": {**LABELS, "label": ["A", "A", "B"]}, "answerKey": "A"},
        "'answerKey': 2 options have the label 'A'",
    ),
    "labels of another number": (
        {"question": "Why?", "choices": {**LABELS, "label": ["A"]}, "answerKey": "A"},
        "3 texts and 1 labels",
    ),
    "no target": ({"question": "Why?", "mc1_targets": {"choices": TEXTS, "labels": [0, 0, 0]}}, "0 options are right"),
    "a target that is neither": (
        {"question": "Why?", "mc1_targets": {"choices": TEXTS, "labels": [2, 1, 0]}},
        "each option needs the label 0 or 1",
    ),
    "no incorrect": ({"prompt": "Why?", "correct": "(A)", "incorrect": []}, "'incorrect': expected an answer"),
    "a cell without a value": ({"question": "Why?", "A": "x", "B": float("nan"), "answer": "A"}, "'B': expected an option.*found NaN"),
    "a gap in the columns": ({"question": "Why?", "A": "x", "C": "y", "answer": "A"}, "under the letters A, C; they have to follow"),
    "a question alone": ({"question": "Why?"}, "a question without options"),
    "other keys": ({"q": "Why?"}, r"unknown keys \['q'\]; known shapes"),
    "a text": ("Why?", 'expected an object, found "Why\\?"'),
    "a weight of 0": ({**OURS, "weight": 0}, "weight is a number above 0, not 0"),
    "half a character": ({**OURS, "question": "\ud800"}, "half of a surrogate pair"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_file_and_line(name, tmp_path):
    entry, words = WRONG[name]
    with pytest.raises(DataError, match=rf"q\.jsonl: line 2: .*{words}"):
        read(tmp_path, OURS, entry)


def test_an_empty_file(tmp_path):
    with pytest.raises(DataError, match=r"q\.jsonl: there are no questions"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="there are no questions"):
        as_questions([])


def test_weights_are_those_of_all_questions_or_of_none(tmp_path):
    other = {**OURS, "question": "Who?"}
    found = read(tmp_path, {**OURS, "weight": 0.25}, {**other, "weight": 2})
    assert [one.weight for one in found] == [0.25, 2]
    assert found.is_weighted
    assert found.hash != read(tmp_path, OURS, other).hash
    assert not read(tmp_path, {**OURS, "weight": 3}, {**other, "weight": 3}).is_weighted
    with pytest.raises(DataError, match=r"line 2: this question has no 'weight' and earlier ones have one\. Give one"):
        read(tmp_path, {**OURS, "weight": 1}, other)
    with pytest.raises(DataError, match="line 2: this question has a 'weight' and earlier ones have none"):
        read(tmp_path, OURS, {**other, "weight": 1})


def test_tables_with_and_without_a_header(tmp_path):
    rows = ['"What is ice, really?",Water,Sand,Gas,B', "Why?,x,y,z,C"]
    bare = tmp_path / "anatomy_test.csv"
    bare.write_text("\n".join(rows))
    named = tmp_path / "named.csv"
    named.write_text("\n".join(["question,A,B,C,answer", *rows]))
    for file, subject in ((bare, "anatomy"), (named, "")):
        found = read_questions(file)
        assert [(one.question, one.choices, one.answer, one.subject) for one in found] == [
            ("What is ice, really?", ("Water", "Sand", "Gas"), 1, subject),
            ("Why?", ("x", "y", "z"), 2, subject),
        ]
    bare.write_text("\n".join([*rows, "Why, oh why?,x,y,z,C"]))
    with pytest.raises(DataError, match=r"anatomy_test\.csv: line 3: has 6 cells, and the first row has 5"):
        read_questions(bare)
    bare.write_text("\n".join([*rows, "Who?,x,y,z,E"]))
    with pytest.raises(DataError, match=r"anatomy_test\.csv: line 3: there is no right answer"):
        read_questions(bare)


def test_ours_are_the_default():
    found = read_questions()
    assert found == read_questions("builtin:capability")
    assert (len(found), found.source) == (384, "builtin:capability")
    assert found[0] == Question("What is 2 + 3?", ("6", "4", "23", "5"), 3, "arithmetic", 1.0, "arithmetic-001")
    with pytest.raises(DataError, match="no shipped data 'builtin:other'"):
        read_questions("builtin:other")


def test_a_part_keeps_all_subjects():
    found = read_questions()
    part = found.at_most(20)
    assert len(part) == 20
    assert {one.subject for one in part} == {one.subject for one in found}
    assert found.at_most(None) is found.at_most(384) is found


def test_questions_of_one_form_are_one_question():
    other = Question(" What is  ice? ", ("Gas", "Sand", "Water"), 1)
    assert other.form == WANTED.form
    assert Question("What is ice?", TEXTS, 0).form != WANTED.form


def test_what_is_no_question():
    with pytest.raises(DataError, match=r"question 1 is a tuple, not a Question: read a file with read_questions\(path\)"):
        as_questions([WANTED, ("What?", "Yes", "No")])
    with pytest.raises(DataError, match="index of an option, from 0 to 2, not 3"):
        Question("Why?", ("a", "b", "c"), 3)
    assert [one.id for one in as_questions([WANTED, WANTED])] == ["0", "1"]


@pytest.mark.parametrize("name", ["hub:mmlu", "hub:a/b/c/d", "hub:", "hub:a/b:c:d", "hub:a/b@", "hub:a/b/c@d/e"])
def test_names_of_the_hub_that_are_none(name):
    with pytest.raises(DataError, match=r"is written hub:ORG/NAME, then /CONFIG and :SPLIT"):
        read_questions(name)


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="datasets is installed")
def test_a_name_of_the_hub_without_datasets():
    with pytest.raises(SteerError, match=r"hub:cais/mmlu/all: .* not installed: pip install 'pytest-steer\[datasets\]'"):
        read_questions("hub:cais/mmlu/all")


def test_a_folder_of_the_name_is_not_taken_for_a_data_set_of_the_hub(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "org" / "name" / "test.jsonl").write_text(json.dumps({**OURS, "answer": 1}))
    with pytest.raises(DataError, match=r"hub:org/name: there is a folder org/name here, and datasets would read it"):
        read_questions("hub:org/name")


# What a run of its own does: the libraries read the environment when they are imported.
_OFFLINE = """
import json, socket, sys
from pathlib import Path

def connect(*_):
    raise AssertionError("something is fetched")

socket.socket.connect = connect
socket.getaddrinfo = connect
import datasets
from datasets.arrow_writer import ArrowWriter
from pytest_steer import read_questions
from pytest_steer.core.errors import DataError

rows = json.loads(sys.argv[2])
folder = Path(sys.argv[1]) / "datasets" / "org___name" / "default" / "0.0.0" / ("a1b2" * 10)
folder.mkdir(parents=True)
features = datasets.Dataset.from_list(rows).features
writer = ArrowWriter(path=str(folder / "name-test.arrow"), features=features)
for row in rows:
    writer.write(row)
n, size = writer.finalize()
split = {"name": "test", "num_bytes": size, "num_examples": n, "dataset_name": "name"}
datasets.DatasetInfo(
    features=features, builder_name="json", dataset_name="name", config_name="default", version="0.0.0", splits={"test": split}
).write_to_directory(str(folder))
print(json.dumps([[one.question, list(one.choices), one.answer] for one in read_questions("hub:org/name")]))
for name in ("hub:org/other", "hub:org/name:dev"):
    try:
        read_questions(name)
    except DataError as error:
        print(error)
"""


def test_a_data_set_in_the_cache_is_read_and_another_is_an_error_without_a_network(tmp_path):
    pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    rows = [{"question": OURS["question"], "choices": OURS["choices"], "answer": index} for index in (1, 0)]
    found = subprocess.run(
        [sys.executable, "-c", _OFFLINE, str(tmp_path), json.dumps(rows)],
        cwd=tmp_path, env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    read, other, split = found.stdout.splitlines()
    assert json.loads(read) == [[WANTED.question, list(WANTED.choices), index] for index in (1, 0)]
    assert other.startswith("hub:org/other: cannot be loaded, split 'test': ConnectionError: ")
    assert other.endswith("It is not in the cache either: fetch it once where there is a network, or name a file")
    assert split.startswith("hub:org/name:dev: cannot be loaded, split 'dev': ")
    assert "AssertionError" not in found.stdout


def test_a_data_set_that_cannot_be_read_loses_no_other_claim(tmp_path, monkeypatch):
    """Without ``datasets``, or offline with an empty cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "ours.json").write_text(json.dumps([{**OURS, "id": "a"}]))
    (tmp_path / "v.npz").write_bytes(b"")
    (tmp_path / "c.steer.yaml").write_text(
        "vector: {file: v.npz}\nclaims:\n  - capability_delta_below: {name: hub, limit: 0.1, questions: hub:org/name}\n"
        "  - capability_delta_below: {name: file, limit: 0.1, questions: ours.json}\n"
    )
    suite = read_suite(tmp_path / "c.steer.yaml")
    assert not [entry for entry in suite.entries if isinstance(entry, BrokenClaim)]
    first, second = suite.entries
    builder = Builder(None)
    with pytest.raises(SteerError, match=r"hub:org/name: (a data set of the hub is read by|cannot be loaded)"):
        builder.inputs.questions(first.params["questions"], tmp_path)
    assert [one.id for one in builder.inputs.questions(second.params["questions"], tmp_path)] == ["a"]


@pytest.mark.skipif(OF_OTHERS is None, reason="there is no shared/data with the data of others")
@pytest.mark.parametrize(
    ("file", "count", "subjects"), [("mmlu/mmlu.json", 570, 57), ("truthfulqa/truthful_qa.json", 817, 32)]
)
def test_mmlu_and_truthful_qa_as_caa_asks_them(file, count, subjects):
    found = read_questions(OF_OTHERS / file)
    assert (len(found), len({one.subject for one in found})) == (count, subjects)
    assert all(one.is_lettered and one.choices == ("(A)", "(B)") for one in found)
