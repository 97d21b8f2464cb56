"""What the user sees in the terminal: a header line, progress of long work, one table at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import ModelError, SteerError
from .pytest_options import SUFFIXES, Settings
from .run_context import RunContext
from .sources import find_model, shown

if TYPE_CHECKING:
    from .pytest_collect import ClaimItem
    from .pytest_session import SteerSession


def announce(session: SteerSession, claims: list[ClaimItem]) -> list[str]:
    """The header line, only when a claim was collected."""
    if not claims:
        return []
    from .prompting.template_names import template_name

    models = sorted({session.model_name(item.suite, item.claim) for item in claims})
    run = session.settings.run
    noun = "claim" if len(claims) == 1 else "claims"
    dtype = f"{run.dtype}: bfloat16 on the CPU" if run.half_on_cpu else run.dtype
    return [
        f"steer: {len(claims)} {noun} on {', '.join(models)} (profile {run.effort.name}, seed {run.seed}, dtype {dtype}, "
        f"device {run.device})",
        *(f"steer: {name}: {template}" for name in models if (template := template_name(name)) is not None),
    ]


def check_options(run: RunContext) -> None:
    """Finds out before the first claim whether the device, and a hub id given as the model, can be had at all.

    Raises:
        pytest.UsageError: one cannot.
    """
    if run.device != "auto":
        from .model.loading import pick_device

        try:
            pick_device(run.device)
        except ModelError as error:
            raise pytest.UsageError(f"--steer-device: {error}; 'cpu' always can") from None
    if run.model is None or find_model(run.model).kind != "hub":
        return
    from transformers.utils.hub import cached_file

    try:
        cached_file(run.model, "config.json")
    except Exception as error:  # the hub client raises nearly anything
        first = str(error).strip().splitlines()[0]
        raise pytest.UsageError(
            f"--steer-model: {run.model!r} is neither a folder, a .gguf file, builtin:NAME nor package:NAME, and as "
            f"a hub id it cannot be had: {first}"
        ) from None


class ProgressLine:
    """One line that is overwritten while a test runs. Only on a terminal, and not with ``-q``."""

    def __init__(self, item: pytest.Item) -> None:
        self._reporter = item.config.pluginmanager.get_plugin("terminalreporter")
        self._capture = item.config.pluginmanager.get_plugin("capturemanager")
        self._name = item.name
        self._shown = 0.0
        self.wanted = bool(self._reporter is not None and self._reporter.isatty and self._reporter.verbosity >= 0)

    def show(self, text: str) -> None:
        """Shows what is being done; at most ten times a second."""
        now = time.monotonic()
        if now - self._shown < 0.1:
            return
        self._shown = now
        # The cursor goes back to where pytest left it, so that pytest's own line stays whole.
        line = f"{self._name}: {text}"
        self._write(f"\x1b7 [{line[:70]}]\x1b[K\x1b8")

    def clear(self) -> None:
        """Takes the line away."""
        if self._shown:
            self._write("\x1b[K")

    def _write(self, text: str) -> None:
        if self._reporter is None:
            return
        if self._capture is None:
            self._reporter.write(text, flush=True)
            return
        with self._capture.global_and_fixture_disabled():
            self._reporter.write(text, flush=True)


def summarize(reporter: pytest.TerminalReporter, claims: list[dict[str, Any]], saved: list[str]) -> None:
    """The table of all claims, how many wrong verdicts to expect in it, and what was written to files."""
    if claims:
        from .report import claim_table, claim_warnings, comparison_of, deployed_moves, expected_false, verdict_counts

        reporter.section("steering claims")
        reporter.write_line(claim_table(claims))
        comparison = comparison_of(claims)
        if comparison:
            reporter.write_line(f"\n{comparison}\n")
        for line in (*deployed_moves(claims), *claim_warnings(claims), expected_false(claims), verdict_counts(claims)):
            reporter.write_line(line)
    for line in saved:
        reporter.write_line(line)


def save_counterexamples(root: Path, claims: list[dict[str, Any]]) -> list[str]:
    """Adds proven counterexamples to the regressions of their claim files; what to tell the user of each.

    Args:
        root: the folder that node ids are seen from.
    """
    lines: list[str] = []
    by_file: dict[Path, list[dict[str, Any]]] = {}
    for claim in claims:
        found = claim.get("counterexample")
        if found is None or claim["verdict"] != "fail":
            continue
        file = root / claim["id"].partition("::")[0]
        if not file.name.endswith(SUFFIXES):
            lines.append(f"counterexample of {claim['id']} not saved: only a claim file has regressions")
        elif found["context"]:  # as given is always tried
            by_file.setdefault(file, []).append(found["context"])
    for file, contexts in by_file.items():
        from .files.regressions import add_regressions

        try:
            added = add_regressions(file, contexts)
        except (SteerError, OSError) as error:
            lines.append(f"regressions: {shown(file)} is left as it was: {error}")
            continue
        lines += [f"regressions: added {json.dumps(context, ensure_ascii=False)} to {shown(file)}" for context in added]
    return lines


def write_reports(settings: Settings, claims: list[dict[str, Any]], started: float) -> tuple[list[str], int | None]:
    """Writes the reports that were asked for; what to tell of each, and the exit code to end with if one cannot be written."""
    from .report import build_report, fitting, write_report

    claims, faults = fitting(claims)
    lines = [f"--steer-report: {fault}" for fault in faults]
    report = build_report(claims, seed=settings.run.seed, profile=settings.run.effort.name, started=started)
    code = int(pytest.ExitCode.TESTS_FAILED) if faults else None
    for path in settings.reports:
        try:
            write_report(path, report)
        except (OSError, SteerError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            lines.append(f"--steer-report: {path} cannot be written: {reason}")
            code = int(pytest.ExitCode.USAGE_ERROR)
        else:
            lines.append(f"report: {path}")
    return lines, code
