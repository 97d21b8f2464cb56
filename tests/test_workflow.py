"""The workflow that docs/ci.md offers: its own shell steps run as they stand, on the built-in model, in a new folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from small_suite import small_suite

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = YAML(typ="safe", pure=True).load((ROOT / "docs" / "github-workflow.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in WORKFLOW["jobs"]["steering"]["steps"] if "name" in step}
# A stand-in for GitHub's own program, which no test may reach: it keeps what it was asked, and answers as the file says.
GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$RUNNER/asked.txt"
if [ "$1 $2" = "release download" ]; then
  [ "$3" = "$(cat "$RUNNER/reported.txt" 2>/dev/null)" ] || exit 1
  echo "{}" > baseline.json
  exit 0
fi
cat "$RUNNER/answer.txt" 2>/dev/null
exit "$(cat "$RUNNER/code.txt")"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the folder of suites that the workflow names: one claim file, and few data."""
    suites = small_suite(tmp_path / "repo" / WORKFLOW["env"]["SUITES"])
    (suites / "test_builtin.py").unlink()
    claims = suites / "tiny.steer.yaml"
    claims.write_text(re.sub(r"  - steers: \{name: loud.*\n|\n  - steers:\n(?s:.*)", "", claims.read_text()))
    runner = tmp_path / "runner"
    (runner / "bin").mkdir(parents=True)
    (runner / "bin" / "gh").write_text(GH)
    (runner / "bin" / "gh").chmod(0o755)
    # The commands of the environment that runs this test.
    for name in ("pytest", "pytest-steer"):
        module = name.replace("-", "_")
        (runner / "bin" / name).write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -m {module} "$@"\n')
        (runner / "bin" / name).chmod(0o755)
    (runner / "code.txt").write_text("0")
    return tmp_path / "repo"


def run(checkout: Path, name: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One step, with GitHub's own shell for `run`."""
    runner = checkout.parent / "runner"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GITHUB_"))},
        **WORKFLOW["env"],
        "PATH": f"{runner / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RUNNER": str(runner),
        "GITHUB_STEP_SUMMARY": str(runner / "summary.md"),
        "GITHUB_WORKSPACE": str(checkout),
        "GITHUB_REPOSITORY": "owner/name",
        "NUMBER": "7",
        "TAG": "v1",
        **more,
    }
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
    return subprocess.run(script, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def asked(checkout: Path) -> list[str]:
    return (checkout.parent / "runner" / "asked.txt").read_text().splitlines()


def test_what_is_run_on_each_pull_request(checkout: Path) -> None:
    runner = checkout.parent / "runner"
    done = run(checkout, "baseline")  # there is no release yet
    assert (done.returncode, done.stdout) == (0, "no earlier release has a report\n")

    done = run(checkout, "claims")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in checkout.glob("steering.*")} == {
        f"steering.{kind}" for kind in ("json", "md", "html", "xml")
    }
    markdown = (checkout / "steering.md").read_text()
    assert markdown in (runner / "summary.md").read_text()
    assert list((checkout / ".steer-cache").iterdir())

    done = run(checkout, "verdict")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "3 of 4 steering claims hold, 1 known to fail")

    assert (run(checkout, "compare").returncode, (checkout / "baseline.json").exists()) == (0, False)
    (checkout / "baseline.json").write_text(
        (checkout / "steering.json").read_text().replace("approval-cost", "approval-other")
    )
    assert run(checkout, "compare").returncode == 3  # a claim that is gone
    (checkout / "baseline.json").unlink()

    assert run(checkout, "comment").returncode == 0
    assert asked(checkout)[-1] == "api --method POST repos/owner/name/issues/7/comments --field body=@steering.md --silent"
    (runner / "answer.txt").write_text("4711\n")  # the comment is there already
    assert run(checkout, "comment").returncode == 0
    look, update = asked(checkout)[-2:]
    assert update == "api --method PATCH repos/owner/name/issues/comments/4711 --field body=@steering.md --silent"
    assert f'startswith("{markdown.splitlines()[0]}")' in look

    assert run(checkout, "keep with the release").returncode == 0
    assert asked(checkout)[-1] == "release upload v1 steering.json --clobber"


def test_the_baseline_is_the_newest_earlier_release_with_a_report(checkout: Path) -> None:
    runner = checkout.parent / "runner"
    (runner / "answer.txt").write_text("v3\nv2\nv1\nv0\n")
    (runner / "reported.txt").write_text("v1")
    done = run(checkout, "baseline", TAG="v3")
    assert (done.returncode, done.stdout) == (0, "")
    assert (checkout / "baseline.json").exists()
    assert [line.split()[2] for line in asked(checkout)[1:]] == ["v2", "v1"]
    (runner / "code.txt").write_text("4")  # as GitHub's program ends without a valid token
    assert run(checkout, "baseline").returncode == 4


@pytest.mark.nightly
def test_the_run_is_held_against_the_report_of_the_last_release(checkout: Path) -> None:
    """The report that one run leaves is the baseline of the next, which then makes a claim worse."""
    suite = next((checkout / WORKFLOW["env"]["SUITES"]).glob("*.steer.yaml"))
    done = run(checkout, "claims")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((checkout / "steering.json").read_text())["against"] is None
    (checkout / "steering.json").rename(checkout / "baseline.json")

    suite.write_text(suite.read_text().replace("steerability: 0.9}", "steerability: 9}"))
    done = run(checkout, "claims")
    assert done.returncode == 1
    against = json.loads((checkout / "steering.json").read_text())["against"]
    assert against["baseline"]["path"].endswith("baseline.json")
    assert len(against["claims"]) == 4
    by_name = {one["id"].rpartition("::")[2]: one["outcome"] for one in against["claims"]}
    assert by_name["approval-rises"] == "broken"
    assert by_name["loud-no-reversal"] == "held"


def test_every_step_that_is_ours_is_run_here() -> None:
    """The others install the package, and are GitHub's own."""
    tried = {"baseline", "claims", "verdict", "compare", "comment", "keep with the release"}
    assert set(STEPS) == {"install", *tried}
    assert STEPS["install"]["run"] == 'pip install "pytest-steer[page]"'
    # The token of a pull request from a fork can only read.
    assert "github.event.pull_request.head.repo.full_name == github.repository" in STEPS["comment"]["if"]
    known: Any = [step["uses"].partition("@")[0] for step in WORKFLOW["jobs"]["steering"]["steps"] if "uses" in step]
    assert known == ["actions/checkout", "actions/setup-python", "actions/cache", "actions/upload-artifact"]
    assert set(WORKFLOW[True] if True in WORKFLOW else WORKFLOW["on"]) == {"pull_request", "release"}
