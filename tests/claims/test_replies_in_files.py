"""Claims about replies in claim files: the same as their assertions, explained without a judge, and said when they are wrong."""

from __future__ import annotations

import json
import textwrap
from types import SimpleNamespace

import pytest
from evidence import evidence_of

from pytest_steer import (
    SteeringVector,
    assert_generates,
    assert_no_cliff,
    assert_stays_fluent,
    load_model,
    read_prompts,
    read_texts,
)
from pytest_steer.against.pairing import fault_of, pair_units
from pytest_steer.claims.running import evidence_of as run
from pytest_steer.core.record import record_of
from pytest_steer.core.run_context import RunContext
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.studies.explain import Explaining

NOUNS = ("hat", "cake", "boat", "song", "door", "lamp", "drum", "coat", "shoe", "ring")
CLAIMS = """
- generates: {name: yes, share: 0.6, judge: {regex: "^Yes"}, max_new_tokens: 8}
- generates: {name: more, share: 0.5, judge: {contains: "Yes"}, against_base: true, samples: 2, temperature: 0.7, max_new_tokens: 8}
- generates: {name: less, share: 0.2, judge: {regex: "^No"}, direction: lowers, max_new_tokens: 8, min_n: 5}
- stays_fluent: {name: fluent, measure: base_perplexity, limit: 3, max_new_tokens: 8}
- no_cliff: {name: cliff, budget: 0.2, beyond: 0.25, max_multiplier: 2, max_new_tokens: 8}
"""


@pytest.fixture(scope="module")
def tiny():
    return load_model("builtin:tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("replies")
    prompts = [f"Do you like the {noun}?" for noun in NOUNS]
    (folder / "prompts.txt").write_text("\n".join(prompts))
    (folder / "train.json").write_text(
        json.dumps([{"question": "Do you like the tree?", "matching": "Yes", "not_matching": "No"}] * 2)
    )
    texts = [f"Tom made the {noun}. Do you like it? Yes, it is splendid." for noun in NOUNS]
    (folder / "neutral.txt").write_text("\n\n".join(texts))
    builder = Builder(tiny)
    suite = read_suite("example_suites/builtin/tiny.steer.yaml")
    vector = builder.build(suite, suite.entries[0]).subject.vector
    vector.save(folder / "approval.safetensors")
    return folder


def suite_of(folder, claims, name="replies"):
    head = "model: builtin:tiny\nvector: {file: approval.safetensors, layer: 1}\ndata: {prompts: prompts.txt, neutral: neutral.txt}\n"
    file = folder / f"{name}.steer.yaml"
    file.write_text(f"{head}claims:\n{textwrap.indent(claims.strip(), '  ')}\n")
    return read_suite(file)


def test_a_file_and_an_assertion_give_the_same_evidence(tiny, folder):
    suite = suite_of(folder, CLAIMS)
    vector = SteeringVector.load(folder / "approval.safetensors", layer=1)
    prompts, texts = read_prompts(folder / "prompts.txt"), read_texts(folder / "neutral.txt")
    short = {"max_new_tokens": 8}
    calls = {
        "yes": lambda **more: assert_generates(tiny, vector, prompts, share=0.6, judge={"regex": "^Yes"}, **more),
        "more": lambda **more: assert_generates(
            tiny,
            vector,
            prompts,
            share=0.5,
            judge={"contains": "Yes"},
            against_base=True,
            samples=2,
            temperature=0.7,
            **more,
        ),
        "less": lambda **more: assert_generates(
            tiny, vector, prompts, share=0.2, judge={"regex": "^No"}, direction="lowers", min_n=5, **more
        ),
        "fluent": lambda **more: assert_stays_fluent(tiny, vector, prompts, measure="base_perplexity", limit=3, **more),
        "cliff": lambda **more: assert_no_cliff(
            tiny, vector, prompts, texts, budget=0.2, beyond=0.25, max_multiplier=2, **more
        ),
    }
    for spec in suite.entries:
        mine = run(Builder(tiny).build(suite, spec), tiny).to_dict()
        own = evidence_of(calls[spec.name], name=spec.name, **short).to_dict()
        varies = ("seconds", "message", "suite", "id", "data", "receipt", "rerun", "headline", "reason", "blocks")
        assert {key: value for key, value in mine.items() if key not in varies} == {
            key: value for key, value in own.items() if key not in varies
        }
        assert mine["data"]["hash"] == own["data"]["hash"]
        assert fault_of(record_of(mine)) is None  # a later run can be paired with it
        assert len(pair_units(record_of(mine), record_of(own)).places) == len(mine["units"]["values"])
        assert mine["verdict"] in ("pass", "inconclusive"), spec.name


def test_a_rehearsal_asks_no_judge_and_counts_what_it_would_be_asked(folder, monkeypatch):
    suite = suite_of(folder, CLAIMS)
    monkeypatch.setattr("pytest_steer.measures.judges.regex.Regex.judge", SimpleNamespace)  # a call of which fails
    explained = {
        entry.name: found for entry, found in Explaining(RunContext(model="builtin:tiny")).all(suite, suite.entries[:1])
    }
    (course, *_) = explained["yes"].courses
    assert course.stopped is None
    assert (course.written, course.judged) == (2 * 10 * 8, 20)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ('generates: {share: 0.6, judge: {regx: "a"}}', "Did you mean 'regex'"),
        (
            'generates: {share: 0.6, judge: {regex: {patern: "a"}}}',
            "judge.regex.patern: unknown key 'patern'\n  Did you mean 'pattern'?",
        ),
        ("generates: {share: 0.6}", "'judge' is missing"),
        ('generates: {share: 0.6, judg: {regex: "a"}}', "Did you mean 'judge'"),
        ("stays_fluent: {measure: repetitions, limit: 0.2}", "must be repetition, distinct_2"),
        ("stays_fluent: {limit: 0.2}", "'measure' is missing"),
        ("no_cliff: {budjet: 0.2}", "Did you mean 'budget'"),
        ("stays_fluent: {measure: entropy, limit: 1, direction: lowers}", "has no direction"),
    ],
)
def test_what_is_said_of_a_wrong_claim(folder, claim, words):
    (entry,) = suite_of(folder, f"- {claim}", "wrong").entries
    assert words in str(entry.error)
