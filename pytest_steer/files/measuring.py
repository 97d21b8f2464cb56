"""Claims of claim files to evidence: models, vectors and data are loaded once."""

from __future__ import annotations

from .. import progress
from ..claims import evidence_of, kind_of
from ..claims.multiplicity import adjusted
from ..core.finding import Weight, code
from ..errors import SteerError, exceptions_named, warnings_noted
from ..evidence import Evidence
from ..measures.subject import model_findings, noted
from ..model.loading import Models
from ..model.model import looked_at_once
from ..run_context import RunContext
from .build import Builder, load_for
from .failed import broken_evidence, failed_evidence
from .specs import BrokenClaim, ClaimSpec, Suite

MODELS_OVERRULED = (
    "--steer-model (steer_model) replaces every model of `matrix.model` by {model}: items that differ only in their model are the same "
    "measurement, whatever they are called"
)
models_overruled = code(
    "model-option-wins",
    signal="--steer-model names one model, and the file's matrix several.",
    meaning="The rows of the matrix are all of one model.",
    cure="Leave out --steer-model.",
    weight=Weight.ANOTHER,
)


class Measuring:
    """Measures the claims of claim files, in the run that it is given.

    Attributes:
        models: the models that were loaded so far.
    """

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self.models = Models(run)
        self._builders: dict[int, Builder] = {}
        self._known: dict[tuple[int, str], Evidence] = {}

    def evidence_of(self, suite: Suite, entry: ClaimSpec | BrokenClaim) -> Evidence:
        """The evidence of one entry of a claim file: that of an error if it cannot be read or measured.

        In a file with a claim that asks for others, each is measured once.
        """
        if isinstance(entry, BrokenClaim):
            return broken_evidence(entry)
        if not any(isinstance(one, ClaimSpec) and "others" in kind_of(one.kind).fields for one in suite.entries):
            return self._evidence_of(suite, entry)
        key = id(suite), entry.name
        if key not in self._known:
            self._known[key] = self._evidence_of(suite, entry)
        return self._known[key]

    def family_of(self, suite: Suite) -> dict[str, Evidence]:
        """By name the evidence of every claim of a file, with Holm's adjustment over them."""
        family = {entry.name: self.evidence_of(suite, entry) for entry in suite.entries}
        return dict(zip(family, adjusted(list(family.values())), strict=True))

    def _evidence_of(self, suite: Suite, entry: ClaimSpec) -> Evidence:
        with warnings_noted() as said:
            try:
                with exceptions_named():
                    evidence = self._measured(suite, entry)
            except SteerError as error:
                evidence = failed_evidence(error, suite, entry)
        return evidence.noting(map(noted, said))

    def _measured(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        run = self.run
        progress.report("loading the model")
        model = load_for(self.models, suite, run.model_name(claim.model, suite.model))
        builder = self._builders.setdefault(id(model), Builder(model, run, self.evidence_of))
        progress.report("preparing the vector")
        with looked_at_once():
            evidence = evidence_of(builder.build(suite, claim), model)
        evidence.to_dict()  # which refuses what is not finite
        findings = model_findings(model)
        if claim.model is not None and run.model is not None:
            findings.append(models_overruled(MODELS_OVERRULED.format(model=run.model)))
        return evidence.noting(findings)
