"""Interventions: a change of hidden states that depends on a strength, and the tokens that it changes.

A steering vector that is added is one. Every scope is a suffix of the sequence: it has a first steered position, and all real tokens from
there on are steered, the generated ones included. So a scope is one number per sequence, and what comes before it is the same for every
multiplier.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch

from ..core.columns import message_of
from ..core.errors import SteerError, VectorError
from ..core.record import Positions as Positions
from .directions import check_layers
from .recipe import Recipe, operation
from .vector import SteeringVector


def check_positions(positions: str) -> Positions:
    """The scope itself, if it is one.

    Raises:
        SteerError: it is not.
    """
    if positions not in get_args(Positions):
        raise SteerError(f"positions is one of {', '.join(get_args(Positions))}; not {positions!r}")
    return positions  # type: ignore[return-value]


def first_steered(positions: Positions, *, turn_end: int, prompt_end: int, include_first: bool = False) -> int:
    """Index of the first steered token, counted over the real tokens of one sequence.

    Every scope includes the position that predicts the first token after the prompt, which is ``prompt_end - 1``.

    Args:
        turn_end: how many tokens belong to the user's turn (and what stands before it); one fewer where a template writes nothing after
            the turn, so that its last token is steered like the opening of a reply elsewhere.
        prompt_end: how many tokens stand before the answer.
        include_first: steer position 0 too where the scope reaches it. It is an attention sink with a norm tens of
            times the others', so every scope leaves it out unless told.

    ``all``: every token. ``after_prompt``: from the first token after the user's turn (CAA); from the turn's last token, where a
    template writes nothing between the turn and the reply (``[/INST]``). ``last``: from the last token before the answer.
    """
    start = {"all": 0, "after_prompt": min(turn_end, prompt_end - 1), "last": prompt_end - 1}[positions]
    return max(start, 0 if include_first else 1)


@dataclass(frozen=True, eq=False)
class SteeredBatch:
    """The prompts that are about to be steered: the second argument of an ``apply`` that asks for it.

    Attributes:
        input_ids / attention_mask: [rows, tokens] of the first forward in the block.
        prompt_lengths: for each row how many real tokens stand before the scope's mark: the tokens of the whole prompt for
            ``last``, those up to the end of the user's turn otherwise.
        starts: for each row the first steered token, counted over its real tokens.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    prompt_lengths: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def steered(self) -> torch.Tensor:
        """bool [rows, tokens]: the positions that are to be steered."""
        real = self.attention_mask.bool()
        index = self.attention_mask.long().cumsum(1) - 1
        return real & (index >= torch.tensor(self.starts, device=index.device)[:, None])


StrengthMeaning = Literal["linear", "interpolated", "angle", "ignored"]
Site = Literal["block", "mlp", "heads"]
_made = itertools.count()

Transform = Callable[..., torch.Tensor]
Apply = Callable[..., AbstractContextManager[Any]]


@dataclass
class Rows:
    """The running forward, as far as an intervention that looks at whole rows needs it.

    Attributes:
        prompt: bool [rows, positions], the tokens of each row's prompt (no padding, no answer); None in a forward that goes
            on from a cache, whose prompt was seen before.
        memory: what was decided on the prompt, [rows] each; it lasts for as long as the same texts go on.
    """

    prompt: torch.Tensor | None
    memory: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Applied:
    """A custom way of steering: any library's hooks, in a context manager.

    Attributes:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``; gives a context manager that steers every forward in its body.
        positions: the scope that it keeps to.
        vector: the steering vector that it adds, if that is declared.
        is_declared: it is declared what is done to the hidden states, not only at which layers.

    Raises:
        SteerError: ``apply`` cannot be called like that.
    """

    apply: Apply
    positions: Positions
    vector: SteeringVector | None = None
    is_declared: bool = True
    takes_batch: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_batch", _takes_batch(self.apply))

    @property
    def name(self) -> str:
        return str(getattr(self.apply, "__name__", type(self.apply).__name__))

    def enter(self, batch: SteeredBatch, multiplier: float) -> AbstractContextManager[Any]:
        """The user's context manager.

        Raises:
            SteerError: ``apply`` returned something else.
        """
        manager = self.apply(multiplier, batch) if self.takes_batch else self.apply(multiplier)
        if not hasattr(manager, "__enter__") or not hasattr(manager, "__exit__"):
            raise SteerError(
                f"apply has to return a context manager that steers the model in its body; {self.name} returned "
                f"{type(manager).__name__}"
            )
        return manager


def _takes_batch(apply: Apply) -> bool:
    if not callable(apply):
        raise SteerError(f"apply is a function of the multiplier that gives a context manager, not {type(apply).__name__}")
    try:
        signature = inspect.signature(apply)
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in signature.parameters.values() if p.kind in kinds and p.default is inspect.Parameter.empty]
    try:
        signature.bind(*[None] * max(1, len(needed)))
        fits = len(needed) <= 2
    except TypeError:
        fits = False
    if not fits:
        raise SteerError(
            f"apply is called as apply(multiplier) or apply(multiplier, batch), which {signature} does not allow"
        )
    return len(needed) == 2


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of hidden states at one or several decoder blocks.

    Attributes:
        layers: the blocks in which something is changed (or looked at), ascending.
        reads: those of them in which something is only looked at.
        rests: whether it may leave hidden states as they are where it is on, such as a cap below which nothing happens. Else it is a fault if
            nothing moves.
        transform: (hidden [rows, positions, width], strength [rows, positions or 1, 1], layer) -> changed hidden of the
            same shape. Which positions are steered is decided by the scope, not by it. With ``looks="row"`` it gets
            :class:`Rows` as a fourth argument.
        strength: what the multiplier means: ``linear`` (a signed dose: the change is proportional to it, or its
            direction is and the norm is restored afterwards), ``interpolated`` (0 is off, 1 is fully on), ``angle``,
            or ``ignored`` (always fully on). Only ``linear`` has a slope.
        hash: identity of the intervention, for the memo and the report.
        method: its name in reports.
        site: ``block`` (the block's output), ``mlp`` (the MLP's output, before it is added to the residual stream) or
            ``heads`` (the outputs of the attention heads side by side, which the output projection W_O reads).
        looks: ``position`` if each position is changed by what stands there alone, ``row`` if other positions of
            the row matter (a condition on the prompt). The engine lets no row of the second kind have branches.
        durable: whether the hash says all about what it does, so that scores may be kept across runs.
        width: width of the hidden states that it needs, or None for any.
        vector: the steering vector that is added, if that is what it does.
        metadata: where it comes from, as in :class:`SteeringVector`.
        recipe: what it is made of, so that it can be written to a file; None for custom functions.
        applied: the context manager that steers instead of ``transform``, which then only declares its effect; else None.
    """

    layers: tuple[int, ...]
    transform: Transform
    strength: StrengthMeaning
    hash: str
    method: str
    site: Site = "block"
    looks: Literal["position", "row"] = "position"
    reads: tuple[int, ...] = ()
    rests: bool = False
    durable: bool = False
    width: int | None = None
    vector: SteeringVector | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    recipe: Recipe | None = field(default=None, repr=False)
    applied: Applied | None = field(default=None, repr=False)

    @property
    def changes(self) -> tuple[int, ...]:
        """The blocks in which something is changed."""
        return tuple(layer for layer in self.layers if layer not in self.reads)

    @property
    def operation(self) -> str:
        """The operation in words: one program may add a file's direction and another project it out."""
        return operation(self.recipe) if self.recipe is not None else "changed by a custom function"

    @property
    def first_changed(self) -> int:
        """Index of the last block that all multipliers share, or -1 if they share none.

        At the site ``block`` a batch fans out right before the change, at the output of the lowest block. The other sites lie
        within their block, so it has to fan out at the output of the block below.
        """
        return self.layers[0] if self.site == "block" else self.layers[0] - 1

    def apply(
        self, hidden: torch.Tensor, strength: torch.Tensor, steered: torch.Tensor, layer: int, rows: Rows | None = None
    ) -> torch.Tensor:
        """Hidden states with the steered positions changed and every other bit as it was.

        Args:
            hidden: [rows, positions, width].
            strength: [rows, positions] or [rows, 1], the multiplier of each row or of each position.
            steered: bool [rows, positions].
            rows: what an intervention with ``looks="row"`` needs to know.
        """
        if self.strength != "ignored":
            # At strength 0 the model is unsteered to the last bit, whatever the function does there.
            steered = steered & (strength != 0)
        more = (rows,) if self.looks == "row" else ()
        try:
            changed = self.transform(hidden, strength.to(hidden.dtype)[:, :, None], layer, *more)
        except (TypeError, AttributeError, ValueError, LookupError) as error:
            raise VectorError(
                f"the function of the intervention {self.method!r} failed at layer {layer}: {message_of(error)}. It "
                "is called with (hidden [rows, positions, width], strength [rows, positions or 1, 1], layer)"
            ) from error
        if not isinstance(changed, torch.Tensor) or changed.shape != hidden.shape:
            shape = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
            raise VectorError(
                f"the function of the intervention {self.method!r} at layer {layer} returned shape {shape} for hidden states of shape "
                f"{list(hidden.shape)}"
            )
        return torch.where(steered[:, :, None], changed.to(hidden.dtype), hidden)


def check_site(site: str) -> Site:
    """The site itself, if it is one.

    Raises:
        VectorError: it is not.
    """
    if site not in get_args(Site):
        raise VectorError(f"site is one of {', '.join(get_args(Site))}; not {site!r}")
    return site  # type: ignore[return-value]


def from_recipe(
    recipe: Recipe,
    transform: Transform,
    strength: StrengthMeaning,
    *,
    layers: Iterable[int] | None = None,
    vector: SteeringVector | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Intervention:
    """An intervention that its recipe describes completely, so that its hash is the recipe's; its site is among the options.

    Args:
        layers: by default those of the recipe's tensors, of which the last axis of the first one that has any is the width.
    """
    at = {layer for tensors in recipe.by_name().values() for layer in tensors} if layers is None else {*layers}
    return Intervention(
        layers=tuple(sorted(at)),
        transform=transform,
        strength=strength,
        hash=recipe.hash,
        method=method_name(recipe.kind, metadata or {}),
        site=check_site(recipe.options.get("site", "block")),
        durable=True,
        width=next(tensor.shape[-1] for tensor in recipe.tensors.values() if tensor.ndim),
        vector=vector,
        metadata=dict(metadata or {}),
        recipe=recipe,
    )


def method_name(kind: str, metadata: Mapping[str, object]) -> str:
    """``affine(mimic)``: what is done, and the method that found it."""
    return f"{kind}({metadata['method']})" if metadata.get("method") else kind


def custom(
    transform: Transform,
    *,
    layers: int | Iterable[int],
    strength: StrengthMeaning,
    name: str,
    site: Site = "block",
    rests: bool = False,
) -> Intervention:
    """An intervention from any function of (hidden, strength, layer); see :class:`Intervention` for the shapes.

    Args:
        name: what the function does, for messages and the report. Every call makes another intervention: the
            memo of scores never takes two functions for the same.
        rests: it may leave hidden states as they are, see :class:`Intervention`.

    The function has to act on each position by itself.

    Raises:
        VectorError: no layers, a negative one, an unknown site or an unknown meaning of the strength.
    """
    blocks = check_blocks(layers)
    if strength not in get_args(StrengthMeaning):
        raise VectorError(f"strength is linear, interpolated, angle or ignored; not {strength!r}")
    identity = hashlib.sha256(f"custom:{name}:{blocks}:{strength}:{site}:{next(_made)}".encode()).hexdigest()
    return Intervention(
        layers=blocks, transform=transform, strength=strength, hash=identity, method=name, site=check_site(site), rests=rests
    )


def applied(
    apply: Apply, declared: Intervention, *, positions: Positions, vector: SteeringVector | None, is_declared: bool = True
) -> Intervention:
    """``declared`` as a user's own context manager does it; see :class:`Applied`.

    Every call makes another intervention: no two functions share a score, and nothing is kept across runs.
    """
    own = Applied(apply, positions, vector, is_declared)
    made = custom(declared.transform, layers=declared.layers, strength=declared.strength, name=own.name, site=declared.site)
    return replace(
        made,
        looks=declared.looks,
        reads=declared.reads,
        rests=declared.rests,
        width=declared.width,
        vector=declared.vector,
        metadata=declared.metadata,
        applied=own,
    )


def check_blocks(layers: int | Iterable[int]) -> tuple[int, ...]:
    """Block numbers, ascending and distinct.

    Raises:
        VectorError: none, or a negative one.
    """
    blocks = (layers,) if isinstance(layers, int) else tuple(sorted(set(layers)))
    check_layers(blocks)
    if not blocks:
        raise VectorError("an intervention needs at least one layer")
    return blocks
