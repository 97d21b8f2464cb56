"""Divergences of next-token distributions: a closed form, the plain way on every family, long texts in parts, the memo, bad input."""

from __future__ import annotations

import builders
import numpy as np
import plain
import pytest
import torch
from engines import fresh
from scipy import special

from pytest_steer import ContrastItem, SteeringVector, kl_divergence, load_model, perplexity, wrap_model
from pytest_steer.core.errors import DataError, MeasurementError, SteerError
from pytest_steer.measures import Scope, kl_at_answers, kl_curve
from pytest_steer.model import Engine, Probe, engine, engine_of, forward
from pytest_steer.model.forward import can_unembed_apart, divergence, scores_of
from pytest_steer.model.memo import DiskMemo
from pytest_steer.model.noise import Noise, agree, in_nats
from pytest_steer.model.probes import Pair, Row
from pytest_steer.steering import as_intervention

GRID = (-0.02, 1.5)  # small doses have divergences of 1e-5, where errors would show
FAMILIES = tuple(dict.fromkeys(builders.FAMILIES + builders.FURTHER + builders.STATEFUL))


def plain_kl(hf, ids, directions, m, start):
    """Two whole forwards of one sequence, and the definition in numpy; [tokens]."""
    base, steered = (
        special.log_softmax(plain.logits(hf, ids, own, m, start).double().numpy(), 1) for own in ({}, directions)
    )
    return special.rel_entr(np.exp(base), np.exp(steered)).sum(1)


def check(found, wanted):
    """To 1e-3 relative; below 1e-7 the logits' own rounding is of that size."""
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-10 + 1e-3 * 1e-7)
    assert max(wanted) > 1e-3


# --- closed form -----------------------------------------------------------------------------------------------------------


def test_a_closed_form():
    """Logits a_t b_j + m c_j: log sum_j p_j exp(m c_j) - m sum_j p_j c_j, and 0 after the first token, which is not steered."""
    words, b, c = ("x", "y", "z"), {"x": 1.0, "y": -1.0}, {"x": 1.0, "y": 0.5, "z": -2.0}
    a = {"x": 1.0, "y": -0.5, "z": 2.0}
    linear = builders.Linear(words, a, b, c)
    every = ("<unk>", *words)
    shift = np.array([c.get(word, 0.0) for word in every])
    text, m = "z x y z y x", 0.7
    found = kl_divergence(linear.model, [text, "x x"], linear.vector(), multiplier=m)
    wanted = [0.0]
    for token in text.split()[1:-1]:
        p = special.softmax([a[token] * b.get(word, 0.0) for word in every])
        wanted.append(np.log(p @ np.exp(m * shift)) - m * (p @ shift))
    np.testing.assert_allclose(found.per_position[0], wanted, rtol=1e-5, atol=1e-12)
    assert found.tokens.tolist() == [5, 1]
    assert found.value == pytest.approx((np.mean(wanted) + 0) / 2)
    assert found.quantile(0.9) == pytest.approx(max(wanted))
    steered_first = kl_divergence(linear.model, [text], linear.vector(), multiplier=m, include_first=True)
    assert steered_first.per_position[0][0] > 0.1


# --- the plain way -----------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(FAMILIES))
@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("in_parts", [False, True])
def test_every_family_gives_what_two_whole_forwards_give(family, padding, sharing, in_parts, monkeypatch):
    if padding == "left" and family in builders.STATEFUL:
        pytest.skip("a recurrent state would read padding on the left")
    if in_parts:
        monkeypatch.setattr(forward, "_MOST_ON_CPU", 7 * builders.VOCABULARY)
    model, vector = fresh(family, padding, sharing), builders.random_vector(1)
    found = kl_curve(model, builders.TEXTS, vector, multipliers=[*GRID, 0.0])
    for m, own in zip(GRID, found, strict=False):
        for text, got in zip(builders.TEXTS, own.per_position, strict=True):
            ids = plain.ids_of(model.tokenizer, text, special=True)
            wanted = plain_kl(model.hf, ids, vector.directions, m, 1)[:-1]
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-10)
            assert max(wanted) > (1e-2 if m > 1 else 1e-7)
    assert all((own == 0).all() for own in found[-1].per_position)
    assert found[0].tokens.tolist() == perplexity(model, builders.TEXTS).tokens.tolist()
    if in_parts:
        assert can_unembed_apart(model)


def test_the_builtin_model():
    model = load_model("builtin:tiny")
    vector = builders.random_vector(0, 2, width=model.width, norm=4.0)
    texts = ["The dog ran to the house.", "Mary made a cake, and then she sat down."]
    found = kl_divergence(model, texts, vector, multiplier=0.5)
    for text, got in zip(texts, found.per_position, strict=True):
        ids = plain.ids_of(model.tokenizer, text, special=True)
        check(got, plain_kl(model.hf, ids, vector.directions, 0.5, 1)[:-1])


@pytest.mark.parametrize(
    ("scope", "items"),
    [("all", builders.LETTERED), ("after_prompt", builders.WORDED), ("last", builders.WORDED)],
    ids=["all", "after_prompt", "last"],
)
def test_items_are_read_where_their_answers_begin(items, scope):
    model, vector = fresh("llama"), builders.random_vector(1)
    found = kl_at_answers(model, items, vector, Scope(scope), multipliers=GRID)
    for m, own in zip(GRID, found, strict=True):
        for item, got in zip(items, own.per_position, strict=True):
            text = plain.render(model.tokenizer, item)
            turn = len(plain.ids_of(model.tokenizer, text.turn, special=not text.chat))
            places = set()
            for answer in (*text.matching, *text.not_matching):
                ids, first = plain.answer_ids(model.tokenizer, text, answer)
                places.add((tuple(ids[:first]), plain.start_of(scope, min(turn, first - 1), first)))
            wanted = sorted(plain_kl(model.hf, list(ids), vector.directions, m, start)[-1] for ids, start in places)
            assert len(wanted) == 1
            np.testing.assert_allclose(sorted(got), wanted, rtol=1e-3, atol=1e-10)


def test_answers_that_begin_after_other_tokens_each_have_a_position():
    """The tokenizer merges the space before an answer with "Yes", and not with "so"."""
    model = fresh("llama")
    item = ContrastItem("Do you?", ("Yes it is",), ("so and so",), "merged")
    bare = wrap_model(model.hf, builders.tokenizer(None), "bare")
    (found,) = kl_at_answers(bare, [item], builders.random_vector(1), multipliers=[1.0])
    text = plain.render(bare.tokenizer, item)
    firsts = {plain.answer_ids(bare.tokenizer, text, answer)[1] for answer in ("Yes it is", "so and so")}
    assert len(found.per_position[0]) == len(firsts) == 2
    assert [owner for owner, _, _ in found.of_probes()] == [0, 0]


def test_pairs_of_several_layers_and_questions_of_other_kinds_go_together():
    """One run with divergences, likelihoods and logits of the same sequence: each is what it is alone."""
    model = fresh("llama")
    ids = tuple(plain.ids_of(model.tokenizer, builders.TEXTS[2], special=True))
    asked = [
        Probe(ids, 1, score_from=1, diverges=True),
        Probe(ids, 1, score_from=1),
        Probe(ids[:9], 4, (20, 30)),
        Probe(ids[:9], 4, score_from=3, diverges=True),
    ]
    pairs = [(as_intervention(builders.random_vector(layer)), 1.5) for layer in (0, 1, 2)]
    together = engine_of(model).run_pairs(asked, [*pairs, (None, 0.0)])
    alone = Engine(model, sharing=False)
    for probe, scores in zip(asked, together, strict=True):
        for pair, got in zip([*pairs, (None, 0.0)], scores, strict=True):
            np.testing.assert_allclose(got, alone.run_pairs([probe], [pair])[0][0], rtol=1e-3, atol=1e-5)
    assert all((scores[3] == 0).all() for scores in (together[0], together[3]))


# --- numbers -------------------------------------------------------------------------------------------------------------------


def test_numbers_that_are_not_ordinary():
    base = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, 900.0, 0.0], [1.0, 2.0, 3.0]])
    same = divergence(base, base[None])
    assert same.tolist() == [[0.0, 0.0, 0.0]]
    assert same.dtype is torch.float64
    gone = base.clone()
    gone[0, 1] = -torch.inf  # a token that had a probability has none
    assert divergence(base, gone[None])[0].tolist() == [torch.inf, 0.0, 0.0]
    for at, broken in enumerate((base, gone)):
        wrong = base.clone()
        wrong[2, 0] = torch.nan
        pair = (wrong, broken[None]) if at else (broken, wrong[None])
        assert torch.isnan(divergence(*pair)[0, 2])


def test_a_divergence_below_rounding_is_not_below_zero():
    logits = torch.randn(200, 500, generator=torch.Generator().manual_seed(0)) * 8
    moved = logits + 1e-7 * torch.randn(200, 500, generator=torch.Generator().manual_seed(1))
    assert (divergence(logits, moved[None]) >= 0).all()
    assert divergence(logits, (logits + 3.0)[None]).max() < 1e-10  # a shift of all logits is no change


def test_long_texts_in_parts_are_those_at_once(monkeypatch):
    """Gemma's softcapping comes after the unembedding, and has to be done to parts too."""
    model, texts, vector = fresh("gemma2 wide"), [builders.LONG * 4, builders.LONG], builders.random_vector(2)
    whole = kl_curve(model, texts, vector, multipliers=GRID)
    sizes = []
    head = model.hf.get_output_embeddings()
    handle = head.register_forward_hook(lambda _module, args, _out: sizes.append(args[0].shape[-2]))
    monkeypatch.setattr(forward, "_MOST_ON_CPU", 12 * builders.VOCABULARY)
    other = fresh("gemma2 wide")
    try:
        parts = kl_curve(other, texts, vector, multipliers=GRID)
    finally:
        handle.remove()
    for one, two in zip(whole, parts, strict=True):
        for a, b in zip(one.per_position, two.per_position, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-11)
    assert max(own.max() for own in whole[1].per_position) > 1e-3
    assert len(sizes) > 20
    assert sorted(sizes)[len(sizes) // 2] <= 12


# --- what is remembered ----------------------------------------------------------------------------------------------------------


def test_it_is_remembered_in_memory_and_on_disk(tmp_path):
    model, vector = fresh("llama"), builders.random_vector(1)
    engine_of(model).disk = DiskMemo(tmp_path)
    first = kl_divergence(model, builders.TEXTS, vector)
    count = engine_of(model).forwards
    assert count == len(builders.TEXTS)  # the unsteered rows are no scores of their own
    assert kl_divergence(model, builders.TEXTS, vector).per_text.tolist() == first.per_text.tolist()
    assert engine_of(model).forwards == count
    again = fresh("llama")
    engine_of(again).disk = DiskMemo(tmp_path)
    assert kl_divergence(again, builders.TEXTS, vector).per_text.tolist() == first.per_text.tolist()
    assert engine_of(again).forwards == 0
    # Neither another strength, another scope nor the likelihoods of the same tokens are taken for it.
    assert kl_divergence(again, builders.TEXTS, vector, multiplier=2.0).value != first.value
    assert kl_divergence(again, builders.TEXTS, vector, include_first=True).value != first.value
    assert perplexity(again, builders.TEXTS, vector).per_text.tolist() != first.per_text.tolist()


@pytest.mark.parametrize("family", ["llama", "gpt2", "mamba"])
def test_the_likelihoods_of_the_same_tokens_come_with_it(family):
    """Perplexity on the same texts needs no forward after it, and is that of the plain way."""
    model, vector = fresh(family), builders.random_vector(1)
    kl_curve(model, builders.TEXTS, vector, multipliers=[-0.5, 1.5])
    count = engine_of(model).forwards
    assert count == 2 * len(builders.TEXTS)
    for multiplier, directions in ((0.0, {}), (-0.5, vector.directions), (1.5, vector.directions)):
        found = perplexity(model, builders.TEXTS, vector if multiplier else None, multiplier=multiplier)
        asked = [plain.nll(model.hf, model.tokenizer, text, directions, multiplier, start=1)[0] for text in builders.TEXTS]
        np.testing.assert_allclose(found.per_text, asked, rtol=1e-4)
    assert engine_of(model).forwards == count
    perplexity(model, builders.TEXTS, vector, multiplier=1.0)
    assert engine_of(model).forwards == count + len(builders.TEXTS)


def test_a_token_of_no_probability_does_not_spoil_the_divergence():
    """Its likelihood is left out of what comes with the divergence; that of the row in which it has some is there."""
    probe, change = Probe((5, 0), 1, score_from=1, diverges=True), as_intervention(builders.random_vector(1))
    steered = Row(probe, Pair(change, 1.0), b"steered")
    logits = torch.tensor([[0.5, 1.0, 2.0], [-torch.inf, 1.0, 2.0]])  # of the steered row, and of the unsteered one
    found = scores_of([steered], lambda asked: logits[asked], bases=[1], beside=True)
    assert [(row.probe.diverges, row.pair.multiplier) for row, _ in found] == [(True, 1.0), (False, 1.0)]
    assert found[0][1] == pytest.approx(
        special.rel_entr(special.softmax([1.0, 2.0]), special.softmax([0.5, 1.0, 2.0])[1:]).sum()
    )
    assert found[1][1] == pytest.approx(special.log_softmax([0.5, 1.0, 2.0])[0])


# --- what a forward holds ------------------------------------------------------------------------------------------------------


def test_ways_are_compared_on_the_scale_of_log_probabilities():
    """An error of d in the logits moves a divergence k by about d sqrt(2 k), which for small ones no room of nats would show."""
    probe = Probe((5, 6), 1, score_from=1, diverges=True)
    assert in_nats(probe, np.array([0.02, 0.0])) == pytest.approx([0.2, 0.0])
    likelihood = Probe((5, 6), 1, score_from=1)
    assert in_nats(likelihood, np.array([-3.0])).tolist() == [-3.0]
    assert agree("float32", [np.array([2e-5])], [np.array([5e-6])], Noise())
    assert not agree("float32", [in_nats(probe, np.array([2e-5]))], [in_nats(probe, np.array([5e-6]))], Noise())


def test_a_way_that_is_nearly_right_is_not_taken(monkeypatch):
    """Its divergences are a third too large, and so small that the room of a log-likelihood, 1e-4, would not show it."""
    model, vector = fresh("llama"), builders.random_vector(1)
    run = engine.run_batch

    def nearly(model, batch, way, padding, prefix):
        found = run(model, batch, way, padding, prefix)
        return [(row, own * (1.3 if way.kind != "plain" else 1.0)) for row, own in found]

    monkeypatch.setattr(engine, "run_batch", nearly)
    found = kl_divergence(model, builders.TEXTS, vector, multiplier=0.01)
    assert 0 < max(own.max() for own in found.per_position) < 1e-4
    ids = plain.ids_of(model.tokenizer, builders.TEXTS[0], special=True)
    np.testing.assert_allclose(found.per_position[0], plain_kl(model.hf, ids, vector.directions, 0.01, 1)[:-1], rtol=1e-3)


# --- bad input --------------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_measured():
    model, vector = fresh("llama"), builders.random_vector(1)
    with pytest.raises(DataError, match="at least one text"):
        kl_divergence(model, [], vector)
    with pytest.raises(DataError, match="text 1"):
        kl_divergence(model, ["A text.", ""], vector)
    with pytest.raises(SteerError, match="compares the steered model with the unsteered one"):
        kl_divergence(model, ["A text."], None)
    with pytest.raises(DataError, match="no items"):
        kl_at_answers(model, [], vector, multipliers=[1.0])
    with pytest.raises(SteerError, match="width"):
        kl_divergence(model, ["A text."], SteeringVector({1: torch.ones(7)}))
    with pytest.raises(DataError, match="neither of candidates nor of margins"):
        engine_of(model).run([Probe((5, 6, 7), 1, (8,), diverges=True)], as_intervention(vector), [1.0])


def test_nan_and_infinity_are_errors():
    hf = builders.random_hf("llama")
    model = wrap_model(hf, builders.tokenizer(), "overflows")
    with torch.no_grad():
        hf.get_output_embeddings().weight[3] = torch.nan
    with pytest.raises(MeasurementError, match=r"text 0.*NaN or infinity"):
        kl_divergence(model, ["A text."], builders.random_vector(1))
