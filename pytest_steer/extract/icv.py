"""In-Context Vectors: one direction through all layers at once, from demonstrations x -> y."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..data import ContrastItem, TaskItem, as_items
from ..data.tasks import task_hashes, tasks_hash
from ..errors import DataError, VectorError
from ..model import Model, block_outputs, encode
from ..model.batch import check_texts
from ..model.tokens import Ids
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector, add_keeping_norm
from .contrast import Contrast, Texts, item_sequences, record_of
from .kinds import method
from .reliability import reliability


@method("icv", takes="any")
def icv(
    model: Model, data: Iterable[ContrastItem] | Sequence[TaskItem] | Texts, *, context: Context = AS_GIVEN
) -> Intervention:
    """In-Context Vectors (ICV; Liu et al. 2023, arXiv 2311.06668, section 3).

    H(x) is the residual stream after every block at the last token, all blocks concatenated. With the differences
    D_i = H(y_i) - H(x_i) of the demonstrations the vector is the first principal direction of D plus the mean of D, divided
    up again by blocks; a principal direction has an arbitrary sign, here that of the mean. It is applied to every block's MLP
    output at every token, keeping the norm: see ``steering.add_keeping_norm``. Use ``positions="all"``.

    The paper's text has the principal direction alone, uncentred; its code centres D and adds the mean back, which
    is followed here (the direction then is of length 1, so the mean outweighs it where activations are large). For applying, the
    paper's formula is followed: its code also scales h and the vector to length 1 first.

    Args:
        data: demonstrations x -> y. Contrast items: the prompt with the not matching answer -> with the matching one. Task
            items: input -> output. (Positive texts, negative texts) of equal length: negative -> positive, by place.

    Raises:
        DataError: fewer than two demonstrations, or texts that are not paired.
        VectorError: the demonstrations do not differ.
    """
    y, x, record = _demonstrations(model, data, context)
    if len(y) < 2:
        raise DataError(f"a principal direction needs at least two demonstrations, not {len(y)}")
    layers = tuple(range(model.n_layers))
    kept = block_outputs(model, [*y, *x], layers, lambda _, hidden: hidden[-1], reading=("last",))
    rows = {layer: torch.stack(kept[layer]).double() for layer in layers}
    contrast = Contrast(
        {layer: r[: len(y)] for layer, r in rows.items()}, {layer: r[len(y) :] for layer, r in rows.items()}, True, record
    )
    stacked = torch.cat([contrast.positive[layer] - contrast.negative[layer] for layer in layers], dim=1)
    directions = stacked_direction(stacked).view(len(layers), -1)
    by_layer = {layer: directions[layer].float() for layer in layers}
    metadata = {"method": "icv", "positions": "all", **record, "reliability": reliability(contrast, by_layer)}
    return add_keeping_norm(SteeringVector(by_layer, metadata), site="mlp")


def stacked_direction(differences: torch.Tensor) -> torch.Tensor:
    """First principal direction of centred float64 [n, width], with the sign of the mean, plus the mean.

    Raises:
        VectorError: the mean is 0.
    """
    mean = differences.mean(0)
    if not mean.any():
        raise VectorError("the two sides of the demonstrations have the same mean, so there is no direction between them")
    if not (differences - mean).any():
        return mean
    first: torch.Tensor = torch.linalg.svd(differences - mean, full_matrices=False).Vh[0]
    return mean + (first if first @ mean >= 0 else -first)


def _demonstrations(model: Model, data: Any, context: Context) -> tuple[list[Ids], list[Ids], dict[str, Any]]:
    """Tokens of every y and every x, and the record."""
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], (ContrastItem, TaskItem)):
        positive, negative = data
        if isinstance(positive, str) or isinstance(negative, str) or len(positive) != len(negative):
            raise DataError("texts for ICV are two lists of equal length: negative text i is turned into positive text i")
        content = json.dumps([list(positive), list(negative)], ensure_ascii=False)
        record = record_of(model, hashlib.sha256(content.encode()).hexdigest(), len(positive), "last", None)
        y, x = _encoded(model, [positive, negative])
        return y, x, record
    data = list(data) if not hasattr(data, "source") else data
    if data and isinstance(data[0], TaskItem):
        record = record_of(model, tasks_hash(data), len(data), "last", None) | {"item_hashes": task_hashes(data)}
        y, x = _encoded(model, [[i.output for i in data], [i.input for i in data]])
        return y, x, record
    items = as_items(data)
    sequences, _ = item_sequences(model, items, whole=True, context=context)
    record = record_of(model, items.hash, len(items), "last", model.template_hash)
    record |= {"label_balance": items.label_balance(), "item_hashes": items.item_hashes}
    return sequences[0::2], sequences[1::2], record


def _encoded(model: Model, sides: Sequence[Sequence[str]]) -> list[list[Ids]]:
    """Tokens of every text of the two sides.

    The last token of a text of one token is the first position, an attention sink whose norm would drown everything else. Where
    there is such a text all of them stand after the token that begins (or else ends) a text, as they do for tokenizers that
    put it there themselves.
    """
    found = [[_ids(model, text, index) for index, text in enumerate(side)] for side in sides]
    if all(len(ids) > 1 for side in found for ids in side):
        return found
    begins = [getattr(model.tokenizer, f"{name}_token_id", None) for name in ("bos", "eos")]
    begin = next((token for token in begins if token is not None), None)
    if begin is None:
        raise DataError(
            "a demonstration is a single token, and the first token of a text is an attention sink, so nothing can be read there; "
            "the tokenizer has no begin or end token to put in front: give longer texts"
        )
    return [[(begin, *ids) for ids in side] for side in found]


def _ids(model: Model, text: str, index: int) -> Ids:
    check_texts(model, (text,), f"demonstration {index}")
    ids, _ = encode(model.tokenizer, text, special_tokens=True)
    if not ids:
        raise DataError(f"demonstration {index}: an empty text has no last token")
    return ids
