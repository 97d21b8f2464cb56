"""Gates: another intervention, only where a condition holds. Where it does not, every bit stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch

from ...core.errors import VectorError
from ..intervention import Intervention, Rows, from_recipe
from ..kinds import restored, restores
from ..recipe import Directions, Placed, Recipe, as_vector, by_layer, checked, wide


def gated_by_condition(
    inner: Intervention,
    condition: Directions,
    *,
    threshold: float,
    fires: Literal["above", "below"] = "above",
    include_first: bool = False,
) -> Intervention:
    """Conditional activation steering (CAST; Lee et al. 2024, arXiv 2409.05907): a row is steered if its prompt meets a condition.

    h is the mean over the prompt's tokens of the output of the condition's block, c the condition vector. With the
    projection proj_c h = (c c^T / c^T c) h the row is steered where sim(h, proj_c h), which is |cos(h, c)|, is above the threshold
    (or below it). The strength is that of the inner intervention. The paper's code differs: it reads the input of
    the block, takes tanh of the projection, averages over padding too, and decides for all rows of a batch on its first; this
    is the formula, row by row, without padding.

    A text without a prompt (perplexity) is judged as a whole. When a generation goes on, its prompt's decision stays.

    Args:
        condition: a direction for exactly one layer, not above the lowest one that the inner intervention changes.
        include_first: let the first position count in the mean too; it is an attention sink whose norm would drown the rest.

    Raises:
        VectorError: the condition is for several layers, lies above the change, or the threshold is not a finite number.
    """
    vector = as_vector(condition)
    if len(vector.layers) != 1:
        raise VectorError(
            f"a condition is read at one layer; this vector has {list(vector.layers)}: choose one with .at(layer)"
        )
    (at,) = vector.layers
    _check_inner(inner)
    if inner.site != "block":
        raise VectorError(
            f"a condition is read at the output of a block, but {inner.method!r} acts at the site {inner.site!r}"
        )
    if at > inner.layers[0]:
        raise VectorError(
            f"the condition is read at layer {at}, but layer {inner.layers[0]} below it would be changed already: "
            "read it at that layer or below"
        )
    if fires not in ("above", "below") or not math.isfinite(threshold):
        raise VectorError(f"a condition fires 'above' or 'below' a finite threshold; not {fires!r} {threshold}")
    if inner.width not in (None, vector.width):
        raise VectorError(f"the condition has width {vector.width}, the intervention {inner.width}")
    placed = Placed(vector.directions)
    option, tensors = _recipe_of(inner).as_option("inner")
    options = {"inner": option, "threshold": float(threshold), "fires": fires, "include_first": include_first}
    recipe = Recipe("gated_by_condition", options, tensors | by_layer(condition=vector.directions))

    def decide(hidden: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        h = wide(hidden)
        counted = prompt.to(h.device)
        if not include_first:
            # A prompt of a single token is all there is to judge.
            later = counted & (counted.cumsum(1) > 1)
            counted = torch.where(later.any(1, keepdim=True), later, counted)
        total = (h * counted[:, :, None]).sum(1)
        mean = total / counted.sum(1, keepdim=True).clamp(min=1)
        similarity = torch.nn.functional.cosine_similarity(mean, placed.at(at, h)[None], dim=-1).abs()
        return similarity > threshold if fires == "above" else similarity < threshold

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int, rows: Rows | None) -> torch.Tensor:
        if rows is None:
            raise VectorError(
                "a condition on the prompt has to know which tokens are the prompt's; apply(..., rows=Rows(...))"
            )
        if layer == at and rows.prompt is not None:
            rows.memory[recipe.hash] = decide(hidden, rows.prompt)
        if layer not in inner.layers:
            return hidden
        on = rows.memory[recipe.hash].to(hidden.device)[:, None]
        return inner.apply(hidden, strength[..., 0], on.expand(hidden.shape[:2]), layer, rows)

    layers, reads = (at, *inner.layers), tuple(sorted({at, *inner.reads} - set(inner.changes)))
    made = from_recipe(recipe, transform, inner.strength, layers=layers, metadata=inner.metadata)
    return replace(made, looks="row", reads=reads, rests=True, durable=inner.durable)


@restores("gated_by_condition", does="where a condition is met")
def restore_condition(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """Another intervention, where the prompt meets a condition."""
    options = {key: value for key, value in recipe.options.items() if key != "inner"}
    return gated_by_condition(restored(recipe.inside("inner"), metadata), recipe.per_layer("condition"), **options)


def gated_by_probe(
    inner: Intervention, weight: Mapping[int, torch.Tensor], bias: Mapping[int, float] | None = None
) -> Intervention:
    """Changes a position only where a linear probe says yes: w^T h + b > 0, h being what stands there before the change.

    Singh et al. (2024, arXiv 2402.09631) apply an affine map only where a probe finds the source concept. The strength is that
    of the inner intervention.

    Args:
        weight: {layer: w of shape [width]} for every layer of the inner intervention; bias: {layer: b}, 0 without it.

    Raises:
        VectorError: the probe lacks a layer, or is not finite.
    """
    _check_inner(inner)
    missing = [layer for layer in inner.layers if layer not in weight]
    if missing:
        raise VectorError(f"the probe has no weights for layer {missing[0]}, which the intervention changes")
    width = torch.as_tensor(weight[inner.layers[0]]).numel()
    own = {layer: weight[layer] for layer in inner.layers}
    weights = checked(own, (width,), "a probe's weight")
    biases = checked(
        {layer: torch.tensor(float((bias or {}).get(layer, 0.0))) for layer in inner.layers}, (), "a probe's bias"
    )
    placed, placed_bias = Placed(weights), Placed(biases)
    option, tensors = _recipe_of(inner).as_option("inner")

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int, rows: Rows | None = None) -> torch.Tensor:
        h = wide(hidden)
        on = h @ placed.at(layer, h) + placed_bias.at(layer, h) > 0
        return inner.apply(hidden, strength[..., 0], on, layer, rows)

    recipe = Recipe("gated_by_probe", {"inner": option}, tensors | by_layer(weight=weights, bias=biases))
    made = from_recipe(recipe, transform, inner.strength, layers=inner.layers, metadata=inner.metadata)
    return replace(made, site=inner.site, looks=inner.looks, reads=inner.reads, rests=True, durable=inner.durable)


@restores("gated_by_probe", does="where a probe says so")
def restore_probe(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """Another intervention, where a linear probe says yes."""
    biases = {layer: float(bias) for layer, bias in recipe.per_layer("bias").items()}
    return gated_by_probe(restored(recipe.inside("inner"), metadata), recipe.per_layer("weight"), biases)


def _check_inner(inner: Intervention) -> None:
    if not isinstance(inner, Intervention):
        raise VectorError(
            f"a gate goes before an intervention, not {type(inner).__name__}; a vector becomes one with add(vector)"
        )


def _recipe_of(inner: Intervention) -> Recipe:
    """The inner recipe; that of a user's own function is its identity, and then nothing can be written to a file."""
    return inner.recipe if inner.recipe is not None else Recipe("custom", {"hash": inner.hash}, {})
