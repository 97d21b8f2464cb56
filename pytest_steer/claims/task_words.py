"""The words and figures of ``performs_task``: the accuracy in each setting, and the wrong answers that are furthest from right."""

from __future__ import annotations

from typing import Any

from ..evidence import Evidence
from . import words
from .figures import Figure, Intervals, Row, promised_in


def remarks(evidence: Evidence) -> list[str]:
    """What the check of the hooks could not look at, and the random directions, whatever the verdict."""
    return [*words.remarks(evidence), *_controls_line(evidence)]


def explanation(evidence: Evidence) -> list[str]:
    """Why the claim did not pass."""
    return [
        *words.decide(evidence),
        *words.where(evidence),
        *_accuracies_table(evidence.details["accuracies"]),
        *_wrong_answers(evidence),
    ]


def figures(record: dict[str, Any]) -> list[Figure]:
    """The accuracy in each setting."""
    by = record["details"]["by"]
    rows = [Row("steered, judged", record["estimate"], tuple(record["interval"]), record["n"], record["verdict"])]
    for one in record["details"]["accuracies"]:
        rows += [Row(one["setting"], one[by], n=one["n"])] if one[by] is not None else []
    return [
        Intervals(
            title="Accuracy",
            about=f"Share of right answers by the {'first token' if by == 'first_token' else 'whole answer'}.",
            rows=rows,
            x=record["statistic"],
            promised=promised_in(record),
        )
    ]


def _controls_line(evidence: Evidence) -> list[str]:
    found = evidence.details.get("controls")
    if found is None:
        return []
    shares = found["accuracies"]
    return [
        f"  controls: {found['count']} random directions of equal norm, on {found['n']} tasks, have accuracy {min(shares):.2f} to {max(shares):.2f}; the "
        f"vector's, {found['accuracy']:.2f}, is number {round(found['p'] * (found['count'] + 1))} of {found['count'] + 1} (p = {found['p']:.3g})"
    ]


def _accuracies_table(records: list[dict[str, Any]]) -> list[str]:
    rows = []
    for record in records:
        numbers = [f"{record[key]:.2f}" if record[key] is not None else "-" for key in ("first_token", "exact")]
        rows.append([record["setting"], record["n"] or "-", *numbers, record["note"] or ""])
    return ["  accuracy:", *words.table(rows, ["", "n", "first token", "exact", ""])]


def _wrong_answers(evidence: Evidence) -> list[str]:
    wrong = [task for task in evidence.details["tasks"] if not task["right_steered"]]
    by_first = evidence.details["by"] == "first_token"

    def distance(task: dict[str, Any]) -> float:
        margins: list[float] = task["margins_steered"]
        return margins[0] if by_first else min(margins)

    lines = [f"  worst of the {len(wrong)} wrong answers:"] if wrong else []
    for task in sorted(wrong, key=distance)[: words.WORST]:
        before = "right" if task["right_unsteered"] else "wrong"
        lines.append(
            f"    [{task['id']}] {words.shorten(task['input'], 50)} -> {words.shorten(task['output'], 50)}   {_below(task, by_first)}; {before} unsteered"
        )
    return lines


def _below(task: dict[str, Any], by_first: bool) -> str:
    """Which token of the answer is not the likeliest, and by how much."""
    margins = task["margins_steered"]
    at = 0 if by_first else next(at for at, margin in enumerate(margins) if not margin > 0)
    what = "its end" if at == len(margins) - 1 else f"token {at + 1} of {len(margins) - 1}"
    return f"{what} is {-margins[at]:.2f} logits below the likeliest token"
