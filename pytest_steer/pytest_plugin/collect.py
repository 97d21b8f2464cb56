"""Claim files as pytest files and claims as pytest items: collecting, running, their evidence on reports, and their ids."""

from __future__ import annotations

import datetime
import inspect
import os
import re
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..core.columns import one_screen, shortened, visible, wrapped
from ..core.errors import ClaimFileError, SteerError, exceptions_named
from ..core.evidence import SteeringFailure
from ..core.finding import Weight, code
from ..core.registry import did_you_mean, nearest
from ..core.sources import find_model, shown
from .frames import as_block, headline, is_brief, message_of_failure
from .options import SUFFIXES, columns
from .session import SteerSession

if TYPE_CHECKING:
    from ..core.evidence import Evidence, Json
    from ..files import BrokenClaim, ClaimSpec, Suite


SESSION = pytest.StashKey[SteerSession]()
EVIDENCE = pytest.StashKey["list[Evidence]"]()


CONTEXTS_UNUSED = (
    "the file names contexts, but none of these kinds of claims searches them: what was measured is the context as given"
)

contexts_unused = code(
    "contexts-unused",
    signal="The file names contexts, and none of its claims searches them.",
    meaning="Only the context as given was measured.",
    cure="Add a claim `holds_in_contexts`, or delete `contexts`.",
    weight=Weight.MEANINGLESS,
)
known_failure = code(
    "known-failure",
    signal="A claim that is known to fail passes, or its known failure has expired.",
    meaning="Its `xfail` says what is no longer so.",
    cure="Delete `xfail`, or set a later day.",
)

STRICT_KNOWN = "--steer-strict-known: a known failure that no longer applies fails, so that it hides nothing"


class ClaimFile(pytest.File):
    """A claim file. A fault of the whole file becomes one failing item, so the rest of the run goes on."""

    def collect(self) -> Iterable[ClaimItem]:
        from ..core import registry
        from ..files import BrokenClaim, Suite, read_suite

        entries: list[ClaimSpec | BrokenClaim] = [
            BrokenClaim(f"extension {name}", 1, ClaimFileError(f"cannot be loaded: {reason}", path=name))
            for name, reason in registry.load_extensions().items()
        ]
        try:
            with exceptions_named():
                suite = read_suite(shown(self.path))
        except SteerError as error:
            if not isinstance(error, ClaimFileError):
                error = ClaimFileError(str(error), path=shown(self.path))
            broken = BrokenClaim("claim-file", error.line or 1, error)
            suite = Suite(self.path.name, self.path, None, False, {}, (broken,))
        suite = replace(suite, entries=tuple(self._with_model(suite, entry) for entry in suite.entries))
        for entry in (*entries, *suite.entries):
            yield ClaimItem.from_parent(self, name=visible(entry.name), suite=suite, claim=entry)

    def __repr__(self) -> str:
        return visible(super().__repr__())

    def _with_model(self, suite: Suite, entry: ClaimSpec | BrokenClaim) -> ClaimSpec | BrokenClaim:
        """The claim, broken if its model is named in the file and cannot be one."""
        from ..files import BrokenClaim

        session = self.config.stash[SESSION]
        if isinstance(entry, BrokenClaim) or session.settings.run.model is not None:
            return entry
        try:
            with exceptions_named():
                find_model(session.model_name(suite, entry))
        except SteerError as error:
            line, key = entry.place_of("model")
            return BrokenClaim(
                entry.name, entry.line, ClaimFileError(str(error), path=shown(self.path), line=line, where=key)
            )
        return entry


class ClaimItem(pytest.Item):
    """One claim of a claim file."""

    def __init__(self, *, suite: Suite, claim: ClaimSpec | BrokenClaim, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite
        self.claim = claim
        self.add_marker(pytest.mark.steer)
        self.expired = claim.xfail_expires is not None and claim.xfail_expires < datetime.date.today()
        if claim.xfail is not None and not self.expired:
            # A claim that is known to fail must fail; an error in it is still an error.
            self.add_marker(pytest.mark.xfail(reason=visible(claim.xfail), raises=SteeringFailure, strict=True))

    def __repr__(self) -> str:
        """The line of ``--collect-only``, with the claim's first fault."""
        error = getattr(self.claim, "error", None)
        return visible(f"<ClaimItem {self.name}{f': ERROR {error}'.splitlines()[0] if error is not None else ''}>")

    def runtest(self) -> None:
        from ..claims import raise_unless_held
        from ..claims.drawn import complete

        try:
            with exceptions_named():
                evidence = complete(self._labelled(self.evidence()))
                evidence.to_dict()
        except SteerError as error:
            evidence = complete(self._labelled(self.claim.failed(error, self.suite.path)))
        self.stash.setdefault(EVIDENCE, []).append(evidence)
        if evidence.error is not None:
            raise SteerError(evidence.message)
        raise_unless_held(evidence)
        if self.expired and self.config.stash[SESSION].settings.strict_known:
            pytest.fail(visible(f"{self.name}: {self._expired_words()}\n{STRICT_KNOWN}"), pytrace=False)

    def _labelled(self, evidence: Evidence) -> Evidence:
        """The evidence with its id, its suite and the findings about its file."""
        from ..claims import kind_of

        findings = []
        kinds = [entry.kind for entry in self.suite.entries]
        if self.suite.contexts and not any(kind and kind_of(kind).searches_contexts for kind in kinds):
            findings.append(contexts_unused(CONTEXTS_UNUSED))
        expires = self.claim.xfail_expires
        if self.expired:
            findings.append(known_failure(self._expired_words()))
        return evidence.noting(findings).but(
            suite=self.suite.name,
            matrix=self.claim.choice or None,
            xfail_expires=expires.isoformat() if expires is not None else None,
            xfail=None if self.expired else self.claim.xfail,
            id=self.nodeid,
            rerun=rerun_command(self),
        )

    def _expired_words(self) -> str:
        claim = self.claim
        line, _ = claim.place_of("xfail.expires")
        return (
            f"its known failure ({claim.xfail}) expired on {claim.xfail_expires}, so nothing excuses it any more: delete `xfail`, or set a later day, "
            f"in line {line} of {shown(self.path)}"
        )

    def evidence(self) -> Evidence:
        """The measured evidence, or an error for a claim that could not be read."""
        from ..files import BrokenClaim

        if isinstance(self.claim, BrokenClaim):
            return self.claim.evidence
        return self.config.stash[SESSION].measure(self.suite, self.claim)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (SteeringFailure, SteerError)):
            said = message_of_failure(excinfo.value, brief=is_brief(self.config), width=columns(self.config))
            return as_block(said, visible(str(self.path)), self.claim.line, headline(excinfo.value))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return (
            Path(visible(str(self.path))),
            self.claim.line - 1,
            shortened(f"claim {self.name}", columns(self.config) - len("_  _")),
        )


def record_of(evidence: Evidence) -> Json:
    """The evidence as JSON values, or an error in its place if a test put something into it that no report can hold."""
    from ..core.evidence import error_evidence

    try:
        with exceptions_named():
            return evidence.to_dict()
    except SteerError as error:
        failed = error_evidence(evidence.check, evidence.name, str(error), id=evidence.id, suite=evidence.suite)
        return failed.but(message=failed.error or "").to_dict()


_KEYS = ("suite", "name", "check", "verdict", "statistic", "estimate", "threshold", "direction", "n", "unit", "confidence")


def add_properties(item: pytest.Item, records: Sequence[Json]) -> None:
    """Give a test the numbers of its claims as ``user_properties``, which pytest writes to JUnit files, under xdist too.

    They are called ``steer.estimate``, ``steer.interval`` and so on. Of a test with several assertions, each has a number:
    ``steer.1.estimate``, ``steer.2.estimate``.
    """
    for at, record in enumerate(records, 1):
        prefix = "steer" if len(records) == 1 else f"steer.{at}"
        item.user_properties += [(f"{prefix}.{name}", value) for name, value in properties_of(record)]


def properties_of(record: Json) -> list[tuple[str, str]]:
    """The known values of a claim as names and texts. Numbers are in full; an absent bound of the interval is ``-inf`` or ``inf``."""
    low, high = record["interval"]
    known = {key: record[key] for key in _KEYS} | {
        "interval": None
        if record["interval"] == [None, None]
        else f"[{'-inf' if low is None else _text(low)}, {'inf' if high is None else _text(high)}]",
        "model": (record["model"] or {}).get("id"),
        "vector": (record["vector"] or {}).get("hash"),
        "multiplier": record["multiplier"],
        "xfail": record["xfail"],
    }
    return [(name, _text(value)) for name, value in known.items() if value not in (None, "")]


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def mend_known(item: pytest.Item, report: pytest.TestReport, *, raised: bool) -> None:
    """Note on a known failure that passes which line to delete. Assertions before the one that failed count as passed."""
    from ..claims.drawn import explain

    measured = item.stash[EVIDENCE]
    for at, evidence in enumerate(measured):
        if evidence.xfail is None or not evidence.passed:
            continue
        if raised:
            measured[at] = evidence.but(xfail=None)
            continue
        if isinstance(item, ClaimItem):
            place = f"delete the `xfail` in {shown(item.path)}:{item.claim.place_of('xfail')[0]}"
        else:
            file, line, _ = item.location
            place = f"take the xfail mark off the test in {file}:{(line or 0) + 1}"
        text = f"it passes, and was known to fail ({evidence.xfail or 'no reason given'}): {place}"
        evidence = evidence.but(findings=(known_failure(text), *evidence.findings))
        measured[at] = evidence.but(message=explain(evidence))
    if isinstance(item, ClaimItem) and hasattr(report, "wasxfail"):
        # Of the short summary, which pytest does not break: "XFAIL id - reason".
        report.wasxfail = wrapped(report.wasxfail, columns(item.config), first=len(f"XFAIL {item.nodeid} - "))
    strict = report.failed and isinstance(report.longrepr, str) and "XPASS(strict)" in report.longrepr
    if strict:
        width = columns(item.config)
        said = "\n".join(explain(one, width=width) for one in measured)
        if not isinstance(item, ClaimItem):
            said += f"\n{wrapped(str(report.longrepr), width)}"
        first = visible(measured[0].message.partition("\n")[0])
        report.longrepr = as_block(said, visible(str(item.path)), (item.location[1] or 0) + 1, first)


def fail_if_stale(item: pytest.Item, report: pytest.TestReport) -> None:
    """Under ``--steer-strict-known``, fail a test that was expected to fail and whose claims hold."""
    expected = getattr(report, "wasxfail", None)
    if expected is None or report.outcome != "passed" or not item.config.stash[SESSION].settings.strict_known:
        return
    del report.wasxfail
    report.outcome = "failed"
    report.longrepr = visible(f"[XPASS(strict)] {expected.removeprefix('reason: ')}\n{STRICT_KNOWN}")


def rerun_command(item: pytest.Item) -> str:
    """The command that runs one test again in the folder where pytest was started, with the steering options of this run."""
    config = item.config
    parts = ["pytest", typed_id(item.nodeid, config)]
    for name in ("model", "device", "dtype", "profile", "seed"):
        given = config.getoption(f"steer_{name}")
        if given is not None:  # with an equals sign: pytest takes a folder that stands alone for an argument
            parts.append(f"--steer-{name}={given}")
    context = config.getoption("steer_context")
    if context is not None:
        parts += ["--steer-context", context]
    if config.getoption("steer_holm"):
        parts.append("--steer-holm")
    return shlex.join(parts)


def typed_id(nodeid: str, config: pytest.Config) -> str:
    """A test's id relative to the folder where pytest was started. pytest's own ids begin at its root folder."""
    file, mark, name = nodeid.partition("::")
    here = config.invocation_params.dir
    return (
        nodeid if here == config.rootpath else Path(os.path.relpath(config.rootpath / file, here)).as_posix() + mark + name
    )


def shown_id(file: Path, config: pytest.Config) -> str | None:
    """The id of a claim file, with control characters written out; None if its name has none."""
    own = os.path.relpath(file, config.rootpath)
    return Path(visible(own)).as_posix() if visible(own) != own else None


def suite_folder(config: pytest.Config) -> Path:
    """The folder of the first suite on the command line, else the root folder."""
    places = (config.invocation_params.dir / text.partition("::")[0] for text in config.args)
    found = next((place for place in places if os.path.exists(place)), config.rootpath)
    return found if found.is_dir() else found.parent


FIXTURES = {"steer_model", "steer_load_model", "steering"}


def uses_steering(item: pytest.Item) -> bool:
    """Whether a test uses a fixture of this package, also through other fixtures, or names one of its assertions in its body."""
    from .. import __all__

    if not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    function = getattr(item, "function", None)
    if function is None:
        return False
    handle = getattr(function, "hypothesis", None)  # of a test under @given, which stands inside
    code = getattr(inspect.unwrap(getattr(handle, "inner_test", function)), "__code__", None)
    if code is None:
        return False
    named = {name for name in code.co_names if name.startswith("assert_")}
    return not named.isdisjoint(__all__)


def not_run(session: pytest.Session) -> list[str] | None:
    """The ids of the claims that were selected and not measured; None if no worker has collected any yet."""
    ended, items = session.config.stash[SESSION].ended, getattr(session, "items", [])
    if session.config.option.collectonly:
        return []
    if session.config.pluginmanager.has_plugin("dsession"):
        ids = session.config.stash[SESSION].collected
        claims = [one for one in ids or () if one.partition("::")[0].endswith(SUFFIXES)]
        return None if ids is None else [one for one in claims if one not in ended]
    return [item.nodeid for item in items if isinstance(item, ClaimItem) and item.nodeid not in ended]


def show_broken(reporter: pytest.TerminalReporter, items: Iterable[pytest.Item]) -> None:
    """Print the faults of the collected claims in full, below the list of ``--collect-only``."""
    broken = {item.nodeid: item.claim.error for item in items if hasattr(getattr(item, "claim", None), "error")}  # type: ignore[attr-defined]
    if broken:
        reporter.section("claims with errors")
    for nodeid, error in broken.items():
        said = textwrap.indent(visible(one_screen(str(error))), "  ")
        reporter.write_line(wrapped(f"{visible(nodeid)}: ERROR\n{said}", columns(reporter.config)))


def explained(message: str) -> str:
    """pytest's message about an argument that matches nothing, with a suggestion if it looks like a claim file."""
    found = re.match(r"(?:file or directory )?not found: ([^\n]+)", message)
    if found is None:
        return message
    text, _, name = found[1].partition("::")
    file = Path(text)
    beside = [file.with_name(file.stem + suffix) for suffix in SUFFIXES if file.with_name(file.stem + suffix).is_file()]
    if file.name.endswith(SUFFIXES):
        meant = _claim_meant(file, name)
    elif beside:
        meant = f"Did you mean {shown(beside[0])}?"
    elif file.suffix in (".yaml", ".yml", ".json") and _has_claims(file):
        meant = f"It has claims, but only files named {', '.join(f'*{suffix}' for suffix in SUFFIXES)} are collected: rename it to {file.stem}.steer{file.suffix}."
    else:
        return message
    return f"{message}\n{meant}" if meant else message


def _claim_meant(file: Path, name: str) -> str:
    from ..files import read_suite

    if not file.is_file():
        siblings = [one.name for one in file.parent.glob("*") if one.name.endswith(SUFFIXES)] if file.parent.is_dir() else []
        meant = nearest(file.name, siblings)
        return f"Did you mean {shown(file.with_name(meant))}?" if meant else ""
    try:
        words = did_you_mean(name, [entry.name for entry in read_suite(file).entries])
    except SteerError as error:
        return str(error)
    return f"{words[0].upper()}{words[1:]}."


def _has_claims(file: Path) -> bool:
    from ..files.source import read_source

    try:
        return "claims" in read_source(file).data
    except SteerError:
        return False
