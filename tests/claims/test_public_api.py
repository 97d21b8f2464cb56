"""The public functions by one rule: order of arguments, keywords, the same defaults in both faces, and what is said of wrong arguments."""

from __future__ import annotations

import dataclasses
import inspect

import builders
import pytest
import torch

import pytest_steer
from pytest_steer import (
    Deployed,
    Question,
    SteerError,
    SteeringVector,
    TaskItem,
    extract,
    load_model,
    read_items,
    wrap_model,
)
from pytest_steer.core import registry
from pytest_steer.files.schema import full_schema
from pytest_steer.measures.subject import Subject

ASSERTIONS = {name: getattr(pytest_steer, name) for name in pytest_steer.__all__ if name.startswith("assert_")}
# A claim about other claims of its file has no assertion.
CLAIMS = [name for name in registry.names("claim") if "others" not in registry.find("claim", name).fields]
MEASURES = {
    name: getattr(pytest_steer, name)
    for name in (
        "propensity_curve",
        "answer_likelihoods",
        "perplexity",
        "kl_divergence",
        "task_accuracy",
        "capability",
        "multipliers_at_cost",
        "effects_at",
        "generate",
    )
}
METHODS = {
    name: kind.function
    for name, kind in registry.things("method").items()
    if kind.function.__module__.startswith("pytest_steer")
}
DATA = ("behaviours", "items", "texts", "tasks", "questions", "prompts", "data", "positive_texts", "negative_texts")
STEERS = ("vector", "intervention", "deployed", "at")
ITEMS = [(f"Is {i} even?", f"({'AB'[i % 2]})", f"({'BA'[i % 2]})") for i in range(4)]
TEXTS = ["A text.", "Another one."]
TASKS = [TaskItem(str(i), str(i + 1)) for i in range(4)]
PROMPTS = ["Who?", "Why?"]
QUESTIONS = [Question(f"Is {i} even?", ("Yes", "No"), i % 2) for i in range(4)]
VECTOR = builders.random_vector(1)


def positional(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in inspect.signature(function).parameters.values() if one.kind in kinds]


# --- order and keywords --------------------------------------------------------------------------------------------------


def test_every_claim_has_its_assertion():
    assert {f"assert_{name}" for name in CLAIMS} == ASSERTIONS.keys()


@pytest.mark.parametrize("name", ASSERTIONS)
def test_assertions_take_model_vector_data(name):
    model, vector, *data = (one.name for one in positional(ASSERTIONS[name]))
    assert (model, vector) == ("model", "vector")
    assert all(one in DATA for one in data)


@pytest.mark.parametrize("name", [*MEASURES, *METHODS])
def test_measures_and_methods_take_model_data_vector(name):
    model, data, *rest = (one.name for one in positional((MEASURES | METHODS)[name]))
    assert model == "model"
    assert data in DATA
    assert all(one in (*STEERS, *DATA) for one in rest)


@pytest.mark.parametrize("name", [*ASSERTIONS, *MEASURES, *METHODS])
def test_what_is_optional_is_a_keyword(name):
    function = (ASSERTIONS | MEASURES | METHODS)[name]
    # Questions and behaviours are data that have a default: those that ship with the package.
    optional = ("vector", "behaviours", "questions")
    assert all(one.default is one.empty or one.name in optional for one in positional(function))


@pytest.mark.parametrize("name", CLAIMS)
def test_defaults_are_those_of_the_claim_file(name):
    declared, assertion = registry.find("claim", name).declared, ASSERTIONS[f"assert_{name}"]
    fields = {one.name: one for one in dataclasses.fields(declared)}
    for parameter in inspect.signature(assertion).parameters.values():
        field = fields.get(parameter.name)
        if field is None or parameter.default is parameter.empty:
            continue
        empty = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        assert (parameter.default or None) == (empty or None), parameter.name
    assert set(registry.find("claim", name).parameters) <= inspect.signature(assertion).parameters.keys()


def test_what_all_claims_share_has_the_defaults_of_the_claim_file():
    properties = full_schema()["$defs"]
    assert properties["multiplier"]["default"] == Subject.multiplier
    assert properties["vector"]["properties"]["positions"]["default"] == Subject.positions
    assert properties["vector"]["properties"]["include_first"]["default"] == Subject.include_first
    for kind in registry.things("claim").values():
        fields = {one.name: one.default for one in dataclasses.fields(kind.declared)}
        assert fields.get("confidence", 0.95) == properties["confidence"]["default"]
        assert list(fields.get("multipliers", properties["multipliers"]["default"])) == properties["multipliers"]["default"]


def test_the_context_manager_is_public():
    assert pytest_steer.steered is pytest_steer.model.steered


# --- arguments of the wrong kind -----------------------------------------------------------------------------------------

CALLS = {
    "assert_steers": ((VECTOR, ITEMS), {"steerability": 0.1}),
    "assert_beats": ((VECTOR, ITEMS), {"baseline": "random"}),
    "assert_not_anti_steered": ((VECTOR, ITEMS), {"share": 0.1}),
    "assert_ppl_delta_below": ((VECTOR, TEXTS), {"limit": 0.1}),
    "assert_promotes": ((VECTOR, ITEMS), {"nats": 0.1}),
    "assert_suppresses": ((VECTOR, ITEMS), {"nats": 0.1}),
    "assert_generalizes": ((VECTOR, ITEMS), {"retention": 0.1, "data_sets": {"other": ITEMS}}),
    "assert_holds_in_contexts": ((VECTOR, ITEMS), {"effect": 0.1, "contexts": {"system": [""]}}),
    "assert_performs_task": ((VECTOR, TASKS), {"accuracy": 0.1}),
    "assert_capability_delta_below": ((VECTOR, QUESTIONS), {"limit": 0.1}),
    "assert_steers_at_cost": ((VECTOR, ITEMS, TEXTS), {"effect": 0.1, "budget": 0.1}),
    "assert_hooks_are_sound": ((VECTOR,), {}),
    "assert_kl_below": ((VECTOR, TEXTS), {"limit": 0.1}),
    "kl_divergence": ((TEXTS, VECTOR), {}),
    "assert_generates": ((VECTOR, PROMPTS), {"share": 0.5, "judge": {"regex": "a"}}),
    "assert_stays_fluent": ((VECTOR, PROMPTS), {"measure": "entropy", "limit": 0.1}),
    "assert_no_cliff": ((VECTOR, PROMPTS, TEXTS), {"budget": 0.1}),
    "assert_leaves_alone": ((VECTOR,), {"band": 0.1, "behaviours": {"other": ITEMS}}),
    "propensity_curve": ((ITEMS, VECTOR), {}),
    "answer_likelihoods": ((ITEMS, VECTOR), {}),
    "perplexity": ((TEXTS, VECTOR), {}),
    "task_accuracy": ((TASKS, VECTOR), {}),
    "capability": ((QUESTIONS, VECTOR), {}),
    "multipliers_at_cost": ((TEXTS, {"v": Deployed(VECTOR)}), {}),
    "effects_at": ((ITEMS, {"v": (Deployed(VECTOR), 1.0)}), {}),
    "generate": ((["Who?"], VECTOR), {"multipliers": [1]}),
    "caa": ((ITEMS,), {"layer": 1}),
    "pca": ((ITEMS,), {"layer": 1}),
    "icv": ((ITEMS,), {}),
    "mean_difference": ((TEXTS, TEXTS), {"layer": 1}),
    "fv": ((TASKS,), {"layer": 1}),
    "steered": ((VECTOR,), {}),
}


def called(name):
    return getattr(extract, name) if name in extract.__all__ else getattr(pytest_steer, name)


def enter(found):
    if hasattr(found, "__enter__"):
        with found:
            pass


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            "hf",
            r"the model is a LlamaForCausalLM, not a Model: wrap it with its tokenizer, wrap_model\(model, tokenizer\), or load",
        ),
        ("name", r"the model is a str, not a Model: load it with load_model\('gpt2'\)"),
        ("None", r"the model is None, not a Model: load one with load_model\(name\)"),
    ],
)
def test_a_model_of_the_wrong_kind(name, model, words):
    arguments, more = CALLS[name]
    given = {"hf": builders.random_model("llama").hf, "name": "gpt2", "None": None}[model]
    with pytest.raises(SteerError, match=f"{name}: {words}"):
        enter(called(name)(given, *arguments, **more))


@pytest.mark.parametrize("name", CALLS)
def test_the_model_in_another_place(name):
    (first, *rest), more = CALLS[name]
    with pytest.raises(SteerError, match=rf"{name}: the model comes first: write {name}\(model, "):
        enter(called(name)(first, builders.random_model("llama"), *rest, **more))


def test_steering_without_the_model_says_what_to_write():
    with pytest.raises(SteerError, match=r"steered: the model comes first: write steered\(model, intervention, \.\.\.\)"):
        enter(pytest_steer.steered(VECTOR))


@pytest.mark.parametrize(
    "name", [name for name, (arguments, _) in CALLS.items() if VECTOR in arguments and len(arguments) > 1]
)
def test_vector_and_data_in_each_others_place(name):
    (first, second, *rest), more = CALLS[name]
    with pytest.raises(SteerError, match=rf"{name}.*write {name}\(model, |expected a SteeringVector|prompts"):
        called(name)(builders.random_model("llama"), second, first, *rest, **more)


@pytest.mark.parametrize("name", [name for name, (arguments, _) in CALLS.items() if VECTOR in arguments])
def test_a_tensor_for_a_vector(name):
    arguments, more = CALLS[name]
    given = [torch.ones(32) if one is VECTOR else one for one in arguments]
    with pytest.raises(SteerError, match=r"wrap a tensor as SteeringVector\(\{layer: tensor\}\)"):
        enter(called(name)(builders.random_model("llama"), *given, **more))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, (arguments, _) in CALLS.items()
        if arguments != (VECTOR,) and name != "generate"
        # None stands for the questions that ship with the package.
        for value in ("file.json", 3, *(() if name == "assert_capability_delta_below" else (None,)))
    ],
)
def test_data_of_the_wrong_kind(name, value):
    arguments, more = CALLS[name]
    given = [value if one in (ITEMS, TEXTS, TASKS, QUESTIONS, PROMPTS) else one for one in arguments]
    words = (
        rf"{name}: \w+ is .*read a file with read_\w+\(path\), or give a list|prompts are a list, not .*read_prompts\(path\)"
    )
    with pytest.raises(SteerError, match=words):
        called(name)(builders.random_model("llama"), *given, **more)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("assert_steers", {"multiplier": [1.0]}, r"multiplier is one number, not \[1.0\]; multipliers= takes several"),
        ("assert_steers", {"steerability": [0.1]}, "steerability must be a number, but is a list"),
        ("assert_steers", {"include_first": "no"}, "include_first is True or False, not 'no'"),
        ("assert_steers", {"allow_mismatch": ("modle",)}, r"allow_mismatch is \('model',\), \('template',\) or both"),
        (
            "assert_steers",
            {"allow_mismatch": "model"},
            r"allow_mismatch is \('model',\), \('template',\) or both, not 'model'",
        ),
        ("assert_steers", {"name": 3}, "name is a text that reports show, not 3"),
        ("perplexity", {"include_first": 1}, "perplexity: include_first is True or False, not 1"),
        ("assert_promotes", {"nats": -0.1}, "nats must be at least 0, but is -0.1"),
        ("assert_promotes", {"nats": "much"}, "nats must be a number, but is the text 'much'"),
        (
            "assert_suppresses",
            {"beside": "letters.json"},
            r"beside is the text 'letters.json': read a file with read_items\(path\)",
        ),
        ("assert_suppresses", {"beside": VECTOR}, "beside is a SteeringVector"),
        ("assert_holds_in_contexts", {"contexts": {}}, "there are no contexts to search"),
        ("assert_steers", {"confidence": 95}, r"Did you mean 0.95 \(95 %\)\?"),
        ("assert_steers", {"confidence": [0.9]}, r"confidence is one number, not \[0.9\]"),
        ("assert_steers", {"interval": "bca"}, "interval must be t, bootstrap or transformed_t, but is the text 'bca'"),
        ("assert_steers", {"context": "swapped"}, r"context is a str: write context=Context\("),
        ("assert_steers", {"multipliers": 1.0}, "steers: multipliers must be a list, but is 1.0"),
        ("assert_ppl_delta_below", {"confidence": 95}, r"Did you mean 0.95 \(95 %\)\?"),
        ("assert_ppl_delta_below", {"interval": "bca"}, "interval must be t, bootstrap or transformed_t"),
        ("assert_steers_at_cost", {"interval": "bca"}, "interval must be t, bootstrap or transformed_t"),
        ("assert_steers_at_cost", {"max_multiplier": [3]}, "max_multiplier must be a number"),
        ("assert_holds_in_contexts", {"interval": "bca"}, "interval must be t, bootstrap or transformed_t"),
        ("assert_holds_in_contexts", {"contexts": ["a"]}, "contexts are axes with their values, or a strategy"),
        ("assert_holds_in_contexts", {"listed": ["a"]}, "listed and only are Contexts"),
        ("assert_generalizes", {"contexts": ["a"]}, "contexts are named"),
        ("assert_leaves_alone", {"behaviours": ITEMS}, "behaviours are named"),
        ("assert_leaves_alone", {"behaviours": {"other": "file.json"}}, "behaviours.other: .*read a file with read_items"),
        ("assert_performs_task", {"n_shots": [1]}, "n_shots must be a whole number"),
        ("assert_kl_below", {"interval": "bca"}, "interval must be t, bootstrap or transformed_t"),
        ("assert_kl_below", {"limit": 0}, "limit must be greater than 0, but is 0"),
        ("assert_kl_below", {"quantile": 90}, "quantile must be greater than 0 and less than 1, but is 90"),
        ("assert_kl_below", {"on": "answers"}, "on must be auto, texts or items, but is the text 'answers'"),
        ("assert_capability_delta_below", {"by": "letter"}, "by must be sum, mean or letters, but is the text 'letter'"),
        ("kl_divergence", {"multiplier": [1.0]}, r"multiplier is one number, not \[1.0\]"),
        ("perplexity", {"multiplier": [1.0]}, r"multiplier is one number, not \[1.0\]"),
        ("multipliers_at_cost", {"budget": "5 %"}, "budget is one number, not '5 %'"),
        ("caa", {"layer": "1"}, "layer is the number of a decoder block, from 0 on, or a list of them, not '1'"),
        ("caa", {"layer": None}, "layer is the number of a decoder block"),
    ],
)
def test_values_of_the_wrong_kind(name, more, words, monkeypatch):
    model = builders.random_model("llama")
    monkeypatch.setattr(model, "hf", None)  # nothing runs before it is refused
    arguments, usual = CALLS[name]
    with pytest.raises(SteerError, match=words):
        called(name)(model, *arguments, **usual | more)


def test_a_text_among_texts_that_is_none():
    with pytest.raises(SteerError, match="perplexity: texts is a list of texts, and an int is in it"):
        pytest_steer.perplexity(builders.random_model("llama"), ["a text", 3])


def test_interventions_that_are_not_deployed():
    model = builders.random_model("llama")
    with pytest.raises(SteerError, match=r"write \{name: Deployed\(vector, multiplier=1.0\)\}"):
        pytest_steer.multipliers_at_cost(model, TEXTS, {"v": VECTOR})
    with pytest.raises(SteerError, match=r"write \{name: \(Deployed\(vector\), multiplier\)\}"):
        pytest_steer.effects_at(model, ITEMS, VECTOR)
    with pytest.raises(SteerError, match="other than 0"):
        Deployed(VECTOR, [1.0])


def test_a_model_without_a_tokenizer():
    with pytest.raises(
        SteerError, match=r"wrap_model needs the model's tokenizer, not NoneType: wrap_model\(hf, AutoTokenizer"
    ):
        wrap_model(builders.random_model("llama").hf, None)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("task_accuracy", {"n_shot": 5}, "unexpected keyword argument 'n_shot': did you mean 'n_shots'"),
        ("assert_steers_at_cost", {"budge": 0.1}, "unexpected keyword argument 'budge': did you mean 'budget'"),
        ("propensity_curve", {"multiplier": 1}, "unexpected keyword argument 'multiplier': did you mean 'multipliers'"),
    ],
)
def test_misspelt_keywords(name, more, words):
    arguments, usual = CALLS[name]
    with pytest.raises(TypeError, match=words):
        called(name)(builders.random_model("llama"), *arguments, **usual | more)


def test_a_curve_of_the_unsteered_model():
    model = builders.random_model("llama")
    bare = pytest_steer.propensity_curve(model, ITEMS, None, multipliers=[-1, 0, 1])
    steered = pytest_steer.propensity_curve(model, ITEMS, SteeringVector(VECTOR.directions), multipliers=[0])
    assert (bare.values == steered.values).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: load_model(None),
            "a model is named by a text, a folder, a .gguf file, a hub id or 'builtin:tiny', not by None",
        ),
        (lambda: read_items(3), "a data file is named by its path, not by 3"),
        (lambda: SteeringVector(torch.ones(3)), r"not a Tensor: write SteeringVector\({5: tensor}\)"),
    ],
)
def test_what_names_no_file_and_no_model(call, words):
    with pytest.raises(SteerError, match=words):
        call()
