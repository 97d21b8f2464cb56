"""Trial forwards: does something change what a model computes, and can the model take what it is given?"""

from __future__ import annotations

import torch

from .loaded import Model
from .tokens import encode

MISFITS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""What a model raises when it cannot take what it is given (a tree mask, cut arguments, a cache). Any model class may be given,
and each raises something else."""

_TEXT = (
    "The first snow fell early that year, and nobody in the village had expected it. Children ran out to see it before it melted; "
    "their parents looked for the shovels."
)
_MAX_TOKENS = 48


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a device or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def trial_ids(model: Model) -> torch.Tensor:
    """int64 [1, tokens]: a short English text."""
    ids, _ = encode(model.tokenizer, _TEXT, special_tokens=False)
    return torch.tensor([ids[: min(_MAX_TOKENS, model.max_positions or _MAX_TOKENS)]], device=model.device)


@torch.no_grad()
def trial_logits(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """float32 logits of one forward without a cache."""
    logits: torch.Tensor = model.hf(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits.float()


def difference(one: torch.Tensor, other: torch.Tensor) -> str | None:
    """By how much two outputs differ, in words; None if that is no more than rounding."""
    if one.shape != other.shape:
        return f"logits of the shape {list(one.shape)}, not {list(other.shape)}"
    room = 64 * torch.finfo(torch.float32).eps * max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
    if torch.allclose(one, other, rtol=0, atol=room, equal_nan=True):
        return None
    return f"by up to {float((one - other).abs().nan_to_num(float('inf')).max()):.3g} in a logit"
