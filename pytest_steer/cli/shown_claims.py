"""The first items of a claim as the model sees them: tokens, with the first steered and the first scored one marked."""

from __future__ import annotations

from typing import Any

from ..claims import kind_of
from ..data.demonstrations import draw_demonstrations
from ..files import ClaimSpec
from ..files.build import Builder
from ..measures import shown_line, shown_probe
from ..measures.asking import Asked, asked_of
from ..measures.likelihood import text_start
from ..measures.tasks import task_probe
from ..model import Model, Probe, tokenize_text
from ..steering import check_positions


def shown_claim(model: Model, claim: ClaimSpec) -> list[str]:
    """The lines about a claim: of as many of its items, texts or pairs as the run's effort says.

    Raises:
        SteerError: its data cannot be used.
    """
    spec = claim.vector
    positions = check_positions(spec.positions)
    lines = [f"  positions {positions}{', the first one included' if spec.include_first else ''}"]
    builder = Builder(model)
    measured_on = kind_of(claim.kind).fields
    if "texts" in measured_on and "items" not in measured_on:
        start = text_start(positions, spec.include_first)
        for index, text in enumerate(builder.texts(claim)):
            ids = tokenize_text(model.tokenizer, text, f"text {index}")
            lines += ["", f"  text {index}", *_sequence(model, Probe(ids, start, score_from=1))]
        return lines
    if "tasks" in measured_on:
        return lines + _tasks(builder, claim)
    if "items" not in measured_on:
        return [*lines, "  no items: the hooks are tried on prompts of their own"]
    if claim.test is None and not measured_on["items"]:
        return [*lines, "  no data.test: it is measured on other data alone"]
    items, context = builder.test_items(claim)
    for item in items:
        asked = asked_of(model, item, positions, spec.include_first, context)
        lines += ["", f"  item {item.id}: {_how(asked)}", *(f"  note: {note}" for note in asked.notes)]
        answers = [f"matching {a!r}" for a in item.matching] + [f"not matching {a!r}" for a in item.not_matching]
        for index, probe in enumerate(asked.probes):
            of = answers[index] if len(asked.probes) > 1 else ", ".join(answers)
            lines += [f"    {of}", *_sequence(model, probe)]
    return lines


def _tasks(builder: Builder, claim: ClaimSpec) -> list[str]:
    model, run = builder.model, builder.run
    pool = builder.tasks(claim, claim.demonstrations)
    n_shots, shuffled = claim.params["n_shots"], claim.params["shuffled"]
    lines = []
    for index, query in enumerate(builder.tasks(claim)[: run.effort.max_items]):
        probe = task_probe(
            model,
            draw_demonstrations(query, pool, n_shots, shuffled=shuffled, seed=run.seed),
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
