"""The assertion that hooks do what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..evidence import Evidence
from ..model import Model
from ..soundness import Apply
from ..steering import Intervention, Positions, SteeringVector
from ..steering.intervention import StrengthMeaning
from .holding import hold, run_seed
from .hooks_are_sound import EXAMPLES, HooksAreSound, declared_subject

if TYPE_CHECKING:
    import torch


def assert_hooks_are_sound(
    model: Model,
    vector: SteeringVector | Intervention | None = None,
    *,
    apply: Apply | None = None,
    directions: Mapping[int, torch.Tensor] | None = None,
    layers: int | Sequence[int] | None = None,
    strength: StrengthMeaning = "linear",
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    examples: int = EXAMPLES,
    prompts: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    name: str = "hooks_are_sound",
) -> Evidence:
    """Asserts that what steers does what it says: exact properties, on batches that Hypothesis draws (docs/hooks.md).

    With a vector or an intervention alone, this package's own steering is tested. With ``apply``, a way of the user's: another
    library's hooks, or a context manager of one's own. What it is declared to do is the vector or intervention, or
    ``directions`` (added at the output of each block), or only ``layers``; then the size of the dose is not checked.

    Args:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``. It returns a context manager that steers every forward of
            ``model.hf`` in its body. ``batch`` says what is about to be steered: ``input_ids``, ``attention_mask``,
            ``prompt_lengths`` and ``starts`` (one per row, counted over real tokens) and ``steered`` (bool [rows, tokens]). The body
            may run several forwards over these rows: whole ones, and a cached one with further tokens one by one.
        directions: {layer: tensor [width]}, the 0-based block whose output moves by multiplier times that.
        layers: the blocks whose output is changed, if nothing else is declared.
        strength: with ``layers`` only: what the multiplier means (``linear``, ``interpolated``, ``angle`` or ``ignored``).
        multiplier: the strength around which others are tried.
        positions / include_first: which tokens are declared to be steered.
        examples: how many batches are drawn.
        prompts: prompts of your own, drawn as often as made-up ones.
        leave_out: names of properties that are not asked for.

    The model is put back as it was whatever ``apply`` leaves on it.

    Raises:
        SteeringFailure: a property is broken; names it, with the smallest example found.
        SteerError: it cannot be tested: nothing or too much is declared, or the model gives NaN.
    """
    __tracebackhide__ = True
    subject, declared = declared_subject(
        vector,
        directions,
        layers,
        strength,
        needs_vector=apply is None,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = HooksAreSound(
        subject=subject,
        apply=apply,
        declared=declared,
        examples=examples,
        prompts=prompts,
        leave_out=leave_out,
        tensors=[value for value in (directions or {}).values() if hasattr(value, "detach")],
        seed=run_seed(),
        name=name,
    )
    return hold(check, model, "hooks_are_sound")
