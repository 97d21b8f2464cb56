"""The claim about contexts, on a model in which one combination of two axes turns the steering round (``builders.Gated``)."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import fields
from pathlib import Path

import builders
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

from pytest_steer import (
    Context,
    ContrastItem,
    SteerError,
    SteeringFailure,
    SteeringInconclusive,
    assert_holds_in_contexts,
    contexts,
    load_model,
    propensity_curve,
    read_items,
)
from pytest_steer import extract as extraction
from pytest_steer.claims import evidence_of
from pytest_steer.claims.drawn import complete
from pytest_steer.claims.kinds.holds_in_contexts import HoldsInContexts
from pytest_steer.core.errors import DataError
from pytest_steer.data import Items
from pytest_steer.fuzzing.search import climb, drawn, shrunk
from pytest_steer.fuzzing.trials import Search
from pytest_steer.measures.subject import Subject
from pytest_steer.model.engine import Engine, engine_of
from pytest_steer.prompting.contexts import identity
from pytest_steer.stats import Verdict
from pytest_steer.steering import custom

pytestmark = pytest.mark.usefixtures("each_space_is_surveyed_once")
N = 20
GOOD, BAD = (tuple(f"{kind}{i}" for i in range(N)) for kind in ("good", "bad"))
WORDS = ("Question:", "Answer:", "(", "A", "B", "A)", "B)", "which", "calm", "angry", "kind", "dull", *GOOD, *BAD)
ITEMS = [
    ContrastItem(f"which\n(A) {good}\n(B) {bad}", ("(A)",), ("(B)",), str(i))
    for i, (good, bad) in enumerate(zip(GOOD, BAD, strict=True))
]
AXES = {
    "system": [None, "calm", "kind", "dull", "angry", "kind angry"],
    "option_order": ["as_given", "swapped"],
    "distractor": [None, "dull", "{question}\n\nkind"],
    "wording": [None, "calm {question}"],
}
CULPRIT = Context(system="angry", option_order="swapped")


@pytest.fixture(scope="module")
def gated() -> builders.Gated:
    return builders.Gated(WORDS, GOOD, BAD)


@pytest.fixture(autouse=True)
def fresh_engine(gated) -> None:
    gated.model.kept[engine_of] = Engine(gated.model)


def words_of(evidence):
    return complete(evidence).message


def check(gated, **changes) -> HoldsInContexts:
    values = {
        "subject": Subject(vector=gated.vector()),
        "items": Items(ITEMS, "items"),
        "statistic": "steerability",
        "threshold": 0.1,
        "space": contexts(**AXES),
        "free": True,
        "multipliers": (-1.0, 0.0, 1.0),
    }
    values |= changes
    if values["statistic"] == "effect":
        del values["multipliers"]  # an effect is that of the deployed one
    searched = {field.name: values.pop(field.name) for field in fields(Search) if field.name in values}
    max_contexts, batch = searched.pop("max_contexts", 24), searched.pop("batch", None)
    values[values.pop("statistic")] = values.pop("threshold")
    subject = values.pop("subject")
    deployed = {"vector": subject.vector, "multiplier": subject.multiplier}
    return HoldsInContexts(contexts=Search(**searched), max_contexts=max_contexts, batch=batch, **deployed, **values)


def measured(gated, **changes):
    return evidence_of(check(gated, **changes), gated.model)


def test_the_model_is_what_it_says(gated) -> None:
    """The closed form of ``builders.Gated``."""
    for values in itertools.product(*AXES.values()):
        context = Context(**dict(zip(AXES, values, strict=True)))
        curve = propensity_curve(gated.model, ITEMS[:4], gated.vector(0.7), multipliers=[-1, 1], context=context)
        turned = "angry" in (context.system or "") and context.option_order == "swapped"
        np.testing.assert_allclose(curve.slopes, -0.7 if turned else 0.7, atol=1e-4)


# --- what is found ---------------------------------------------------------------------------------------------------------


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("free", [True, False])
def test_the_counterexample_is_exactly_the_combination_and_nothing_more(gated, seed: int, free: bool) -> None:
    evidence = measured(gated, seed=seed, free=free)
    assert evidence.verdict is Verdict.FAIL
    assert evidence.counterexample == {"context": CULPRIT.to_dict(), "estimate": pytest.approx(-1, abs=1e-6)}
    assert evidence.estimate == pytest.approx(-1, abs=1e-6)
    assert evidence.n == N - len(evidence.details["batch"]) == 10
    assert evidence.details["as_given"] == pytest.approx(1)
    assert evidence.details["worst"]["estimate"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("statistic", "threshold", "estimate"),
    [("steerability", 0.1, -1), ("anti_steerable_share", 0.5, 1), ("effect", 0.1, -2)],
)
def test_each_statistic(gated, statistic: str, threshold: float, estimate: float) -> None:
    subject = Subject(vector=gated.vector(), multiplier=2.0)
    evidence = measured(gated, subject=subject, statistic=statistic, threshold=threshold)
    assert evidence.verdict is Verdict.FAIL
    assert evidence.counterexample["context"] == CULPRIT.to_dict()
    assert evidence.estimate == pytest.approx(estimate, abs=1e-5)
    good = check(gated, subject=subject, statistic=statistic, threshold=threshold, space=contexts(system=["calm", "angry"]))
    evidence = evidence_of(good, gated.model)
    bound = 1 - 0.05 ** (1 / 10) if statistic == "anti_steerable_share" else None
    assert evidence.verdict is Verdict.PASS
    assert evidence.counterexample is None
    assert evidence.interval[1] == (
        pytest.approx(bound) if bound else pytest.approx(1 if statistic == "steerability" else 2)
    )


def test_every_estimate_is_that_of_the_contexts_own_curve(gated) -> None:
    evidence = measured(gated)
    batch = [item for item in ITEMS if item.id in evidence.details["batch"]]
    rest = [item for item in ITEMS if item.id not in evidence.details["batch"]]
    assert len(evidence.details["contexts"]) == evidence.details["tried"] >= 12
    for row in evidence.details["contexts"]:
        curve = propensity_curve(
            gated.model, batch, gated.vector(), multipliers=[-1, 0, 1], context=Context.from_dict(row["context"])
        )
        assert row["estimate"] == pytest.approx(curve.steerability, abs=1e-9)
    curve = propensity_curve(gated.model, rest, gated.vector(), multipliers=[-1, 0, 1], context=CULPRIT)
    assert evidence.estimate == pytest.approx(curve.steerability)
    assert [item.id for item in evidence.items] == [item.id for item in rest]


def test_as_given_that_fails_already_is_the_counterexample(gated) -> None:
    backwards = Subject(vector=gated.vector(-1.0))
    evidence = measured(gated, subject=backwards)
    assert evidence.verdict is Verdict.FAIL
    assert evidence.counterexample == {"context": {}, "estimate": pytest.approx(-1, abs=1e-6)}
    assert "the smallest context that breaks it: Context(), as given" in words_of(evidence)


def test_a_slight_miss_as_given_does_not_hide_a_context_that_really_breaks(gated) -> None:
    """As given (slope 1) misses a promise of 1.05 by .05, the combination (slope -1) by 2.05."""
    evidence = measured(gated, threshold=1.05)
    assert evidence.counterexample["context"] == CULPRIT.to_dict()
    assert evidence.details["breaking"] == evidence.details["tried"]


def test_no_axis_goes_where_a_strategy_does_not(gated) -> None:
    """A strategy that is not a product of axes is searched as it is: nothing outside of it but as given is looked at."""
    space = st.sampled_from([Context(system="kind angry", option_order="swapped"), Context(system="calm")])
    evidence = measured(gated, space=space, free=False)
    assert evidence.counterexample["context"] == {"system": "kind angry", "option_order": "swapped"}
    tried = [Context.from_dict(row["context"]) for row in evidence.details["contexts"]]
    assert set(map(identity, tried)) <= {
        identity(c) for c in (Context(), Context(system="calm"), Context(system="kind angry", option_order="swapped"))
    }


# --- chance ----------------------------------------------------------------------------------------------------------------


def mixed(gated, slopes_of_batch: float, slopes_of_rest: float, seed: int = 0, noise: float = 0.0):
    """A check whose items of the batch and other items have these slopes, whatever the context: free-text answers, moved by a
    custom intervention that knows nothing of contexts. Linear in the multiplier, so slopes are exact."""
    chosen = set(np.random.default_rng(seed).permutation(N)[: N // 2].tolist())
    wanted = [slopes_of_batch if i in chosen else slopes_of_rest for i in range(N)]
    wanted = [value + noise * (-1) ** i for i, value in enumerate(wanted)]
    linear = builders.Linear(
        ("Question:", "Answer:", "which", "other", *(f"w{i}" for i in range(N))),
        {},
        {},
        {f"w{i}": s for i, s in enumerate(wanted)},
    )
    items = [ContrastItem("which", (f"w{i}",), ("other",), str(i)) for i in range(N)]
    made = check(
        gated,
        subject=Subject(vector=linear.vector()),
        items=Items(items, "items"),
        space=contexts(system=[None, "which"]),
        seed=seed,
    )
    return linear.model, made


def test_what_chance_showed_on_the_batch_is_refuted_by_the_other_items(gated) -> None:
    model, made = mixed(gated, -1.0, 1.0)
    evidence = evidence_of(made, model)
    assert evidence.details["worst"]["estimate"] == pytest.approx(-1)
    assert evidence.verdict is Verdict.PASS
    assert evidence.estimate == pytest.approx(1)
    assert evidence.counterexample is None
    assert evidence.details["unconfirmed"]["estimate"] == pytest.approx(-1)
    assert "unconfirmed: -1 in Context() on the batch" in words_of(evidence)


def test_what_the_other_items_cannot_decide_is_unconfirmed_and_inconclusive(gated) -> None:
    model, made = mixed(gated, -1.0, 0.0, noise=2.0)
    evidence = evidence_of(made, model)
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert evidence.counterexample is None
    assert evidence.details["unconfirmed"] is not None
    assert evidence.items_needed > 0
    assert "do not prove it" in words_of(evidence)


def test_the_bounds_are_those_of_the_other_items_alone(gated) -> None:
    model, made = mixed(gated, 0.5, -0.5, noise=0.3)
    evidence = evidence_of(made, model)
    slopes = np.array([item.slope for item in evidence.items])
    want = stats.t.interval(0.9, len(slopes) - 1, slopes.mean(), stats.sem(slopes))
    assert evidence.interval == pytest.approx(want)
    assert evidence.verdict is Verdict.FAIL  # although the batch shows nothing
    assert evidence.details["breaking"] == 0
    assert evidence.counterexample["estimate"] == pytest.approx(slopes.mean())


# --- the search itself -------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_search_and_another_seed_another(gated) -> None:
    space = contexts(system=[None, *(f"calm {word}" for word in WORDS)], option_order=["as_given", "swapped"])
    found = []
    for seed in (3, 3, 4):
        gated.model.kept[engine_of] = Engine(gated.model)
        found.append(measured(gated, seed=seed, space=space, max_contexts=24))
    one, two, other = found
    assert one.details == two.details
    assert (one.verdict, one.counterexample) == (two.verdict, two.counterexample)
    assert other.details["contexts"] != one.details["contexts"]
    assert other.details["batch"] != one.details["batch"]


def test_what_is_harvested_is_what_the_climb_begins_with() -> None:
    """So that nothing is measured one by one in the first half."""
    space = contexts(system=[str(i) for i in range(50)], option_order=["as_given", "swapped"])
    for seed in (0, 7):
        looked: list[str] = []

        def badness(context: Context, looked=looked) -> float:
            looked.append(identity(context))
            return float(len(looked) % 5)

        climb(space, badness, examples=40, seed=seed)
        harvest = [identity(context) for context in drawn(space, examples=40, seed=seed)]
        assert len(harvest) >= 10
        assert list(dict.fromkeys(looked))[: len(harvest)] == harvest


def test_the_climb_gets_higher_than_chance() -> None:
    """A number with one best value among 1001: forty contexts, half of them on the way up."""
    space = st.builds(lambda n: Context(system=str(n)), st.integers(0, 1000))
    by_climbing, by_chance = [], []
    for seed in range(8):
        seen: list[float] = []

        def badness(context: Context, seen=seen) -> float:
            seen.append(-abs(int(context.system or 0) - 707.0))
            return seen[-1]

        climb(space, badness, examples=60, seed=seed)
        by_climbing.append(max(seen))
        by_chance.append(max(-abs(n - 707.0) for n in np.random.default_rng(seed).integers(0, 1001, 60)))
    assert np.median(by_climbing) > np.median(by_chance)


def test_text_and_numbers_shrink_within_an_axis() -> None:
    space = st.builds(
        lambda n, o: Context(system="x" * n, option_order=o), st.integers(0, 60), st.sampled_from(AXES["option_order"])
    )

    def badness(context: Context) -> float:
        return float(len(context.system or "") >= 7)

    assert shrunk(space, badness, lambda _, value: value > 0, examples=30, seed=0) == Context(system="x" * 7)
    assert shrunk(space, badness, lambda _, value: value > 1, examples=30, seed=0) is None


@pytest.mark.parametrize("profile", ["theirs", pytest.param("debug", marks=pytest.mark.nightly)])
def test_the_users_settings_have_no_say_and_stay_as_they_were(gated, profile: str) -> None:
    want = measured(gated).details["contexts"]
    before = hypothesis.settings.default
    hypothesis.settings.register_profile(
        "theirs", max_examples=1, derandomize=True, phases=[hypothesis.Phase.explicit], database=None, deadline=1
    )
    hypothesis.settings.register_profile("debug", verbosity=hypothesis.Verbosity.debug, print_blob=True)
    hypothesis.settings.load_profile(profile)
    try:
        gated.model.kept[engine_of] = Engine(gated.model)
        assert measured(gated).details["contexts"] == want
        assert hypothesis.settings.get_current_profile_name() == profile
    finally:
        hypothesis.settings.load_profile("default")
    assert hypothesis.settings.default.max_examples == before.max_examples


# --- speed -------------------------------------------------------------------------------------------------------------------


def test_no_token_is_scored_twice_and_the_counts_say_so(gated, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[bytes] = []
    answers = Engine._computed

    def counting(self, batch, way, prefix):
        found = answers(self, batch, way, prefix)
        scored.extend(row.key for row, _ in found)
        return found

    monkeypatch.setattr(Engine, "_computed", counting)
    # The trial of a fast path scores a few rows once more, and so does the noise floor.
    monkeypatch.setattr(Engine, "_tried", lambda *_: True)
    monkeypatch.setattr(Engine, "noise_floor", lambda *_: (0.0, 1e-7))
    evidence = measured(gated)
    assert len(scored) == len(set(scored)) == evidence.details["forwards"]["computed"]
    contexts_tried, batch = evidence.details["tried"], len(evidence.details["batch"])
    most = 3 * (batch * contexts_tried + evidence.n * len(evidence.details["judged"]))
    assert len(scored) <= most
    # With multiplier 0, what the vector does not touch, and everything that was asked again.
    assert evidence.details["forwards"]["saved"] >= 3 * batch * 12
    scored.clear()
    again = measured(gated)
    assert scored == []
    assert again.details["forwards"]["computed"] == 0
    assert again.counterexample == evidence.counterexample


def test_contexts_drawn_at_random_are_scored_in_one_go(gated, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = Engine.run_pairs

    def counting(self, probes, pairs):
        calls.append(len(probes))
        return run(self, probes, pairs)

    monkeypatch.setattr(Engine, "run_pairs", counting)
    evidence = measured(gated, max_contexts=40)
    at_random = [row for row in evidence.details["contexts"] if row["how"] == "drawn"]
    singles = [row for row in evidence.details["contexts"] if row["how"] == "single"]
    assert len(at_random) >= 5
    assert len(singles) >= 5
    for together in (at_random, singles):
        assert len(evidence.details["batch"]) * len(together) in calls


@pytest.mark.parametrize("seeds", [(0,), pytest.param((1, 2), marks=pytest.mark.nightly)])
def test_the_worst_is_no_better_than_that_of_the_grid_with_fewer_forwards(seeds: tuple[int, ...]) -> None:
    """On the built-in model: 96 contexts, of which the search may look at 40, and shrink beyond them."""
    model = load_model("builtin:tiny")
    data = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"
    vector = extraction.caa(model, read_items(data / "quiz_train.json"), layer=1)
    items = read_items(data / "quiz_test.json")[:12]
    axes = {
        "system": [None, "You are kind.", "You are a fox.", "Say it aloud."],
        "option_order": ["as_given", "swapped"],
        "option_labels": ["as_given", "1/2", "a/b"],
        "distractor": [None, "It is raining.", "{question}\n\nThe door is open.", "We are late."],
    }
    for seed in seeds:
        model.kept[engine_of] = Engine(model)
        made = HoldsInContexts(
            vector=vector, items=Items(items, "quiz"), steerability=-1.0,
            contexts=Search(space=contexts(**axes), free=True), multipliers=(-1.0, 1.0), max_contexts=40, batch=4, seed=seed,
        )  # fmt: skip
        evidence = evidence_of(made, model)
        batch = [item for item in items if item.id in evidence.details["batch"]]
        model.kept[engine_of] = Engine(model)
        grid = [
            propensity_curve(
                model, batch, vector, multipliers=[-1, 1], context=Context(**dict(zip(axes, values, strict=True)))
            ).steerability
            for values in itertools.product(*axes.values())
        ]
        assert evidence.details["worst"]["estimate"] <= min(grid) + 1e-6
        assert evidence.details["tried"] <= 41 < len(grid)
        assert evidence.details["forwards"]["computed"] < engine_of(model).forwards


# --- what is remembered ----------------------------------------------------------------------------------------------------


def test_what_broke_the_promise_is_tried_first_the_next_time(gated, tmp_path: Path) -> None:
    wide = contexts(system=[None, *(f"calm {i}" for i in range(40)), "angry"], option_order=AXES["option_order"])
    first = measured(gated, space=wide, max_contexts=200, memory=tmp_path, place="claim")
    found = first.counterexample["context"]
    assert found == CULPRIT.to_dict()
    second = measured(gated, space=wide, max_contexts=1, memory=tmp_path, place="claim", seed=9)
    assert [(row["context"], row["how"]) for row in second.details["contexts"][:2]] == [
        ({}, "listed"),
        (found, "remembered"),
    ]
    assert second.counterexample["context"] == found
    # Nobody else's.
    for changes in ({"place": "another"}, {"memory": None}, {"space": contexts(**AXES)}):
        values = {"space": wide, "memory": tmp_path, "place": "claim", **changes}
        other = measured(gated, max_contexts=1, seed=9, **values)
        assert not [row for row in other.details["contexts"] if row["how"] == "remembered"]
    # With it mended, the context is forgotten.
    mended = Subject(vector=gated.vector(1e-3))
    measured(gated, subject=mended, threshold=-0.5, space=wide, max_contexts=1, memory=tmp_path, place="claim")
    third = measured(gated, space=wide, max_contexts=1, memory=tmp_path, place="claim", seed=9)
    assert not [row for row in third.details["contexts"] if row["how"] == "remembered"]


def test_remembering_changes_no_verdict_of_the_same_seed(gated, tmp_path: Path) -> None:
    runs = [measured(gated, memory=tmp_path, place="claim") for _ in range(3)]
    assert len({json.dumps(run.counterexample) for run in runs}) == 1
    assert {run.verdict for run in runs} == {Verdict.FAIL}


def test_damaged_memories_are_dropped(gated, tmp_path: Path) -> None:
    measured(gated, memory=tmp_path, place="claim")
    entries = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes().startswith(b"{")]
    assert entries
    for path, junk in zip(entries, [b'{"sys', b'{"no_such_axis": 1}', b"[]"], strict=False):
        path.write_bytes(junk)
    evidence = measured(gated, memory=tmp_path, place="claim")
    assert evidence.verdict is Verdict.FAIL
    assert not [row for row in evidence.details["contexts"] if row["how"] == "remembered"]


def test_listed_contexts_are_always_tried(gated) -> None:
    outside = Context(system="dull angry dull", option_order="swapped")
    evidence = measured(gated, space=contexts(system=[None, "calm"]), listed=(outside,), max_contexts=1, free=False)
    assert evidence.details["contexts"][1] == {"context": outside.to_dict(), "estimate": pytest.approx(-1), "how": "listed"}
    assert evidence.counterexample["context"] == outside.to_dict()


def test_one_context_only(gated) -> None:
    """The same items judge it as after a search, so the estimate is the same."""
    whole = measured(gated)
    alone = measured(gated, only=CULPRIT)
    assert (alone.verdict, alone.estimate, alone.interval) == (whole.verdict, whole.estimate, whole.interval)
    assert alone.details["tried"] == 1
    assert measured(gated, only=Context(system="calm")).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"system": ["as_given"]}, "no other was tried"),
        ({"wording": [None, " {question} "]}, "all others tried (1) differ from it in white space at most"),
        ({"system": [None, "calm"]}, None),
        ({"option_order": ["as_given", "swapped"]}, None),
    ],
)
def test_a_space_of_the_context_as_given_alone_is_a_warning(gated, axes: dict, words: str | None) -> None:
    evidence = measured(gated, space=contexts(**axes))
    said = [one.split(". ")[0] for one in evidence.warnings if one.startswith("nothing was searched")]
    assert said == ([f"nothing was searched but the context as given: {words}"] if words else [])
    alone = measured(gated, space=contexts(**axes), only=Context(system="calm"))
    assert not any(one.startswith("nothing was searched") for one in alone.warnings)


# --- the assertion, and what is refused ------------------------------------------------------------------------------------------


def test_the_assertion(gated) -> None:
    with pytest.raises(SteeringFailure) as caught:
        assert_holds_in_contexts(gated.model, gated.vector(), ITEMS, contexts=AXES, steerability=0.1)
    evidence = caught.value.evidence
    assert evidence.counterexample["context"] == CULPRIT.to_dict()
    assert "the smallest context that breaks it: Context(system='angry', option_order='swapped')" in str(caught.value)
    evidence = complete(evidence.but(rerun=None))  # as it is outside of pytest
    snippet = evidence.to_dict()["counterexample"]["reproduce"]
    scope = {
        "assert_holds_in_contexts": lambda *_, only: assert_holds_in_contexts(
            gated.model, gated.vector(), ITEMS, contexts=AXES, steerability=0.1, only=only
        ),
        "Context": Context,
    }
    with pytest.raises(SteeringFailure) as again:
        eval(snippet, scope)
    assert again.value.evidence.estimate == evidence.estimate
    passed = assert_holds_in_contexts(
        gated.model, gated.vector(), ITEMS, contexts=contexts(system=["calm", "angry"]), steerability=0.1
    )
    assert passed.passed
    with pytest.raises(SteeringInconclusive):
        assert_holds_in_contexts(gated.model, gated.vector(), ITEMS, contexts=AXES, anti_steerable_share=0.1, only=Context())


def test_within_a_users_own_given(gated) -> None:
    """Hypothesis asks them to allow it, and then it works."""

    @hypothesis.settings(
        max_examples=3, deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.nested_given]
    )
    @hypothesis.given(st.floats(0.5, 1.0))
    def theirs(size: float) -> None:
        assert_holds_in_contexts(
            gated.model, gated.vector(size), ITEMS, contexts={"system": [None, "calm"]}, steerability=0.1, max_contexts=3
        )

    theirs()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"effect": 0.1, "multipliers": [0, 1]}, "'multipliers' means nothing beside 'effect'. Delete one of them"),
        ({"anti_steerable_share": 0.1, "interval": "bootstrap"}, "'interval' means nothing beside 'anti_steerable_share'"),
    ],
)
def test_what_the_promise_makes_no_use_of_is_refused(gated, given, words) -> None:
    with pytest.raises(SteerError, match=words):
        assert_holds_in_contexts(gated.model, gated.vector(), ITEMS, contexts=AXES, **given)


@pytest.mark.parametrize("given", [{}, {"steerability": 0.1, "effect": 0.1}])
def test_exactly_one_promise(gated, given) -> None:
    with pytest.raises(SteerError, match="exactly one of steerability, anti_steerable_share, effect"):
        assert_holds_in_contexts(gated.model, gated.vector(), ITEMS, contexts=AXES, **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statistic": "anti_steerable_share", "threshold": 25}, "less than 1, but is 25"),
        ({"max_contexts": 0}, "max_contexts must be at least 1, but is 0"),
        ({"batch": 1}, "batch must be at least 2, but is 1"),
    ],
)
def test_numbers_that_cannot_be_used(gated, changes, message: str) -> None:
    with pytest.raises(SteerError, match=message):
        check(gated, **changes)


def test_too_few_items(gated) -> None:
    with pytest.raises(DataError, match=r"items: has 3 item\(s\); holds_in_contexts needs at least four"):
        measured(gated, items=Items(ITEMS[:3], "items"))
    with pytest.raises(DataError, match=r"has 20 items, and a batch of 19 leaves 1 to judge .* a batch of at most 18"):
        measured(gated, batch=19)
    assert measured(gated, batch=18).n == 2


def test_an_item_that_a_context_cannot_put_is_an_error_that_names_the_context(gated) -> None:
    items = [*ITEMS[:5], ContrastItem("odd which (A) good0 (B) bad0", ("(A)",), ("(B)",), "odd")]
    with pytest.raises(DataError, match=r"in Context\(.*option_order='swapped'\): item odd: cannot swap the options"):
        measured(gated, items=Items(items, "items"))


def test_a_strength_without_a_slope_can_promise_an_effect_only(gated) -> None:
    on = custom(
        lambda hidden, strength, layer: hidden + strength * gated.vector().directions[2], layers=2, strength="interpolated", name="on"
    )  # fmt: skip
    with pytest.raises(SteerError, match="Promise an effect"):
        measured(gated, subject=Subject(vector=on))
    evidence = measured(gated, subject=Subject(vector=on), statistic="effect")
    assert evidence.counterexample == {"context": CULPRIT.to_dict(), "estimate": pytest.approx(-1, abs=1e-6)}
    assert evidence.items is None
    assert "nan" not in words_of(evidence)


# --- a space that comes to an end ----------------------------------------------------------------------------------------------


def test_all_contexts_are_tried_and_then_the_search_ends(gated) -> None:
    two = {"option_order": ["as_given", "swapped"]}
    few = {**two, "system": ["angry", "calm", "dull"]}
    for axes, count in ((two, 2), (few, 8)):
        started = time.perf_counter()
        evidence = assert_error_free(gated, axes, max_contexts=100_000)
        assert time.perf_counter() - started < 10
        tried = evidence.details["contexts"]
        assert evidence.details["exhausted"]
        assert len(tried) == len({str(one["context"]) for one in tried}) == count
        assert f"all {count} contexts tried on 10 other items" in words_of(evidence)
    assert evidence.details["contexts"][-1]["how"] == "drawn"
    assert evidence.counterexample["context"] == CULPRIT.to_dict()
    # All but one of them may be tried: they are searched.
    evidence = assert_error_free(gated, few, max_contexts=7)
    assert not evidence.details["exhausted"]
    assert "  searched " in words_of(evidence)


def assert_error_free(gated, axes: dict, **more):
    with pytest.raises(SteeringFailure) as raised:
        assert_holds_in_contexts(
            gated.model, gated.vector(), ITEMS, contexts=axes, steerability=2.0 if len(axes) == 1 else 0.1,
            multipliers=[-1, 0, 1], batch=10, **more,
        )  # fmt: skip
    return raised.value.evidence


def test_a_strategy_that_has_few_contexts_ends_soon(gated) -> None:
    started = time.perf_counter()
    evidence = measured(gated, space=contexts(option_order=["as_given", "swapped"]), free=False, max_contexts=100_000)
    assert evidence.details["tried"] == 2
    assert time.perf_counter() - started < 10
