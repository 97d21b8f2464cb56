"""Record the reports of the golden suite and of the example suites, and explain how two recordings differ.

    python tools/golden.py record before --code ../old-checkout
    python tools/golden.py record after --only golden
    python tools/golden.py compare before after --expect expected.yaml

A recording has a folder for each run, with the JSON report, the Markdown report, the page, what the terminal showed, and ``run.json``: the
command, the exit code and a hash of the suite's files. Suites are copied to a folder that always has the same path, so paths and line breaks do
not differ between two checkouts.

``compare`` goes through the JSON reports claim by claim, value by value, and through the other files line by line. Numbers have to be equal to the
last digit. Ignored are times, dates, versions, the commit and paths of checkouts. The exit code is 0 if every difference is expected, else 1.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[1]
STAGE = Path(tempfile.gettempdir()) / "golden-run"
GOLDEN = "tests/golden"
WRONG_CODE = 99

# --- what is recorded ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One command whose output is recorded.

    Attributes:
        name: folder of the recording. ``--only`` takes it or the start of it.
        arguments: of pytest, or of the module ``pytest_steer`` with ``is_command``.
            ``reports/NAME`` holds the reports of the runs before it.
        timeout: in seconds.
        threads: of torch. Of a small model one is as fast as two, also beside other work.
    """

    name: str
    arguments: tuple[str, ...]
    is_command: bool = False
    timeout: int = 3600
    threads: str = "1"


def _golden(name: str, *arguments: str) -> Run:
    return Run(f"golden/{name}", tuple(one.replace("@", GOLDEN) for one in arguments))


def _command(name: str, *arguments: str) -> Run:
    return Run(f"golden/command-{name}", tuple(one.replace("@", GOLDEN) for one in arguments), is_command=True)


RUNS = (
    *(
        _golden(name, f"@/{name}.steer.yaml")
        for name in (
            "items",
            "texts",
            "others",
            "replies",
            "tools",
            "tasks",
            "interventions",
            "slow",
            "matrix",
            "holm",
            "errors",
            "broken",
        )
    ),
    _golden("assertions", "@/test_golden.py"),
    _golden("dev", "@/items.steer.yaml", "@/texts.steer.yaml", "--steer-profile=dev", "--steer-dtype=float32", "--tb=short"),
    _golden(
        "options",
        "@/holm.steer.yaml",
        "@/tools.steer.yaml",
        "--steer-holm",
        "--steer-inconclusive=xfail",
        "--steer-report-texts=none",
        "--steer-no-soundness",
        "--steer-strict-known",
        "--steer-seed=3",
        "-q",
    ),
    _golden(
        "context",
        "@/others.steer.yaml",
        "-k",
        "contexts-",
        "--steer-context",
        '{"wording": "last"}',
        "--steer-report-texts=short",
    ),
    _golden(
        "bfloat16",
        "@/items.steer.yaml",
        "-k",
        "pass or loud or empty",
        "--steer-dtype=bfloat16",
        "--steer-inconclusive=skip",
    ),
    _golden("release-before", "@/release/before", "--steer-baseline=baseline.json", "--steer-update-baseline"),
    _golden("release-after", "@/release/after", "--steer-baseline=baseline.json"),
    _golden("release-update", "@/release/after", "--steer-baseline=baseline.json", "--steer-update-baseline"),
    _command("list", "list"),
    _command("schema", "schema"),
    _command("validate", "validate", *(f"@/{name}.steer.yaml" for name in ("items", "errors", "broken"))),
    _command("show", "show", "@/items.steer.yaml", "--items", "1"),
    _command("explain-items", "explain", "@/items.steer.yaml"),
    _command("explain-replies", "explain", "@/replies.steer.yaml"),
    _command("compare", "compare", "reports/golden/release-before/report.json", "reports/golden/release-after/report.json"),
    _command("verdict", "verdict", "reports/golden/items/report.json"),
    Run("builtin", ("example_suites/builtin",), threads="2"),
    Run("open_ended", ("example_suites/open_ended",), threads="2"),
    Run("smollm2", ("example_suites/smollm2",), threads="2"),
    Run("costs", ("example_suites/costs",), threads="2"),
    Run("methods", ("example_suites/methods",), threads="2", timeout=10800),
)
NAMES = tuple(run.name for run in RUNS)


def record(out: Path, *, only: list[str], code: Path, suites: Path) -> int:
    """Run the suites and write what they gave to ``out``. Returns 1 if a run was cut off or took another package than that in ``code``."""
    chosen = [run for run in RUNS if not only or any(run.name == one or run.name.startswith(f"{one}/") for one in only)]
    if not chosen:
        raise SystemExit(
            f"--only {' '.join(only)}: names no run; there are {', '.join(NAMES)}, and golden for all of its own"
        )
    with open(f"{STAGE}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another recording is under way (it holds {lock.name})") from None
        inputs = _stage(suites)
        failed = [run.name for run in chosen if not _record(run, out, code=code, inputs=inputs)]
    if failed:
        print(f"not recorded: {', '.join(failed)}")
    return 1 if failed else 0


def _stage(suites: Path) -> dict[str, str]:
    """Copy the suites to a fixed place, and return a hash of each file."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for part in (GOLDEN, "example_suites"):
        shutil.copytree(suites / part, STAGE / part, ignore=shutil.ignore_patterns("__pycache__", "models", ".pytest_cache"))
    (STAGE / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
    files = sorted(path for path in STAGE.rglob("*") if path.is_file())
    return {str(path.relative_to(STAGE)): hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in files}


# The package is looked at after the run, so that pytest imports it as a plugin first.
_BOOT = f"""
import sys
place, is_command, arguments = sys.argv[1], sys.argv[2] == "command", sys.argv[3:]
if is_command:
    from pytest_steer.cli.main import main
    sys.argv = ["pytest-steer", *arguments]
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
else:
    import pytest
    code = pytest.main(arguments)
import pytest_steer
if not pytest_steer.__file__.startswith(place):
    print(f"{{pytest_steer.__file__}} is not in {{place}}", file=sys.stderr)
    code = {WRONG_CODE}
sys.exit(int(code or 0))
"""


def _record(run: Run, out: Path, *, code: Path, inputs: dict[str, str]) -> bool:
    folder = (out / run.name).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = [*run.arguments]
    # Reports have the same place in every recording, since the terminal names them.
    reports = {name: STAGE / "reports" / run.name / name for name in ("report.json", "report.md", "report.html")}
    if not run.is_command:
        (STAGE / "reports" / run.name).mkdir(parents=True, exist_ok=True)
        arguments += [f"--steer-report={os.path.relpath(path, STAGE)}" for path in reports.values()]
    command = [sys.executable, "-c", _BOOT, f"{code}{os.sep}", "command" if run.is_command else "pytest", *arguments]
    own = {
        "COLUMNS": "80",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(code),
        "OMP_NUM_THREADS": run.threads,
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=STAGE, env=os.environ | own, capture_output=True, text=True, errors="replace", timeout=run.timeout
        )
        exit_code, said, complaints = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        exit_code, said, complaints = -1, "", f"not done after {run.timeout} s\n"
    seconds = round(time.monotonic() - begun, 1)
    (folder / "terminal.txt").write_text(said)
    (folder / "stderr.txt").write_text(complaints)
    for name, path in reports.items():
        if path.exists():
            shutil.copy(path, folder / name)
    used = {path: known for path, known in inputs.items() if any(_is_of(path, one) for one in run.arguments)}
    about = {"arguments": list(run.arguments), "exit_code": exit_code, "seconds": seconds, "code": str(code), "inputs": used}
    (folder / "run.json").write_text(json.dumps(about, indent=1))
    print(f"{run.name}: exit code {exit_code}, {seconds} s", flush=True)
    return exit_code not in (-1, WRONG_CODE)


def _is_of(path: str, argument: str) -> bool:
    """Whether a file of the suites is used by a run with this argument."""
    place = argument.partition("::")[0]
    if place.startswith(GOLDEN):
        named = path == place or path.startswith(f"{place}/")
        return named or (path.startswith(f"{GOLDEN}/") and not path.endswith((".steer.yaml", "test_golden.py", ".md")))
    return path.startswith(place.rstrip("/") + "/")


# --- what differs --------------------------------------------------------------------------------------------------------------

# In the order in which they are printed. What is first is worst.
KINDS = {
    "exit": "exit codes",
    "verdict": "verdicts",
    "claims": "claims that are there in one recording only",
    "files": "reports that are there in one recording only",
    "removed": "keys that are gone",
    "added": "keys that are new",
    "warnings": "warnings",
    "order": "order alone",
    "changed": "values",
    "terminal": "what the terminal shows",
    "stderr": "what standard error shows",
    "markdown": "Markdown",
    "page": "page",
    "inputs": "files of the suites (the recordings are of different claims)",
}


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        kind: a key of ``KINDS``.
        run: the recorded run. claim: the id of the claim, or "".
        path: where in the report, with indices as ``[3]``; of a text the name of its file.
        what: old and new, in words.
    """

    kind: str
    run: str
    claim: str
    path: str
    what: str

    @property
    def pattern(self) -> str:
        return re.sub(r"\[\d+\]", "[*]", self.path)

    def __str__(self) -> str:
        return f"{self.run} {self.claim} {self.path}: {self.what}"


IGNORED_KEYS = {"seconds", "started", "versions", "commit"}
# What a report says of another report, which holds times and so never has the same hash.
IGNORED_PATHS = re.compile(r"(^|\.)baseline\.(sha256|date|started|path)$")


def compare(old: Path, new: Path, only: list[str]) -> Iterator[Difference]:
    """Yield the differences of all runs that both recordings have."""
    for name in shared_runs(old, new, only):
        before, after = Recorded(old / name), Recorded(new / name)
        yield from _differences(name, before, after)


def shared_runs(old: Path, new: Path, only: list[str]) -> list[str]:
    has = [name for name in NAMES if (old / name / "run.json").exists() and (new / name / "run.json").exists()]
    return [name for name in has if not only or any(name == one or name.startswith(f"{one}/") for one in only)]


class Recorded:
    """What was recorded of one run, read on demand and without what differs between any two runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run: dict[str, Any] = json.loads((folder / "run.json").read_text())

    def text(self, name: str) -> str | None:
        path = self.folder / name
        return self.plain(path.read_text()) if path.exists() else None

    def report(self) -> dict[str, Any] | None:
        path = self.folder / "report.json"
        return json.loads(self.plain(path.read_text())) if path.exists() else None

    def plain(self, text: str) -> str:
        for place, name in ((self.run["code"], "<code>"), (str(self.folder.parent), "<out>"), (str(STAGE), "<run>")):
            text = text.replace(place, name)
        return re.sub(r"/tmp/(pytest-of-[^/\s]+/pytest-\d+|tmp[a-z0-9_]{8})", "<tmp>", text)


def _differences(name: str, before: Recorded, after: Recorded) -> Iterator[Difference]:
    if before.run["inputs"] != after.run["inputs"]:
        for path in sorted(before.run["inputs"].keys() | after.run["inputs"].keys()):
            old, new = before.run["inputs"].get(path), after.run["inputs"].get(path)
            if old != new:
                yield Difference("inputs", name, "", path, _change(old, new))
    if before.run["exit_code"] != after.run["exit_code"]:
        yield Difference("exit", name, "", "exit_code", _change(before.run["exit_code"], after.run["exit_code"]))
    yield from _in_reports(name, before.report(), after.report())
    for file, kind, lines in (
        ("terminal.txt", "terminal", _terminal_lines),
        ("stderr.txt", "stderr", _terminal_lines),
        ("report.md", "markdown", _markdown_lines),
        ("report.html", "page", _page_lines),
    ):
        old, new = before.text(file), after.text(file)
        if (old is None) != (new is None):
            yield Difference("files", name, "", file, "there -> gone" if new is None else "none -> there")
        elif old is not None and new is not None:
            yield from _in_lines(kind, name, file, lines(old), lines(new))


# --- JSON reports --------------------------------------------------------------------------------------------------------------


def _in_reports(name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[Difference]:
    if old is None or new is None:
        if old is not new:
            yield Difference("files", name, "", "report.json", "there -> gone" if new is None else "none -> there")
        return
    mine, others = _claims(old), _claims(new)
    for key in [*mine, *(one for one in others if one not in mine)]:
        claim = "/".join(key[0].split("/")[-1:]) + (f" #{key[1]}" if key[1] else "")
        if key not in others:
            yield Difference("claims", name, claim, "", f"there ({mine[key]['verdict']}) -> gone")
        elif key not in mine:
            yield Difference("claims", name, claim, "", f"none -> there ({others[key]['verdict']})")
        else:
            yield from _in_values(name, claim, "", mine[key], others[key])
    shared = [key for key in mine if key in others]
    if shared != [key for key in others if key in mine]:
        yield Difference("order", name, "", "claims", "the same claims in another order")
    rest = [{key: value for key, value in report.items() if key != "claims"} for report in (old, new)]
    yield from _in_values(name, "", "", *rest)


def _claims(report: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Claims by id, and by number where one test makes several."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    for claim in report["claims"]:
        found[claim["id"], seen[claim["id"]]] = claim
        seen[claim["id"]] += 1
    return found


def _in_values(name: str, claim: str, path: str, old: Any, new: Any) -> Iterator[Difference]:
    """The differences of two values, from the outside in."""
    if IGNORED_PATHS.search(path) or json.dumps(old) == json.dumps(new):  # where 1, 1.0 and true are three values
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(one for one in new if one not in old)]:
            if key in IGNORED_KEYS:
                continue
            below = f"{path}.{key}" if path else key
            if key not in new:
                yield Difference("removed", name, claim, below, _shown(old[key]))
            elif key not in old:
                yield Difference("added", name, claim, below, _shown(new[key]))
            else:
                yield from _in_values(name, claim, below, old[key], new[key])
    elif path.rpartition(".")[2] in ("warnings", "findings") and isinstance(old, list) and isinstance(new, list):
        yield from _in_warnings(name, claim, path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield Difference("changed", name, claim, f"{path}.length", _change(len(old), len(new)))
        elif _bag(old) == _bag(new):
            yield Difference("order", name, claim, path, f"{len(old)} equal entries in another order")
            return
        for at, (mine, other) in enumerate(zip(old, new, strict=False)):
            yield from _in_values(name, claim, f"{path}[{at}]", mine, other)
        for at in range(min(len(old), len(new)), max(len(old), len(new))):
            kind, entry = ("removed", old[at]) if len(old) > len(new) else ("added", new[at])
            yield Difference(kind, name, claim, f"{path}[{at}]", _shown(entry))
    elif isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        for gone, come in _hunks(_terminal_lines(old), _terminal_lines(new)):
            yield Difference("changed", name, claim, path, _line_change(gone, come))
    elif not (isinstance(old, str) and isinstance(new, str) and _timeless(old) == _timeless(new)):
        kind = "verdict" if path.rpartition(".")[2] == "verdict" else "changed"
        yield Difference(kind, name, claim, path, _change(old, new))


def _in_warnings(name: str, claim: str, path: str, old: list[Any], new: list[Any]) -> Iterator[Difference]:
    if _bag(old) == _bag(new):
        yield Difference("order", name, claim, path, f"{len(old)} equal warnings in another order")
        return
    lost, won = _bag(old) - _bag(new), _bag(new) - _bag(old)
    if len(lost) == len(won) == 1:
        yield Difference("warnings", name, claim, path, f"{next(iter(lost))} -> {next(iter(won))}")
        return
    for sign, bag in (("gone", lost), ("new", won)):
        for one in bag.elements():
            yield Difference("warnings", name, claim, path, f"{sign}: {one}")


def _bag(values: list[Any]) -> Counter[str]:
    return Counter(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in values)


def _change(old: Any, new: Any) -> str:
    return f"{_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else f"{text[:400]}... ({len(text)} characters)"


# --- texts ---------------------------------------------------------------------------------------------------------------------

_TIMES = (
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T])\d\d:\d\d(:\d\d)?(\+00:00)?"), r"<time>"),
    (re.compile(r"\b(in|took|after) \d+(\.\d+)? ?(s|ms|min)\b( \(\d+:\d\d:\d\d\))?"), r"\1 <time>"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms|min)\b"), "<time>"),
    (re.compile(r"\bcommit [0-9a-f]{10}\b"), "commit <id>"),
    (re.compile(r"- commit `[0-9a-f]{40}`( \(.*\))?"), "- commit <id>"),
    (re.compile(r"\((\d{4}-\d\d-\d\d), ([^,()]+), sha256 [0-9a-f]+\)"), r"(<day>, \2, <hash>)"),
    (re.compile(r"^(=+) (.*<time>.*) (=+)$"), r"= \2 ="),  # rules fill the width, so they depend on the time's length
)


def _timeless(line: str) -> str:
    for expression, text in _TIMES:
        line = expression.sub(text, line)
    return line.rstrip()


def _terminal_lines(text: str) -> list[str]:
    return [_timeless(line) for line in text.splitlines()]


def _markdown_lines(text: str) -> list[str]:
    return [_timeless(line) for line in text.splitlines() if not line.startswith("- versions:")]


class _Page(HTMLParser):
    """The text of a page, one line for each element that has some, and its figures, which are only counted."""

    BLOCKS: ClassVar = {
        "p", "h1", "h2", "h3", "h4", "li", "tr", "pre", "dt", "dd", "summary", "figcaption", "label", "option", "caption",
        "article", "section", "details",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines = [""]
        self.figures: Counter[str] = Counter()
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("svg", "figure", "table"):
            self.figures[tag] += 1
        if tag in ("script", "style", "svg"):
            self.inside.append(tag)
        if tag in self.BLOCKS:
            self.lines.append("")
        elif tag in ("td", "th", "span"):
            self.lines[-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()
        if tag in self.BLOCKS:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.lines[-1] += data
        elif "svg" in self.inside and data.strip():
            self.figures["texts in figures"] += 1


def _page_lines(text: str) -> list[str]:
    page = _Page()
    page.feed(text)
    page.close()
    found = [" ".join(part.split()) for line in page.lines for part in line.split("\n")]
    counts = [f"({count} {what})" for what, count in sorted(page.figures.items())]
    return [*counts, *(_timeless(line) for line in found if line and not line.startswith("versions"))]


def _in_lines(kind: str, name: str, file: str, old: list[str], new: list[str]) -> Iterator[Difference]:
    for gone, come in _hunks(old, new):
        yield Difference(kind, name, "", file, _line_change(gone, come))


def _hunks(old: list[str], new: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Lines that are gone and lines that took their place. Lines that changed each in itself are apart."""
    for what, start, end, begin, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        gone, come = old[start:end], new[begin:stop]
        if len(gone) == len(come):
            yield from (([mine], [other]) for mine, other in zip(gone, come, strict=True) if mine != other)
        else:
            yield gone, come


def _line_change(gone: list[str], come: list[str]) -> str:
    return "\n".join([*(f"- {line}" for line in gone), *(f"+ {line}" for line in come)])


# --- what is printed -----------------------------------------------------------------------------------------------------------


@dataclass
class Rule:
    """A difference that is expected: an expression that is searched in it, and why."""

    where: re.Pattern[str]
    why: str
    found: list[Difference] = field(default_factory=list)


def read_rules(path: Path | None) -> list[Rule]:
    if path is None:
        return []
    text = path.read_text()
    if path.suffix == ".json":
        entries = json.loads(text)
    else:
        from ruamel.yaml import YAML

        entries = YAML(typ="safe").load(text) or []
    return [Rule(re.compile(entry["where"], re.DOTALL), entry["why"]) for entry in entries]


def explain(differences: list[Difference], rules: list[Rule], *, most: int) -> int:
    """Print the differences in groups. Returns how many are not expected."""
    unexpected = []
    for one in differences:
        rule = next((rule for rule in rules if rule.where.search(str(one))), None)
        (unexpected if rule is None else rule.found).append(one)
    for kind, title in KINDS.items():
        own = [one for one in unexpected if one.kind == kind]
        if own:
            print(f"\n== {title}: {len(own)}")
            _print_groups(own, most)
    for rule in rules:
        print(f"\nexpected ({len(rule.found)}): {rule.why}  [{rule.where.pattern}]")
        for kind, count in Counter(one.kind for one in rule.found).items():
            examples = ", ".join(
                dict.fromkeys(f"{one.run} {one.claim or one.pattern}" for one in rule.found if one.kind == kind)
            )
            print(f"  {count} of {KINDS[kind]}: {examples[:200]}")
        if not rule.found:
            print("  nothing of this kind was found: delete the rule")
    return len(unexpected)


def _print_groups(differences: list[Difference], most: int) -> None:
    """The same change is printed once, with the claims that have it. Of one pattern at most ``most`` changes are printed."""
    patterns: dict[str, dict[str, list[Difference]]] = {}
    for one in differences:
        key = one.what if one.kind not in ("added", "removed") else "" if _is_large(one.what) else one.what
        patterns.setdefault(one.pattern, {}).setdefault(key, []).append(one)
    for pattern, changes in patterns.items():
        total = sum(map(len, changes.values()))
        print(f"\n  {pattern or '(claim)'}  ({total})" + _largest(changes))
        for group in sorted(changes.values(), key=len, reverse=True)[:most]:
            ids = list(dict.fromkeys(f"{one.run} {one.claim}".strip() for one in group))
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            what = group[0].what.replace("\n", "\n      ")
            print(f"      {what}\n        {len(group)} x in {', '.join(ids[:3])}{more}")
        if len(changes) > most:
            print(f"      ... and {len(changes) - most} other changes of this path (--most N shows more)")


def _is_large(what: str) -> bool:
    return what.startswith(("{", "[")) and len(what) > 80


_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"


def _largest(changes: dict[str, list[Difference]]) -> str:
    """The largest relative change, where all are of numbers."""
    found = [re.fullmatch(f"({_NUMBER}) -> ({_NUMBER})", what) for what in changes]
    if len(found) < 2 or None in found:
        return ""
    pairs = [(float(one[1]), float(one[2])) for one in found if one is not None]
    largest = max(abs(new - old) / max(abs(old), abs(new)) for old, new in pairs if old != new)
    return f", numbers: largest change {largest:.1e} of the value, {max(abs(new - old) for old, new in pairs):.1e} in itself"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run the suites and write their reports")
    recording.add_argument("out", type=Path)
    recording.add_argument("--code", type=Path, default=ROOT, help="checkout whose pytest_steer is run (default: this one)")
    recording.add_argument(
        "--suites", type=Path, default=ROOT, help=f"folder of {GOLDEN} and example_suites (default: this checkout)"
    )
    comparing = commands.add_parser("compare", help="explain how two recordings differ")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--expect", type=Path, help="YAML or JSON list of {where: expression, why: text}")
    comparing.add_argument("--most", type=int, default=5, help="changes printed for each path (default: 5)")
    for one in (recording, comparing):
        one.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"golden, or any of {', '.join(NAMES)}")
    chosen = parser.parse_args()
    if chosen.command == "record":
        return record(chosen.out, only=chosen.only, code=chosen.code.resolve(), suites=chosen.suites.resolve())
    names = shared_runs(chosen.old, chosen.new, chosen.only)
    if not names:
        raise SystemExit("the two folders have no run in common")
    print(f"compared: {', '.join(names)}")
    one_only = [
        name for name in NAMES if (chosen.old / name / "run.json").exists() != (chosen.new / name / "run.json").exists()
    ]
    if one_only:
        print(f"in one recording only, not compared: {', '.join(one_only)}")
    count = explain([*compare(chosen.old, chosen.new, chosen.only)], read_rules(chosen.expect), most=chosen.most)
    print(f"\n{count or 'no'} unexpected differences")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
