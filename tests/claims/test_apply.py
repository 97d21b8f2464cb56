"""``apply=``: a user's own context manager steers in every assertion, and gives the numbers of the vector that it adds."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import broken_hooks
import builders
import numpy as np
import plain
import pytest
from evidence import evidence_of

from pytest_steer import (
    ContrastItem,
    TaskItem,
    assert_generalizes,
    assert_holds_in_contexts,
    assert_kl_below,
    assert_not_anti_steered,
    assert_performs_task,
    assert_ppl_delta_below,
    assert_promotes,
    assert_steers,
    assert_steers_at_cost,
    assert_suppresses,
    propensity_curve,
)
from pytest_steer.core.errors import SoundnessError, SteerError
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.model import engine_of

VECTOR = builders.random_vector(1)
LETTERS = [(f"Is {i} {'very ' * (i % 3)}even?", f"({'AB'[i % 2]})", f"({'BA'[i % 2]})") for i in range(8)]
WORDS = [(f"How is {i}?", "quite even", "odd") for i in range(4)]
TEXTS = [f"A text of {'very ' * (i % 3)}little {i}." for i in range(6)]
TASKS = [TaskItem(str(i), str(i + 1)) for i in range(6)]
GRID = [-1.0, 0.0, 1.0, 2.0]
GENEROUS = 1e6


def every_token(model, vector=VECTOR, first=1):
    """apply(multiplier) by plain torch hooks: every token but the first of each row, and no padding is known of."""

    @contextmanager
    def everywhere(multiplier):
        def hook_for(direction):
            def hook(_module, _inputs, output):
                hidden = broken_hooks.hidden_of(output)
                changed = hidden.clone()
                start = first if hidden.shape[1] > 1 else 0  # a step of decoding
                changed[:, start:] += multiplier * direction
                return broken_hooks.with_hidden(output, changed)

            return hook

        handles = [model.blocks[layer].register_forward_hook(hook_for(own)) for layer, own in vector.directions.items()]
        try:
            yield
        finally:
            [handle.remove() for handle in handles]

    return everywhere


CLAIMS = {
    "steers": (assert_steers, (LETTERS,), {"steerability": -GENEROUS, "multipliers": GRID}),
    "of words": (assert_steers, (WORDS,), {"steerability": -GENEROUS, "multipliers": GRID}),
    "not_anti_steered": (assert_not_anti_steered, (LETTERS,), {"share": 0.999, "by": "effect"}),
    "ppl_delta_below": (assert_ppl_delta_below, (TEXTS,), {"limit": GENEROUS}),
    "promotes": (assert_promotes, (LETTERS,), {"nats": GENEROUS, "multipliers": GRID}),
    "suppresses": (assert_suppresses, (WORDS,), {"nats": GENEROUS, "multipliers": GRID}),
    "kl_below": (assert_kl_below, (TEXTS,), {"limit": GENEROUS}),
    "kl_below of items": (assert_kl_below, (LETTERS,), {"limit": GENEROUS}),
    "holds_in_contexts": (
        assert_holds_in_contexts,
        (LETTERS,),
        {"effect": -GENEROUS, "contexts": {"system": ["", "Be kind."]}, "max_contexts": 2},
    ),
    "performs_task": (assert_performs_task, (TASKS,), {"accuracy": 0.001}),
    "steers_at_cost": (assert_steers_at_cost, (LETTERS, TEXTS), {"effect": -GENEROUS, "budget": 0.05}),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_the_numbers_are_those_of_the_vector(name):
    model = builders.random_model("llama")
    assertion, data, promise = CLAIMS[name]
    ours, theirs = (
        evidence_of(assertion, model, VECTOR, *data, positions="all", **promise, **apply)
        for apply in ({}, {"apply": every_token(model)})
    )
    check_alike(ours, theirs)
    assert theirs.vector.layer == 1
    assert builders.hooks_of(model.hf) == 0


def test_generalizes_with_the_numbers_of_the_vector():
    words = {"up": 1.0, "down": -0.5, "still": 0.0}
    linear = builders.Linear(("Question:", "Answer:", "(", *words), {"Answer:": 2.0}, {"up": 0.5}, words)
    items = [ContrastItem(f"still w{i}", ("up",), (other,)) for i, other in enumerate(("down", "still") * 5)]
    ours, theirs = (
        evidence_of(
            assert_generalizes, linear.model, linear.vector(), items, retention=0.5, data_sets={"half": items[2:]},
            positions="all", include_first=True, **apply,
        )
        for apply in ({}, {"apply": every_token(linear.model, linear.vector(), first=0)})
    )  # fmt: skip
    check_alike(ours, theirs)
    assert theirs.verdict == "pass"


def check_alike(ours, theirs):
    assert theirs.verdict is ours.verdict
    assert theirs.estimate == pytest.approx(ours.estimate, abs=1e-4)
    assert theirs.interval == pytest.approx(ours.interval, abs=1e-3)
    assert theirs.n == ours.n
    assert theirs.vector.method == "everywhere"
    assert theirs.vector.norm == pytest.approx(ours.vector.norm)
    assert theirs.soundness.sound


@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
def test_the_curve_is_that_of_a_plain_loop(scope):
    model = builders.random_model("gpt2")
    apply = broken_hooks.sound(model, VECTOR.directions, None)
    evidence = assert_steers(model, VECTOR, LETTERS, steerability=-GENEROUS, multipliers=GRID, positions=scope, apply=apply)
    items = propensity_curve(model, LETTERS, VECTOR, multipliers=[0]).items
    want = plain.curve(model.hf, model.tokenizer, items, VECTOR.directions, GRID, scope)
    assert np.array([item.propensity for item in evidence.items]) == pytest.approx(want, abs=1e-4)


def test_rows_are_never_padded_and_begin_alike():
    model, seen = builders.random_model("llama"), []
    sound = broken_hooks.sound(model, VECTOR.directions, None)

    def apply(multiplier, batch):
        seen.append(batch)
        return sound(multiplier, batch)

    assert_steers(model, VECTOR, LETTERS, steerability=-GENEROUS, multipliers=GRID, apply=apply)
    assert any(len(batch.starts) > 2 for batch in seen)
    for batch in seen:
        assert batch.attention_mask.all()
        assert len(set(batch.starts)) == 1


def test_two_functions_of_one_name_share_no_score():
    model = builders.random_model("llama")
    one, other = every_token(model), every_token(model, builders.random_vector(1, seed=5))
    assert one.__name__ == other.__name__
    found = [
        assert_steers(model, None, LETTERS, steerability=-GENEROUS, positions="all", layers=1, apply=apply).estimate
        for apply in (one, other)
    ]
    want = [
        assert_steers(model, vector, LETTERS, steerability=-GENEROUS, positions="all").estimate
        for vector in (VECTOR, builders.random_vector(1, seed=5))
    ]
    assert found == pytest.approx(want, abs=1e-4)
    assert abs(want[0] - want[1]) > 1e-3


def test_nothing_of_it_is_kept_on_disk(tmp_path):
    """What is kept is about the unsteered model: another way of steering adds nothing."""
    from pytest_steer.model.memo import DiskMemo

    # A model of its own: what another test read of a shared one is still in memory.
    model = builders.wrap_model(builders.random_hf("llama"), builders.tokenizer(builders.CHATML), "a model of its own")
    engine = engine_of(model)
    engine.disk = DiskMemo(tmp_path)
    kept = []
    try:
        for vector in (VECTOR, builders.random_vector(1, seed=5)):
            apply = every_token(model, vector)
            assert_steers(model, vector, LETTERS, steerability=-GENEROUS, multipliers=[1, 2], positions="all", apply=apply)
            kept.append(engine.disk._connection.execute("SELECT count(*) FROM scores").fetchone()[0])
    finally:
        engine.disk = None
    assert kept[0] == kept[1] > 0


def test_what_does_something_else_than_declared_is_an_error():
    model = builders.random_model("llama")
    with pytest.raises(SoundnessError, match="the hooks are not sound: dose"):
        assert_steers(
            model,
            VECTOR,
            LETTERS,
            steerability=0.0,
            positions="all",
            apply=every_token(model, builders.random_vector(1, seed=5)),
        )


def some_forwards(model, steers):
    """apply(multiplier, batch) that adds the vector where ``steers(how many times it was entered, rows)`` is true."""
    calls = 0
    whole = broken_hooks.sound(model, VECTOR.directions, None)

    def apply(multiplier, batch):
        nonlocal calls
        calls += 1
        return whole(multiplier, batch) if steers(calls, len(batch.starts)) else nullcontext()

    return apply


SOME = {
    "every second time": lambda calls, _: calls % 2 == 0,
    "all but every ninth time": lambda calls, _: calls % 9 > 0,
    "at first": lambda calls, _: calls <= 4,
    "one row": lambda _, rows: rows == 1,
    "at most two rows": lambda _, rows: rows <= 2,
    "at least three rows": lambda _, rows: rows >= 3,
}


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("claim", ["steers", "ppl_delta_below", "performs_task", "holds_in_contexts"])
def test_what_steers_some_forwards_only_is_an_error(name, claim):
    model = builders.random_model("llama")
    assertion, data, promise = CLAIMS[claim]
    with (
        running(RunContext(soundness=False)),
        pytest.raises(SteerError, match="apply steers some forwards and others not"),
    ):
        assertion(model, VECTOR, *data, positions="all", **promise, apply=some_forwards(model, SOME[name]))


def test_what_steers_every_forward_is_asked_again_a_few_times():
    model = builders.random_model("llama")
    apply, rows = broken_hooks.sound(model, VECTOR.directions, None), []

    def counted(multiplier, batch):
        rows.append(len(batch.starts))
        return apply(multiplier, batch)

    with running(RunContext(soundness=False)):
        assert_steers(model, VECTOR, LETTERS, steerability=-GENEROUS, multipliers=GRID, controls=0, apply=counted)
        again, noise = 3 * (1 + 1 + 2 + 4), 4
    assert sum(rows) <= len(LETTERS) * 3 + again + noise
