"""From items and texts to probes: what the model is asked about each, and where steering begins. Propensities from the probes' scores.

A text that is longer than the model takes is cut into windows, as in the transformers documentation on the perplexity of fixed-length
models: windows of ``window`` tokens begin every ``stride`` tokens, and each scores the tokens that no earlier one has scored. So all but
the first window's tokens have at least ``window - stride`` tokens before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import DataError, MeasurementError, ModelError, SteerError, TooLongError
from ..core.record import Thinking
from ..data import Completion, ContrastItem, ItemLike, Items, TextLike, as_items
from ..data.texts import as_texts, check_is_text
from ..model import Model, Probe, tokenize_answer, tokenize_item, tokenize_text
from ..model.memo import Scores
from ..model.tokens import check_sequence, check_texts, check_vocabulary
from ..prompting import Context, render_item
from ..steering import Positions, check_positions, first_steered

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Scope:
    """Which tokens are steered, and which mismatches of a vector are accepted.

    Attributes:
        positions: ``all``, ``after_prompt`` or ``last``.
        include_first: steer the first position too where the scope reaches it.
        allow_mismatch: ``model`` and / or ``template``: accept a vector that was made elsewhere.

    Raises:
        SteerError: the positions are unknown.
    """

    positions: Positions = "after_prompt"
    include_first: bool = False
    allow_mismatch: tuple[str, ...] = field(default=(), compare=False)  # two scopes of the same tokens are equal

    def __post_init__(self) -> None:
        check_positions(self.positions)

    def first_steered(self, *, turn_end: int, prompt_end: int) -> int:
        """See :func:`steering.first_steered`."""
        return first_steered(self.positions, turn_end=turn_end, prompt_end=prompt_end, include_first=self.include_first)


AFTER_PROMPT, EVERYWHERE, LAST = Scope("after_prompt"), Scope("all"), Scope("last")


@dataclass(frozen=True)
class Asked:
    """What is asked of the model about one item, and how the scores make its propensity.

    Attributes:
        probes: one, if all answers are single tokens; else one per answer.
        split: how many of the answers are matching ones; they come first.
        label: of the matching answer, as the item was put to the model.
        lengths: how many tokens of each answer are scored.
        thinking: where the reply stands, see ``prompting.chat.PromptText``.
        notes: workarounds that the chat template needed.
        summed: whether an answer's token log-likelihoods are added up instead of averaged.
    """

    probes: tuple[Probe, ...]
    split: int
    label: str | None
    lengths: tuple[int, ...] = ()
    thinking: Thinking | None = None
    notes: tuple[str, ...] = ()
    summed: bool = False

    def answers(self, scores: list[Scores]) -> Array:
        """[n_answers] the score of each answer, the matching ones first: the logit of a single token, else of all its tokens."""
        if len(self.probes) == 1 and self.probes[0].candidates is not None:
            return np.asarray(scores[0], dtype=float)
        return np.array([token_scores.sum() if self.summed else token_scores.mean() for token_scores in scores])

    def sides(self, scores: list[Scores]) -> tuple[float, float]:
        """The score of the matching and of the other side: the log of the summed exponentials of its answers' scores."""
        values = self.answers(scores)
        return float(np.logaddexp.reduce(values[: self.split])), float(np.logaddexp.reduce(values[self.split :]))


def asked_of(
    model: Model, item: ContrastItem, scope: Scope, context: Context, *, likelihoods: bool = False, called: str = "item"
) -> Asked:
    """The probes of an item in a context.

    Args:
        likelihoods: ask for the log-likelihoods of all answers, also where each is one token and two logits tell their difference.
        called: the item's kind in messages.
    """
    name = f"{called} {item.id}"
    check_texts(model, (item.question, *item.matching, *item.not_matching), name)
    try:
        rendered = render_item(item, model.format, context)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    tokens = tokenize_item(model.tokenizer, rendered)
    starts = [scope.first_steered(turn_end=answer.turn_end, prompt_end=answer.first) for answer in tokens.answers]
    if tokens.is_single and not likelihoods:
        candidates = tuple(answer.ids[answer.first] for answer in tokens.answers)
        probes = [Probe(tokens.prompt, starts[0], candidates, name=name)]
    else:
        probes = [
            Probe(answer.ids, start, score_from=answer.first, name=name)
            for answer, start in zip(tokens.answers, starts, strict=True)
        ]
    return Asked(
        tuple(probes),
        split=len(tokens.matching),
        label=rendered.item.label,
        lengths=tuple(len(answer.scored) for answer in tokens.answers),
        thinking=rendered.thinking,
        notes=rendered.notes,
        summed=context.answers == "sum",
    )


class OfAsked:
    """Numbers of units that were asked of the model at each multiplier; ``asked`` says how."""

    asked: tuple[Asked, ...]
    multipliers: Array

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """Everything that was asked of the model."""
        return tuple(probe for one in self.asked for probe in one.probes)

    def column(self, multiplier: float) -> int:
        """The index of a multiplier.

        Raises:
            SteerError: it was not measured.
        """
        at = np.flatnonzero(self.multipliers == multiplier)
        if not len(at):
            raise SteerError(f"multiplier {multiplier:g} was not measured: it is not among {self.multipliers.tolist()}")
        return int(at[0])


def items_to_measure(items: Iterable[ItemLike]) -> Items:
    """The items.

    Raises:
        DataError: there are none.
    """
    data = as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to measure")
    return data


def propensities(asked: Sequence[Asked], scores: Iterable[Sequence[Scores]], columns: int) -> Array:
    """[items, columns] from the scores of all their probes in order, each with one entry per column.

    Raises:
        MeasurementError: one is NaN or infinite.
    """
    matching, other = sides_of(asked, scores, columns)
    return finite(matching - other, "a propensity")


def sides_of(asked: Sequence[Asked], scores: Iterable[Sequence[Scores]], columns: int) -> tuple[Array, Array]:
    """The score of the matching and of the other side, [items, columns] each; arguments as of :func:`propensities`."""
    values, per_probe = np.empty((2, len(asked), columns)), iter(scores)
    for row, item in enumerate(asked):
        own = [next(per_probe) for _ in item.probes]
        for column in range(columns):
            values[:, row, column] = item.sides([found[column] for found in own])
    return values[0], values[1]


def finite(values: Array, what: str) -> Array:
    """The values.

    Raises:
        MeasurementError: one is NaN or infinite; ``what`` they are is named.
    """
    if not np.isfinite(values).all():
        raise MeasurementError(f"{what} is NaN or infinite")
    return values


@dataclass(frozen=True)
class AskedText:
    """What is asked of the model about one text.

    Attributes:
        probes: one; of a text in windows one per window, which score each token once.
        thinking: where the reply stands, see ``prompting.chat.PromptText``; None for a plain text, and without a chat template.
        notes: workarounds that the chat template needed.
        is_completion: whether it has a prompt.
    """

    probes: tuple[Probe, ...]
    thinking: Thinking | None = None
    notes: tuple[str, ...] = ()
    is_completion: bool = False


def unreached(asked: Sequence[Sequence[Probe]]) -> list[int]:
    """Indices of the texts that steering cannot change: all their scored tokens are predicted before its first position.

    Args:
        asked: the probes of each text.
    """
    return [index for index, own in enumerate(asked) if all(probe.steer_from > probe.reads[-1] for probe in own)]


def check_reached(asked: Sequence[AskedText]) -> None:
    """Refuse texts that steering cannot change: zero steered tokens would measure nothing.

    Raises:
        DataError: names what is too short.
    """
    if asked and len(unreached([one.probes for one in asked])) == len(asked):
        raise DataError(
            "steering reaches no scored token of the texts: it begins after the first position (without include_first), and each text or "
            "window ends with the token that is predicted there. Take longer texts or windows"
        )


def scope_of(texts: Sequence[TextLike], scope: Scope) -> Scope:
    """The scope, or one that steers these texts alike: plain ones have no prompt, so that every scope steers all of them."""
    if any(isinstance(text, Completion) for text in texts):
        return scope
    return Scope("all", scope.positions == "all" and scope.include_first)


def ask_texts(
    model: Model, texts: Sequence[TextLike], scope: Scope, *, window: int | None = None, stride: int | None = None
) -> list[AskedText]:
    """The probes of each text.

    A plain text is read as it is, and every token but the first is scored. A completion is the reply to its prompt as the chat template
    writes it (``Question: ... Answer: ...`` without one), without the spaces around it, and the tokens that hold a character of it are scored.

    Args:
        scope: which tokens are steered. A plain text counts as generated from its second token on.
        window / stride: see :func:`windows_for`. The first position of each window is steered no more than that of a text.

    Raises:
        DataError: no texts, or one that is no text, too short, or longer than the model allows.
        ModelError: the chat template cannot render a prompt.
        SteerError: a window or stride that cannot be used.
    """
    if not texts:
        raise DataError("perplexity takes a list with at least one text; read_texts(path) reads one from a file")
    cut = windows_for(model.max_positions, model.id, window, stride)
    ids = as_texts(texts).ids
    return [
        _completion(model, text, f"text {own}", scope, cut)
        if isinstance(text, Completion)
        else _plain(model, text, f"text {own}", scope.positions == "all" and scope.include_first, cut)
        for own, text in zip(ids, texts, strict=True)
    ]


def check_scorable(model: Model, texts: Sequence[TextLike], *, window: int | None = None, stride: int | None = None) -> None:
    """Refuse texts that :func:`perplexity` would refuse, without running the model.

    Raises:
        DataError, ModelError, SteerError: see :func:`ask_texts`. TooLongError: a text is longer than the model takes, and no window is given.
    """
    try:
        for asked in ask_texts(model, texts, EVERYWHERE, window=window, stride=stride):
            for probe in asked.probes:
                check_sequence(model, probe.ids, probe.name)
    except TooLongError as error:
        limit = model.max_positions
        raise TooLongError(f"{error}. To score it in windows, write window {limit}") from None


def _plain(model: Model, text: str, name: str, include_first: bool, cut: Windows | None) -> AskedText:
    check_is_text(text, name)
    if cut is None:
        check_texts(model, (text,), name)
    ids = tokenize_text(model.tokenizer, text, name)
    return AskedText(_cut(model, Probe(ids, 0 if include_first else 1, score_from=1, name=name), cut, include_first))


def _completion(model: Model, text: Completion, name: str, scope: Scope, cut: Windows | None) -> AskedText:
    if cut is None:
        check_texts(model, (text.prompt, text.text), name)
    form = model.format
    try:
        prompt = form.prompt(text.prompt)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    tokens = tokenize_answer(model.tokenizer, prompt.turn, prompt.opening, text.text.strip(), form.render is None, name)
    turn_end = max(0, tokens.turn_end - 1) if prompt.is_bare else tokens.turn_end
    start = scope.first_steered(turn_end=turn_end, prompt_end=tokens.first)
    whole = Probe(tokens.ids, start, score_from=tokens.first, name=name)
    return AskedText(_cut(model, whole, cut, scope.include_first), prompt.thinking, prompt.notes, is_completion=True)


def _cut(model: Model, whole: Probe, cut: Windows | None, include_first: bool) -> tuple[Probe, ...]:
    if cut is None or len(whole.ids) <= cut.size:
        return (whole,)
    check_vocabulary(model, whole.ids, whole.name)
    return tuple(
        Probe(
            whole.ids[window.start : window.end],
            max(whole.steer_from - window.start, 0 if include_first else 1),
            score_from=window.scored - window.start,
            name=f"{whole.name} (tokens {window.start} to {window.end})",
        )
        for window in cut.over(len(whole.ids), whole.score_from)
    )


@dataclass(frozen=True)
class Window:
    """Tokens ``start`` to ``end`` of a text; those from ``scored`` on are scored. Places count from the text's start."""

    start: int
    end: int
    scored: int


@dataclass(frozen=True)
class Windows:
    """How long texts are cut.

    Attributes:
        size: tokens of a window, at least 2. stride: by how many tokens the next one begins later, from 1 to ``size - 1``.
    """

    size: int
    stride: int

    def over(self, tokens: int, first: int) -> list[Window]:
        """The windows over a text.

        Args:
            tokens: of the text. first: index of the first scored token, at least 1.
        """
        found, start, scored = [], 0, first
        while scored < tokens:
            end = min(start + self.size, tokens)
            if end > scored:
                found.append(Window(start, end, scored))
                scored = end
            start += self.stride
        return found


def windows_for(longest: int | None, model: str, window: int | None, stride: int | None) -> Windows | None:
    """The windows that a user asks for; None if no text is cut.

    Args:
        longest: the most tokens that the model takes; None if it does not say.
        window: tokens of a window; by default as many as the model takes. stride: by default half a window.

    Raises:
        SteerError: a window or stride that cannot be used.
    """
    if window is None and stride is None:
        return None
    for name, value, least in (("window", window, 2), ("stride", stride, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise SteerError(f"{name} is a number of tokens, at least {least}, not {value!r}")
    size = window if window is not None else longest
    if size is None:
        raise SteerError(
            f"stride {stride}: {model} does not say how many tokens it takes. Give the window too, such as window 1024"
        )
    if longest is not None and size > longest:
        raise SteerError(f"window {size}: {model} takes at most {longest} tokens. Write window {longest}, or less")
    step = stride if stride is not None else size // 2
    if step >= size:
        raise SteerError(
            f"stride {step} is not smaller than the window of {size} tokens, so a window's first token would have nothing before it. "
            f"Write stride {size // 2}"
        )
    return Windows(size, step)
