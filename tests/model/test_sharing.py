"""What is shared beyond one item and one layer: prefixes among items, prompts among pairs of different layers."""

from __future__ import annotations

import dataclasses

import builders
import numpy as np
import pytest
import torch
from engines import check, fresh, probes_of, run_pairs, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer.core.errors import MeasurementError
from pytest_steer.model import Engine, Probe, engine_of
from pytest_steer.model.layout import Budget, group_by_prefix
from pytest_steer.model.probes import Pair, Row, bundle_up
from pytest_steer.steering import as_intervention, custom

PAIRS = [(0, -1.0), (0, 1.5), (1, 0.0), (1, 1.0), (2, -2.0), (2, 1.0)]


# --- pairs of different layers -----------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
@pytest.mark.parametrize("start", [0, 1, 17], ids=["from the first", "from the second", "behind the prompt"])
@pytest.mark.parametrize("kind", ["letter", "words"])
def test_a_sweep_equals_the_plain_way(family, start, kind):
    model = fresh(family)
    probes = probes_of(kind, start)
    found, _ = run_pairs(model, probes, PAIRS)
    check(model, probes, PAIRS, found)


@pytest.mark.parametrize("family", builders.each_kind_by_day(sorted(builders.SHARING - builders.WINDOWED)))
def test_a_sweep_takes_the_fast_ways(family):
    for start, way in ((1, "shared depth"), (17, "shared positions")):
        model = fresh(family)
        _, paths = run_pairs(model, probes_of("letter", start), PAIRS)
        assert set(paths.values()) == {way}
        assert not engine_of(
            model
        )._misfits  # nor was another way tried first and found wrong, which would hide a mistake of ours


def test_interventions_at_several_layers_and_pairs_of_one_layer_in_any_order():
    model = fresh("llama")
    two, one = (as_intervention(builders.random_vector(*layers)) for layers in ((0, 2), (1,)))
    double = custom(lambda h, s, layer: h * (1 + s), layers=[1, 2], strength="linear", name="double")
    probes = probes_of("letter", 17)
    pairs = [(one, 1.0), (two, -1.0), (double, 0.5), (None, 0.0), (one, -1.0), (two, 1.0), (double, 0.0)]
    together = engine_of(model).run_pairs(probes, pairs)
    for probe, scores in zip(probes, together, strict=True):
        for (change, m), got in zip(pairs, scores, strict=True):
            alone = Engine(model, sharing=False).run([probe], change, [m])[0][0]
            np.testing.assert_allclose(got, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "neox", "falcon", "gemma3 wide"])
def test_without_the_unsteered_model_the_deepest_pair_takes_its_place(family, padding):
    for start in (1, 17):
        model = fresh(family, padding)
        probes, pairs = probes_of("words", start), [(0, 1.0), (2, -1.0), (1, 1.0)]
        check(model, probes, pairs, run_pairs(model, probes, pairs)[0])


# --- prefixes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.covering(2)
@pytest.mark.parametrize("family", builders.each_kind_by_day(builders.FAMILIES + builders.FURTHER))
@pytest.mark.parametrize(
    ("padding", "kind"), [("right", "letter"), ("right", "words"), ("left", "letter"), ("left", "words")]
)
@pytest.mark.parametrize("start", [0, 1, 17])
def test_a_shared_prefix_changes_nothing(family, padding, kind, start):
    """Sixty tokens that all five questions begin with, steered with the rest or left alone."""
    model = fresh(family, padding)
    probes = probes_of(kind, start, prefix=60)
    found, paths = run_pairs(model, probes, PAIRS)
    check(model, probes, PAIRS, found)
    if family in builders.SHARING - builders.WINDOWED:
        assert all(path.endswith(", shared prefix") for path in paths.values()), paths
        assert not engine_of(model)._misfits


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["letter", "words"])
def test_starts_before_within_and_after_one_prefix(family, kind):
    """Questions that begin with the same sixty tokens: what is steered of those differs, so their keys and values do too."""
    model = fresh(family)
    # Without the unsteered model, whose scores are asked for once only: all questions have the same pairs to be grouped by.
    pairs = [(layer, m) for layer, m in PAIRS if m]
    probes = [dataclasses.replace(probe, steer_from=start)
              for start in (0, 1, 30, 61) for probe in probes_of(kind, 17, 60)]  # fmt: skip
    found, paths = run_pairs(model, probes, pairs)
    check(model, probes, pairs, found)
    assert all("shared prefix" in path for path in paths.values()), paths
    assert not engine_of(model)._misfits  # else a trial would have hidden that a way was wrong


def test_what_is_steered_from_another_of_the_first_tokens_on_shares_no_prefix():
    same = tokens(1, 60)
    probes = [Probe(same + tokens(10 * n + 3, 9), start, (1,)) for start in (0, 1, 30, 61) for n in range(8)]
    groups = group_by_prefix(bundle_up(rows_of(probes)))
    starts = [({bundle.steer_from for bundle in group.bundles}, group.prefix) for group in groups]
    assert sorted(starts, key=lambda group: min(group[0])) == [({0}, 60), ({1}, 60), ({30, 61}, 30)]


@pytest.mark.parametrize("family", ["llama", "gemma3", "gemma3 wide", "mistral", "neox"])
def test_long_prompts(family):
    model = fresh(family)
    probes = [Probe(tokens(3, 300) + tokens(20 + n, 100), 396, (20, 30)) for n in range(3)]
    check(model, probes, PAIRS, run_pairs(model, probes, PAIRS)[0])


def test_a_prefix_without_steering():
    model = fresh("llama")
    probes = probes_of("letter", 1, prefix=60)
    check(model, probes, [(None, 0.0)], run_pairs(model, probes, [(None, 0.0)])[0])


def test_texts_that_are_scored_from_their_first_token_share_no_prefix():
    probes = [Probe(tokens(3, 80) + tokens(n, 9), 1, score_from=1) for n in range(6)]
    groups = group_by_prefix(bundle_up([Row(probe, Pair(None, 0.0), bytes([n])) for n, probe in enumerate(probes)]))
    assert [group.prefix for group in groups] == [0]


def rows_of(probes):
    change = as_intervention(builders.random_vector(1))
    return [Row(probe, Pair(change, m), repr((n, m)).encode()) for n, probe in enumerate(probes) for m in (0.0, 1.0)]


def test_each_context_is_a_group_with_its_own_prefix():
    """Two system prompts that begin alike, ten items each: two groups, not one with the little that all share."""
    common = tokens(1, 5)
    systems = [common + tokens(100, 40), common + tokens(200, 50)]
    probes = [Probe(system + tokens(10 * n + 3, 12), len(system) + 11, (1,)) for n in range(10) for system in systems]
    groups = group_by_prefix(bundle_up(rows_of(probes)))
    assert sorted((len(group.bundles), group.prefix) for group in groups) == [(10, 45), (10, 55)]


def test_a_prefix_ends_before_what_is_steered_and_before_what_is_read():
    same = tokens(1, 60)
    probes = [Probe(same + tokens(10 * n + 3, 9), 40 + n, (1,)) for n in range(8)]
    assert [group.prefix for group in group_by_prefix(bundle_up(rows_of(probes)))] == [40]
    probes = [Probe(same + tokens(10 * n + 3, 9), 69 - n % 2, score_from=31) for n in range(8)]
    assert {group.prefix for group in group_by_prefix(bundle_up(rows_of(probes)))} == {30}


def test_few_or_short_prefixes_are_not_worth_a_forward():
    probes = [Probe(tokens(1, 9) + tokens(10 * n + 3, 12), 20, (1,)) for n in range(4)]
    assert [group.prefix for group in group_by_prefix(bundle_up(rows_of(probes)))] == [0]


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from([40, 50, 60]), min_size=2, max_size=70).map(tuple), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_grouping_loses_and_invents_nothing(sequences, start):
    probes = [Probe(ids, min(start, len(ids) - 1), (70,)) for ids in dict.fromkeys(sequences)]
    rows = rows_of(probes)
    groups = group_by_prefix(bundle_up(rows))
    assert sorted(row.key for group in groups for bundle in group.bundles for row in bundle.rows) == sorted(
        r.key for r in rows
    )
    for group in groups:
        assert len({bundle.ids[: group.prefix] for bundle in group.bundles}) == 1
        for bundle in group.bundles:
            assert all(group.prefix <= probe.reads.start for probe in bundle.probes)


# --- only the answers' rows of the unembedding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gemma2", "gemma2 wide", "gptj", "phi3", "llama"])
def test_only_the_rows_of_the_answers_are_computed(family):
    """Softcapped logits (Gemma 2) and an unembedding with a bias (GPT-J) included."""
    model = fresh(family)
    head = model.hf.get_output_embeddings()
    widths = []
    handle = head.register_forward_hook(lambda _m, _i, output: widths.append(output.shape[-1]))
    probes = probes_of("letter", 17)
    found, _ = run_pairs(model, probes, PAIRS)
    handle.remove()
    check(model, probes, PAIRS, found)
    assert 2 in widths
    assert "forward" not in vars(head)
    assert not engine_of(model)._misfits


# --- memory ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1, 17])
def test_after_memory_ran_out_once_later_batches_fit(monkeypatch, start):
    """Room for half of the first batch: that fails once, its halves and all that follow go through, and the budget stays there."""
    from pytest_steer.model import engine as module

    probes = [Probe(tokens(n, 30), start if start < 2 else 28, (20, 30)) for n in range(60)]
    sizes, failed, room = [], [], None
    real = module.run_batch

    def scarce(model, bundles, way, padding, prefix):
        nonlocal room
        room = room or len(bundles) // 2 + 1
        if len(bundles) > room:
            failed.append(len(bundles))
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(bundles))
        return real(model, bundles, way, padding, prefix)

    monkeypatch.setattr(module, "run_batch", scarce)
    model = fresh("llama")
    engine_of(model)._budget = Budget(600, 2**25)
    with pytest.warns(match="memory ran out"):
        found, _ = run_pairs(model, probes, PAIRS)
    check(model, probes, PAIRS, found)
    assert len(failed) == 1
    halves, later = sizes[:2], sizes[3:-1]  # behind the halves comes the trial; the last batch is what is left
    assert len(later) > 3
    assert min(later) >= min(halves) > 1  # not smaller and smaller


def test_an_overflow_in_one_branch_does_not_put_the_way_off(monkeypatch):
    """The error is about the item and its multiplier; for other interventions the model stays on its fast way."""
    model = fresh("llama")
    boom = custom(lambda h, s, layer: h / (1 - s), layers=1, strength="linear", name="pole")
    probes = probes_of("letter", 17)
    with pytest.raises(MeasurementError, match="at multiplier 1;"):
        engine_of(model).run(probes, boom, [-1.0, 0.0, 1.0, 0.5])
    calm = as_intervention(builders.random_vector(1))
    engine_of(model).run(probes, calm, [-1.0, 1.0, 0.5])
    assert engine_of(model).path(calm) == "shared positions"


@pytest.mark.parametrize("broken", ["shared depth", "shared positions", "prefix"])
@pytest.mark.parametrize("row", ["first pair", "last pair"])
def test_a_way_that_is_a_little_wrong_is_not_taken(monkeypatch, broken, row):
    """One thousandth too much in what one pair gives, where a way is broken on purpose: the next way answers."""
    from pytest_steer.model import engine as module

    real = module.run_batch

    def wrong(model, bundles, way, padding, prefix):
        answers = real(model, bundles, way, padding, prefix)
        if way.kind == broken or (broken == "prefix" and way.prefix):
            order = [pair for pair in bundles[0].pairs if not pair.is_idle]
            spoilt = order[0] if row == "first pair" else order[-1]
            answers = [(own, scores + 1e-3 * (own.pair == spoilt)) for own, scores in answers]
        return answers

    monkeypatch.setattr(module, "run_batch", wrong)
    model = fresh("llama")
    for start in (1, 17):
        probes = probes_of("letter", start, prefix=60)
        found, paths = run_pairs(model, probes, PAIRS)
        check(model, probes, PAIRS, found)
        assert not any(broken in path for path in paths.values())
    assert engine_of(model)._misfits


@pytest.mark.parametrize("start", [1, 17])
def test_without_memory_for_a_prefix_there_is_none(monkeypatch, start):
    """It is run under all pairs at once, so it is given up, once, and the batches behind it go on by themselves."""
    from pytest_steer.model import engine as module

    asked = []

    def none(model, bundle, length):
        asked.append(length)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "run_prefix", none)
    model = fresh("llama")
    engine_of(model)._budget = Budget(200, 2**25)
    probes = probes_of("letter", start, prefix=60)
    found, paths = run_pairs(model, probes, PAIRS)
    check(model, probes, PAIRS, found)
    assert len(asked) == 1
    assert not any("prefix" in path for path in paths.values())
