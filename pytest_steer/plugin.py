"""The pytest hooks, and nothing else. Imports nothing heavy: a suite without claims pays for none of it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from . import progress
from .failures import SteeringInconclusive
from .fixtures import steer_load_model, steer_model, steering
from .pytest_collect import EVIDENCE, SESSION, ClaimFile, ClaimItem, rerun_command
from .pytest_frames import without_our_frames
from .pytest_options import SUFFIXES, add_options, read_settings
from .pytest_session import SteerSession
from .pytest_terminal import ProgressLine, announce, check_options, save_counterexamples, summarize, write_reports
from .run_context import recording

__all__ = ["steer_load_model", "steer_model", "steering"]

COLLECTED = pytest.StashKey["list[dict[str, Any]]"]()
SAVED = pytest.StashKey["list[str]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "steer: a steering claim (every claim of a claim file has this marker)")
    config.stash[SESSION] = SteerSession(read_settings(config), getattr(config, "cache", None))
    config.stash[COLLECTED] = []
    config.stash[SAVED] = []


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ClaimFile | None:
    if file_path.name.endswith(SUFFIXES):
        return ClaimFile.from_parent(parent, path=file_path)
    return None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | list[str]:
    return announce(config.stash[SESSION], [item for item in items if isinstance(item, ClaimItem)])


def pytest_collection_finish(session: pytest.Session) -> None:
    items = [
        item for item in session.items if isinstance(item, ClaimItem) or "steer_model" in getattr(item, "fixturenames", ())
    ]
    if items and not session.config.option.collectonly and not hasattr(session.config, "workerinput"):
        check_options(session.config.stash[SESSION].settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    line = ProgressLine(item)
    with progress.listening(line.show if line.wanted else None):
        try:
            return (yield)
        finally:
            line.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    session = item.config.stash[SESSION]
    settings = session.settings

    def add(evidence: Any) -> None:
        evidence.id, evidence.rerun, evidence.suite = item.nodeid, rerun_command(item), Path(item.path).stem
        known = item.get_closest_marker("xfail")
        evidence.xfail = str(known.kwargs.get("reason", "")) if known is not None else None
        item.stash.setdefault(EVIDENCE, []).append(evidence)

    try:
        with recording(session.recorder(add, item.nodeid)):
            return (yield)
    except SteeringInconclusive as inconclusive:
        if settings.inconclusive == "skip":
            pytest.skip(str(inconclusive))
        if settings.inconclusive == "xfail":
            pytest.xfail(str(inconclusive))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo is not None:
        call.excinfo = without_our_frames(call.excinfo)
    report = yield
    if call.when == "call" and EVIDENCE in item.stash:
        # Plain values, so that they survive the way from an xdist worker.
        report.__dict__["steer_evidence"] = [evidence.to_dict() for evidence in item.stash[EVIDENCE]]
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    collected = session.config.stash[COLLECTED]
    session.config.pluginmanager.register(_Gatherer(collected), "steer-gatherer")


class _Gatherer:
    """Gathers the evidence of all tests, from this process or from xdist workers."""

    def __init__(self, into: list[dict[str, Any]]) -> None:
        self.into = into

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.into += getattr(report, "steer_evidence", ())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    settings = config.stash[SESSION].settings
    if settings.save_counterexamples and not hasattr(config, "workerinput"):
        # Here, in the process that gathers all evidence, since xdist workers would write at the same time.
        config.stash[SAVED] = save_counterexamples(config.rootpath, config.stash[COLLECTED])
    if settings.reports and not hasattr(config, "workerinput"):
        session.exitstatus = (
            write_reports(settings, config.stash[COLLECTED], config.stash[SESSION].started) or session.exitstatus
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    summarize(terminalreporter, config.stash[COLLECTED], config.stash[SESSION].settings, config.stash[SAVED])
