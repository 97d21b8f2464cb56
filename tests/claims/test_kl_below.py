"""``kl_below``: the mean and the quantile with their bounds, what is counted, what moves nothing, and both ways of writing it."""

from __future__ import annotations

import json
from contextlib import contextmanager

import builders
import jsonschema
import numpy as np
import pytest
from evidence import shown
from scipy import special, stats

from pytest_steer import (
    Completion,
    ContrastItem,
    SteeringFailure,
    SteeringInconclusive,
    assert_kl_below,
    kl_divergence,
    wrap_model,
)
from pytest_steer.claims import evidence_of as evidence_of_claim
from pytest_steer.claims.kinds.kl_below import KlBelow
from pytest_steer.core.block import Curve
from pytest_steer.core.errors import DataError, SteerError
from pytest_steer.core.record import Compared, Strength
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.files import BrokenClaim, read_suite
from pytest_steer.files.build import Builder
from pytest_steer.measures import Scope, kl_at_answers
from pytest_steer.prompting import Context
from pytest_steer.report import build_report, report_schema, with_texts
from pytest_steer.stats import Verdict, mean_t, quantile

OTHERS = tuple(f"n{i}" for i in range(19))
A = {"up": 1.0, "down": -1.0, "much": 2.0, **{word: 0.3 * i - 2.5 for i, word in enumerate(OTHERS)}}
B = {"up": 0.5, "down": -1.0, "still": 1.0}
C = {"up": 1.0, "down": -0.5, "much": 1.0}
M = 2.0
WORDS = ("up", "down", "still", "much", *OTHERS)
TEXTS = [" ".join(WORDS[(i * 7 + j * j * (i + 1)) % len(WORDS)] for j in range(4 + i % 5)) + f" w{i}" for i in range(40)]


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(WORDS, A, B, C)


def known(text):
    """The closed form at each position of a text: logits a_t b_j, and m c_j more where the token is steered."""
    tokens = text.split()
    b, c = (np.array([0.0, *(own.get(word, 0.0) for word in WORDS)]) for own in (B, C))
    found = [0.0]
    for token in tokens[1:-1]:
        base = A.get(token, 0.0) * b
        found.append(special.rel_entr(special.softmax(base), special.softmax(base + M * c)).sum())
    return np.array(found)


def evidence_of(*arguments, **settings):
    try:
        return assert_kl_below(*arguments, **{"multiplier": M, **settings})
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def warned(evidence, words):
    return [warning for warning in evidence.warnings if words in warning]


# --- verdicts -------------------------------------------------------------------------------------------------------------------


def test_completions_of_one_prompt_are_one_cluster():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    texts = [Completion(f"{own}?", f"Reply {n} {'to it ' * (n % 3)}.") for n, own in enumerate("abcdefghabca")]
    clusters = list("abcdefghabca")
    each = kl_divergence(model, texts, vector, multiplier=M)
    for settings, known in (
        ({}, mean_t(each.per_text, clusters=clusters)),
        (
            {"quantile": 0.5},
            quantile(np.concatenate(each.per_position), 0.5, clusters=np.repeat(clusters, each.tokens).tolist()),
        ),
    ):
        found = evidence_of(model, vector, texts, limit=10.0, positions="all", **settings)
        assert (found.n, found.unit, found.details["clusters"]["largest"]) == (8, "clusters", 3)
        assert (found.estimate, *found.interval) == pytest.approx((known.estimate, known.low, known.high), rel=1e-6)
        assert warned(found, "12 texts are counted as 8 clusters")


def test_the_mean_over_texts_of_the_means_over_positions(linear):
    means = np.array([known(text).mean() for text in TEXTS])
    low, high = stats.t.interval(0.9, len(means) - 1, means.mean(), stats.sem(means))
    assert means.mean() != pytest.approx(np.concatenate([known(text) for text in TEXTS]).mean(), rel=1e-2)
    for limit, verdict in (
        (1.01 * high, Verdict.PASS),
        (0.99 * high, Verdict.INCONCLUSIVE),
        (1.01 * low, Verdict.INCONCLUSIVE),
        (0.99 * low, Verdict.FAIL),
    ):
        found = evidence_of(linear.model, linear.vector(), TEXTS, limit=limit)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((means.mean(), low, high), rel=1e-5)
        at_limit = [stats.ttest_1samp(means, limit, alternative=side).pvalue for side in ("less", "greater")]
        assert (found.p_pass, found.p_fail) == pytest.approx(tuple(at_limit), rel=1e-3)
    assert (found.n, found.unit, found.interval_method) == (40, "texts", "t")
    assert found.details["on_promised_side"]["items"] == (means <= limit).sum()


def test_a_quantile_over_all_positions_with_texts_as_clusters(linear):
    every = [known(text) for text in TEXTS]
    values, clusters = np.concatenate(every), np.repeat(np.arange(len(TEXTS)), [len(own) for own in every])
    wanted = quantile(values, 0.5, clusters=clusters)
    assert wanted.low < wanted.estimate < wanted.high < values.max()
    for limit, verdict in (
        (1.001 * wanted.high, Verdict.PASS),
        (0.999 * wanted.high, Verdict.INCONCLUSIVE),
        (0.999 * wanted.low, Verdict.FAIL),
    ):
        found = evidence_of(linear.model, linear.vector(), TEXTS, limit=limit, quantile=0.5)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((wanted.estimate, wanted.low, wanted.high), rel=1e-4)
    assert found.statistic == "0.5 quantile of the KL divergence"
    assert (found.n, found.unit, found.interval_method) == (40, "texts", "clustered order statistics")


def test_a_quantile_of_few_texts_has_no_upper_bound_and_says_how_many_it_needs(linear):
    found = evidence_of(linear.model, linear.vector(), TEXTS[:20], limit=50.0, quantile=0.9)
    assert (found.verdict, found.interval[1]) == (Verdict.INCONCLUSIVE, None)
    assert found.items_needed >= 29
    assert f"about {found.items_needed} texts would decide" in found.message


def test_items_where_their_answers_begin(linear):
    model = builders.random_model("llama")
    items = [ContrastItem(f"Is {i} {'very ' * (i % 3)}odd?", ("(A)",), ("(B)",), str(i)) for i in range(12)]
    found = evidence_of(model, builders.random_vector(1), items, limit=10.0)
    (measured,) = kl_at_answers(model, items, builders.random_vector(1), multipliers=[M])
    assert (found.n, found.unit) == (12, "items")
    assert found.interval[1] < 10
    assert found.estimate == pytest.approx(measured.value)
    assert [one["kl"] for one in found.details["items"]] == pytest.approx(measured.per_text.tolist())
    assert "of 12 answers 100.0% are within the limit" in found.message
    # With clusters, and at the positions that a claim steers.
    clustered = [ContrastItem(i.question, i.matching, i.not_matching, i.id, {"of": int(i.id) // 3}) for i in items]
    found = evidence_of(model, builders.random_vector(1), clustered, limit=10.0, cluster="of", positions="all", min_n=2)
    assert (found.n, found.unit) == (4, "clusters")
    assert found.estimate == pytest.approx(
        kl_at_answers(model, items, builders.random_vector(1), Scope("all"), multipliers=[M])[0].value
    )
    # One position for each item: the bounds of the quantile are exact.
    alone = evidence_of(model, builders.random_vector(1), items, limit=10.0, quantile=0.5)
    assert alone.interval_method == "order statistics"


# --- evidence --------------------------------------------------------------------------------------------------------------------


def test_worst_texts_and_positions_are_shown(linear):
    found = evidence_of(linear.model, linear.vector(), TEXTS, limit=1e-4)
    assert found.verdict is Verdict.FAIL
    worst = max(range(len(TEXTS)), key=lambda i: known(TEXTS[i]).mean())
    assert f"[{worst}] " in found.message.partition("worst texts")[2].splitlines()[1]
    top = found.details["worst_positions"][0]
    at = [(float(kl), i, j + 1) for i, text in enumerate(TEXTS) for j, kl in enumerate(known(text))]
    assert top["kl"] == pytest.approx(max(at)[0], rel=1e-5)
    tokens = TEXTS[int(top["id"])].split()
    word = tokens[top["position"]] if tokens[top["position"]] in WORDS else "<unk>"
    assert top["text"].endswith(f">> '{word}'")
    assert top["text"] in found.message
    every = np.concatenate([known(text) for text in TEXTS])
    assert found.details["quantiles"]["0.99"] == pytest.approx(np.quantile(every, 0.99, method="inverted_cdf"), rel=1e-5)
    assert found.details["within_limit"] == (every <= 1e-4).sum()
    assert found.compared == Compared(deployed=Strength(M, kl=found.estimate))
    report = build_report([found.to_dict()], seed=0, profile="ci", started=0.0)
    jsonschema.validate(report, report_schema())
    cut = json.dumps(with_texts(found.to_dict(), "none"))
    assert TEXTS[worst] not in cut
    assert top["text"] not in cut


def test_a_curve_over_the_multipliers(linear):
    found = evidence_of(linear.model, linear.vector(), TEXTS, limit=10.0, curve=True, multipliers=[-1.0, 0.0, 1.0])
    wanted = [[m, kl_divergence(linear.model, TEXTS, linear.vector(), multiplier=m).value] for m in (-1.0, 0.0, 1.0)]
    assert found.details["curve"] == wanted
    assert shown(found, Curve).series[0].points == [(m, kl) for m, kl in sorted(map(tuple, wanted))]
    assert evidence_of(linear.model, linear.vector(), TEXTS, limit=10.0).details["curve"] is None


def test_repeated_texts_are_left_out(linear):
    found = evidence_of(linear.model, linear.vector(), [*TEXTS[:10], f" {TEXTS[0]} "], limit=10.0)
    assert found.n == 10
    assert warned(found, "1 of these 11 texts repeat another one")
    with pytest.raises(DataError, match=r"has 1 text\(s\)"):
        assert_kl_below(linear.model, linear.vector(), [TEXTS[0]] * 3, limit=10.0)


@pytest.mark.parametrize("more", [{}, {"quantile": 0.5}])
def test_seven_are_too_few(linear, more):
    found = evidence_of(linear.model, linear.vector(), TEXTS[:7], limit=10.0, **more)
    assert (found.verdict, found.min_n) == (Verdict.INCONCLUSIVE, 8)
    assert evidence_of(linear.model, linear.vector(), TEXTS[:8], limit=10.0, **more).verdict is Verdict.PASS


# --- what moves nothing -------------------------------------------------------------------------------------------------------------


def test_a_divergence_below_the_noise_floor_is_said():
    """Its direction is read by no logit, so the next token's distribution stays as it is."""
    linear = builders.Linear(WORDS, A, B, {})
    found = evidence_of(linear.model, linear.vector(), TEXTS, limit=0.1)
    assert found.estimate == 0
    assert warned(found, "below what rounding alone can make of an unchanged model")
    assert warned(found, "all 40 values are equal")
    assert not warned(evidence_of(builders.Linear(WORDS, A, B, C).model, linear.vector(), TEXTS, limit=10.0), "below what")


def test_the_noise_floor_is_that_of_a_small_change_of_log_probabilities(linear):
    found = evidence_of(linear.model, linear.vector(), TEXTS, limit=10.0)
    s, tokens = found.noise.score, np.mean([len(text.split()) - 1 for text in TEXTS])
    assert found.noise.statistic == pytest.approx(np.sqrt(2 * found.estimate) * s / np.sqrt(tokens) + s**2 / 2)
    assert found.details["noise_floor"] == s**2 / 2
    # No distribution moves by more than that where no log-probability moves by more than s.
    p = special.softmax(np.random.default_rng(0).normal(size=(50, 100)), axis=1)
    for s in (1e-3, 0.1):
        moved = np.log(p) + np.random.default_rng(1).choice([-s / 2, s / 2], p.shape)
        assert special.rel_entr(p, special.softmax(moved, axis=1)).sum(1).max() <= s**2 / 2


def test_apply_that_steers_nothing_is_no_pass():
    model, vector = builders.random_model("llama"), builders.random_vector(1)
    texts = [f"A text {i}." for i in range(10)]

    @contextmanager
    def nothing(_multiplier):
        yield

    with running(RunContext(soundness=False)), pytest.raises(SteerError, match="apply steered nothing while the texts"):
        assert_kl_below(model, vector, texts, limit=0.1, apply=nothing)


def test_apply_gives_what_the_vector_gives():
    base = builders.random_model("llama")
    model, vector = wrap_model(base.hf, base.tokenizer, base.id), builders.random_vector(1)
    texts = [f"A text of {'very ' * (i % 3)}little {i}." for i in range(10)]

    @contextmanager
    def by_hand(multiplier):
        def hook(_module, _inputs, output):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, min(1, hidden.shape[1] - 1) :] += multiplier * vector.directions[1]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = model.blocks[1].register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    wanted = evidence_of(model, vector, texts, limit=10.0, positions="all")
    found = evidence_of(model, vector, texts, limit=10.0, positions="all", apply=by_hand)
    assert wanted.estimate > 0.01
    assert found.estimate == pytest.approx(wanted.estimate, rel=1e-4)


# --- both ways of writing it, and bad input ---------------------------------------------------------------------------------------


def suite_of(folder, claims, data="{neutral: neutral.txt, test: test.json}"):
    vector = builders.random_vector(1, width=96, norm=2.0)
    vector.save(folder / "v.safetensors")
    (folder / "neutral.txt").write_text("\n\n".join(f"The dog ran to the house number {i}." for i in range(12)))
    items = [{"question": f"Do you like it, {i}?", "matching": "Yes", "not_matching": "No"} for i in range(9)]
    builders.write_json(folder / "test.json", items)
    data = f"data: {data}\n" if data else ""
    text = (
        f"model: builtin:tiny\nvector: {{file: v.safetensors, layer: 1, allow_mismatch: [model, template]}}\n{data}claims:\n"
    )
    (folder / "c.steer.yaml").write_text(text + "".join(f"  - kl_below: {claim}\n" for claim in claims))
    return read_suite(str(folder / "c.steer.yaml"))


@pytest.fixture(scope="module")
def tiny():
    from pytest_steer import load_model

    return load_model("builtin:tiny")


@pytest.mark.parametrize(
    ("claim", "settings", "on"),
    [
        ("0.5", {"limit": 0.5}, "texts"),
        ("{limit: 0.5, on: items}", {"limit": 0.5}, "items"),
        ("{limit: 0.5, quantile: 0.5, on: texts}", {"limit": 0.5, "quantile": 0.5}, "texts"),
        ("test.json", {"limit": 0.5}, "items"),
        ("neutral.txt", {"limit": 0.5}, "texts"),
    ],
)
def test_a_file_and_an_assertion_give_the_same(tmp_path, tiny, claim, settings, on):
    from pytest_steer import SteeringVector, read_items, read_texts

    only = {"test.json": "{test: test.json}", "neutral.txt": "{neutral: neutral.txt}"}.get(claim)
    suite = suite_of(tmp_path, ["0.5"], only) if only else suite_of(tmp_path, [claim])
    (entry,) = suite.entries
    of_file = evidence_of_claim(Builder(tiny).build(suite, entry), tiny)
    data = read_texts(tmp_path / "neutral.txt") if on == "texts" else read_items(tmp_path / "test.json")
    vector = SteeringVector.load(tmp_path / "v.safetensors")
    found = evidence_of(tiny, vector, data, **settings, multiplier=1.0, allow_mismatch=("model", "template"))
    keep = ("verdict", "estimate", "interval", "n", "unit", "data", "details", "noise", "asked")
    one, other = ({key: own for key, own in evidence.to_dict().items() if key in keep} for evidence in (of_file, found))
    for record in (one, other):
        record["data"].pop("source")
    assert one == other
    assert one["details"]["on"] == on


@pytest.mark.parametrize(
    ("claim", "data", "words"),
    [
        ("0.1", "", ["c.steer.yaml:4", "claims[0].kl_below: needs data.neutral or data.test", "Add `data: {neutral:"]),
        ("{limit: 0.1, on: items}", "{neutral: neutral.txt}", [":5", "kl_below.on: needs data.test", "Add `data: {test:"]),
        ("{limit: 0.1, on: texts}", "{test: test.json}", [":5", "kl_below.on: needs data.neutral"]),
        ("{limit: 0}", "{neutral: neutral.txt}", [":5", "kl_below.limit", "greater than 0"]),
        ("{limit: 0.1, quantile: 90}", "{neutral: neutral.txt}", ["kl_below.quantile", "less than 1", "0.9"]),
        ("{limit: 0.1, on: answers}", "{neutral: neutral.txt}", ["kl_below.on", "auto, texts or items"]),
        ("{limits: 0.1}", "{neutral: neutral.txt}", ["'limits'", "Did you mean 'limit'?"]),
        ("{limit: 0.1}", "{neutral: gone.txt}", ["data.neutral", "gone.txt"]),
    ],
)
def test_faults_name_file_line_and_key(tmp_path, claim, data, words):
    (broken,) = suite_of(tmp_path, [claim], data).entries
    assert isinstance(broken, BrokenClaim)
    for word in words:
        assert word in str(broken.error)


def test_a_test_file_that_is_not_there_loses_no_claim_on_texts(tmp_path):
    (entry, other) = suite_of(
        tmp_path, ["0.1", "{name: b, limit: 0.1, on: items}"], "{neutral: neutral.txt, test: no.json}"
    ).entries
    assert not isinstance(entry, BrokenClaim)
    assert isinstance(other, BrokenClaim)


def test_texts_that_cannot_be_scored_are_named(linear):
    with pytest.raises(DataError, match="text 3"):
        evidence_of(linear.model, linear.vector(), [*TEXTS[:3], "up", *TEXTS[4:9]], limit=0.1)
    with pytest.raises(DataError, match="there are no texts and no items"):
        KlBelow(vector=linear.vector(), limit=0.1)
    with pytest.raises(DataError, match="there are no items"):
        KlBelow(vector=linear.vector(), limit=0.1, texts=TEXTS, on="items")


@pytest.mark.parametrize(("q", "says"), [(0.25, True), (0.5, False)])
def test_a_quantile_that_most_positions_may_exceed_is_a_weak_promise(linear, q, says):
    found = evidence_of(linear.model, linear.vector(), TEXTS, limit=1.0, quantile=q)
    weak = f"this promise can hardly fail: quantile {q:g} lets more than half of the positions exceed the limit"
    assert says == any(text.startswith(weak) for text in found.warnings)


# --- what would mean nothing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"direction": "lowers"}, TypeError, "takes no direction: it says of no behaviour whether"),
        ({"cluster": "of"}, SteerError, "'cluster' means nothing without 'items'"),
        ({"context": Context(system="Be brief.")}, SteerError, "'context' means nothing without 'items'"),
        ({"multipliers": [0, 1]}, SteerError, "'multipliers' means nothing without 'curve'"),
        ({"interval": "bootstrap", "quantile": 0.9}, SteerError, "'interval' means nothing beside 'quantile'. Delete one"),
    ],
)
def test_an_argument_that_would_be_ignored_is_refused(linear, given, error, words):
    with pytest.raises(error, match=words):
        assert_kl_below(linear.model, linear.vector(), TEXTS, limit=1.0, **given)


def test_a_claim_file_says_for_all_claims_what_some_do_not_use(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "neutral.txt").write_text("\n".join(TEXTS))
    items = [{"question": f"Is {i} odd?", "matching": "Yes", "not_matching": "No", "of": i % 4} for i in range(12)]
    (folder / "test.json").write_text(json.dumps(items))
    path = folder / "all.steer.yaml"
    path.write_text(
        "vector: {file: v.npz}\ndirection: lowers\nthinking: open\nanswers: sum\nmultipliers: [0, 1]\nmin_n: 9\n"
        "data: {neutral: neutral.txt, test: test.json, cluster: of}\nclaims:\n"
        "  - kl_below: 0.1\n  - kl_below: {name: on, limit: 0.1, on: items, data: {test: test.json, cluster: of}}\n"
        "  - capability_delta_below: 0.1\n  - ppl_delta_below: 0.1\n  - hooks_are_sound: {}\n"
    )
    (folder / "v.npz").write_bytes(b"")
    assert not [entry.error for entry in read_suite(path).entries if isinstance(entry, BrokenClaim)]
