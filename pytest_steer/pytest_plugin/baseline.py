"""``--steer-baseline``: compare the run with an earlier report, and replace it if asked. A plugin of runs that name one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..core.columns import visible
from ..core.errors import SteerError
from ..core.evidence import plain
from ..core.sources import shown
from .collect import ClaimItem
from .options import SUFFIXES, columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..core.evidence import Json
    from ..core.record import Against, BaselineSource, ClaimRecord, Report

_MOST_NAMED = 5


class Baseline:
    """An earlier report, and the tests of this run by which its claims are found again.

    Attributes:
        report: the earlier report; None if this run makes the first one.
        source: its path, hash, date, model and commit; None with it.
        against: the comparison of this run with it, once the run has ended.
    """

    def __init__(self, path: Path, *, update: bool, tolerance: float = 0.0) -> None:
        self.path, self.update, self.tolerance = path, update, tolerance
        self.report: Report | None = None
        self.source: BaselineSource | None = None
        self.against: Against | None = None
        self._left: list[str] = []
        self._known: set[str] = set()
        self._files: set[str] = set()

    def read(self) -> None:
        """Read the earlier report.

        Raises:
            pytest.UsageError: it is missing and this run does not make it, or cannot be read.
        """
        if not self.path.exists():
            if self.update:
                return
            raise pytest.UsageError(
                visible(
                    f"--steer-baseline: {shown(self.path)} does not exist. Make it with a run of all claims: pytest --steer-baseline "
                    f"{shown(self.path)} --steer-update-baseline"
                )
            )
        from ..report import baseline_of, report_of

        try:
            self.report = report_of(self.path)
            self.source = baseline_of(self.path, self.report)
        except (SteerError, OSError) as error:
            raise pytest.UsageError(visible(f"--steer-baseline: {error}")) from None

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every test before any is deselected."""
        file = item.nodeid.partition("::")[0]
        if not isinstance(item, ClaimItem):
            self._known.add(item.nodeid)
            self._files.add(file)
            return
        if [entry.name for entry in item.suite.entries] == ["claim-file"]:
            return  # the file could not be read, so its claims are not gone
        self._known |= {f"{file}::{visible(entry.name)}" for entry in item.suite.entries}
        # Ids depend on where pytest is started.
        self._known |= {_in_suite(item.suite.name, entry.name) for entry in item.suite.entries}
        self._files.add(file)

    def pytest_report_collectionfinish(self) -> list[str]:
        if self.report is None:
            return [visible(f"steer: this run makes the baseline {shown(self.path)}")]
        from ..against import baseline_words

        return [visible(f"steer: compared with {shown(self.path)} ({baseline_words(self.source)})")]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["steer_known"] = [sorted(self._known), sorted(self._files)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        known, files = getattr(node, "workeroutput", {}).get("steer_known", ((), ()))
        self._known.update(known)
        self._files.update(files)

    def hold(self, report: Json, config: pytest.Config) -> None:
        """Compare this run with the baseline, as ``against`` in its report."""
        if self.report is None:
            return
        from ..against import held_against
        from ..against.pairing import pair_claims
        from ..core.record import typed

        new = typed(report)
        skipped = [one for one, other in pair_claims(self.report.claims, new.claims) if one is not None and other is None]
        not_run = {claim.id for claim in skipped if not self._is_gone(claim, config)}
        self._left = sorted(not_run)
        self.against = held_against(self.report, new, self.tolerance, baseline=self.source, not_run=not_run)
        report["against"] = plain(self.against)

    def _is_gone(self, claim: ClaimRecord, config: pytest.Config) -> bool:
        file = claim.id.partition("::")[0]
        if claim.id in self._known:
            return False
        if not self._same_ids() and _in_suite(claim.suite, claim.name) in self._known:
            return False
        if file in self._files:
            return file.endswith(SUFFIXES) or not any("::" in argument for argument in config.args)
        return not (config.rootpath / file).exists()

    def _same_ids(self) -> bool:
        """Whether the baseline was made from this folder. If it was, suites are told apart by their files, not by their names."""
        assert self.report is not None
        return any(claim.id.partition("::")[0] in self._files for claim in self.report.claims)

    def replace(self, report: Json) -> tuple[list[str], int | None]:
        """Replace the baseline with this run's report. Returns lines for the user, and the exit code if that failed."""
        from ..report import write_report

        failed = int(pytest.ExitCode.TESTS_FAILED)
        if (why := self._refusal(report)) is not None:
            return [f"--steer-update-baseline: {shown(self.path)} is left as it was: {why}"], failed
        lines = self._replaced(report)
        try:
            write_report(self.path, report | {"against": None})
        except (OSError, SteerError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return [f"--steer-update-baseline: {shown(self.path)} cannot be written: {reason}"], int(
                pytest.ExitCode.USAGE_ERROR
            )
        return lines, None

    def _refusal(self, report: Json) -> str | None:
        provenance = report["provenance"]
        if provenance["interrupted"] or provenance["not_run"] is None or provenance["not_run"]:
            return "this run was not finished"
        if not report["claims"]:
            return "this run measured no claim"
        if self.against is not None and self.against.not_run:
            names = self._left
            return f"{len(names)} of its claims did not run and would be lost: {_named(names)}. Run all claims"
        # A later run cannot be compared with an error, which has no number.
        errors = [claim["id"] for claim in report["claims"] if claim["verdict"] == "error"]
        if errors:
            return f"{len(errors)} of this run's claims could not be measured: {_named(errors)}. Mend or remove them first"
        return None

    def _replaced(self, report: Json) -> list[str]:
        count = len(report["claims"])
        if self.report is None or self.against is None:
            return [f"baseline: {shown(self.path)} is new: {count} {'claim' if count == 1 else 'claims'}"]
        from ..against import baseline_words, counts_line

        changed = [
            f"  {entry.name}: {entry.before.verdict} -> {entry.after.verdict}"
            for entry in self.against.claims
            if entry.before and entry.after and entry.before.verdict != entry.after.verdict
        ]
        gone = [f"  {entry.message}" for entry in self.against.claims if entry.outcome == "gone"]
        before = len(self.report.claims)
        return [
            f"baseline: {shown(self.path)} replaced: {before} {'claim' if before == 1 else 'claims'} ({baseline_words(self.source)}) by {count}: "
            f"{counts_line(self.against)}",
            *changed,
            *gone,
        ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.against is None:
            return
        from ..against import summary_lines

        terminalreporter.section("steering claims, compared with the baseline")
        for line in summary_lines(self.against, columns(terminalreporter.config)):
            terminalreporter.write_line(visible(line))


def _in_suite(suite: str, name: str) -> str:
    return f"{suite}\n{name}"


def _named(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join([*known[:_MOST_NAMED], *(["..."] if len(known) > _MOST_NAMED else [])])
