"""Sweeps: the split, the methods, the ranking, and the choice against a plain search."""

from __future__ import annotations

import itertools
import json

import builders
import numpy as np
import plain
import pytest

from pytest_steer import Completion, ContrastItem, Items, SteeringVector, load_model
from pytest_steer.core import registry
from pytest_steer.core.errors import DataError, SteerError, VectorError
from pytest_steer.data import Sample, Texts
from pytest_steer.data.traces import traces
from pytest_steer.files.inputs import make_steering
from pytest_steer.files.specs import VectorSpec
from pytest_steer.studies.split import split_sample, split_texts
from pytest_steer.studies.sweep import (
    Candidate,
    Limits,
    Neutral,
    Parts,
    find_method,
    read_parts,
    sweep,
    vector_at,
    vector_methods,
)

LAYERS = tuple(range(builders.LAYERS))
ITEMS = Items((*builders.LETTERED, *builders.WORDED), "six items")

GRID = (-1.0, 0.5, 1.0)


# --- the split -----------------------------------------------------------------------------------------------------------


def parts_of(items, texts=()):
    """Validation data alone."""
    return Parts(None, items, items[:0], Texts(texts))


def split_items(items, shares, **given):
    return [part.units for part in split_sample(Sample(items), shares, **given)]


def numbered(count, repeats=1):
    return Items(
        [ContrastItem(f"Question {i // repeats}?", (f"yes {i}",), ("no",), str(i)) for i in range(count)], "numbered.json"
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("count", "repeats", "shares", "sizes"),
    [(100, 1, (40, 20, 40), (40, 20, 40)), (10, 1, (0.3, 0.7), (3, 7)), (60, 2, (1, 1, 1), (20, 20, 20))],
)
def test_every_item_is_in_one_part_and_questions_stay_together(count, repeats, shares, sizes, seed):
    items = numbered(count, repeats)
    parts = split_items(items, shares, seed=seed, names="abc"[: len(shares)])
    assert tuple(map(len, parts)) == sizes
    assert sorted(int(item.id) for part in parts for item in part) == list(range(count))
    for one, two in itertools.combinations(parts, 2):
        assert not {item.question for item in one} & {item.question for item in two}
    assert [part.source for part in parts] == [f"numbered.json ({name})" for name in "abc"[: len(shares)]]
    assert split_items(items, shares, seed=seed, names="abc"[: len(shares)]) == parts
    assert split_items(items, shares, seed=seed + 1, names="abc"[: len(shares)]) != parts


def test_a_part_is_drawn_from_everywhere():
    """Each item is in the test part in about two of five splits."""
    items = numbered(20)
    times = np.zeros(20)
    for seed in range(300):
        for item in split_items(items, (60, 40), seed=seed, names="ab")[1]:
            times[int(item.id)] += 1
    assert (np.abs(times / 300 - 0.4) < 4 * np.sqrt(0.24 / 300)).all()


@pytest.mark.parametrize(("count", "repeats"), [(4, 1), (60, 30), (1, 1)])
def test_too_few_to_split(count, repeats):
    with pytest.raises(DataError, match=rf"numbered.json: {count} items with .* are too few to split"):
        split_items(numbered(count, repeats), (40, 20, 40), seed=0, names=("train", "validation", "test"))


def test_texts_are_split_like_items():
    texts = [f"Text {index // 2}." for index in range(40)]
    parts = split_texts(texts, (30, 70), seed=1, names=("validation", "test"), source="neutral.txt")
    assert tuple(map(len, parts)) == (12, 28)
    assert sorted(parts[0] + parts[1]) == sorted(texts)
    assert not set(parts[0]) & set(parts[1])
    assert parts != split_texts(texts, (30, 70), seed=2, names=("validation", "test"), source="neutral.txt")
    with pytest.raises(
        DataError, match=r"neutral.txt: 3 texts, 1 of them different, are too few to split: validation 0, test 3"
    ):
        split_texts(["a b", "a  b ", "a\nb"], (30, 70), seed=0, names=("validation", "test"), source="neutral.txt")


def test_completions_of_one_prompt_stay_in_one_part():
    texts = [*(Completion(f"What is {n // 3}?", f"Reply {n}.") for n in range(30)), *(f"Plain {n}." for n in range(6))]
    parts = split_texts(texts, (30, 70), seed=1, names=("validation", "test"), source="neutral.txt")
    first, second = ({text.prompt for text in part if isinstance(text, Completion)} for part in parts)
    assert first
    assert second
    assert not first & second
    assert sorted(map(repr, [*parts[0], *parts[1]])) == sorted(map(repr, texts))
    # Where there is but one prompt, only other completions of it can be kept apart.
    one = split_texts(
        [Completion("Why?", f"{n}.") for n in range(9)], (30, 70), seed=1, names=("a", "b"), source="neutral.txt"
    )
    assert [len(part) for part in one] == [3, 6]


# --- data and methods ----------------------------------------------------------------------------------------------------


def written(path, items):
    path.write_text(
        json.dumps(
            [{"question": i.question, "matching": list(i.matching), "not_matching": list(i.not_matching)} for i in items]
        )
    )
    return path


def test_nothing_is_in_two_parts(tmp_path):
    data = written(tmp_path / "data.json", numbered(20))
    (tmp_path / "neutral.txt").write_text("\n".join(f"Text {i}." for i in range(10)))
    parts = read_parts(data, (40, 20, 40), neutral=Neutral(tmp_path / "neutral.txt"), seed=3)
    own = (parts.train.data, parts.validation, parts.test)
    assert [len(part) for part in own] == [8, 4, 8]
    assert len({item.question for part in own for item in part}) == 20
    # Texts have no train part: 20 to 40, as the items.
    assert (len(parts.texts), len(parts.test_texts)) == (3, 7)
    assert not set(parts.texts) & set(parts.test_texts)
    with_train = read_parts(data, (30, 70), train=written(tmp_path / "more.json", ITEMS), seed=3)
    assert (len(with_train.validation), len(with_train.test), with_train.train.data) == (6, 14, ITEMS)
    with pytest.raises(DataError, match=r"20 questions of .*data.json are also in .*data.json"):
        read_parts(data, (30, 70), train=data, seed=0)
    seen = traces([f" {item.question.upper()}" for item in numbered(3)])
    with pytest.raises(DataError, match=r"3 questions of .* are also in saved.gguf"):
        read_parts(data, (30, 70), saved=("saved.gguf", seen), seed=0)
    assert read_parts(data, (30, 70), seed=0).train is None


def test_every_method_that_gives_a_vector_can_be_swept():
    no_vector_per_layer = {"icv", "mimic", "leace", "ablation"}
    assert set(vector_methods()) == set(registry.names("method")) - no_vector_per_layer
    with pytest.raises(SteerError, match="no method 'pcaa' gives a vector to sweep: did you mean 'pca'"):
        find_method("pcaa")


@pytest.mark.filterwarnings("ignore::pytest_steer.core.errors.SteerWarning")  # the data mean nothing
@pytest.mark.parametrize("name", vector_methods())
def test_a_swept_vector_is_that_of_a_claim_file(name, tmp_path):
    model = load_model("builtin:tiny")
    data = written(tmp_path / "train.json", numbered(14))
    training = read_parts(
        written(tmp_path / "other.json", [ContrastItem(f"{i}?", ("a",), ("b",)) for i in range(9)]),
        (30, 70),
        train=data,
        seed=5,
    ).train
    layers = (1, 3)
    swept = vector_at(find_method(name), model, training, layers, 5)
    assert swept.layers == layers
    for layer in layers:
        spec = VectorSpec(None, name, data, (layer,), "all", False, (), 1)
        # A random direction is drawn for all its layers one after the other.
        if name != "random" or layer == layers[0]:
            np.testing.assert_allclose(
                swept.directions[layer].numpy(), make_steering(model, spec, 5).directions[layer].numpy(), atol=1e-6
            )
    assert set(swept.metadata.get("reliability", {})) in ({"1", "3"}, set())


# --- the sweep -----------------------------------------------------------------------------------------------------------


def plain_sweep(model, vector, grid, positions, limits, texts=None):
    """The rule of ``sweep`` from plain measurements: {layer: (steerability, share, effects, costs)} and the chosen pair."""
    found, best = {}, None
    base = plain.perplexity([plain.nll(model.hf, model.tokenizer, t) for t in texts]) if texts else None
    for layer in vector.layers:
        directions = {layer: vector.directions[layer]}
        values = plain.curve(model.hf, model.tokenizer, ITEMS, directions, grid, positions)
        slopes = plain.slopes(values, grid)
        effects = values.mean(0) - values.mean(0)[grid.index(0)]
        costs = [
            plain.perplexity([plain.nll(model.hf, model.tokenizer, t, directions, m) for t in texts]) / base - 1
            if texts
            else 0.0
            for m in grid
        ]
        found[layer] = (slopes.mean(), (slopes <= 0).mean(), effects, costs)
        able = [at for at, m in enumerate(grid) if m and effects[at] > 0 and costs[at] <= limits.budget]
        keeps = slopes.mean() > 0 and (slopes <= 0).mean() <= limits.anti_steerable_share
        if able and keeps and (best is None or slopes.mean() > found[best[0]][0]):
            best = (layer, grid[max(able, key=lambda at: effects[at])])
    return found, best


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("texts", [None, builders.TEXTS])
def test_the_choice_is_that_of_a_plain_search(seed, texts):
    model, vector = builders.random_model("llama"), builders.random_vector(*LAYERS, seed=seed, norm=2.0)
    limits = Limits(anti_steerable_share=0.5, budget=0.3)
    grid = [-1.0, 0.0, 0.5, 1.0]
    want, best = plain_sweep(model, vector, grid, "after_prompt", limits, texts)
    found = sweep(model, parts_of(ITEMS, texts or ()), vector, multipliers=GRID, limits=limits)
    assert found.multipliers == tuple(grid)
    for result in found.layers:
        steerability, share, effects, costs = want[result.layer]
        assert result.steerability.estimate == pytest.approx(steerability, abs=1e-4)
        assert result.anti_steerable_share == share
        np.testing.assert_allclose(result.effects, effects, atol=1e-4)
        if texts:
            np.testing.assert_allclose(result.perplexity, costs, atol=1e-4)
        else:
            assert result.perplexity is None
    if best is None:
        assert found.choice is None
        assert all(result.note for result in found.layers)
    else:
        assert (found.choice.layer, found.choice.multiplier) == best
        assert found.choice.effect == pytest.approx(want[best[0]][2][grid.index(best[1])], abs=1e-4)


def test_some_seeds_choose_and_some_do_not():
    """The test above sees both outcomes, several layers and several multipliers."""
    model, limits = builders.random_model("llama"), Limits(0.5, 0.3)
    chosen = [
        sweep(
            model, parts_of(ITEMS), builders.random_vector(*LAYERS, seed=s, norm=2.0), multipliers=GRID, limits=limits
        ).choice
        for s in range(6)
    ]
    assert None in chosen
    assert len({(choice.layer, choice.multiplier) for choice in chosen if choice}) > 1


@pytest.mark.parametrize(
    ("steerability", "effect", "steers"), [(0.1, 0.1, True), (0.0, 0.1, False), (0.1, 0.0, False), (-0.1, 0.1, False)]
)
def test_what_does_not_move_the_items_does_not_steer(steerability, effect, steers):
    assert Candidate(1, 1.0, effect, steerability, 0.1, None, {}).steers == steers


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("share", "limit"), [(0.1, 0.3), (0.5, 1e-6), (0.1, 1e-6)])
def test_the_nearest_candidate_is_that_of_a_plain_search(seed, share, limit):
    model, vector = builders.random_model("llama"), builders.random_vector(*LAYERS, seed=seed, norm=2.0)
    limits, grid = Limits(share, limit), [-1.0, 0.0, 0.5, 1.0]
    want, _ = plain_sweep(model, vector, grid, "after_prompt", limits, builders.TEXTS)
    near = sweep(model, parts_of(ITEMS, builders.TEXTS), vector, multipliers=GRID, limits=limits).nearest
    over = {}
    for layer, (steerability, anti, effects, costs) in want.items():
        for at, multiplier in enumerate(grid):
            if multiplier and steerability > 0 and effects[at] > 0:
                over[layer, multiplier] = max(0, anti / share - 1) + max(0, costs[at] / limit - 1)
    steerability, anti, effects, costs = want[near.layer]
    at = grid.index(near.multiplier)
    assert near.steers == bool(over)
    if over:
        assert over[near.layer, near.multiplier] == pytest.approx(min(over.values()), rel=1e-2, abs=1e-3)
        assert set(near.excess) == {
            name for name, broken in (("anti_steerable_share", anti > share), ("budget", costs[at] > limit)) if broken
        }
    else:
        assert steerability == max(one[0] for one in want.values())
    assert near.effect == pytest.approx(effects[at], abs=1e-4)
    assert near.perplexity == pytest.approx(costs[at], abs=1e-4)


@pytest.mark.parametrize("keep", [1, 2, None])
def test_the_best_by_first_order_are_measured(keep):
    model, vector = builders.random_model("gpt2"), builders.random_vector(*LAYERS, norm=2.0)
    found = sweep(model, parts_of(ITEMS), vector, multipliers=GRID, keep=keep)
    ranked = sorted(found.layers, key=lambda result: -result.first_order)
    kept = sorted(result.layer for result in ranked[:keep])
    assert [result.layer for result in found.measured] == kept
    for result in found.layers:
        step = 1e-2
        values = plain.curve(
            model.hf, model.tokenizer, ITEMS, {result.layer: vector.directions[result.layer]}, (-step, step), "after_prompt"
        )
        assert result.first_order == pytest.approx((values[:, 1] - values[:, 0]).mean() / (2 * step), abs=2e-3)
        if result.layer not in kept:
            assert (result.curve, result.note) == (None, "pruned")
            with pytest.raises(SteerError, match="was pruned"):
                _ = result.steerability


def known(c):
    """A model in which the slope of every item is c, at both layers (see builders.Linear)."""
    linear = builders.Linear(("Question:", "Answer:", "Yes", "No", "so", "thus"), a={}, b={}, c={"Yes": c})
    vector = SteeringVector({0: linear.vector().directions[0], 1: 2 * linear.vector().directions[0]})
    return linear.model, vector, Items([ContrastItem(q, ("Yes",), ("No",)) for q in ("so", "thus")])


def test_a_known_answer():
    model, vector, items = known(1.5)
    found = sweep(model, parts_of(items), vector, multipliers=(-1, 1, 2), positions="last")
    assert [result.steerability.estimate for result in found.layers] == pytest.approx([1.5, 3.0])
    assert [result.first_order for result in found.layers] == pytest.approx([1.5, 3.0])
    assert (found.choice.layer, found.choice.multiplier, found.choice.perplexity) == (1, 2.0, None)
    assert found.choice.effect == pytest.approx(6.0)
    reversed_model, vector, items = known(-1.5)
    none = sweep(reversed_model, parts_of(items), vector, multipliers=(-1, 1), positions="last")
    assert none.choice is None
    assert {result.note for result in none.layers} == {"does not steer"}
    assert (none.nearest.layer, none.nearest.steers) == (0, False)  # -1.5 is nearer to 0 than -3


def test_no_multiplier_within_the_limits():
    """Neutral texts that the vector makes unlikely: every rise of the propensity costs too much."""
    model, vector, items = known(3.0)
    found = sweep(
        model,
        parts_of(items, ["so so so thus", "thus so so"]),
        vector,
        multipliers=(1,),
        positions="last",
        limits=Limits(0.25, 0.01),
    )
    assert all(result.perplexity[found.multipliers.index(1.0)] > 0.01 for result in found.layers)
    assert found.choice is None
    assert {result.note for result in found.layers} == {"no multiplier within the limits"}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"multipliers": [0]}, SteerError, "other than 0"),
        ({"keep": 0}, SteerError, "at least one layer"),
        ({"items": ITEMS[:1]}, DataError, "at least two"),
        ({"vector": builders.random_vector(8)}, VectorError, "layer 8"),
        ({"positions": "none"}, SteerError, "positions is one of"),
    ],
)
def test_what_cannot_be_swept_says_so(arguments, error, words):
    given = {"items": ITEMS, "vector": builders.random_vector(1), "multipliers": GRID, **arguments}
    with pytest.raises(error, match=words):
        sweep(builders.random_model("llama"), parts_of(given.pop("items")), given.pop("vector"), **given)


@pytest.mark.parametrize(
    "limits", [(0, 0.1), (1, 0.1), (0.2, 0), (0.2, float("inf")), (float("nan"), 0.1), (0.2, float("nan"))]
)
def test_limits_have_a_range(limits):
    with pytest.raises(SteerError, match="largest"):
        Limits(*limits)
