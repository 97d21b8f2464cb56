"""Every method of extraction on every kind of data, and measuring on the pairs of a task, as claim files do it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import plain
import pytest
import torch

from pytest_steer import SteeringVector, extract, load_model, read_items
from pytest_steer.claims import evidence_of
from pytest_steer.core import registry
from pytest_steer.core.errors import DataError
from pytest_steer.core.run_context import Effort, RunContext
from pytest_steer.data import TaskItem, items_as_tasks, task_items
from pytest_steer.extract.training import read_training
from pytest_steer.files import ClaimSpec, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.files.inputs import Inputs, make_steering
from pytest_steer.prompting import AS_GIVEN, IN_TASK_FORM, Context
from pytest_steer.steering import as_intervention

SEED = 3
NOUNS = ("soup", "pie", "hat", "mill", "lake", "fair", "race", "tower")
GLAD, SAD = ("merry", "bright", "lovely", "glad"), ("dreary", "dull", "gloomy", "sad")
ITEMS = [
    {
        "question": f"How was the {noun}?",
        "answer_matching_behavior": f"It was {GLAD[index % 4]}.",
        "answer_not_matching_behavior": f"It was {SAD[(index * 3 + 1) % 4]}.",
    }
    for index, noun in enumerate(NOUNS)
]
TEXTS = {
    "positive": [f"The {noun} was {GLAD[index % 4]} and good." for index, noun in enumerate(NOUNS)],
    "negative": [f"The {noun} was {SAD[(index * 3 + 1) % 4]}." for index, noun in enumerate(NOUNS)],
}
TASKS = [{"input": noun, "output": ("bird", "food", "place")[index % 3]} for index, noun in enumerate(NOUNS)]
PAIRS = tuple(TaskItem(**pair) for pair in TASKS)
SIDES = (TEXTS["positive"], TEXTS["negative"])


@pytest.fixture(scope="module")
def model():
    return load_model("builtin:tiny")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, content in (("items", ITEMS), ("texts", TEXTS), ("tasks", TASKS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def claims_of(place: Path, text: str) -> dict[str, ClaimSpec]:
    (place / "x.steer.yaml").write_text(text)
    entries = read_suite(place / "x.steer.yaml").entries
    assert all(isinstance(entry, ClaimSpec) for entry in entries), entries
    return {entry.name: entry for entry in entries}  # type: ignore[misc]


def by_hand(model: Any, method: str, kind: str, place: Path) -> Any:
    """The method called in Python, on data brought into the form that docs/methods.md names."""
    items = read_items(place / "items.json")
    context: Context = AS_GIVEN
    if kind == "tasks":
        items, context = task_items(PAIRS, seed=SEED), IN_TASK_FORM
    contrast: Any = SIDES if kind == "texts" else items
    if method == "fv":
        pairs = {
            "tasks": PAIRS,
            "items": items_as_tasks(items),
            "texts": tuple(map(TaskItem, TEXTS["negative"], TEXTS["positive"])),
        }
        return extract.fv(model, pairs[kind], layer=1, heads=3, n_shots=2, prompts=4, seed=SEED)
    if method == "icv":
        return extract.icv(model, PAIRS if kind == "tasks" else contrast)
    if method == "mean_difference":
        sides = SIDES if kind == "texts" else (items,)
        return extract.mean_difference(model, *sides, layer=1, context=context)
    if method == "random":
        return extract.random_direction(extract.mean_matching(model, contrast, layer=1, context=context), seed=SEED)
    more = {"learned": {"seed": SEED, "epochs": 1}}.get(method, {})
    return getattr(extract, method)(model, contrast, layer=1, context=context, **more)


FILE = """
data: {{test: items.json}}
matrix:
  method:
    {method}: {{layer: 1, extract: {{data: {kind}.json{settings}}}}}
claims:
  - not_anti_steered: {{share: 0.9, by: effect}}
"""
SETTINGS = {"fv": ", heads: 3, n_shots: 2, prompts: 4", "learned": ", epochs: 1"}


@pytest.mark.parametrize("kind", ["items", "tasks", "texts"])
@pytest.mark.parametrize("method", registry.names("method"))
def test_every_method_takes_every_kind_of_data(model, place, method, kind):
    text = FILE.format(method=method, kind=kind, settings=SETTINGS.get(method, ""))
    (claim,) = claims_of(place, text.replace("layer: 1, ", "") if method == "icv" else text).values()
    if kind == "texts" and method in ("caa", "learned"):
        with pytest.raises(
            DataError,
            match=rf"texts\.json: holds texts, and {method} compares two answers.*write method: mean_difference; {method} takes contrast items",
        ):
            make_steering(model, claim.vector, SEED)
        return
    found = as_intervention(make_steering(model, claim.vector, SEED))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = as_intervention(by_hand(model, method, kind, place))
    assert found.hash == want.hash
    assert found.metadata == want.metadata
    assert found.metadata["method"] == method
    if kind != "texts":
        # The place from which a claim knows that it asks what the vector was made from.
        pool = read_items(place / "items.json") if kind == "items" else task_items(PAIRS)
        assert found.metadata["item_hashes"] == pool.item_hashes


def test_caa_on_a_task_the_plain_way(model, place):
    (claim,) = claims_of(place, FILE.format(method="caa", kind="tasks", settings="")).values()
    found = make_steering(model, claim.vector, SEED)
    differences = []
    for item in task_items(PAIRS, seed=SEED):
        prompt = f"Q: {item.question}\nA:"
        sides = [
            plain.outputs(model.hf, plain.ids_of(model.tokenizer, f"{prompt} {answer}", True))[1][-1].double()
            for answer in (item.matching[0], item.not_matching[0])
        ]
        differences.append(sides[0] - sides[1])
    torch.testing.assert_close(found.directions[1].double(), torch.stack(differences).mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["items", "tasks"])
def test_the_mean_difference_of_answers_the_plain_way(model, place, kind):
    (claim,) = claims_of(place, FILE.format(method="mean_difference", kind=kind, settings="")).values()
    found = make_steering(model, claim.vector, SEED)
    items = read_items(place / "items.json") if kind == "items" else task_items(PAIRS, seed=SEED)
    sums = []
    for side in ("matching", "not_matching"):
        rows = []
        for item in items:
            if kind == "tasks":
                prompt, gap = f"Q: {item.question}\nA:", " "
            else:
                messages = [{"role": "user", "content": item.question}]
                prompt = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                gap = ""
            special = kind == "tasks"
            first = len(plain.ids_of(model.tokenizer, prompt, special))
            whole = plain.ids_of(model.tokenizer, prompt + gap + getattr(item, side)[0], special)
            rows.append(plain.outputs(model.hf, whole)[1][first:].double().mean(0))
        sums.append(torch.stack(rows).mean(0))
    torch.testing.assert_close(found.directions[1].double(), sums[0] - sums[1], atol=1e-5, rtol=1e-4)
    assert found.metadata["readout"] == "mean"


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_files_are_told_apart_by_what_is_in_them(tmp_path, suffix):
    def write(name: str, entries: list[dict[str, str]]) -> Path:
        file = tmp_path / f"{name}.{suffix}"
        if suffix == "csv":
            keys = list(entries[0])
            rows = [",".join(keys), *(",".join(f'"{entry[key]}"' for key in keys) for entry in entries)]
            file.write_text("\n".join(rows))
        elif suffix == "jsonl":
            file.write_text("\n".join(map(json.dumps, entries)))
        else:
            file.write_text(json.dumps(entries))
        return file

    tasks, items = read_training(write("tasks", TASKS), 0), read_training(write("items", ITEMS), 0)
    assert (tasks.data, tasks.context) == (PAIRS, IN_TASK_FORM)
    assert [item.question for item in items.data] == [entry["question"] for entry in ITEMS]  # type: ignore[union-attr]
    assert items.context == AS_GIVEN


def test_texts_without_pairs_are_no_demonstrations(model, place):
    (place / "texts.json").write_text(json.dumps({"positive": ["a", "b"], "negative": ["c"]}))
    (claim,) = claims_of(place, FILE.format(method="fv", kind="texts", settings="")).values()
    with pytest.raises(DataError, match="there are 1 negative and 2 positive ones: bring as many of each"):
        make_steering(model, claim.vector, SEED)


def test_a_wrong_file_says_what_can_be_read(model, place):
    (place / "items.json").write_text(json.dumps([{"q": 1}]))
    (claim,) = claims_of(place, FILE.format(method="pca", kind="items", settings="")).values()
    with pytest.raises(DataError, match=r"items\.json: item 0: unknown keys"):
        make_steering(model, claim.vector, SEED)


# --- measuring on a task -------------------------------------------------------------------------------------------

GRID = (-1.0, 0.0, 1.0)
HEAD = "vector: {file: v.safetensors, positions: all}\nmultipliers: [-1, 0, 1]\ndata: {test: tasks.json}\n"


@pytest.fixture
def vector(model, place) -> SteeringVector:
    generator = torch.Generator().manual_seed(1)
    made = SteeringVector({1: 4 * torch.randn(model.width, generator=generator)})
    made.save(place / "v.safetensors")
    return made


def propensities(model: Any, vector: SteeringVector, items: Any, before: str = "", grid: Any = GRID) -> np.ndarray:
    """[items, multipliers] of items asked in the form of a task, batch of one."""
    found = []
    for item in items:
        prompt = f"{before}Q: {item.question}\nA:"
        ids = plain.ids_of(model.tokenizer, prompt, True)
        joint = [plain.ids_of(model.tokenizer, f"{prompt} {a}", True) for a in (item.matching[0], item.not_matching[0])]
        assert all(whole[: len(ids)] == ids for whole in joint)
        row = []
        for m in grid:
            if all(len(whole) == len(ids) + 1 for whole in joint):
                last = plain.logits(model.hf, ids, vector.directions, m, 1)[-1]
                row.append(float(last[joint[0][-1]] - last[joint[1][-1]]))
            else:
                one, other = (
                    plain.mean_loglikelihood(plain.logits(model.hf, whole, vector.directions, m, 1), whole, len(ids))
                    for whole in joint
                )
                row.append(one - other)
        found.append(row)
    return np.array(found)


def test_steers_on_a_task_is_the_plain_curve(model, place, vector):
    claims = claims_of(place, HEAD + "claims:\n  - steers: {steerability: 0}\n  - not_anti_steered: {share: 0.5}\n")
    suite = read_suite(place / "x.steer.yaml")
    builder = Builder(model, RunContext(seed=SEED))
    steers = evidence_of(builder.build(suite, claims["steers"]), model)
    want = propensities(model, vector, task_items(PAIRS, seed=SEED))
    assert np.array([item.propensity for item in steers.items]) == pytest.approx(want, abs=1e-4)
    assert steers.estimate == pytest.approx(plain.slopes(want, GRID).mean(), abs=1e-4)
    assert [item.matching for item in steers.items] == [(pair.output,) for pair in PAIRS]
    share = evidence_of(builder.build(suite, claims["not_anti_steered"]), model)
    assert share.estimate == pytest.approx((plain.slopes(want, GRID) <= 0).mean())
    items, context = builder.inputs.test_items(claims["steers"])
    assert (list(items), context) == (list(task_items(PAIRS, seed=SEED)), IN_TASK_FORM)
    assert builder.inputs.test_items(claims["steers"])[0] is items
    subject = builder.inputs.subject(claims["steers"])
    assert (subject.intervention.hash, subject.multiplier, subject.positions) == (as_intervention(vector).hash, 1.0, "all")


def test_other_wrong_answers_with_another_seed(model, place, vector):
    (claim,) = claims_of(place, HEAD + "claims:\n  - steers: {steerability: 0}\n").values()
    drawn = {
        tuple(item.not_matching for item in Inputs(model, RunContext(seed=seed)).test_items(claim)[0]) for seed in range(6)
    }
    assert len(drawn) > 1


def test_contexts_keep_the_form_of_the_task(model, place, vector):
    """The template is the task's where a context leaves it as given, and the other axes are put on top of it."""
    text = HEAD + (
        'contexts: {system: [as_given, "Be brief."], template: [as_given, plain]}\n'
        "claims:\n  - holds_in_contexts: {effect: -100, batch: 4, max_contexts: 10}\n"
    )
    (claim,) = claims_of(place, text).values()
    suite = read_suite(place / "x.steer.yaml")
    evidence = evidence_of(Builder(model, RunContext(seed=SEED)).build(suite, claim), model)
    rows = {json.dumps(row["context"]): row["estimate"] for row in evidence.details["contexts"]}
    batch = [item for item in task_items(PAIRS, seed=SEED) if item.id in evidence.details["batch"]]
    for context, before in (({}, ""), ({"system": "Be brief."}, "Be brief.\n\n")):
        want = propensities(model, vector, batch, before)
        assert rows[json.dumps(context)] == pytest.approx((want[:, 2] - want[:, 1]).mean(), abs=1e-4)
    assert rows['{"template": "plain"}'] != pytest.approx(rows["{}"], abs=1e-3)


def test_generalizes_over_a_task_and_other_pairs(model, place):
    """A vector for one answer moves every pair that has it, so that its slopes are all above 0."""
    pairs = [{"input": word, "output": "merry"} for word in NOUNS[:5]] + [{"input": "crow", "output": "dull"}]
    (place / "tasks.json").write_text(json.dumps(pairs))
    (place / "other.json").write_text(json.dumps(pairs[1:]))
    made = extract.caa(model, task_items([TaskItem(**pair) for pair in pairs[:6]]), layer=1, context=IN_TASK_FORM)
    made.save(place / "v.safetensors")
    text = HEAD + (
        "claims:\n  - generalizes:\n      retention: 0.0001\n      contexts: {brief: {system: Be brief.}}\n"
        "      data_sets: {other: other.json}\n"
    )
    (claim,) = claims_of(place, text).values()
    suite = read_suite(place / "x.steer.yaml")
    check = Builder(model, RunContext(seed=SEED)).build(suite, claim)
    limited = Builder(model, RunContext(seed=SEED, effort=Effort(max_items=3))).build(suite, claim)
    assert (len(limited.items), len(limited.data_sets["other"]), len(check.data_sets["other"])) == (3, 3, 5)
    assert check.context == IN_TASK_FORM
    assert check.contexts == {"brief": Context(template=IN_TASK_FORM.template, system="Be brief.")}
    base, brief, other = (
        plain.slopes(propensities(model, made, items, before), GRID).mean()
        for items, before in ((check.items, ""), (check.items, "Be brief.\n\n"), (check.data_sets["other"], ""))
    )
    evidence = evidence_of(check, model)
    found = {one["name"]: one["steerability"] for one in evidence.details["settings"]}
    assert evidence.details["base"]["steerability"] == pytest.approx(base, abs=1e-4)
    assert found == {"brief": pytest.approx(brief, abs=1e-4), "other": pytest.approx(other, abs=1e-4)}
    (claim,) = claims_of(place, text.replace("other.json", "items.json")).values()
    with pytest.raises(DataError, match=r"data\.test holds pairs of a task and data_sets\.other contrast items"):
        Builder(model, RunContext(seed=SEED)).build(read_suite(place / "x.steer.yaml"), claim)
