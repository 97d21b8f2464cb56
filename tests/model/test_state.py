"""A model in memory that would not give its own numbers is refused by every measure, and none of its scores is kept; what changes nothing
is named."""

from __future__ import annotations

import functools
from contextlib import contextmanager

import accelerate
import builders
import numpy as np
import pytest
import torch
import transformers
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module

from pytest_steer import TaskItem, assert_steers, extract, perplexity, propensity_curve, task_accuracy, wrap_model
from pytest_steer.core.errors import ModelError, SteerError
from pytest_steer.measures import (
    Deployed,
    Scope,
    effects_at,
    first_order_slopes,
    multipliers_at_cost,
    steering_receipt,
    sweep_curves,
)
from pytest_steer.model import engine_of, generate, steered
from pytest_steer.model.abilities import abilities_of
from pytest_steer.model.activations import Patch, Patcher
from pytest_steer.model.engine import block_outputs
from pytest_steer.model.memo import DiskMemo
from pytest_steer.model.probes import Probe
from pytest_steer.model.state import foreign_hooks, measuring
from pytest_steer.steering import as_intervention

VECTOR = builders.random_vector(1)
IDS = (5, 6, 7, 8, 9)


def fresh(family="llama", **changes):
    """A model of its own, which a test may spoil."""
    name, kind, settings = builders._CONFIGS[family]
    torch.manual_seed(0)
    hf = getattr(transformers, kind)(getattr(transformers, name)(**{**settings, **changes}))
    return wrap_model(hf, builders.tokenizer(), family)


def curve(model):
    return propensity_curve(model, builders.LETTERED, VECTOR, multipliers=[0.0, 1.0]).values


def ready(model):
    """Goes through the gate with one short measure; what others have put on the model is returned."""
    engine_of(model).run([Probe(IDS, 1, (20, 30))], as_intervention(VECTOR), [0.0, 1.0])
    return foreign_hooks(model)


def steered_forward(model):
    with steered(model, VECTOR):
        model.hf(input_ids=torch.tensor([IDS]))


MEASURES = {
    "propensity": curve,
    "perplexity": lambda model: perplexity(model, ["Some text.", "Another."], VECTOR),
    "assertion": lambda model: assert_steers(model, VECTOR, builders.LETTERED, steerability=-100, min_n=2),
    "generate": lambda model: generate(model=model, prompts=["What?"], vector=VECTOR, multipliers=[1.0], max_new_tokens=2),
    "caa": lambda model: extract.caa(model, builders.LETTERED, layer=1),
    "learned": lambda model: extract.learned(model, builders.LETTERED, layer=1, epochs=1),
    "first order": lambda model: first_order_slopes(model, builders.LETTERED, VECTOR),
    "receipt": lambda model: steering_receipt(model, [Probe(IDS, 1)], as_intervention(VECTOR), 1.0),
    "activations": lambda model: block_outputs(model, [IDS], [0, 1], lambda _, hidden: hidden),
    "patches": lambda model: Patcher(model, [Patch(0, 0, 4, torch.ones(4))]).run(IDS, 3),
    "sweep": lambda model: sweep_curves(
        model, builders.LETTERED, builders.random_vector(0, 1), Scope("last"), multipliers=(0, 1)
    ),
    "task accuracy": lambda model: task_accuracy(model, [TaskItem("one", "Yes"), TaskItem("two", "No")], VECTOR),
    "effects": lambda model: effects_at(model, builders.LETTERED, {0: (Deployed(VECTOR), 1.0)}),
    "at cost": lambda model: multipliers_at_cost(model, builders.TEXTS, {0: Deployed(VECTOR)}),
    "steering": steered_forward,
}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def add_one(_module, _inputs, output):
    return output + 1.0


def look(_module, _inputs, _output):
    return None


# --- refused by every measure --------------------------------------------------------------------------------------------


@every_measure
def test_weights_on_meta(measure):
    with torch.device("meta"):
        model = fresh()
    with pytest.raises(
        ModelError, match=r"llama: \d+ of its weights are on the device 'meta', .*embed_tokens.* and \d+ more"
    ):
        measure(model)


@every_measure
def test_hooks_training_mode_and_open_steering_also_where_everything_is_remembered(measure):
    model = fresh(attention_dropout=0.1)
    measure(model)
    handle = model.blocks[1].register_forward_hook(add_one)
    with pytest.raises(
        ModelError, match=r"hooks of others change what it computes, .*model\.layers\.1: forward hook add_one"
    ):
        measure(model)
    handle.remove()
    model.hf.train()
    with pytest.raises(
        ModelError, match=r"is in training mode, .*attention_dropout = 0\.1\). Call model\.hf\.eval\(\) before"
    ):
        measure(model)
    model.hf.eval()
    with steered(wrap_model(model.hf, model.tokenizer, "other"), VECTOR):
        if measure is not steered_forward:  # steering twice is what it says
            with pytest.raises(SteerError, match="is being steered by an open steering"):
                measure(model)
    measure(model)


# --- training mode ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("gpt2", {"attn_pdrop": 0.1}, r"attn_dropout is a Dropout with p = 0\.1"),
        ("opt", {"dropout": 0.1}, r"has dropout = 0\.1"),
        ("opt", {"dropout": 0.0, "layerdrop": 0.5}, r"has layerdrop = 0\.5"),
    ],
)
def test_what_is_random_in_training_is_named(family, changes, said):
    model = fresh(family, **changes)
    model.hf.train()
    with pytest.raises(ModelError, match=said):
        ready(model)


def test_training_mode_that_changes_nothing_is_no_fault():
    model = fresh()
    want = curve(model)
    model.hf.train()
    assert ready(model) == ()
    assert all(module.training for module in model.hf.modules())
    np.testing.assert_array_equal(curve(model), want)


def test_training_mode_that_changes_outputs_in_a_way_of_its_own():
    class Louder(torch.nn.Module):
        def forward(self, hidden):
            return hidden * 1.5 if self.training else hidden

    model = fresh()
    model.hf.model.norm = torch.nn.Sequential(model.hf.model.norm, Louder())
    model.hf.eval()
    ready(model)
    model.hf.model.norm[1].train()
    with pytest.raises(ModelError, match=r"is in training mode, .*by up to \S+ in a logit"):
        ready(model)
    assert [module.training for module in (model.hf.model.norm[1], model.hf)] == [True, False]


# --- hooks ---------------------------------------------------------------------------------------------------------------------


def pre_hook(_module, args):
    return (args[0] * 1.01, *args[1:])


@functools.wraps(add_one)
def dressed_up(*args):
    return add_one(*args)


class Callable:
    def __call__(self, _module, _inputs, output):
        return output * 1.01

    def method(self, _module, _inputs, output):
        return output * 1.01


@pytest.mark.parametrize(
    "put",
    [
        lambda model: model.hf.lm_head.register_forward_pre_hook(pre_hook),
        lambda model: model.blocks[0].mlp.register_forward_hook(torch.no_grad()(add_one)),
        lambda model: model.blocks[0].mlp.register_forward_hook(dressed_up),
        lambda model: model.blocks[0].mlp.register_forward_hook(functools.partial(add_one)),
        lambda model: model.blocks[0].mlp.register_forward_hook(Callable()),
        lambda model: model.blocks[0].mlp.register_forward_hook(Callable().method),
        lambda model: model.hf.register_forward_hook(lambda _m, _i, out: setattr(out, "logits", out.logits + 1)),
        lambda model: model.blocks[0].mlp.register_forward_hook(lambda _m, _i, out: out.add_(1.0)),
        lambda model: model.blocks[0].mlp.register_forward_hook(lambda _m, _i, out: out[:, -1:].mul_(2.0)),
        lambda model: model.blocks[0].mlp.register_forward_hook(lambda _m, _i, out: out[:, :, :8]),
        lambda model: model.blocks[0].mlp.register_forward_hook(lambda _m, _i, out: out.double()),
    ],
    ids=[
        "pre-hook",
        "no_grad",
        "wraps",
        "partial",
        "object",
        "method",
        "whole model",
        "in place",
        "in part",
        "cut",
        "double",
    ],
)
def test_hooks_of_every_make_are_found(put):
    model = fresh()
    handle = put(model)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        ready(model)
    handle.remove()
    assert ready(model) == ()


def test_hooks_of_all_modules_of_torch():
    model = fresh()

    def softer(module, _inputs, output):
        return output * 0.9 if module is model.blocks[0].mlp else None

    handle = torch.nn.modules.module.register_module_forward_hook(softer)
    try:
        with pytest.raises(ModelError, match=r"every module: forward hook .*softer"):
            curve(model)
    finally:
        handle.remove()
    curve(model)


def test_a_replaced_forward():
    model = fresh()
    mlp = model.blocks[1].mlp
    own = mlp.forward

    @functools.wraps(own)
    def louder(hidden):
        return own(hidden) * 2

    mlp.forward = louder
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp: replaced forward .*forward"):
        curve(model)
    assert mlp.forward is louder
    mlp.forward = own  # the class's own, kept on the instance, as accelerate leaves it
    assert ready(model) == ()
    mlp.forward = lambda hidden: own(hidden)
    assert len(ready(model)) == 1


def test_an_error_in_a_hook_comes_out_as_it_is():
    model = fresh()

    def broken(_module, _inputs, _output):
        raise KeyError("nothing there")

    model.blocks[0].register_forward_hook(broken)
    with pytest.raises(KeyError, match="nothing there"):
        curve(model)


def test_they_are_in_the_evidence_with_a_warning_beside_the_verdict():
    model = fresh()
    handle = model.blocks[0].register_forward_hook(look)
    evidence = assert_steers(model, VECTOR, builders.LETTERED, steerability=-100, min_n=2)
    assert evidence.model.hooks == ("model.layers.0: forward hook look",)
    assert any("model.layers.0: forward hook look" in line for line in evidence.warnings)
    handle.remove()
    evidence = assert_steers(model, VECTOR, builders.LETTERED, steerability=-100, min_n=2)
    assert not evidence.model.hooks
    assert not any("hook" in line for line in evidence.warnings)


def test_a_hook_that_acts_later_or_on_some_inputs_is_refused_where_it_acts():
    """What no trial forward would have shown."""
    model, clean = fresh(), fresh()
    switched = {"on": False}

    def later(_module, _inputs, output):
        return output + 1.0 if switched["on"] else None

    def on_long_ones(_module, _inputs, output):
        return output + 1.0 if output.shape[1] > len(IDS) else None

    handle = model.blocks[0].register_forward_hook(later)
    ready(model)
    switched["on"] = True
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        curve(model)
    handle.remove()
    handle = model.blocks[0].register_forward_hook(on_long_ones)
    ready(model)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        curve(model)
    handle.remove()
    np.testing.assert_array_equal(curve(model), curve(clean))


def test_a_hook_that_gives_back_what_it_got():
    model = fresh()
    model.blocks[0].register_forward_hook(lambda _module, _inputs, output: output)
    model.blocks[0].register_forward_hook(lambda _module, _inputs, output: output.clone())
    model.blocks[1].register_forward_pre_hook(lambda _module, inputs: inputs[0])
    model.blocks[1].register_forward_pre_hook(lambda _module, args, kwargs: (args, kwargs), with_kwargs=True)
    np.testing.assert_array_equal(curve(model), curve(fresh()))


def test_hooks_of_others_run_as_often_as_forwards_do():
    model = fresh()
    calls = []
    assert abilities_of(model).branches  # a forward of its own, once per model
    model.hf.register_forward_pre_hook(lambda *_: calls.append(1))
    block_outputs(model, [IDS], [0], lambda _, hidden: hidden)
    assert calls == []  # the backbone alone ran
    perplexity(model, ["Some text."], None)
    assert len(calls) == 1
    perplexity(model, ["Some text."], None)
    assert len(calls) == 1


def test_a_hook_that_is_taken_off_or_put_on_within_a_measure():
    model = fresh()
    handle = model.blocks[0].register_forward_hook(look)
    kept = model.blocks[1].register_forward_hook(look)
    with measuring(model):
        handle.remove()
    assert not model.blocks[0]._forward_hooks
    assert list(model.blocks[1]._forward_hooks.values()) == [look]
    kept.remove()


def test_no_score_that_was_measured_under_a_hook_reaches_a_memory(tmp_path):
    clean = propensity_curve(fresh(), builders.LETTERED, VECTOR).values
    model = fresh()
    engine_of(model).disk = disk = DiskMemo(tmp_path)
    calls = []

    def later(_module, _inputs, output):
        calls.append(1)
        return output * 1.5 if len(calls) > 3 else None

    handle = model.blocks[0].register_forward_hook(later)
    propensity_curve(model, builders.LETTERED[:1], None, multipliers=[0])
    assert len(calls) <= 3
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        propensity_curve(model, builders.LETTERED, VECTOR)
    handle.remove()
    looking = model.blocks[0].register_forward_hook(lambda *_: None)
    assert (propensity_curve(model, builders.LETTERED, VECTOR).values == clean).all()
    assert disk._connection.execute("SELECT count(*) FROM scores").fetchone() == (0,)
    looking.remove()
    assert (propensity_curve(model, builders.LETTERED, VECTOR).values == clean).all()
    assert disk._connection.execute("SELECT count(*) FROM scores").fetchone() == (
        clean.size + 1,
    )  # and the norms of hidden states
    other = fresh()
    engine_of(other).disk = DiskMemo(tmp_path)
    assert (propensity_curve(other, builders.LETTERED, VECTOR).values == clean).all()
    assert engine_of(other).forwards == 0
    # And what is on disk does not hide a hook.
    third = fresh()
    engine_of(third).disk = DiskMemo(tmp_path)
    third.blocks[0].register_forward_hook(add_one)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        propensity_curve(third, builders.LETTERED, VECTOR)


# --- what is part of a model, or of how it is run ---------------------------------------------------------------------------------


def test_outputs_that_transformers_collects():
    model = fresh()
    model.hf(input_ids=torch.tensor([IDS]), output_hidden_states=True, output_attentions=True)
    assert ready(model) == ()


def test_dispatch_by_accelerate():
    model, clean = fresh(), fresh()
    for _, module in [*model.hf.named_modules()]:
        add_hook_to_module(module, AlignDevicesHook(execution_device="cpu", io_same_device=True))
    assert "forward" in model.blocks[0].__dict__
    assert ready(model) == ()
    np.testing.assert_allclose(curve(model), curve(clean), atol=1e-5)


def test_a_stranger_in_the_dress_of_accelerate():
    class Louder(ModelHook):
        def post_forward(self, module, output):
            return output * 1.5

    model = fresh()
    add_hook_to_module(model.blocks[0].mlp, AlignDevicesHook(execution_device="cpu"))
    add_hook_to_module(model.blocks[0].mlp, Louder(), append=True)
    with pytest.raises(ModelError, match=r"model\.layers\.0\.mlp: replaced forward"):
        curve(model)


def test_weights_that_accelerate_offloads_are_refused_by_that_name(tmp_path):
    model = fresh()
    accelerate.cpu_offload(model.hf, execution_device=torch.device("cpu"))
    with pytest.raises(ModelError, match=r"are offloaded by accelerate .*device_map that keeps all of it in memory"):
        curve(model)


@pytest.mark.parametrize("how", ["module", "forward", "in place"])
def test_compiled_models(how):
    hf = fresh().hf
    if how == "module":
        hf = torch.compile(hf, backend="eager")
    elif how == "forward":
        hf.forward = torch.compile(hf.forward, backend="eager")
    else:
        hf.compile(backend="eager")
    model = wrap_model(hf, builders.tokenizer())
    with measuring(model):
        assert foreign_hooks(model) == ()


def test_pruned_and_normed_weights():
    from torch.nn.utils import parametrizations, prune

    model = fresh()
    prune.l1_unstructured(model.blocks[0].mlp.up_proj, "weight", amount=0.5)
    parametrizations.weight_norm(model.blocks[1].mlp.up_proj)
    assert ready(model) == ()
    curve(model)


def test_hooks_that_a_modules_own_class_puts_on_it():
    class Scaled(torch.nn.Linear):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.register_forward_hook(self.scale)
            self.register_forward_hook(lambda _module, _inputs, output: output * 2)

        def scale(self, _module, _inputs, output):
            return output * 3

    model = fresh()
    model.blocks[0].mlp.up_proj = Scaled(builders.WIDTH, 48, bias=False)
    assert ready(model) == ()


# --- steering ----------------------------------------------------------------------------------------------------------------------


def test_hooks_that_are_put_on_inside_of_a_steering_block_are_the_bodys_own():
    model = fresh()
    with steered(model, VECTOR):
        handle = model.blocks[0].register_forward_hook(add_one)
        model.hf(input_ids=torch.tensor([IDS]))
        handle.remove()


def test_ones_own_way_of_steering_is_still_checked_as_such():
    from pytest_steer import assert_hooks_are_sound

    model = fresh()
    direction = VECTOR.directions[1]

    @contextmanager
    def apply(multiplier, batch):
        def hook(_module, _inputs, output):
            changed = output.clone()
            changed[batch.steered[:, -output.shape[1] :]] += multiplier * direction
            return changed

        handle = model.blocks[1].register_forward_hook(hook)
        # Steering of this package's inside of it: hooks of the code under test are not of others.
        try:
            with steered(model, VECTOR, 0.0):
                yield
        finally:
            handle.remove()

    assert_hooks_are_sound(
        model, apply=apply, directions={1: direction}, positions="all", max_batches=2, leave_out=["cached_decoding"]
    )
    handle = model.blocks[0].register_forward_hook(add_one)
    with pytest.raises(ModelError, match="hooks of others change what it computes"):
        assert_hooks_are_sound(model, apply=apply, directions={1: direction}, positions="all", max_batches=2)
    handle.remove()
