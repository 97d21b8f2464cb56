"""A bench: runs the forwards that the properties compare, remembers them, and leaves the model as it was."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch.nn.modules import module as torch_module
from torch.nn.utils.rnn import pad_sequence

from ..core.columns import message_of
from ..core.errors import ModelError
from ..model import Model
from ..model.model import find_blocks
from ..model.sites import hidden_of
from ..model.state import GLOBAL_TABLES, HOOK_TABLES, structure_of
from ..model.tokens import Ids
from ..steering import SteeredBatch
from .examples import HookExample, Line, Padding, lines_of
from .target import Target

Way = Literal["unsteered", "steered", "reference"]
"""How a forward runs: without steering, under the target, or under plain hooks at the declared positions."""

_REMEMBERED = 32
# Arguments in which transformers passes on what a model keeps of earlier tokens. The last is RWKV's.
_CACHES = ("cache", "past_key_values", "cache_params", "state")


class NotApplicable(Exception):
    """A property has no meaning here; the text says why."""


class NotFinite(Exception):
    """A forward gave NaN or infinity, so nothing can be compared."""


@dataclass(eq=False)
class Outcome:
    """The result of a forward.

    Attributes:
        logits: for each row float32 [reply tokens + 1, vocabulary] at its last real positions.
        streams: for each block the hidden states that it passes on, [rows, tokens, width].
        real: bool [rows, tokens].
        kinds: for each block the type that it returned.
    """

    logits: list[torch.Tensor]
    streams: list[torch.Tensor]
    real: torch.Tensor
    kinds: list[str]

    def row(self, row: int, layer: int) -> torch.Tensor:
        """The hidden states after a block at a row's real positions, [tokens, width], float32."""
        return self.streams[layer][row][self.real[row]].float()

    def apart(self, other: Outcome) -> float:
        """The largest difference between two outcomes' logits."""
        return max(float((a - b).abs().max()) for a, b in zip(self.logits, other.logits, strict=True))


@dataclass(eq=False)
class Unsteered:
    """What is known about the unsteered model. Benches of one model can share it.

    Attributes:
        tried: whether it repeats itself, and whether it gives the same with padding on either side.
        chained: for each block whether the next one gets its output as it is.
        outcomes: results of forwards.
    """

    tried: tuple[bool, bool] | None = None
    chained: list[bool] | None = None
    outcomes: OrderedDict[Any, Any] = field(default_factory=OrderedDict)


class Bench:
    """Runs a target on a model.

    Attributes:
        forwards: the number of forwards so far.
        state: the model as it was; it is restored after every steered block.
        left: what the last steered block left on the model.
        takes_left: the model gives the same with padding on the left as on the right. If not, examples are padded on the right.
        exact: the unsteered model repeats itself to the last bit, so comparisons can be that strict. Otherwise they use the
            tolerance of logits.
    """

    def __init__(self, model: Model, target: Target, known: Unsteered) -> None:
        self.model, self.target, self._known = model, target, known
        self.forwards = 0
        self.left: list[str] = []
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in target.tensors]
        precision = torch.finfo(next(model.hf.parameters()).dtype)
        self.tolerance = 5e-2 if precision.bits < 32 else 1e-4
        self.epsilon = precision.eps
        self._memo: OrderedDict[Any, Any] = OrderedDict()
        self._lines: dict[HookExample, tuple[Line, ...]] = {}
        names = inspect.signature(model.hf.forward).parameters
        self._cache_name = next((name for name in _CACHES if name in names), None)
        if known.tried is None:
            known.tried = self._try_out()
        self.exact, self.takes_left = known.tried
        # After the first forwards: some models (RWKV) write to their weights in the first one.
        self.state = ModelState(model, copy_weights=not target.own)

    def _try_out(self) -> tuple[bool, bool]:
        lines = self.lines(HookExample(("A try.", "Another try, and longer."), 0.0, bare=True))
        one, two, left = (self.forward(self.batch(lines, side), 1) for side in ("right", "right", "left"))
        same = zip((*one.logits, *one.streams), (*two.logits, *two.streams), strict=True)
        largest = max(float(logits.abs().max()) for logits in one.logits)
        return all(torch.equal(a, b) for a, b in same), one.apart(left) <= self.tolerance * max(1.0, largest)

    # --- comparing ---

    def same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors are equal to the last bit (or within the tolerance, see ``exact``)."""
        if self.exact or one.shape != other.shape:
            return torch.equal(one, other)
        room = self.tolerance * one.abs().amax(-1, keepdim=True).clamp(min=1.0) if one.numel() else 0.0
        return bool(((one - other).abs() <= room).all())

    def equal(self, one: Outcome, other: Outcome) -> bool:
        """Whether logits and all streams are the same at real positions."""
        pairs = [*zip(one.logits, other.logits, strict=True)]
        pairs += [(a[one.real], b[other.real]) for a, b in zip(one.streams, other.streams, strict=True)]
        return all(self.same(a, b) for a, b in pairs)

    def off(self, wanted: torch.Tensor, found: torch.Tensor) -> str | None:
        """How far apart two tensors are, if that exceeds the tolerance anywhere; None if they agree.

        The tolerance at a position is relative to the largest value there, or to 1 if that is larger.
        """
        apart, room = (wanted - found).abs().amax(-1), self.tolerance * wanted.abs().amax(-1).clamp(min=1.0)
        if (apart <= room).all():
            return None
        worst = int((apart / room).argmax())
        return f"off by {float(apart.reshape(-1)[worst]):.3g} (tolerance {float(room.reshape(-1)[worst]):.2g})"

    # --- batches ---

    def lines(self, example: HookExample) -> tuple[Line, ...]:
        """The rows of an example as tokens."""
        if example not in self._lines:
            self._lines[example] = lines_of(self.model, example)
        return self._lines[example]

    def batch(self, lines: Sequence[Line], padding: Padding, *, whole: bool = False) -> SteeredBatch:
        """Rows as a padded batch; ``whole`` includes the replies."""
        rows = [line.prompt + line.after if whole else line.prompt for line in lines]
        last = self.target.subject.positions == "last"
        return SteeredBatch(
            self._padded(rows, padding),
            self._padded([(1,) * len(row) for row in rows], padding),
            tuple(len(line.prompt) if last else line.turn_end for line in lines),
            tuple(map(self.target.start, lines)),
        )

    def _padded(self, rows: Sequence[Ids], padding: Padding) -> torch.Tensor:
        tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
        return pad_sequence(tensors, batch_first=True, padding_side=padding).to(self.model.device)

    # --- forwards ---

    def run(
        self, way: Way, lines: Sequence[Line], padding: Padding, multiplier: float = 0.0, *, whole: bool = False
    ) -> Outcome:
        """A forward over a batch of these rows, remembered.

        Raises:
            NotApplicable: the unsteered model cannot do it, or there is no reference.
            NotFinite: logits are NaN or infinite at a real position.
        """
        key = (way, multiplier, tuple(lines), padding, whole)
        memo = self._memo_of(way)
        if key not in memo:
            batch = self.batch(lines, padding, whole=whole)
            with self.under(way, batch, multiplier):
                outcome = self.forward(batch, len(lines[0].after) + 1)
            _remember(memo, key, outcome)
        return memo[key]  # type: ignore[no-any-return]

    def _memo_of(self, way: Way) -> OrderedDict[Any, Any]:
        return self._known.outcomes if way == "unsteered" else self._memo

    def under(self, way: Way, batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        """The context manager in which forwards run in a way.

        Raises:
            NotApplicable: there is no reference.
        """
        if way == "unsteered":
            return _unsteered()
        if way == "steered":
            return self.entered(batch, multiplier)
        if self.target.reference is None:
            raise NotApplicable("it is not declared what is done to the hidden states (directions=)")
        return self.target.reference(batch, multiplier)

    @contextmanager
    def entered(self, batch: SteeredBatch, multiplier: float) -> Iterator[None]:
        """Enter the target, and restore the model afterwards, whatever the target leaves on it."""
        try:
            with self.target.enter(batch, multiplier):
                yield
        finally:
            self.left = self.put_back()

    def put_back(self, *, weights: bool = False) -> list[str]:
        """Restore the model and the declared tensors, and return what was different."""
        left = self.state.put_back(weights=weights)
        for tensor, before in self._tensors:
            if not torch.equal(tensor, before):
                left.append("the declared direction is changed in place")
                tensor.copy_(before)
        return left

    @torch.no_grad()
    def forward(self, batch: SteeredBatch, tail: int) -> Outcome:
        """A whole forward, without a cache, in whatever is entered.

        Raises:
            NotFinite: logits are NaN or infinite at a real position.
        """
        blocks = self._blocks()
        outputs: list[torch.Tensor | None] = [None] * len(blocks)
        inputs: list[torch.Tensor | None] = [None] * len(blocks)
        kinds = [""] * len(blocks)

        def after(layer: int, _module: Any, _inputs: Any, output: Any) -> None:
            outputs[layer], kinds[layer] = hidden_of(output).detach().clone(), type(output).__name__

        def before(layer: int, _module: Any, args: Any, kwargs: Any) -> None:
            hidden = args[0] if args else kwargs.get("hidden_states")
            if isinstance(hidden, torch.Tensor):
                inputs[layer] = hidden.detach().clone()

        with ExitStack() as hooks:
            for layer, block in enumerate(blocks):
                # Registered after those of the target, so that they see what it did.
                hooks.enter_context(block.register_forward_hook(partial(after, layer)))
                hooks.enter_context(block.register_forward_pre_hook(partial(before, layer), with_kwargs=True))
            logits = self.model.hf(**self._inputs(batch.input_ids, batch.attention_mask), use_cache=False).logits
        self.forwards += 1
        real = batch.attention_mask.bool()
        streams = self._streams(outputs, inputs)
        rows = [logits[row][real[row]][-tail:].float() for row in range(len(real))]
        if not all(torch.isfinite(row).all() for row in rows):
            raise NotFinite
        return Outcome(rows, streams, real, kinds)

    def _blocks(self) -> Sequence[torch.nn.Module]:
        """The blocks as they are now: a target may replace some of them."""
        try:
            return find_blocks(self.model.hf)[1]  # type: ignore[return-value]
        except ModelError:
            return self.model.blocks  # type: ignore[return-value]

    def _streams(self, outputs: list[torch.Tensor | None], inputs: list[torch.Tensor | None]) -> list[torch.Tensor]:
        """What each block passes on: the next one's input if the model hands the output on as it is, else the output."""
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

    def _inputs(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        inputs = {"input_ids": ids, "attention_mask": mask}
        if structure_of(self.model).told_positions:
            # Absolute positions (GPT-2) count real tokens only, on whichever side the padding is.
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return inputs

    @torch.no_grad()
    def decoded(self, way: Way, lines: Sequence[Line], padding: Padding, multiplier: float = 0.0) -> list[torch.Tensor]:
        """Logits at the last token of each prompt and at each token of its reply, step by step with a cache, remembered.

        Raises:
            NotApplicable: the model keeps no cache that can be passed on, or there is no reference.
        """
        key = ("decoded", way, multiplier, tuple(lines), padding)
        memo = self._memo_of(way)
        if key in memo:
            return memo[key]  # type: ignore[no-any-return]
        if self._cache_name is None:
            raise NotApplicable("the model takes no cache")
        batch = self.batch(lines, padding)
        mask = batch.attention_mask
        # Plain hooks know one forward's positions, so they are put on for each. They steer every token of the reply.
        by_step = way == "reference"

        def step(batch: SteeredBatch, mask: torch.Tensor, **cached: Any) -> Any:
            with self.under(way, batch, multiplier) if by_step else nullcontext():
                return self.model.hf(**self._inputs(batch.input_ids, mask), use_cache=True, **cached)

        with nullcontext() if by_step else self.under(way, batch, multiplier):
            out = step(batch, mask)
            real = mask.bool()
            steps = [torch.stack([out.logits[row][real[row]][-1] for row in range(len(lines))])]
            for column in range(len(lines[0].after)):
                cache = getattr(out, self._cache_name, None)
                if cache is None:
                    raise NotApplicable("the model keeps no cache")
                token = torch.tensor([[line.after[column]] for line in lines], device=self.model.device)
                mask = torch.cat([mask, torch.ones_like(token)], dim=1)
                reply = SteeredBatch(token, torch.ones_like(token), batch.prompt_lengths, (0,) * len(lines))
                out = step(reply, mask, **{self._cache_name: cache})
                if out.logits.shape[1] != token.shape[1]:
                    raise NotApplicable(f"the unsteered model continues one token with {out.logits.shape[1]} positions")
                steps.append(out.logits[:, -1])
        self.forwards += len(steps)
        rows = list(torch.stack(steps, dim=1).float())
        _remember(memo, key, rows)
        return rows


@contextmanager
def _unsteered() -> Iterator[None]:
    """Run the unsteered model. A failure of it makes the property not applicable."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise NotApplicable(f"the unsteered model raises {message_of(error)}") from error


def _remember(memo: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memo[key] = value
    if len(memo) > _REMEMBERED:
        memo.popitem(last=False)


# Tables that say how each hook is called.
_BESIDE = (
    "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs", "_non_full_backward_hooks",
)  # fmt: skip
# Weights up to this size are copied, so that changed values can be put back.
_MOST_COPIED = 2**30


class ModelState:
    """A record of a model's modules, hooks and weights.

    Args:
        copy_weights: keep a copy of all weights, if they take at most 1 GiB, so that values can be restored too.
    """

    def __init__(self, model: Model, *, copy_weights: bool) -> None:
        self._model = model
        modules = [(name or "the model", module) for name, module in model.hf.named_modules()]
        self._modules = [(where, one, one.__dict__.get("forward"), one.training) for where, one in modules]
        kinds = (*HOOK_TABLES, *_BESIDE, "_modules", "_parameters")
        places: list[tuple[str, Any, str]] = [(where, one, kind) for where, one in modules for kind in kinds]
        places += [("every module of torch", torch_module, kind) for kind in GLOBAL_TABLES]
        tables = [(where, kind, getattr(owner, kind, None)) for where, owner, kind in places]
        self._tables = [(where, kind, table, dict(table)) for where, kind, table in tables if table is not None]
        self._weights = model.weights_state()
        weights = dict(model.hf.named_parameters())
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        self._versions = self._written()
        copy_weights &= size <= _MOST_COPIED
        self._copies = {name: weight.detach().clone() for name, weight in weights.items()} if copy_weights else None

    def put_back(self, *, weights: bool = False) -> list[str]:
        """Restore everything, and return what was different.

        Args:
            weights: check the values of the weights too, by reading a part of each.
        """
        found: list[str] = []
        for where, kind, table, before in self._tables:
            if table.keys() == before.keys() and all(table[key] is before[key] for key in before):
                continue
            if kind not in _BESIDE:
                found.append(_difference(where, kind, table, before))
            table.clear()
            table.update(before)
        for where, module, forward, training in self._modules:
            if module.__dict__.get("forward") is not forward:
                found.append(f"{where}: its forward is replaced")
                module.__dict__.pop("forward", None)
                if forward is not None:
                    module.__dict__["forward"] = forward
            if module.training != training:
                found.append(f"{where}: is in {'training' if module.training else 'evaluation'} mode")
                module.training = training
        written = self._copies is not None and self._written() != self._versions
        if written or (weights and self._model.weights_state() != self._weights):
            found.append(self._weights_put_back())
            self._versions = self._written()
        return found

    def _written(self) -> int:
        """How often weights were written to, as torch counts it. Cheap, but it misses writes through ``.data``."""
        return sum(0 if weight.is_inference() else weight._version for weight in self._model.hf.parameters())

    @torch.no_grad()
    def _weights_put_back(self) -> str:
        if self._copies is None:
            self._weights = self._model.weights_state()
            return "weights are changed (and cannot be put back: load the model again)"
        changed = []
        for name, weight in self._model.hf.named_parameters():
            if not torch.equal(weight, self._copies[name]):
                weight.copy_(self._copies[name])
                changed.append(name)
        self._weights = self._model.weights_state()
        return f"weights are changed: {', '.join(changed[:3])}" if changed else "weights were written to"


def _difference(where: str, kind: str, now: dict[Any, Any], before: dict[Any, Any]) -> str:
    if kind in ("_modules", "_parameters"):
        things = {"_modules": "submodules", "_parameters": "parameters"}[kind]
        return f"{where}: {things} are replaced or added ({', '.join(k for k in now if now[k] is not before.get(k))})"
    added, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    words = [f"{count} hook(s) {what}" for count, what in ((added, "left"), (gone, "of others removed")) if count]
    return f"{where}: {', '.join(words) or 'hooks are replaced'}"
