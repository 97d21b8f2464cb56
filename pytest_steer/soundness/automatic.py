"""The check before the first claim of each (model, intervention): one small example, once per process."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from ..errors import MeasurementError, SoundnessError
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..model.state import measured
from ..run_context import current_run
from .bench import Unsteered
from .examine import Soundness, examine_once
from .examples import HookExample
from .target import own

# Two rows of different length, so that there is padding.
_TEXTS = ("One of two short rows.", "The other row, and it is longer.")
# The order of rows is left out: that a row is steered in a batch as alone says it too.
_LEFT_OUT = ("batch_order",)
_known: WeakKeyDictionary[Model, dict[tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()
_unsteered: WeakKeyDictionary[Model, tuple[int, Unsteered]] = WeakKeyDictionary()


def check_before(model: Model, subject: Subject) -> dict[str, Any] | None:
    """The record of the check, for the evidence; None if it is switched off (``--steer-no-soundness``).

    Raises:
        VectorError: the intervention does not fit the model.
        SoundnessError: a property does not hold.
    """
    check_fits(model, subject.intervention, subject.allow_mismatch)
    if not current_run().soundness:
        return None
    known = _known.setdefault(model, {})
    key = (subject.intervention.hash, subject.positions, subject.include_first)
    if key not in known:
        known[key] = _check(model, subject)
    record = known[key]
    if record["broken"]:
        first = record["broken"][0]
        others = "".join(f", {broken['property']}" for broken in record["broken"][1:])
        raise SoundnessError(
            f"the hooks are not sound: {first['property']}: {first['message']} (promised: {first['promise']})"
            + (f"; broken too: {others[2:]}" if others else "")
            + f". A claim of kind hooks_are_sound shows more; {current_run().option_prefix}no-soundness switches this check off",
            record,
        )
    return record


@measured
def _check(model: Model, subject: Subject) -> dict[str, Any]:
    example = HookExample(_TEXTS, subject.multiplier, "left", bare=True)
    try:
        target = own(model, subject)
        found = examine_once(model, target, example, leave_out=_LEFT_OUT, unsteered=_known_unsteered(model))
        found.skipped = {name: why for name, why in found.skipped.items() if name not in _LEFT_OUT}
        return found.describe()
    except MeasurementError as error:
        # Nothing can be compared here; the claim itself says what it is that is not finite.
        return {**Soundness().describe(), "skipped": {"all": str(error)}}


def _known_unsteered(model: Model) -> Unsteered:
    """What earlier checks learned of the model, as long as its weights are the same."""
    state = model.weights_state()
    if model not in _unsteered or _unsteered[model][0] != state:
        _unsteered[model] = (state, Unsteered())
    return _unsteered[model][1]
