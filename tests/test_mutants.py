"""The runner of mutations, on a toy project with one mutation of each outcome."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "mutants.py"
SOURCE = (
    "def larger(a, b):\n    return a > b\n\n\ndef shown(a, b):\n    return round(a - b, ndigits=2) if larger(a, b) else 0\n"
)
ENTRY = '[[mutant]]\nbreaks = "{}"\nat = "toy.it.larger"\nold = "{}"\nnew = "{}"\ntests = ["tests/{}.py"]\n'


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # of the toy's runs of pytest
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    for name, text in {
        "toy/__init__.py": "",
        "toy/it.py": SOURCE,
        "tests/test_toy.py": "from toy.it import larger\n\n\ndef test_it():\n    assert larger(2, 1)\n    assert not larger(1, 2)\n",
        "tools/mutants.toml": ENTRY.format("the order", "a > b", "a < b", "test_toy")
        + ENTRY.format("a tie", "a > b", "a >= b", "test_toy")
        + ENTRY.format("text that is gone", "a > c", "a < c", "test_toy")
        + ENTRY.format("tests that are gone", "a > b", "a < b", "test_gone"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_caught_survived_and_stale(mutants, toy, capsys):
    assert mutants.main([], root=toy, package="toy") == 1
    assert capsys.readouterr().out.splitlines() == [
        "caught    toy.it.larger: the order",
        "SURVIVED  toy.it.larger: a tie",
        "STALE     toy.it.larger: text that is gone",
        "STALE     toy.it.larger: tests that are gone",
        "1 of 4 mutations caught (25 %), 1 survived, 2 stale",
    ]
    assert (toy / "toy/it.py").read_text() == SOURCE


def test_all_caught_is_exit_code_0(mutants, toy, capsys):
    (toy / "tools/mutants.toml").write_text(ENTRY.format("the order", "a > b", "a < b", "test_toy"))
    assert mutants.main([], root=toy, package="toy") == 0
    # Tests that fail anyway catch everything, which says nothing.
    (toy / "tests/test_toy.py").write_text("def test_it():\n    assert False\n")
    assert mutants.main([], root=toy, package="toy") == 1
    assert "fail without any mutation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("at", "old", "new", "source", "after"),
    [
        ("f", "a<b", "a <= b", "def f(a, b): return a < b\ndef g(a, b): return a < b", "return a <= b"),
        ("C.f", "a * b", "a", "class C:\n    def f(a, b): return g(a * b)", "return g(a)"),
        ("", "x = 1", "x = 2", "x = 1\ndef f(): return 1", "x = 2"),
        ("f", "check()", "", "def f():\n    check()", "pass"),
        ("f", "a = 1\nb = 2", "a = 2", "def f():\n    a = 1\n    b = 2  # why\n    return a", "a = 2\n    return a"),
        ("f", "a < b", "a > b", "def f(a, b): return a < b or (a < b)", "`old` occurs 2 times"),
        ("f", "a < c", "a > b", "def f(a, b): return a < b", "`old` occurs 0 times"),
        ("f", "a < b", "a<b", "def f(a, b): return a < b", "`new` changes nothing"),
        ("g", "a < b", "a > b", "def f(a, b): return a < b", "no definition g"),
        ("f", "a <", "a > b", "def f(a, b): return a < b", "not Python: a <"),
    ],
)
def test_a_place_is_found_by_definition_and_syntax(mutants, tmp_path, at, old, new, source, after):
    (tmp_path / "it.py").write_text(source)
    mutant = mutants.Mutant("it", f"it.{at}".rstrip("."), old, new, ())
    try:
        found = mutants.mutated(mutant, tmp_path)[1]
    except mutants.StaleError as error:
        found = str(error)
    assert after in found


def test_code_that_has_moved_is_followed(mutants, toy, capsys):
    (toy / "toy/there.py").write_text(SOURCE.replace("larger", "greater"))
    (toy / "toy/it.py").write_text("")
    entries = (toy / "tools/mutants.toml").read_text().replace("toy.it.larger", "toy.it.greater")
    (toy / "tools/mutants.toml").write_text(entries)
    assert mutants.main(["--check"], root=toy, package="toy") == 1
    assert "STALE toy.it.greater: a tie\n      no definition greater; now at toy.there.greater\n" in capsys.readouterr().out
    mutants.main(["--follow"], root=toy, package="toy")
    assert capsys.readouterr().out.splitlines()[-1] == "4 mutations, 2 stale"


def test_drawn_sites_are_of_four_kinds_and_leave_python(mutants):
    sites = mutants.sites_of(ast.parse(SOURCE))
    assert {site.kind for site in sites} == {"comparison", "constant", "sign", "argument"}
    made = [mutants.entry_at(site, SOURCE, "toy.it", "tests") for site in sites]
    assert {(entry.at, entry.old, entry.new) for entry in made} >= {
        ("toy.it.larger", "a > b", "a >= b"),
        ("toy.it.shown", "a - b", "a + b"),
        ("toy.it.shown", "round(a - b, ndigits=2)", "round(a - b)"),
    }


def test_drawn_entries_can_be_read_back_and_a_seed_repeats_them(mutants, toy, capsys):
    printed = []
    for seed in ("1", "1", "2"):
        assert mutants.main(["--draw", "4", "--seed", seed], root=toy, package="toy") == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    (toy / "tools/mutants.toml").write_text(printed[0].replace("tests/faces", "tests/test_toy.py"))
    assert mutants.main(["--check"], root=toy, package="toy") == 0


def test_no_entry_of_ours_is_stale(mutants, capsys):
    entries = mutants.read(TOOL.parents[1] / mutants.DATA)
    assert len(entries) >= 150
    assert len({(entry.at, entry.old, entry.new) for entry in entries}) == len(entries)
    assert all(entry.breaks for entry in entries)
    assert mutants.main(["--check"]) == 0, capsys.readouterr().out
