"""Sweeps: the split, the ranking, the choice against a plain search, and how it is shown."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import builders
import numpy as np
import plain
import pytest
from scipy import stats

from pytest_steer import ContrastItem, Items, SteeringVector, read_items
from pytest_steer.errors import DataError, SteerError, VectorError
from pytest_steer.files import read_suite
from pytest_steer.stats import mean_t
from pytest_steer.studies.sweep import (
    Limits,
    claim_snippet,
    heat_map,
    heat_map_svg,
    layer_table,
    split_items,
    steerability_to_promise,
    sweep,
    write_items,
)

LAYERS = tuple(range(builders.LAYERS))
ITEMS = Items((*builders.LETTERED, *builders.WORDED), "six items")
GRID = (-1.0, 0.5, 1.0)


# --- the split -----------------------------------------------------------------------------------------------------------


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


def test_written_items_are_read_back(tmp_path):
    write_items(tmp_path / "out.json", ITEMS)
    back = read_items(tmp_path / "out.json")
    assert back == ITEMS
    assert [item.id for item in back] == [item.id for item in ITEMS]
    with pytest.raises(DataError, match="cannot be written"):
        write_items(tmp_path / "no" / "out.json", ITEMS)


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
        able = [at for at, m in enumerate(grid) if m and effects[at] > 0 and costs[at] <= limits.perplexity]
        keeps = slopes.mean() > 0 and (slopes <= 0).mean() <= limits.anti_steerable
        if able and keeps and (best is None or slopes.mean() > found[best[0]][0]):
            best = (layer, grid[max(able, key=lambda at: effects[at])])
    return found, best


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("texts", [None, builders.TEXTS])
def test_the_choice_is_that_of_a_plain_search(seed, texts):
    model, vector = builders.random_model("llama"), builders.random_vector(*LAYERS, seed=seed, norm=2.0)
    limits = Limits(anti_steerable=0.5, perplexity=0.3)
    grid = [-1.0, 0.0, 0.5, 1.0]
    want, best = plain_sweep(model, vector, grid, "after_prompt", limits, texts)
    found = sweep(model, ITEMS, vector, multipliers=GRID, texts=texts, limits=limits)
    assert found.multipliers == tuple(grid)
    for result in found.layers:
        steerability, share, effects, costs = want[result.layer]
        assert result.steerability.estimate == pytest.approx(steerability, abs=1e-4)
        assert result.anti_steerable == share
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
        sweep(model, ITEMS, builders.random_vector(*LAYERS, seed=s, norm=2.0), multipliers=GRID, limits=limits).choice
        for s in range(6)
    ]
    assert None in chosen
    assert len({(choice.layer, choice.multiplier) for choice in chosen if choice}) > 1


@pytest.mark.parametrize("keep", [1, 2, None])
def test_the_best_by_first_order_are_measured(keep):
    model, vector = builders.random_model("gpt2"), builders.random_vector(*LAYERS, norm=2.0)
    found = sweep(model, ITEMS, vector, multipliers=GRID, keep=keep)
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
    found = sweep(model, items, vector, multipliers=(-1, 1, 2), positions="last")
    assert [result.steerability.estimate for result in found.layers] == pytest.approx([1.5, 3.0])
    assert [result.first_order for result in found.layers] == pytest.approx([1.5, 3.0])
    assert (found.choice.layer, found.choice.multiplier, found.choice.perplexity) == (1, 2.0, None)
    assert found.choice.effect == pytest.approx(6.0)
    reversed_model, vector, items = known(-1.5)
    none = sweep(reversed_model, items, vector, multipliers=(-1, 1), positions="last")
    assert none.choice is None
    assert {result.note for result in none.layers} == {"does not steer"}
    with pytest.raises(SteerError, match="chose no layer"):
        claim_snippet(none, model="m", vector={"file": "v.safetensors"}, test="t.json", neutral=None)


def test_no_multiplier_within_the_limits():
    """Neutral texts that the vector makes unlikely: every rise of the propensity costs too much."""
    model, vector, items = known(3.0)
    found = sweep(
        model,
        items,
        vector,
        multipliers=(1,),
        positions="last",
        texts=["so so so thus", "thus so so"],
        limits=Limits(0.25, 0.01),
    )
    assert all(result.perplexity[found.multipliers.index(1.0)] > 0.01 for result in found.layers)
    assert found.choice is None
    assert {result.note for result in found.layers} == {"no multiplier within the limits"}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"multipliers": [0]}, SteerError, "other than 0"),
        ({"multipliers": []}, SteerError, "finite numbers"),
        ({"keep": 0}, SteerError, "at least one layer"),
        ({"items": ITEMS[:1]}, DataError, "at least two"),
        ({"vector": builders.random_vector(8)}, VectorError, "layer 8"),
        ({"positions": "none"}, SteerError, "positions is one of"),
    ],
)
def test_what_cannot_be_swept_says_so(arguments, error, words):
    given = {"items": ITEMS, "vector": builders.random_vector(1), "multipliers": GRID, **arguments}
    with pytest.raises(error, match=words):
        sweep(builders.random_model("llama"), given.pop("items"), given.pop("vector"), **given)


@pytest.mark.parametrize(
    "limits", [(0, 0.1), (1, 0.1), (0.2, 0), (0.2, float("inf")), (float("nan"), 0.1), (0.2, float("nan"))]
)
def test_limits_have_a_range(limits):
    with pytest.raises(SteerError, match="largest"):
        Limits(*limits)


# --- showing -------------------------------------------------------------------------------------------------------------


def example():
    model, vector, items = known(1.5)
    return sweep(model, items, vector, multipliers=(-1, 1), positions="last", keep=1)


def test_the_table_and_the_record_hold_what_was_measured():
    found = example()
    lines = layer_table(found).splitlines()
    assert lines[1].split() == ["0", "1.500", "pruned"]
    assert lines[2].split() == ["1", "3.000", "3.000", "[3.000,", "3.000]", "0.00", "chosen"]
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["schema"] == "pytest-steer/sweep/1"
    assert record["layers"][1]["effects"] == pytest.approx([-3, 0, 3])
    assert record["layers"][0] == {"layer": 0, "first_order": pytest.approx(1.5), "note": "pruned"}
    assert record["choice"] == {"layer": 1, "multiplier": 1.0, "effect": pytest.approx(3.0), "perplexity": None}


CELLS = [[-2.0, 0.0, 1.0], [0.5, -0.004, 2.0]]


def test_the_heat_map_in_three_styles():
    plain_map = heat_map(["0", "11"], ["-1", "0", "1.5"], CELLS, style="plain")
    assert plain_map.splitlines() == ["       -1      0    1.5", " 0  -2.00   0.00  +1.00", "11  +0.50   0.00  +2.00"]
    shades = heat_map(["0", "11"], ["-1", "0", "1.5"], CELLS, style="shades").splitlines()
    assert shades[1].split() == ["0", "-2.00", "██", "0.00", "+1.00", "▒▒"]
    assert shades[2].split() == ["11", "+0.50", "░░", "0.00", "+2.00", "██"]
    colour = heat_map(["0", "11"], ["-1", "0", "1.5"], CELLS, style="colour").splitlines()
    assert "\x1b[48;5;25m" in colour[1]
    assert "\x1b[48;5;166m" in colour[2]
    assert colour[1].count("\x1b[0m") == colour[2].count("\x1b[0m") == 3
    percent = heat_map(["0"], ["1"], [[0.0512]], style="plain", percent=True)
    assert percent.splitlines()[1].split() == ["0", "+5.1%"]
    assert "+0.00" not in heat_map(["0"], ["1"], [[0.0]], style="shades")


def test_the_picture_is_well_formed_and_has_every_cell():
    root = ElementTree.fromstring(heat_map_svg("a <b> & c", ["layer 0", "layer 11"], ["-1", "0", "1.5"], CELLS))
    name = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in root.iter(f"{name}title")]
    assert titles[0] == "layer 0, multiplier -1: -2.00"
    assert len(titles) == 6
    fills = [cell.find(f"{name}rect").get("fill") for cell in root.iter(f"{name}g")]
    assert (fills[0], fills[1], fills[5]) == ("#2166ac", "#f7f7f7", "#b35806")
    assert root.find(f"{name}text").text == "a <b> & c"


# --- the claim file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[1.0, 1.2, 1.1, 0.9], [0.1, 2.0, 0.4], [3.0, 3.0], [0.031, 0.03, 0.0305, 0.0302]])
def test_what_is_promised_leaves_room(values):
    n, mean, spread = len(values), np.mean(values), np.std(values, ddof=1)
    room = mean - 2 * stats.t.ppf(0.95, n - 1) * spread / np.sqrt(n)
    promised = steerability_to_promise(mean_t(values))
    if room <= 0:
        assert promised == 0
    else:
        assert promised <= room + 1e-12
        assert room - promised < room / 10
        assert len(f"{promised:g}".replace("0.", "").replace(".", "").strip("0")) <= 2


@pytest.mark.parametrize(
    ("model", "test", "vector"),
    [
        ("builtin:tiny", "test.json", {"file": "v.safetensors"}),
        ("a folder/with: a colon", "out/my test #1.json", {"method": "caa", "data": 'träin\'s "best".json'}),
        ("true", "no", {"method": "mean_difference", "data": "x, y}.json"}),
    ],
)
def test_the_claim_file_says_what_was_chosen(tmp_path, model, test, vector):
    for name in (test, *vector.values(), "neutral.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("[]")  # a claim file only looks whether it is there
    text = claim_snippet(example(), model=model, vector=vector, test=test, neutral="neutral.txt")
    file = tmp_path / "chosen.steer.yaml"
    file.write_text(text, encoding="utf-8")
    suite = read_suite(file)
    claims = suite.entries
    assert [claim.kind for claim in claims] == ["steers", "not_anti_steered", "ppl_delta_below"]
    assert claims[0].params["steerability"] == 3.0
    assert claims[1].params["share"] == 0.25
    assert claims[2].params["limit"] == 0.05
    for claim in claims:
        assert (claim.vector.layers, claim.vector.positions, claim.multiplier) == ((1,), "last", 1.0)
        assert claim.multipliers == (-1.0, 0.0, 1.0)
        assert claim.test == tmp_path / test
        assert claim.neutral == tmp_path / "neutral.txt"
        if "file" in vector:
            assert claim.vector.file == tmp_path / vector["file"]
        else:
            assert (claim.vector.method, claim.vector.data) == (vector["method"], tmp_path / vector["data"])
    assert suite.model in (model, str(tmp_path / model))
    without = claim_snippet(example(), model=model, vector=vector, test=test, neutral=None)
    assert "ppl_delta_below" not in without
    assert Path(test).name in without
