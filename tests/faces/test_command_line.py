"""The command line as a whole: what it imports, its exit codes, and the two small commands ``schema`` and ``list``."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest
from forked import run_module

from pytest_steer.cli.list import sentence_of
from pytest_steer.cli.main import COMMANDS, main
from pytest_steer.core import registry
from pytest_steer.core.errors import MeasurementError, SteerError
from pytest_steer.files.schema import full_schema
from pytest_steer.report import report_schema

PACKAGE = Path(__file__).resolve().parents[2] / "pytest_steer"
HEAVY = ("torch", "transformers", "numpy", "scipy", "hypothesis", "jsonschema", "ruamel", "tabulate", "pytest")


def test_help_imports_nothing_heavy():
    script = (
        f"import sys\nfrom pytest_steer.cli.main import main\ncodes = {{main([*own, '--help']) for own in {[[], *([name] for name in COMMANDS)]}}}\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))\nassert codes == {{0}}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"Usage: pytest-steer {name} " in done.stdout for name in COMMANDS)
    assert "heavy: []" in done.stdout


def test_the_command_that_is_run_is_imported_alone():
    script = (
        "import sys\nfrom pytest_steer.cli.main import main\nmain(['schema', '--help'])\n"
        "print('COMMANDS', sorted(name for name in sys.modules if name.startswith('pytest_steer.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.partition("COMMANDS ")[2]
    assert "'pytest_steer.cli.schema'" in loaded
    assert not any(f"'pytest_steer.cli.{name}'" in loaded for name in ("sweep", "show", "list", "compare_methods"))


# Of those with more options than a screen has lines: one line for each of them, if that has room.
LONGER = {"sweep": 44, "compare-methods": 32, "plot": 30}


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_one_screen(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"] if command else ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= LONGER.get(command, 24)
    assert max(map(len, lines)) <= 80


# Those that measure: each has a file of its own here, and test_docs_blocks.py holds the options of examples against the commands.
SLOW = ("compare", "verdict", "compare-models", "compare-methods", "plot", "sweep", "init", "explain")


@pytest.mark.parametrize("command", [pytest.param(name, marks=[pytest.mark.nightly] * (name in SLOW)) for name in COMMANDS])
def test_the_example_in_the_help_runs(capsys, monkeypatch, tmp_path, command):
    if command == "plot":
        pytest.importorskip("altair", reason="pictures need the extra: pip install pytest-steer[page]")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out.splitlines()
    (at,) = [number for number, line in enumerate(shown) if "Example, in example_suites/builtin:" in line]
    monkeypatch.chdir(shutil.copytree(PACKAGE.parent / "example_suites" / "builtin", tmp_path / "builtin"))
    *before, example = "\n".join(line for line in shown[at + 1 :] if line.strip()).replace("\\\n", "").split("\n")
    for line in before:
        program, *arguments = shlex.split(line)
        assert program == "pytest"
        assert run_module("pytest", *arguments).returncode == 0
    program, *arguments = shlex.split(example)
    assert (program, arguments[0]) == ("pytest-steer", command)
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pytest-steer: error: Missing command."),
        (
            ["sweeep"],
            "pytest-steer: error: there is no command 'sweeep': did you mean 'sweep'? There are sweep, compare,",
        ),
        (["schema", "--reports"], "pytest-steer schema: error: No such option"),
        (
            ["show", "claims.py"],
            "pytest-steer show: error: Invalid value for 'FILE': claims.py: there is no such file",
        ),
        (
            ["convert", __file__, "v.gguf", "--multiplier", "x"],
            "pytest-steer convert: error: Invalid value for '--multiplier': 'x'. Write a number",
        ),
        (["show", str(PACKAGE)], f"pytest-steer show: error: Invalid value for 'FILE': {PACKAGE}: is a folder"),
        (
            ["inspect", f"{__file__}x"],
            f"pytest-steer inspect: error: Invalid value for 'VECTOR': {__file__}x: there is no such file. Did you mean {__file__}?",
        ),
    ],
)
def test_wrong_usage_is_exit_code_4(capsys, arguments, message):
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.err.splitlines()[-1].startswith("All options: pytest-steer")
    assert printed.out == ""


@pytest.mark.parametrize(("error", "code"), [(MeasurementError("a score is NaN"), 1), (SteerError("no such thing"), 4)])
def test_a_measurement_that_fails_is_not_wrong_usage(monkeypatch, capsys, error, code):
    def fail(**_options):
        raise error

    monkeypatch.setattr(import_module("pytest_steer.cli.list").command, "callback", fail)
    assert main(["list"]) == code
    assert capsys.readouterr().err == f"pytest-steer list: error: {error}\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pytest-steer 0.")


def test_the_schemas_are_those_that_files_and_reports_are_held_against(capsys):
    assert main(["schema"]) == 0
    claims = json.loads(capsys.readouterr().out)
    assert claims == json.loads(json.dumps(full_schema()))
    jsonschema.Draft202012Validator.check_schema(claims)
    assert "steers" in claims["$defs"]["claim"]["properties"]
    assert main(["schema", "--report"]) == 0
    assert json.loads(capsys.readouterr().out) == report_schema()


def test_everything_that_is_registered_is_listed(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for kind in registry.KINDS:
        things = registry.names(kind)
        title = "axes" if kind == "axis" else f"{kind}s"
        assert (f"{title}\n" in printed) == bool(things)
        for name in things:
            (line,) = [one for one in printed.partition(f"{title}\n")[2].splitlines() if one.startswith(f"  {name} ")][:1]
            assert line.endswith(f" ({registry.home_of(kind, name)})")
    steers = next(line for line in printed.splitlines() if line.startswith("  steers "))
    assert (
        "The mean steerability over the test items is at least `steerability`. (pytest_steer.claims.kinds.steers)" in steers
    )


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_of_the_list_is_wider_than_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    said = "The mean steerability over the test items is at least `steerability`. (pytest_steer.claims.kinds.steers)"
    assert said in " ".join(printed.split())
    assert re.search(r"^  steers +The mean", printed, re.M)


class Documented:
    """What it is (Braun et al. 2025). More about it.

    Args: none.
    """


def test_a_thing_is_listed_with_its_first_sentence():
    assert sentence_of(Documented) == "What it is (Braun et al. 2025)."
    documented = Documented()
    documented.about = "Said by\n itself. And more."
    assert sentence_of(documented) == "Said by itself."
