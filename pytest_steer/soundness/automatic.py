"""The check before the first claim about a model and an intervention: one small example, once per process."""

from __future__ import annotations

from typing import Any

from ..errors import MeasurementError, SoundnessError
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..model.identity import state_of
from ..model.model import once_per_model
from ..model.state import measured
from ..run_context import current_run
from ..screen import one_screen
from .bench import Unsteered
from .examine import Trial
from .examples import HookExample
from .target import foreign, own

# Two rows of different length, so that there is padding.
_TEXTS = ("One of two short rows.", "The other row, and it is longer.")
# The order of the rows follows from batch_size: a row is steered in a batch as it is alone.
_LEFT_OUT = ("batch_order",)
# The record where the model gives NaN or infinity: nothing can be compared.
_NOTHING_TRIED: dict[str, Any] = {"sound": None, "holds": [], "broken": [], "examples": 0, "forwards": 0, "seconds": 0.0}


def check_before(model: Model, subject: Subject) -> dict[str, Any] | None:
    """Check that the hooks are sound, and return the record for the evidence; None with ``--steer-no-soundness``.

    Raises:
        VectorError: the intervention does not fit the model.
        SoundnessError: a property does not hold.
    """
    check_fits(model, subject.intervention, subject.allow_mismatch)
    if not current_run().soundness:
        return None
    known = _records(model)
    key = (state_of(model), subject.intervention.hash, subject.positions, subject.include_first)
    if key not in known:
        known[key] = _check(model, subject)
    record = known[key]
    if record["broken"]:
        first, *others = record["broken"]
        more = f"; broken too: {', '.join(broken['property'] for broken in others)}" if others else ""
        raise SoundnessError(
            f"the hooks are not sound: {first['property']}: {first['message']} (promised: {first['promise']}){more}. A claim "
            f"of kind hooks_are_sound shows more; {current_run().option_prefix}no-soundness switches this check off",
            record,
        )
    return record


@once_per_model
def _records(model: Model) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The records of the checks so far, by the state of the model, hash and scope of the intervention."""
    return {}


@once_per_model
def _unsteered(model: Model) -> dict[int, Unsteered]:
    """What earlier checks learned about the unsteered model, by its state."""
    return {}


@measured
def _check(model: Model, subject: Subject) -> dict[str, Any]:
    known, state = _unsteered(model), state_of(model)
    if state not in known:
        known.clear()
        known[state] = Unsteered()
    if subject.intervention.applied is None:
        target, texts = own(model, subject), _TEXTS
    else:
        # Rows under a user's own way of steering are of one length (``model/forward.py``), so padding is not asked about.
        target, texts = foreign(model, subject), (_TEXTS[0], _TEXTS[0])
    trial = Trial(model, lambda layer: target, _LEFT_OUT, known[state])
    try:
        trial.try_on(HookExample(texts, subject.multiplier, "left", bare=True))
    except MeasurementError as error:
        return {**_NOTHING_TRIED, "skipped": {"all": one_screen(str(error))}}  # the claim itself says what is not finite
    record = trial.record(trial.first)
    for name in _LEFT_OUT:
        record["skipped"].pop(name, None)
    return record
