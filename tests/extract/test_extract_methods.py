"""Every method of extraction against a second implementation from its paper, and what it says about its data."""

from __future__ import annotations

import copy
import random
import warnings
from pathlib import Path

import builders
import families
import numpy as np
import plain
import plain_methods
import pytest
import torch

from pytest_steer import ContrastItem, extract, propensity_curve, wrap_model
from pytest_steer.core.errors import DataError, ModelError, SteerError, SteerWarning, VectorError
from pytest_steer.data import TaskItem, as_items
from pytest_steer.extract.fv import _indirect_effects, _mean_heads
from pytest_steer.extract.leace import least_squares_erasure
from pytest_steer.extract.learned import bipo_loss
from pytest_steer.extract.mimic import bures_gap, gaussian_transport
from pytest_steer.extract.training import Training
from pytest_steer.model import Probe, engine_of
from pytest_steer.model.activations import Patch, Patcher
from pytest_steer.prompting import AS_GIVEN, Context
from pytest_steer.steering import affine

WORDS = ("tea", "ice", "sun", "moon", "bread", "stone", "river", "cloud", "door", "lamp", "shoe", "bell")
ITEMS = tuple(
    ContrastItem(f"Is the {word} {'big' if n % 3 else 'small'}?\n(A) Yes\n(B) No", ("(A)",), ("(B)",), str(n))
    if n % 2
    else ContrastItem(f"What of the {word}?\n(A) No\n(B) Yes", ("(B)",), ("(A)",), str(n))
    for n, word in enumerate(WORDS)
)
MIXED = (*ITEMS[:4], *builders.WORDED[:2])
POSITIVE = tuple(f"I like the {word} so much!" for word in WORDS)
NEGATIVE = tuple(f"The {word} is what I loathe." for word in WORDS)
TASKS = tuple(TaskItem(word, word.upper()) for word in WORDS)
FEW = ["llama", "gpt2", "gemma2", "bloom"]


def cosine(one, other):
    return float(torch.cosine_similarity(one.detach().double(), other.detach().double(), dim=0))


@pytest.fixture(autouse=True)
def _quiet():
    """Random models have no behaviours: that their vectors are unreliable is tested by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the vector's own training data")
        yield


# --- readouts ------------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize("readout", ["answer", "last", "mean"])
@pytest.mark.parametrize("chat", [True, False])
def test_caa_reads_where_it_says(family, readout, chat):
    model = builders.random_model(family, chat)
    vector = extract.caa(model, MIXED, layer=[0, 2], readout=readout)
    for layer in (0, 2):
        positive, negative = plain_methods.sides(model.hf, model.tokenizer, MIXED, layer, readout)
        torch.testing.assert_close(vector.directions[layer].double(), (positive - negative).mean(0), rtol=0, atol=2e-5)
    assert vector.metadata["readout"] == readout
    with pytest.raises(DataError, match="readout of items is 'answer', 'last' or 'mean', not 'first'"):
        extract.caa(model, MIXED, layer=0, readout="first")


# --- directions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FEW)
def test_pca_equals_power_iteration_with_the_sign_and_length_of_the_means(family):
    model = builders.random_model(family)
    # The singular vector itself points along the mean in some of these, and against it in others.
    turned = tuple(ContrastItem(i.question, i.not_matching, i.matching) for i in ITEMS)
    for items, readout in ((ITEMS, "last"), (turned, "last"), (ITEMS, "mean")):
        vector = extract.pca(model, items, layer=1, readout=readout).directions[1]
        positive, negative = plain_methods.sides(model.hf, model.tokenizer, items, 1, readout)
        want = plain_methods.principal(positive - negative)
        mean = (positive - negative).mean(0)
        assert abs(cosine(vector, want)) > 0.9999
        assert cosine(vector, mean) > 0
        assert float(vector.norm()) == pytest.approx(float(mean.norm()), rel=1e-4)


def test_pca_of_texts_pairs_them_by_place():
    model = builders.random_model("llama")
    vector = extract.pca(model, (POSITIVE, NEGATIVE), layer=1).directions[1]
    rows = [
        torch.stack([plain.outputs(model.hf, plain.ids_of(model.tokenizer, t, True))[1][1:].double().mean(0) for t in side])
        for side in (POSITIVE, NEGATIVE)
    ]
    assert abs(cosine(vector, plain_methods.principal(rows[0] - rows[1]))) > 0.9999
    with pytest.raises(DataError, match="pca needs pairs, but there are 12 positive and 3 negative texts"):
        extract.pca(model, (POSITIVE, NEGATIVE[:3]), layer=1)


@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_the_probe_equals_newtons_method(family, C):
    model = builders.random_model(family)
    vector = extract.probe(model, ITEMS, layer=2, C=C)
    positive, negative = plain_methods.sides(model.hf, model.tokenizer, ITEMS, 2)
    assert cosine(vector.directions[2], plain_methods.logistic(positive, negative, C)) > 0.9999
    assert vector.norms[2] == pytest.approx(float((positive - negative).mean(0).norm()), rel=1e-4)
    unit = vector.directions[2].double()
    assert float((positive @ unit).mean()) > float((negative @ unit).mean())
    with pytest.raises(SteerError, match="probe: C must be greater than 0, but is 0"):
        extract.probe(model, ITEMS, layer=2, C=0)


def test_a_random_direction_has_the_norms_of_the_vector_and_follows_its_seed():
    like = builders.random_vector(0, 2, norm=3.5)
    drawn = [extract.random_direction(like, seed=s) for s in range(200)]
    assert drawn[0].norms == pytest.approx(like.norms)
    assert extract.random_direction(like, seed=3).hash == drawn[3].hash
    assert len({v.hash for v in drawn}) == 200
    cosines = np.array([cosine(v.directions[0], like.directions[0]) for v in drawn])
    assert abs(cosines.mean()) < 4 / np.sqrt(200 * 32)  # in 32 dimensions a cosine has variance 1 / 32
    assert cosines.std() == pytest.approx(32**-0.5, rel=0.2)
    assert drawn[0].metadata["like"] == like.hash


# --- affine maps ---------------------------------------------------------------------------------------------------------


def rows(n, seed, width=8):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(n, width, generator=generator, dtype=torch.float64) @ mix + torch.randn(
        width, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize(("n", "ridge"), [(40, 1e-4), (5, 1e-4), (5, 0.03), (40, 1e-8)])
def test_transport_equals_the_plain_formula(n, ridge):
    source, target = rows(n, 3), rows(n + 1, 4)
    w, b = gaussian_transport(source, target, ridge, 0)
    want_w, want_b = plain_methods.transport(source, target, ridge)
    torch.testing.assert_close(w, want_w, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(b, want_b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FEW)
def test_mimic_and_mean_matching_on_a_model(family):
    model = builders.random_model(family)
    positive, negative = plain_methods.sides(model.hf, model.tokenizer, ITEMS, 1)
    found = extract.mimic(model, ITEMS, layer=1, ridge=1e-2)
    w, b = plain_methods.transport(negative, positive, 1e-2)
    ids = plain.ids_of(model.tokenizer, "What of the tea?", False)
    for m in (1.0, 0.5):
        got = engine_of(model).run([Probe(tuple(ids), 1, (20, 30, 40))], found, [m])[0][0]
        edit = {1: lambda h, m=m: (h.double() + m * (w @ h.double() + b - h.double())).float()}
        want = plain_methods.logits(model.hf, ids, edit, start=1)[-1][[20, 30, 40]]
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-3)
    matched = extract.mean_matching(model, ITEMS, layer=1)
    torch.testing.assert_close(matched.directions[1].double(), positive.mean(0) - negative.mean(0), rtol=0, atol=2e-5)
    assert (found.metadata["method"], matched.metadata["method"], found.method) == (
        "mimic",
        "mean_matching",
        "affine(mimic)",
    )
    by_map = affine({1: torch.eye(32)}, matched.directions)
    want = propensity_curve(model, ITEMS[:3], matched, multipliers=[1.0]).values
    np.testing.assert_allclose(propensity_curve(model, ITEMS[:3], by_map, multipliers=[1.0]).values, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [200, 6])
def test_leace_equals_the_package_of_its_authors(n):
    package = pytest.importorskip(
        "concept_erasure", reason="concept-erasure, the package of LEACE's authors, is not installed"
    )
    positive, negative = rows(n, 5) + 1, rows(n + 3, 6)
    w, b = least_squares_erasure(positive, negative, 1e-6, 0)
    z = torch.cat([torch.ones(n), torch.zeros(n + 3)]).double()
    both = torch.cat([positive, negative])
    eraser = package.LeaceEraser.fit(both, z[:, None], shrinkage=False, constrain_cov_trace=False, svd_tol=1e-6)
    torch.testing.assert_close(both @ w.T + b, eraser(both), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [100, 5])
def test_leace_leaves_a_linear_probe_at_chance_and_changes_least(n):
    from sklearn.linear_model import LogisticRegression

    positive, negative = rows(n, 7) + 2, rows(n, 8)
    w, b = least_squares_erasure(positive, negative, 1e-6, 0)
    labels = [1] * n + [0] * n
    before, after = torch.cat([positive, negative]), torch.cat([positive, negative]) @ w.T + b
    fit = LogisticRegression(C=1e3, max_iter=10000).fit
    assert fit(before.numpy(), labels).score(before.numpy(), labels) > 0.85
    probe = fit(after.numpy(), labels)
    assert np.abs(probe.predict_proba(after.numpy())[:, 1] - 0.5).max() < 1e-4
    torch.testing.assert_close(after[:n].mean(0), after[n:].mean(0))
    torch.testing.assert_close(w @ w, w, rtol=1e-6, atol=1e-8)  # a projection, if an oblique one
    torch.testing.assert_close(after @ w.T + b, after, rtol=1e-6, atol=1e-8)
    # Among the erasers that equalise the means, projecting along the difference is another one: LEACE moves the data less.
    unit = positive.mean(0) - negative.mean(0)
    unit = unit / unit.norm()
    mean = before.mean(0)
    along = before - torch.outer((before - mean) @ unit, unit)
    assert float((after - before).pow(2).sum()) < float((along - before).pow(2).sum())


@pytest.mark.parametrize("n", [100, 5])
@pytest.mark.parametrize("deviation", [1e3, 1e5])
def test_one_dominating_dimension_hides_no_concept(n, deviation):
    """In other units the data are ordinary, and what is done there is what has to be done here."""
    unit = torch.ones(8, dtype=torch.float64)
    unit[0] = deviation
    positive, negative = (rows(n, 7) + 2) * unit, rows(n, 8) * unit
    w, b = least_squares_erasure(positive, negative, 1e-6, 0)
    erased = [(side @ w.T + b) / unit for side in (positive, negative)]
    torch.testing.assert_close(*(side.mean(0) for side in erased), rtol=0, atol=1e-6)
    plain_w, plain_b = least_squares_erasure(positive / unit, negative / unit, 1e-6, 0)  # no dimension dominates
    torch.testing.assert_close(erased[0], (positive / unit) @ plain_w.T + plain_b, rtol=1e-6, atol=1e-6)

    w, b = gaussian_transport(negative, positive, 1e-8, 0)
    moved, wanted = ((negative @ w.T + b) / unit, positive / unit)
    torch.testing.assert_close(moved.mean(0), wanted.mean(0))
    if n == 100:
        torch.testing.assert_close(torch.cov(moved.T), torch.cov(wanted.T), rtol=0, atol=5e-2)


def test_a_concept_that_is_still_there_is_an_error():
    """The sides differ along one direction that hardly varies, and the tolerance counts as none."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(40, 1, generator=generator, dtype=torch.float64).expand(40, 3)
    both = common + 1e-3 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    both[:20, 1] += 0.1
    least_squares_erasure(both[:20], both[20:], 1e-9, 0)
    with pytest.raises(
        VectorError, match=r"layer 0: leace leaves the means of the two sides 0\.\d+ standard deviations apart in dim"
    ):
        least_squares_erasure(both[:20], both[20:], 0.1, 0)


@pytest.mark.parametrize("family", FEW)
def test_leace_and_ablation_on_a_model(family):
    model = builders.random_model(family)
    positive, negative = plain_methods.sides(model.hf, model.tokenizer, ITEMS, 1)
    eraser = extract.leace(model, ITEMS, layer=1)
    both = torch.cat([positive, negative]).float()
    erased = eraser.apply(both[None], torch.ones(1, 1), torch.ones(1, len(both), dtype=torch.bool), 1)[0]
    left = (erased[:12].mean(0) - erased[12:].mean(0)).norm() / (positive.mean(0) - negative.mean(0)).norm()
    assert float(left) < 1e-2  # 24 rows in 32 dimensions: float32 is not enough for more
    assert (eraser.method, eraser.strength) == ("affine(leace)", "interpolated")

    taken = extract.ablation(model, ITEMS, layer=1)
    assert (taken.layers, taken.strength, taken.metadata["direction_from"]) == ((0, 1, 2), "ignored", 1)
    r = (positive - negative).mean(0).float()
    ids = plain.ids_of(model.tokenizer, "What of the tea?", False)
    got = engine_of(model).run([Probe(tuple(ids), 1, (20, 30, 40))], taken, [1.0])[0][0]
    edits = dict.fromkeys((0, 1, 2), lambda h: plain_methods.ablate(h, r))
    want = plain_methods.logits(model.hf, ids, edits, start=1)[-1][[20, 30, 40]]
    np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-3)
    assert extract.ablation(model, ITEMS, layer=1, at=[0, 2]).layers == (0, 2)
    with pytest.raises(VectorError, match=r"takes its direction from one layer, not from \[0, 1\]"):
        extract.ablation(model, ITEMS, layer=[0, 1])


def test_maps_that_cannot_be_made():
    model = builders.random_model("llama")
    with pytest.raises(SteerError, match="mimic: ridge must be greater than 0, but is -1"):
        extract.mimic(model, ITEMS, layer=1, ridge=-1)
    with pytest.raises(DataError, match="mimic estimates a covariance of each side"):
        extract.mimic(model, ITEMS[:1], layer=1)
    with pytest.raises(VectorError, match="layer 1: the two sides have the same mean activation"):
        extract.leace(model, (POSITIVE, POSITIVE), layer=1)
    with pytest.raises(VectorError, match="no activation varies"):
        gaussian_transport(torch.ones(3, 2).double(), torch.ones(3, 2).double(), 1e-3, 0)


# --- in-context vectors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*FEW, "opt", "mpt"])
def test_icv_equals_the_plain_way(family):
    """All layers stacked, first principal direction of the centred differences plus their mean; on every MLP's output."""
    model = builders.random_model(family)
    found = extract.icv(model, (POSITIVE, NEGATIVE))
    differences = []
    for y, x in zip(POSITIVE, NEGATIVE, strict=True):
        h = [
            torch.cat([o[-1].double() for o in plain.outputs(model.hf, plain.ids_of(model.tokenizer, t, True))])
            for t in (y, x)
        ]
        differences.append(h[0] - h[1])
    stacked = torch.stack(differences)
    mean = stacked.mean(0)
    first = plain_methods.principal(stacked - mean)
    want = (mean + (first if first @ mean > 0 else -first)).view(3, 32)
    for layer in range(3):
        assert cosine(found.vector.directions[layer], want[layer]) > 0.999
        torch.testing.assert_close(found.vector.directions[layer].double(), want[layer], rtol=0, atol=1e-4)
    assert (found.site, found.strength, found.layers, found.method) == ("mlp", "linear", (0, 1, 2), "add_keeping_norm(icv)")
    ids = plain.ids_of(model.tokenizer, "What of the tea?", False)
    for m in (0.5, -1.0):
        got = engine_of(model).run([Probe(tuple(ids), 1, (20, 30, 40))], found, [m])[0][0]
        edits = {at: (lambda h, at=at, m=m: plain_methods.keep_norm(h, want[at].float(), m)) for at in range(3)}
        rows = plain_methods.logits(model.hf, ids, edits, "mlp", 1)[-1][[20, 30, 40]]
        np.testing.assert_allclose(got, rows.numpy(), rtol=0, atol=1e-3)


def test_icv_as_the_paper_and_as_its_code():
    """The paper: the principal direction of the differences as they are. The code: the default's vector, at length 1."""
    model = builders.random_model("llama")
    mixed, paper, code = (extract.icv(model, (POSITIVE, NEGATIVE), variant=v) for v in ("mixed", "paper", "code"))
    assert mixed.hash == extract.icv(model, (POSITIVE, NEGATIVE)).hash
    stacked = torch.cat(
        [
            torch.stack([_last(model, y, at) - _last(model, x, at) for y, x in zip(POSITIVE, NEGATIVE, strict=True)])
            for at in range(3)
        ],
        1,
    )
    first = torch.linalg.eigh(stacked.T @ stacked).eigenvectors[:, -1]
    first = first if first @ stacked.mean(0) > 0 else -first
    found = torch.cat([paper.vector.directions[at].double() for at in range(3)])
    torch.testing.assert_close(found, first, rtol=0, atol=1e-4)
    assert (paper.method, code.method) == ("add_keeping_norm(icv)", "add_at_unit_norm(icv)")
    assert [one.metadata.get("variant") for one in (mixed, paper, code)] == [None, "paper", "code"]
    assert all(torch.equal(code.vector.directions[at], mixed.vector.directions[at]) for at in range(3))
    with pytest.raises(SteerError, match="variant must be mixed, paper or code"):
        extract.icv(model, (POSITIVE, NEGATIVE), variant="papers")


def _last(model, text, at):
    return plain.outputs(model.hf, plain.ids_of(model.tokenizer, text, True))[at][-1].double()


def test_icv_of_items_and_of_tasks():
    model = builders.random_model("llama")
    found = extract.icv(model, ITEMS)
    positive, negative = (
        torch.cat(parts, 1)
        for parts in zip(
            *(plain_methods.sides(model.hf, model.tokenizer, ITEMS, at, "last") for at in range(3)), strict=True
        )
    )
    mean = (positive - negative).mean(0)
    first = plain_methods.principal(positive - negative - mean)
    want = (mean + (first if first @ mean > 0 else -first)).view(3, 32)
    assert min(cosine(found.vector.directions[at], want[at]) for at in range(3)) > 0.999
    tasks = extract.icv(model, TASKS)
    texts = extract.icv(model, (tuple(t.output for t in TASKS), tuple(t.input for t in TASKS)))
    assert tasks.vector.hash == texts.vector.hash
    with pytest.raises(DataError, match="two lists of equal length"):
        extract.icv(model, (POSITIVE, NEGATIVE[:2]))
    with pytest.raises(DataError, match="at least two demonstrations, not 1"):
        extract.icv(model, ITEMS[:1])
    with pytest.raises(VectorError, match="the same mean"):
        extract.icv(model, (POSITIVE, POSITIVE))


def test_icv_of_a_claim_file_asks_items_as_the_file_says():
    model, context = builders.random_model("llama"), Context(system="Be loud.")
    training = Training(as_items(ITEMS), Path("items.json"), 0)
    made = [
        extract.method_kind("icv").extract(model, training, layers=None, context=asked, seed=0, settings={}).hash
        for asked in (AS_GIVEN, context)
    ]
    assert made == [extract.icv(model, ITEMS).hash, extract.icv(model, ITEMS, context=context).hash]
    assert made[0] != made[1]


def test_icv_of_texts_of_one_token_reads_them_behind_the_begin_token():
    """The first position is an attention sink: what is read there is the sink and not the text."""
    model = builders.random_model("llama")
    tokenizer = model.tokenizer
    word = next(w for w in ("a", "b", "the") if len(plain.ids_of(tokenizer, w, True)) == 1)
    sides = ((word, "Hot tea."), ("Cold.", "Rain and snow."))
    begin = next(t for t in (tokenizer.bos_token_id, tokenizer.eos_token_id) if t is not None)
    rows = [
        torch.cat([o[-1].double() for o in plain.outputs(model.hf, [begin, *plain.ids_of(tokenizer, text, True)])])
        for side in sides
        for text in side
    ]
    differences = torch.stack(rows[:2]) - torch.stack(rows[2:])
    mean = differences.mean(0)
    first = plain_methods.principal(differences - mean)
    want = (mean + (first if first @ mean > 0 else -first)).view(3, 32)
    found = extract.icv(model, sides)
    assert min(cosine(found.vector.directions[at], want[at]) for at in range(3)) > 0.999
    silent = wrap_model(
        builders.random_hf("llama"), copy.deepcopy(builders.tokenizer()), "silent"
    )  # the others share theirs
    silent.tokenizer.bos_token = silent.tokenizer.eos_token = None
    with pytest.raises(DataError, match="a demonstration is a single token"):
        extract.icv(silent, sides)


# --- function vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "gemma2 wide", "gemma3", "bloom", "falcon", "neox", "qwen3", "opt", "gptj"]
)
def test_mean_heads_and_indirect_effects_equal_the_plain_way(family):
    model = builders.random_model(family)
    clean = plain_methods.few_shot(model.tokenizer, TASKS, random.Random(1), 3)
    shuffled = plain_methods.few_shot(model.tokenizer, TASKS, random.Random(2), 2, shuffle=True)
    means = _mean_heads(model, [tuple(ids) for ids, _ in clean])
    want = plain_methods.mean_head_outputs(model.hf, [ids for ids, _ in clean], 4)
    torch.testing.assert_close(torch.stack(list(means.values())), want, rtol=0, atol=2e-5)
    large = {layer: 20 * own for layer, own in means.items()}
    effects = _indirect_effects(model, large, [(tuple(ids), token) for ids, token in shuffled])
    expected = plain_methods.indirect_effects(model.hf, 20 * want, shuffled)
    torch.testing.assert_close(torch.stack(list(effects.values())), expected, rtol=0, atol=1e-5)
    assert float(expected.abs().max()) > 1e-4
    assert builders.hooks_of(model.hf) == 0


def test_which_models_take_branches():
    for family, wanted in (("llama", True), ("gpt2", True), ("gptj", True), ("gemma2 wide", True), ("bloom", False)):
        model = builders.random_model(family)
        ((ids, token),) = plain_methods.few_shot(model.tokenizer, TASKS, random.Random(1), 1)
        patcher = Patcher(model, [Patch(at, 0, 8, torch.ones(8)) for at in range(3)])
        patcher.run(tuple(ids), token)
        assert patcher.branching == wanted


def test_the_function_vector_is_what_the_best_heads_write():
    hf = builders.random_hf("gpt2")
    model = wrap_model(hf, builders.tokenizer(), "m")
    found = extract.fv(model, TASKS, heads=3, n_shots=3, prompts=4, shuffled_prompts=3, seed=5)
    draw = random.Random(5)
    clean = plain_methods.few_shot(model.tokenizer, TASKS, draw, 4)
    means = plain_methods.mean_head_outputs(hf, [ids for ids, _ in clean], 4)
    effects = plain_methods.indirect_effects(
        hf, means, plain_methods.few_shot(model.tokenizer, TASKS, draw, 3, shuffle=True)
    )
    ranked = sorted(((float(effects[at, head]), at, head) for at in range(3) for head in range(4)), reverse=True)[:3]
    total = torch.zeros(32, dtype=torch.float64)
    for _, at, head in ranked:
        weight = plain.blocks_of(hf)[at].attn.c_proj.weight.double()  # GPT-2 keeps it as [in, out]
        total += means[at, head] @ weight[8 * head : 8 * head + 8]
    assert found.layers == (1,)
    assert cosine(found.directions[1], total) > 0.99999
    torch.testing.assert_close(found.directions[1].double(), total, rtol=0, atol=1e-4)
    assert [(h["layer"], h["head"]) for h in found.metadata["heads"]] == [(at, head) for _, at, head in ranked]
    assert [h["effect"] for h in found.metadata["heads"]] == pytest.approx([e for e, *_ in ranked], abs=1e-6)
    assert found.metadata["positions"] == "last"


# Layer to (heads, width of each), as the configurations have it.
HEADS = {"dots3_note_text": {0: (2, 8), 1: (4, 8), 2: (2, 8)}, "jamba": {1: (4, 8)}, "nemotron_h": {2: (4, 8)}}


@torch.no_grad()
def read(hf, ids, layer):
    """What the output projection of a block reads at the last token."""
    found = []
    handle = plain_methods.place(hf, layer, "heads").register_forward_pre_hook(
        lambda _module, args: found.append(args[0][0, -1].double().clone())
    )
    try:
        hf(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        handle.remove()
    return found[0]


def rise(hf, ids, token, layer, head, width, value):
    """How far the probability of a token rises when one head's output at the last token is replaced."""

    def patch(h):
        h[head * width : (head + 1) * width] = value.float()
        return h

    base = plain_methods.logits(hf, ids, {})[-1].double().softmax(0)[token]
    patched = plain_methods.logits(hf, ids, {layer: patch}, "heads", len(ids) - 1)[-1].double().softmax(0)[token]
    return float(patched - base)


@pytest.mark.filterwarnings("ignore:no head of")
@pytest.mark.parametrize("family", HEADS)
def test_function_vectors_of_layers_with_heads_of_different_number_or_none(family):
    hf, tokenizer = families.build(family), builders.tokenizer()
    found = extract.fv(
        wrap_model(hf, tokenizer, family), TASKS, layer=1, heads=3, n_shots=3, prompts=3, shuffled_prompts=2, seed=5
    )
    draw = random.Random(5)
    clean = plain_methods.few_shot(tokenizer, TASKS, draw, 3)
    shuffled = plain_methods.few_shot(tokenizer, TASKS, draw, 2, shuffle=True)
    ranked = []
    for layer, (count, width) in HEADS[family].items():
        mean = sum(read(hf, ids, layer) for ids, _ in clean) / len(clean)
        assert len(mean) == count * width
        for head in range(count):
            own = mean[head * width : (head + 1) * width]
            effects = [rise(hf, ids, token, layer, head, width, own) for ids, token in shuffled]
            columns = plain_methods.place(hf, layer, "heads").weight[:, head * width : (head + 1) * width].double()
            ranked.append((sum(effects) / len(effects), layer, head, columns @ own))
    ranked.sort(key=lambda entry: -entry[0])
    heads = [(entry["layer"], entry["head"]) for entry in found.metadata["heads"]]
    assert heads == [(layer, head) for _, layer, head, _ in ranked[:3]]
    want = sum(written for *_, written in ranked[:3])
    torch.testing.assert_close(found.directions[1].double(), want.detach(), rtol=0, atol=1e-5)


def test_a_model_without_attention_has_no_function_vector():
    model = wrap_model(families.build("mamba2"), builders.tokenizer(), "mamba2")
    with pytest.raises(ModelError, match=r"mamba2: the attention of block 0 .* was not found"):
        extract.fv(model, TASKS, heads=1, n_shots=3, prompts=1, shuffled_prompts=1)


def test_a_task_that_no_head_carries_is_a_warning():
    """With the attention's output projections at 0 no head does anything."""
    hf = builders.random_hf("llama")
    with torch.no_grad():
        for block in hf.model.layers:
            block.self_attn.o_proj.weight.zero_()
    model = wrap_model(hf, builders.tokenizer(), "m")
    with pytest.warns(SteerWarning, match="no head of m raises"), pytest.raises(VectorError, match="every value is 0"):
        extract.fv(model, TASKS, n_shots=3, prompts=2, shuffled_prompts=1)


def test_function_vectors_that_cannot_be_made():
    model = builders.random_model("llama")
    with pytest.raises(DataError, match="a prompt of 12 demonstrations and a query needs 13 pairs, but there are 12"):
        extract.fv(model, TASKS, n_shots=12)
    with pytest.raises(SteerError, match="fv: heads must be at least 1, but is 0"):
        extract.fv(model, TASKS, n_shots=3, heads=0)
    with pytest.raises(VectorError, match="layer 7"):
        extract.fv(model, TASKS, n_shots=3, layer=7)


# --- learned -------------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_papers():
    steered, bare = torch.randn(8).double(), torch.randn(8).double()
    sign, beta = torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1]).double(), 0.3
    want = 0.0
    for pair in range(4):
        t, o = 2 * pair, 2 * pair + 1
        inner = sign[t] * beta * (steered[t] - bare[t]) - sign[t] * beta * (steered[o] - bare[o])
        want += -float(torch.log(1 / (1 + torch.exp(-inner)))) / 4
    assert float(bipo_loss(steered, bare, sign, beta)) == pytest.approx(want, rel=1e-9)


def test_the_first_step_is_against_the_gradient_by_differences():
    """Adam's first step is the sign of the gradient: held against finite differences of the loss, from plain forwards."""
    model, items = builders.random_model("llama"), ITEMS[:2]
    found = extract.learned(model, items, layer=1, epochs=1, batch=2, rate=1e-4, weight_decay=0.0).directions[1]

    def objective(v):
        total = 0.0
        for d in (1.0, -1.0):
            for item in items:
                text = plain.render(model.tokenizer, item)
                n = len(plain.ids_of(model.tokenizer, text.prompt, False))
                scores = []
                for answer in (text.matching[0], text.not_matching[0]):
                    ids = plain.ids_of(model.tokenizer, f"{text.prompt}{answer}", False)
                    both = [
                        plain.mean_loglikelihood(plain.logits(model.hf, ids, {1: v}, m, 1), ids, n) * (len(ids) - n)
                        for m in (d, 0.0)
                    ]
                    scores.append(both[0] - both[1])
                total += float(torch.nn.functional.softplus(torch.tensor(-d * 0.1 * (scores[0] - scores[1])).double())) / 4
        return total

    step, checked = 0.02, 0
    for i in range(0, 32, 4):
        unit = step * torch.eye(32)[i]
        slope = (objective(unit) - objective(-unit)) / (2 * step)
        if abs(slope) > 1e-5:
            assert float(found[i]) * slope < 0
            checked += 1
    assert checked >= 4
    assert float(found.abs().max() / found.abs().min()) == pytest.approx(1.0, rel=0.01)


def test_learning_steers_both_ways_and_leaves_the_model_as_it_was():
    hf = builders.random_hf("gpt2")
    model = wrap_model(hf, builders.tokenizer(), "m")
    before = model.fingerprint
    told = []
    from pytest_steer.core.run_context import RunContext, running

    items = tuple(ContrastItem(f"Is the {word} there?", ("Yes",), ("No",)) for word in WORDS[:6])
    with running(RunContext(progress=told.append)):
        vector = extract.learned(model, items, layer=1, epochs=8, rate=0.03, seed=1)
    assert any(text.startswith("learning a vector: step 16 of 16, loss 0.") for text in told)
    assert model.fingerprint == before
    assert builders.hooks_of(hf) == 0
    assert all(weight.requires_grad and weight.grad is None for weight in hf.parameters())
    curve = propensity_curve(model, items, vector, multipliers=[-1, 0, 1], positions="all")
    assert (np.diff(curve.values, axis=1) > 0).all()
    again = extract.learned(model, items, layer=1, epochs=8, rate=0.03, seed=1)
    assert again.hash == vector.hash
    with pytest.raises(VectorError, match=r"learned at one layer, not at \[0, 1\]"):
        extract.learned(model, ITEMS, layer=[0, 1])
    with pytest.raises(SteerError, match="learned: rate must be greater than 0, but is 0"):
        extract.learned(model, ITEMS, layer=1, rate=0)


# --- before a vector is used ---------------------------------------------------------------------------------------------


def test_agreement_and_d_prime_are_their_definitions():
    model = builders.random_model("llama")
    vector = extract.caa(model, ITEMS, layer=[0, 1])
    for layer in (0, 1):
        positive, negative = plain_methods.sides(model.hf, model.tokenizer, ITEMS, layer)
        v = (positive - negative).mean(0)
        cosines = [float((p - n) @ v / ((p - n).norm() * v.norm())) for p, n in zip(positive, negative, strict=True)]
        one, other = ((side @ (v / v.norm())).numpy() for side in (positive, negative))
        found = vector.metadata["reliability"][str(layer)]
        assert found["agreement"] == pytest.approx(np.mean(cosines), abs=1e-4)
        d = (one.mean() - other.mean()) / np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
        assert found["d_prime"] == pytest.approx(d, rel=1e-3)
    texts = extract.mean_difference(model, POSITIVE, NEGATIVE, layer=1).metadata["reliability"]["1"]
    assert texts["agreement"] is None
    assert texts["d_prime"] > 0


def test_low_numbers_are_a_warning_with_the_numbers():
    assert extract.unreliable({}) is None
    assert extract.unreliable({"reliability": {"3": {"agreement": 0.2, "d_prime": 0.1}}}) is None
    words = extract.unreliable({"reliability": {"3": {"agreement": 0.19, "d_prime": 4.0}}})
    assert "layer 3: directional agreement 0.19 (low under 0.2), d' 4.00 (low under 1)" in words
    assert "d' 0.99 (low under 1)" in extract.unreliable({"reliability": {"3": {"agreement": None, "d_prime": 0.99}}})
    assert extract.unreliable({"reliability": {"3": {"agreement": None, "d_prime": None}}}) is None


def test_pairs_without_a_common_direction_are_warned_of():
    """The matching answer is the one letter in half of the items: its direction cancels, what is left is noise."""
    model = builders.random_model("llama")
    with pytest.warns(
        SteerWarning, match=r"the vector's own training data support it weakly: layer 0: directional agreement 0\.\d\d"
    ):
        extract.caa(model, ITEMS, layer=0)


# --- mimic at its limits --------------------------------------------------------------------------------------------------


def hadamard(order):
    """Rows of +-1 whose columns are orthogonal and have a mean of 0, the first column left out."""
    one = torch.ones(1, 1, dtype=torch.float64)
    while len(one) < order:
        one = torch.cat([torch.cat([one, one], 1), torch.cat([one, -one], 1)])
    return one[:, 1:]


@pytest.mark.parametrize("least", [-2, -1, 1])
def test_mimic_with_deviations_that_differ_widely_has_its_closed_form(least):
    rows = hadamard(16)
    low = torch.logspace(least, 3, 15, dtype=torch.float64)
    high = 2 * low.flip(0) if least > 0 else 2 * low
    source, target = rows * low, rows * high + low
    weight, bias = gaussian_transport(source, target, 1e-4, 0)
    s, t = (16 / 15 * one**2 for one in (low, high))
    own = (s + t) / 2
    more = 1e-4 * torch.minimum(100 * own, own.mean())
    assert torch.allclose(weight, torch.diag(((t + more) / (s + more)).sqrt()), rtol=1e-6, atol=1e-6)
    assert torch.allclose(bias, low, rtol=1e-9)


def test_mimic_refuses_what_varies_on_one_side_only_more_than_the_ridge_lets_through():
    rows, low = hadamard(16), torch.logspace(-1, 3, 15, dtype=torch.float64)
    with pytest.raises(VectorError, match="or on one side only, so that the ridge or rounding drowns them"):
        gaussian_transport(rows * low, rows * low.flip(0), 1e-4, 0)
    weight, _ = gaussian_transport(rows * low, rows * low.flip(0), 1e-12, 0)
    assert torch.allclose(weight.diag(), low.flip(0) / low, rtol=1e-2)


def test_the_bures_gap_is_that_of_the_definition():
    linalg = pytest.importorskip("scipy.linalg")
    draw = np.random.default_rng(0)
    a, b = (np.cov(draw.normal(size=(9, 5)) * draw.uniform(0.5, 4, 5), rowvar=False) for _ in range(2))
    unit = draw.uniform(0.5, 2, 5)
    x, y = (one / np.outer(unit, unit) for one in (a, b))
    root = linalg.sqrtm(y)
    squared = np.trace(x) + np.trace(y) - 2 * np.trace(linalg.sqrtm(root @ x @ root)).real
    found = bures_gap(*map(torch.tensor, (a, b, unit)))
    assert found == pytest.approx(np.sqrt(squared / np.trace(y)), rel=1e-6)
    assert bures_gap(*map(torch.tensor, (b, b, unit))) < 1e-6
    # Diagonal ones: the distance of the standard deviations.
    flat = torch.tensor([1.0, 2.0], dtype=torch.float64)
    gap = bures_gap(torch.diag(flat**2), torch.diag((flat + 1) ** 2), torch.ones(2, dtype=torch.float64))
    assert gap == pytest.approx((2 / (4 + 9)) ** 0.5)
    assert np.isnan(bures_gap(torch.full((2, 2), torch.nan), torch.eye(2), torch.ones(2)))


@pytest.mark.parametrize("count", [10, 100])
def test_mimic_refuses_what_double_precision_cannot_carry(count):
    draw = torch.Generator().manual_seed(0)
    sd = torch.logspace(-8, 3, 16, dtype=torch.float64)
    source, target = (torch.randn(count, 16, generator=draw, dtype=torch.float64) * sd for _ in range(2))
    with pytest.raises(VectorError, match=r"layer 3: mimic leaves the covariances of the two sides .* apart"):
        gaussian_transport(source, 2 * target + sd, 1e-4, 3)


def up_or_down(tokenizer):
    """A random model whose likeliest next word is always ``up`` or ``down``, whichever way the last hidden state points."""
    hf = builders.random_hf("llama")
    up, down = tokenizer.convert_tokens_to_ids(["up", "down"])
    with torch.no_grad():
        head = hf.get_output_embeddings().weight
        own = head[up].clone()
        head.zero_()
        head[up], head[down] = own, -own
    return wrap_model(hf, tokenizer, "up or down")


@pytest.mark.parametrize("begin", [False, True])
def test_function_vectors_of_queries_that_are_answered_right_alone(begin):
    """As Todd et al. do, by a plain loop: one forward a prompt."""
    words = [f"w{n}" for n in range(12)]
    tokenizer = builders.word_tokenizer(("Q:", "A:", "up", "down", *words))
    tokenizer.bos_token = "w0"
    model = up_or_down(tokenizer)
    tasks = [TaskItem(word, ("up", "down")[n % 2]) for n, word in enumerate(words)]
    found = extract.fv(
        model, tasks, heads=2, n_shots=3, prompts=9, shuffled_prompts=3, seed=5, only_correct=True, begin_token=begin
    )
    draw = random.Random(5)

    def prompt(shown, query):
        ids, answer = plain_methods.shots(tokenizer, shown, query)
        return [tokenizer.bos_token_id] * begin + ids, answer

    clean, queries = [], []
    for _ in range(9):
        *shown, query = draw.sample(tasks, 4)
        ids, answer = prompt([(one.input, one.output) for one in shown], query)
        if int(model.hf(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == answer:
            clean.append(ids)
            queries.append(query)
    assert 0 < len(clean) < 9
    shuffled = []
    for _ in range(3):
        query = draw.choice(queries)
        shown = draw.sample([item for item in tasks if item is not query], 3)
        outputs = [item.output for item in shown]
        draw.shuffle(outputs)
        shuffled.append(prompt(zip((one.input for one in shown), outputs, strict=True), query))
    means = plain_methods.mean_head_outputs(model.hf, clean, 4)
    effects = plain_methods.indirect_effects(model.hf, means, shuffled)
    ranked = sorted(((float(effects[at, head]), at, head) for at in range(3) for head in range(4)), reverse=True)[:2]
    assert [h["effect"] for h in found.metadata["heads"]] == pytest.approx([effect for effect, *_ in ranked], abs=1e-6)
    assert [(h["layer"], h["head"]) for h in found.metadata["heads"]] == [(at, head) for _, at, head in ranked]
    assert (found.metadata["answered_right"], found.metadata["begin_token"]) == (len(clean), begin)


def test_function_vectors_of_a_task_that_is_never_answered_right():
    tokenizer = builders.word_tokenizer(("Q:", "A:", "up", "down", "left", *(f"w{n}" for n in range(12))))
    model = up_or_down(tokenizer)
    tasks = [TaskItem(f"w{n}", "left") for n in range(12)]
    with pytest.raises(DataError, match="up or down answers none of 4 prompts of 3 demonstrations right"):
        extract.fv(model, tasks, n_shots=3, prompts=4, shuffled_prompts=1, only_correct=True)
    tokenizer.bos_token = None
    with pytest.raises(ModelError, match="its tokenizer has no token that begins a text"):
        extract.fv(model, tasks, n_shots=3, prompts=4, shuffled_prompts=1, begin_token=True)
