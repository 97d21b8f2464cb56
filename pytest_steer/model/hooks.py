"""Put an intervention on a model, and take it off again whatever happens."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..core.errors import SteerError
from ..prompting.chat import PromptText, common_prefix
from ..steering import (
    Applied,
    Intervention,
    Positions,
    Rows,
    SteeredBatch,
    SteeringVector,
    as_intervention,
    check_positions,
    first_steered,
)
from .arguments import checks_arguments
from .model import Inputs, Model
from .sites import attached, check_fits
from .state import check_state, structure_of, watched
from .tokens import decoded, encode, spans_by_decoding, tokens_before

# Settings of generate whose first forward holds a part of the prompt, or more than it.
_OTHER_PREFILLS = ("prefill_chunk_size", "prompt_lookup_num_tokens", "assistant_model")

Dose = Callable[[], tuple[torch.Tensor, torch.Tensor]]


@contextmanager
def hooked(
    model: Model,
    intervention: Intervention,
    dose: Dose,
    part: tuple[slice, ...] | None = None,
    rows: Callable[[], Rows | None] = lambda: None,
) -> Iterator[None]:
    """Change hidden states at the intervention's site while the body runs.

    Args:
        dose: called in each block's hook; gives (strength [rows, positions or 1], steered bool [rows, positions]) of the forward that
            is running.
        part: the rows (and positions) that the dose covers; None for all.
        rows: called in each block's hook; gives what an intervention that looks at whole rows may know.

    Raises:
        ModelError: a block has no such site as far as can be told.
    """

    def change(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def changed(hidden: torch.Tensor) -> torch.Tensor:
            strength, steered = (value.to(hidden.device) for value in dose())
            whole = hidden
            if hidden.ndim == 2:  # some blocks (OPT) flatten rows and positions within; a part has all of one of the two
                by_rows = part is not None and len(part) > 1
                shape = (steered.shape[0], -1) if by_rows else (-1, steered.shape[1])
                whole = hidden.reshape(*shape, hidden.shape[-1])
            own = whole if part is None else whole[part]
            new = intervention.apply(own, strength, steered, layer, rows())
            if part is not None:
                whole = whole.clone()
                whole[part] = new
                new = whole
            return new.reshape(hidden.shape)

        return changed

    with attached(model, intervention.layers, intervention.site, change):
        yield


def entered(
    applied: Applied, ids: torch.Tensor, mask: torch.Tensor, steer_from: int, multiplier: float
) -> AbstractContextManager[Any]:
    """A user's context manager around forwards of one batch whose rows all begin to be steered at one token."""
    # Where the prompt's mark has to be for the scope to begin there, see ``first_steered``.
    mark = steer_from + 1 if applied.positions == "last" else steer_from
    rows = len(ids)
    return applied.enter(SteeredBatch(ids, mask, (mark,) * rows, (steer_from,) * rows), multiplier)


@checks_arguments
@contextmanager
def steered(
    model: Model,
    intervention: SteeringVector | Intervention,
    multiplier: float | Sequence[float] = 1.0,
    *,
    positions: Positions = "all",
    include_first: bool = False,
    prompt_lengths: int | Sequence[int] | None = None,
    allow_mismatch: tuple[str, ...] = (),
) -> Iterator[Model]:
    """Steers every forward of the model in the body: ``model.hf(...)``, ``model.hf.generate(...)``.

    Padding on either side, cached decoding and whole forwards are understood through the attention mask and the
    cache that the forward gets. All hooks are gone afterwards, also when the body raises.

    Args:
        multiplier: strength, one for all rows of a batch or one per row.
        positions: ``all`` (every real token), ``after_prompt`` (from the first token after the user's turn) or ``last``
            (from the last token of the input, and every generated one).
        include_first: steer each row's first real token too (an attention sink; left out by default).
        prompt_lengths: real tokens before the first that is steered (``after_prompt``), or of the whole prompt
            (``last``); one for all rows or one per row. Without it, ``after_prompt`` looks for the opening of the
            reply that the chat template writes, and ``last`` takes the first forward's input as the prompt.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        VectorError: the intervention does not fit the model.
        ModelError: the model's blocks cannot be steered, or something changes what it computes (``state.py``). Hooks that the body
            registers are not checked.
        SteerError: ``after_prompt`` cannot tell where the prompt ends, or no token was steered at all.
    """
    strengths = strengths_of(multiplier)
    change = as_intervention(intervention)
    check_state(model)
    check_fits(model, change, allow_mismatch)
    structure_of(model)  # runs a forward, so before any hook is on
    scope = _Scope(model, check_positions(positions), include_first, prompt_lengths)

    def dose() -> tuple[torch.Tensor, torch.Tensor]:
        rows = scope.steered.shape[0]
        if len(strengths) not in (1, rows):
            raise SteerError(f"{len(strengths)} multipliers for a batch of {rows} rows")
        return torch.tensor(strengths)[:, None].expand(rows, 1), scope.steered

    model.steering_blocks += 1
    try:
        with (
            _restarting_at_generate(model.hf, scope),
            model.hf.register_forward_pre_hook(scope.see_outside, with_kwargs=True),
            model.backbone.register_forward_pre_hook(scope.see, with_kwargs=True),
            watched(model),
            hooked(model, change, dose, rows=lambda: scope.rows),
        ):
            yield model
    finally:
        model.steering_blocks -= 1
    if scope.forwards and not scope.tokens:
        raise SteerError(
            f"no token was steered in {scope.forwards} forward(s): with positions '{positions}' the scope begins after the "
            "end of the input. Check prompt_lengths, or steer 'all'"
        )


@contextmanager
def _restarting_at_generate(hf: Any, scope: _Scope) -> Iterator[None]:
    """Make a scope start again at each call of the model's ``generate``."""
    own, before = getattr(hf, "generate", None), vars(hf).get("generate")
    if own is None:
        yield
        return

    @functools.wraps(own)
    def generate(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("generation_config") or (args[1] if len(args) > 1 else None)
        config = given or getattr(hf, "generation_config", None)
        scope.begin_again({name: kwargs.get(name, getattr(config, name, None)) for name in _OTHER_PREFILLS})
        try:
            return own(*args, **kwargs)
        finally:
            scope.begin_again({})

    hf.generate = generate
    try:
        yield
    finally:
        if before is not None:
            hf.generate = before
        else:
            vars(hf).pop("generate", None)


def strengths_of(multiplier: float | Sequence[float]) -> list[float]:
    """The multiplier of each row, or the one of all rows.

    Raises:
        SteerError: not numbers, or not finite.
    """
    try:
        try:
            strengths = [float(m) for m in multiplier]  # type: ignore[union-attr]
        except TypeError:
            strengths = [float(multiplier)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise SteerError(f"a multiplier is a number, or one number per row; not {multiplier!r}") from None
    if not strengths or not all(math.isfinite(m) for m in strengths):
        raise SteerError(f"a multiplier has to be a finite number, not {multiplier!r}")
    return strengths


# Arguments in which transformers hands on what a model keeps of earlier tokens.
_STATES = ("cache", "past_key_values", "cache_params", "state")
_FILLED_OUTSIDE = "a forward goes on with a cache that was filled outside of this steering block"


def _named(module: Any, args: Any, kwargs: Any) -> Inputs:
    named = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    return {**named, **named.get("kwargs", {})}


def _is_matrix(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 2


def _length_of(state: Any) -> int | None:
    """How many positions a cache says it holds; None if it keeps none or cannot say."""
    try:
        return int(state.get_seq_length())
    except (AttributeError, ValueError, LookupError, NotImplementedError):
        return None


def _is_filled(state: Any) -> bool:
    """Whether a state without a length comes from an earlier forward."""
    try:
        return bool(state.has_previous_state())
    except (AttributeError, ValueError, LookupError, TypeError):
        if _length_of(state) is None:
            return True
    # MiniMax keeps its states in a list next to the layers.
    lists = (value for value in vars(state).values() if isinstance(value, list))
    return any(isinstance(held, torch.Tensor) for own in lists for held in own)


class _Scope:
    """Follows the forwards of one ``steered`` block and finds the positions to steer."""

    def __init__(
        self, model: Model, positions: Positions, include_first: bool, prompt_lengths: int | Sequence[int] | None
    ) -> None:
        self.model, self.positions, self.include_first, self.given = model, positions, include_first, prompt_lengths
        self.steered = torch.zeros(0, 0, dtype=torch.bool)
        self.outer: Inputs = {}
        self.rows = Rows(None)
        self.forwards = self.tokens = 0
        self._prompt = torch.zeros(0, dtype=torch.long)
        self._starts: torch.Tensor | None = None
        self._seen: torch.Tensor | None = None
        # Which positions are real tokens, of all that the blocks have seen since the prompt began.
        self._real_so_far: torch.Tensor | None = None

    def see_outside(self, module: Any, args: Any, kwargs: Any) -> None:
        self.outer = _named(module, args, kwargs)

    def see(self, module: Any, args: Any, kwargs: Any) -> None:
        """Read the arguments of the forward that is about to run."""
        named, outer, self.outer = _named(module, args, kwargs), self.outer, {}
        ids: torch.Tensor | None = named.get("input_ids")
        given = ids if ids is not None else named.get("inputs_embeds")
        if given is None:
            raise SteerError("a steered forward needs input_ids or inputs_embeds")
        rows, length = given.shape[:2]
        if ids is None and _is_matrix(outer.get("input_ids")) and outer["input_ids"].shape == (rows, length):
            ids = outer["input_ids"]  # a model within another one is handed embeddings
        mask = named.get("attention_mask")
        if not _is_matrix(mask) and outer:
            # A model that does not use the mask (RWKV) does not hand it on, and one within another one (Gemma 3) is handed finished
            # masks. The mask that the outer model was given shows what is padding.
            mask = outer.get("attention_mask")
        past = self._past(named, mask, rows, length)
        real = self._real(mask, rows, past, length, given.device)
        index = real.cumsum(1) - 1
        if past == 0 and not self._goes_on(given):
            self._starts = torch.tensor(self._find_starts(ids, real), device=given.device)
            self._prompt = real.sum(1)
            self.rows = Rows(None)
        self._seen = given if past == 0 else None
        self._real_so_far = real
        if self._starts is None or self._starts.shape[0] != rows:
            raise SteerError(_FILLED_OUTSIDE)
        self.steered = (real.bool() & (index >= self._starts[:, None]))[:, past:]
        # What a condition on the prompt may see. In a forward that goes on from a cache it has been decided already.
        self.rows.prompt = real.bool() & (index < self._prompt[:, None]) if past == 0 else None
        self.forwards += 1
        self.tokens += int(self.steered.sum())

    def _past(self, named: Inputs, mask: Any, rows: int, length: int) -> int:
        """How many positions went before those of the forward that is about to run.

        Only caches with attention layers know it. For a state without a length (RWKV, Mamba, MiniMax), the positions that the
        blocks have seen since the prompt began are counted.
        """
        state = next((named[name] for name in _STATES if named.get(name) is not None), None)
        if state is None:
            return 0
        so_far = self._real_so_far
        counted = so_far.shape[1] if so_far is not None and so_far.shape[0] == rows else 0
        known = _length_of(state)
        if known:
            if known > counted:
                raise SteerError(_FILLED_OUTSIDE)
            return known
        if counted and _is_matrix(mask) and mask.shape[1] == counted + length:
            return counted
        if not _is_filled(state):
            return 0
        if not counted:
            raise SteerError(_FILLED_OUTSIDE)
        return counted

    def _real(self, mask: Any, rows: int, past: int, length: int, device: torch.device) -> torch.Tensor:
        """[rows, past + length], 1 for a real token and 0 for padding."""
        before = self._real_so_far[:, :past] if past and self._real_so_far is not None else None
        if mask is None:
            own = torch.ones(rows, length, dtype=torch.long, device=device)
            return own if before is None else torch.cat([before, own], dim=1)
        if not _is_matrix(mask):
            raise SteerError(
                "steering needs the two-dimensional attention mask [rows, tokens] to tell padding from text. A static cache hands on "
                "another one: generate with the default cache"
            )
        real: torch.Tensor = (mask != 0).long()
        if before is not None and real.shape == (rows, length):
            return torch.cat([before, real], dim=1)
        if real.shape[1] < past + length:
            raise SteerError(f"the attention mask covers {real.shape[1]} tokens, but cache and input have {past + length}")
        return real[:, : past + length]

    def _goes_on(self, given: torch.Tensor) -> bool:
        """Whether this input is the last one with one more token: decoding without a cache. With more, it is a new prompt."""
        seen = self._seen
        if seen is None or seen.ndim != given.ndim or seen.shape[0] != given.shape[0] or seen.shape[1] + 1 != given.shape[1]:
            return False
        return bool((given[:, : seen.shape[1]] == seen).all())

    def begin_again(self, settings: Mapping[str, object]) -> None:
        """Forget the last prompt: a call of ``generate`` brings another one.

        Args:
            settings: those of the call that are in ``_OTHER_PREFILLS``.

        Raises:
            SteerError: with one of them, the first forward does not hold the prompt alone.
        """
        if self.positions == "all":
            return  # steers wherever a prompt ends, also where generation goes on with a kept cache
        self._seen = self._starts = self._real_so_far = None
        asked = [name for name, value in settings.items() if value]
        if asked:
            raise SteerError(
                f"{self.model.id}: generate with {asked[0]} does not give the model the prompt in one piece, so positions "
                f"'{self.positions}' cannot be found. Generate without {asked[0]}, or steer 'all'"
            )

    def _find_starts(self, ids: torch.Tensor | None, real: torch.Tensor) -> list[int]:
        """For each row the index of the first steered token, among its real ones."""
        counts = [int(count) for count in real.sum(1)]
        if self.positions == "all":
            ends = [0] * len(counts)
        elif self.given is not None:
            ends = self._given_ends(self.given, counts)
        elif self.positions == "last":
            ends = counts
        else:
            ends = [self._turn_end(row, ids, real) for row in range(len(counts))]
        prompts = ends if self.positions == "last" else counts
        return [
            first_steered(self.positions, turn_end=end, prompt_end=prompt, include_first=self.include_first)
            for end, prompt in zip(ends, prompts, strict=True)
        ]

    def _given_ends(self, given: int | Sequence[int], counts: list[int]) -> list[int]:
        """The ``prompt_lengths`` of each row."""
        ends = [given] * len(counts) if isinstance(given, int) else [int(end) for end in given]
        if len(ends) != len(counts):
            raise SteerError(f"{len(ends)} prompt_lengths for a batch of {len(counts)} rows")
        for row, (end, count) in enumerate(zip(ends, counts, strict=True)):
            if not 0 < end <= count:
                raise SteerError(
                    f"prompt_lengths: row {row} has {count} real tokens, and {end} of them should be the prompt's. Pass the "
                    "number of real tokens up to the end of the prompt, padding left out"
                )
        return ends

    def _turn_end(self, row: int, ids: torch.Tensor | None, real: torch.Tensor) -> int:
        """How many real tokens of the row come before the end of the last user's turn."""
        if ids is not None and self.model.format.render is not None:
            tokens = ids[row][real[row] != 0].tolist()
            # As text, since a tokenizer merges the ends of a mark with its neighbours.
            text = decoded(self.model.tokenizer, tokens)
            marks = turn_marks(self.model)
            end = marks.end_in(text)
            if end is not None:
                return tokens_before(spans_by_decoding(self.model.tokenizer, text, tokens), end) - marks.bare
        raise SteerError(
            f"positions 'after_prompt': row {row} does not contain the end of a user's turn as the chat template writes it, so "
            "where the reply begins is not known; pass prompt_lengths= (real tokens up to the end of the user's turn)"
        )


@dataclass(frozen=True)
class TurnMarks:
    """The template's text around the end of a user's turn, as the tokenizer decodes it.

    Attributes:
        openings: between the turn and a reply.
        parts: the same without white space at their ends, and what they have in common; less certain.
        closing: between the question and the end of the turn.
        closing_tells: whether that is only written before a reply.
        bare: whether the template writes nothing between the turn and a reply, which then follows the turn's last token.
    """

    openings: tuple[str, ...]
    parts: tuple[str, ...]
    closing: str
    closing_tells: bool
    bare: bool

    def end_in(self, text: str) -> int | None:
        """Where in a text the last user's turn ends; None if it has no mark."""
        closing = text.rfind(self.closing) if self.closing.strip() else -1
        closed = closing + len(self.closing) if closing >= 0 else -1
        # Earlier replies can have another opening than the last one, so the last place of any of them counts.
        found = max([text.rfind(mark) for mark in self.openings], default=-1)
        if self.closing_tells:
            found = max(found, closed)
        if found < 0:
            found = max([text.rfind(mark) for mark in self.parts], default=-1)
        end = found if found >= 0 else closed
        return end if end >= 0 else None


def turn_marks(model: Model) -> TurnMarks:
    """The marks of a model's chat template, read off a conversation of one question."""
    question = "zq"
    prompts = [model.format.prompt(question, thinking_open=thinking) for thinking in (False, True)]
    closing, *openings = [_as_decoded(model, prompts[0])[0], *(_as_decoded(model, prompt)[1] for prompt in prompts)]
    common = openings[0][: common_prefix(*openings)] if prompts[0].turn == prompts[1].turn else ""
    closing = closing[closing.rfind(question) + len(question) :]
    return TurnMarks(
        _telling(openings),
        _telling([*(opening.rstrip() for opening in openings), common.rstrip()]),
        closing,
        closing_tells=not openings[1].strip(),
        bare=all(prompt.is_bare for prompt in prompts),
    )


def _telling(marks: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark for mark in marks if mark.strip()))


def _as_decoded(model: Model, prompt: PromptText) -> tuple[str, str]:
    """The user's turn and the prefill of the reply as the tokenizer decodes them: some put spaces next to special tokens."""
    ids, spans = encode(model.tokenizer, prompt.text, special_tokens=False)
    count = tokens_before(spans, prompt.turn_end)
    if count and spans[count - 1][1] > prompt.turn_end:  # one token holds both ends
        return prompt.turn, prompt.opening
    turn = decoded(model.tokenizer, ids[:count])
    return turn, decoded(model.tokenizer, ids)[len(turn) :]
