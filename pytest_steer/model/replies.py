"""Replies under steering: of one turn or of several, where each conversation goes on with the model's own replies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..core.errors import DataError, ModelError, SteerError
from ..core.record import Thinking
from ..data import Dialogue, DialogueLike, Dialogues, as_dialogues
from ..prompting import AS_GIVEN, Context, render_turn
from ..prompting.chat import PromptText
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions, first_steered
from .arguments import checks_arguments
from .drawing import Drawing
from .generation import FinishReason, check_room, finish_reason, written
from .hooks import strengths_of
from .model import Model, once_per_model
from .probes import Probe
from .sites import check_fits
from .state import measured
from .tokens import Ids, check_texts, decoded, encode, end_tokens, tokens_before
from .writing import Asked

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
    thinking: Thinking | None
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
    put = [_Conversation(model, dialogue, context, from_turn) for dialogue in asked_of]
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
            name = f"prompt {asked_of[d].id}" + (f", turn {turn}" if turn > 1 else "")
            multiplier = grid[m] if turn >= from_turn else 0.0
            try:
                prompt = put[d].prompt([reply.text for reply in found[place]], name)
                check_room(model, prompt.ids, drawing.max_new_tokens, name)
            except (ModelError, DataError) as error:
                if turn == 1:
                    raise
                # The data are not to blame for the model's own replies.
                ended[place] = str(error)
                continue
            start = first_steered(scope, turn_end=prompt.turn_end, prompt_end=prompt.reply_at, include_first=include_first)
            notes |= dict.fromkeys(prompt.text.notes)
            prompts[place] = prompt, Asked(prompt.ids, multiplier, start, sample, name)
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
    name = f"prompt {dialogue.id}" + (f", turn {len(said) + 1}" if said else "")
    prompt = _Conversation(model, dialogue, context, from_turn).prompt(said, name)
    start = first_steered(
        check_positions(positions), turn_end=prompt.turn_end, prompt_end=prompt.reply_at, include_first=include_first
    )
    return Probe(prompt.ids, start, candidates=(), name=name), prompt.text


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
        turn_end: how many of its tokens stand before the end of the user's turn from which on steering is.
        reply_at: index of the first token of the reply to that turn; the number of tokens if it is the one to come.
    """

    text: PromptText
    ids: Ids
    turn_end: int
    reply_at: int


@dataclass
class _Conversation:
    """A dialogue as the model is asked it."""

    model: Model
    dialogue: Dialogue
    context: Context
    from_turn: int
    _known: dict[tuple[str, ...], _Prompt] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a dialogue whose last turn the chat template does not take, before any reply is written.

        Raises:
            ModelError: it refuses the turn, or drops one before it.
        """
        turns = self.dialogue.n_replies
        if turns > 1:
            said = tuple(f"reply {number}" for number in range(1, turns))
            self._tokenized(said, f"prompt {self.dialogue.id}, turn {turns}")

    def prompt(self, said: Sequence[str], name: str) -> _Prompt:
        """The prompt of the turn that follows these replies."""
        key = tuple(said)
        if key not in self._known:
            self._known[key] = self._tokenized(key, name)
        return self._known[key]

    def _tokenized(self, said: tuple[str, ...], name: str) -> _Prompt:
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
        return _Prompt(text, ids, tokens_before(spans, found.turn_ends[turn - 1]), at)


def _reply(model: Model, prompt: _Prompt, asked: Asked, tokens: Ids, ends: frozenset[int]) -> Reply:
    left_out = _left_out(model)
    text = str(model.tokenizer.decode([token for token in tokens if token not in left_out], skip_special_tokens=False))
    raw = decoded(model.tokenizer, tokens)
    reason = finish_reason(tokens, ends)
    return Reply(text, raw, tokens, reason, prompt.text.text, prompt.text.thinking, asked.ids, asked.steer_from)


@once_per_model
def _left_out(model: Model) -> frozenset[int]:
    """The special tokens that are left out of a reply's text."""
    named = dict.fromkeys(getattr(model.tokenizer, "all_special_ids", ()))
    added = getattr(model.tokenizer, "added_tokens_decoder", {})
    special = {*named, *(number for number, token in added.items() if token.special)}
    return frozenset(one for one in special if not _MARKS.search(str(model.tokenizer.convert_ids_to_tokens(one))))
