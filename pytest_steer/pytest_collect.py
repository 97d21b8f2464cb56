"""Claim files as pytest files, claims as pytest items."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import ClaimFileError, SteerError
from .failures import SteeringFailure
from .pytest_session import SteerSession, broken_evidence
from .sources import shown

if TYPE_CHECKING:
    from .evidence import Evidence
    from .files import BrokenClaim, ClaimSpec, Suite

SESSION = pytest.StashKey[SteerSession]()
EVIDENCE = pytest.StashKey["list[Evidence]"]()


CONTEXTS_UNUSED = (
    "the file names contexts, but none of these kinds of claims searches them: what was measured is the context as given"
)


class ClaimFile(pytest.File):
    """A claim file. A fault of the whole file is one failing item, so that everything else still runs."""

    def collect(self) -> Iterable[ClaimItem]:
        from . import registry
        from .files import BrokenClaim, Suite, read_suite

        unloadable = [
            BrokenClaim(f"extension {name}", 1, ClaimFileError(f"cannot be loaded: {reason}", path=name))
            for name, reason in registry.load_extensions().items()
        ]
        try:
            suite = read_suite(shown(self.path))
        except SteerError as error:
            if not isinstance(error, ClaimFileError):
                error = ClaimFileError(str(error), path=shown(self.path))
            broken = BrokenClaim("claim-file", error.line or 1, error)
            suite = Suite(self.path.name, self.path, None, False, {}, (broken,))
        for broken in unloadable:
            yield ClaimItem.from_parent(self, name=broken.name, suite=suite, claim=broken)
        for entry in suite.entries:
            yield ClaimItem.from_parent(self, name=entry.name, suite=suite, claim=entry)


class ClaimItem(pytest.Item):
    """One claim of a claim file."""

    def __init__(self, *, suite: Suite, claim: ClaimSpec | BrokenClaim, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite
        self.claim = claim
        self.add_marker(pytest.mark.steer)
        reason = getattr(claim, "xfail", None)
        if reason is not None:
            # A claim that is known to fail must fail; an error in it is still an error.
            self.add_marker(pytest.mark.xfail(reason=reason, raises=SteeringFailure, strict=True))

    def runtest(self) -> None:
        from .claims import raise_unless_held
        from .claims.explain import complete

        evidence = self.evidence()
        evidence.suite = self.suite.name
        evidence.matrix = getattr(self.claim, "choice", None) or None
        if self.suite.contexts and not any(
            getattr(entry, "kind", "") == "holds_in_contexts" for entry in self.suite.entries
        ):
            evidence.warnings.append(CONTEXTS_UNUSED)
        evidence.xfail = getattr(self.claim, "xfail", None)
        evidence.id, evidence.rerun = self.nodeid, rerun_command(self)
        complete(evidence)
        self.stash.setdefault(EVIDENCE, []).append(evidence)
        if evidence.error is not None:
            raise SteerError(evidence.message)
        raise_unless_held(evidence)

    def evidence(self) -> Evidence:
        """Measures the claim; an error becomes evidence of an error."""
        error = getattr(self.claim, "error", None)
        if error is not None:
            return broken_evidence(self.claim)  # type: ignore[arg-type]
        try:
            return self.config.stash[SESSION].measure(self.suite, self.claim)  # type: ignore[arg-type]
        except SteerError as error:
            from .evidence import error_evidence

            where = f"{shown(self.path)}:{self.claim.line}"
            known = {"soundness": getattr(error, "soundness", None)}
            return error_evidence(self.claim.kind, self.name, f"{where}: {error}", **known)  # type: ignore[union-attr]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (SteeringFailure, SteerError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.claim.line - 1, f"claim {self.name}"


def rerun_command(item: pytest.Item) -> str:
    """The command that runs one test again, with the steering options of this run."""
    config = item.config
    parts = ["pytest", item.nodeid]
    for name in ("model", "device", "dtype", "profile", "seed"):
        given = config.getoption(f"steer_{name}")
        if given is not None:
            parts += [f"--steer-{name}", str(given)]
    context = config.getoption("steer_context")
    if context is not None:
        parts += ["--steer-context", context]
    if config.getoption("steer_holm"):
        parts.append("--steer-holm")
    return shlex.join(parts)
