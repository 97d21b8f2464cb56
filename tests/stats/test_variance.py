"""Variance shares against R squared by numpy's least squares, closed forms, and simulated error rates."""

import numpy as np
import pytest

from pytest_steer.stats import variance_shares


def plain_r2(values, *factors):
    """R squared from the definition: indicators of every label, least squares, no shortcuts."""
    values = np.asarray(values, float)
    columns = [np.ones(len(values))] + [
        [float(one == label) for one in labels] for labels in factors for label in sorted(set(labels))
    ]
    design = np.array(columns).T
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return 1 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum()


def cells(rng, items, contexts, *, letter=0.0, yes_no=0.0, context=0.0, heavy=False):
    """Cells of items under contexts, whose factors explain known shares of the variance."""
    noise = (lambda n: rng.standard_t(4, n) / np.sqrt(2)) if heavy else rng.standard_normal
    item, at = np.repeat(np.arange(items), contexts), np.tile(np.arange(contexts), items)
    letters = (rng.integers(0, 2, items)[item] + at) % 2
    words = rng.integers(0, 2, items)[item]
    rest = 1 - letter - yes_no - context
    values = (
        2 * np.sqrt(letter) * letters
        + 2 * np.sqrt(yes_no) * words
        + np.sqrt(context) * np.where(at < contexts / 2, 1, -1)
        + np.sqrt(rest / 2) * (noise(items)[item] + noise(items * contexts))
    )
    return values, {"letter": letters.tolist(), "yes_no": words.tolist(), "context": at.tolist()}, item.tolist()


def plain_jackknife(values, factors, units, names, without=()):
    """The jackknife's estimate of R2(names) - R2(without), by fitting anew without each unit."""

    def share(keep):
        kept = {name: [label for label, use in zip(labels, keep, strict=True) if use] for name, labels in factors.items()}
        own = np.asarray(values)[np.array(keep)]
        whole = plain_r2(own, *(kept[name] for name in names))
        return whole - (plain_r2(own, *(kept[name] for name in without)) if without else 0)

    each = sorted(set(units))
    left = [share([one != unit for one in units]) for unit in each]
    return len(each) * share([True] * len(units)) - (len(each) - 1) * np.mean(left)


@pytest.mark.parametrize("seed", range(3))
def test_the_estimates_are_those_of_a_plain_jackknife(seed):
    values, factors, units = cells(np.random.default_rng(seed), 12, 4, letter=0.3, yes_no=0.1, context=0.1)
    found = variance_shares(values, factors, units)
    names = [*factors]
    for name in names:
        alone = plain_jackknife(values, factors, units, [name])
        unique = plain_jackknife(values, factors, units, names, [other for other in names if other != name])
        assert found.alone[name].estimate == pytest.approx(np.clip(alone, 0, 1), abs=1e-9)
        assert found.unique[name].estimate == pytest.approx(np.clip(unique, 0, 1), abs=1e-9)
    assert found.together.estimate == pytest.approx(np.clip(plain_jackknife(values, factors, units, names), 0, 1), abs=1e-9)
    assert (found.n, found.units) == (48, 12)


def test_a_factor_that_explains_everything_has_a_share_of_one():
    letters = ["A", "B"] * 10
    found = variance_shares([1.0 if letter == "A" else -1.0 for letter in letters], {"letter": letters}, list(range(20)))
    assert found.alone["letter"].estimate == pytest.approx(1)
    assert found.unique["letter"].low == pytest.approx(1)


def test_what_two_factors_explain_between_them_is_unique_to_neither():
    rng = np.random.default_rng(1)
    letters = ["A" if one else "B" for one in rng.integers(0, 2, 40)]
    places = [1 if letter == "A" else 2 for letter in letters]
    values = [2.0 * (letter == "A") + rng.normal() for letter in letters]
    found = variance_shares(values, {"letter": letters, "position": places}, list(range(40)))
    assert found.inseparable == (("letter", "position"),)
    assert found.alone["letter"] == found.alone["position"]
    assert found.alone["letter"].estimate > 0.3
    assert found.unique["letter"].high == pytest.approx(0, abs=1e-9)


def test_crossed_factors_are_separable_and_their_unique_shares_are_those_alone():
    rng = np.random.default_rng(2)
    letters, places = ["A", "A", "B", "B"] * 30, [1, 2, 1, 2] * 30
    values = [3.0 * (a == "A") + 1.0 * (b == 1) + rng.normal() for a, b in zip(letters, places, strict=True)]
    found = variance_shares(values, {"letter": letters, "position": places}, np.repeat(np.arange(30), 4).tolist())
    assert found.inseparable == ()
    for name in ("letter", "position"):
        assert found.unique[name].estimate == pytest.approx(found.alone[name].estimate, abs=1e-9)


def test_there_is_none_without_units_labels_or_variance():
    factors = {"letter": ["A", "B"] * 4}
    assert variance_shares(range(8), factors, range(8)) is not None
    assert variance_shares(range(8), factors, [0, 0, 1, 2, 3, 4, 5, 6]) is None
    assert variance_shares([1.0] * 8, factors, range(8)) is None
    assert variance_shares(range(8), {"letter": ["A"] * 8}, range(8)) is None
    assert variance_shares([0.0] * 7 + [1.0], factors, range(8)) is None  # varies because of one unit


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"'letter' had 3 labels for 8 values"):
        variance_shares(range(8), {"letter": ["A", "B", "A"]}, range(8))
    with pytest.raises(ValueError, match="NaN"):
        variance_shares([float("nan"), *range(7)], {"letter": ["A", "B"] * 4}, range(8))


@pytest.mark.parametrize(
    ("shares", "heavy"),
    [
        pytest.param({"letter": 0.02, "yes_no": 0.02, "context": 0.02}, False, marks=pytest.mark.nightly),
        ({"letter": 0.3, "yes_no": 0.1, "context": 0.02}, False),
        pytest.param({"letter": 0.3, "yes_no": 0.1, "context": 0.02}, True, marks=pytest.mark.nightly),
    ],
)
def test_bounds_are_wrong_about_as_often_as_stated(shares, heavy):
    rng, tries = np.random.default_rng(5), 200
    wrong = {name: [0, 0] for name in shares}
    for _ in range(tries):
        found = variance_shares(*cells(rng, 30, 4, **shares, heavy=heavy))
        for name, share in shares.items():
            wrong[name][0] += found.unique[name].low > share
            wrong[name][1] += found.unique[name].high < share
    # 5 % are stated; 21 of 200 are two standard errors above 7.5 %.
    assert max(max(two) for two in wrong.values()) <= 21, wrong
    assert any(sum(two) for two in wrong.values())  # bounds that are never wrong would be of no use
