"""First-order slopes against finite differences of a plain implementation, and against closed forms."""

from __future__ import annotations

import builders
import numpy as np
import plain
import pytest
import torch

from pytest_steer import ContrastItem, Items, propensity_curve, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, SteerError, VectorError
from pytest_steer.measures import Scope, first_order_slopes, sweep_curves, sweep_perplexity
from pytest_steer.model import steered

SCOPES = ("all", "after_prompt", "last")
ITEMS = (*builders.LETTERED, *builders.WORDED)
LAYERS = tuple(range(builders.LAYERS))


def finite_difference(hf, tokenizer, item, direction, layer, scope, step=1e-3):
    """Central difference in float64 at multiplier 0."""
    at = [plain.propensity(hf, tokenizer, item, {layer: direction}, m, scope) for m in (step, -step)]
    return (at[0] - at[1]) / (2 * step)


@pytest.mark.covering(1)  # a scope is where steering begins, a family what runs above it
@pytest.mark.parametrize(
    "family", builders.each_kind_by_day(["llama", "gemma2", "gemma3", "gpt2", "gptj", "bloom", "falcon", "opt", "lfm2"])
)
@pytest.mark.parametrize("scope", SCOPES)
def test_they_are_the_derivative_at_zero(family, scope, monkeypatch):
    # float64 would be lost in the plain implementation's last step; keep it.
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    hf = builders.random_hf(family).double()
    model, vector = builders.random_model(family), builders.random_vector(*LAYERS, norm=2.0)
    monkeypatch.undo()
    found = first_order_slopes(model, ITEMS, vector, Scope(scope))
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    for layer in LAYERS:
        direction = vector.directions[layer].double()
        want = [finite_difference(hf, model.tokenizer, item, direction, layer, scope) for item in ITEMS]
        np.testing.assert_allclose(found[layer], want, rtol=1e-3, atol=1e-3)
    assert builders.hooks_of(model.hf) == 0


def test_the_first_position_counts_only_if_it_is_taken_in():
    model, vector = builders.random_model("llama"), builders.random_vector(0, norm=2.0)
    short = [ContrastItem("Yes", ("Yes",), ("No",), "short")]
    without, taken_in = (first_order_slopes(model, short, vector, Scope("all", first))[0] for first in (False, True))
    item_ids = plain.ids_of(model.tokenizer, plain.render(model.tokenizer, short[0]).prompt, special=False)
    token = [int(plain.ids_of(model.tokenizer, word, False)[0]) for word in ("Yes", "No")]

    def difference(start):
        rows = [plain.logits(model.hf, item_ids, vector.directions, m, start)[-1] for m in (1e-2, -1e-2)]
        return float((rows[0][token[0]] - rows[0][token[1]] - rows[1][token[0]] + rows[1][token[1]]) / 2e-2)

    np.testing.assert_allclose(without, difference(1), atol=2e-3)
    np.testing.assert_allclose(taken_in, difference(0), atol=2e-3)
    assert abs(float(without[0] - taken_in[0])) > 1e-2


def test_a_linear_model_has_its_slope():
    c = {"Yes": 2.0, "No": -0.5}
    linear = builders.Linear(("Question:", "Answer:", "Yes", "No", "so"), a={}, b={}, c=c)
    found = first_order_slopes(linear.model, [ContrastItem("so", ("Yes",), ("No",))], linear.vector(), Scope("last"))
    np.testing.assert_allclose(found[0], [2.5], rtol=1e-6)


def test_many_small_batches_give_the_same(monkeypatch):
    model, vector = builders.random_model("gemma3"), builders.random_vector(*LAYERS)
    want = first_order_slopes(model, ITEMS, vector)
    monkeypatch.setattr("pytest_steer.measures.sweep._MAX_TOKENS", 1)
    found = first_order_slopes(model, ITEMS, vector)
    for layer in LAYERS:
        np.testing.assert_allclose(found[layer], want[layer], rtol=1e-4, atol=1e-4)


def test_no_gradient_is_left_on_the_model():
    model, vector = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "fresh"), builders.random_vector(1)
    before = [weight.requires_grad for weight in model.hf.parameters()]
    with torch.inference_mode():
        inside = first_order_slopes(model, ITEMS, vector)
    for weight in model.hf.parameters():
        weight.requires_grad_(False)
    np.testing.assert_array_equal(first_order_slopes(model, ITEMS, vector)[1], inside[1])
    assert any(before)
    assert all(weight.grad is None for weight in model.hf.parameters())


@pytest.mark.parametrize(
    ("items", "vector", "error", "words"),
    [
        ([], builders.random_vector(1), DataError, "no items"),
        (builders.LETTERED, builders.random_vector(9), VectorError, "layer 9"),
        (builders.LETTERED, builders.random_vector(1, width=8), VectorError, "width 8"),
    ],
)
def test_what_cannot_be_ranked_says_so(items, vector, error, words):
    with pytest.raises(error, match=words):
        first_order_slopes(builders.random_model("llama"), items, vector)


def test_nan_and_open_steering_blocks_are_errors():
    model, vector = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "nan"), builders.random_vector(1)
    with steered(model, vector), pytest.raises(SteerError, match="open steering"):
        first_order_slopes(model, builders.LETTERED, vector)
    with torch.no_grad():
        model.blocks[2].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(MeasurementError, match="item short: the gradient at layer 1 has NaN"):
        first_order_slopes(model, builders.LETTERED, vector)


# --- layers x multipliers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["all", "after_prompt"])
def test_a_sweep_is_a_curve_per_layer(scope):
    model, vector, grid = builders.random_model("gemma2"), builders.random_vector(*LAYERS), (-1.0, 0.0, 2.0)
    curves = sweep_curves(model, Items(ITEMS), vector, Scope(scope), multipliers=grid)
    assert list(curves) == list(LAYERS)
    for layer, curve in curves.items():
        want = plain.curve(model.hf, model.tokenizer, ITEMS, {layer: vector.directions[layer]}, grid, scope)
        np.testing.assert_allclose(curve.values, want, rtol=0, atol=1e-4)
        own = propensity_curve(model, ITEMS, vector.at(layer), multipliers=grid, positions=scope)
        assert (curve.multipliers.tolist(), curve.items, curve.probes) == (list(grid), own.items, own.probes)


def test_a_sweep_costs_about_one_pass_over_the_prompts():
    """Tokens that the lowest block runs: little more for all layers than for one, and nothing more when asked again."""

    def tokens_of(layers):
        model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "counted")
        items, vector, seen = ITEMS[:3], builders.random_vector(*layers), []
        handle = plain.blocks_of(model.hf)[0].register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.shape[0] * output.shape[1])
        )
        try:
            sweep_curves(model, items, vector, Scope("last"), multipliers=(-1, 0, 1, 2))
            first = sum(seen)
            sweep_curves(model, items, vector, Scope("last"), multipliers=(-1, 0, 1, 2))
        finally:
            handle.remove()
        assert sum(seen) == first
        return first

    assert tokens_of(LAYERS) < 1.3 * tokens_of(LAYERS[:1])


def test_a_sweep_of_perplexity_is_the_relative_change_per_layer():
    model, vector, grid = builders.random_model("qwen3"), builders.random_vector(0, 2), (-1.0, 0.0, 0.5)
    found = sweep_perplexity(model, builders.TEXTS, vector, multipliers=grid)
    base = plain.perplexity([plain.nll(model.hf, model.tokenizer, text) for text in builders.TEXTS])
    for layer in (0, 2):
        for m, change in zip(grid, found[layer], strict=True):
            directions = {layer: vector.directions[layer]}
            steered = plain.perplexity(
                [plain.nll(model.hf, model.tokenizer, text, directions, m) for text in builders.TEXTS]
            )
            assert change == pytest.approx(steered / base - 1, abs=1e-4)
        assert found[layer][1] == 0
