"""Activations of the two sides of contrastive data at chosen blocks, their mean difference, and whether the data support a vector made of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch

from ..core.errors import DataError, warn_caller
from ..core.parameters import Param
from ..data import ContrastItem, Items, TaskItem, Tasks, as_items
from ..data.traces import traces
from ..model import Model, block_outputs, check_layers, tokenize_answer, tokenize_item, tokenize_text
from ..model.state import measured
from ..model.tokens import Ids, check_sequence, check_texts
from ..prompting import AS_GIVEN, Context, render_item
from ..steering import SteeringVector

Readout = Literal["answer", "last", "mean"]
"""Where activations are read; texts have no ``answer``."""

_READOUT = Param(
    'answer (of contrast items: the letter of "(A)"), last (last token) or mean (over the tokens of the answer, or of the text but the '
    "first).",
    title="Where activations are read",
    example="last",
    schema={"enum": ["answer", "last", "mean"]},
)
GivenReadout = Annotated[Readout, _READOUT]
AnyReadout = Annotated[str | None, _READOUT]
"""Without it ``answer`` of items and ``mean`` of texts; see ``contrast.read_contrast``."""

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
    record: Mapping[str, object]

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
    return _of_items(model, data, layers, readout or "answer", context)


def _of_items(
    model: Model, items: Iterable[ContrastItem], layers: tuple[int, ...], readout: str, context: Context
) -> Contrast:
    if readout not in get_args(Readout):
        raise DataError(f"readout of items is 'answer', 'last' or 'mean', not {readout!r}")
    data = as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to extract a vector from")
    letters = letter_imbalance(data.label_balance())
    if letters:
        warn_caller(f"{data.source}: {letters}")
    pairs, starts = item_sequences(model, data, whole=readout != "answer", context=context)
    rows = _rows(model, list(zip(pairs, starts, strict=True)), layers, "mean" if readout == "mean" else "last")
    record = record_of_items(model, data, readout)
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
    if readout not in ("mean", "last"):
        raise DataError(f"readout is 'mean' or 'last', not {readout!r}")
    sequences: list[Ids] = []
    for side, texts in (("positive", positive), ("negative", negative)):
        if isinstance(texts, str) or not texts:
            raise DataError(f"the {side} texts have to be a list with at least one text")
        check_texts(model, texts, f"the {side} texts")
        sequences += [tokenize_text(model.tokenizer, text, f"{side} text {i}") for i, text in enumerate(texts)]
    rows = _rows(model, [(ids, 1) for ids in sequences], layers, readout)
    split = len(positive)
    record = record_of_texts(model, positive, negative, len(sequences), readout)
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
    """The warning about unbalanced answer letters, or None if they are balanced well enough.

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


def record_of_items(model: Model, items: Items, readout: str) -> dict[str, object]:
    """The part of a vector's metadata about its origin in contrast items."""
    record = _record(model, items.hash, len(items), readout, model.template_hash)
    return (
        record
        | {"label_balance": items.label_balance()}
        | traces([item.question for item in items], answers=items.all_answers)
    )


def record_of_tasks(model: Model, tasks: Sequence[TaskItem]) -> dict[str, object]:
    """The part of a vector's metadata about its origin in pairs of a task, read at the last token."""
    record = _record(model, Tasks(tasks).hash, len(tasks), "last", None)
    return record | traces([item.input for item in tasks], answers=[item.output for item in tasks])


def record_of_texts(
    model: Model, positive: Sequence[str], negative: Sequence[str], n: int, readout: str
) -> dict[str, object]:
    """The part of a vector's metadata about its origin in two lists of texts."""
    content = json.dumps([list(positive), list(negative)], ensure_ascii=False)
    record = _record(model, hashlib.sha256(content.encode()).hexdigest(), n, readout, None)
    return record | traces([*positive, *negative], "texts")


def _record(model: Model, data_hash: str, n: int, readout: str, template_hash: str | None) -> dict[str, object]:
    return {
        "model": model.id, "model_fingerprint": model.fingerprint, "template_hash": template_hash,
        "data_hash": data_hash, "n": n, "readout": readout,
    }  # fmt: skip


def difference_of_means(contrast: Contrast, method: str) -> SteeringVector:
    """Mean of the positive side minus mean of the negative one, at each layer; for a method to return.

    Warns:
        SteerWarning: see :func:`unreliable`.
    """
    directions = {at: contrast.mean_difference(at).float() for at in contrast.layers}
    return with_reliability(contrast, SteeringVector(directions, {"method": method, **contrast.record}))


# No paper gives thresholds: Braun et al. report that both predict how reliably a vector steers (rank correlations over
# behaviours of about .76 with steerability). These bounds are ours: differences that lie on average more than 78 degrees off
# the vector, and two sides of which the projection sorts fewer than 76 % of random pairs (d' = 1).
LOW_AGREEMENT = 0.2
LOW_D_PRIME = 1.0


def reliability(contrast: Contrast, directions: Mapping[int, torch.Tensor]) -> dict[str, dict[str, float | None]]:
    """Directional agreement and d' of a vector on the data that it was made from (Braun et al. 2025, arXiv 2505.22637).

    ``agreement``: mean cosine of the pairs' differences with the vector; None for data without pairs. It is measured on the
    pairs themselves, so n unrelated differences agree with their own mean by about 1 / sqrt(n). ``d_prime``: distance
    of the two sides' means along the vector over the root of their mean variance; None if that is 0 or a side has one row.

    Returns:
        {layer as text: {"agreement": ..., "d_prime": ...}}, ready for metadata.
    """
    found: dict[str, dict[str, float | None]] = {}
    for layer, direction in directions.items():
        unit = direction.double() / direction.double().norm()
        positive, negative = contrast.positive[layer], contrast.negative[layer]
        agreement = None
        if contrast.paired:
            agreement = float(torch.cosine_similarity(positive - negative, unit[None], dim=1).mean())
        d_prime = None
        if min(len(positive), len(negative)) > 1:
            one, other = positive @ unit, negative @ unit
            spread = float(((one.var() + other.var()) / 2).sqrt())
            d_prime = float(one.mean() - other.mean()) / spread if spread > 0 else None
        found[str(layer)] = {"agreement": agreement, "d_prime": d_prime}
    return found


def unreliable(record: Mapping[str, Any]) -> str | None:
    """The warning about a vector that its own data do not support, or None.

    Args:
        record: metadata of a vector with ``reliability``.
    """
    low = []
    for layer, found in (record.get("reliability") or {}).items():
        agreement, d_prime = found.get("agreement"), found.get("d_prime")
        # The spread of paired sides is mostly that of their questions, so there d' is shown and agreement decides.
        if agreement < LOW_AGREEMENT if agreement is not None else d_prime is not None and d_prime < LOW_D_PRIME:
            numbers = [
                f"{name} {value:.2f} (low under {bound:g})"
                for name, value, bound in (
                    ("directional agreement", agreement, LOW_AGREEMENT), ("d'", d_prime, LOW_D_PRIME)
                )
                if value is not None
            ]  # fmt: skip
            low.append(f"layer {layer}: {', '.join(numbers)}")
    if not low:
        return None
    more = f" (and {len(low) - 3} further layers)" if len(low) > 3 else ""
    return (
        f"the vector's own training data support it weakly: {'; '.join(low[:3])}{more}. Both numbers predict how reliably a "
        "vector steers (Braun et al. 2025); the bounds are this package's own: use more or clearer pairs, or another layer"
    )


def with_reliability(contrast: Contrast, vector: SteeringVector) -> SteeringVector:
    """The vector with its reliability in its metadata; warn if that is low.

    Warns:
        SteerWarning: see :func:`unreliable`.
    """
    numbers = reliability(contrast, vector.directions)
    assert all(v is None or math.isfinite(v) for found in numbers.values() for v in found.values())
    made = SteeringVector(vector.directions, {**vector.metadata, "reliability": numbers})
    words = unreliable(made.metadata)
    if words:
        warn_caller(words)
    return made


def record_with_reliability(contrast: Contrast, method: str, **more: object) -> dict[str, object]:
    """The metadata of a map that ``method`` makes of a contrast, with the numbers of the mean difference.

    Args:
        more: the method's settings.
    """
    differences = {at: contrast.mean_difference(at) for at in contrast.layers}
    numbers = reliability(contrast, {at: d for at, d in differences.items() if d.any()})
    return {"method": method, **more, **contrast.record, "reliability": numbers}
