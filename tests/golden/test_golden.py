"""Claims as assertions, one of each kind at least; many fail on purpose. Recorded by ``tools/golden.py``."""

from contextlib import contextmanager
from pathlib import Path

import golden_judges
import pytest

from pytest_steer import (
    Baseline,
    Completion,
    Context,
    OtherData,
    SteeringFailure,
    assert_beats,
    assert_calls_tool,
    assert_capability_delta_below,
    assert_drifts_less,
    assert_generalizes,
    assert_generates,
    assert_holds_in_contexts,
    assert_hooks_are_sound,
    assert_kl_below,
    assert_leaves_alone,
    assert_no_cliff,
    assert_not_anti_steered,
    assert_performs_task,
    assert_ppl_delta_below,
    assert_promotes,
    assert_stays_fluent,
    assert_steers,
    assert_steers_at_cost,
    assert_suppresses,
    extract,
    read_items,
    read_prompts,
    read_questions,
    read_tasks,
    read_texts,
    steered,
)
from pytest_steer.data import read_contrast_texts
from pytest_steer.steering import ablate

HERE = Path(__file__).parent
DATA = HERE / "data"
ALL = {"positions": "all"}
SMALL = {"positions": "all", "multipliers": [-1, 0, 1]}
CALL = {"parser": "regex", "pattern": r"(?P<name>Yes|No)(?P<arguments>\{\})", "max_new_tokens": 6}


@pytest.fixture(scope="module")
def model(steer_load_model):
    return steer_load_model("builtin:tiny")


@pytest.fixture(scope="module")
def vector(model):
    return extract.mean_difference(model, *read_contrast_texts(DATA / "approval_train.json"), layer=1)


@pytest.fixture(scope="module")
def loud(model):
    return extract.mean_difference(model, *read_contrast_texts(DATA / "loud_train.json"), layer=1)


@pytest.fixture(scope="module")
def items():
    return read_items(DATA / "approval.jsonl")


@pytest.fixture(scope="module")
def loud_items():
    return read_items(DATA / "loud.jsonl")


@pytest.fixture(scope="module")
def texts():
    return read_texts(DATA / "neutral.txt")


@pytest.fixture(scope="module")
def prompts():
    return read_prompts(DATA / "prompts.txt")


# --- items


def test_steers(model, vector, items):
    evidence = assert_steers(model, vector, items, steerability=0.9, **SMALL)
    assert evidence.passed
    assert_steers(
        model, vector, items, steerability={"value": 0.9, "set": "2026-01-05", "from": DATA / "few.jsonl"}, **SMALL
    )


def test_steers_fails(model, vector, items):
    assert_steers(model, vector, items, steerability=3, **SMALL)


def test_steers_has_no_threshold(model, loud, loud_items):
    assert_steers(model, loud, loud_items, steerability=None, interval="bootstrap", **SMALL)


def test_steers_is_inconclusive(model, loud, loud_items):
    assert_steers(model, loud, loud_items, steerability=0.15, sequential=True, **SMALL)


def test_steers_in_a_context(model, vector, items):
    assert_steers(model, vector, items[:20], steerability=0.5, context=Context(wording="please"), controls=5, **SMALL)


def test_steers_few_tuples(model, vector):
    assert_steers(
        model, vector, [("Do you like the hat?", "Yes", "No"), ("Do you like tea?", "Yes", "No")], steerability=0.5
    )


def test_steers_of_nothing(model, vector):
    assert_steers(model, vector, [], steerability=0.5)


@pytest.mark.xfail(raises=SteeringFailure, strict=True, reason="asks too much on purpose")
def test_steers_is_known_to_fail(model, vector, items):
    assert_steers(model, vector, items, steerability=3, name="asks-too-much", **SMALL)


@pytest.mark.xfail(raises=SteeringFailure, reason="holds on purpose")
def test_steers_is_known_to_fail_and_holds(model, vector, items):
    assert_steers(model, vector, items, steerability=0.5, **SMALL)


def test_not_anti_steered(model, vector, loud, items, loud_items):
    assert_not_anti_steered(model, vector, items, share=0.15, by="effect", **SMALL)
    assert_not_anti_steered(model, loud, loud_items, share=0.1, name="loud", **SMALL)


def test_not_anti_steered_by_an_ablation(model, vector, items):
    assert_not_anti_steered(model, ablate(vector, layers=[1]), items, share=0.5, by="effect")


def test_promotes_and_suppresses(model, vector, items):
    assert_promotes(model, vector, items, nats=0.05, **SMALL)
    assert_suppresses(model, vector, items, nats=0.05, min_n=100, **SMALL)


def test_promotes_by_the_wrong_sign(model, vector, items):
    assert_promotes(model, vector, items, nats=0.05, multiplier=-1.0, **SMALL)


# --- texts and costs


def test_perplexity(model, vector, texts):
    assert_ppl_delta_below(model, vector, texts, limit=0.02)
    assert_ppl_delta_below(model, vector, [Completion("Is the hat red?", "It is green."), *texts[:10]], limit=0.05)
    assert_ppl_delta_below(model, vector, texts, limit=0.05, multiplier=4.0, aggregate="arithmetic")


def test_kl(model, vector, texts, items):
    assert_kl_below(model, vector, texts, limit=0.02, curve=True)
    assert_kl_below(model, vector, items, limit=0.01, name="at-answers", **ALL)


def test_steers_at_cost(model, vector, items, texts):
    assert_steers_at_cost(model, vector, items, texts, effect=0.5, budget=0.02, **ALL)
    assert_steers_at_cost(model, vector, items, texts, effect=9, budget=0.02, standardised=True, name="asks-too-much", **ALL)


# --- others


def test_beats(model, vector, loud, items):
    assert_beats(model, vector, items, baseline=Baseline.random(5), **ALL)
    assert_beats(model, vector, items, baseline=loud, **ALL)
    assert_beats(model, vector, items, baseline=["You like everything."], chosen_on=items[:8], margin=2, **ALL)


def test_leaves_alone(model, vector, loud_items):
    assert_leaves_alone(model, vector, {"loud": loud_items, "quiz": read_items(DATA / "letters.jsonl")}, band=0.9, **SMALL)
    assert_leaves_alone(model, vector, {"cheer": read_items(DATA / "cheer.jsonl")}, band=0.1, **SMALL)


def test_generalizes(model, vector, items):
    assert_generalizes(model, vector, items, retention=0.8, contexts={"polite": Context(wording="please")}, **SMALL)
    cheer = extract.mean_difference(model, *read_contrast_texts(DATA / "cheer_train.json"), layer=1)
    others = {"cheer": OtherData(read_items(DATA / "cheer.jsonl"), cheer)}
    assert_generalizes(model, vector, items, tan_relative=1.5, data_sets=others, **SMALL)


def test_capability(model, vector):
    questions = read_questions(DATA / "quiz_questions.jsonl")
    assert_capability_delta_below(model, vector, questions, limit=0.25, prompt="chat")
    assert_capability_delta_below(model, vector, questions, limit=0.01)


def test_holds_in_contexts(model, vector, items):
    axes = {"wording": ["as_given", "please"], "distractor": ["as_given", "It is raining."]}
    assert_holds_in_contexts(model, vector, items, contexts=axes, steerability=0.3, **SMALL)
    assert_holds_in_contexts(model, vector, items, contexts=axes, effect={"value": 5}, max_contexts=3, **ALL)


def test_performs_task(model, vector):
    tasks = read_tasks(DATA / "tasks.jsonl")
    assert_performs_task(model, vector, tasks, accuracy=0.4, multiplier=8.0, **ALL)
    shown = read_tasks(DATA / "shown_tasks.jsonl")
    assert_performs_task(model, vector, tasks[:12], accuracy=0.9, n_shots=2, baseline_n_shots=2, demonstrations=shown, **ALL)


def test_hooks_are_sound(model, vector):
    assert_hooks_are_sound(model, vector, max_batches=2)


def test_hooks_of_others(model, vector):
    @contextmanager
    def too_strong(multiplier):
        with steered(model, vector, multiplier=1.5 * multiplier, **ALL):
            yield

    assert_hooks_are_sound(model, vector, apply=too_strong, max_batches=2, **ALL)


def test_hooks_without_what_the_claim_relies_on(model, vector):
    assert_hooks_are_sound(model, vector, max_batches=2, leave_out=["dose"])


# --- replies


def test_generates(model, vector, prompts):
    short = {"max_new_tokens": 10, **ALL}
    assert_generates(model, vector, prompts, share=0.6, judge={"regex": "^Yes"}, **short)
    assert_generates(model, vector, prompts, share=0.3, judge={"contains": "Yes"}, against_base=True, **short)
    assert_generates(model, vector, prompts, share=0.9, judge={"python": "golden_judges:not_of_hats"}, **short)


def test_generates_by_a_judge_in_python(model, vector, prompts):
    from pytest_steer.measures.judges import Judgement

    class Begins:
        def judge(self, exchanges):
            return [Judgement(golden_judges.begins_with_yes("", exchange.reply)) for exchange in exchanges]

        def record(self):
            return {"judge": "begins"}

    assert_generates(model, vector, prompts, share=0.5, judge=Begins(), multiplier=-1.0, max_new_tokens=10, **ALL)


def test_stays_fluent(model, vector, prompts):
    assert_stays_fluent(model, vector, prompts, measure="repetition", limit=0.2, max_new_tokens=10, **ALL)
    assert_stays_fluent(model, vector, prompts, measure="distinct_2", limit=0.9, max_new_tokens=10, **ALL)


def test_no_cliff(model, vector, prompts, texts):
    assert_no_cliff(model, vector, prompts, texts, budget=0.3, max_multiplier=2, max_new_tokens=10, **ALL)


def test_drifts_less(model, vector):
    dialogues = read_prompts(DATA / "two_turns.jsonl")
    assert_drifts_less(model, vector, dialogues, limit=0.5, judge={"regex": "^Yes"}, max_new_tokens=8, **ALL)


def test_calls_tool(steer_load_model, vector):
    tools = steer_load_model("tests/golden/models/tools")
    own = extract.mean_difference(tools, *read_contrast_texts(DATA / "approval_train.json"), layer=1)
    dialogues = read_prompts(DATA / "tools.jsonl")
    assert_calls_tool(tools, own, dialogues, share=0.7, tool="Yes", **CALL, **ALL)
    assert_calls_tool(tools, own, dialogues, share=0.7, tool="No", **CALL, **ALL)


def test_calls_tool_that_the_template_drops(model, vector):
    assert_calls_tool(model, vector, read_prompts(DATA / "tools.jsonl"), share=0.7, tool="Yes", **CALL, **ALL)
