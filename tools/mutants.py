"""Break the package on purpose, one place at a time, and see whether the tests notice.

``tools/mutants.toml`` lists the mutations. An entry names a definition (``at``) and an expression or statements in it (``old``), compared as
syntax, so that neither formatting nor code elsewhere matters. Each mutation is made in a temporary copy of the project, never in the working
tree, and the tests that it names run there. It is caught if they fail, has survived if they pass, and is stale if ``old`` no longer occurs
exactly once or its tests do not exist.

    python tools/mutants.py                     run all (half an hour on two cores)
    python tools/mutants.py --only stats        run those of one folder of the package
    python tools/mutants.py --check             list the stale entries and where their code is now, run nothing
    python tools/mutants.py --follow            change ``at`` of entries whose code has moved, then check
    python tools/mutants.py --draw 8 --seed 3   print new entries at places that chance picks

The exit code is 1 if fewer than 95 % are caught or any entry is stale.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
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

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One mutation: ``old`` becomes ``new`` in the definition ``at``, and at least one of ``tests`` has to fail."""

    breaks: str
    at: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def floor(self) -> str:
        """The folder of the package, or ``ground`` for a module at its top."""
        parts = self.at.split(".")[1:]
        return parts[0] if (ROOT / PACKAGE / parts[0]).is_dir() else "ground"


class StaleError(Exception):
    """Why a mutation cannot be made."""


def read(file: Path) -> list[Mutant]:
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


# --- finding the place -----------------------------------------------------------------------------------------------------


def module_of(at: str, root: Path) -> tuple[Path, list[str]]:
    """The file of a qualified name, and the names of classes and functions inside it."""
    parts = at.split(".")
    for count in range(len(parts), 0, -1):
        base = root.joinpath(*parts[:count])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file, parts[count:]
    raise StaleError(f"no module {at}")


def definitions(tree: Definition, names: Sequence[str]) -> list[Definition]:
    """All definitions of that name, of which overloads and properties have several."""
    found = [tree]
    for name in names:
        found = [node for outer in found for node in _inner(outer) if node.name == name]
    return found


def _inner(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS[1:]):
            yield child
        elif not isinstance(child, ast.expr):
            yield from _inner(child)


@dataclass(frozen=True)
class Place:
    """A part of a tree: one expression, or ``count`` statements of a block, in ``field`` (at ``index``, if it is a list) of ``parent``."""

    parent: ast.AST
    field: str
    index: int | None
    count: int = 1

    def put(self, new: ast.expr | list[ast.stmt]) -> None:
        if self.index is None:
            setattr(self.parent, self.field, new)
            return
        held = getattr(self.parent, self.field)
        held[self.index : self.index + self.count] = new if isinstance(new, list) else [new]
        if not held and self.field == "body":
            held.append(ast.Pass())


def pattern_of(text: str, *, statements: bool = False) -> ast.expr | list[ast.stmt]:
    """The expression that a text is, else its statements."""
    text = textwrap.dedent(text).strip()
    if not statements:
        try:
            return ast.parse(text, mode="eval").body
        except SyntaxError:
            pass
    return ast.parse(text).body


def places_of(pattern: ast.expr | list[ast.stmt], where: ast.AST) -> Iterator[Place]:
    """Where the pattern occurs, compared as syntax."""
    wanted = [ast.dump(part) for part in (pattern if isinstance(pattern, list) else [pattern])]
    kind = type(pattern[0] if isinstance(pattern, list) else pattern)
    for node in ast.walk(where):
        for field, value in ast.iter_fields(node):
            if isinstance(value, kind) and [ast.dump(value)] == wanted:
                yield Place(node, field, None)
            for index in range(len(value) - len(wanted) + 1 if isinstance(value, list) else 0):
                if isinstance(value[index], kind) and [
                    ast.dump(part) for part in value[index : index + len(wanted)] if isinstance(part, ast.AST)
                ] == wanted:  # fmt: skip
                    yield Place(node, field, index, len(wanted))


def place_in(tree: ast.Module, mutant: Mutant, names: Sequence[str]) -> tuple[Place, ast.expr | list[ast.stmt]]:
    """The one place that a mutation changes in a module's tree, and what it puts there."""
    try:
        old = pattern_of(mutant.old, statements=not mutant.new.strip())
        new = pattern_of(mutant.new, statements=isinstance(old, list))
    except SyntaxError as error:
        raise StaleError(f"not Python: {error.text}") from None
    where = definitions(tree, names)
    if not where:
        raise StaleError(f"no definition {'.'.join(names)}")
    places = [place for definition in where for place in places_of(old, definition)]
    if len(places) != 1:
        raise StaleError(f"`old` occurs {len(places)} times")
    return places[0], new


def mutated(mutant: Mutant, root: Path) -> tuple[Path, str]:
    """The file that a mutation changes, and its text afterwards."""
    file, names = module_of(mutant.at, root)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    place, new = place_in(tree, mutant, names)
    before = ast.dump(tree)
    place.put(new)
    if ast.dump(tree) == before:
        raise StaleError("`new` changes nothing")
    return file, ast.unparse(ast.fix_missing_locations(tree)) + "\n"


# --- checking --------------------------------------------------------------------------------------------------------------


def stale_because(mutant: Mutant, root: Path) -> str | None:
    """Why an entry is stale, if it is."""
    gone = [test for test in mutant.tests if not _test_exists(test, root)]
    if gone:
        return f"no test {', '.join(gone)}"
    try:
        mutated(mutant, root)
    except StaleError as error:
        return str(error)
    return None


def _test_exists(test: str, root: Path) -> bool:
    path, _, function = test.partition("::")
    if not (root / path).exists():
        return False
    return not function or f"def {function.rpartition('::')[2].partition('[')[0]}(" in (root / path).read_text(
        encoding="utf-8"
    )


def moved_to(mutant: Mutant, root: Path, package: str) -> str | None:
    """The qualified name at which an entry's code is now, if it is in one other place of the package."""
    kept = mutant.at.rpartition(".")[2]
    found = []
    for module, tree in _trees(root, package):
        for names in _names_in(tree):
            if names and names[-1] == kept:
                try:
                    place_in(tree, mutant, names)
                except StaleError:
                    continue
                found.append(".".join([module, *names]))
    return found[0] if len(found) == 1 else None


@functools.cache
def _trees(root: Path, package: str) -> list[tuple[str, ast.Module]]:
    files = sorted((root / package).rglob("*.py"))
    return [(_module_name(file, root), ast.parse(file.read_text(encoding="utf-8"))) for file in files]


def _module_name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _names_in(node: ast.AST, outer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for inner in _inner(node):
        yield (*outer, inner.name)
        yield from _names_in(inner, (*outer, inner.name))


def check(mutants: Sequence[Mutant], root: Path, package: str) -> int:
    """List the stale entries. Returns the exit code."""
    stale = 0
    for mutant in mutants:
        reason = stale_because(mutant, root)
        if reason is not None:
            stale += 1
            now = moved_to(mutant, root, package)
            print(f"STALE {mutant.at}: {mutant.breaks}\n      {reason}" + (f"; now at {now}" if now else ""))
    print(f"{len(mutants)} mutations, {stale} stale")
    return int(stale > 0)


def follow(mutants: Sequence[Mutant], root: Path, package: str) -> None:
    """Change ``at`` of the entries whose code has moved to one other place."""
    head, *blocks = re.split(r"(?m)^(?=\[\[mutant\]\])", (root / DATA).read_text(encoding="utf-8"))
    for number, mutant in enumerate(mutants):
        now = moved_to(mutant, root, package) if stale_because(mutant, root) is not None else None
        if now is not None:
            blocks[number] = re.sub(r"(?m)^at = .*$", f"at = '{now}'", blocks[number], count=1)
    (root / DATA).write_text("".join([head, *blocks]), encoding="utf-8")


# --- running ---------------------------------------------------------------------------------------------------------------


def copy_of(root: Path, folder: Path, mutants: Sequence[Mutant]) -> Path:
    """A copy of the project, beside the same shared data. Files to be mutated are written as they will be, apart from the mutation."""
    copy = folder / "project"
    shutil.copytree(root, copy, ignore=LEFT_OUT, symlinks=True)
    if (root.parent / "shared").is_dir():
        (folder / "shared").symlink_to(root.parent / "shared")
    for mutant in mutants:
        if stale_because(mutant, copy) is None:
            file, _ = module_of(mutant.at, copy)
            file.write_text(ast.unparse(ast.parse(file.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
    return copy


def run_tests(copy: Path, tests: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *tests],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def verdict_on(mutant: Mutant, copy: Path) -> str:
    """``caught``, ``survived`` or ``stale``. The copy is afterwards as it was."""
    if stale_because(mutant, copy) is not None:
        return "stale"
    file, after = mutated(mutant, copy)
    before = file.read_text(encoding="utf-8")
    file.write_text(after, encoding="utf-8")
    try:
        code = run_tests(copy, mutant.tests, "-n", "0").returncode
    except subprocess.TimeoutExpired:
        return "caught"
    finally:
        file.write_text(before, encoding="utf-8")
    if code in (USAGE_ERROR, NOTHING_COLLECTED):
        return "stale"
    return "survived" if code == PASSED else "caught"


def run(mutants: Sequence[Mutant], root: Path, jobs: int) -> int:
    """Say what becomes of each mutant, then the figures. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copies.put(copy_of(root, Path(folder, str(number)), mutants))
        first = copies.queue[0]
        there = sorted({test for mutant in mutants for test in mutant.tests if _test_exists(test, first)})
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
                print(f"{verdict if verdict == 'caught' else verdict.upper():9} {mutant.at}: {mutant.breaks}", flush=True)
    share = verdicts["caught"] / len(mutants)
    print(
        f"{verdicts['caught']} of {len(mutants)} mutations caught ({100 * share:.0f} %), "
        f"{verdicts['survived']} survived, {verdicts['stale']} stale"
    )
    return int(share < NEEDED or verdicts["stale"] > 0)


# --- drawing ---------------------------------------------------------------------------------------------------------------

TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A node of a tree that can be changed, counted from the top, and which of its arguments is dropped."""

    kind: str
    number: int
    argument: int | None = None


def sites_of(tree: ast.AST) -> list[Site]:
    """Every place where a comparison, a constant, a sign or a keyword argument can be changed."""
    return [Site(kind, number, argument) for number, node in enumerate(_changeable(tree)) for kind, argument in _kinds(node)]


def _changeable(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of which the program's results can depend: no annotations, no arguments of decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changeable(child)


def _kinds(node: ast.AST) -> Iterator[tuple[str, int | None]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield "comparison", None
    elif isinstance(node, ast.BinOp) and type(node.op) in TURNED and not isinstance(node.left, ast.Constant | ast.JoinedStr):
        yield "sign", None
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", None
    elif isinstance(node, ast.Call):
        yield from (("argument", at) for at, keyword in enumerate(node.keywords) if keyword.arg not in (None, "strict"))


def entry_at(site: Site, source: str, module: str, tests: str) -> Mutant | None:
    """The mutant at a site: the smallest part around it that is the only one of its kind in its definition."""
    tree = ast.parse(source)
    node = list(_changeable(tree))[site.number]
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    around: list[ast.AST] = [node]
    while around[-1] is not tree:
        around.append(parents[around[-1]])
    before = [ast.unparse(part) if isinstance(part, ast.expr | ast.stmt) else None for part in around]
    change = _change(node, site)
    for at, (part, old) in enumerate(zip(around, before, strict=True)):
        if old is not None and not isinstance(part, ast.Constant | ast.FormattedValue):
            names = [outer.name for outer in around[:at:-1] if isinstance(outer, DEFINITIONS[1:])]
            mutant = Mutant(f"{site.kind} {change}", ".".join([module, *names]), old, ast.unparse(part), (tests,))
            try:
                place_in(ast.parse(source), mutant, names)
            except StaleError:
                continue
            return mutant
    return None


def _change(node: ast.AST, site: Site) -> str:
    """Change a node and say how."""
    if isinstance(node, ast.Compare):
        was, node.ops[0] = node.ops[0], TURNED[type(node.ops[0])]()  # type: ignore[call-overload]
        return f"changed: {type(was).__name__} to {type(node.ops[0]).__name__}"
    if isinstance(node, ast.BinOp):
        sign, node.op = node.op, TURNED[type(node.op)]()  # type: ignore[assignment]
        return f"changed: {type(sign).__name__} to {type(node.op).__name__}"
    if isinstance(node, ast.Call):
        assert site.argument is not None
        return f"dropped: {ast.unparse(node.keywords.pop(site.argument))}"
    assert isinstance(node, ast.Constant)
    value = node.value
    assert isinstance(value, int | float)
    node.value = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 1.5
    return f"changed: {value} to {node.value}"


def draw(root: Path, package: str, count: int, seed: int) -> list[Mutant]:
    """Mutants at random sites: folder after folder, and in each one kind after another."""
    generator = random.Random(seed)
    floors: dict[str, dict[str, list[tuple[Path, Site]]]] = {}
    for file in sorted((root / package).rglob("*.py")):
        parts = file.relative_to(root / package).parts
        for site in sites_of(ast.parse(file.read_text(encoding="utf-8"))):
            floors.setdefault(parts[0] if len(parts) > 1 else ".", {}).setdefault(site.kind, []).append((file, site))
    order = sorted(floors)
    generator.shuffle(order)
    drawn: list[Mutant] = []
    for number in range(20 * count):
        if len(drawn) == count:
            break
        floor = order[number % len(order)]
        file, site = generator.choice(floors[floor][generator.choice(sorted(floors[floor]))])
        tests = f"tests/{floor}" if (root / "tests" / floor).is_dir() and floor != "." else "tests/faces"
        mutant = entry_at(site, file.read_text(encoding="utf-8"), _module_name(file, root), tests)
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
        f"[[mutant]]\nbreaks = {text(mutant.breaks)}\nat = {text(mutant.at)}\n"
        f"old = {text(mutant.old)}\nnew = {text(mutant.new)}\ntests = [{tests}]\n"
    )


# --- the command -----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, package: str = PACKAGE) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run so many at the same time")
    parser.add_argument("--only", metavar="FOLDER", help="only mutations of this folder of the package; ground: its top")
    parser.add_argument("--list", action="store_true", help="list the entries, run nothing")
    parser.add_argument("--check", action="store_true", help="list the stale entries, run nothing")
    parser.add_argument("--follow", action="store_true", help="change the entries whose code has moved, then check")
    parser.add_argument("--draw", type=int, metavar="N", help="print so many new entries, run nothing")
    parser.add_argument("--seed", type=int, default=0, help="of --draw")
    options = parser.parse_args(arguments)
    if options.draw is not None:
        print("\n".join(as_toml(mutant) for mutant in draw(root, package, options.draw, options.seed)))
        return 0
    if options.follow:
        follow(read(root / DATA), root, package)
    mutants = [mutant for mutant in read(root / DATA) if options.only in (None, mutant.floor)]
    if not mutants:
        parser.error(f"no mutation of a folder {options.only}")
    if options.list:
        for mutant in mutants:
            print(f"{mutant.at}: {mutant.breaks} ({', '.join(mutant.tests)})")
        return 0
    if options.check or options.follow:
        return check(mutants, root, package)
    return run(mutants, root, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
