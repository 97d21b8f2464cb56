"""A model that has nothing to lose: what guessing would get right, and verdicts that it does not deserve."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..data.likeness import normal_form
from ..evidence import Evidence, Verdict
from ..measures import Capability, ScoredBy
from ..stats import guessing_share, p_of_guessing, p_of_weighted_guessing

_ONE_ANSWER = 0.9  # a model that gives one answer this often does not read the questions


def chance_of(
    found: Capability, confidence: float, of: Sequence[int] | None = None, *, limit: float | None = None
) -> dict[str, Any]:
    """What guessing would get right, and whether the unsteered model is proven to be better; weighted where the questions have weights.

    Args:
        of: indices of the questions; all of them by default.
        limit: ask too whether it is proven to be better by more than that.
    """
    chosen = [*range(len(found.questions))] if of is None else of
    options = [len(found.questions[index].choices) for index in chosen]
    right, weights = found.right[chosen, 0], found.weights[chosen]

    def p_of(more: float) -> float:
        if found.questions.is_weighted:
            return p_of_weighted_guessing(right.tolist(), options, weights.tolist(), more=more)
        return p_of_guessing(int(right.sum()), options, more=more)

    p = p_of(0.0)
    record = {"share": guessing_share(options, weights.tolist()), "p": p, "above": p <= 1 - confidence}
    return record if limit is None else record | {"p_of_limit": p_of(limit)}


def withhold(evidence: Evidence, found: Capability, by: ScoredBy) -> None:
    """Take a verdict back that a model with nothing to lose would get; ``details`` has why and what to do, or None."""
    details, one_answer = evidence.details, _one_answer(found, by)
    chance, accuracy = details["chance"], details["accuracy"]["unsteered"]
    details["withheld"] = details["cure"] = None
    if not chance["above"]:
        details["withheld"] = (
            f"unsteered accuracy {accuracy:.1%} is not proven above guessing, {chance['share']:.1%} (p = {chance['p']:.2g}), so there is "
            "nothing to lose"
        )
        details["cure"] = "ask easier questions (`questions: FILE`), or more of them; or score another way (`by`, `prompt`)"
    elif one_answer is not None:
        details["withheld"] = f"unsteered, the model gives {one_answer} and not questions, so there is nothing to lose"
        details["cure"] = "score the texts of options that differ between questions, `by: sum`, and list them in no prompt"
    elif evidence.verdict is Verdict.PASS and chance["p_of_limit"] > 1 - evidence.confidence:
        details["withheld"] = (
            f"it is not proven that unsteered accuracy, {accuracy:.1%}, exceeds guessing, {chance['share']:.1%}, by more than the limit "
            f"(p = {chance['p_of_limit']:.2g}): losing all of it could be a pass"
        )
        details["cure"] = "promise a smaller limit, ask more questions, or such as the model can answer (`questions: FILE`)"
    if details["withheld"] is not None:
        evidence.verdict, evidence.items_needed = Verdict.INCONCLUSIVE, None
        evidence.p_pass = evidence.p_fail = 1.0  # proves nothing, neither alone nor among others


def _one_answer(found: Capability, by: ScoredBy) -> str | None:
    """What the unsteered model gives whatever is asked, as a part of a sentence, or None: a letter where options are scored by letter, or an option
    where all questions have the same ones."""
    lettered = [index for index, one in enumerate(found.questions) if by == "letters" or one.is_lettered]
    if lettered:
        chosen = Counter(string.ascii_uppercase[found.chosen[index, 0]] for index in lettered)
        said, reads = "option {}", "letters"
    elif len({frozenset(map(normal_form, one.choices)) for one in found.questions}) == 1:
        chosen = Counter(normal_form(one.choices[at]) for one, at in zip(found.questions, found.chosen[:, 0], strict=True))
        said, reads = "the same option, {!r},", "options"
    else:
        return None
    ((answer, count),) = chosen.most_common(1)
    if count < _ONE_ANSWER * chosen.total():
        return None
    return f"{said.format(answer)} in {count} of {chosen.total()} questions: it reads {reads}"
