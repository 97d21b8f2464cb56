"""``pytest-steer show``: the first items of a claim file's claims as the model sees them. Nothing is measured."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from .. import progress
from ..data import read_tasks
from ..data.demonstrations import draw_demonstrations
from ..errors import DataError, SteerError
from ..files import BrokenClaim, ClaimSpec, read_suite
from ..files.build import Builder
from ..measures import shown_line, shown_probe
from ..measures.asking import Asked, asked_of
from ..measures.likelihood import text_start
from ..measures.tasks import task_probe
from ..model import Model, Probe, load_model, tokenize_text
from ..sources import DEFAULT_MODEL, shown
from ..steering import check_positions
from .sweep import progress_line


def run(options: Namespace) -> int:
    """Prints the items of each claim; 0.

    Raises:
        SteerError: the file, its data or the model cannot be used, or the file has no such claim.
    """
    suite = read_suite(shown(options.file))
    names = [entry.name for entry in suite.entries]
    if options.claim is not None and options.claim not in names:
        raise DataError(f"{suite.path.name} has no claim {options.claim!r}; it has {', '.join(names)}")
    models: dict[str, Model] = {}
    seen: set[str] = set()
    for entry in suite.entries:
        if options.claim not in (None, entry.name):
            continue
        if isinstance(entry, BrokenClaim):
            raise entry.error
        name = options.model or entry.model or suite.model or DEFAULT_MODEL
        if name not in models:
            with progress.listening(progress_line(sys.stderr)):
                models[name] = load_model(name, dtype=options.dtype, device=options.device)
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
        lines = _lines(models[name], entry, options.items)
        text = "\n".join(lines)
        # Claims of one file mostly ask the same items in the same way.
        print(f"{entry.name} ({entry.kind}) on {models[name].id}")
        print("  as above\n" if text in seen else f"{text}\n")
        seen.add(text)
    return 0


def _lines(model: Model, claim: ClaimSpec, count: int) -> list[str]:
    spec = claim.vector
    positions = check_positions(spec.positions)
    lines = [f"  positions {positions}{', the first one included' if spec.include_first else ''}"]
    if claim.kind == "hooks_are_sound":
        return [*lines, "  no items: the hooks are tried on prompts of their own"]
    if claim.kind == "ppl_delta_below":
        start = text_start(positions, spec.include_first)
        for index, text in enumerate(Builder(model, seed=0, max_items=count).texts(claim)):
            ids = tokenize_text(model.tokenizer, text, f"text {index}")
            lines += ["", f"  text {index}", *_sequence(model, Probe(ids, start, score_from=1))]
        return lines
    if claim.kind == "performs_task":
        return lines + _tasks(model, claim, count)
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
    pool = read_tasks(claim.examples, columns=claim.columns) if claim.examples is not None else tasks
    shots, shuffled = claim.params["shots"], claim.params["shuffled"]
    lines = []
    for index, query in enumerate(tasks[:count]):
        probe = task_probe(
            model,
            draw_demonstrations(query, pool, shots, shuffled=shuffled, seed=0),
            query,
            check_positions(claim.vector.positions),
            claim.vector.include_first,
            (),
            f"task {index}",
        )
        lines += [
            "",
            f"  task {index}: {query.input!r} -> {query.output!r}, after {shots} demonstration{'s' * (shots != 1)}",
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
