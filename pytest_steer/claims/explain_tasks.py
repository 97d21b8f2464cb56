"""A claim about a task in words: its accuracy beside those of other settings, and what went wrong."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from ..evidence import Evidence


def task_lines(evidence: Evidence, worst: int) -> list[str]:
    """The table of accuracies, and the tasks that are farthest from being right."""
    return _table(evidence.details["accuracies"]) + _worst(evidence, worst)


def _table(records: list[dict[str, Any]]) -> list[str]:
    rows = []
    for record in records:
        numbers = [f"{record[key]:.2f}" if record[key] is not None else "-" for key in ("first_token", "exact")]
        rows.append([record["setting"], record["n"] or "-", *numbers, record["note"] or ""])
    text = tabulate(rows, headers=["", "n", "first token", "exact", ""], tablefmt="plain", disable_numparse=True)
    return ["  accuracy:", *(f"    {line}".rstrip() for line in text.splitlines())]


def _worst(evidence: Evidence, worst: int) -> list[str]:
    wrong = [task for task in evidence.details["tasks"] if not task["right_steered"]]
    by_first = evidence.details["by"] == "first_token"

    def distance(task: dict[str, Any]) -> float:
        margins: list[float] = task["margins_steered"]
        return margins[0] if by_first else min(margins)

    lines = [f"  worst of the {len(wrong)} wrong answers:"] if wrong else []
    for task in sorted(wrong, key=distance)[:worst]:
        before = "right" if task["right_unsteered"] else "wrong"
        lines.append(
            f"    [{task['id']}] {_short(task['input'])} -> {_short(task['output'])}   {_behind(task, by_first)}; {before} unsteered"
        )
    return lines


def _behind(task: dict[str, Any], by_first: bool) -> str:
    """Which token of the answer is not the likeliest, and by how much."""
    margins = task["margins_steered"]
    at = 0 if by_first else next(at for at, margin in enumerate(margins) if not margin > 0)
    what = "its end" if at == len(margins) - 1 else f"token {at + 1} of {len(margins) - 1}"
    return f"{what} is {-margins[at]:.2f} logits behind another"


def _short(text: str, width: int = 50) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
