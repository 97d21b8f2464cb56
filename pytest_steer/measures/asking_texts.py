"""From texts to probes: what is asked of the model about each, and where steering begins.

A text that is longer than the model takes is cut into windows, as in the transformers documentation on the perplexity of fixed-length
models: windows of ``window`` tokens begin every ``stride`` tokens, and each scores the tokens that no earlier one has scored. So all but
the first window's tokens have at least ``window - stride`` tokens before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import DataError, ModelError, SteerError, TooLongError
from ..core.record import Thinking
from ..data import Completion, TextLike
from ..data.texts import as_texts, check_is_text
from ..model import Model, Probe, tokenize_answer, tokenize_text
from ..model.tokens import Ids, check_sequence, check_texts, check_vocabulary
from ..steering import Positions, first_steered


@dataclass(frozen=True)
class AskedText:
    """What is asked of the model about one text.

    Attributes:
        probes: one; of a text in windows one per window, which score each token once.
        thinking: where the reply stands, see ``prompting.chat.PromptText``; None for a plain text, and without a chat template.
        notes: what the chat template made necessary.
        is_completion: whether it has a prompt.
    """

    probes: tuple[Probe, ...]
    thinking: Thinking | None = None
    notes: tuple[str, ...] = ()
    is_completion: bool = False


def unreached(asked: Sequence[Sequence[Probe]]) -> list[int]:
    """Which texts steering cannot change: all that is scored of them is predicted before its first position.

    Args:
        asked: the probes of each text.
    """
    return [index for index, own in enumerate(asked) if all(probe.steer_from > probe.reads[-1] for probe in own)]


def check_reached(asked: Sequence[Sequence[Probe]]) -> None:
    """Refuse texts that steering cannot change: zero steered tokens would measure nothing.

    Raises:
        DataError: names what is too short.
    """
    if asked and len(unreached(asked)) == len(asked):
        raise DataError(
            "steering reaches no scored token of the texts: it begins after the first position (without include_first), and each text or "
            "window ends with the token that is predicted there. Take longer texts or windows"
        )


def scope_of(texts: Sequence[TextLike], positions: Positions, include_first: bool) -> tuple[Positions, bool]:
    """The scope, or one that steers these texts alike: plain ones have no prompt, so that every scope steers all of them."""
    if any(isinstance(text, Completion) for text in texts):
        return positions, include_first
    return "all", positions == "all" and include_first


def ask_texts(
    model: Model,
    texts: Sequence[TextLike],
    positions: Positions,
    include_first: bool,
    *,
    window: int | None = None,
    stride: int | None = None,
) -> list[AskedText]:
    """The probes of each text.

    A plain text is read as it is, and every token but the first is scored. A completion is the reply to its prompt as the chat template
    writes it (``Question: ... Answer: ...`` without one), without the spaces around it, and the tokens that hold a character of it are scored.

    Args:
        positions / include_first: which tokens are steered. A plain text counts as generated from its second token on.
        window / stride: see :func:`windows.windows_for`. The first position of each window is steered no more than that of a text.

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
        _completion(model, text, f"text {own}", positions, include_first, cut)
        if isinstance(text, Completion)
        else _plain(model, text, f"text {own}", positions == "all" and include_first, cut)
        for own, text in zip(ids, texts, strict=True)
    ]


def check_scorable(
    model: Model, texts: Sequence[TextLike], positions: Positions, *, window: int | None = None, stride: int | None = None
) -> None:
    """Refuse texts that :func:`perplexity` would refuse, without running the model.

    Raises:
        DataError, ModelError, SteerError: see :func:`ask_texts`. TooLongError: a text is longer than the model takes, and no window is given.
    """
    try:
        for asked in ask_texts(model, texts, positions, False, window=window, stride=stride):
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


def _completion(
    model: Model, text: Completion, name: str, positions: Positions, include_first: bool, cut: Windows | None
) -> AskedText:
    if cut is None:
        check_texts(model, (text.prompt, text.text), name)
    form = model.format
    try:
        prompt = form.prompt(text.prompt)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    tokens = tokenize_answer(model.tokenizer, prompt.turn, prompt.opening, text.text.strip(), form.render is None, name)
    turn_end = max(0, tokens.turn_end - 1) if prompt.is_bare else tokens.turn_end
    start = first_steered(positions, turn_end=turn_end, prompt_end=tokens.first, include_first=include_first)
    whole = Probe(tokens.ids, start, score_from=tokens.first, name=name)
    return AskedText(_cut(model, whole, cut, include_first), prompt.thinking, prompt.notes, is_completion=True)


def _cut(model: Model, whole: Probe, cut: Windows | None, include_first: bool) -> tuple[Probe, ...]:
    if cut is None or len(whole.ids) <= cut.size:
        return (whole,)
    check_vocabulary(model, whole.ids, whole.name)
    return tuple(_window(whole, window, include_first) for window in cut.over(len(whole.ids), whole.score_from))


def _window(whole: Probe, window: Window, include_first: bool) -> Probe:
    ids: Ids = whole.ids[window.start : window.end]
    steer_from = max(whole.steer_from - window.start, 0 if include_first else 1)
    name = f"{whole.name} (tokens {window.start} to {window.end})"
    return Probe(ids, steer_from, score_from=window.scored - window.start, name=name)


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
            tokens: of the text. first: the first one that is scored, at least 1.
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
        longest: what the model takes at most; None if it does not say.
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
