"""Running the forwards that the properties compare, and remembering them."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import ModelError
from ..model import Model, encode
from ..model.blocks import find_blocks
from ..model.sites import hidden_of
from ..model.structure import structure_of
from ..model.tokens import Ids, tokenize_prompt
from ..steering import SteeredBatch
from .examples import HookExample, Padding
from .state import ModelState
from .target import Target

_REMEMBERED = 32
_AFTERWARDS = " Yes, it is."
# Arguments in which transformers hands on what a model keeps of earlier tokens; the last is RWKV's.
_CACHES = ("cache", "past_key_values", "cache_params", "state")


class NotApplicable(Exception):
    """A property has no meaning here; the text says why."""


class NotFinite(Exception):
    """A forward gave NaN or infinity, so nothing can be compared."""


@dataclass(frozen=True)
class Line:
    """One row. ``turn_end``: its tokens up to the end of the user's turn; ``after``: tokens of a reply."""

    prompt: Ids
    turn_end: int
    after: Ids


@dataclass(eq=False)
class Outcome:
    """What a forward gave.

    Attributes:
        logits: for each row float32 [reply tokens + 1, vocabulary] at its last real positions.
        streams: for each block what it hands on, [rows, tokens, width].
        real: bool [rows, tokens].
        kinds: for each block the type that it returned.
    """

    logits: list[torch.Tensor]
    streams: list[torch.Tensor]
    real: torch.Tensor
    kinds: list[str] = field(default_factory=list)

    def row(self, row: int, layer: int) -> torch.Tensor:
        """A row's real positions behind a block, [tokens, width], float32."""
        return self.streams[layer][row][self.real[row]].float()


@dataclass(eq=False)
class Unsteered:
    """What is known of a model unsteered; several benches of one model can share it.

    Attributes:
        tried: whether it repeats itself, and whether the side of the padding is the same to it.
        chained: for each block whether the next one gets its output as it is.
        outcomes: forwards that were run.
    """

    tried: tuple[bool, bool] | None = None
    chained: list[bool] | None = None
    outcomes: OrderedDict[Any, Any] = field(default_factory=OrderedDict)


class Bench:
    """Runs a target on a model.

    Attributes:
        forwards: forwards that were run.
        state: the model as it was, put back after every steered block.
        left: what the last steered block left behind.
        takes_left: it gives the same with padding on the left as on the right; if not, examples are padded on the right.
        exact: the unsteered model repeats itself to the last bit, so that comparisons can be that strict; else they are as
            strict as those of logits.
    """

    def __init__(self, model: Model, target: Target, unsteered: Unsteered | None = None) -> None:
        self.model, self.target = model, target
        self._known = unsteered if unsteered is not None else Unsteered()
        self.forwards = 0
        self.left: list[str] = []
        self.tensors = [(tensor, tensor.detach().clone()) for tensor in target.tensors]
        kind = next(model.hf.parameters()).dtype
        self.half = torch.finfo(kind).bits < 32
        self.tolerance = 5e-2 if self.half else 1e-4
        self.epsilon = torch.finfo(kind).eps
        self._memo: OrderedDict[Any, Any] = OrderedDict()
        self._lines: dict[tuple[str, bool], Line] = {}
        names = inspect.signature(model.hf.forward).parameters
        self._takes_positions = structure_of(model).told_positions
        self._cache_name = next((name for name in _CACHES if name in names), None)
        if self._known.tried is None:
            self._known.tried = self._try_out()
        self.exact, self.takes_left = self._known.tried
        # Behind the first forwards: some models (RWKV) write to their weights in the first one.
        self.state = ModelState(model, copy_weights=not target.own)

    def _try_out(self) -> tuple[bool, bool]:
        """Whether the unsteered model repeats itself, and whether the side of the padding is the same to it."""
        lines = [self._line("A try.", True), self._line("Another try, and longer.", True)]
        one, two, left = (self.forward(self.batch(lines, side), 1) for side in ("right", "right", "left"))
        same = zip((*one.logits, *one.streams), (*two.logits, *two.streams), strict=True)
        apart = max(float((a - b).abs().max()) for a, b in zip(one.logits, left.logits, strict=True))
        largest = max(float(logits.abs().max()) for logits in one.logits)
        return all(torch.equal(a, b) for a, b in same), apart <= self.tolerance * max(1.0, largest)

    # --- comparing ---

    def same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors are the same to the last bit (see ``exact``)."""
        if self.exact or one.shape != other.shape:
            return torch.equal(one, other)
        room = self.tolerance * one.abs().amax(-1, keepdim=True).clamp(min=1.0) if one.numel() else 0.0
        return bool(((one - other).abs() <= room).all())

    def equal(self, one: Outcome, other: Outcome) -> bool:
        """Whether logits and all streams are the same, at real positions."""
        pairs = [*zip(one.logits, other.logits, strict=True)]
        pairs += [(a[one.real], b[other.real]) for a, b in zip(one.streams, other.streams, strict=True)]
        return all(self.same(a, b) for a, b in pairs)

    # --- batches ---

    def lines(self, example: HookExample) -> tuple[Line, ...]:
        """The rows of an example as tokens."""
        return tuple(self._line(text, example.bare) for text in example.texts)

    def _line(self, text: str, bare: bool) -> Line:
        if (text, bare) not in self._lines:
            self._lines[text, bare] = self._tokenize(text, bare)
        return self._lines[text, bare]

    def _tokenize(self, text: str, bare: bool) -> Line:
        tokenizer, plain = self.model.tokenizer, self.model.format.render is None
        after, _ = encode(tokenizer, _AFTERWARDS, special_tokens=False)
        after = after[: 1 if bare else 3]
        if bare:
            ids, _ = encode(tokenizer, text, special_tokens=True)
            turn_end = max(1, len(ids) - 2)
        else:
            put = self.model.format.prompt(text)
            ids, turn_end = tokenize_prompt(tokenizer, put.turn, put.opening + "(", plain)
            turn_end = min(turn_end, len(ids) - 1)
        room = (self.model.max_positions or 10**9) - len(after)
        cut = max(0, len(ids) - room)
        return Line(ids[cut:], max(1, turn_end - cut), after)

    def batch(self, lines: Sequence[Line], padding: Padding, *, whole: bool = False) -> SteeredBatch:
        """Rows as a padded batch; ``whole`` takes the replies in."""
        rows = [line.prompt + line.after if whole else line.prompt for line in lines]
        ids, mask = self._padded(rows, padding)
        last = self.target.positions == "last"
        return SteeredBatch(
            ids,
            mask,
            tuple(len(line.prompt) if last else line.turn_end for line in lines),
            tuple(self.target.start(line.turn_end, len(line.prompt)) for line in lines),
        )

    def _padded(self, rows: Sequence[Ids], padding: Padding) -> tuple[torch.Tensor, torch.Tensor]:
        length = max(map(len, rows))
        ids, mask = (torch.zeros(len(rows), length, dtype=torch.long) for _ in range(2))
        for number, row in enumerate(rows):
            own = slice(length - len(row), length) if padding == "left" else slice(0, len(row))
            ids[number, own], mask[number, own] = torch.tensor(row), 1
        return ids.to(self.model.device), mask.to(self.model.device)

    # --- forwards ---

    def base(self, lines: Sequence[Line], padding: Padding, *, whole: bool = False) -> Outcome:
        """The unsteered model."""
        return self._remembered(("base", tuple(lines), padding, whole), lines, padding, whole, None)

    def steered(self, lines: Sequence[Line], padding: Padding, multiplier: float, *, whole: bool = False) -> Outcome:
        """The model under the target."""
        return self._remembered(("steered", multiplier, tuple(lines), padding, whole), lines, padding, whole, multiplier)

    def reference(self, lines: Sequence[Line], padding: Padding, multiplier: float, *, whole: bool = False) -> Outcome:
        """The model under plain hooks at the declared positions.

        Raises:
            NotApplicable: it is not declared what is done to the hidden states.
        """
        if self.target.reference is None:
            raise NotApplicable("it is not declared what is done to the hidden states (directions=)")
        key = ("reference", multiplier, tuple(lines), padding, whole)
        if key not in self._memo:
            batch = self.batch(lines, padding, whole=whole)
            with self.target.reference(batch, multiplier):
                _remember(self._memo, key, self.forward(batch, len(lines[0].after) + 1))
        return self._memo[key]  # type: ignore[no-any-return]

    def _remembered(
        self, key: Any, lines: Sequence[Line], padding: Padding, whole: bool, multiplier: float | None
    ) -> Outcome:
        memo = self._known.outcomes if multiplier is None else self._memo
        if key not in memo:
            batch = self.batch(lines, padding, whole=whole)
            with self._unsteered() if multiplier is None else self.entered(batch, multiplier):
                outcome = self.forward(batch, len(lines[0].after) + 1)
            _remember(memo, key, outcome)
        return memo[key]  # type: ignore[no-any-return]

    @contextmanager
    def _unsteered(self) -> Iterator[None]:
        """What the model cannot do unsteered says nothing about steering."""
        try:
            yield
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise NotApplicable(f"the unsteered model raises {type(error).__name__}: {error}") from error

    @contextmanager
    def entered(self, batch: SteeredBatch, multiplier: float) -> Iterator[None]:
        """The target, entered; the model is put back afterwards, whatever the target leaves."""
        try:
            with self.target.enter(batch, multiplier):
                yield
        finally:
            self.left = self.put_back()

    def put_back(self, *, weights: bool = False) -> list[str]:
        """Puts the model and the declared tensors back; says what was different."""
        left = self.state.put_back(weights=weights)
        for tensor, before in self.tensors:
            if not torch.equal(tensor, before):
                left.append("the declared direction is changed in place")
                tensor.copy_(before)
        return left

    @torch.no_grad()
    def forward(self, batch: SteeredBatch, tail: int) -> Outcome:
        """A whole forward, without a cache.

        Raises:
            NotFinite: logits or hidden states are NaN or infinite at a real position.
        """
        blocks = self._blocks()
        outputs: list[torch.Tensor | None] = [None] * len(blocks)
        inputs: list[torch.Tensor | None] = [None] * len(blocks)
        kinds = [""] * len(blocks)

        def after(layer: int) -> Any:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                outputs[layer], kinds[layer] = hidden_of(output).detach().clone(), type(output).__name__

            return hook

        def before(layer: int) -> Any:
            def hook(_module: Any, args: Any, kwargs: Any) -> None:
                hidden = args[0] if args else kwargs.get("hidden_states")
                if isinstance(hidden, torch.Tensor):
                    inputs[layer] = hidden.detach().clone()

            return hook

        handles = []
        try:
            for layer, block in enumerate(blocks):
                # Registered behind those of the target, so that they see what it did.
                handles.append(block.register_forward_hook(after(layer)))
                handles.append(block.register_forward_pre_hook(before(layer), with_kwargs=True))
            logits = self.model.hf(**self._inputs(batch.input_ids, batch.attention_mask), use_cache=False).logits
        finally:
            for handle in handles:
                handle.remove()
        self.forwards += 1
        real = batch.attention_mask.bool()
        streams = self._streams(outputs, inputs)
        rows = [logits[row][real[row]][-tail:].float() for row in range(len(real))]
        if not all(torch.isfinite(row).all() for row in rows):
            raise NotFinite
        return Outcome(rows, streams, real, kinds)

    def _blocks(self) -> Sequence[torch.nn.Module]:
        """The blocks as they are now: a way of steering may stand in for some of them."""
        try:
            return find_blocks(self.model.hf)[1]  # type: ignore[return-value]
        except ModelError:
            return self.model.blocks  # type: ignore[return-value]

    def _streams(self, outputs: list[torch.Tensor | None], inputs: list[torch.Tensor | None]) -> list[torch.Tensor]:
        """What goes on from each block: the next one's input where the model hands it on as it is, else its output."""
        following = [*inputs[1:], None]
        if self._known.chained is None:  # the first forward is an unsteered one
            self._known.chained = [
                after is not None and own is not None and torch.equal(own, after)
                for own, after in zip(outputs, following, strict=True)
            ]
        streams: list[torch.Tensor] = []
        for own, after, chained in zip(outputs, following, self._known.chained, strict=True):
            stream = after if chained else own
            if stream is None and len(streams) in structure_of(self.model).left_out:
                stream = streams[-1] if streams else next(tensor for tensor in inputs if tensor is not None)
            if stream is None:
                raise NotApplicable("the blocks of the model are not run while it is steered")
            streams.append(stream)
        return streams

    def _inputs(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._takes_positions:
            # Absolute positions (GPT-2) count real tokens only, on whichever side the padding is.
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return inputs

    @torch.no_grad()
    def decoded(
        self, lines: Sequence[Line], padding: Padding, multiplier: float | None, *, by_reference: bool = False
    ) -> list[torch.Tensor]:
        """Logits at the last token of each prompt and at each token of its reply, step by step with a cache.

        Args:
            by_reference: under plain hooks, which steer every token of the reply, in the place of the target.

        Raises:
            NotApplicable: the model keeps no cache that can be handed on, or there is no reference.
        """
        key = ("decoded", multiplier, tuple(lines), padding, by_reference)
        memo = self._known.outcomes if multiplier is None else self._memo
        if key in memo:
            return memo[key]  # type: ignore[no-any-return]
        if self._cache_name is None:
            raise NotApplicable("the model takes no cache")
        batch = self.batch(lines, padding)
        mask = batch.attention_mask
        with ExitStack() as stack:
            if multiplier is None:
                stack.enter_context(self._unsteered())
            elif not by_reference:
                stack.enter_context(self.entered(batch, multiplier))
            with self._referred(batch, multiplier, by_reference):
                out = self.model.hf(**self._inputs(batch.input_ids, mask), use_cache=True)
            real = mask.bool()
            steps = [torch.stack([out.logits[row][real[row]][-1] for row in range(len(lines))])]
            for column in range(len(lines[0].after)):
                cache = getattr(out, self._cache_name, None)
                if cache is None:
                    raise NotApplicable("the model keeps no cache")
                token = torch.tensor([[line.after[column]] for line in lines], device=self.model.device)
                mask = torch.cat([mask, torch.ones_like(token)], dim=1)
                reply = SteeredBatch(token, torch.ones_like(token), batch.prompt_lengths, (0,) * len(lines))
                with self._referred(reply, multiplier, by_reference):
                    out = self.model.hf(**self._inputs(token, mask), use_cache=True, **{self._cache_name: cache})
                if out.logits.shape[1] != token.shape[1]:
                    raise NotApplicable(f"the unsteered model goes on with {out.logits.shape[1]} positions from one token")
                steps.append(out.logits[:, -1])
        self.forwards += len(steps)
        rows = list(torch.stack(steps, dim=1).float())
        _remember(memo, key, rows)
        return rows

    def _referred(self, batch: SteeredBatch, multiplier: float | None, wanted: bool) -> AbstractContextManager[Any]:
        """Plain hooks around one forward, if they are wanted."""
        if not wanted or multiplier is None:
            return nullcontext()
        if self.target.reference is None:
            raise NotApplicable("it is not declared what is done to the hidden states (directions=)")
        return self.target.reference(batch, multiplier)


def _remember(memo: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memo[key] = value
    if len(memo) > _REMEMBERED:
        memo.popitem(last=False)
