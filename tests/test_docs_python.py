"""The Python of the pages runs as it stands, on the built-in model, and prints what the page says. Tables of sizes are right."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pytest_steer.core import registry
from pytest_steer.prompting import known_axes
from pytest_steer.stats import Direction, items_needed_mean, items_needed_share

ROOT = Path(__file__).parent.parent
DATA = ROOT / "example_suites" / "builtin" / "data"
# A block, and what it prints if that follows.
BLOCK = re.compile(
    r"^ *```python\n(?P<code>.*?)^ *```\n(?:(?:\n|prints\n)*```\n(?P<shown>.*?)^```$)?", re.MULTILINE | re.DOTALL
)
# extending.md and how-a-claim-runs.md are run by tests of their own. The others import what is not among our dependencies.
PAGES = [
    "builtin-corpus",
    "comparing-models",
    "contexts",
    "data",
    "fuzzing",
    "generation",
    "python",
    "sweep",
    "thresholds",
    "write-an-axis",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name."""
    (tmp_path / "data").symlink_to(DATA)
    (tmp_path / "example_suites").symlink_to(ROOT / "example_suites")
    for name in ("train", "test", "validation"):
        shutil.copy(DATA / "cheer_test.json", tmp_path / f"{name}.json")
    (tmp_path / "faq.csv").write_text("q,a\nIs it open?,It is.\n")
    message = {"lang": "en", "labels": {"quality": {"value": 0.9, "count": 3}}}
    first = {"message_id": "1", "parent_id": None, "text": "Is it open?", "role": "prompter", **message}
    reply = {"message_id": "2", "parent_id": "1", "text": "It is.", "role": "assistant", **message}
    (tmp_path / "messages.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in (first, reply)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "a_page"}
    before = set(known_axes())
    if page == "contexts":  # its axis is that of another page
        exec(next(code for code, _ in blocks("write-an-axis")), {"__name__": "an_axis"})
    try:
        for code, shown in blocks(page):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, f"{page}.md", "exec"), names)
            assert shown is None or printed.getvalue() == shown
    finally:
        for name in set(known_axes()) - before:
            registry.forget("axis", name)
    if page == "python":  # the property test
        names["test_the_first_item_can_be_put_in_any_context"]()
    if page == "fuzzing":
        assert {"letter.safetensors", "letters.json"} <= {file.name for file in folder.iterdir()}


def blocks(page: str) -> list[tuple[str, str | None]]:
    """Code, and what it prints, where a page shows that."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = [(textwrap.dedent(block["code"]), block["shown"]) for block in BLOCK.finditer(text)]
    assert found
    return [(code, shown if "print(" in code else None) for code, shown in found]


def test_the_tables_of_sample_sizes_are_right() -> None:
    text = (ROOT / "docs" / "thresholds.md").read_text(encoding="utf-8")
    rows = [
        [float(cell) for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^ *(\|(?: *[\d.]+ *\|)+)$", text, re.MULTILINE)
    ]
    means, shares = [row for row in rows if len(row) == 4], [row for row in rows if len(row) == 3]
    assert (len(means), len(shares)) == (4, 6)
    for estimate, threshold, deviation, items in means:
        assert items_needed_mean(estimate, deviation, threshold) == items
    for share, threshold, items in shares:
        assert items_needed_share(share, threshold, direction=Direction.AT_MOST) == items
