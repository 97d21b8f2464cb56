"""One short forward of a model, to see whether something changes what it computes."""

from __future__ import annotations

import torch

from .loaded import Model
from .tokens import encode

_TEXT = (
    "The first snow fell early that year, and nobody in the village had expected it. Children ran out to see it before it melted; "
    "their parents looked for the shovels."
)
_MOST_TOKENS = 48


def trial_ids(model: Model) -> torch.Tensor:
    ids, _ = encode(model.tokenizer, _TEXT, special_tokens=False)
    return torch.tensor([ids[: min(_MOST_TOKENS, model.max_positions or _MOST_TOKENS)]], device=model.device)


@torch.no_grad()
def trial_logits(model: Model, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.hf(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits.float()


def apart(one: torch.Tensor, other: torch.Tensor) -> str | None:
    """By how much two outputs differ, or None if that is no more than rounding (other kernels for the same sum)."""
    if one.shape != other.shape:
        return f"logits of the shape {list(one.shape)}, not {list(other.shape)}"
    room = 64 * torch.finfo(torch.float32).eps * max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
    if torch.allclose(one, other, rtol=0, atol=room, equal_nan=True):
        return None
    return f"by up to {float((one - other).abs().nan_to_num(float('inf')).max()):.3g} in a logit"
