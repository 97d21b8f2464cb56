"""Which vectors a model takes, and why it refuses the others."""

from __future__ import annotations

import builders
import pytest
import torch

from pytest_steer import SteeringVector, extract, perplexity, propensity_curve, wrap_model
from pytest_steer.core.errors import SteerError, VectorError
from pytest_steer.model import check_fits, engine_of, steered
from pytest_steer.steering import as_intervention, custom

MODEL = "llama"
TEXTS = ("A short one.", "Tea is hot.")


def model_of(seed=0, template=builders.CHATML, name="m"):
    return wrap_model(builders.random_hf(MODEL, seed), builders.tokenizer(template), name)


def vector_of(model, method="caa"):
    if method == "caa":
        return extract.caa(model, builders.LETTERED[:2], layer=1)
    return extract.mean_difference(model, TEXTS[:1], TEXTS[1:], layer=1)


def test_a_vector_fits_the_model_that_it_was_made_on(tmp_path):
    for method in ("caa", "mean_difference"):
        vector = vector_of(model_of(), method)
        vector.save(tmp_path / "v.safetensors")
        loaded = SteeringVector.load(tmp_path / "v.safetensors")
        check_fits(model_of(name="another name"), as_intervention(loaded))
        assert (loaded.hash, loaded.metadata) == (vector.hash, vector.metadata)


def test_another_model_is_refused_unless_allowed():
    other, change = model_of(seed=1, name="other"), as_intervention(vector_of(model_of(name="mine")))
    with pytest.raises(VectorError) as caught:
        check_fits(other, change)
    for words in (
        "made on another model (mine, fingerprint ",
        other.fingerprint[:12],
        "(other, ",
        "allow_mismatch: [model]",
    ):
        assert words in str(caught.value)
    with pytest.raises(VectorError, match="another model"):
        check_fits(other, change, allow_mismatch=("template",))
    check_fits(other, change, allow_mismatch=("model",))


def test_another_template_is_refused_unless_allowed():
    change = as_intervention(vector_of(model_of()))
    for template in (None, builders.CHATML.replace("brief", "long")):
        other = model_of(template=template)
        with pytest.raises(VectorError) as caught:
            check_fits(other, change)
        for words in ("under another chat template (hash ", other.template_hash[:12], "allow_mismatch: [template]"):
            assert words in str(caught.value)
        with pytest.raises(VectorError, match="another chat template"):
            check_fits(other, change, allow_mismatch=("model",))
        check_fits(other, change, allow_mismatch=("template",))


def test_a_vector_from_plain_texts_has_no_template():
    change = as_intervention(vector_of(model_of(), "mean_difference"))
    check_fits(model_of(template=None), change)


@pytest.mark.parametrize("key", ["model_fingerprint", "template_hash"])
def test_a_changed_record_is_refused(key):
    vector = vector_of(model_of())
    record = {**vector.metadata, key: "0" + vector.metadata[key][1:][::-1]}
    with pytest.raises(VectorError, match="another"):
        check_fits(model_of(), as_intervention(SteeringVector(vector.directions, record)))


def test_width_and_layers_have_to_fit_whatever_is_allowed():
    everything = ("model", "template")
    with pytest.raises(VectorError, match="the vector has width 31, but m has width 32"):
        check_fits(model_of(), as_intervention(SteeringVector({1: torch.ones(31)})), everything)
    message = r"acts on layer 3, but m has 3 decoder blocks \(0 to 2\)"
    with pytest.raises(VectorError, match=message):
        check_fits(model_of(), as_intervention(builders.random_vector(0, 3)), everything)
    with pytest.raises(VectorError, match=message):
        check_fits(model_of(), custom(lambda h, s, layer: h, layers=3, strength="ignored", name="x"), everything)
    check_fits(model_of(), as_intervention(builders.random_vector(0, 2)))


def test_a_custom_intervention_at_a_negative_layer_is_refused():
    """Python would count from the end; a block's number is from 0 on, as it is for vectors."""
    with pytest.raises(VectorError):
        check_fits(model_of(), custom(lambda h, s, layer: h, layers=-1, strength="ignored", name="x"))


def run_steered(model, vector, **more):
    with steered(model, vector, **more):
        model.hf(input_ids=torch.full((1, 4), 10))


MEASURES = {
    "propensity_curve": lambda model, vector, **more: propensity_curve(model, builders.LETTERED, vector, **more),
    "perplexity": lambda model, vector, **more: perplexity(model, TEXTS, vector, **more),
    "steering": run_steered,
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_refuses_what_does_not_fit_before_it_runs_anything(name):
    model, measure = model_of(), MEASURES[name]
    with pytest.raises(VectorError, match="width 31"):
        measure(model, SteeringVector({1: torch.ones(31)}), allow_mismatch=("model", "template"))
    elsewhere = vector_of(model_of(seed=1, template=builders.CHATML + " "))
    with pytest.raises(VectorError, match="another model"):
        measure(model, elsewhere)
    with pytest.raises(VectorError, match="another chat template"):
        measure(model, elsewhere, allow_mismatch=("model",))
    assert engine_of(model).forwards == 0
    measure(model, elsewhere, allow_mismatch=("model", "template"))


def test_a_path_for_a_vector_is_told_how_to_be_read():
    with pytest.raises(SteerError, match=r"not the path 'v\.safetensors': read it with SteeringVector\.load"):
        propensity_curve(model_of(), builders.LETTERED, "v.safetensors")


def test_what_is_no_vector_is_refused():
    with pytest.raises(SteerError, match="expected a SteeringVector or an Intervention, not Tensor"):
        propensity_curve(model_of(), builders.LETTERED, torch.ones(32))
