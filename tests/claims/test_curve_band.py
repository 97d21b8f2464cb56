"""The band of the curve in the evidence, held against Student's t worked out by hand from the items' propensities."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from evidence import evidence_of
from scipy import stats

from pytest_steer import ContrastItem, assert_generalizes, assert_holds_in_contexts, assert_promotes, assert_steers

C = {"up": 1.0, "down": -0.5, "more": 1.5}
PAIRS = [("up", "down"), ("more", "down"), ("up", "down"), ("more", "up"), ("more", "down")] * 3
ITEMS = [
    ContrastItem("more " * (n + 1), (one,), (other,), str(n), {"of": "abcde"[n // 4]})
    for n, (one, other) in enumerate(PAIRS)
]


@pytest.fixture(scope="module")
def linear() -> builders.Linear:
    return builders.Linear(("Question:", "Answer:", *C), {"Answer:": 2.0}, {}, C)


def by_hand(record, confidence, clusters=None):
    """[low, high] at each multiplier: mean -+ t * standard error, which with clusters is the jackknife's that leaves one out at a time."""
    bands = []
    for column in zip(*(item["propensity"] for item in record["items"]), strict=True):
        values = np.array(column)
        groups = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        left = np.array([values[groups != one].mean() for one in set(groups.tolist())])
        error = np.sqrt((len(left) - 1) / len(left) * ((left - values.mean()) ** 2).sum())
        reach = stats.t.ppf(confidence, len(left) - 1) * error
        bands.append([values.mean() - reach, values.mean() + reach])
    return np.array(bands)


def checked(found, confidence=0.95, clusters=None):
    record = found.to_dict()
    band = np.array(record["curve_interval"])
    assert band == pytest.approx(by_hand(record, confidence, clusters), abs=1e-9)
    assert band.shape == (len(record["multipliers"]), 2)
    assert (band[:, 0] <= record["curve"]).all()
    assert (band[:, 1] >= record["curve"]).all()
    assert (band[:, 1] - band[:, 0]).max() > 0.1  # it could be wrong


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_band_is_that_of_the_mean_at_each_multiplier(linear, confidence):
    checked(
        evidence_of(assert_steers, linear.model, linear.vector(), ITEMS, steerability=0.1, confidence=confidence), confidence
    )


def test_items_that_belong_together_widen_it(linear):
    found = evidence_of(assert_steers, linear.model, linear.vector(), ITEMS, steerability=0.1, cluster="of", min_n=2)
    checked(found, clusters=[item.meta["of"] for item in ITEMS])


def test_other_claims_about_items_have_it_too(linear):
    model, vector = linear.model, linear.vector()
    checked(evidence_of(assert_promotes, model, vector, ITEMS, nats=0.1))
    checked(evidence_of(assert_generalizes, model, vector, ITEMS, retention=0.5, data_sets={"other": ITEMS[:9]}))
    checked(
        evidence_of(assert_holds_in_contexts, model, vector, ITEMS, contexts={"system": ["up"]}, steerability=0.1, min_n=2)
    )
