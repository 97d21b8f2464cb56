"""Generation under steering: each prompt at several multipliers, as rows of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import DataError, SteerError
from ..core.run_context import report_progress
from ..data import ContrastItem
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions, first_steered
from .arguments import checks_arguments
from .drawing import Drawing
from .engine import engine_of
from .hooks import strengths_of
from .memo import Scores
from .model import Model
from .sites import check_fits
from .state import measured
from .tokens import Ids, check_texts, end_tokens, tokenize_prompt
from .writing import Asked

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Generation:
    """What the model wrote for one prompt at one multiplier.

    Attributes:
        prompt: the question as it was given.
        multiplier: strength of the intervention; 0 is the unsteered model.
        tokens: the generated tokens, with the end token if there was one.
        text: the tokens as text, without special tokens.
        finish_reason: ``stop`` (an end token of the model's generation_config) or ``length`` (``max_new_tokens``).
    """

    prompt: str
    multiplier: float
    tokens: tuple[int, ...]
    text: str
    finish_reason: FinishReason


@checks_arguments
@measured
def generate(
    model: Model,
    prompts: Iterable[str | ContrastItem],
    vector: SteeringVector | Intervention,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    include_first: bool = False,
    max_new_tokens: int = 64,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> list[list[Generation]]:
    """Answers of the model to each prompt at each multiplier.

    The tokens before the first steered one are computed once per prompt. Then all multipliers (and prompts) are rows of one
    batch, each with its own strength. The result is that of generating each by itself. Only caches of keys and values are
    repeated (``abilities.py``). Before the first use, the batch is compared with rows by themselves on the model at hand. A
    model whose cache cannot be repeated or padded takes a plainer way.

    Tokens are chosen from the model's own distribution. Settings of its generation_config (penalties, top_k) do not
    count, except for the end tokens.

    Args:
        prompts: questions, or items whose questions are asked; put into the chat template, or the plain form without one.
        vector: a steering vector (added), or any intervention.
        positions: which tokens are steered: ``all``, ``after_prompt`` or ``last``; the generated ones in every scope.
        do_sample: draw each token, at ``temperature`` and within ``top_p``; otherwise the likeliest one is taken.
        seed: of the draws. A row's draws depend on the seed, its prompt and its multiplier alone, so the same prompt
            twice gives the same text twice: take another seed for another sample.
        context: system prompt, date, and axes that change the question. Others are refused: ``replies`` heeds them.

    Returns:
        [prompt][multiplier] -> Generation.

    Raises:
        DataError: no prompts, an empty one, or one that does not fit the model with ``max_new_tokens`` after it.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        SteerError: an argument out of its range, or a ``steered`` block is open on the model.
        MeasurementError: a logit is NaN or infinite.
    """
    scope = check_positions(positions)
    grid = strengths_of(multipliers)
    change = as_intervention(vector)
    check_fits(model, change, allow_mismatch)
    drawing = _drawing(max_new_tokens, do_sample, temperature, top_p, seed)
    if isinstance(prompts, (str, ContrastItem)):
        raise DataError("prompts are a list of questions or items; put a single one into a list")
    _check_heeded(context)
    questions = [_question(prompt, index, context) for index, prompt in enumerate(prompts)]
    if not questions:
        raise DataError("there are no prompts to answer")
    form = model.format.under(None, context.date)
    asked = []
    for index, question in enumerate(questions):
        check_texts(model, (question,), f"prompt {index}")
        # Generation continues the generation prompt; in the plain form the first token brings its own space.
        put = form.prompt(question, context.system, thinking_open=True)
        opening = put.opening if form.render is not None else put.opening.rstrip(" ")
        ids, turn_end = tokenize_prompt(model.tokenizer, put.turn, opening, form.render is None)
        check_room(model, ids, max_new_tokens, f"prompt {index}")
        start = first_steered(scope, turn_end=turn_end, prompt_end=len(ids), include_first=include_first)
        asked += [Asked(ids, multiplier, start, name=f"prompt {index}") for multiplier in grid]
    tokens = written(model, asked, change, drawing)
    ends = end_tokens(model)
    return [
        [
            _finished(model, ends, question, multiplier, tokens[number * len(grid) + place])
            for place, multiplier in enumerate(grid)
        ]
        for number, question in enumerate(questions)
    ]


def _check_heeded(context: Context) -> None:
    """Refuse axes that generation would ignore: it continues the generation prompt of a single question."""
    heeded = ("system", "date")
    unheeded = [axis.name for axis, value in context.values if axis.on != "item" and axis.name not in heeded]
    if unheeded and (unheeded != ["thinking"] or context.thinking != "open"):
        raise SteerError(
            f"generate does not put {unheeded[0]!r} of the context to the model: call replies(model, dialogues, vector, ...), which does"
        )


def _question(prompt: str | ContrastItem, index: int, context: Context) -> str:
    if isinstance(prompt, ContrastItem):
        return context.put(prompt).question
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"prompt {index}: expected a question or a ContrastItem, found {prompt!r}")
    return prompt


def _drawing(max_new_tokens: int, do_sample: bool, temperature: float, top_p: float, seed: int) -> Drawing:
    if do_sample and temperature is None:
        raise SteerError("temperature is a finite number above 0, not None; do_sample=False takes the likeliest token")
    drawn = Drawing(max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    if do_sample:
        return drawn
    if temperature != 1 or top_p != 1:
        raise SteerError("temperature and top_p say how tokens are drawn, and nothing is drawn without do_sample=True")
    return Drawing(max_new_tokens)


def check_room(model: Model, ids: Ids, new: int, name: str) -> None:
    """Refuse a prompt that the model cannot take, or that leaves no room for the reply.

    Raises:
        DataError: it has no tokens, or too many.
    """
    if not ids:
        raise DataError(f"{name}: has no tokens")
    limit = model.max_positions
    if limit is not None and len(ids) + new > limit:
        raise DataError(
            f"{name}: has {len(ids)} tokens, and {model.id} takes at most {limit}; there is no room for {new} more"
        )


def _finished(model: Model, ends: frozenset[int], question: str, multiplier: float, tokens: Ids) -> Generation:
    text = model.tokenizer.decode(list(tokens), skip_special_tokens=True)
    return Generation(question, multiplier, tokens, str(text), finish_reason(tokens, ends))


def finish_reason(tokens: Ids, ends: frozenset[int]) -> FinishReason:
    """Why a reply ends: with an end token, or because it is as long as it may be."""
    return "stop" if tokens[-1] in ends else "length"


def written(model: Model, asked: Sequence[Asked], intervention: Intervention, drawing: Drawing) -> list[Ids]:
    """The tokens of each reply, with the end token if there is one.

    A reply is remembered under all that determines it, see ``Asked.key``. Unsteered ones are the same for every intervention.

    Raises:
        MeasurementError: a logit is NaN or infinite.
    """
    engine = engine_of(model)
    writer = engine.writer(intervention, drawing)
    keys = [one.key(intervention, drawing, writer.ends) for one in asked]
    by_key = dict(zip(keys, asked, strict=True))

    def compute(unknown: Sequence[bytes]) -> Iterator[dict[bytes, Scores]]:
        wanted = {by_key[key]: key for key in unknown}
        done = 0
        for part in writer.write(list(wanted)):
            done += len(part)
            report_progress(f"{done} of {len(wanted)} replies")
            yield {wanted[one]: np.array(ids, dtype=np.float64) for one, ids in part.items()}

    durable = {key: one.multiplier == 0 or intervention.durable for key, one in by_key.items()}
    found = dict(zip(durable, engine.remembered_values(durable, compute), strict=True))
    return [tuple(map(int, found[key])) for key in keys]
