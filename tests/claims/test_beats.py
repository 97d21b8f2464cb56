"""``beats``: differences in closed form and from plain loops, each baseline, and that equals never beat each other."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import builders
import numpy as np
import plain
import pytest
import torch

from pytest_steer import (
    Baseline,
    Context,
    ContrastItem,
    Items,
    SteeringFailure,
    SteeringVector,
    TaskItem,
    assert_beats,
    capability,
    extract,
    load_model,
    read_items,
    read_questions,
    wrap_model,
)
from pytest_steer.claims import evidence_of
from pytest_steer.claims.kinds.beats import Beats
from pytest_steer.core.errors import DataError, SoundnessError, SteerError
from pytest_steer.data import Tasks
from pytest_steer.extract.training import Training, shuffled
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.model.loading import with_adapter
from pytest_steer.stats import mean_t
from pytest_steer.steering import ablate, custom

WORDS = ("Question:", "Answer:", "up", "down", "much")
B, C = {"up": 0.5, "down": -0.25}, {"up": 1.0, "down": -0.5, "much": 1.0}
PAIRS = [("up", "down"), ("much", "down"), ("up", "much")]
ITEMS = [ContrastItem(" ".join(["much"] * (n + 1)), (PAIRS[n % 3][0],), (PAIRS[n % 3][1],), str(n)) for n in range(18)]
DATA = Path(__file__).resolve().parents[2] / "example_suites" / "builtin" / "data"


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, {"Answer:": 2.0, "<unk>": 1.0}, B, C)


@pytest.fixture(scope="module")
def tiny():
    return load_model("builtin:tiny")


@pytest.fixture(scope="module")
def approval():
    return read_items(DATA / "approval_test.json")[:12]


def evidence(*arguments, **more):
    try:
        return assert_beats(*arguments, **more)
    except SteeringFailure as failure:
        return failure.evidence


def moved(direction, multiplier=1.0):
    """Effects of the items: m (d0 (b_j - b_k) + d1 (c_j - c_k)), with d along the axes of b and c."""
    pairs = [PAIRS[n % 3] for n in range(len(ITEMS))]
    return np.array(
        [
            multiplier * (direction[0] * (B.get(one, 0) - B.get(other, 0)) + direction[1] * (C[one] - C[other]))
            for one, other in pairs
        ]
    )


def test_each_random_direction_is_a_rival(linear):
    vector = linear.vector(size=0.5)
    found = evidence(linear.model, vector, ITEMS, baseline=Baseline.random(5), multiplier=2.0, seed=3)
    drawn = [extract.random_direction(vector, seed=3 + number).directions[0].tolist() for number in range(5)]
    differences = [moved([0, 0.5], 2.0) - moved(one, 2.0) for one in drawn]
    worst = int(np.argmin([one.mean() for one in differences]))
    assert found.estimate == pytest.approx(differences[worst].mean(), abs=1e-6)
    each = [mean_t(one) for one in differences]
    narrow = [mean_t(one, confidence=1 - 0.05 / 5) for one in differences]
    assert found.interval == pytest.approx((min(one.low for one in each), min(one.high for one in narrow)), abs=1e-6)
    for rival, one, bounds in zip(found.details["rivals"], differences, each, strict=True):
        assert rival["difference"] == pytest.approx(one.mean(), abs=1e-6)
        assert rival["interval"] == pytest.approx([bounds.low, bounds.high], abs=1e-6)
    at_least = sum(moved(one).mean() >= moved([0, 0.5]).mean() for one in drawn)
    assert found.details["rank"] == {"number": 1 + at_least, "of": 6, "p": (1 + at_least) / 6}
    assert [item["difference"] for item in found.items] == pytest.approx(differences[worst].tolist(), abs=1e-6)
    assert found.details["items_won"] == np.mean(differences[worst] > 1e-9)


def test_a_vector_does_not_beat_itself(linear):
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=linear.vector())
    assert (found.verdict.value, found.estimate, found.interval) == ("fail", 0, (0, 0))
    longer = evidence(linear.model, linear.vector(), ITEMS, baseline=linear.vector(size=0.5))
    assert (longer.verdict.value, longer.estimate) == ("pass", pytest.approx(moved([0, 0.5]).mean()))
    assert evidence(linear.model, linear.vector(), ITEMS, baseline=linear.vector(), baseline_multiplier=0.5).passed
    short = evidence(linear.model, linear.vector(), ITEMS, baseline=linear.vector(size=0.5), margin=5)
    assert short.verdict.value == "fail"


def test_lowering_turns_the_comparison_round(linear):
    weak = linear.vector(size=0.25)
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=weak, multiplier=-1, direction="lowers")
    assert found.passed
    assert found.estimate == pytest.approx(moved([0, 0.75]).mean(), abs=1e-6)
    assert evidence(linear.model, linear.vector(), ITEMS, baseline=weak, direction="lowers").verdict.value == "fail"


def test_a_random_direction_seldom_beats_random_directions(linear):
    """At most 5 % of cases; with 60 of them, 9 or more have a probability of 0.3 % at that rate."""
    like, passed = linear.vector(), 0
    for seed in range(60):
        vector = extract.random_direction(like, seed=10_000 + seed)
        passed += evidence(linear.model, vector, ITEMS, baseline="random", seed=100 * seed).passed
    assert 1 <= passed <= 8


def test_other_vectors_are_brought_to_its_norm(linear):
    other = SteeringVector({0: torch.tensor([3.0, 4.0, 0, 0, 0, 0, 0, 0])})
    found = evidence(linear.model, linear.vector(size=2.0), ITEMS, baseline=Baseline.unrelated(other))
    assert found.estimate == pytest.approx((moved([0, 2.0]) - moved([1.2, 1.6])).mean(), abs=1e-6)
    several = evidence(linear.model, linear.vector(), ITEMS, baseline=Baseline.shuffled([other, linear.vector(size=9)]))
    assert [one["name"] for one in several.details["rivals"]] == ["shuffled 0", "shuffled 1"]
    assert several.details["rivals"][1]["difference"] == pytest.approx(0, abs=1e-6)
    assert not several.passed


def test_prompts_are_measured_without_steering_and_the_best_is_chosen_on_training_items(tiny, approval):
    vector = extract.mean_difference(tiny, *texts(20), layer=1)
    train = read_items(DATA / "approval_test.json")[40:52]
    prompts = ["It is late.", "You like all of it."]
    neutral = (DATA / "neutral.txt").read_text().splitlines()[:4]
    found = evidence(tiny, vector, approval, baseline=prompts, chosen_on=train, texts=neutral, positions="all")

    def asked(items, prompt):
        context = Context() if prompt is None else Context(system=prompt)
        return plain_propensities(tiny, items, context)

    tried = [float((asked(train, one) - asked(train, None)).mean()) for one in prompts]
    best = int(np.argmax(tried))
    (rival,) = found.details["rivals"]
    assert rival["tried"] == pytest.approx(tried, abs=1e-4)
    assert rival["prompt"] == prompts[best]
    values = plain.curve(tiny.hf, tiny.tokenizer, approval, dict(vector.directions), [0, 1], "all")
    difference = values[:, 1] - asked(approval, prompts[best])
    assert found.estimate == pytest.approx(difference.mean(), abs=1e-4)
    assert found.interval == pytest.approx((mean_t(difference).low, mean_t(difference).high), abs=1e-4)
    assert prompts[best] in found.message

    rises = []
    for text in neutral:
        alone, behind = (nll_of(tiny, text, before) for before in ("", f"{prompts[best]}\n\n"))
        rises.append(behind - alone)
    assert rival["cost"] == pytest.approx(np.expm1(np.mean(rises)), abs=1e-4)
    base = [mean_nll(tiny, text) for text in neutral]
    steered = [mean_nll(tiny, text, dict(vector.directions), 1.0) for text in neutral]
    assert found.details["vector"]["cost"] == pytest.approx(np.expm1(np.mean(steered) - np.mean(base)), abs=1e-4)


def test_another_checkpoint_is_measured_unsteered(linear):
    more = builders.Linear(WORDS, {"Answer:": 4.0, "<unk>": 1.0}, B, C)
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=more.model)
    # Unsteered, a logit is a_t b_j: the other model's embedding of the last token is twice as large.
    gained = np.array([2.0 * (B.get(one, 0) - B.get(other, 0)) for one, other in (PAIRS[n % 3] for n in range(18))])
    assert found.estimate == pytest.approx((moved([0, 1.0]) - gained).mean(), abs=1e-6)
    assert found.details["rivals"][0]["model"].id == "linear"


def test_a_checkpoint_of_another_tokenizer(tiny, approval):
    """One-token answers compare; those of several tokens only as whole answers."""
    other = wrap_model(builders.random_model("llama").hf, builders.tokenizer(), "another")
    vector = builders_vector(tiny)
    assert evidence(tiny, vector, approval, baseline=other).details["rivals"][0]["same_tokens"] is False
    long = [ContrastItem(f"Is it {n}?", (" quite so",), (" not at all",), str(n)) for n in range(9)]
    with pytest.raises(SteerError, match=r"has another tokenizer or chat template.*write `answers: sum`"):
        assert_beats(tiny, vector, long, baseline=other)
    whole = evidence(tiny, vector, long, baseline=other, context=Context(answers="sum"))
    assert whole.n == 9


def test_at_equal_cost(tiny, approval):
    vector = extract.mean_difference(tiny, *texts(20), layer=1)
    neutral = (DATA / "neutral.txt").read_text().splitlines()[:6]
    other = extract.random_direction(vector, seed=5)
    found = evidence(tiny, vector, approval, baseline=other, texts=neutral, budget=0.03, positions="all")
    base = np.mean([mean_nll(tiny, text) for text in neutral])
    effects = []
    for one, record in ((vector, found.details["vector"]), (other, found.details["rivals"][0])):
        directions, strength = dict(one.directions), record["multiplier"]
        steered = np.mean([mean_nll(tiny, text, directions, strength) for text in neutral])
        assert record["cost"] == pytest.approx(np.expm1(steered - base), abs=1e-4)
        values = plain.curve(tiny.hf, tiny.tokenizer, approval, directions, [0, strength], "all")
        effects.append(values[:, 1] - values[:, 0])
    assert found.estimate == pytest.approx((effects[0] - effects[1]).mean(), abs=1e-3)
    with pytest.raises(SteerError, match="budget is a rise of perplexity on neutral texts, and there are none"):
        assert_beats(tiny, vector, approval, baseline="random", budget=0.03)


@pytest.mark.parametrize(
    ("baseline", "more", "words"),
    [
        ("rando", {}, 'baseline is "random", a vector, a model, a list of system prompts'),
        ([], {}, "takes system prompts: a list of texts that are not empty"),
        (["a", "b"], {}, "chosen on training items, and there are none"),
        ("random", {"baseline_multiplier": 2.0}, "baseline_multiplier is that of a vector, and the baseline is 'random'"),
        ("random", {"max_multiplier": 4.0}, "'max_multiplier' means nothing without 'budget'"),
        (
            "random",
            {"chosen_on": ITEMS[:4]},
            "chosen_on is what the best of several prompts is chosen on, and the baseline is 'random'",
        ),
        (3, {}, 'baseline is "random"'),
        ("shuffled", {}, r"does not say what it is made of: write baseline=Baseline\.shuffled\(vectors\)"),
        ("adapter", {}, r"write baseline=load_model\(folder\)"),
    ],
)
def test_what_cannot_be_a_baseline_says_so(linear, baseline, more, words):
    with pytest.raises(SteerError, match=words):
        assert_beats(linear.model, linear.vector(), ITEMS, baseline=baseline, **more)


def test_a_direction_cannot_stand_in_for_what_is_no_vector(linear):
    along = SteeringVector({0: torch.eye(8)[0]})
    with pytest.raises(SteerError, match="'ablate' adds none: hold it against a prompt, a model or a `vector`"):
        assert_beats(linear.model, ablate(along, layers=[0]), ITEMS, baseline="random")


# --- helpers -------------------------------------------------------------------------------------------------------------


def texts(count):
    found = json.loads((DATA / "approval_train.json").read_text())
    return found["positive"][:count], found["negative"][:count]


def builders_vector(model):
    return SteeringVector({1: torch.randn(model.width, generator=torch.Generator().manual_seed(0))})


def plain_propensities(model, items, context):
    """Unsteered propensities, item by item, of one rendered prompt and its two answers of one token."""
    found = []
    for item in items:
        messages = [{"role": "user", "content": item.question}]
        if context.system is not None:
            messages.insert(0, {"role": "system", "content": context.system})
        prompt = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = model.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model.hf(ids).logits[0, -1]
        one, other = (
            model.tokenizer(side[0], add_special_tokens=False).input_ids for side in (item.matching, item.not_matching)
        )
        assert len(one) == len(other) == 1
        found.append(float(logits[one[0]] - logits[other[0]]))
    return np.array(found)


def mean_nll(model, text, directions=None, multiplier=0.0):
    return plain.nll(model.hf, model.tokenizer, text, directions, multiplier)[0]


def nll_of(model, text, before):
    """Mean negative log-likelihood of the tokens of a text but its first, behind something or nothing."""
    alone = model.tokenizer(text, add_special_tokens=False).input_ids
    ids = model.tokenizer(before + text, return_tensors="pt").input_ids
    assert ids[0, -len(alone) + 1 :].tolist() == alone[1:]
    with torch.no_grad():
        logs = model.hf(ids).logits[0].double().log_softmax(-1)
    places = range(ids.shape[1] - len(alone) + 1, ids.shape[1])
    return -float(np.mean([float(logs[place - 1, ids[0, place]]) for place in places]))


def test_right_answers_are_shown_beside(tiny, approval):
    vector, other = builders_vector(tiny), extract.random_direction(builders_vector(tiny), seed=3)
    questions = read_questions()[:12]
    found = evidence(tiny, vector, approval, baseline=other, questions=questions, positions="all")
    for record, one in ((found.details["vector"], vector), (found.details["rivals"][0], other)):
        right = capability(tiny, questions, one, multipliers=[1.0], positions="all").right[:, 0]
        assert record["accuracy"] == np.mean(right)
    plain_right = capability(tiny, questions, multipliers=[0.0]).right[:, 0]
    assert found.details["accuracy"] == np.mean(plain_right)
    assert f"right answers ({np.mean(plain_right):.1%} plain)" in found.message
    asked = [replace(one, question=f"Be exact.\n\n{one.question}") for one in questions]
    prompted = evidence(tiny, vector, approval, baseline=["Be exact."], questions=questions)
    assert prompted.details["rivals"][0]["accuracy"] == np.mean(capability(tiny, asked, multipliers=[0.0]).right[:, 0])


CLAIMS = """
model: builtin:tiny
vector: {{extract: {{method: mean_difference, data: {data}/approval_train.json}}, layer: 1, positions: all}}
data: {{test: {data}/approval_test.json, neutral: {data}/neutral.txt}}
claims:
  - beats: {{name: random, baseline: {{random: 2}}}}
  - beats: {{name: shuffled, baseline: {{shuffled: 2}}}}
  - beats: {{name: unrelated, baseline: {{unrelated: {data}/cheer_train.json}}}}
  - beats: {{name: prompt, baseline: {{prompt: [No more., Yes please.]}}, chosen_on: train.json}}
  - beats: {{name: model, baseline: {{model: "builtin:tiny"}}}}
  - beats: {{name: vector, baseline: {{vector: half.safetensors}}, baseline_multiplier: 2, budget: 0.02}}
  - beats: {{name: unchosen, baseline: {{prompt: [No more., Yes please.]}}}}
  - beats: {{name: two, baseline: {{random: 2, vector: half.safetensors}}}}
  - beats: {{name: typo, baseline: rondom}}
  - beats: {{name: adapter, baseline: {{adapter: nowhere}}}}
"""


def test_every_baseline_in_a_claim_file(tiny, tmp_path):
    vector = extract.mean_difference(tiny, *texts(200), layer=1)
    SteeringVector({1: vector.directions[1] / 2}, vector.metadata).save(tmp_path / "half.safetensors")
    entries = json.loads((DATA / "approval_test.json").read_text())
    (tmp_path / "train.json").write_text(json.dumps(entries[40:50]))
    (tmp_path / "beats.steer.yaml").write_text(CLAIMS.format(data=DATA))
    suite = read_suite(tmp_path / "beats.steer.yaml")
    builder, found, wrong = Builder(tiny), {}, {}
    for spec in suite.entries:
        try:
            found[spec.name] = evidence_of(builder.build(suite, spec), tiny)
        except (SteerError, AttributeError) as error:
            wrong[spec.name] = str(getattr(spec, "error", error))
    assert {name: one.verdict.value for name, one in found.items()} == {
        "random": "pass", "shuffled": "pass", "unrelated": "pass", "prompt": "fail", "vector": "fail",
    }  # fmt: skip
    assert [one["name"] for one in found["shuffled"].details["rivals"]] == ["shuffled 0", "shuffled 1"]
    assert found["vector"].estimate == 0
    assert found["unrelated"].details["rivals"][0]["method"] == "mean_difference"
    assert "there is nothing to beat" in wrong["model"]
    assert "chosen on training items, and there are none: '" in wrong["unchosen"]
    assert "approval_train.json' has no contrast items" in wrong["unchosen"]
    (unchosen,) = [spec for spec in suite.entries if spec.name == "unchosen"]
    assert isinstance(unchosen, BrokenClaim)  # found without a model
    assert "beats.baseline: takes 1" in wrong["two"]
    assert "must be random, shuffled, or one baseline" in wrong["typo"]
    assert "there is no such folder" in wrong["adapter"]


def test_shuffled_labels_are_swapped_in_half_of_the_pairs():
    training = Training((["a", "b", "c", "d"], ["w", "x", "y", "z"]), Path("t.json"), 0)
    positive, negative = shuffled(training, seed=1).data
    pairs = set(zip(*training.data, strict=True))
    turned = [(a, b) not in pairs for a, b in zip(positive, negative, strict=True)]
    assert sum(turned) == 2
    assert {frozenset(pair) for pair in zip(positive, negative, strict=True)} == {frozenset(pair) for pair in pairs}
    items = Training(Items(ITEMS), Path("t.json"), 0)
    flipped = shuffled(items, seed=1).data
    assert sum(one.matching == other.not_matching for one, other in zip(flipped, ITEMS, strict=True)) == 9
    with pytest.raises(SteerError, match="no labels to shuffle"):
        shuffled(Training(Tasks([TaskItem("a", "b")]), Path("t.json"), 0), seed=0)


@pytest.mark.parametrize(
    ("count", "confidence", "says"),
    [
        (1, 0.95, "the baseline is one direction: a vector that is drawn like them is the best in 50% of cases"),
        (5, 0.95, "the baseline is 5 directions: a vector that is drawn like them is the best in 17% of cases"),
        (19, 0.95, None),
        (19, 0.99, "should be wrong in at most 1%. Take 99"),
        (9, 0.9, None),
    ],
)
def test_a_pass_over_few_directions_says_how_often_chance_passes(linear, count, confidence, says):
    vector = linear.vector(size=4.0)
    found = evidence(
        linear.model, vector, ITEMS, baseline=Baseline.random(count), margin=-100, seed=3, confidence=confidence
    )
    assert found.verdict.value == "pass"
    said = [text for text in found.warnings if text.startswith("the baseline is")]
    assert len(said) == (says is not None)
    assert says is None or says in said[0]


def test_shuffled_vectors_that_repeat_each_other_are_one_rival(linear):
    weak, weaker = (linear.vector(size=size) for size in (0.5, -0.5))
    baseline = Baseline.shuffled([weak, weaker] * 9 + [weak])
    found = evidence(linear.model, linear.vector(size=4.0), ITEMS, baseline=baseline, margin=-100)
    assert [one["name"] for one in found.details["rivals"]] == ["shuffled 0", "shuffled 1"]
    assert found.details["rank"]["of"] == 3
    assert any("17 of the 19 shuffled vectors repeat another one, which leaves 2" in text for text in found.warnings)
    assert any(
        "the baseline is 2 directions: a vector that is drawn like them is the best in 33%" in text
        for text in found.warnings
    )


def test_what_rounding_can_make_is_no_pass(linear):
    nearly = linear.vector(size=1 - 2**-23)
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=nearly)
    assert 0 < found.interval[0] < found.estimate < 1e-6  # it would have been a pass
    assert found.verdict.value == "inconclusive"
    assert "every difference to other vector is within rounding (" in found.message
    assert "hold the vector against another baseline: these two are alike" in found.message
    assert found.withheld["code"] == "within-rounding"
    assert found.p_pass == 1.0
    assert found.p_fail > 0.95  # of a pass that is not to be believed; it is no proof of a fail
    assert evidence(linear.model, linear.vector(), ITEMS, baseline=nearly, margin=-0.1).passed  # no less is a promise kept
    assert evidence(linear.model, linear.vector(), ITEMS, baseline=linear.vector(size=0.999)).passed


def test_a_prompt_that_moves_nothing_is_said(linear):
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=["much much"])
    assert any("the prompt moves none of these items at all" in text for text in found.warnings)


def test_what_is_wrong_with_a_checkpoint_names_it(linear):
    other = builders.Linear(("Question:", "Answer:", "down"), {"Answer:": 2.0}, {}, {}).model
    with pytest.raises(DataError, match=r"the baseline 'model', linear: item 2: .*the same tokens"):
        evidence(linear.model, linear.vector(), ITEMS, baseline=other)
    with pytest.raises(DataError, match="chosen_on: items: there are no items to choose the prompt on"):
        evidence(linear.model, linear.vector(), ITEMS, baseline=["much", "up"], chosen_on=[])
    with pytest.raises(SteerError, match="the best of 2 prompts is chosen on training items, and there are none: give them"):
        Beats(linear.vector(), Items(ITEMS), baseline=["much", "up"])
    with pytest.raises(SteerError, match="takes a number of directions, at least 1, not '3'"):
        Baseline.random("3")


def test_a_broken_checkpoint_is_said(linear):
    broken = copy.deepcopy(linear.model.hf)
    with torch.no_grad():
        broken.get_output_embeddings().weight.mul_(-50)
    baseline = wrap_model(broken, linear.tokenizer, "broken")
    found = evidence(linear.model, linear.vector(), ITEMS, baseline=baseline)
    assert found.passed
    assert any("broken reads the questions (the first 64 tokens of 7) worse than chance" in text for text in found.warnings)


def test_the_model_itself_is_no_baseline(tiny, approval):
    vector = SteeringVector({1: torch.ones(96)})
    for baseline in (tiny, load_model("builtin:tiny")):
        with pytest.raises(SteerError, match="scores every item as builtin:tiny does, so there is nothing to beat"):
            evidence(tiny, vector, approval, baseline=baseline)


def test_a_baseline_that_moves_the_wrong_way_is_said(linear):
    vector = linear.vector(size=1.0)

    def warnings(strength, baseline_strength, direction="raises"):
        found = evidence(
            linear.model,
            vector,
            ITEMS,
            baseline=Baseline.vector(vector, multiplier=baseline_strength),
            multiplier=strength,
            direction=direction,
        )
        assert found.verdict.value == "pass"
        return [text for text in found.warnings if "the wrong way" in text]

    assert not warnings(2.0, 1.0)
    (said,) = warnings(2.0, -1.0)
    assert said.startswith("the baseline moves these items the wrong way (mean effect -")
    (said,) = warnings(-0.5, -1.0)
    assert said.startswith("the vector and its baseline move these items the wrong way (mean effect -")
    assert not warnings(-2.0, -1.0, "lowers")
    (said,) = warnings(-2.0, 1.0, "lowers")
    assert said.startswith("the baseline moves these items the wrong way (mean effect 1)")


def test_a_vector_that_costs_more_than_the_budget_beats_nothing(tiny, approval):
    """Even at the smallest multiplier tried it exceeds the budget, so the two are not compared at equal cost."""
    vector = extract.mean_difference(tiny, *texts(20), layer=1)
    loud = SteeringVector({1: 30_000 * vector.directions[1]}, vector.metadata)
    neutral = (DATA / "neutral.txt").read_text().splitlines()[:6]
    more = {"texts": neutral, "budget": 1e-4, "positions": "all"}
    weak = SteeringVector({1: 0.001 * vector.directions[1]}, vector.metadata)
    found = evidence(tiny, loud, approval, baseline=weak, **more)
    assert found.interval[0] > 0
    assert (found.verdict.value, found.p_pass, found.p_fail, found.items_needed) == ("inconclusive", 1, 1, None)
    assert "the vector exceeds the budget at every multiplier tried" in found.message
    assert "at unequal cost the two do not compare" in found.message
    within = evidence(tiny, vector, approval, baseline=weak, **more)
    assert found.withheld["code"] == "over-budget"
    assert within.withheld is None
    assert within.multiplier == within.details["vector"]["multiplier"] != 1


def test_another_vector_whose_hooks_do_not_work_is_no_baseline(linear):
    """One that adds the same at every multiplier, 0 too: it would be beaten, or win, by something else than steering."""
    broken = custom(lambda hidden, _strength, _layer: hidden + 1.0, layers=0, strength="linear", name="broken")
    with pytest.raises(SoundnessError, match="the hooks are not sound"):
        assert_beats(linear.model, linear.vector(), ITEMS, baseline=Baseline.vector(broken))


@pytest.mark.parametrize(
    ("config", "words"),
    [("{}", "names no 'peft_type'"), ("[]", "is not a JSON object"), ("{", "is not JSON: Expecting property name")],
)
def test_a_configuration_of_no_adapter(linear, tmp_path, config, words):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(SteerError, match=rf"adapter .*: its adapter_config\.json {words}"):
        with_adapter(linear.model, tmp_path)


def test_an_adapter_is_the_model_with_it_merged(linear, tiny, approval, tmp_path, capfd):
    peft = pytest.importorskip("peft")
    trained = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    made = peft.get_peft_model(copy.deepcopy(tiny.hf), trained)
    made.save_pretrained(tmp_path / "trained")
    vector = builders_vector(tiny)
    unsteered = plain_propensities(tiny, approval, Context())
    capfd.readouterr()
    found = evidence(
        tiny, vector, approval, baseline=Baseline("adapter", checkpoint=with_adapter(tiny, tmp_path / "trained"))
    )
    assert capfd.readouterr().err == ""
    merged = plain_propensities(wrap_model(made.merge_and_unload(), tiny.tokenizer), approval, Context())
    own = plain.curve(tiny.hf, tiny.tokenizer, approval, dict(vector.directions), [0, 1], "after_prompt")
    difference = own[:, 1] - own[:, 0] - (merged - unsteered)
    assert found.estimate == pytest.approx(difference.mean(), abs=1e-4)
    assert plain_propensities(tiny, approval, Context()) == pytest.approx(unsteered)  # the model itself is as it was

    untrained = peft.get_peft_model(copy.deepcopy(tiny.hf), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    untrained.save_pretrained(tmp_path / "untrained")
    with pytest.raises(SteerError, match=r"nothing to beat.*an adapter that was not trained"):
        assert_beats(
            tiny, vector, approval, baseline=Baseline("adapter", checkpoint=with_adapter(tiny, tmp_path / "untrained"))
        )
    with pytest.raises(SteerError, match=r"cannot be put on|has weights that the model has no place for|lacks weights"):
        with_adapter(linear.model, tmp_path / "trained")
