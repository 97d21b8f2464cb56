"""What a run says of its claims: a header line before them, and after them their table, the written reports and how to go on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..core.columns import visible, wrapped
from ..core.errors import SteerError, exceptions_named
from ..core.run_context import RunContext
from ..core.sources import shown
from .options import SUFFIXES, columns, painter
from .session import provenance_of

if TYPE_CHECKING:
    from ..core.evidence import Json
    from .baseline import Baseline
    from .session import SteerSession


_MOST_IDS = 5


def announce(run: RunContext, models: Sequence[str], width: int) -> list[str]:
    """The header lines; none if no claim was collected.

    Args:
        models: the model of each claim.
        width: columns of the terminal.
    """
    if not models:
        return []
    from ..prompting.formats import template_name

    names = sorted({*models})
    noun = "claim" if len(models) == 1 else "claims"
    dtype = f"{run.dtype}: bfloat16 on the CPU" if run.half_on_cpu else run.dtype
    lines = [
        f"steer: {len(models)} {noun} on {', '.join(names)} (profile {run.effort.name}, seed {run.seed}, dtype {dtype}, "
        f"device {run.device})",
        *(f"steer: {name}: {template}" for name in names if (template := template_name(name)) is not None),
    ]
    return [wrapped(visible(line), width) for line in lines]


def models_of(session: SteerSession, ids: Iterable[str], root: Path) -> list[str]:
    """The model of each claim among these ids, read from its file, since xdist's workers send ids only."""
    from ..files import read_suite

    names: dict[str, list[str]] = {}
    for one in ids:
        file, _, name = one.partition("::")
        if file.endswith(SUFFIXES):
            names.setdefault(file, []).append(name)
    models: list[str] = []
    for file, wanted in names.items():
        try:
            with exceptions_named():
                suite = read_suite(shown(root / file))
        except SteerError:  # one broken claim stands for the file
            models += [session.settings.run.model_name()] * len(wanted)
            continue
        entries = {visible(entry.name): entry for entry in suite.entries}
        models += [session.model_name(suite, entries.get(name, suite.entries[0])) for name in wanted]
    return models


def summarize(reporter: pytest.TerminalReporter, claims: list[Json], saved: list[str]) -> None:
    """Print the table of all claims, notes on it, how many wrong verdicts to expect, and the files that were written."""
    width, paint = columns(reporter.config), painter(reporter)
    if claims:
        from .. import report
        from ..core.record import record_of

        records = [record_of(claim) for claim in report.fitting(claims)[0]]
        reporter.section("steering claims")
        # Colours are put in last: all that others wrote in the table is written out as visible text.
        reporter.write_line(f"{report.claim_table(records, width=width, paint=paint)}\n")
        for table in (report.comparison_of(records, width=width), report.entanglement_map(records, width=width)):
            if table:
                reporter.write_line(f"{table}\n")
        for line in report.notes_below(records):
            reporter.write_line(wrapped(visible(line), width))
        if counts := report.verdict_counts(records, width=width, paint=paint):
            reporter.write_line(counts)
    for line in saved:
        reporter.write_line(wrapped(visible(line), width))


def save_counterexamples(root: Path, claims: list[Json]) -> list[str]:
    """Add proven counterexamples to the regressions of their claim files, and return a line for the user about each.

    Args:
        root: the folder that node ids are relative to.
    """
    lines: list[str] = []
    by_file: dict[Path, list[Json]] = {}
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
        from ..files.regressions import add_regressions

        try:
            added = add_regressions(file, contexts, root)
        except (SteerError, OSError) as error:
            lines.append(f"regressions: {shown(file)} is left as it was: {error}")
            continue
        lines += [f"regressions: added {json.dumps(context, ensure_ascii=False)} to {shown(file)}" for context in added]
    return lines


def count_as_error(reporter: pytest.TerminalReporter | None, told: Iterable[str]) -> None:
    """Count an error that belongs to no test in pytest's last lines.

    Args:
        told: the lines of :func:`write_reports`. The first option that a line names is the one that failed.
    """
    if reporter is not None:
        option = next((line.partition(":")[0] for line in told if line.startswith("--steer-")), "--steer-report")
        found = pytest.TestReport(option, (option, None, ""), {}, "failed", "not all of it could be written", "teardown")
        reporter.stats.setdefault("error", []).append(found)


def stopped_lines(session: SteerSession, ids: list[str], interrupted: bool) -> list[str]:
    """Lines about a run that ended before all claims were measured: the counts, how to go on, and which scores remain.

    Args:
        ids: the claims that were not measured.
    """
    if not ids and not interrupted:
        return []
    lines = [f"{'interrupted' if interrupted else 'stopped'}: {len(session.claims)} measured, {len(ids)} not run"]
    if ids and len(ids) <= _MOST_IDS:
        lines.append(f"go on: pytest {shlex.join(ids)}")
    elif ids:
        lines.append("go on: run the same command again")
    cache = session.settings.run.cache
    kept = f"scores are kept in {cache}" if cache is not None else "scores were not kept: --steer-cache DIR keeps them"
    return [*lines, kept]


def write_reports(
    session: SteerSession, baseline: Baseline | None, config: pytest.Config, **ended: Any
) -> tuple[list[str], int | None]:
    """Write the reports that were asked for, compared with a baseline if there is one.

    Args:
        ended: how the run ended, see ``build_report``.

    Returns:
        Lines for the user, and the exit code if one report cannot be written.
    """
    from ..report import build_report, fitting, with_texts, write_report

    settings, partials = session.settings, session.partials
    claims, faults = fitting([with_texts(claim, settings.report_texts) for claim in session.claims])
    lines = [f"--steer-report: {fault}" for fault in faults]
    ended |= {"started": session.started, "commit": session.commit, **provenance_of(settings)}
    report = build_report(claims, **ended)
    code = int(pytest.ExitCode.TESTS_FAILED) if faults else None
    if baseline is not None:
        baseline.hold(report, config)
    for path in settings.reports:
        try:
            write_report(path, report)
        except (OSError, SteerError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            before = "; the report that was there before is untouched" if path.is_file() else ""
            lines.append(f"--steer-report: {path} cannot be written: {reason}{before}")
            if partials is not None and isinstance(error, OSError):
                lines.append(partials.kept(path))
            code = int(pytest.ExitCode.USAGE_ERROR)
        else:
            lines.append(f"report: {path}")
            if partials is not None:
                partials.discard(path)
    if settings.github:
        from .github import append_summary

        try:
            lines += append_summary(report)
        except OSError as error:
            lines.append(f"--steer-github: the summary cannot be written: {error}")
            code = int(pytest.ExitCode.USAGE_ERROR)
    if baseline is not None and baseline.update:
        said, failed = baseline.replace(report)
        lines, code = [*lines, *said], code if failed is None else failed
    return lines, code
