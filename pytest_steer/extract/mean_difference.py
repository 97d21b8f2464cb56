"""Mean-difference vectors: the mean activation of one class minus that of the other."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import torch

from ..errors import DataError, SteerWarning
from ..model import Model, block_outputs, check_layers, tokenize_item, tokenize_text
from ..model.tokens import Ids
from ..prompting import AS_GIVEN, Context, ContrastItem, as_items, render_item
from ..steering import SteeringVector

# Above this share of one letter among the matching answers, the letter itself is a good part of the direction.
LETTER_BALANCE = 0.6

Readout = Literal["mean", "last"]


def caa(
    model: Model, items: Iterable[ContrastItem], *, layer: int | Sequence[int], context: Context = AS_GIVEN
) -> SteeringVector:
    """Contrastive activation addition (Panickssery et al. 2023, arXiv 2312.06681, section 3).

    For every item the prompt is completed once with the matching and once with the not matching answer; the vector at
    each layer is the mean over items of residual(matching) - residual(not matching), read at the last token of the
    answer: the letter of "(A)". Of several alternative answers the first one is used.

    Args:
        layer: decoder block(s), 0-based, whose output is read; all in one pass.

    Raises:
        DataError: no items, or one that cannot be tokenised.
        VectorError: a layer the model does not have.

    Warns:
        SteerWarning: one answer letter is the matching one in more than 60 % of the items, so that the vector is
            partly a vector for that letter.
    """
    data = as_items(items)
    layers = check_layers(model, layer)
    if not data:
        raise DataError(f"{data.source}: there are no items to extract a vector from")
    letters = letter_imbalance(data.label_balance())
    if letters:
        warnings.warn(SteerWarning(f"{data.source}: {letters}"), stacklevel=2)
    pairs: list[Ids] = []
    for item in data:
        tokens = tokenize_item(model.tokenizer, render_item(item, model.format, context))
        pairs += [tokens.prompt + tokens.matching[0], tokens.prompt + tokens.not_matching[0]]
    kept = block_outputs(model, pairs, layers, lambda _, hidden: hidden[-1])
    directions = {}
    for at in layers:
        rows = torch.stack(kept[at]).double()
        directions[at] = (rows[0::2] - rows[1::2]).mean(0).float()
    record = _record(model, "caa", data.hash, len(data), "answer", model.template_hash)
    record |= {"label_balance": data.label_balance(), "item_hashes": data.item_hashes}
    if context != AS_GIVEN:
        record["context"] = repr(context)
    return SteeringVector(directions, record)


def mean_difference(
    model: Model,
    positive_texts: Sequence[str],
    negative_texts: Sequence[str],
    *,
    layer: int | Sequence[int],
    readout: Readout = "mean",
) -> SteeringVector:
    """Mean over positive texts minus mean over negative texts of a readout of each text's residual stream.

    The texts are read as they are, without a chat template. The first position is left out: it is an attention sink
    whose norm would drown everything else in the mean.

    Args:
        layer: decoder block(s), 0-based, whose output is read; all in one pass.
        readout: ``mean`` over the text's tokens but the first, or its ``last`` token.

    Raises:
        DataError: one side is empty, or a text has fewer than two tokens.
        VectorError: a layer the model does not have.
    """
    layers = check_layers(model, layer)
    reads: dict[str, Callable[[int, torch.Tensor], torch.Tensor]] = {
        "mean": lambda _, hidden: hidden[1:].mean(0),
        "last": lambda _, hidden: hidden[-1],
    }
    if readout not in reads:
        raise DataError(f"readout is 'mean' or 'last', not {readout!r}")
    sequences: list[Ids] = []
    for side, texts in (("positive", positive_texts), ("negative", negative_texts)):
        if isinstance(texts, str) or not texts:
            raise DataError(f"the {side} texts have to be a list with at least one text")
        sequences += [tokenize_text(model.tokenizer, text, f"{side} text {i}") for i, text in enumerate(texts)]
    kept = block_outputs(model, sequences, layers, reads[readout])
    split = len(positive_texts)
    directions = {}
    for at in layers:
        rows = torch.stack(kept[at]).double()
        directions[at] = (rows[:split].mean(0) - rows[split:].mean(0)).float()
    content = json.dumps([list(positive_texts), list(negative_texts)], ensure_ascii=False)
    data_hash = hashlib.sha256(content.encode()).hexdigest()
    return SteeringVector(directions, _record(model, "mean_difference", data_hash, len(sequences), readout, None))


def letter_imbalance(counts: Mapping[str, int]) -> str | None:
    """The words of the warning about unbalanced answer letters, or None if they are balanced well enough.

    Args:
        counts: how often each label was the matching answer, as in ``Items.label_balance``.
    """
    total = sum(counts.values())
    label, most = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
    if not total or most / total <= LETTER_BALANCE:
        return None
    return (
        f"the matching answer is {label!r} in {most} of {total} items that the vector was extracted from, so it is partly "
        f"a vector for the answer {label!r}; balance them, and look at the strata of the vector's claims"
    )


def _record(model: Model, method: str, data_hash: str, n: int, readout: str, template_hash: str | None) -> dict[str, object]:
    return {
        "method": method,
        "model": model.id,
        "model_fingerprint": model.fingerprint,
        "template_hash": template_hash,
        "data_hash": data_hash,
        "n": n,
        "readout": readout,
    }
