"""In-Context Vectors: one direction through all layers at once, from demonstrations x -> y."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import torch

from ..core.errors import DataError, VectorError
from ..core.parameters import Param, properties_of
from ..core.validation import check_values
from ..data import ContrastItem, TaskItem, as_items
from ..model import Model, block_outputs, encode
from ..model.tokens import Ids, check_texts
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector, add_at_unit_norm, add_keeping_norm
from .contrast import Contrast, Texts, item_sequences, record_of_items, record_of_tasks, record_of_texts, reliability
from .kinds import method


@method("icv", takes="any")
def icv(
    model: Model,
    data: Iterable[ContrastItem] | Sequence[TaskItem] | Texts,
    *,
    variant: Annotated[
        Literal["mixed", "paper", "code"],
        Param(
            "What icv follows: the paper (its principal direction, its formula), its code (centred, with the mean; lengths 1), or mixed: "
            "the code's vector under the paper's formula.",
            title="Variant of In-Context Vectors",
        ),
    ] = "mixed",
    context: Context = AS_GIVEN,
) -> Intervention:
    """In-Context Vectors (ICV; Liu et al. 2023, arXiv 2311.06668, section 3).

    H(x) is the residual stream after every block at the last token, all blocks concatenated. D_i = H(y_i) - H(x_i) are the
    differences of the demonstrations. The vector is divided up again by blocks and applied to every block's MLP output at every token,
    keeping the norm. Use ``positions="all"``. A principal direction has an arbitrary sign, here that of the mean of D.

    Paper and code differ; ``variant`` chooses between them:

    - ``paper``: the first principal direction of D, not centred, of length 1; added by ``steering.add_keeping_norm``.
    - ``code``: the first principal direction of the centred D plus the mean of D (which outweighs a direction of length 1 where
      activations are large); each block's part and the hidden state are scaled to length 1 first, ``steering.add_at_unit_norm``.
    - ``mixed``, the default: the code's vector, added by the paper's formula.

    Args:
        variant: ``mixed``, ``paper`` or ``code``. A unit of the multiplier is another dose in each.
        data: demonstrations x -> y. Contrast items: the prompt with the not matching answer -> with the matching one. Task
            items: input -> output. (Positive texts, negative texts) of equal length: negative -> positive, by place.

    Raises:
        DataError: fewer than two demonstrations, or texts that are not paired.
        VectorError: the demonstrations do not differ.
    """
    check_values("icv", {"variant": variant}, properties_of(icv))
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
    directions = stacked_direction(stacked, centred=variant != "paper").view(len(layers), -1)
    by_layer = {layer: directions[layer].float() for layer in layers}
    metadata = {"method": "icv", "positions": "all", **record, "reliability": reliability(contrast, by_layer)}
    metadata |= {"variant": variant} if variant != "mixed" else {}
    return (add_at_unit_norm if variant == "code" else add_keeping_norm)(SteeringVector(by_layer, metadata), site="mlp")


def stacked_direction(differences: torch.Tensor, *, centred: bool = True) -> torch.Tensor:
    """First principal direction of float64 [n, width] with the sign of the mean; of the centred rows, with the mean added.

    Raises:
        VectorError: the mean is 0.
    """
    mean = differences.mean(0)
    if not mean.any():
        raise VectorError("the two sides of the demonstrations have the same mean, so there is no direction between them")
    if centred and not (differences - mean).any():
        return mean
    first: torch.Tensor = torch.linalg.svd(differences - mean if centred else differences, full_matrices=False).Vh[0]
    first = first if first @ mean >= 0 else -first
    return mean + first if centred else first


def _demonstrations(model: Model, data: Any, context: Context) -> tuple[list[Ids], list[Ids], dict[str, object]]:
    """Tokens of every y and every x, and the record."""
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], (ContrastItem, TaskItem)):
        positive, negative = data
        if isinstance(positive, str) or isinstance(negative, str) or len(positive) != len(negative):
            raise DataError("texts for ICV are two lists of equal length: negative text i is turned into positive text i")
        y, x = _encoded(model, [positive, negative])
        return y, x, record_of_texts(model, positive, negative, len(positive), "last")
    data = list(data) if not hasattr(data, "source") else data
    if data and isinstance(data[0], TaskItem):
        y, x = _encoded(model, [[i.output for i in data], [i.input for i in data]])
        return y, x, record_of_tasks(model, data)
    items = as_items(data)
    sequences, _ = item_sequences(model, items, whole=True, context=context)
    return sequences[0::2], sequences[1::2], record_of_items(model, items, "last")


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
