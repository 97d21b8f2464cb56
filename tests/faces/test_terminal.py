"""What a terminal shows fits into its columns, in its colours and in the order of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from reports import noted
from terminal import run_in_terminal, too_long, width

from .conftest import HEAD

EVERY_KIND = (
    HEAD
    + """\
  - steers: {name: holds, steerability: -50}
  - steers: {name: a-claim-with-a-name-that-is-longer-than-any-terminal-is-wide-so-that-it-has-to-be-shortened, steerability: 50, controls: 0}
  - not_anti_steered: {name: cannot-be-decided, share: 0.5, min_n: 500}
  - steers: {name: known, steerability: 50, xfail: "a reason that is so long that pytest would break it, and so long that nobody would read all of it in one line anyhow"}
  - steers: {name: surprise, steerability: -50, xfail: thought to be broken}
  - steers: {name: broken, steerability: 1, data: {test: a-folder-that-is-not-there/and-a-file-with-a-long-name.json}}
  - holds_in_contexts: {steerability: 50, max_contexts: 6}
  - kl_below: {name: 漢字の主張は二倍の幅を持つ漢字の主張は二倍の幅を持つ漢字の主張は二倍の幅を持つ, limit: 0.000001}
  - promotes: {name: sides, nats: 5}
contexts:
  system: ["", "You are a helpful assistant that answers every question in one word.", "Answer."]
  option_order: [as_given, swapped]
"""
)
MATRIX = """
suite: a suite of many methods on many behaviours
min_n: 2
multipliers: [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
data: {neutral: neutral.txt}
matrix:
  method:
    caa: {layer: 1, positions: all}
    mean_difference_of_everything: {extract: {method: mean_difference}, layer: 1, positions: all}
  behaviour:
    letters: {train: train.json, test: test.json}
claims:
  - not_anti_steered: {share: 0.01, by: effect}
  - ppl_delta_below: {name: cost, limit: 0.000001}
  - steers_at_cost: {effect: 50, budget: 0.1}
  - leaves_alone: {band: 0.0001}
"""
TESTS = """
import pytest
from pytest_steer import SteeringVector, assert_not_anti_steered, assert_steers, read_items

def test_two_promises_of_one_test_with_a_long_name(steer_model):
    import torch
    vector = SteeringVector({1: torch.ones(steer_model.width)})
    assert_not_anti_steered(steer_model, vector, read_items("test.json"), share=0.99, multipliers=[-1, 0, 1])
    assert_steers(steer_model, vector, read_items("test.json"), steerability=50, multipliers=[-1, 0, 1])

def test_an_error(steer_model):
    assert_steers(steer_model, SteeringVector({1: [1.0]}), read_items("test.json"), steerability=50)
"""


@pytest.fixture
def every_kind(suite: Path) -> Path:
    (suite / "c.steer.yaml").write_text(EVERY_KIND)
    (suite / "m.steer.yaml").write_text(MATRIX)
    (suite / "test_assertions.py").write_text(TESTS)
    return suite


def is_pytests(line: str) -> bool:
    """Whether a line is of the test itself, of the fixtures in front of it, or a title, which pytest centres by its characters."""
    return line.strip("> ") in TESTS or line.startswith("steer_model = ") or (line[:3] == "___" and width(line) > len(line))


@pytest.mark.parametrize(
    ("columns", "files"),
    [
        (80, ["."]),
        pytest.param(60, ["c.steer.yaml"], marks=pytest.mark.nightly),
        pytest.param(130, ["c.steer.yaml"], marks=pytest.mark.nightly),
    ],
)
def test_no_line_is_longer_than_the_terminal_is_wide(
    every_kind: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, columns: int, files: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.delenv("CI", raising=False)
    result = pytester.runpytest("-ra", "--steer-profile=dev", "-p", "no:cacheprovider", *files)
    shown = result.stdout.str()
    for verdict in ("pass", "fail", "inconclusive", "error", "xpass", "fail (known)"):
        assert re.search(rf"^  {re.escape(verdict)}  ", shown, re.MULTILINE), verdict
    ours = shown[shown.index("collected") : shown.index("short test summary")]
    # A line of pytest's header and of what is to be copied whole is as long as it is.
    assert [line for line in too_long(ours, columns) if not is_pytests(line)] == []
    assert too_long(shown[shown.index("= steering claims") :], columns) == []


def test_in_a_terminal_nothing_wraps_and_verdicts_have_colours(every_kind: Path) -> None:
    chosen = ["c.steer.yaml", "-k", "holds or a-claim or cannot"]
    options = ["--steer-profile=dev", "-p", "no:cacheprovider"]
    shown, states = run_in_terminal("pytest", *options, *chosen, columns=80, folder=every_kind)
    # With colours, pytest itself breaks lines of its short summary: it counts the codes of colours as -1 columns.
    assert too_long(shown[shown.index("steer: ") : shown.index("short test summary")], 80) == []
    assert states
    assert max(map(width, states)) <= 80
    assert re.search(r"\[ *\d+%\]", shown)
    assert re.search(r"^  \x1b\[32mpass\x1b\[0m +holds", shown, re.MULTILINE)
    assert re.search(r"^  \x1b\[31m\x1b\[1mfail\x1b\[0m +a-claim", shown, re.MULTILINE)
    assert re.search(r"^  \x1b\[33minconclusive\x1b\[0m +cannot", shown, re.MULTILINE)
    assert re.search(r"^\x1b\[1mc\x1b\[0m$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("variable", "option", "coloured"),
    [("FORCE_COLOR", "", True), ("NO_COLOR", "", False), ("NO_COLOR", "--color=yes", True), ("", "--color=yes", True)],
)
def test_colours_are_pytests_own(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, option: str, coloured: bool
) -> None:
    for one in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS"):
        monkeypatch.delenv(one, raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    (suite / "c.steer.yaml").write_text(HEAD + "  - steers: -50\n")
    shown = pytester.runpytest(*filter(None, [option])).stdout.str()
    assert ("\x1b[32mpass\x1b[0m" in shown or "\x1b[32mpass   \x1b[0m" in shown) is coloured
    assert ("\x1b[" in shown) is coloured


def test_a_known_failure_that_passes_says_what_to_delete(suite: Path, pytester: pytest.Pytester) -> None:
    claims = "  - steers:\n      name: better\n      steerability: -50\n      xfail: too weak\n"
    (suite / "c.steer.yaml").write_text(HEAD + claims)
    line = (HEAD + claims).splitlines().index("      xfail: too weak") + 1
    (suite / "test_it.py").write_text(
        "import pytest, torch\nfrom pytest_steer import SteeringVector, assert_steers, read_items\n"
        "@pytest.mark.xfail(reason='too weak')\n"
        "def test_it(steer_model):\n"
        "    vector = SteeringVector({1: torch.ones(steer_model.width)})\n"
        "    assert_steers(steer_model, vector, read_items('test.json'), steerability=-50, multipliers=[-1, 0, 1])\n"
        "@pytest.mark.xfail(reason='too weak')\n"
        "def test_second(steer_model):\n"
        "    vector = SteeringVector({1: torch.ones(steer_model.width)})\n"
        "    for least in (-50, 50):\n"
        "        assert_steers(steer_model, vector, read_items('test.json'), steerability=least, multipliers=[-1, 0, 1])\n"
    )
    result = pytester.runpytest("--steer-report=r.json", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, xpassed=1, xfailed=1)
    told = f"it passes, and was known to fail (too weak): delete the `xfail` in c.steer.yaml:{line}"
    result.stdout.fnmatch_lines(
        [
            "better: XPASS  steerability * [[]*, *[]], promised at least -50",
            f"  warning: {told}",
            "  run again: pytest c.steer.yaml::better",
            "  xpass  *better (steers) * >= -50 *",
            "  xpass  *test_it (steers) * >= -50 *",
            "  pass  *test_second (steers) * >= -50 *",
            "  fail (known)  test_second (steers) * >= 50 *",
            "warning: c: better: it passes, *",
            "warning: test_it: steers: it passes, *: take the xfail mark off the test in test_it.py:3",
            "1 pass, 2 xpass, 1 fail (known)",
        ]
    )
    better, *_ = json.loads((suite / "r.json").read_text())["claims"]
    assert noted(better, "known-failure") == [told]


def test_a_command_that_is_broken_can_be_copied(
    suite: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (suite / "c.steer.yaml").write_text(
        HEAD + "  - holds_in_contexts: {steerability: 50, max_contexts: 6, min_n: 4}\n"
        'contexts: {system: ["You are a helpful assistant."], option_order: [swapped], opening: [It is]}\n'
    )
    result = pytester.runpytest("--steer-seed=3", "--steer-profile=ci", "-p", "no:cacheprovider")
    shown = result.stdout.str()
    found = re.search(r"^  show the counterexample again: *\\?\n?(.*?)^  run again", shown, re.MULTILINE | re.DOTALL)
    assert found is not None, shown
    assert too_long(found[0], 60) == []
