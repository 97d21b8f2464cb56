"""``pytest-steer show``: the first items of a claim file's claims as the model sees them. Nothing is measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.columns import columns_of, current_columns, in_columns, stream_columns, visible, wrapped
from ..core.errors import SteerError, exceptions_named
from ..core.run_context import RunContext
from .extensions import load_extensions
from .main import OK, USAGE_ERROR
from .options import COUNT, FILE, run_options, subcommand
from .output import measuring, say

if TYPE_CHECKING:
    from ..files import BrokenClaim, ClaimSpec, Suite
    from ..files.inputs import Inputs
    from ..measures.asking import Asked
    from ..model import Model, Probe
    from ..model.loading import Models


@subcommand(
    example="pytest-steer show tiny.steer.yaml --items 2",
    short_help="Print the first items as the model sees them.",
)
@click.argument("file", type=FILE, metavar="FILE")
@click.argument("claim", required=False)
@click.option("--items", "max_items", type=COUNT, default=1, metavar="N", help="How many of each claim.")
@run_options
def command(file: Path, claim: str | None, run: RunContext) -> int:
    """Print the tokens of the first items of each claim of FILE, or of one CLAIM by its name.

    The first steered and the first scored token are marked. Nothing is measured and no vector is made. A claim that cannot be shown
    is an error on stderr, and the others follow; the exit code is then 4.
    """
    from ..model.loading import Models
    from .claim_file import suite_with

    load_extensions(file)
    suite = suite_with(file, claim)
    models = Models(run)
    first: dict[str, str] = {}  # a text to the claim that it was printed for
    faulty, columns = False, stream_columns(sys.stdout)
    for entry in suite.entries:
        if claim not in (None, entry.name):
            continue
        try:
            with exceptions_named():
                head, text = _shown(models, run, suite, entry, columns)
        except SteerError as error:
            said = entry.located(error, suite.path)
            say(wrapped(f"{entry.name}: error: {said}\n", stream_columns(sys.stderr)), err=True)
            faulty = True
            continue
        # Claims of one file mostly ask the same items in the same way.
        same = first.setdefault(text, entry.name)
        say(wrapped(head, columns))
        say(f"{text if same == entry.name else wrapped(f'  the same as for {same}', columns)}\n")
    return USAGE_ERROR if faulty else OK


def _shown(models: Models, run: RunContext, suite: Suite, entry: ClaimSpec | BrokenClaim, columns: int) -> tuple[str, str]:
    """The headline of a claim and the text below it, wrapped to the columns."""
    from ..files import BrokenClaim
    from ..files.build import load_for

    if isinstance(entry, BrokenClaim):
        raise entry.error
    with measuring():
        model = load_for(models, suite, run.model_name(entry.model, suite.model))
    head = [f"{entry.name} ({entry.kind}) on {model.id}", *promise_lines(entry)]
    with in_columns(columns):
        lines = shown_claim(model, entry, suite.path.parent)
    return "\n".join(head), "\n".join(wrapped(visible(line), columns) for line in lines)


def shown_claim(model: Model, claim: ClaimSpec, folder: Path) -> list[str]:
    """A claim's first items, texts, pairs or questions as lines, as many as the run's effort allows.

    Args:
        folder: the folder that the claim file's paths are relative to.

    Raises:
        SteerError: its data cannot be used.
    """
    from ..claims import kind_of
    from ..files.inputs import Inputs
    from ..measures.asking import Scope, ask_texts, asked_of
    from ..steering import check_positions

    spec = claim.vector
    scope = Scope(check_positions(spec.positions), spec.include_first)
    lines = [f"  positions {scope.positions}{', the first one included' if spec.include_first else ''}"]
    inputs = Inputs(model)
    kind = kind_of(claim.kind)
    chosen = kind.chosen(claim.params, claim.given_data)
    measured_on = {*kind.fields} - ({*kind.either} - {chosen})
    if "texts" in measured_on and "items" not in measured_on:
        texts, cut = inputs.texts(claim), {key: claim.params.get(key) for key in ("window", "stride")}
        for own, asked_text in zip(texts.ids, ask_texts(model, texts, scope, **cut), strict=True):
            lines += _asked(model, f"text {own}", asked_text.probes, notes=asked_text.notes)
        return lines + (_prompts(inputs, claim) if "prompts" in measured_on else [])
    if "prompts" in measured_on:
        return lines + _prompts(inputs, claim)
    if "tasks" in measured_on:
        return lines + _tasks(inputs, claim)
    if "questions" in kind.parameters and "items" not in measured_on:
        return lines + _questions(inputs, claim, folder)
    if "items" not in measured_on:
        return [*lines, "  no items: the hooks are tried on prompts of their own"]
    if claim.test is None and not kind.fields["items"]:
        return [*lines, "  no data.test: it is measured on other data alone"]
    items, context = inputs.test_items(claim)
    likelihoods = getattr(kind.declared, "asks_likelihoods", False)
    for item in items:
        asked = asked_of(model, item, scope, context, likelihoods=likelihoods)
        answers = [f"matching {a!r}" for a in item.matching] + [f"not matching {a!r}" for a in item.not_matching]
        lines += _asked(model, f"item {item.id}: {_how(asked)}", asked.probes, answers, asked.notes)
    return lines


def promise_lines(claim: ClaimSpec) -> list[str]:
    """One line per promise: its threshold and the threshold's source."""
    from ..claims import kind_of
    from ..core.promises import promised

    lines = []
    for name in kind_of(claim.kind).promises:
        if name not in claim.params:
            continue
        one = promised(claim.params[name], name)
        value = "(no threshold yet)" if one.value is None else f"{one.value:g}"
        set_on = "" if one.set_on is None else f", set on {one.set_on}"
        lines.append(f"  promised: {name} {value}{set_on}{'' if one.source is None else f', from {one.source}'}")
    return lines


def _questions(inputs: Inputs, claim: ClaimSpec, folder: Path) -> list[str]:
    from ..data import OWN_QUESTIONS
    from ..measures.asking import Scope
    from ..measures.multiple_choice import asked_question
    from ..steering import check_positions

    model, spec, params = inputs.model, claim.vector, claim.params
    questions = inputs.questions(params.get("questions") or OWN_QUESTIONS, folder)
    lines = []
    for question in questions:
        scope = Scope(check_positions(spec.positions), spec.include_first)
        asked = asked_question(model, question, scope, by=params["by"], prompt=params["prompt"])
        right, *wrong = question.right_first
        answers = [f"right {right!r}", *(f"wrong {option!r}" for option in wrong)]
        lines += _asked(model, f"question {question.id}: {_how(asked)}", asked.probes, answers, asked.notes)
    return lines


def _tasks(inputs: Inputs, claim: ClaimSpec) -> list[str]:
    from ..data.tasks import draw_demonstrations
    from ..measures.asking import Scope
    from ..measures.tasks import task_probe
    from ..steering import check_positions

    model, run = inputs.model, inputs.run
    pool = inputs.tasks(claim, claim.demonstrations)
    n_shots, shuffled = claim.params["n_shots"], claim.params["shuffled"]
    lines = []
    for index, query in enumerate(inputs.tasks(claim)[: run.effort.max_items]):
        probe = task_probe(
            model,
            draw_demonstrations(query, pool, n_shots, shuffled=shuffled, seed=run.seed),
            query,
            Scope(check_positions(claim.vector.positions), claim.vector.include_first),
            (),
            f"task {index}",
        )
        after = f"after {n_shots} demonstration{'s' * (n_shots != 1)}"
        lines += _asked(model, f"task {index}: {query.input!r} -> {query.output!r}, {after}", [probe])
    return lines


def _prompts(inputs: Inputs, claim: ClaimSpec) -> list[str]:
    """The prompt of the last turn of each dialogue. Nothing is generated, so earlier replies are placeholders."""
    from ..measures import shown_line, shown_probe
    from ..model.replies import prompt_of_turn
    from ..prompting import AS_GIVEN
    from ..steering import check_positions

    if claim.prompts is None and claim.test is None:
        return []
    model, spec = inputs.model, claim.vector
    context = replace(AS_GIVEN, **claim.asked) if claim.prompts is not None else inputs.test_items(claim)[1]  # type: ignore[arg-type]
    lines = []
    for dialogue in inputs.prompts(claim):
        said = [f"(reply {turn})" for turn in range(1, len(dialogue.turns))]
        probe, text = prompt_of_turn(
            model,
            dialogue,
            said,
            positions=check_positions(spec.positions),
            include_first=spec.include_first,
            from_turn=claim.params.get("from_turn") or 1,
            context=context,
        )
        stand_ins = f"; {' and '.join(said)} for what the model writes" if said else ""
        lines += [
            "",
            f"  prompt {dialogue.id}: {_PLACES[text.thinking]}{stand_ins}",
            *(f"  note: {note}" for note in text.notes),
        ]
        record = replace(shown_probe(model, probe), first_scored=-1, candidates=None)  # the reply is scored
        counted = f"{len(probe.ids)} tokens, steered from {probe.steer_from}; the reply follows"
        lines += [f"      {counted}", *_broken(shown_line(record))]
    return lines


_PLACES = {
    None: "no chat template",
    "closed": "the reply stands where the chat template puts one without thought",
    "open": "the reply follows the generation prompt (thinking: open)",
}


def _how(asked: Asked) -> str:
    thinking = _PLACES[asked.thinking]
    if asked.probes[0].candidates is not None:
        return f"{thinking}; the logits of one next token are compared"
    how = "sum" if asked.summed else "mean"
    lengths = " and ".join(map(str, asked.lengths))
    return f"{thinking}; answers of {lengths} tokens are compared by the {how} of their log-likelihoods"


def _asked(
    model: Model, title: str, probes: Sequence[Probe], answers: Sequence[str] = (), notes: Sequence[str] = ()
) -> list[str]:
    """The sequences of one item, text or question below its title. One sequence can stand for all answers."""
    from ..measures import shown_line, shown_probe

    lines = ["", f"  {title}", *(f"  note: {note}" for note in notes)]
    for index, probe in enumerate(probes):
        if answers:
            lines.append(f"    {answers[index] if len(probes) > 1 else ', '.join(answers)}")
        record = shown_probe(model, probe)
        lines.append(
            f"      {len(record.tokens)} tokens, steered from {record.first_steered}, scored from {record.first_scored}"
        )
        lines += _broken(shown_line(record))
    return lines


def _broken(line: str) -> list[str]:
    """Wrap a sequence to the columns of the terminal. Lines end before a separator, so a token's spaces stay visible."""
    from ..measures.shown import SEPARATOR

    room = current_columns() - 6
    lines = [""]
    for number, token in enumerate(visible(line).split(SEPARATOR)):
        piece = token if number == 0 else SEPARATOR + token
        if lines[-1] and columns_of(lines[-1] + piece) > room:
            lines.append("")
        while columns_of(piece) > room:  # a token that is longer than a line
            most = room if piece.isascii() else room // 2
            lines[-1], piece = piece[:most], piece[most:]
            lines.append("")
        lines[-1] += piece
    return [f"      {one}" for one in lines]
