"""What a model makes of the two sides of contrastive data: activations at chosen blocks, side by side."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch

from ..data import ContrastItem, as_items
from ..data.traces import traces
from ..errors import DataError, SteerWarning
from ..model import Model, block_outputs, check_layers, tokenize_answer, tokenize_item, tokenize_text
from ..model.state import measured
from ..model.tokens import Ids, check_sequence, check_texts
from ..prompting import AS_GIVEN, Context, render_item
from .readouts import ItemReadout, TextReadout

# Above this share of one letter among the matching answers, the letter itself is a good part of the direction.
LETTER_BALANCE = 0.6

Texts = tuple[Sequence[str], Sequence[str]]
Data = Iterable[ContrastItem] | Texts


@dataclass(frozen=True, eq=False)
class Contrast:
    """Activations of the two sides.

    Attributes:
        positive / negative: {layer: float64 [n, width]}, one row per text or item.
        paired: whether row i of both sides belongs to one item.
        record: where they come from, as in ``SteeringVector.metadata``, without the method.
    """

    positive: Mapping[int, torch.Tensor]
    negative: Mapping[int, torch.Tensor]
    paired: bool
    record: Mapping[str, Any]

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.positive)

    def mean_difference(self, layer: int) -> torch.Tensor:
        """Mean of the positive side minus mean of the negative one, float64 [width]."""
        if self.paired:
            return (self.positive[layer] - self.negative[layer]).mean(0)
        return self.positive[layer].mean(0) - self.negative[layer].mean(0)


def read_contrast(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: str | None = None,
    context: Context = AS_GIVEN,
    stacklevel: int = 3,
) -> Contrast:
    """Activations of contrast items, or of two lists of texts.

    Args:
        data: contrast items: each prompt completed with the first matching and the first not matching answer. Or
            (positive texts, negative texts): read as they are, without a chat template and without their first position, an
            attention sink.
        readout: for items ``answer`` (default: the answer as it is scored, its last token: the letter of "(A)"), ``last`` (last
            token of the whole written answer: the bracket of "(A)") or ``mean`` (over the tokens of the written answer). For
            texts ``mean`` (default: over all tokens but the first) or ``last``.

    Raises:
        DataError: a side is empty, a text has fewer than two tokens, or an unknown readout.
        TokenBoundaryError: an answer adds no token to its prompt.
        VectorError: a layer the model does not have.

    Warns:
        SteerWarning: one answer letter is the matching one in more than 60 % of the items.
    """
    layers = check_layers(model, layer)
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], ContrastItem):
        return _of_texts(model, data[0], data[1], layers, readout or "mean")
    return _of_items(model, data, layers, readout or "answer", context, stacklevel + 1)


def _of_items(
    model: Model, items: Iterable[ContrastItem], layers: tuple[int, ...], readout: str, context: Context, stacklevel: int
) -> Contrast:
    if readout not in get_args(ItemReadout):
        raise DataError(f"readout of items is 'answer', 'last' or 'mean', not {readout!r}")
    data = as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to extract a vector from")
    letters = letter_imbalance(data.label_balance())
    if letters:
        warnings.warn(SteerWarning(f"{data.source}: {letters}"), stacklevel=stacklevel)
    pairs, starts = item_sequences(model, data, whole=readout != "answer", context=context)
    rows = _rows(model, list(zip(pairs, starts, strict=True)), layers, "mean" if readout == "mean" else "last")
    record = record_of(model, data.hash, len(data), readout, model.template_hash)
    record |= {"label_balance": data.label_balance(), **traces([item.question for item in data], answers=data.all_answers)}
    record["thinking"] = render_item(data[0], model.format, context).thinking
    if context != AS_GIVEN:
        record["context"] = repr(context)
    return Contrast({at: r[0::2] for at, r in rows.items()}, {at: r[1::2] for at, r in rows.items()}, True, record)


def item_sequences(
    model: Model, items: Iterable[ContrastItem], *, whole: bool, context: Context = AS_GIVEN
) -> tuple[list[Ids], list[int]]:
    """Token sequences of each item with its matching and its not matching answer in turn, and where each answer begins.

    Args:
        whole: with the closing bracket of a lettered answer too.

    Raises:
        TokenBoundaryError: an answer adds no token to its prompt.
    """
    sequences: list[Ids] = []
    starts = []
    for item in items:
        check_texts(model, (item.question, *item.matching, *item.not_matching), f"item {item.id}")
        rendered = render_item(item, model.format, context)
        tokens = tokenize_item(model.tokenizer, rendered)
        for text, scored in ((rendered.matching[0], tokens.matching[0]), (rendered.not_matching[0], tokens.not_matching[0])):
            if whole and rendered.item.is_lettered:
                written, special = f"{text})", rendered.special_tokens
                scored = tokenize_answer(
                    model.tokenizer, rendered.turn, rendered.opening, written, special, f"item {item.id}"
                )
            sequences.append(scored.ids)
            starts.append(scored.first)
    return sequences, starts


def _of_texts(
    model: Model, positive: Sequence[str], negative: Sequence[str], layers: tuple[int, ...], readout: str
) -> Contrast:
    if readout not in get_args(TextReadout):
        raise DataError(f"readout is 'mean' or 'last', not {readout!r}")
    sequences: list[Ids] = []
    for side, texts in (("positive", positive), ("negative", negative)):
        if isinstance(texts, str) or not texts:
            raise DataError(f"the {side} texts have to be a list with at least one text")
        check_texts(model, texts, f"the {side} texts")
        sequences += [tokenize_text(model.tokenizer, text, f"{side} text {i}") for i, text in enumerate(texts)]
    rows = _rows(model, [(ids, 1) for ids in sequences], layers, readout)
    split = len(positive)
    content = json.dumps([list(positive), list(negative)], ensure_ascii=False)
    record = record_of(model, hashlib.sha256(content.encode()).hexdigest(), len(sequences), readout, None)
    record |= traces([*positive, *negative], "texts")
    return Contrast({at: r[:split] for at, r in rows.items()}, {at: r[split:] for at, r in rows.items()}, False, record)


@measured
def _rows(
    model: Model, sequences: Sequence[tuple[Ids, int]], layers: tuple[int, ...], readout: str
) -> dict[int, torch.Tensor]:
    """{layer: float64 [sequences, width]}: of each sequence its last token, or the mean from its number on.

    Each is read once, in an order of its own, so that the same data with other labels are known already.
    """
    for index, (ids, _) in enumerate(sequences):
        check_sequence(model, ids, f"sequence {index}")
    order = sorted(set(sequences))
    reads: dict[str, Callable[[int, torch.Tensor], torch.Tensor]] = {
        "mean": lambda index, hidden: hidden[order[index][1] :].mean(0),
        "last": lambda _, hidden: hidden[-1],
    }
    reading = (readout, *(start for _, start in order))
    kept = block_outputs(model, [ids for ids, _ in order], layers, reads[readout], reading=reading)
    place = {one: index for index, one in enumerate(order)}
    return {at: torch.stack([kept[at][place[one]] for one in sequences]).double() for at in layers}


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


def record_of(model: Model, data_hash: str, n: int, readout: str, template_hash: str | None) -> dict[str, Any]:
    """The part of a vector's metadata that says where it comes from."""
    return {
        "model": model.id,
        "model_fingerprint": model.fingerprint,
        "template_hash": template_hash,
        "data_hash": data_hash,
        "n": n,
        "readout": readout,
    }
