"""Holm's adjustment of the verdicts of several claims that are judged together."""

from __future__ import annotations

from collections.abc import Sequence

from ..evidence import Evidence
from ..stats import Verdict, holm


def adjust(family: Sequence[Evidence]) -> None:
    """Replaces each verdict by the one that survives Holm's step-down adjustment over the family (Holm 1979).

    Passes and fails are two families of tests: the chance of any false pass among the claims is at most 1 - confidence,
    and so is that of any false fail. An errored claim counts as one that proves nothing. Intervals stay as they are;
    Claims that are judged without an interval (``hooks_are_sound``) are no part of it.
    ``holm`` of the evidence has the adjusted p-values and the verdict that the claim has by itself.
    """
    family = [e for e in family if e.verdict is Verdict.ERROR or e.p_pass is not None or e.p_fail is not None]
    passes = holm([1.0 if e.p_pass is None else e.p_pass for e in family])
    fails = holm([1.0 if e.p_fail is None else e.p_fail for e in family])
    for evidence, p_pass, p_fail in zip(family, passes, fails, strict=True):
        if evidence.verdict is Verdict.ERROR:
            continue
        alone, alpha = evidence.verdict, 1 - evidence.confidence
        if (alone is Verdict.PASS and p_pass > alpha) or (alone is Verdict.FAIL and p_fail > alpha):
            evidence.verdict = Verdict.INCONCLUSIVE
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = None  # it was worked out at the level of a claim by itself
        evidence.holm = {
            "claims": len(family),
            "p_pass_adjusted": p_pass,
            "p_fail_adjusted": p_fail,
            "verdict_alone": alone.value,
        }
