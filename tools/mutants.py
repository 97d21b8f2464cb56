"""Break the package on purpose, one place at a time, and see whether the tests notice.

``tools/mutants.toml`` lists the mutations. Each is made in a temporary copy of the project, never in the working tree, and the tests that
it names run there. A mutation is caught if they fail, has survived if they pass, and is stale if its text no longer occurs exactly
once or its tests do not exist.

    python tools/mutants.py                     run all (half an hour on two cores)
    python tools/mutants.py --only stats        run those of one folder of the package
    python tools/mutants.py --draw 8 --seed 3   print new entries at places that chance picks

The exit code is 1 if fewer than 95 % are caught or any entry is stale.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pytest_steer"
DATA = "tools/mutants.toml"
NEEDED = 0.95
LIMIT = 900  # seconds; a mutation that makes a test run on is caught
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info")
PASSED, USAGE_ERROR, NOTHING_COLLECTED = 0, 4, 5  # exit codes of pytest


@dataclass(frozen=True)
class Mutant:
    """One mutation: ``old`` becomes ``new`` in ``file``, and at least one of ``tests`` has to fail."""

    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def floor(self) -> str:
        """The folder of the package, or ``ground`` for a module at its top."""
        parts = Path(self.file).parts[1:]
        return parts[0] if len(parts) > 1 else "ground"


def read(file: Path) -> list[Mutant]:
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


# --- running -------------------------------------------------------------------------------------------------------------


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of the project, beside the same shared data."""
    copy = folder / "project"
    shutil.copytree(root, copy, ignore=LEFT_OUT, symlinks=True)
    if (root.parent / "shared").is_dir():
        (folder / "shared").symlink_to(root.parent / "shared")
    return copy


def run_tests(copy: Path, tests: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *tests],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def write(file: Path, text: str) -> None:
    """The file and no compiled form of what it was: Python compares times in whole seconds."""
    file.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def verdict_on(mutant: Mutant, copy: Path) -> str:
    """``caught``, ``survived`` or ``stale``. The copy is afterwards as it was."""
    file = copy / mutant.file
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    gone = [test for test in mutant.tests if not (copy / test.partition("::")[0]).exists()]
    if before.count(mutant.old) != 1 or mutant.old == mutant.new or gone:
        return "stale"
    write(file, before.replace(mutant.old, mutant.new))
    try:
        code = run_tests(copy, mutant.tests, "-n", "0").returncode
    except subprocess.TimeoutExpired:
        return "caught"
    finally:
        write(file, before)
    if code in (USAGE_ERROR, NOTHING_COLLECTED):
        return "stale"
    return "survived" if code == PASSED else "caught"


def run(mutants: Sequence[Mutant], root: Path, jobs: int) -> int:
    """Say what becomes of each mutant, then the figures. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copies.put(copy_of(root, Path(folder, str(number))))
        first = copies.queue[0]
        there = sorted({test for mutant in mutants for test in mutant.tests if (first / test.partition("::")[0]).exists()})
        untouched = run_tests(first, there, "-n", str(jobs if jobs > 1 else 0)) if there else None
        if untouched is not None and untouched.returncode not in (PASSED, USAGE_ERROR):
            print(untouched.stdout[-4000:], untouched.stderr[-2000:], sep="\n")
            print("The tests fail without any mutation, so nothing can be learned from them.")
            return 1

        def judged(mutant: Mutant) -> str:
            copy = copies.get()
            try:
                return verdict_on(mutant, copy)
            finally:
                copies.put(copy)

        verdicts: Counter[str] = Counter()
        with ThreadPoolExecutor(jobs) as pool:
            for mutant, verdict in zip(mutants, pool.map(judged, mutants), strict=True):
                verdicts[verdict] += 1
                print(f"{verdict if verdict == 'caught' else verdict.upper():9} {mutant.file}: {mutant.breaks}", flush=True)
    share = verdicts["caught"] / len(mutants)
    print(
        f"{verdicts['caught']} of {len(mutants)} mutations caught ({100 * share:.0f} %), "
        f"{verdicts['survived']} survived, {verdicts['stale']} stale"
    )
    return int(share < NEEDED or verdicts["stale"] > 0)


# --- drawing -------------------------------------------------------------------------------------------------------------

TURNED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SIGNS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}


@dataclass(frozen=True)
class Site:
    """A stretch of one line of source that can be replaced."""

    kind: str
    line: int
    start: int
    end: int
    new: str


def sites_of(source: str) -> list[Site]:
    """Every place where a comparison, a constant, a sign or a keyword argument can be changed."""
    lines = source.splitlines()
    found = []
    for node in _changeable(ast.parse(source)):
        for kind, first, last, new in _changes(node, lines):
            if first[0] == last[0] and lines[first[0] - 1].isascii():  # ast counts bytes
                found.append(Site(kind, first[0], first[1], last[1], new))
    return found


def _changeable(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of which the program's results can depend: no annotations, no arguments of decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changeable(child)


def _changes(node: ast.AST, lines: list[str]) -> Iterator[tuple[str, tuple[int, int], tuple[int, int], str]]:
    """Kind, where the replaced text starts and ends, and what takes its place."""

    def between(left: ast.expr, right: ast.expr, new: str) -> Iterator[tuple[tuple[int, int], tuple[int, int], str]]:
        """The operator between two operands that stand on one line without brackets between them."""
        assert left.end_lineno is not None
        assert left.end_col_offset is not None
        if left.end_lineno == right.lineno:
            gap = lines[right.lineno - 1][left.end_col_offset : right.col_offset]
            if not set(gap) & set("()"):
                yield (left.end_lineno, left.end_col_offset), (right.lineno, right.col_offset), f" {new} "

    def whole(part: ast.expr | ast.keyword, new: str) -> tuple[tuple[int, int], tuple[int, int], str]:
        assert part.end_lineno is not None
        assert part.end_col_offset is not None
        return (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset), new

    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        for change in between(node.left, node.comparators[0], TURNED[type(node.ops[0])]):
            yield "comparison", *change
    elif isinstance(node, ast.BinOp) and type(node.op) in SIGNS and not isinstance(node.left, ast.Constant | ast.JoinedStr):
        for change in between(node.left, node.right, SIGNS[type(node.op)]):
            yield "sign", *change
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", *whole(node, str(not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", *whole(node, repr(node.value + 1 if isinstance(node.value, int) else node.value * 1.5))
    elif isinstance(node, ast.Call):
        for keyword in node.keywords:
            first, last, _ = whole(keyword, "")
            before = lines[first[0] - 1][: first[1]]
            if keyword.arg not in (None, "strict") and before.endswith(", "):
                yield "argument", (first[0], first[1] - 2), last, ""


def entry_at(site: Site, source: str, file: str, tests: str) -> Mutant | None:
    """The mutant at a site, with as many lines around it as make its text the only one of its kind."""
    lines = source.splitlines()
    line = lines[site.line - 1]
    mutated = line[: site.start] + site.new + line[site.end :]
    old, new = line.strip(), mutated.strip()
    if source.count(old) != 1:
        above = lines[max(site.line - 3, 0) : site.line - 1]
        old, new = "\n".join([*above, line]), "\n".join([*above, mutated])
    if source.count(old) != 1:
        return None
    was = line[site.start : site.end].strip(" ,")
    if site.kind == "argument":
        breaks = f"argument dropped: {was}"
    else:
        breaks = f"{site.kind} changed: {was} to {site.new.strip()}"
    return Mutant(breaks, file, old, new, (tests,))


def draw(root: Path, package: str, count: int, seed: int) -> list[Mutant]:
    """Mutants at random sites: folder after folder, and in each one kind after another."""
    generator = random.Random(seed)
    floors: dict[str, dict[str, list[tuple[str, Site]]]] = {}
    sources = {}
    for file in sorted((root / package).rglob("*.py")):
        name = file.relative_to(root).as_posix()
        sources[name] = file.read_text(encoding="utf-8")
        parts = file.relative_to(root / package).parts
        for site in sites_of(sources[name]):
            floors.setdefault(parts[0] if len(parts) > 1 else ".", {}).setdefault(site.kind, []).append((name, site))
    order = sorted(floors)
    generator.shuffle(order)
    drawn: list[Mutant] = []
    for number in range(20 * count):
        if len(drawn) == count:
            break
        floor = order[number % len(order)]
        kind = generator.choice(sorted(floors[floor]))
        name, site = generator.choice(floors[floor][kind])
        tests = f"tests/{floor}" if (root / "tests" / floor).is_dir() and floor != "." else "tests/faces"
        mutant = entry_at(site, sources[name], name, tests)
        if mutant is not None and mutant not in drawn:
            drawn.append(mutant)
    return drawn


def as_toml(mutant: Mutant) -> str:
    """An entry as it stands in the data file."""

    def text(value: str) -> str:
        quotes = "'''" if "\n" in value or "'" in value else "'"
        return json.dumps(value, ensure_ascii=False) if "'''" in value or value.endswith("'") else quotes + value + quotes

    tests = ", ".join(json.dumps(test) for test in mutant.tests)
    return (
        f"[[mutant]]\nbreaks = {text(mutant.breaks)}\nfile = {text(mutant.file)}\n"
        f"old = {text(mutant.old)}\nnew = {text(mutant.new)}\ntests = [{tests}]\n"
    )


# --- the command ---------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, package: str = PACKAGE) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run so many at the same time")
    parser.add_argument("--only", metavar="FOLDER", help="only mutations of this folder of the package; ground: its top")
    parser.add_argument("--list", action="store_true", help="list the entries, run nothing")
    parser.add_argument("--draw", type=int, metavar="N", help="print so many new entries, run nothing")
    parser.add_argument("--seed", type=int, default=0, help="of --draw")
    options = parser.parse_args(arguments)
    if options.draw is not None:
        print("\n".join(as_toml(mutant) for mutant in draw(root, package, options.draw, options.seed)))
        return 0
    mutants = [mutant for mutant in read(root / DATA) if options.only in (None, mutant.floor)]
    if not mutants:
        parser.error(f"no mutation of a folder {options.only}")
    if options.list:
        for mutant in mutants:
            print(f"{mutant.file}: {mutant.breaks} ({', '.join(mutant.tests)})")
        return 0
    return run(mutants, root, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
