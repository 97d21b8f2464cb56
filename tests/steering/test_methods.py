"""Every method of steering on its own, without a model: exact properties, the papers' formulas, files."""

from __future__ import annotations

from typing import Annotated

import builders
import plain_methods
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer import Intervention, SteeringVector
from pytest_steer.core import registry
from pytest_steer.core.errors import VectorError
from pytest_steer.core.parameters import Param
from pytest_steer.steering import (
    SAVED_VECTOR,
    Rows,
    ablate,
    add,
    add_at_unit_norm,
    add_keeping_norm,
    affine,
    clamp,
    custom,
    gated_by_condition,
    gated_by_probe,
    intervention,
    load_intervention,
    masked,
    module,
    rotate,
    save_intervention,
)

quickly = settings(deadline=None, derandomize=True, database=None, max_examples=60)
WIDTH = 6
numbers = st.floats(-4, 4, width=32)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(hidden):
    return torch.ones(hidden.shape[:2], dtype=torch.bool)


def use(change, hidden, m=1.0, layer=0, rows=None):
    return change.apply(hidden, torch.full((hidden.shape[0], 1), float(m)), everywhere(hidden), layer, rows)


V = {0: rand(WIDTH, seed=1), 2: rand(WIDTH, seed=2)}
PLANE = {0: rand(2, WIDTH, seed=3), 2: rand(2, WIDTH, seed=4)}
W, B = {0: rand(WIDTH, WIDTH, seed=5)}, {0: rand(WIDTH, seed=6)}
NET = torch.nn.Sequential(torch.nn.Linear(WIDTH, 9), torch.nn.Tanh(), torch.nn.Linear(9, WIDTH))

ALL = {
    "add": add(SteeringVector(V)),
    "add_keeping_norm": add_keeping_norm(V),
    "add_at_unit_norm": add_at_unit_norm(V),
    "ablate": ablate(V),
    "ablate interpolated": ablate(V, strength="interpolated"),
    "clamp": clamp(V, value={0: 2.5, 2: -1.0}),
    "affine": affine(W, B),
    "rotate": rotate(PLANE, angle=30.0),
    "masked": masked(V, keep=5),
    "gated_by_condition": gated_by_condition(add(SteeringVector({2: V[2]})), {0: V[0]}, threshold=0.3),
    "gated_by_probe": gated_by_probe(ablate(V), V, {0: 0.5}),
    "gate within a gate": gated_by_probe(
        gated_by_condition(clamp(V, value=1.0), {0: V[2]}, threshold=0.1, fires="below"), V
    ),
    "module": module(NET, layers=[0, 2], name="tanh net"),
}  # fmt: skip
SAVED = [name for name in ALL if name != "module"]


def by_hand(name, h, m, layer):
    """One hidden state, from the formula."""
    v, eye = V[layer], torch.eye(WIDTH)
    if name == "add":
        return h + m * v
    if name == "add_keeping_norm":
        return plain_methods.keep_norm(h, v, m)
    if name == "add_at_unit_norm":
        return plain_methods.at_unit_norm(h, v, m)
    if name == "ablate":
        return plain_methods.ablate(h, v)
    if name == "ablate interpolated":
        return h - m * torch.outer(v, v) @ h / (v @ v)
    if name == "clamp":
        return plain_methods.clamp(h, v, {0: 2.5, 2: -1.0}[layer], m)
    if name == "affine":
        return (1 - m) * h + m * (W[layer] @ h + B[layer])
    if name == "rotate":
        return plain_methods.rotate(h, *PLANE[layer], m * torch.pi / 6)
    if name == "masked":
        ranked = sorted(((abs(float(x)), layer, i) for layer, v in V.items() for i, x in enumerate(v)), reverse=True)[:5]
        return h + m * h * torch.tensor([float((layer, i) in {r[1:] for r in ranked}) for i in range(WIDTH)])
    if name == "module":
        with torch.no_grad():
            return h + m * (NET(h) - h)
    assert name == "gated_by_probe"
    return plain_methods.ablate(h, v) if float(v @ h) + {0: 0.5, 2: 0.0}[layer] > 0 else h @ eye


POINTWISE = [name for name in ALL if "condition" not in name and name != "gate within a gate"]


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("m", [0.0, 1.0, -0.7, 2.0])
def test_every_method_is_its_formula(name, m):
    change, hidden = ALL[name], 2 * rand(3, 4, WIDTH, seed=9)
    for layer in change.layers:
        got = use(change, hidden, m, layer)
        if m == 0 and change.strength != "ignored":
            assert torch.equal(got, hidden)
            continue
        want = torch.stack([torch.stack([by_hand(name, h, m, layer) for h in row]) for row in hidden])
        torch.testing.assert_close(got, want, rtol=1e-6, atol=5e-6)
        assert not torch.equal(got, hidden) or (name == "masked" and not change.recipe.per_layer("mask")[layer].any())


@pytest.mark.parametrize("name", list(ALL))
def test_a_strength_for_each_row_is_each_row_alone(name):
    change, hidden = ALL[name], rand(3, 5, WIDTH, seed=10)
    strength = torch.tensor([[1.0], [-0.5], [0.0]])
    prompt = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)

    def run(rows):
        known, h = Rows(prompt[rows]), hidden[rows]
        for layer in change.layers:
            h = change.apply(h, strength[rows], everywhere(h), layer, known)
        return h

    together = run(slice(None))
    for row in range(3):
        torch.testing.assert_close(together[row], run(slice(row, row + 1))[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", list(ALL))
def test_half_precision_keeps_its_type_and_is_close(name):
    change, hidden = ALL[name], rand(1, 3, WIDTH, seed=11)
    rows = Rows(torch.ones(1, 3, dtype=torch.bool))
    for layer in change.layers:
        small = use(change, hidden.bfloat16(), 1.0, layer, rows)
        assert small.dtype is torch.bfloat16
        torch.testing.assert_close(
            small.float(), use(change, hidden.bfloat16().float(), 1.0, layer, rows), rtol=0.02, atol=0.05
        )


# --- properties ----------------------------------------------------------------------------------------------------------


@quickly
@given(st.lists(numbers, min_size=WIDTH, max_size=WIDTH), st.integers(0, 50))
def test_projections_are_idempotent_and_leave_nothing_along_the_direction(values, seed):
    hidden, v = torch.tensor(values)[None, None], rand(WIDTH, seed=seed)
    for change, left in ((ablate({0: v}), 0.0), (clamp({0: v}, value=1.5), 1.5)):
        once = use(change, hidden)
        torch.testing.assert_close(use(change, once), once, rtol=0, atol=5e-6)
        assert float(once[0, 0] @ v / v.norm()) == pytest.approx(left, abs=1e-5)


@quickly
@given(st.lists(numbers, min_size=WIDTH, max_size=WIDTH), st.floats(-3, 3), st.integers(0, 50))
def test_the_norm_is_kept(values, m, seed):
    hidden = torch.tensor(values)[None, None]
    for change in (add_keeping_norm({0: rand(WIDTH, seed=seed)}), rotate({0: rand(2, WIDTH, seed=seed)}, angle=77.0)):
        got = use(change, hidden, m)
        torch.testing.assert_close(got.norm(), hidden.norm(), rtol=2e-6, atol=2e-6)


def test_a_dose_that_cancels_the_hidden_state_gives_numbers():
    v = torch.tensor([1.0, 0, 0, 0, 0, 0])
    got = use(add_keeping_norm({0: v}), torch.stack([-v, torch.zeros(WIDTH)])[None])
    assert torch.equal(got, torch.stack([-v, torch.zeros(WIDTH)])[None])


@quickly
@given(st.lists(numbers, min_size=WIDTH, max_size=WIDTH), st.floats(-5, 5).filter(lambda m: m != 0))
def test_rotations_undo_each_other_and_add_up(values, m):
    hidden = torch.tensor(values)[None, None]
    turn = rotate({0: PLANE[0]}, angle=40.0)
    torch.testing.assert_close(use(turn, use(turn, hidden, m), -m), hidden, rtol=0, atol=2e-5)
    torch.testing.assert_close(use(turn, use(turn, hidden, m), 2 * m), use(turn, hidden, 3 * m), rtol=0, atol=3e-5)
    torch.testing.assert_close(use(rotate({0: PLANE[0]}, angle=360.0), hidden), hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(use(rotate({0: PLANE[0]}, angle=0.0), hidden, m), hidden, rtol=0, atol=0)


def test_a_quarter_turn_takes_the_first_direction_to_the_second():
    plane = torch.eye(WIDTH)[:2]
    got = use(rotate({0: plane}, angle=90.0), 3 * torch.eye(WIDTH)[None, :3])[0]
    torch.testing.assert_close(got, 3 * torch.stack([plane[1], -plane[0], torch.eye(WIDTH)[2]]), rtol=0, atol=1e-6)


def test_the_identity_and_a_bias_are_the_vector_added():
    hidden = rand(2, 3, WIDTH)
    for m in (1.0, -0.5, 3.0):
        want = use(add(SteeringVector({0: B[0]})), hidden, m)
        assert torch.equal(use(affine({0: torch.eye(WIDTH)}, B), hidden, m), want)


def test_a_gate_that_is_off_leaves_every_bit_and_one_that_is_on_changes_nothing_else():
    hidden = rand(4, 3, WIDTH, seed=12)
    inner = affine(W, B)
    prompt = torch.ones(4, 3, dtype=torch.bool)
    shut = gated_by_condition(inner, {0: V[0]}, threshold=2.0)
    open_ = gated_by_condition(inner, {0: V[0]}, threshold=-1.0)
    assert torch.equal(use(shut, hidden, rows=Rows(prompt)), hidden)
    assert torch.equal(use(open_, hidden, rows=Rows(prompt)), use(inner, hidden))
    zero = {0: torch.zeros(WIDTH)}
    assert torch.equal(use(gated_by_probe(inner, zero, {0: -1.0}), hidden), hidden)
    assert torch.equal(use(gated_by_probe(inner, zero, {0: 1.0}), hidden), use(inner, hidden))
    assert torch.equal(use(gated_by_probe(inner, zero, {0: 0.0}), hidden), hidden)  # at 0 it says no


def test_a_condition_looks_at_the_prompts_tokens_and_nothing_else():
    hidden = rand(1, 6, WIDTH, seed=13)
    similarity = plain_methods.condition(hidden[0, 1:5], V[0])
    assert similarity == pytest.approx(abs(float(torch.cosine_similarity(hidden[0, 2:5].mean(0), V[0], dim=0))), abs=1e-6)
    prompt = torch.tensor([[False, True, True, True, True, False]])  # padding before, an answer behind
    inner = add(SteeringVector({0: V[0]}))
    for fires, sign in (("above", 1), ("below", -1)):
        for distance in (1e-4, -1e-4):
            gate = gated_by_condition(inner, {0: V[0]}, threshold=similarity + distance, fires=fires)
            for other in (hidden, hidden.clone().index_fill(1, torch.tensor([0, 5]), 1e6)):
                got = use(gate, other, rows=Rows(prompt))
                assert torch.equal(got, other) == (sign * distance > 0)


def test_a_decision_stays_while_a_text_goes_on_and_is_made_anew_for_another():
    inner = add(SteeringVector({2: V[2]}))
    gate = gated_by_condition(inner, {0: V[0]}, threshold=0.9)
    along, across = V[0].expand(1, 2, WIDTH), rand(1, 2, WIDTH, seed=14)
    for first, steered in ((along, True), (across, False)):
        rows = Rows(torch.ones(1, 2, dtype=torch.bool))
        use(gate, first, layer=0, rows=rows)
        rows.prompt = None
        for later in (along, across):
            assert torch.equal(use(gate, later, layer=0, rows=rows), later)
            assert torch.equal(use(gate, later, layer=2, rows=rows), later) != steered


def test_a_module_is_copied_so_that_training_does_not_change_it():
    net, hidden = torch.nn.Linear(WIDTH, WIDTH), rand(1, 2, WIDTH)
    change = module(net, layers=0, name="net")
    before = use(change, hidden)
    with torch.no_grad():
        net.weight.zero_()
    assert torch.equal(use(change, hidden), before)
    assert not change.durable
    assert module(net, layers=0, name="net").hash != module(net, layers=0, name="net").hash


def test_a_mask_keeps_the_largest_differences_of_all_layers():
    change = masked(
        {0: torch.tensor([3.0, -1, 0, 0]), 1: torch.tensor([0.0, 2, 0, 0]), 2: torch.tensor([0.1, 0, 0, 0])}, keep=2
    )
    assert change.layers == (0, 1)
    hidden = torch.tensor([[[1.0, 2, 3, 4]]])
    assert use(change, hidden, 0.5).tolist() == [[[1.5, 2, 3, 4]]]
    assert use(change, hidden, 0.5, layer=1).tolist() == [[[1.0, 3, 3, 4]]]


def test_what_strengths_mean():
    meaning = {name: change.strength for name, change in ALL.items()}
    assert [name for name, m in meaning.items() if m == "linear"] == [
        "add",
        "add_keeping_norm",
        "add_at_unit_norm",
        "masked",
        "gated_by_condition",
    ]
    assert [name for name, m in meaning.items() if m == "ignored"] == ["ablate", "gated_by_probe"]
    assert meaning["rotate"] == "angle"
    assert {name for name, change in ALL.items() if change.looks == "row"} == {"gated_by_condition", "gate within a gate"}


def test_one_direction_for_many_layers():
    for change in (ablate(V[0], layers=[1, 0]), ablate({5: V[0]}, layers=[0, 1])):
        assert change.layers == (0, 1)
        for layer in (0, 1):
            want = plain_methods.ablate(rand(WIDTH), V[0])
            torch.testing.assert_close(use(change, rand(WIDTH)[None, None], layer=layer)[0, 0], want, rtol=0, atol=1e-6)


# --- identity and files --------------------------------------------------------------------------------------------------


def test_every_hash_is_another_and_says_all():
    others = [
        ablate(V, site="mlp"), ablate({0: V[0]}), add(SteeringVector(V), site="heads"), add(SteeringVector(V), site="mlp"),
        clamp(V, value=2.5), affine(W, {0: B[0] + 1}), rotate(PLANE, angle=31.0), masked(V, keep=4),
        gated_by_condition(add(SteeringVector({2: V[2]})), {0: V[0]}, threshold=0.31),
        gated_by_condition(add(SteeringVector({2: V[2]})), {0: V[0]}, threshold=0.3, fires="below"),
        gated_by_condition(add(SteeringVector({2: V[0]})), {0: V[0]}, threshold=0.3), gated_by_probe(ablate(V), V),
        gated_by_condition(add(SteeringVector({2: V[2]})), {0: V[0]}, threshold=0.3, include_first=True),
    ]  # fmt: skip
    hashes = [change.hash for change in (*ALL.values(), *others)]
    assert len(set(hashes)) == len(hashes)
    assert ablate(V).hash == ALL["ablate"].hash
    assert ablate({layer: 3 * v for layer, v in V.items()}, site="block").durable


@pytest.mark.parametrize("name", SAVED)
def test_what_is_written_reads_back_the_same(name, tmp_path):
    change = ALL[name]
    file = tmp_path / "it.safetensors"
    save_intervention(change, file)
    back = load_intervention(file)
    for attribute in ("hash", "layers", "strength", "site", "looks", "method", "width", "durable"):
        assert getattr(back, attribute) == getattr(change, attribute)
    hidden, rows = rand(2, 3, WIDTH, seed=15), Rows(torch.ones(2, 3, dtype=torch.bool))
    for layer in change.layers:
        assert torch.equal(use(back, hidden, 0.8, layer, rows), use(change, hidden, 0.8, layer, rows))
    save_intervention(back, tmp_path / "again.safetensors")
    assert load_intervention(tmp_path / "again.safetensors").hash == change.hash


def test_where_it_comes_from_is_written_too(tmp_path):
    made = add_keeping_norm(SteeringVector(V, {"method": "icv", "model_fingerprint": "abc"}), site="mlp")
    save_intervention(made, tmp_path / "it.safetensors")
    back = load_intervention(tmp_path / "it.safetensors")
    assert back.metadata == {"method": "icv", "model_fingerprint": "abc"}
    assert back.vector.metadata == back.metadata
    assert (back.hash, back.site) == (made.hash, "mlp")


def test_a_vectors_own_file_is_added(tmp_path):
    SteeringVector(V, {"method": "caa"}).save(tmp_path / "v.safetensors")
    with pytest.raises(VectorError, match=r"v\.safetensors: holds directions for 2 layers .* nothing says at which"):
        load_intervention(tmp_path / "v.safetensors")
    vector = SteeringVector(V, {"method": "caa", "together": True})
    vector.save(tmp_path / "v.safetensors")
    back = load_intervention(tmp_path / "v.safetensors")
    assert (back.hash, back.method) == (vector.hash, "caa")


@pytest.mark.parametrize(
    "change",
    [
        ALL["module"],
        custom(lambda h, s, layer: h, layers=0, strength="linear", name="mine"),
        gated_by_probe(custom(lambda h, s, layer: h, layers=0, strength="linear", name="mine"), V),
    ],
    ids=["module", "custom", "within a gate"],
)
def test_code_of_the_users_own_is_not_written(change, tmp_path):
    assert not change.durable
    with pytest.raises(VectorError, match="is a custom function or module, and a file cannot hold its code"):
        save_intervention(change, tmp_path / "it.safetensors")


@pytest.fixture
def towards():
    """An intervention as another package registers one: a function of a vector, a number and a second vector."""

    @intervention("towards", does="moved towards a second direction")
    def towards(
        vector: SteeringVector,
        *,
        other: Annotated[SteeringVector, Param("Where it moves.", example="other.safetensors", schema=SAVED_VECTOR)],
        share: Annotated[float, Param("How far.", example=0.5)] = 0.5,
        site: str = "block",
    ) -> Intervention:
        moved = {layer: d + share * other.directions[layer] for layer, d in vector.directions.items()}
        return custom(
            lambda h, s, layer: h + s * moved[layer], layers=vector.layers, strength="linear", name="towards", site=site
        )

    yield towards
    registry.forget("intervention", "towards")


def test_an_intervention_of_another_package_is_saved_and_made_again(towards, tmp_path):
    vector, other = SteeringVector(V, {"method": "caa"}), SteeringVector({layer: -v.flip(0) for layer, v in V.items()})
    change = towards(vector, other=other, share=0.25)
    assert change.operation == "moved towards a second direction"
    assert not change.durable  # its code may be another one tomorrow
    assert towards(vector, other=other, share=0.5).hash != change.hash != towards(other, other=vector, share=0.25).hash
    for made in (change, gated_by_probe(change, V)):
        save_intervention(made, tmp_path / "it.safetensors")
        back = load_intervention(tmp_path / "it.safetensors")
        for attribute in ("hash", "layers", "strength", "site", "method", "durable", "operation", "metadata"):
            assert getattr(back, attribute) == getattr(made, attribute)
        hidden = rand(2, 3, WIDTH, seed=15)
        assert torch.equal(use(back, hidden, 0.8, 0), use(made, hidden, 0.8, 0))
        assert not torch.equal(use(made, hidden, 0.8, 0), hidden)
    assert change.metadata == {"method": "caa"}


def test_what_a_file_cannot_hold_of_another_package_still_steers(towards, tmp_path):
    change = towards(SteeringVector(V), other=SteeringVector(V), share=torch.tensor(0.5))
    assert not torch.equal(use(change, rand(2, 3, WIDTH)), rand(2, 3, WIDTH))
    with pytest.raises(VectorError, match="Register what makes it with @intervention, or make it again"):
        save_intervention(change, tmp_path / "it.safetensors")


def test_files_that_are_none_of_ours(tmp_path):
    from safetensors.torch import save_file

    def write(record, tensors=None):
        file = tmp_path / "x.safetensors"
        save_file(tensors or {"direction.0": V[0]}, file, {"format": "pytest-steer/intervention/1", "intervention": record})
        return file

    rest = '"metadata": {}, "layer_convention": "output of decoder block, 0-based"}'
    for record, message in [
        ("no json", "is not a readable intervention file, damaged or cut off: JSONDecodeError"),
        ("[]", "is not a readable intervention file"),
        ('{"kind": "melt", "options": {}, ' + rest, r"there is no intervention 'melt': there are ablate, add, add_at_unit_norm, add_keeping_norm"),
        ('{"kind": "affine", "options": {"site": "block"}, ' + rest, "affine map is needed for at least one layer"),
        ('{"kind": "masked", "options": {}, ' + rest, "is not a readable intervention file, damaged or cut off: KeyError: 'site'"),
        ('{"kind": "add", "options": {"sight": 1}, ' + rest, "is not a readable intervention file, .*'sight'"),
        ('{"kind": "add", "options": {"site": "head"}, ' + rest, "site is one of block, mlp, heads; not 'head'"),
        ('{"kind": "add", "options": {}, "metadata": {}, "layer_convention": "1-based"}', "counts layers as '1-based'"),
    ]:  # fmt: skip
        with pytest.raises(VectorError, match=message):
            load_intervention(write(record))
    with pytest.raises(VectorError, match="no such file"):
        load_intervention(tmp_path / "none.safetensors")
    with pytest.raises(VectorError, match=r"a steering vector is read from \.gguf"):
        load_intervention(builders.write_json(tmp_path / "x.json", {}))
    with pytest.raises(VectorError, match=r"is written as \.safetensors"):
        save_intervention(ALL["add"], tmp_path / "x.pt")


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ablate(V[0]), "needs layers=, the blocks in which it is taken out"),
        (lambda: ablate(V, layers=[1]), r"no direction for layer 1; it has \[0, 2\]"),
        (lambda: ablate(V, strength="linear"), "ignored or interpolated; not 'linear'"),
        (lambda: clamp(V, value={0: 1.0}), "clamp has no value for layer 2"),
        (lambda: clamp(V, value=float("nan")), "the value has NaN"),
        (lambda: affine(W, {1: B[0]}), r"different layers: \[0\] and \[1\]"),
        (lambda: affine({0: torch.eye(3)}, B), r"weight has shape \[6, 6\], not \[3, 3\]"),
        (lambda: rotate({0: torch.stack([V[0], -2 * V[0]])}), "parallel and span no plane"),
        (lambda: rotate({0: torch.stack([0 * V[0], V[0]])}), "first direction of the plane is 0"),
        (lambda: rotate(PLANE, angle=float("inf")), "finite number of degrees"),
        (lambda: masked(V, keep=0), "between 1 and 12 elements, not 0"),
        (lambda: module(lambda h: h, layers=0, name="f"), "expected a torch.nn.Module, not function"),
        (lambda: gated_by_condition(ALL["add"], V, threshold=0.5), r"read at one layer; this vector has \[0, 2\]"),
        (lambda: gated_by_condition(ALL["add"], {1: V[0]}, threshold=0.5), "read at layer 1, but layer 0 below it"),
        (lambda: gated_by_condition(ALL["add"], {0: V[0]}, threshold=0.1, fires="on"), "'above' or 'below'"),
        (lambda: gated_by_condition(ablate(V, site="mlp"), {0: V[0]}, threshold=0.1), "acts at the site 'mlp'"),
        (lambda: gated_by_condition(ALL["add"], {0: torch.ones(3)}, threshold=0.1), "width 3, the intervention 6"),
        (lambda: gated_by_condition(SteeringVector(V), {0: V[0]}, threshold=0.1), r"becomes one with add\(vector\)"),
        (lambda: gated_by_probe(ALL["add"], {0: V[0]}), "no weights for layer 2"),
        (lambda: add(SteeringVector(V), site="attention"), "site is one of block, mlp, heads; not 'attention'"),
    ],
)  # fmt: skip
def test_what_cannot_be_made(make, message):
    with pytest.raises(VectorError, match=message):
        make()


def test_a_condition_without_its_prompt_is_an_error():
    with pytest.raises(VectorError, match="has to know which tokens are the prompt's"):
        use(ALL["gated_by_condition"], rand(1, 2, WIDTH))
