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
ENTRY = '[[mutant]]\nbreaks = "{}"\nfile = "toy/it.py"\nold = "{}"\nnew = "{}"\ntests = ["tests/{}.py"]\n'


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


@pytest.fixture
def toy(tmp_path):
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
        "caught    toy/it.py: the order",
        "SURVIVED  toy/it.py: a tie",
        "STALE     toy/it.py: text that is gone",
        "STALE     toy/it.py: tests that are gone",
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


def test_drawn_sites_are_of_four_kinds_and_leave_python(mutants):
    sites = mutants.sites_of(SOURCE)
    assert {site.kind for site in sites} == {"comparison", "constant", "sign", "argument"}
    made = [mutants.entry_at(site, SOURCE, "toy/it.py", "tests") for site in sites]
    assert {(entry.old, entry.new) for entry in made} >= {
        ("return a > b", "return a >= b"),
        ("return round(a - b, ndigits=2) if larger(a, b) else 0", "return round(a + b, ndigits=2) if larger(a, b) else 0"),
        ("return round(a - b, ndigits=2) if larger(a, b) else 0", "return round(a - b) if larger(a, b) else 0"),
    }
    for entry in made:
        ast.parse(SOURCE.replace(entry.old, entry.new))


def test_drawn_entries_can_be_read_back_and_a_seed_repeats_them(mutants, toy, capsys):
    printed = []
    for seed in ("1", "1", "2"):
        assert mutants.main(["--draw", "4", "--seed", seed], root=toy, package="toy") == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    (toy / "tools/mutants.toml").write_text(printed[0])
    entries = mutants.read(toy / "tools/mutants.toml")
    assert len(entries) == 4
    assert all(SOURCE.count(entry.old) == 1 for entry in entries)


def test_every_entry_of_ours_says_what_it_breaks_and_names_tests_that_exist(mutants):
    root = TOOL.parents[1]
    entries = mutants.read(root / mutants.DATA)
    assert len(entries) >= 80
    assert len({(entry.file, entry.old, entry.new) for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.breaks, entry
        assert all((root / test.partition("::")[0]).exists() for test in entry.tests), entry
