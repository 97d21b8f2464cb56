"""A steering vector learned by gradient from preferences, in both directions."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch

from ..core.errors import DataError, MeasurementError, VectorError
from ..core.parameters import Param, properties_of
from ..core.run_context import report_progress
from ..core.validation import check_values
from ..data import ContrastItem, as_items
from ..model import Model, block_outputs, check_layers, engine_of
from ..model.forward import logits_at
from ..model.hooks import hooked
from ..model.state import measuring
from ..model.tokens import Ids, padded
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector, custom
from .contrast import item_sequences, read_contrast, record_of_items, reliability
from .kinds import method


@method("learned", takes="items")
def learned(
    model: Model,
    items: Iterable[ContrastItem],
    *,
    layer: int,
    epochs: Annotated[int, Param("How often method learned goes through the items.", at_least=1)] = 20,
    batch: Annotated[int, Param("How many items method learned takes in a step.", at_least=1)] = 4,
    beta: Annotated[float, Param("The beta of the loss of method learned.", above=0)] = 0.1,
    rate: Annotated[
        float, Param("The learning rate of method learned, as a share of the size of the block's output.", above=0)
    ] = 0.01,
    weight_decay: Annotated[float, Param("The weight decay of method learned.", at_least=0)] = 0.05,
    seed: int = 0,
    context: Context = AS_GIVEN,
) -> SteeringVector:
    """Bi-directional preference optimisation (BiPO; Cao et al. 2024, arXiv 2406.00045, section 3.2).

    Minimises over v, for d = 1 and d = -1 alike,

        -log sigmoid(d beta [log p(r_T | h + d v) - log p(r_T) - log p(r_O | h + d v) + log p(r_O)])

    with r_T the matching and r_O the not matching answer as they are scored (of "(A)" the letter), p their likelihood, and v added to the
    block's output at every token but the first. Both signs are taken in every step (the paper draws one at random), which has the
    same expectation. AdamW from v = 0. The paper's learning rate of 5e-4 belongs to the activations of one model; here it is
    a share of the root mean square of the block's output.

    Args:
        layer: one decoder block.
        epochs / batch / beta / weight_decay: as in the paper.
        rate: learning rate as a share of the root mean square of an element of the block's output (median over positions).

    Raises:
        SteerError: a setting is out of range.
        DataError: no items.
        MeasurementError: the loss is NaN or infinite.
        VectorError: a layer the model does not have.
    """
    wanted = check_layers(model, layer)
    if len(wanted) != 1:
        raise VectorError(f"a vector is learned at one layer, not at {list(wanted)}")
    (at,) = wanted
    data = as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to learn a vector from")
    settings = {"epochs": epochs, "batch": batch, "beta": beta, "rate": rate}
    check_values("learned", {**settings, "weight_decay": weight_decay}, properties_of(learned))
    sequences, starts = item_sequences(model, data, whole=False, context=context)
    what = ("learned", sequences, starts, at, sorted(settings.items()), weight_decay, seed)
    descent = _Descent(epochs, batch, beta, rate, weight_decay, seed)
    found = engine_of(model).remembered_tensors(what, lambda: {"": _descended(model, sequences, starts, at, descent)})
    record = record_of_items(model, data, "learned") | {"method": "learned", "positions": "all", "seed": seed, **settings}
    vector = SteeringVector({at: found[""]}, record)
    return SteeringVector({at: found[""]}, {**record, "reliability": _reliability(model, data, vector, context)})


@dataclass(frozen=True)
class _Descent:
    """The settings of the optimiser, as :func:`learned` takes them."""

    epochs: int
    batch: int
    beta: float
    rate: float
    weight_decay: float
    seed: int


def _descended(model: Model, sequences: list[Ids], starts: list[int], at: int, descent: _Descent) -> torch.Tensor:
    """The direction that minimises the loss, float32 [width]."""
    n_items = len(sequences) // 2
    sizes = block_outputs(model, sequences, (at,), lambda _, hidden: hidden[1:].pow(2).mean(-1).sqrt())
    size = float(torch.cat(sizes[at]).median())
    direction = torch.zeros(model.width, device=model.device, requires_grad=True)
    optimiser = torch.optim.AdamW([direction], lr=descent.rate * size, weight_decay=descent.weight_decay)
    draw = random.Random(descent.seed)
    steps = descent.epochs * math.ceil(n_items / descent.batch)
    step = 0
    with _frozen(model):
        bare = _loglikelihoods(model, sequences, starts, at, None)
        for _ in range(descent.epochs):
            order = draw.sample(range(n_items), n_items)
            for first in range(0, len(order), descent.batch):
                own = [side for index in order[first : first + descent.batch] for side in (2 * index, 2 * index + 1)]
                sign = torch.tensor([1.0, -1.0], device=model.device).repeat_interleave(len(own))
                rows = own * 2  # once with each sign
                steered = _loglikelihoods(
                    model, [sequences[row] for row in rows], [starts[row] for row in rows], at, (direction, sign)
                )
                loss = bipo_loss(steered, bare[rows], sign, descent.beta)
                if not torch.isfinite(loss):
                    raise MeasurementError(f"the loss became {float(loss)} after {step} steps; a smaller rate may help")
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
                report_progress(f"learning a vector: step {step} of {steps}, loss {float(loss.detach()):.4f}")
    return direction.detach().float().cpu()


def bipo_loss(steered: torch.Tensor, bare: torch.Tensor, sign: torch.Tensor, beta: float) -> torch.Tensor:
    """Mean of the loss in :func:`learned`; [n] rows alternate between the matching and the other answer, with their sign."""
    rise = steered - bare
    margin = rise[0::2] - rise[1::2]
    return -torch.nn.functional.logsigmoid(sign[0::2] * beta * margin).mean()


def _loglikelihoods(
    model: Model, sequences: list[Ids], starts: list[int], layer: int, dose: tuple[torch.Tensor, torch.Tensor] | None
) -> torch.Tensor:
    """[n] summed log-likelihood of each answer, with the vector added at every token but the first if there is one."""
    found = []
    rows = 16 if dose is None else len(sequences)
    for first in range(0, len(sequences), rows):
        part = sequences[first : first + rows]
        ids, mask = (value.to(model.device) for value in padded(part))
        # Only the answers' tokens reach the unembedding, which is a good part of a small model.
        own = [range(start, len(sequence)) for start, sequence in zip(starts[first : first + rows], part, strict=True)]
        reads = [(row, at - 1) for row, answer in enumerate(own) for at in answer]
        with torch.no_grad() if dose is None else _added(model, layer, mask, *dose):
            logits = logits_at(model, {"input_ids": ids, "attention_mask": mask, "use_cache": False}, reads)
        tokens = torch.tensor([part[row][at + 1] for row, at in reads], device=model.device)
        likely = logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        found += [answer.sum() for answer in torch.split(likely, [len(answer) for answer in own])]
    return torch.stack(found)


def _added(
    model: Model, layer: int, mask: torch.Tensor, vector: torch.Tensor, sign: torch.Tensor
) -> AbstractContextManager[None]:
    """Adds the vector, times each row's sign, at every token but the first; gradients reach the vector."""
    steered = mask.bool()
    steered[:, 0] = False

    def change(hidden: torch.Tensor, strength: torch.Tensor, _layer: int) -> torch.Tensor:
        return hidden + strength * vector.to(hidden.dtype)

    return hooked(model, custom(change, layers=layer, strength="linear", name="learned"), lambda: (sign[:, None], steered))


@contextmanager
def _frozen(model: Model) -> Iterator[None]:
    """The model's weights take no gradient while the body runs."""
    trainable = [weight for weight in model.hf.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.requires_grad_(False)
    try:
        with measuring(model), torch.enable_grad():
            yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


def _reliability(model: Model, data: object, vector: SteeringVector, context: Context) -> dict[str, dict[str, float | None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the letters were looked at, and agreement is no promise of this method
        return reliability(read_contrast(model, data, layer=vector.layers, context=context), vector.directions)  # type: ignore[arg-type]
