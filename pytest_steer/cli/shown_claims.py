"""The first items of a claim as the model sees them: tokens, with the first steered and the first scored one marked."""

from __future__ import annotations

from typing import Any

from ..claims import kind_of
from ..data import read_tasks
from ..data.demonstrations import draw_demonstrations
from ..errors import SteerError
from ..files import ClaimSpec
from ..files.build import Builder
from ..measures import shown_line, shown_probe
from ..measures.asking import Asked, asked_of
from ..measures.likelihood import text_start
from ..measures.tasks import task_probe
from ..model import Model, Probe, tokenize_text
from ..steering import check_positions


def shown_claim(model: Model, claim: ClaimSpec, count: int) -> list[str]:
    """The lines about a claim.

    Args:
        count: how many of its items, texts or pairs.

    Raises:
        SteerError: its data cannot be used.
    """
    spec = claim.vector
    positions = check_positions(spec.positions)
    lines = [f"  positions {positions}{', the first one included' if spec.include_first else ''}"]
    measured_on = kind_of(claim.kind).fields
    if "texts" in measured_on and "items" not in measured_on:
        start = text_start(positions, spec.include_first)
        for index, text in enumerate(Builder(model, seed=0, max_items=count).texts(claim)):
            ids = tokenize_text(model.tokenizer, text, f"text {index}")
            lines += ["", f"  text {index}", *_sequence(model, Probe(ids, start, score_from=1))]
        return lines
    if "tasks" in measured_on:
        return lines + _tasks(model, claim, count)
    if "items" not in measured_on:
        return [*lines, "  no items: the hooks are tried on prompts of their own"]
    items, context = Builder(model, seed=0, max_items=count).test_items(claim)
    for item in items:
        asked = asked_of(model, item, positions, spec.include_first, context)
        lines += ["", f"  item {item.id}: {_how(asked)}", *(f"  note: {note}" for note in asked.notes)]
        answers = [f"matching {a!r}" for a in item.matching] + [f"not matching {a!r}" for a in item.not_matching]
        for index, probe in enumerate(asked.probes):
            of = answers[index] if len(asked.probes) > 1 else ", ".join(answers)
            lines += [f"    {of}", *_sequence(model, probe)]
    return lines


def _tasks(model: Model, claim: ClaimSpec, count: int) -> list[str]:
    if claim.test is None:
        raise SteerError(f"{claim.name}: needs data.test")
    tasks = read_tasks(claim.test, columns=claim.columns)
    pool = read_tasks(claim.demonstrations, columns=claim.columns) if claim.demonstrations is not None else tasks
    n_shots, shuffled = claim.params["n_shots"], claim.params["shuffled"]
    lines = []
    for index, query in enumerate(tasks[:count]):
        probe = task_probe(
            model,
            draw_demonstrations(query, pool, n_shots, shuffled=shuffled, seed=0),
            query,
            check_positions(claim.vector.positions),
            claim.vector.include_first,
            (),
            f"task {index}",
        )
        lines += [
            "",
            f"  task {index}: {query.input!r} -> {query.output!r}, after {n_shots} demonstration{'s' * (n_shots != 1)}",
            *_sequence(model, probe),
        ]
    return lines


def _how(asked: Asked) -> str:
    thinking = {
        None: "no chat template",
        "closed": "the reply stands where the chat template puts one without thought",
        "open": "the reply follows the generation prompt (thinking: open)",
    }[asked.thinking]
    if asked.probes[0].candidates is not None:
        return f"{thinking}; the logits of one next token are compared"
    how = "sum" if asked.summed else "mean"
    lengths = " and ".join(map(str, asked.lengths))
    return f"{thinking}; answers of {lengths} tokens are compared by the {how} of their log-likelihoods"


def _sequence(model: Model, probe: Probe) -> list[str]:
    record: dict[str, Any] = shown_probe(model, probe)
    return [f"      {len(record['tokens'])} tokens, steered from {record['first_steered']}, scored from {record['first_scored']}",
            f"      {shown_line(record)}"]  # fmt: skip
