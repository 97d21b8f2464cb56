"""Putting an intervention on a model, and taking it off again whatever happens."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import SteerError
from ..steering import Intervention, Positions, Rows, SteeringVector, as_intervention, check_positions, first_steered
from .loaded import Model
from .sites import attach
from .tokens import decoded, spans_by_decoding, tokens_before
from .turn_marks import turn_marks

Dose = Callable[[], tuple[torch.Tensor, torch.Tensor]]


@contextmanager
def hooked(
    model: Model,
    intervention: Intervention,
    dose: Dose,
    part: tuple[slice, ...] | None = None,
    rows: Callable[[], Rows | None] = lambda: None,
) -> Iterator[None]:
    """Changes hidden states at the intervention's site while the body runs.

    Args:
        dose: called in each block's hook; gives (strength [rows, positions or 1], steered bool [rows, positions]) of the forward that
            is running.
        part: rows (and positions) that the dose is about; None for all.
        rows: called there too; what an intervention that looks at whole rows knows of those rows.

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

    handles: list[Any] = []
    try:
        for layer in intervention.layers:
            handles += attach(model, layer, intervention.site, change(layer))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def steering(
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
        SteerError: ``after_prompt`` cannot tell where the prompt ends, or no token was steered at all.
    """
    strengths = strengths_of(multiplier)
    change = as_intervention(intervention)
    model.check_fits(change, allow_mismatch)
    scope = _Scope(model, check_positions(positions), include_first, prompt_lengths)

    def outside(module: Any, args: Any, kwargs: Any) -> None:
        scope.mask = kwargs.get("attention_mask")

    def before(module: Any, args: Any, kwargs: Any) -> None:
        scope.see(module, args, kwargs)

    def dose() -> tuple[torch.Tensor, torch.Tensor]:
        rows = scope.steered.shape[0]
        if len(strengths) not in (1, rows):
            raise SteerError(f"{len(strengths)} multipliers for a batch of {rows} rows")
        return torch.tensor(strengths)[:, None].expand(rows, 1), scope.steered

    handles = [
        model.hf.register_forward_pre_hook(outside, with_kwargs=True),
        model.backbone.register_forward_pre_hook(before, with_kwargs=True),
    ]
    model.steering_blocks += 1
    try:
        with hooked(model, change, dose, rows=lambda: scope.rows):
            yield model
    finally:
        model.steering_blocks -= 1
        for handle in handles:
            handle.remove()
    if scope.forwards and not scope.tokens:
        raise SteerError(
            f"no token was steered in {scope.forwards} forward(s): with positions '{positions}' the scope begins behind the "
            "end of the input. Check prompt_lengths, or steer 'all'"
        )


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


class _Scope:
    """Follows the forwards of one ``steering`` block and says which of their positions are steered."""

    def __init__(
        self, model: Model, positions: Positions, include_first: bool, prompt_lengths: int | Sequence[int] | None
    ) -> None:
        self.model, self.positions, self.include_first, self.given = model, positions, include_first, prompt_lengths
        self.steered = torch.zeros(0, 0, dtype=torch.bool)
        self.mask: Any = None
        self.rows = Rows(None)
        self.forwards = self.tokens = 0
        self._prompt = torch.zeros(0, dtype=torch.long)
        self._starts: torch.Tensor | None = None
        self._seen: torch.Tensor | None = None

    def see(self, module: Any, args: Any, kwargs: Any) -> None:
        """Reads the arguments of the forward that is about to run."""
        named = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
        named = {**named, **named.get("kwargs", {})}
        ids: torch.Tensor | None = named.get("input_ids")
        given = ids if ids is not None else named.get("inputs_embeds")
        if given is None:
            raise SteerError("a steered forward needs input_ids or inputs_embeds")
        rows, length = given.shape[:2]
        cache = named.get("cache", named.get("past_key_values"))  # renamed in transformers 5.24
        past = int(cache.get_seq_length()) if cache is not None else 0
        device = given.device
        mask, outer, self.mask = named.get("attention_mask"), self.mask, None
        if mask is None and isinstance(outer, torch.Tensor) and outer.shape == (rows, length):
            mask = outer  # a model that makes no use of the mask (RWKV) does not hand it on; padding is padding all the same
        real = self._real(mask, rows, past + length, device)
        index = real.cumsum(1) - 1
        if past == 0 and not self._goes_on(ids):
            self._starts = self._find_starts(ids, real, index, rows, device)
            self._prompt = real.sum(1)
            self.rows = Rows(None)
        self._seen = ids if past == 0 else None
        if self._starts is None or self._starts.shape[0] != rows:
            raise SteerError("a forward goes on with a cache that was filled outside of this steering block")
        self.steered = (real.bool() & (index >= self._starts[:, None]))[:, past:]
        # What a condition on the prompt may see. In a forward that goes on from a cache the decision stands already.
        self.rows.prompt = real.bool() & (index < self._prompt[:, None]) if past == 0 else None
        self.forwards += 1
        self.tokens += int(self.steered.sum())

    @staticmethod
    def _real(mask: Any, rows: int, total: int, device: torch.device) -> torch.Tensor:
        if mask is None:
            return torch.ones(rows, total, dtype=torch.long, device=device)
        if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
            raise SteerError("steering needs the two-dimensional attention mask [rows, tokens] to tell padding from text")
        if mask.shape[1] < total:
            raise SteerError(f"the attention mask covers {mask.shape[1]} tokens, but cache and input have {total}")
        return (mask[:, :total] != 0).long()

    def _goes_on(self, ids: torch.Tensor | None) -> bool:
        """Whether this input is the last one with tokens added: decoding without a cache."""
        seen = self._seen
        if seen is None or ids is None or seen.shape[0] != ids.shape[0] or seen.shape[1] >= ids.shape[1]:
            return False
        return bool((ids[:, : seen.shape[1]] == seen).all())

    def _find_starts(
        self, ids: torch.Tensor | None, real: torch.Tensor, index: torch.Tensor, rows: int, device: torch.device
    ) -> torch.Tensor:
        counts = [int(count) for count in real.sum(1)]
        ends = self._ends(ids, real, counts)
        prompts = ends if self.positions == "last" else counts
        starts = [
            first_steered(self.positions, turn_end=end, prompt_end=prompt, include_first=self.include_first)
            for end, prompt in zip(ends, prompts, strict=True)
        ]
        return torch.tensor(starts, device=device)

    def _ends(self, ids: torch.Tensor | None, real: torch.Tensor, counts: list[int]) -> list[int]:
        if self.positions == "all":
            return [0] * len(counts)
        if self.given is not None:
            ends = [self.given] * len(counts) if isinstance(self.given, int) else [int(end) for end in self.given]
            if len(ends) != len(counts):
                raise SteerError(f"{len(ends)} prompt_lengths for a batch of {len(counts)} rows")
            for row, (end, count) in enumerate(zip(ends, counts, strict=True)):
                if not 0 < end <= count:
                    raise SteerError(
                        f"prompt_lengths: row {row} has {count} real tokens, and {end} of them should be the prompt's. Pass the "
                        "number of real tokens up to the end of the prompt, padding left out"
                    )
            return ends
        if self.positions == "last":
            return counts
        return [self._turn_end(row, ids, real) for row in range(len(counts))]

    def _turn_end(self, row: int, ids: torch.Tensor | None, real: torch.Tensor) -> int:
        """How many real tokens of the row belong to the last user's turn and what stands before it."""
        if ids is not None and self.model.format.render is not None:
            tokens = ids[row][real[row] != 0].tolist()
            # As text, since a tokenizer merges the ends of a mark with whatever stands beside them.
            text = decoded(self.model.tokenizer, tokens)
            end = turn_marks(self.model).end_in(text)
            if end is not None:
                return tokens_before(spans_by_decoding(self.model.tokenizer, text, tokens), end)
        raise SteerError(
            f"positions 'after_prompt': row {row} does not contain the end of a user's turn as the chat template writes it, so "
            "where the reply begins is not known; pass prompt_lengths= (real tokens up to the end of the user's turn)"
        )
