"""Claims about contexts through pytest: what is shown, reproduced, remembered, written back, with workers, beside other tests.

The vector is the difference of the unembeddings of "A" and "B", and "(A)" is the matching answer of every item: with the options
swapped it steers against them.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jsonschema
import pytest

from pytest_steer import SteeringVector, load_model
from pytest_steer.report import report_schema

from .conftest import lettered

pytestmark = pytest.mark.usefixtures("each_space_is_surveyed_once")
ROOT = Path(__file__).parents[2]
HEAD = """\
min_n: 2
vector:
  file: letter.safetensors
data: {test: test.json}
contexts:
  system: [as_given, Be kind.]
  option_order: [as_given, swapped]
  distractor: [as_given, It rains.]
"""
BREAKS = "claims:\n  - holds_in_contexts: {effect: 0.1, max_contexts: 8}  # the letter\n"


@pytest.fixture
def letters(suite: Path) -> Path:
    model = load_model("builtin:tiny")
    rows = model.hf.get_output_embeddings().weight.detach()
    a, b = (model.tokenizer(f"({letter}", add_special_tokens=False)["input_ids"][-1] for letter in "AB")
    direction = rows[a] - rows[b]
    SteeringVector({model.n_layers - 1: 2 * direction / direction.norm()}).save(suite / "letter.safetensors")
    items = lettered(12)
    for item in items:
        item["answer_matching_behavior"], item["answer_not_matching_behavior"] = "(A)", "(B)"
    (suite / "test.json").write_text(json.dumps(items))
    return suite


def claims_of(pytester: pytest.Pytester, *options: str) -> list[dict]:
    pytester.runpytest("--steer-report=out.json", *options)
    report = json.loads((Path(pytester.path) / "out.json").read_text(), parse_constant=pytest.fail)
    jsonschema.validate(report, report_schema())
    return report["claims"]


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_claim_that_breaks_and_how_to_see_it_again(letters: Path, pytester: pytest.Pytester, apart: bool) -> None:
    (letters / "c.steer.yaml").write_text(HEAD + BREAKS)
    (claim,) = claims_of(pytester)
    found = claim["counterexample"]
    assert claim["verdict"] == "fail"
    assert found["context"] == {"option_order": "swapped"}
    assert claim["details"]["as_given"] > 0.1 > claim["details"]["worst"]["estimate"]
    assert claim["details"]["axes"][0]["axis"] == "option_order"
    assert f"  show the counterexample again: {found['reproduce']}" in claim["message"]
    assert "the smallest context that breaks it: Context(option_order='swapped')" in claim["message"]
    assert "option_order explains " in claim["message"]
    # The command as a user pastes it; at night in a process of its own.
    command = shlex.split(found["reproduce"])
    assert command[0] == "pytest"
    if apart:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        environment |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", *command, "--steer-report=out.json"], cwd=letters, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        (again,) = json.loads((letters / "out.json").read_text())["claims"]
    else:
        (again,) = claims_of(pytester, *command[1:])
    assert again["estimate"] == pytest.approx(found["estimate"], abs=1e-6)
    assert again["counterexample"]["context"] == found["context"]
    assert again["details"]["tried"] == 1


def test_profiles_set_the_effort_unless_the_claim_does(letters: Path, pytester: pytest.Pytester) -> None:
    (letters / "c.steer.yaml").write_text(
        HEAD
        + "claims:\n  - holds_in_contexts: {effect: -5, multiplier: 1}\n  - holds_in_contexts: {name: own, effect: -5, max_contexts: 3, batch: 4}\n"
    )
    for profile, examples in (("dev", 12), ("nightly", 200)):
        one, own = claims_of(pytester, f"--steer-profile={profile}")
        assert (one["details"]["max_contexts"], len(one["details"]["batch"])) == (examples, 6)
        assert (own["details"]["max_contexts"], len(own["details"]["batch"])) == (3, 4)


def test_an_assertion_shows_its_command_and_follows_it(letters: Path, pytester: pytest.Pytester) -> None:
    (letters / "test_it.py").write_text(
        "from pytest_steer import SteeringVector, assert_holds_in_contexts, read_items\n\n"
        "def test_letters(steer_model):\n"
        "    vector = SteeringVector.load('letter.safetensors')\n"
        "    axes = {'system': [None, 'Be kind.'], 'option_order': ['as_given', 'swapped']}\n"
        "    items = read_items('test.json')\n"
        "    assert_holds_in_contexts(steer_model, vector, items, contexts=axes, effect=0.1, min_n=2)\n"
    )
    (claim,) = claims_of(pytester)
    found = claim["counterexample"]
    assert found["context"] == {"option_order": "swapped"}
    assert found["reproduce"].startswith("pytest test_it.py::test_letters --steer-context ")
    (again,) = claims_of(pytester, *shlex.split(found["reproduce"])[1:])
    assert again["estimate"] == pytest.approx(found["estimate"], abs=1e-9)


def test_the_counterexample_is_written_back_and_tried_first(letters: Path, pytester: pytest.Pytester) -> None:
    file = letters / "c.steer.yaml"
    file.write_text(HEAD + BREAKS)
    result = pytester.runpytest("--steer-save-counterexamples")
    assert result.ret == 1
    result.stdout.fnmatch_lines(['regressions: added {"option_order": "swapped"} to c.steer.yaml'])
    assert file.read_text() == HEAD + BREAKS + "regressions:\n  - {option_order: swapped}\n"
    (claim,) = claims_of(pytester, "--steer-save-counterexamples", "-p", "no:cacheprovider")
    assert claim["details"]["contexts"][1]["context"] == {"option_order": "swapped"}
    assert claim["details"]["contexts"][1]["how"] == "listed"
    assert file.read_text() == HEAD + BREAKS + "regressions:\n  - {option_order: swapped}\n"


def test_the_database_is_in_pytests_cache_or_where_the_user_says(letters: Path, pytester: pytest.Pytester) -> None:
    (letters / "c.steer.yaml").write_text(HEAD + BREAKS)
    claims_of(pytester)
    assert any((letters / ".pytest_cache" / "d" / "steer-counterexamples").rglob("*"))
    (claim,) = claims_of(pytester, "--steer-seed=5")
    assert [row["how"] for row in claim["details"]["contexts"][:2]] == ["listed", "remembered"]
    (letters / "d.steer.yaml").write_text(HEAD + BREAKS)  # a claim of the same name is another claim
    (claim,) = claims_of(pytester, "d.steer.yaml", "--steer-seed=5")
    assert "remembered" not in [row["how"] for row in claim["details"]["contexts"]]
    (letters / "d.steer.yaml").unlink()
    claims_of(pytester, "--steer-counterexamples=mine")
    assert any((letters / "mine").rglob("*"))
    (claim,) = claims_of(pytester, "-p", "no:cacheprovider", "--steer-seed=5")
    assert "remembered" not in [row["how"] for row in claim["details"]["contexts"]]
    assert not (letters / ".hypothesis" / "examples").exists()


# Each run starts processes that load everything anew: one every day, two at night.
@pytest.mark.parametrize(("workers", "runs"), [(1, 1), pytest.param(2, 2, marks=pytest.mark.nightly)])
def test_workers_share_a_database_and_one_file_is_written_by_one(
    letters: Path, pytester: pytest.Pytester, workers: int, runs: int
) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    several = "claims:\n" + "".join(
        f"  - holds_in_contexts: {{name: c{i}, effect: 0.1, max_contexts: 8}}\n" for i in range(2)
    )
    (letters / "c.steer.yaml").write_text(HEAD + several)
    alone = claims_of(pytester, "--steer-counterexamples=one")
    for _ in range(runs):  # the second time with what the first remembered
        together = claims_of(pytester, f"-n{workers}", "--steer-counterexamples=two", "--steer-save-counterexamples")
        key = lambda claim: claim["name"]  # noqa: E731
        for one, two in zip(sorted(alone, key=key), sorted(together, key=key), strict=True):
            assert (one["verdict"], one["counterexample"]["context"]) == (two["verdict"], two["counterexample"]["context"])
            assert one["estimate"] == pytest.approx(two["estimate"], abs=1e-6)
    assert (letters / "c.steer.yaml").read_text() == HEAD + several + "regressions:\n  - {option_order: swapped}\n"


@pytest.fixture
def own_profile() -> Iterator[None]:
    """The runs of a test share this process, and so Hypothesis: the profile that they leave on it is taken off again."""
    before = hypothesis.settings.get_current_profile_name()
    yield
    hypothesis.settings.load_profile(before)


@pytest.mark.usefixtures("own_profile")
def test_the_users_own_hypothesis_tests_see_the_same_examples(letters: Path, pytester: pytest.Pytester) -> None:
    """Their profile, database and --hypothesis-seed are theirs; and the claim's search does not follow them.

    (No numbers: Hypothesis takes some from the source of whichever modules are loaded from outside of site-packages.)
    """
    (letters / "conftest.py").write_text(
        "from hypothesis import settings\n"
        "settings.register_profile('mine', max_examples=7, deadline=None)\n"
        "settings.load_profile('mine')\n"
    )
    (letters / "test_own.py").write_text(
        "from hypothesis import given, settings, strategies as st\n\n"
        "@given(st.lists(st.booleans()))\n"
        "def test_numbers(n):\n"
        "    with open('drawn.txt', 'a') as file:\n"
        "        print(n, file=file)\n"
        "    assert settings().max_examples == 7\n"
    )

    def drawn(*options: str) -> tuple[str, dict | None]:
        (letters / "drawn.txt").unlink(missing_ok=True)
        found = claims_of(pytester, "-p", "no:cacheprovider", *options)
        return (letters / "drawn.txt").read_text(), found[0] if found else None

    (letters / "c.steer.yaml").write_text(HEAD + BREAKS)
    alone, _ = drawn("--hypothesis-seed=3", "test_own.py")
    beside, one = drawn("--hypothesis-seed=3", "c.steer.yaml", "test_own.py")
    _, other = drawn("--hypothesis-seed=4", "c.steer.yaml", "test_own.py")
    assert alone == beside
    assert len(alone.splitlines()) >= 5
    for key in ("verdict", "estimate", "counterexample"):
        assert one[key] == other[key]
    assert one["details"]["contexts"] == other["details"]["contexts"]


def test_a_context_of_an_unknown_axis(letters: Path, pytester: pytest.Pytester) -> None:
    (letters / "c.steer.yaml").write_text(HEAD + BREAKS)
    (claim,) = claims_of(pytester, '--steer-context={"order": "swapped"}')
    assert claim["verdict"] == "error"
    assert "unknown context axis 'order'" in claim["message"]
