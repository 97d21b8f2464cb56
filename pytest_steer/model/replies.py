"""Replies under steering: to prompts (:func:`generate`), and in dialogues that go on with the model's own replies (:func:`replies`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..core.errors import DataError, ModelError, SteerError
from ..core.run_context import report_progress
from ..data import ContrastItem, Dialogue, DialogueLike, Dialogues, as_dialogues
from ..prompting import AS_GIVEN, Context, render_turn
from ..prompting.chat import PromptText
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions, first_steered
from .arguments import checks_arguments
from .engine import engine_of
from .hooks import strengths_of
from .memo import Scores
from .model import Model, once_per_model
from .probes import Probe
from .sites import check_fits
from .state import measured
from .tokens import Ids, check_texts, decoded, encode, end_tokens, tokens_before
from .writing import Asked, Drawing

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
    grid = strengths_of(multipliers)
    drawing = _drawing(max_new_tokens, do_sample, temperature, top_p, seed)
    if isinstance(prompts, (str, ContrastItem)):
        raise DataError("prompts are a list of questions or items; put a single one into a list")
    _check_heeded(context)
    questions = [_question(prompt, index, context) for index, prompt in enumerate(prompts)]
    if not questions:
        raise DataError("there are no prompts to answer")
    found = replies(
        model, Dialogues(Dialogue((question,), id=str(index)) for index, question in enumerate(questions)), vector,
        multipliers=grid, drawing=drawing, positions=positions, include_first=include_first,
        context=Context(system=context.system, date=context.date, thinking="open"), allow_mismatch=allow_mismatch,
    )  # fmt: skip
    return [
        [
            Generation(question, multiplier, reply.tokens, _plain_text(model, reply), reply.finish_reason)
            for multiplier, ((reply,),) in zip(grid, row, strict=True)
        ]
        for question, row in zip(questions, found.of, strict=True)
    ]


def _plain_text(model: Model, reply: Reply) -> str:
    return str(model.tokenizer.decode(list(reply.tokens), skip_special_tokens=True))


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


__all__ = ["Drawing", "Replies", "Reply", "replies"]

GREEDY = Drawing()
# Special tokens that mark a part of a reply, such as a thought or a call of a tool.
_MARKS = re.compile("think|thought|reason|tool|call|channel|message|python_tag", re.I)


@dataclass(frozen=True)
class Reply:
    """What the model wrote in one turn.

    Attributes:
        text: the whole reply, thought and answer, without special tokens except those that mark thoughts and calls of tools.
        raw: the same with all special tokens.
        tokens: the generated tokens, with the end token if there was one.
        finish_reason: ``stop`` (an end token of the model's generation_config) or ``length`` (``max_new_tokens``).
        prompt: the rendered conversation that it goes on from.
        thinking: where it begins, see ``PromptText``: ``closed``, ``open``, or None without a chat template.
        prompt_ids: the tokens of the prompt.
        steer_from: index of the first steered token of prompt and reply, if the turn is steered.
    """

    text: str
    raw: str
    tokens: Ids
    finish_reason: FinishReason
    prompt: str
    thinking: str | None
    prompt_ids: Ids = ()
    steer_from: int = 0


@dataclass(frozen=True)
class Replies:
    """The replies to dialogues at several multipliers.

    Attributes:
        dialogues: what was replied to. multipliers: in the order of ``of``.
        of: [dialogue][multiplier][sample] -> the replies of one conversation, one per turn. A conversation that ends early has fewer.
        ended: why, for each conversation that ends early: (dialogue, multiplier's index, sample) -> in words.
        notes: template workarounds, for the reader of a report.
    """

    dialogues: Dialogues
    multipliers: tuple[float, ...]
    of: tuple[tuple[tuple[tuple[Reply, ...], ...], ...], ...]
    ended: dict[tuple[int, int, int], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@checks_arguments
@measured
def replies(
    model: Model,
    dialogues: Iterable[DialogueLike],
    vector: SteeringVector | Intervention,
    *,
    multipliers: Sequence[float],
    drawing: Drawing = GREEDY,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    from_turn: int = 1,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> Replies:
    """The model's replies to each dialogue at each multiplier.

    In a dialogue of several turns, each prompt is the template's rendering of the conversation with the replies before it, so each sample at
    each multiplier has its own conversation. Replies before ``from_turn`` are the unsteered model's. Multiplier 0 is the unsteered model,
    whatever the intervention. Replies are remembered like scores, see ``written``.

    Args:
        vector: a steering vector (added), or any intervention.
        drawing: how tokens are chosen, and how many samples there are. A sample's draws depend on the seed, its prompt, its multiplier and
            its number alone.
        positions: ``after_prompt`` steers all that follows the user's turn ``from_turn``, later turns of the user too; ``last`` all from the
            token on that predicts the first one of the reply to that turn; ``all`` the whole conversation, in turns from ``from_turn`` on.
        from_turn: the turn, from 1 on, whose reply is the first steered one. A reply to a tool's result at the end of the transcript is
            that to turn 1, and the result stands for the user's turn.
        context: how questions are put; the prompt is the template's generation prompt. A block of thought is closed unless the
            context says ``thinking="open"``.

    Raises:
        DataError: no dialogues, one without a turn ``from_turn``, or one that does not fit the model with ``max_new_tokens`` after it.
        ModelError: the chat template does not take a dialogue.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        SteerError: an argument out of its range, or a ``steered`` block is open on the model.
        MeasurementError: a logit is NaN or infinite.
    """
    scope, grid = check_positions(positions), tuple(m + 0.0 for m in strengths_of(multipliers))
    change = as_intervention(vector)
    check_fits(model, change, allow_mismatch)
    asked_of = as_dialogues(dialogues)
    _check_turns(asked_of, from_turn)
    for dialogue in asked_of:
        check_texts(model, dialogue.asked, f"prompt {dialogue.id}")
    put = [_Conversation(model, dialogue, context, from_turn, scope, include_first) for dialogue in asked_of]
    for conversation in put:
        conversation.check()
    places = [(d, m, s) for d in range(len(put)) for m in range(len(grid)) for s in range(drawing.samples)]
    found: dict[tuple[int, int, int], list[Reply]] = {place: [] for place in places}
    ended: dict[tuple[int, int, int], str] = {}
    notes: dict[str, None] = {}
    ends = end_tokens(model)
    for turn in range(1, asked_of.most_turns + 1):
        prompts: dict[tuple[int, int, int], tuple[_Prompt, Asked]] = {}
        for place in places:
            d, m, sample = place
            if place in ended or turn > asked_of[d].n_replies:
                continue
            try:
                prompt = put[d].prompt(tuple(reply.text for reply in found[place]))
                check_room(model, prompt.ids, drawing.max_new_tokens, prompt.name)
            except (ModelError, DataError) as error:
                if turn == 1:
                    raise
                # The data are not to blame for the model's own replies.
                ended[place] = str(error)
                continue
            notes |= dict.fromkeys(prompt.text.notes)
            multiplier = grid[m] if turn >= from_turn else 0.0
            prompts[place] = prompt, Asked(prompt.ids, multiplier, prompt.steer_from, sample, prompt.name)
        tokens = written(model, [asked for _, asked in prompts.values()], change, drawing)
        for (place, (prompt, asked)), own in zip(prompts.items(), tokens, strict=True):
            found[place].append(_reply(model, prompt, asked, own, ends))
    of = tuple(
        tuple(tuple(tuple(found[d, m, s]) for s in range(drawing.samples)) for m in range(len(grid)))
        for d in range(len(put))
    )
    return Replies(asked_of, grid, of, ended, tuple(notes))


def prompt_of_turn(
    model: Model,
    dialogue: Dialogue,
    said: Sequence[str],
    *,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    from_turn: int = 1,
    context: Context = AS_GIVEN,
) -> tuple[Probe, PromptText]:
    """The prompt of the turn that follows the given replies, as :func:`replies` asks it.

    Args:
        said: replies to the turns before, fewer than there are turns.

    Returns:
        Its tokens with the first steered one (the number of tokens if that is the reply's first), and its text.

    Raises:
        DataError: there is no turn ``from_turn``.
        ModelError: the chat template does not take the dialogue.
    """
    _check_turns(as_dialogues([dialogue]), from_turn)
    conversation = _Conversation(model, dialogue, context, from_turn, check_positions(positions), include_first)
    prompt = conversation.prompt(tuple(said))
    return Probe(prompt.ids, prompt.steer_from, candidates=(), name=prompt.name), prompt.text


def _check_turns(dialogues: Dialogues, from_turn: int) -> None:
    if isinstance(from_turn, bool) or not isinstance(from_turn, int) or from_turn < 1:
        raise SteerError(f"from_turn is the number of a turn, from 1 on, not {from_turn!r}")
    short = next((one for one in dialogues if one.n_replies < from_turn), None)
    if short is not None:
        raise DataError(
            f"prompt {short.id}: has {short.n_replies} turn(s), so nothing is steered from turn {from_turn} on: lower from_turn, or "
            "take the prompt out"
        )


@dataclass(frozen=True)
class _Prompt:
    """The prompt of one turn.

    Attributes:
        name: for messages.
        steer_from: index of the first steered token; the number of tokens if that is the reply's first.
    """

    name: str
    text: PromptText
    ids: Ids
    steer_from: int


@dataclass
class _Conversation:
    """A dialogue as the model is asked it."""

    model: Model
    dialogue: Dialogue
    context: Context
    from_turn: int
    positions: Positions
    include_first: bool
    _known: dict[tuple[str, ...], _Prompt] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a dialogue whose last turn the chat template does not take, before any reply is written.

        Raises:
            ModelError: it refuses the turn, or drops one before it.
        """
        turns = self.dialogue.n_replies
        if turns > 1:
            self._tokenized(tuple(f"reply {number}" for number in range(1, turns)))

    def prompt(self, said: tuple[str, ...]) -> _Prompt:
        """The prompt of the turn that follows these replies."""
        if said not in self._known:
            self._known[said] = self._tokenized(said)
        return self._known[said]

    def _tokenized(self, said: tuple[str, ...]) -> _Prompt:
        name = f"prompt {self.dialogue.id}" + (f", turn {len(said) + 1}" if said else "")
        try:
            found = render_turn(self.dialogue, said, self.model.format, self.context)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from None
        text = found.prompt
        plain = self.context.setting(self.model.format).form.render is None
        if plain:  # the first token brings its own space
            text = replace(text, text=text.text.rstrip(" "))
        ids, spans = encode(self.model.tokenizer, text.text, plain)
        turn = min(self.from_turn, len(said) + 1)
        at, end = len(ids), found.replies_at[turn - 1]
        if turn <= len(said):
            at = next(index for index, (_, stop) in enumerate(spans) if stop > end)
        turn_end = tokens_before(spans, found.turn_ends[turn - 1])
        start = first_steered(self.positions, turn_end=turn_end, prompt_end=at, include_first=self.include_first)
        return _Prompt(name, text, ids, start)


def _reply(model: Model, prompt: _Prompt, asked: Asked, tokens: Ids, ends: frozenset[int]) -> Reply:
    left_out = _left_out(model)
    text = str(model.tokenizer.decode([token for token in tokens if token not in left_out], skip_special_tokens=False))
    raw = decoded(model.tokenizer, tokens)
    reason: FinishReason = "stop" if tokens[-1] in ends else "length"
    return Reply(text, raw, tokens, reason, prompt.text.text, prompt.text.thinking, asked.ids, asked.steer_from)


@once_per_model
def _left_out(model: Model) -> frozenset[int]:
    """The special tokens that are left out of a reply's text."""
    named = dict.fromkeys(getattr(model.tokenizer, "all_special_ids", ()))
    added = getattr(model.tokenizer, "added_tokens_decoder", {})
    special = {*named, *(number for number, token in added.items() if token.special)}
    return frozenset(one for one in special if not _MARKS.search(str(model.tokenizer.convert_ids_to_tokens(one))))
