"""The pytest hooks. Nothing heavy is imported at start-up, so a suite without claims runs as before."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..core.columns import visible
from ..core.evidence import SteeringInconclusive
from ..core.run_context import current_run, running
from .baseline import Baseline
from .collect import (
    EVIDENCE,
    SESSION,
    ClaimFile,
    ClaimItem,
    add_properties,
    explained,
    fail_if_stale,
    mend_known,
    not_run,
    record_of,
    rerun_command,
    show_broken,
    shown_id,
    suite_folder,
    typed_id,
    uses_steering,
)
from .fixtures import steer_load_model, steer_model, steering
from .frames import is_brief, keep_headline, without_our_frames
from .github import annotation_lines
from .options import SUFFIXES, add_options, columns, moved_rootdir, read_settings, tell_worker, usage_error
from .progress import Progress
from .session import SteerSession
from .terminal import (
    announce,
    check_options,
    count_as_error,
    models_of,
    note_letter,
    save_counterexamples,
    status_of,
    stopped_lines,
    summarize,
    uninterrupted,
    write_reports,
)

BASELINE = pytest.StashKey[Baseline]()
PROGRESS = pytest.StashKey[Progress]()

__all__ = ["steer_load_model", "steer_model", "steering"]


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "steer: a steering claim (claims of claim files have this marker, and tests that use assertions)"
    )
    settings = read_settings(config)
    if settings.baseline is not None:
        baseline = config.stash[BASELINE] = Baseline(
            settings.baseline, update=settings.update_baseline, tolerance=settings.tolerance
        )
        baseline.read()
        config.pluginmanager.register(baseline, "steer-baseline")
        run = replace(settings.run, baseline=baseline.report, makes_baseline=baseline.report is None)
        settings = replace(settings, run=run)
    config.stash[SESSION] = SteerSession(settings)
    config.pluginmanager.register(config.stash[SESSION], "steer-session")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ClaimFile | None:
    if file_path.name.endswith(SUFFIXES):
        return ClaimFile.from_parent(parent, path=file_path, nodeid=shown_id(file_path, parent.config))
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("steer") is None and uses_steering(item):
        item.add_marker(pytest.mark.steer)


def pytest_report_header(config: pytest.Config) -> str | None:
    return moved_rootdir(config)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | list[str]:
    session = config.stash[SESSION]
    models = [session.model_name(item.suite, item.claim) for item in items if isinstance(item, ClaimItem)]
    return announce(session.settings.run, models, columns(config))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    try:
        return (yield)
    except pytest.UsageError as error:
        raise usage_error(*(explained(str(message)) for message in error.args)) from None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.collectonly and reporter is not None:
        show_broken(reporter, session.items)
    items = [
        item for item in session.items if isinstance(item, ClaimItem) or "steer_model" in getattr(item, "fixturenames", ())
    ]
    if items and not session.config.option.collectonly and not hasattr(session.config, "workerinput"):
        check_options(session.config.stash[SESSION].settings.run)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    config.stash[PROGRESS] = Progress(config)
    settings = config.stash[SESSION].settings
    is_told = bool(settings.reports or settings.github or settings.baseline)
    if is_told and not hasattr(config, "workerinput") and not config.option.collectonly:
        config.stash[SESSION].begin_reports(suite_folder(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    shown, run = item.config.stash[PROGRESS], item.config.stash[SESSION].settings.run
    shown.begin(item)
    with running(replace(run, place=item.nodeid, progress=shown.show if shown.wanted else None)):
        try:
            return (yield)
        finally:
            shown.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    inconclusive = item.config.stash[SESSION].settings.inconclusive

    def add(evidence: Any) -> Any:
        from ..claims.drawn import complete

        known = item.get_closest_marker("xfail")
        labelled = complete(
            evidence.but(
                id=item.nodeid,
                rerun=rerun_command(item),
                suite=Path(item.path).stem,
                xfail=str(known.kwargs.get("reason", "")) if known is not None else None,
            )
        )
        item.stash.setdefault(EVIDENCE, []).append(labelled)
        return labelled

    try:
        with running(replace(current_run(), evidence=add)):
            return (yield)
    except SteeringInconclusive as error:
        # The user asked for it, by --steer-inconclusive or by making the baseline that is not there yet.
        if inconclusive == "skip" or error.evidence.details.get("makes_baseline"):
            pytest.skip(visible(str(error)))
        if inconclusive == "xfail":
            pytest.xfail(visible(str(error)))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo is not None:
        # A claim of a file is shown by its own item, without what pytest puts around an exception.
        width = None if isinstance(item, ClaimItem) else columns(item.config)
        call.excinfo = without_our_frames(call.excinfo, brief=is_brief(item.config), width=width)
    if call.when == "call" and EVIDENCE in item.stash:
        add_properties(item, [record_of(evidence) for evidence in item.stash[EVIDENCE]])
    report = yield
    if call.excinfo is not None:
        keep_headline(report, call.excinfo.value)
        note_letter(report, call.excinfo.value)
    if call.when == "call" and EVIDENCE in item.stash:
        fail_if_stale(item, report)
        mend_known(item, report, raised=call.excinfo is not None)
        # Plain values, so that they survive the way from an xdist worker.
        report.__dict__["steer_evidence"] = [record_of(evidence) for evidence in item.stash[EVIDENCE]]
    return report


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    return status_of(report)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    config, session = node.config, node.config.stash[SESSION]
    is_first, session.collected = session.collected is None, list(ids)  # all workers collect the same
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if is_first and reporter is not None and reporter.verbosity >= 0:

        def say() -> None:
            for line in announce(session.settings.run, models_of(session, ids, config.rootpath), columns(config)):
                reporter.write_line(line)

        session.header = say


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    tell_worker(node.config, node.workerinput)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    with uninterrupted():
        _finish(session, exitstatus)


def _finish(session: pytest.Session, exitstatus: int) -> None:
    config, run = session.config, session.config.stash[SESSION]
    if hasattr(config, "workerinput"):
        return  # the process that gathers the evidence of all xdist workers writes, so that they do not write at the same time
    run.sort_claims()
    if run.settings.save_counterexamples:
        run.saved = save_counterexamples(config.rootpath, run.claims)
    interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
    left = not_run(session)
    if run.claims or left:
        run.saved += stopped_lines(run, [typed_id(one, config) for one in left or ()], interrupted)
    if run.settings.reports or run.settings.github or run.settings.baseline is not None:
        ended = {"interrupted": interrupted, "not_run": None if left is None else len(left)}
        lines, code = write_reports(run, config.stash.get(BASELINE, None), config, **ended)
        run.saved += lines
        if code is not None:
            count_as_error(config.pluginmanager.get_plugin("terminalreporter"), lines)
            session.exitstatus = code


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[SESSION]
    with uninterrupted():
        summarize(terminalreporter, run.claims, run.saved)
        if run.settings.github and run.claims:
            for line in annotation_lines(run.claims, run.places, config.rootpath, run.settings.report_texts):
                terminalreporter.write_line(line)
