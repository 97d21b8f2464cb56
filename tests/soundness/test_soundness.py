"""Sound hooks pass on every family; hooks broken in each way that published ones were are caught by the property that names it."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager, nullcontext

import broken_hooks
import builders
import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer import SteeringFailure, SteeringVector, assert_hooks_are_sound, wrap_model
from pytest_steer.claims import evidence_of
from pytest_steer.claims.kinds import hooks_are_sound
from pytest_steer.claims.kinds.hooks_are_sound import HooksAreSound
from pytest_steer.core.errors import MeasurementError, SoundnessError, SteerError, VectorError
from pytest_steer.measures.subject import Subject
from pytest_steer.report import report_schema
from pytest_steer.soundness import PROPERTIES, check_before, own
from pytest_steer.soundness.bench import Unsteered
from pytest_steer.soundness.examine import Trial
from pytest_steer.soundness.examples import HookExample
from pytest_steer.stats import Verdict
from pytest_steer.steering import as_intervention, custom, first_steered, gated_by_condition

SCOPES = ("all", "after_prompt", "last")
EVERY = builders.FAMILIES + builders.FURTHER


def broken_by(model, apply, **more):
    """The broken properties' names, and the evidence."""
    try:
        evidence = assert_hooks_are_sound(model, apply=apply, **{"max_batches": 4, **more})
    except SteeringFailure as failure:
        evidence = failure.evidence
    return {entry.property for entry in evidence.soundness.broken}, evidence


# --- sound ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*builders.each_kind_by_day(EVERY), "rwkv"])
def test_own_steering_is_sound_on_every_family(family):
    model, scope = builders.random_model(family), SCOPES[(*EVERY, "rwkv").index(family) % 3]
    evidence = assert_hooks_are_sound(model, builders.random_vector(1), positions=scope, max_batches=2)
    assert evidence.passed
    assert evidence.estimate == 0
    skipped = evidence.soundness.skipped
    if family == "rwkv":  # it makes no use of the mask
        assert set(skipped) <= {"padding_side"}
    elif family == "openai":
        assert set(skipped) == {"cached_decoding"}
        assert skipped["cached_decoding"] == "the model takes no cache"
    else:
        assert skipped == {}
    assert {*evidence.soundness.holds, *skipped} == set(PROPERTIES)
    assert builders.hooks_of(model.hf) == 0


def test_where_nothing_could_be_looked_at_nobody_says_sound():
    model, intervention = builders.random_model("llama"), as_intervention(builders.random_vector(1))
    every = tuple(name for name in PROPERTIES if name != "runs")
    for left_out, sound in ((tuple(PROPERTIES), None), (every, True)):
        found = Trial(model, lambda layer: own(model, Subject(vector=intervention)), left_out, Unsteered())
        found.try_on(HookExample(("One.", "Two."), 1.0))
        assert found.record({}).sound is sound


def test_own_steering_at_several_layers_and_at_the_first_position():
    model, vector = builders.random_model("gpt2", chat=False), builders.random_vector(0, 2)
    evidence = assert_hooks_are_sound(model, vector, positions="all", include_first=True, multiplier=-2.0, max_batches=3)
    assert evidence.soundness.skipped.keys() == {"zero_tokens"}


def test_a_vector_of_one_layer_is_tried_at_the_others_too(monkeypatch):
    tried = set()
    monkeypatch.setattr(hooks_are_sound, "own", lambda model, subject, layer: tried.add(layer) or own(model, subject, layer))
    model = builders.random_model("llama")
    assert_hooks_are_sound(model, builders.random_vector(1), max_batches=10)
    assert tried == {None, *range(model.n_layers)} - {1}
    tried.clear()
    assert_hooks_are_sound(model, builders.random_vector(0, 1), max_batches=4)
    assert tried == {None}


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", ["sound", "sound_by_wrapping", "sound_on_the_next_input"])
@pytest.mark.parametrize("family", builders.each_kind_by_day(["bloom", "openai", "gpt2", "gptj", "gemma3"]))
@pytest.mark.parametrize("scope", ["all", "last"])
def test_a_users_sound_hooks_pass(family, way, scope):
    model, vector = builders.random_model(family), builders.random_vector(0, 1)
    apply = getattr(broken_hooks, way)(model, vector.directions, None)
    broken, evidence = broken_by(model, apply, directions=vector.directions, positions=scope, max_batches=2)
    assert not broken
    assert {"measuring", "zero_tokens"} <= evidence.soundness.skipped.keys()
    assert builders.hooks_of(model.hf) == 0


def test_strengths_without_a_slope_are_not_asked_for_one():
    model, axis = builders.random_model("llama"), builders.random_vector(1).directions[1]
    unit = axis / axis.norm()
    ablate = custom(lambda h, s, k: h - (h @ unit)[..., None] * unit, layers=1, strength="ignored", name="ablate")
    evidence = assert_hooks_are_sound(model, ablate, max_batches=2)
    assert evidence.soundness.skipped == {"identity": "the strength is ignored", "sign": "the strength is ignored"}
    blend = custom(lambda h, s, k: h * (1 - 0.5 * s), layers=1, strength="interpolated", name="blend")
    assert assert_hooks_are_sound(model, blend, max_batches=2).soundness.skipped == {"sign": "the strength is interpolated"}


def test_half_precision_has_tolerances_of_its_own():
    model = wrap_model(builders.random_hf("llama").bfloat16(), builders.tokenizer(), "bf16")
    evidence = assert_hooks_are_sound(model, builders.random_vector(1), positions="after_prompt", max_batches=3)
    assert evidence.passed
    assert evidence.soundness.skipped == {}


@pytest.mark.parametrize("half", [True, False])
def test_a_difference_between_batches_as_small_as_a_rounding_is_allowed_in_half_precision_only(half):
    hf = builders.random_hf("llama")
    model = wrap_model(hf.bfloat16() if half else hf, builders.tokenizer(), "m")
    directions = {layer: direction.to(model.hf.dtype) for layer, direction in builders.random_vector(1).directions.items()}
    inner = broken_hooks.sound(model, directions, None)

    def apply(multiplier, batch):
        return inner(multiplier * (1.01 if len(batch.starts) == 1 else 1), batch)

    broken, _ = broken_by(model, apply, layers=1)
    assert broken == (set() if half else {"batch_size"})


# --- broken --------------------------------------------------------------------------------------------------------------

ALL, FIRST, AFTER = ("all", False), ("all", True), ("after_prompt", False)
BATCH = {"batch_size", "batch_order", "padding_side"}
BROKEN = [
    # (way, scope, the property that names it, others that may follow from it)
    ("silent_unless_a_tuple", FIRST, "output_type", {"dose", "first_position"}),
    ("twice", ALL, "dose", set()),
    ("one_position_late", AFTER, "dose", set()),
    ("scaled_in_place", ALL, "repetition", {"dose", "sign", "cached_decoding", "nothing_left", "exceptions", *BATCH}),
    ("prompt_only", AFTER, "cached_decoding", set()),
    ("pads_too", ALL, "padding", set()),
    ("next_layer", ALL, "layer", {"dose"}),
    ("another_layer_too", ALL, "layer", set()),
    ("hooks_left", ALL, "nothing_left", {"exceptions"}),
    ("wrapper_left", ALL, "nothing_left", set()),
    ("bias_left", ALL, "nothing_left", {"exceptions", "repetition"}),
    ("evaluation_mode_lost", ALL, "nothing_left", set()),
    ("hooks_left_after_an_error", ALL, "exceptions", set()),
    ("swallows", ALL, "exceptions", set()),
    ("never_off", ALL, "identity", set()),
    ("no_sign", ALL, "sign", {"dose"}),
    ("mean_over_padding", ALL, "batch_size", {"dose", "padding_side", "cached_decoding"}),
    ("gate_of_the_first_row", ALL, "batch_order", {"dose", "batch_size", "padding_side", "cached_decoding"}),
    ("columns_for_positions", AFTER, "padding_side", {"dose", "padding"}),
    ("first_position_too", ALL, "first_position", set()),
    ("fails", ALL, "runs", set()),
]


@pytest.mark.parametrize(("way", "scope", "named", "others"), BROKEN, ids=[row[0] for row in BROKEN])
def test_each_way_to_break_a_hook_is_caught_by_the_property_that_names_it(way, scope, named, others):
    model = wrap_model(builders.random_hf("opt"), builders.tokenizer(), "m")
    directions = {1: builders.random_vector(1).directions[1].clone()}
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    apply = getattr(broken_hooks, way)(model, directions, None)
    broken, evidence = broken_by(model, apply, directions=directions, positions=scope[0], include_first=scope[1])
    assert named in broken
    assert broken <= {named, *others}
    assert f"  {named}: " in evidence.message
    # Whatever it left is gone.
    assert builders.hooks_of(model.hf) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())
    assert torch.equal(directions[1], builders.random_vector(1).directions[1])
    assert not model.hf.training


def test_a_dose_that_nobody_declared_is_still_held_to_its_batch():
    model = builders.random_model("llama")
    apply = broken_hooks.mean_over_padding(model, builders.random_vector(1).directions, None)
    broken, evidence = broken_by(model, apply, layers=1)
    assert "dose" not in broken
    assert "batch_size" in broken
    assert "the size of the dose was not checked" in evidence.warnings[0]


def test_a_layer_that_is_left_out_of_two():
    model, vector = builders.random_model("llama"), builders.random_vector(0, 2)
    apply = broken_hooks.sound(model, {0: vector.directions[0]}, None)
    broken, evidence = broken_by(model, apply, vector=vector)
    assert broken == {"dose"}
    assert "block 0 moves as declared, block 2 does not" in evidence.message


def test_other_peoples_hooks_are_put_back():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    seen = []
    handle = model.blocks[0].register_forward_hook(lambda *_: seen.append(1))
    directions = builders.random_vector(1).directions
    broken, evidence = broken_by(model, broken_hooks.all_hooks_cleared(model, directions, None), directions=directions)
    assert broken == {"nothing_left"}
    assert "model.layers.0: 1 hook(s) of others removed" in evidence.message
    seen.clear()
    model.hf(input_ids=torch.tensor([[10, 11]]))
    assert seen == [1]
    handle.remove()
    assert builders.hooks_of(model.hf) == 0


def test_weights_that_are_written_to_without_a_trace_are_noticed_and_put_back():
    model = wrap_model(builders.random_hf("opt"), builders.tokenizer(), "m")
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    directions = builders.random_vector(1).directions
    others = [name for name in PROPERTIES if name != "nothing_left"]
    apply = broken_hooks.bias_left_unseen(model, directions, None)
    broken, evidence = broken_by(model, apply, directions=directions, leave_out=others)
    assert broken == {"nothing_left"}
    assert "weights are changed: " in evidence.message
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())


def test_a_vector_of_another_template_is_caught_by_the_property_template():
    model = builders.random_model("llama")
    vector = SteeringVector(builders.random_vector(1).directions, {"template_hash": "f" * 64})
    evidence = evidence_of(HooksAreSound(vector, max_batches=3), model)
    assert [entry.property for entry in evidence.soundness.broken] == ["template"]
    accepted = HooksAreSound(vector, max_batches=3, allow_mismatch=("template",))
    assert evidence_of(accepted, model).passed


def test_a_batch_dependent_function_of_ones_own_is_caught():
    model = builders.random_model("llama")
    centred = custom(lambda h, s, k: h - s * h.mean((0, 1), keepdim=True), layers=1, strength="linear", name="centred")
    broken, _ = broken_by(model, None, vector=centred)
    assert "batch_size" in broken


def test_a_scope_that_is_off_by_one_is_caught_in_our_own_steering(monkeypatch):
    """The mark moved in ``steering``, and not in what declares it."""
    from pytest_steer.model import hooks

    monkeypatch.setattr(hooks, "first_steered", lambda *a, **k: first_steered(*a, **k) + 1)
    broken, _ = broken_by(builders.random_model("llama"), None, vector=builders.random_vector(1), positions="after_prompt")
    assert {"dose", "measuring"} <= broken


def test_an_engine_that_measures_something_else_is_caught(monkeypatch):
    from pytest_steer.model import forward, hooks

    def more(model, change, dose, *part):
        return hooks.hooked(model, change, lambda: (1.01 * dose()[0], dose()[1]), *part)

    monkeypatch.setattr(forward, "hooked", more)
    broken, _ = broken_by(builders.random_model("llama"), None, vector=builders.random_vector(1))
    assert broken == {"measuring"}


def test_silence_about_nothing_steered_is_caught(monkeypatch):
    from pytest_steer.model import hooks

    monkeypatch.setattr(hooks._Scope, "see", _see_and_count_one_more(hooks._Scope.see))
    # The other scopes refuse a prompt that is longer than the input before anything runs.
    broken, _ = broken_by(builders.random_model("llama"), None, vector=builders.random_vector(1), positions="all")
    assert broken == {"zero_tokens"}


def _see_and_count_one_more(see):
    def counting(scope, *arguments):
        see(scope, *arguments)
        scope.tokens += 1

    return counting


# --- examples --------------------------------------------------------------------------------------------------------------


def test_the_example_is_small_and_says_what_breaks():
    model = builders.random_model("llama")
    directions = builders.random_vector(1).directions

    def apply(multiplier, batch):
        rounded = multiplier if len(batch.starts) == 2 or multiplier > 0 else 0.9 * multiplier
        return broken_hooks.sound(model, directions, None)(rounded, batch)

    _, evidence = broken_by(model, apply, directions=directions, leave_out=["batch_size", "sign"], max_batches=40)
    (entry,) = (entry for entry in evidence.soundness.broken if entry.property == "dose")
    assert entry.example == {"texts": ["", "", ""], "multiplier": -1.0, "padding": "right", "layer": None}
    assert "block 1 moves by 0.9 times the declared dose" in entry.message
    assert "smallest example: texts ['', '', ''], multiplier -1, padding right" in evidence.message


def test_the_same_seed_gives_the_same_evidence():
    model, directions = builders.random_model("llama"), builders.random_vector(1).directions
    apply = broken_hooks.columns_for_positions(model, directions, None)
    found = [broken_by(model, apply, directions=directions, positions="after_prompt")[1] for _ in range(2)]
    assert found[0].soundness.broken == found[1].soundness.broken
    assert found[0].soundness.forwards == found[1].soundness.forwards


def test_prompts_of_ones_own_are_tried():
    model, seen = builders.random_model("llama"), set()
    inner = broken_hooks.sound(model, builders.random_vector(1).directions, None)

    def apply(multiplier, batch):
        seen.update(model.tokenizer.decode(row) for row in batch.input_ids)
        return inner(multiplier, batch)

    prompts = ["my own prompt"]
    assert not broken_by(model, apply, directions=builders.random_vector(1).directions, prompts=prompts)[0]
    assert any("my own prompt" in text for text in seen)


def test_hypothesis_settings_of_the_user_neither_count_nor_change():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    settings.register_profile("users", max_examples=1, derandomize=True, database=None, phases=[])
    before = settings.get_current_profile_name() if hasattr(settings, "get_current_profile_name") else None
    settings.load_profile("users")
    try:
        assert assert_hooks_are_sound(model, vector, max_batches=4).n == 4
        assert settings().max_examples == 1
    finally:
        settings.load_profile(before or "default")


@settings(max_examples=1, deadline=None)
@given(scope=st.sampled_from(SCOPES))
def test_inside_of_a_hypothesis_test(scope):
    assert assert_hooks_are_sound(
        builders.random_model("llama"), builders.random_vector(1), positions=scope, max_batches=2
    ).passed


# --- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing steers: give a SteeringVector or an Intervention"),
        ({"layers": 1}, "layers alone steer nothing"),
        ({"apply": lambda m: None}, r"declare one of vector, directions or layers \(given: none\)"),
        ({"vector": builders.random_vector(1), "apply": 3}, "apply is a function of the multiplier"),
        ({"vector": builders.random_vector(1), "apply": lambda a, b, c: None}, r"called as apply\(multiplier\) or apply"),
        (
            {"vector": builders.random_vector(1), "apply": lambda m: None},
            "has to return a context manager .* returned NoneType",
        ),
        ({"vector": builders.random_vector(1), "leave_out": ["doze"]}, "'doze' is not a property of hooks; they are runs, "),
        ({"vector": builders.random_vector(1), "leave_out": [*PROPERTIES]}, "leaves no property of steering to look at"),
        ({"vector": builders.random_vector(1), "max_batches": 1}, "max_batches must be at least 2"),
        ({"vector": builders.random_vector(1), "prompts": "one"}, "prompts is a list of texts"),
        ({"vector": torch.ones(32)}, "expected a SteeringVector or an Intervention"),
        ({"vector": builders.random_vector(1), "multiplier": 0.0}, "must not be 0"),
    ],
)
def test_what_cannot_be_tested_is_an_error(arguments, message):
    with pytest.raises(SteerError, match=message):
        assert_hooks_are_sound(builders.random_model("llama"), **arguments)
    assert builders.hooks_of(builders.random_model("llama").hf) == 0


def test_nan_is_an_error_and_never_a_pass():
    hf = builders.random_hf("llama")
    half = wrap_model(copy.deepcopy(hf).half(), builders.tokenizer(), "m")
    with pytest.raises(MeasurementError, match="the model gives NaN or infinity at multiplier"):
        assert_hooks_are_sound(half, builders.random_vector(1), multiplier=1e6)
    with torch.no_grad():
        hf.get_output_embeddings().weight[3] = float("nan")
    with pytest.raises(MeasurementError, match="the model gives NaN or infinity unsteered"):
        assert_hooks_are_sound(wrap_model(hf, builders.tokenizer(), "m"), builders.random_vector(1))


def test_left_out_properties_are_not_asked():
    model, directions = builders.random_model("llama"), builders.random_vector(1).directions
    apply = broken_hooks.twice(model, directions, None)
    broken, evidence = broken_by(model, apply, directions=directions, leave_out="dose")
    assert not broken
    assert evidence.soundness.skipped["dose"] == "left out on request"
    assert evidence.verdict is Verdict.INCONCLUSIVE  # the prompt may be steered, and nobody looked
    assert "not looked at: dose; a verdict needs dose" in evidence.message


def test_an_ordinary_hook_is_told_when_padding_may_be_left_out_and_takes_few_forwards():
    model, directions = builders.random_model("llama"), builders.random_vector(1).directions

    @contextmanager
    def apply(multiplier):
        def hook(_module, _inputs, output):
            return broken_hooks.with_hidden(output, broken_hooks.hidden_of(output) + multiplier * directions[1])

        handle = model.blocks[1].register_forward_hook(hook)
        yield
        handle.remove()

    arguments = {"directions": directions, "positions": "all", "include_first": True, "max_batches": 20}
    broken, evidence = broken_by(model, apply, leave_out=["exceptions"], **arguments)
    assert broken == {"padding"}
    assert evidence.soundness.forwards <= 90
    assert 'write `leave_out: [padding]`, in Python leave_out=["padding"]' in evidence.message
    broken, evidence = broken_by(model, apply, leave_out=["exceptions", "padding", "cached_decoding"], **arguments)
    assert (evidence.verdict, evidence.n) == (Verdict.PASS, 20)
    assert "PASS  sound: all 14 properties hold; not looked at: padding, cached decoding, exceptions\n" in evidence.message
    # Whether results depend on padding was not looked at either.
    _, evidence = broken_by(
        model, apply, leave_out=["exceptions", "padding", "batch_size"], **{**arguments, "max_batches": 2}
    )
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "a verdict needs padding, batch size" in evidence.message


def test_steering_that_changes_nothing_is_not_sound():
    model = builders.random_model("llama")
    nothing = custom(lambda h, s, k: h, layers=1, strength="linear", name="nothing")
    broken, evidence = broken_by(model, None, vector=nothing)
    assert (broken, evidence.verdict) == ({"moves"}, Verdict.FAIL)
    assert "nothing was steered: no hidden state changes in any of 4 batches" in evidence.message
    with pytest.raises(SoundnessError, match="the hooks are not sound: moves: nothing was steered"):
        check_before(model, Subject(vector=nothing))
    broken, _ = broken_by(model, lambda multiplier: nullcontext(), layers=1)
    assert broken == {"output_type"}
    # A condition that is never met is no fault of the hooks, and no proof of them.
    vector = builders.random_vector(1)
    never = gated_by_condition(as_intervention(vector), vector, threshold=1.0, fires="above")
    broken, evidence = broken_by(model, None, vector=never)
    assert (broken, evidence.verdict) == (set(), Verdict.INCONCLUSIVE)
    assert "not looked at: moves" in evidence.message
    assert "moves" in check_before(model, Subject(vector=never)).skipped


def capped(direction, cap, **declared):
    """What exceeds the cap of the projection is taken away; nothing happens below it."""
    unit = direction / direction.norm()

    def transform(hidden, strength, layer):
        return hidden - strength * torch.relu(hidden @ unit - cap)[..., None] * unit

    return custom(transform, layers=[1], strength="interpolated", name="capped", **declared)


@pytest.mark.parametrize(("cap", "include_first"), [(0.0, True), (1e9, False)])
def test_what_may_rest_says_so_and_is_sound(cap, include_first):
    model, direction = builders.random_model("llama"), builders.random_vector(1).directions[1]
    capping, scope = capped(direction, cap, rests=True), {"positions": "all", "include_first": include_first}
    broken, evidence = broken_by(model, None, vector=capping, **scope)
    assert broken == set()
    assert evidence.verdict is (Verdict.INCONCLUSIVE if cap else Verdict.PASS)  # what never acts proves nothing
    assert check_before(model, Subject(vector=capping, **scope)).broken == ()
    if cap:
        with pytest.raises(SoundnessError, match=r"moves: nothing was steered.*declare that: custom\(\.\.\., rests=True\)"):
            check_before(model, Subject(vector=capped(direction, cap)))


# --- evidence, and the check before claims -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sound", "twice"])
def test_evidence_is_valid_under_the_schema(way):
    model, directions = builders.random_model("llama"), builders.random_vector(1).directions
    _, evidence = broken_by(model, getattr(broken_hooks, way)(model, directions, None), directions=directions)
    claim = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
    schema = report_schema()
    jsonschema.validate(claim, {**schema["$defs"]["ClaimRecord"], "$defs": schema["$defs"]})
    assert claim["verdict"] == ("pass" if way == "sound" else "fail")
    assert claim["interval"] == [None, None]
    assert claim["receipt"]["steered_tokens"] > 0
    assert claim["vector"]["relative_dose"] > 0


def test_before_claims_every_intervention_is_checked_once():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    subject = Subject(vector=builders.random_vector(1))
    first = check_before(model, subject)
    assert first.sound
    assert first.examples == 1
    assert check_before(model, Subject(vector=builders.random_vector(1), multiplier=2.0)) is first
    assert check_before(model, Subject(vector=builders.random_vector(1), positions="last")) is not first
    every_token = check_before(model, Subject(vector=builders.random_vector(1), positions="all"))
    assert (
        check_before(model, Subject(vector=builders.random_vector(1), positions="all", include_first=True))
        is not every_token
    )


def test_before_claims_nothing_is_remembered_of_other_weights():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    assert check_before(model, Subject(vector=builders.random_vector(1))).sound
    with torch.no_grad():
        for weight in model.hf.parameters():
            weight.mul_(0.9)
    assert check_before(model, Subject(vector=builders.random_vector(2))).sound


def test_before_claims_what_is_not_sound_is_an_error_that_names_the_property():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    centred = custom(lambda h, s, k: h - s * h.mean((0, 1), keepdim=True), layers=1, strength="linear", name="centred")
    for _ in range(2):
        with pytest.raises(SoundnessError, match=r"the hooks are not sound: .*: .*--steer-no-soundness") as caught:
            check_before(model, Subject(vector=centred))
        assert "batch_size" in str(caught.value)
        assert not caught.value.soundness.sound


def test_before_claims_a_vector_that_does_not_fit_is_the_error_that_it_was():
    with pytest.raises(VectorError, match="acts on layer 7"):
        check_before(builders.random_model("llama"), Subject(vector=builders.random_vector(7)))


@pytest.mark.parametrize("family", [*builders.each_kind_by_day(EVERY), "rwkv"])
def test_before_claims_every_family_is_sound(family):
    for scope in SCOPES:
        subject = Subject(vector=builders.random_vector(0, 2), positions=scope)
        assert check_before(builders.random_model(family), subject).sound
