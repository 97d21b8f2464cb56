"""A sweep in words: its tables and maps, what it says when nothing keeps the limits, and the claim file with what stands beside it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import builders
import click
import numpy as np
import pytest
from scipy import stats

from pytest_steer import ContrastItem, Items, SteeringVector, read_items, read_texts
from pytest_steer.cli.claim_file import claim_text, files_of, room_for, write_files
from pytest_steer.cli.sweep import heat_map, heat_map_svg, layer_table, of_sweep, sweep_text
from pytest_steer.core.errors import DataError, SteerError
from pytest_steer.core.run_context import RunContext
from pytest_steer.data import Texts
from pytest_steer.files import read_suite
from pytest_steer.stats import mean_t
from pytest_steer.studies.sweep import Limits, Parts, sweep

ITEMS = Items((*builders.LETTERED, *builders.WORDED), "six items")
TEXTS = ["so so so thus", "thus so so"]


def known(c, **settings):
    """A sweep of a model in which the slope of every item is c at layer 0 and 2c at layer 1 (see builders.Linear)."""
    linear = builders.Linear(("Question:", "Answer:", "Yes", "No", "so", "thus"), a={}, b={}, c={"Yes": c})
    vector = SteeringVector({0: linear.vector().directions[0], 1: 2 * linear.vector().directions[0]}, {"method": "caa"})
    items = Items([ContrastItem(q, ("Yes",), ("No",)) for q in ("so", "thus")])
    parts = parts_of(items, settings.pop("texts", ()))
    return sweep(linear.model, parts, vector, positions="last", **{"multipliers": (-1, 1), **settings})


def parts_of(items, texts=()):
    """The same data to choose on and to test on."""
    return Parts(None, items, items, Texts(texts), Texts(texts))


def said(found, texts=()):
    return sweep_text(found, parts_of(found.items, texts), model="m", vector="v.gguf")


# --- showing -------------------------------------------------------------------------------------------------------------


def example():
    return known(1.5, keep=1)


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


def test_the_heat_map_with_colours_and_without():
    coloured = heat_map(["0", "11"], ["-1", "0", "1.5"], CELLS)
    plain_map = click.unstyle(coloured)
    assert plain_map.splitlines() == ["       -1      0    1.5", " 0  -2.00   0.00  +1.00", "11  +0.50   0.00  +2.00"]
    first, second = coloured.splitlines()[1:]
    assert "\x1b[38;5;231m\x1b[48;5;25m  -2.00\x1b[0m" in first
    assert "\x1b[38;5;231m\x1b[48;5;166m  +2.00\x1b[0m" in second
    assert "\x1b[38;5;16m\x1b[48;5;255m   0.00\x1b[0m" in first
    percent = heat_map(["0"], ["1"], [[0.0512]], percent=True)
    assert click.unstyle(percent).splitlines()[1].split() == ["0", "+5.1%"]
    assert "+0.00" not in heat_map(["0"], ["1"], [[0.0]])


def test_the_picture_is_well_formed_and_has_every_cell():
    root = ElementTree.fromstring(heat_map_svg("a <b> & c", ["layer 0", "layer 11"], ["-1", "0", "1.5"], CELLS))
    name = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in root.iter(f"{name}title")]
    assert titles[0] == "layer 0, multiplier -1: -2.00"
    assert len(titles) == 6
    fills = [cell.find(f"{name}rect").get("fill") for cell in root.iter(f"{name}g")]
    assert (fills[0], fills[1], fills[5]) == ("#2166ac", "#f7f7f7", "#b35806")
    places = [int(cell.find(f"{name}rect").get("x")) for cell in root.iter(f"{name}g")]
    assert places[0] < places[1] < places[2] == int(root.get("width")) - 20 - 64
    assert places[3:] == places[:3]
    assert root.find(f"{name}text").text == "a <b> & c"


# --- the claim file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[1.0, 1.2, 1.1, 0.9], [0.1, 2.0, 0.4], [3.0, 3.0], [0.031, 0.03, 0.0305, 0.0302]])
def test_what_is_promised_leaves_room(values):
    n, mean, spread = len(values), np.mean(values), np.std(values, ddof=1)
    room = mean - 2 * stats.t.ppf(0.95, n - 1) * spread / np.sqrt(n)
    found = mean_t(values)
    promised = room_for(found.estimate, found.low)
    if room <= 0:
        assert promised == 0
    else:
        assert promised <= room + 1e-12
        assert room - promised < room / 10
        assert len(f"{promised:g}".replace("0.", "").replace(".", "").strip("0")) <= 2


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("builtin:tiny", "chosen.steer.yaml"),
        ("a folder/with: a colon", "out/my claims #1.steer.yaml"),
        ("true", "no.steer.yml"),
    ],
)
@pytest.mark.parametrize("texts", [(), ("A text\nof two lines.", "Another ä.")], ids=["", "texts"])
def test_the_claim_file_says_what_was_chosen_and_what_it_names_is_there(tmp_path, monkeypatch, model, name, texts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    found, files = example(), files_of(tmp_path / name, has_texts=bool(texts))
    chosen = of_sweep(found, parts_of(ITEMS, texts))
    write_files(files, chosen, claim_text(chosen, files, RunContext(), model=model))
    suite = read_suite(files.claims)
    claims = suite.entries
    assert [claim.kind for claim in claims] == ["steers", "not_anti_steered", *(["ppl_delta_below"] if texts else [])]
    assert claims[0].params["steerability"] == 3.0
    assert claims[1].params["share"] == 0.25
    assert not texts or claims[2].params["limit"] == 0.05
    for claim in claims:
        assert (claim.vector.layers, claim.vector.positions, claim.multiplier) == ((1,), "last", 1.0)
        assert claim.multipliers == (-1.0, 0.0, 1.0)
        assert {claim.vector.file, claim.test, files.claims} <= set(files.claims.parent.iterdir())
        assert SteeringVector.load(claim.vector.file, layer="all").hash == found.vector.hash
        assert read_items(claim.test) == ITEMS
        assert tuple(read_texts(claim.neutral)) == texts if texts else claim.neutral is None
    assert suite.model == (str(tmp_path / model) if model == "true" else model)  # a bare name is that of a folder


@pytest.mark.parametrize("taken", ["c.steer.yaml", "c.safetensors", "c.test.json", "c.neutral.json"])
def test_nothing_is_overwritten(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(DataError, match=rf"--write: .*{taken} exists, and is not overwritten"):
        write_files(files_of(tmp_path / "c.steer.yaml", has_texts=True), of_sweep(example(), parts_of(ITEMS, TEXTS)), "")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"


def test_a_model_folder_is_named_as_seen_from_the_claim_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("m", "claims"):
        (tmp_path / folder).mkdir()
    for claims, model, want in (
        ("c.steer.yaml", "m", "./m"),
        ("claims/c.steer.yaml", "./m", "../m"),
        ("claims/c.steer.yaml", str(tmp_path / "m"), str(tmp_path / "m")),
        ("claims/c.steer.yaml", "owner/name", "owner/name"),
    ):
        text = claim_text(
            of_sweep(example(), parts_of(ITEMS)), files_of(tmp_path / claims, has_texts=False), RunContext(), model=model
        )
        assert f"model: {want}\n" in text


def test_a_sweep_without_a_choice_is_no_claim_file():
    assert of_sweep(known(-1.5), parts_of(ITEMS)) is None


def test_written_items_are_read_back(tmp_path):
    files, chosen = files_of(tmp_path / "c.steer.yaml", has_texts=False), of_sweep(example(), parts_of(ITEMS))
    write_files(files, chosen, "")
    back = read_items(files.test)
    assert back == ITEMS
    assert [item.id for item in back] == [item.id for item in ITEMS]
    with pytest.raises(SteerError, match="cannot be written"):
        write_files(files_of(tmp_path / "no" / "c.steer.yaml", has_texts=False), chosen, "")


# --- nothing keeps the limits --------------------------------------------------------------------------------------------


def test_perplexity_is_too_high_by_so_much():
    found = known(3.0, multipliers=(1, 2), texts=TEXTS, limits=Limits(0.25, 0.01))
    rise = found.at(0).perplexity[found.multipliers.index(1.0)]
    lines = said(found, TEXTS).splitlines()
    assert lines[-4:] == [
        "chosen: none, no measured layer and multiplier keeps these limits",
        "nearest: layer 0, multiplier 1",
        f"  perplexity {rise:+.1%}, {100 * (rise - 0.01):.1f} percentage points more than the limit of +1.0%",
        "Try smaller multipliers: --multipliers=0.25,0.5,0.75",
    ]


def test_the_vector_steers_the_other_way():
    lines = said(known(-1.5)).splitlines()
    assert lines[-3:-1] == ["nearest: layer 0, multiplier -1", "  steerability -1.5, which has to be above 0"]
    assert lines[-1].startswith("Try the other direction: swap the two answers of the training items")
    assert said(known(-1.5, keep=1)).endswith("Try the 1 layer that was not measured: --keep 1")


def test_too_many_items_move_the_wrong_way():
    """Of six items of a random model, limits of a thousandth are too little for any."""
    for seed in range(20):
        vector = builders.random_vector(*range(builders.LAYERS), seed=seed, norm=2.0)
        found = sweep(
            builders.random_model("llama"), parts_of(ITEMS), vector, multipliers=(-1, 1), limits=Limits(0.001, 0.05)
        )
        if found.choice is None and found.nearest.steers:
            break
    share = found.nearest.anti_steerable_share
    assert share > 0.1
    lines = said(found).splitlines()
    assert lines[-2] == f"  anti-steerable share {share:.2f}, {share - 0.001:.2f} more than the limit of 0.001"
    assert lines[-1].startswith("Try training data with more or clearer pairs, or another method")


def test_the_multipliers_have_the_wrong_sign():
    lines = said(known(1.5, multipliers=(-1,))).splitlines()
    assert lines[-2:] == [
        "  effect -3, which has to be above 0",
        "Try multipliers of the other sign too: --multipliers=1,-1",
    ]
