"""Holm's adjustment of the verdicts of several claims that are judged together."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.evidence import Evidence
from ..core.record import Holm
from ..stats import Verdict, holm


def adjusted(family: Sequence[Evidence]) -> list[Evidence]:
    """The evidence with each verdict replaced by the one that survives Holm's step-down adjustment over the family (Holm 1979).

    Passes and fails are two families of tests: the chance of any false pass among the claims is at most 1 - confidence,
    and so is that of any false fail. An errored claim counts as one that proves nothing. Intervals stay as they are.
    Claims that are judged without an interval (``hooks_are_sound``) take no part.
    ``holm`` of the evidence has the adjusted p-values and the verdict that the claim has by itself.
    """
    tested = [e for e in family if e.verdict is Verdict.ERROR or e.p_pass is not None or e.p_fail is not None]
    passes = holm([1.0 if e.p_pass is None else e.p_pass for e in tested])
    fails = holm([1.0 if e.p_fail is None else e.p_fail for e in tested])
    found = {id(e): _adjusted(e, len(tested), *p) for e, *p in zip(tested, passes, fails, strict=True)}
    return [found.get(id(evidence), evidence) for evidence in family]


def _adjusted(evidence: Evidence, claims: int, p_pass: float, p_fail: float) -> Evidence:
    if evidence.verdict is Verdict.ERROR:
        return evidence
    alone, alpha = evidence.verdict, 1 - evidence.confidence
    is_lost = (alone is Verdict.PASS and p_pass > alpha) or (alone is Verdict.FAIL and p_fail > alpha)
    verdict = Verdict.INCONCLUSIVE if is_lost else alone
    return evidence.but(
        verdict=verdict,
        # It was worked out at the level of a claim by itself.
        items_needed=None if verdict is Verdict.INCONCLUSIVE else evidence.items_needed,
        holm=Holm(claims=claims, p_pass_adjusted=p_pass, p_fail_adjusted=p_fail, verdict_alone=alone.value),
    )
