"""Texts that the model does not read: a pass is taken back, a fail stays one, and the numbers are those of plain forwards."""

from __future__ import annotations

import math

import builders
import numpy as np
import plain
import pytest
import torch
from reports import records
from scipy import stats

from pytest_steer import (
    Baseline,
    ContrastItem,
    SteeringFailure,
    assert_beats,
    assert_kl_below,
    assert_leaves_alone,
    assert_ppl_delta_below,
    assert_steers_at_cost,
)
from pytest_steer.claims.judging import adjusted
from pytest_steer.report import build_report, claim_table
from pytest_steer.report.formats.markdown_file import to_markdown
from pytest_steer.stats import Verdict

TEXTS = [f"Number {n} {'is ' * (n % 4)}even, I think." for n in range(10)]
ITEMS = [ContrastItem(f"Is {i} {'very ' * (i % 3)}odd?", ("(A)",), ("(B)",), str(i)) for i in range(10)]
VECTOR = builders.random_vector(1, norm=0.5)
# What each claim promises so that it would pass, and so that it fails.
CLAIMS = {
    "ppl_delta_below": (lambda model, limit: assert_ppl_delta_below(model, VECTOR, TEXTS, limit=limit), 1e3, None),
    "kl_below": (lambda model, limit: assert_kl_below(model, VECTOR, TEXTS, limit=limit), 50.0, 1e-9),
    "kl_below of a quantile": (
        lambda model, limit: assert_kl_below(model, VECTOR, TEXTS, limit=limit, quantile=0.5), 50.0, 1e-9,
    ),
    "kl_below on items": (lambda model, limit: assert_kl_below(model, VECTOR, ITEMS, limit=limit), 50.0, 1e-9),
    "leaves_alone": (lambda model, limit: assert_leaves_alone(model, VECTOR, {"other": ITEMS}, band=limit), 50.0, 1e-9),
    "steers_at_cost": (
        lambda model, limit: assert_steers_at_cost(model, VECTOR, ITEMS, TEXTS, effect=-limit, budget=0.5), 50.0, -50.0,
    ),
    "beats": (
        lambda model, limit: assert_beats(
            model, VECTOR, ITEMS, baseline=Baseline.random(1), margin=-limit, budget=0.5, texts=TEXTS, confidence=0.6
        ),
        50.0,
        -50.0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def random():
    return builders.random_model("llama")


def evidence_of(check, model, limit):
    try:
        return check(model, limit)
    except SteeringFailure as decided:
        return decided.evidence


@pytest.mark.parametrize("name", CLAIMS)
def test_there_is_no_pass_and_a_fail_stays(random, name):
    check, good, bad = CLAIMS[name]
    found = evidence_of(check, random, good)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (found.p_pass, found.items_needed) == (1.0, None)
    assert "it is not proven that the unsteered model reads the" in found.message.split("\n")[1]
    assert "  give texts in a language that this model reads" in found.message
    (found,) = adjusted([found])  # nor is there one by Holm
    assert found.verdict is Verdict.INCONCLUSIVE
    if bad is not None:
        found = evidence_of(check, random, bad)
        assert found.verdict is Verdict.FAIL
        assert found.withheld is None
        assert "unread-data" in {one.code for one in found.findings}  # which stands beside the fail too
    assert any("worse than chance" in text for text in found.warnings)


def test_all_claims_name_the_perplexity_of_plain_forwards(random):
    """The geometric mean of the texts' perplexities, with the bounds of Student's t."""
    losses = np.array([plain.nll(random.hf, random.tokenizer, text)[0] for text in TEXTS])
    low, high = stats.t.interval(0.9, len(losses) - 1, losses.mean(), stats.sem(losses))
    for name in ("ppl_delta_below", "kl_below", "steers_at_cost", "beats"):
        check, good, _ = CLAIMS[name]
        found = evidence_of(check, random, good)
        reading = found.details["reading"]
        assert (reading["loss"], reading["chance"]) == pytest.approx((losses.mean(), math.log(random.vocabulary)), rel=1e-6)
        if name != "beats":
            assert reading["interval"] == pytest.approx([low, high], rel=1e-5)
        (said,) = [text for text in found.warnings if "reads these texts worse than chance" in text]
        assert f"perplexity {math.exp(losses.mean()):,.0f} (geometric mean), and {random.vocabulary:,} for" in said


def test_a_model_that_knows_no_more_than_the_vocabulary_does_not_pass():
    """All tokens alike: exactly at chance, and no rounding makes it better."""
    linear = builders.Linear(("up", "down", "still"), {}, {}, {"up": 0.1})
    texts = [f"{'still ' * n}down up still" for n in range(10)]
    found = assert_ppl_delta_below(
        linear.model, linear.vector(), texts, limit=1.0
    )  # half of its tokens are known not to come
    assert found.details["reading"]["loss"] == pytest.approx(math.log(4), rel=1e-5)
    assert found.details["reading"]["chance"] == pytest.approx(math.log(8))
    with torch.no_grad():
        linear.model.hf.get_output_embeddings().weight[:, 7] = 0
    unknown = evidence_of(
        lambda model, limit: assert_ppl_delta_below(model, linear.vector(), texts, limit=limit), linear.model, 1.0
    )
    assert unknown.verdict is Verdict.INCONCLUSIVE
    assert not unknown.details["reading"]["is_better"]
    assert "worse than chance" not in unknown.message


def test_the_one_line_of_a_claim_shows_it(random):
    found = [evidence_of(CLAIMS[name][0], random, CLAIMS[name][1]) for name in ("kl_below", "leaves_alone")]
    report = build_report([one.to_dict() for one in found], seed=0, profile="ci", started=0.0)
    for text in (claim_table(records(report["claims"])), to_markdown(report)):
        assert text.count("model does not read the texts") == 2
