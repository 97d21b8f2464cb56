"""The Kullback-Leibler divergence of next-token distributions, from their logits."""

from __future__ import annotations

import torch

# Logits at a time: the float64 copies of so many stay within a processor's cache or little more.
_AT_ONCE = 2**18


def divergence(base: torch.Tensor, steered: torch.Tensor) -> torch.Tensor:
    """KL(base || steered) in nats over the whole vocabulary, at each position.

    The logits are what the model computed; from there on all is float64, since the sum is a small difference of large terms. A token that
    the unsteered model gives no probability counts 0. No divergence is below 0, so a sum below it (by less than 1e-12) is rounding, and is 0.

    Args:
        base: [positions, vocabulary] logits of the unsteered model.
        steered: [rows, positions, vocabulary] those of the steered ones.

    Returns:
        float64 [rows, positions]; NaN or infinity where the logits have one.
    """
    rows, positions, vocabulary = steered.shape
    step = max(1, _AT_ONCE // (vocabulary * (1 + rows)))
    found = torch.empty(rows, positions, dtype=torch.float64, device=base.device)
    for start in range(0, positions, step):
        part = slice(start, start + step)
        log_base = base[part].double().log_softmax(-1)
        weight = log_base.exp()
        terms = log_base - steered[:, part].double().log_softmax(-1)
        # Only where the probability is 0: a NaN must not become 0.
        found[:, part] = (weight * terms.masked_fill_(weight == 0, 0.0)).sum(-1)
    return found.clamp_(min=0.0)
