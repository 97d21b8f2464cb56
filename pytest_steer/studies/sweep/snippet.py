"""What a sweep chose, as the text of a claim file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from ...errors import SteerError
from ...stats import Inference
from .grid import Sweep

# A YAML scalar that needs no quotes inside of a flow mapping; everything else is written as JSON, which YAML reads.
_BARE = re.compile(r"^(?!(?:null|true|false|yes|no|on|off)$)[A-Za-z_./][\w./-]*(?::[\w./-]+)*$", re.IGNORECASE)


def claim_snippet(
    sweep: Sweep,
    *,
    model: str,
    vector: dict[str, str],
    test: str,
    neutral: str | None,
    allow_unexpected: Sequence[str] = (),
) -> str:
    """A claim file about the chosen layer and multiplier.

    The promised steerability is what the validation items leave room for, see ``steerability_to_promise``; the anti-steerable
    share and the perplexity limit are those that the sweep was given.

    Args:
        vector: ``{"file": path}``, or ``{"method": name, "data": path}`` for one that is extracted again.
        allow_unexpected: patterns of weights that were left out of the model.
        test / neutral: paths as the claim file is to name them, relative to its folder.

    Raises:
        SteerError: the sweep chose nothing.
    """
    choice = sweep.choice
    if choice is None:
        raise SteerError("the sweep chose no layer, so there is nothing to claim")
    source = (
        f"file: {_scalar(vector['file'])}"
        if "file" in vector
        else (f"extract: {{method: {vector['method']}, data: {_scalar(vector['data'])}}}")
    )
    promised = steerability_to_promise(sweep.at(choice.layer).steerability)
    data = f"test: {_scalar(test)}" + (f", neutral: {_scalar(neutral)}" if neutral is not None else "")
    lines = [
        f"# Layer and multiplier were chosen by a sweep on {len(sweep.items)} validation items. The test items are others.",
        f"model: {_scalar(model)}",
        *([f"allow_unexpected: {json.dumps([*allow_unexpected], ensure_ascii=False)}"] if allow_unexpected else []),
        f"vector: {{{source}, layer: {choice.layer}, positions: {sweep.positions}}}",
        f"multiplier: {choice.multiplier:.12g}",
        f"multipliers: [{', '.join(f'{m:.12g}' for m in sweep.multipliers)}]",
        f"data: {{{data}}}",
        "claims:",
        f"  - steers: {{steerability: {promised:.12g}}}",
        f"  - not_anti_steered: {{share: {sweep.limits.anti_steerable:.12g}}}",
    ]
    if neutral is not None:
        lines.append(f"  - ppl_delta_below: {{limit: {sweep.limits.perplexity:.12g}}}")
    return "\n".join([*lines, ""])


def steerability_to_promise(found: Inference) -> float:
    """A threshold that items of the same kind and number are likely to show: the estimate less twice the distance to its
    lower bound, rounded down to two digits, and at least 0.

    Once for the interval of the validation items and once for that of the test items, each of which is a bound at 0.95.
    """
    room = found.estimate - 2 * (found.estimate - found.low)
    if not room > 0:
        return 0.0
    digit = 10.0 ** (math.floor(math.log10(room)) - 1)
    return float(f"{math.floor(room / digit + 1e-9) * digit:.12g}")


def _scalar(text: str) -> str:
    return text if _BARE.match(text) else json.dumps(text, ensure_ascii=False)
