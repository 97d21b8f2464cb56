"""``performs_task``: against a model whose answers are known, against greedy decoding by hand, and what it refuses."""

from __future__ import annotations

import builders
import jsonschema
import plain_tasks
import pytest
from evidence import shown
from scipy import stats
from task_builders import TASKS, talkative

from pytest_steer import (
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    SteeringVector,
    TaskItem,
    assert_performs_task,
    extract,
    task_accuracy,
)
from pytest_steer.core.block import Items
from pytest_steer.core.columns import in_columns
from pytest_steer.core.errors import DataError
from pytest_steer.data import Tasks
from pytest_steer.data.likeness import hash_of
from pytest_steer.data.tasks import draw_demonstrations
from pytest_steer.data.traces import FORM
from pytest_steer.report import build_report, report_schema
from pytest_steer.stats import Direction, Verdict, items_needed_share
from pytest_steer.steering import custom

# logit_j = a_last * b_j + m * c_j, see builders.Linear; "<unk>" is the end of text. Behind "A:" the model says "up" (2) at m = 0 and
# "down" (3) at m = 1; behind "up" or "down" the end has 1 (4 at m = 1), "down" 0 (3), "up" -2. Whatever was asked or shown.
INPUTS = tuple(f"x{i}" for i in range(20))


@pytest.fixture(scope="module")
def linear():
    words = ("Q:", "A:", *INPUTS, "up", "down")
    a = {"A:": 1.0, "up": -1.0, "down": -1.0}
    return builders.Linear(words, a, {"up": 2.0, "<unk>": -1.0}, {"down": 3.0, "<unk>": 3.0})


def tasks(down, up, longer=0):
    outputs = ["down"] * down + ["up"] * up + ["down down"] * longer
    return [TaskItem(word, output) for word, output in zip(INPUTS, outputs, strict=False)]


def claim(linear, given, accuracy=0.5, **arguments):
    try:
        return assert_performs_task(linear.model, linear.vector(), given, accuracy=accuracy, **arguments)
    except SteeringFailure as failure:
        return failure.evidence
    except SteeringInconclusive as undecided:
        return undecided.evidence


@pytest.mark.parametrize(
    ("right", "accuracy", "verdict"), [(18, 0.5, Verdict.PASS), (3, 0.5, Verdict.FAIL), (12, 0.5, Verdict.INCONCLUSIVE)]
)
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_shares_bounds_and_verdicts(linear, right, accuracy, verdict, confidence):
    found = claim(linear, tasks(right, 20 - right), accuracy, confidence=confidence)
    low = stats.binomtest(right, 20, alternative="greater").proportion_ci(confidence).low
    high = stats.binomtest(right, 20, alternative="less").proportion_ci(confidence).high
    assert (found.estimate, found.n, found.unit) == (right / 20, 20, "tasks")
    assert found.interval == pytest.approx((low, high))
    assert found.verdict is verdict
    assert found.p_pass == pytest.approx(stats.binomtest(right, 20, accuracy, alternative="greater").pvalue)
    if verdict is Verdict.INCONCLUSIVE:
        needed = items_needed_share(right / 20, accuracy, direction=Direction.AT_LEAST, confidence=confidence)
        assert found.items_needed == needed
        assert f"about {needed} tasks would decide" in found.message
    else:
        assert found.items_needed is None


def test_exact_answers_end_where_they_should(linear):
    """ "down down" begins well, and the model ends behind the first word."""
    given = tasks(8, 2, longer=10)
    by_first, by_whole = claim(linear, given), claim(linear, given, by="exact")
    assert (by_first.estimate, by_first.statistic) == (0.9, "first-token accuracy")
    assert (by_whole.estimate, by_whole.statistic) == (0.4, "exact accuracy")
    for found in (by_first, by_whole):
        record = found.details["accuracies"][-1]
        assert (record["first_token"], record["exact"]) == (0.9, 0.4)
    assert by_whole.details["tasks"][-1]["margins_steered"] == pytest.approx([1.0, -1.0, 1.0])
    wrong = "token 2 of 2 is 1.00 logits below the likeliest token; wrong unsteered"
    assert {(one.words, one.texts[0].text) for one in shown(by_whole, Items).items if "token 2" in one.words} == {
        (wrong, "down down")
    }
    assert "its end is" not in by_whole.message


def test_the_deployed_multiplier_counts(linear):
    """At -1 "up" has 2 and "down" -3."""
    assert claim(linear, tasks(5, 15), multiplier=-1.0).estimate == 0.75
    assert claim(linear, tasks(5, 15), multiplier=2.0).estimate == 0.25


def test_the_table_of_accuracies(linear):
    found = claim(linear, tasks(15, 5), n_shots=3, shuffled=True, baseline_n_shots=4)
    unsteered = {"steered": False, "n": 20, "first_token": 0.25, "exact": 0.25, "note": None}
    assert found.details["accuracies"] == [
        {"setting": "unsteered, zero-shot", "n_shots": 0, "shuffled": False, **unsteered},
        {"setting": "unsteered, 4-shot", "n_shots": 4, "shuffled": False, **unsteered},
        {"setting": "unsteered, 4-shot, shuffled", "n_shots": 4, "shuffled": True, **unsteered},
        {"setting": "unsteered, 3-shot, shuffled", "n_shots": 3, "shuffled": True, **unsteered},
        {
            "setting": "steered, 3-shot, shuffled",
            "n_shots": 3,
            "shuffled": True,
            "steered": True,
            "n": 20,
            "first_token": 0.75,
            "exact": 0.75,
            "note": None,
        },
    ]
    for shots, shuffled in ((0, False), (4, False), (4, True)):
        records = claim(linear, tasks(15, 5), n_shots=shots, shuffled=shuffled, baseline_n_shots=4).details["accuracies"]
        assert [(r["n_shots"], r["shuffled"]) for r in records] == [(0, False), (4, False), (4, True), (shots, shuffled)]


def test_each_setting_is_what_greedy_decoding_writes_there():
    """On a model whose answers depend on what is shown; the pairs shown come from elsewhere."""
    model, vector = talkative("llama"), builders.random_vector(1)
    pool = [TaskItem(f"shown {i}", "Yes" if i % 3 else "No Yes") for i in range(7)]
    with pytest.raises((SteeringFailure, SteeringInconclusive)) as raised:
        assert_performs_task(
            model, vector, TASKS, accuracy=0.9, n_shots=2, demonstrations=pool, baseline_n_shots=4, positions="after_prompt"
        )
    found = raised.value.evidence
    *bare, steered = found.details["accuracies"]
    seen = set()

    def written(shots, shuffled, *steering):
        shown = {task: draw_demonstrations(task, pool, shots, shuffled=shuffled) for task in TASKS}
        return plain_tasks.flags(model.hf, model.tokenizer, TASKS, shown.get, *steering)

    for record in bare:
        want = written(record["n_shots"], record["shuffled"])
        assert (record["first_token"], record["exact"]) == pytest.approx(tuple(want.mean(0)))
        seen.add(record["first_token"])
    assert len(bare) == 4
    assert len(seen) > 1
    arguments = {"n_shots": 2, "demonstrations": pool, "positions": "after_prompt"}
    want = task_accuracy(talkative("llama"), TASKS, vector, **arguments)
    before = task_accuracy(talkative("llama"), TASKS, **arguments)
    by_hand = written(2, False, vector.directions, 1.0, "after_prompt").mean(0)
    assert (found.estimate, steered["exact"]) == (steered["first_token"], pytest.approx(by_hand[1]))
    assert found.estimate == pytest.approx(by_hand[0])
    for index, record in enumerate(found.details["tasks"]):
        assert record["id"] == str(index)
        assert (record["input"], record["output"]) == (TASKS[index].input, TASKS[index].output)
        assert (record["right_unsteered"], record["right_steered"]) == (before.first_token[index], want.first_token[index])
        assert record["margins_steered"] == pytest.approx(want.margins[index], abs=1e-4)
        assert record["margins_unsteered"] == pytest.approx(before.margins[index], abs=1e-4)
    steered_tokens = sum(len(probe.ids) - probe.steer_from for probe in want.probes)
    assert (found.receipt.sequences, found.receipt.steered_tokens) == (len(TASKS), steered_tokens)


def test_baselines_that_cannot_be_had_are_left_out(linear):
    with in_columns(200):
        found = claim(linear, tasks(3, 1))
    zero, few, shuffled, steered = found.details["accuracies"]
    assert (zero["n"], steered["n"]) == (4, 4)
    for record in (few, shuffled):
        assert (record["n"], record["first_token"], record["exact"]) == (0, None, None)
        assert record["note"].startswith(
            "left out: task item 'x0': 5 demonstrations are asked for, but there are only 3 other"
        )
    (line,) = (line for line in found.message.splitlines() if line.split()[:2] == ["unsteered,", "5-shot"])
    assert line.split(maxsplit=5)[2:] == ["-", "-", "-", few["note"]]
    long = claim(linear, tasks(10, 10), baseline_n_shots=18)  # four tokens each, and the model takes 64
    assert "tokens, but linear takes at most 64" in long.details["accuracies"][1]["note"]


def test_what_a_failure_says(linear):
    """Behind "A:" "down" has 3 at m = 1 and "up" 2."""
    found = claim(linear, tasks(3, 17))
    assert found.message.splitlines()[:3] == [
        "performs_task: FAIL  first-token accuracy 0.15 [0.0422, 0.344], promised at least 0.5",
        "  n = 20 tasks, bounds by clopper-pearson at 0.95 each side: the interval is on the bad side",
        "  steered: add at layer 0, positions after_prompt, norm 1; multiplier 1 (100% of the median hidden norm)",
    ]
    lines = found.message.splitlines()
    at = lines.index("  accuracy:")
    assert [line.split() for line in lines[at + 1 : at + 6]] == [
        ["n", "first", "token", "exact"],
        ["unsteered,", "zero-shot", "20", "0.85", "0.85"],
        ["unsteered,", "5-shot", "20", "0.85", "0.85"],
        ["unsteered,", "5-shot,", "shuffled", "20", "0.85", "0.85"],
        ["steered,", "zero-shot", "20", "0.15", "0.15"],
    ]
    worst = shown(found, Items)
    assert worst.title == "worst of the 17 wrong answers"
    first = worst.items[0]
    assert (first.id, first.text, first.texts[0].text) == ("3", "x3", "up")
    assert first.words == "token 1 of 1 is 1.00 logits below the likeliest token; right unsteered"


def test_a_pass_is_short(linear):
    assert len(claim(linear, tasks(19, 1)).message.splitlines()) == 2


def test_the_evidence_fits_the_report(linear):
    found = claim(linear, tasks(10, 10))
    assert (found.data.hash, found.data.n) == (Tasks(tasks(10, 10)).hash, 20)
    assert found.soundness.sound
    report = build_report([found.to_dict()], started=0.0, seed=0, profile="ci")
    jsonschema.validate(report, report_schema())


def test_interventions_of_any_strength(linear):
    direction = linear.vector().directions[0]
    always = custom(lambda h, s, layer: h + direction, layers=0, strength="ignored", name="always on")
    for multiplier in (1.0, 0.5):
        found = assert_performs_task(linear.model, always, tasks(19, 1), accuracy=0.5, multiplier=multiplier)
        assert (found.estimate, found.details["accuracies"][0]["first_token"]) == (0.95, 0.05)


# --- what its reader has to know -----------------------------------------------------------------------------------------------


def test_tasks_that_the_vector_was_made_from(linear):
    given = tasks(19, 1)

    def warnings(**record):
        if "item_hashes" in record:
            record = {"item_form": FORM, **record}
        vector = SteeringVector(linear.vector().directions, record)
        return assert_performs_task(linear.model, vector, given, accuracy=0.5).warnings

    assert warnings() == []
    assert warnings(data_hash=Tasks(given[1:]).hash, item_hashes=[hash_of("other")]) == []
    assert warnings(item_hashes=[hash_of(" x3 "), hash_of("other")])[0].startswith(
        "1 of these 20 items ask a question that the vector was extracted from"
    )
    assert warnings(data_hash=Tasks(given).hash)[0].startswith("20 of these 20 items ask a question that the vector")
    assert warnings(positions="all")[0].endswith("at positions 'all' where it comes from; this claim steers 'after_prompt'")


def test_extraction_records_what_it_saw():
    model = talkative("llama")
    for found in (extract.fv(model, TASKS, n_shots=3, prompts=2, shuffled_prompts=2), extract.icv(model, TASKS)):
        assert found.metadata["item_hashes"] == [hash_of(task.input) for task in TASKS]
        assert found.metadata["data_hash"] == Tasks(TASKS).hash


def test_tasks_that_repeat_others(linear):
    found = claim(linear, [*tasks(19, 0), TaskItem("x0", "down")])
    assert found.warnings[0].startswith("1 of these 20 tasks repeat another one")
    assert found.n == 19


# --- what cannot be measured ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"accuracy": 0}, SteerError, "accuracy must be greater than 0 and less than 1, but is 0"),
        ({"accuracy": 1}, SteerError, "accuracy must be"),
        ({"accuracy": float("nan")}, SteerError, "accuracy must be"),
        ({"by": "last"}, SteerError, "by must be first_token or exact, but is the text 'last'"),
        ({"shuffled": True}, SteerError, "it needs n_shots of at least 2, not 0"),
        ({"n_shots": 0.5}, SteerError, "n_shots must be a whole number, but is 0.5"),
        ({"baseline_n_shots": 1}, SteerError, "baseline_n_shots must be at least 2, but is 1"),
        ({"tasks": tasks(1, 0)}, DataError, "tasks: has 1 task\\(s\\); an interval needs at least two"),
        ({"tasks": []}, DataError, "tasks: a list of at least one TaskItem is needed"),
        ({"n_shots": 25}, DataError, "tasks: task item 'x0': 25 demonstrations are asked for, but there are only 19"),
        ({"multiplier": 0}, SteerError, "multiplier must not be 0"),
    ],
)
def test_what_cannot_be_claimed(linear, arguments, error, message):
    given = {"tasks": tasks(10, 10), "accuracy": 0.5, **arguments}
    with pytest.raises(error, match=message):
        assert_performs_task(linear.model, linear.vector(), **given)
