"""An axis that a module registers stands in claim files beside the built-in ones, wherever contexts are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_steer import Context, contexts
from pytest_steer.files.schema import full_schema

from .conftest import HEAD, steering_items

pytestmark = pytest.mark.usefixtures("registered_here_only")

MODULE = """
from dataclasses import replace

from pytest_steer import axis


@axis("tone", ["rude", "kind"], about="How the question is asked.")
def tone(item, value):
    return replace(item, question={"rude": "Hey! ", "kind": "Please. "}[value] + item.question)


@axis("marks", schema={"type": "integer", "minimum": 1, "maximum": 9}, size=float, place=25)
def marks(item, value):
    "How many marks follow."
    return replace(item, question=item.question + "\\n" + "!" * value)
"""
SUITE = f"""contexts: {{tone: [kind, as_given, rude], marks: [3, as_given], option_order: [as_given, swapped]}}
regressions:
  - {{tone: rude, marks: 2}}
{HEAD}
  - holds_in_contexts: {{steerability: 9, max_contexts: 4}}
  - generalizes:
      retention: 0.1
      base: {{tone: kind}}
      contexts: {{rude: {{tone: rude}}, both: {{marks: 1, wording: please}}}}
"""


@pytest.fixture
def root(suite: Path, pytester: pytest.Pytester) -> Path:
    (suite / "tones.py").write_text(MODULE)
    (suite / "conftest.py").write_text("import tones")
    (suite / "train.json").write_text(json.dumps(steering_items(8, 0)))
    (suite / "test.json").write_text(json.dumps(steering_items(12, 8)))
    (suite / "c.steer.yaml").write_text(SUITE)
    pytester.syspathinsert()
    return suite


def reported(pytester: pytest.Pytester, *options: str) -> dict[str, dict[str, object]]:
    pytester.runpytest("--steer-report=out.json", *options)
    return {claim["name"]: claim for claim in json.loads((pytester.path / "out.json").read_text())["claims"]}


def test_in_contexts_regressions_and_generalizes(root: Path, pytester: pytest.Pytester) -> None:
    claims = reported(pytester)
    tried = [row["context"] for row in claims["holds_in_contexts"]["details"]["contexts"]]
    assert {"marks": 2, "tone": "rude"} in tried
    assert {"tone", "marks"} <= {name for context in tried for name in context} <= {"tone", "marks", "option_order"}
    assert claims["generalizes"]["details"]["base"]["context"] == {"tone": "kind"}
    rude, both = claims["generalizes"]["details"]["settings"]
    assert (rude["context"], rude["put"]) == ({"tone": "rude"}, "Context(tone='rude')")
    assert both["put"] == "Context(marks=1, wording='please')"  # in the order of their places


def test_in_python(root: Path) -> None:
    import_module("tones", root)
    context = Context(tone="rude", filler=2)
    assert (context.tone, context.marks) == ("rude", "as_given")
    assert eval(repr(context)) == Context.from_dict(context.to_dict()) == context
    assert contexts(tone=["rude"], marks=[1, 2]).validate() is None
    properties = full_schema()["$defs"]["context"]["properties"]
    assert list(properties)[:3] == ["system", "template", "marks"]
    assert list(properties)[-1] == "tone"
    values = full_schema()["$defs"]["axes"]["properties"]
    assert values["tone"] == {
        "title": "Tone", "description": "How the question is asked.", "enum": ["as_given", "rude", "kind"], "examples": ["rude"],
        "x-axis": "tone",
    }  # fmt: skip
    assert values["marks"]["description"] == "How many marks follow."
    assert values["marks"]["type"] == ["integer", "string"]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("contexts: {tone", "contexts: {tune", ["*c.steer.yaml:1: contexts.tune: unknown key 'tune'*", "*Did you mean 'tone'?*"]),
        ("[kind, as_given", "[kinds, as_given", ["*:1: contexts.tone[[]0]: must be as_given, rude or kind, but is the text 'kinds'*", "*Did you mean 'kind'? How the question is asked.*"]),
        ("marks: [3", "marks: [30", ["*:1: contexts.marks[[]0]: must be at least 1 and at most 9, but is 30*"]),
        ("{rude: {tone", "{rude: {ton", ["*:16: claims[[]1].generalizes.contexts.rude.ton: unknown key 'ton'*", "*Did you mean 'tone'?*"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(
    root: Path, pytester: pytest.Pytester, right: str, wrong: str, said: list[str]
) -> None:
    assert right in SUITE
    (root / "c.steer.yaml").write_text(SUITE.replace(right, wrong, 1))
    pytester.runpytest("--collect-only", "-q").stdout.fnmatch_lines(said)


def import_module(name: str, folder: Path) -> None:
    namespace = {"__name__": name}
    exec((folder / f"{name}.py").read_text(), namespace)
