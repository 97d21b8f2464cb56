"""How often bounds of weighted accuracy lost are wrong: simulated false passes and false fails at a stated 5 %.

    python benchmarks/weighted_rates.py            # the table of docs/verdicts.md, some minutes on one core
    python benchmarks/weighted_rates.py --each     # each correlation by itself

A benchmark of n questions has fixed weights. In each suite a question is answered right unsteered in a share ``RIGHT`` of cases and steered in
a share that is less by the true loss, with this correlation between the two; at the largest possible one nothing is gained. The claim "the loss is at most (at least) the truth" is
judged, so each pass and each fail that a bound gives on its wrong side is false.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from pytest_steer.stats.paired import PairedTails, effective_n, weighted_tails

STATED = 0.05
RIGHT = 0.6
UNITS = (20, 100, 384)
LOSSES = (0.0, 0.01, 0.03, 0.1)
CORRELATIONS = (0.0, 0.5, 0.8)
LARGEST = math.nan  # the correlation at which right answers are lost and none is gained

Values = np.ndarray


def equal(n: int) -> Values:
    return np.ones(n)


def cluster_sizes(n: int) -> Values:
    """Quantiles of the exponential distribution: the sizes of clusters, as anchor items have them."""
    return -np.log1p(-(np.arange(n) + 0.5) / n)


def tenth_is_half(n: int) -> Values:
    """One item in ten has half of the weight of all."""
    return np.where(np.arange(n) >= n - n // 10, 9.0, 1.0)


WEIGHTS: dict[str, Callable[[int], Values]] = {
    "equal": equal,
    "exponential": cluster_sizes,
    "a tenth has half": tenth_is_half,
    "a tenth has half, and loses all": tenth_is_half,
}


def losses_of(name: str, weights: Values, loss: float) -> Values:
    """[n] the true loss of each question, whose weighted mean is ``loss``."""
    if "loses all" not in name:
        return np.full(len(weights), loss)
    is_heavy = weights == weights.max()
    return np.where(is_heavy, loss * weights.sum() / weights[is_heavy].sum(), 0.0)


def changes(draw: np.random.Generator, losses: Values, correlation: float, suites: int) -> Values:
    """[suites, n] 1 where a right answer is lost, -1 where one is gained, else 0."""
    after = RIGHT - losses
    both = RIGHT * after + correlation * np.sqrt(RIGHT * (1 - RIGHT) * after * (1 - after))
    both = after if math.isnan(correlation) else both
    lost, gained = RIGHT - both, after - both
    assert (gained >= 0).all(), "this correlation of the two answers is impossible at this loss"
    seen = draw.random((suites, len(losses)))
    return np.where(seen < lost, 1.0, np.where(seen < lost + gained, -1.0, 0.0))


@functools.cache
def exact(tails: PairedTails, loss: float, side: int) -> float:
    return tails.p_at_least(loss) if side > 0 else tails.p_at_most(loss)


def rates(name: str, n: int, loss: float, correlation: float, suites: int, seed: int) -> Values:
    """[2] the shares of suites with a false pass and with a false fail."""
    weights = WEIGHTS[name](n)
    draw = np.random.default_rng([seed, n, round(1000 * loss), 10 if math.isnan(correlation) else round(10 * correlation)])
    wrong = np.zeros(2)
    for change in changes(draw, losses_of(name, weights, loss), correlation, suites):
        # A bound is wrong where the p-value that it inverts is too small. The exact test takes long, and is asked only after the t test.
        tails = weighted_tails(change, weights)
        wrong[0] += tails.by_t.p_at_most(loss) <= STATED and exact(tails.far, loss, -1) <= STATED
        wrong[1] += tails.by_t.p_at_least(loss) <= STATED and exact(tails.near, loss, 1) <= STATED
    return wrong / suites


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=2000, help="suites per cell and correlation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", action="store_true", help="one row for each correlation, not the worst of them")
    options = parser.parse_args()
    columns = [f"n = {n}" for n in UNITS]
    print(f"| Weights | Changes | {'Correlation | ' if options.each else ''}True loss | " + " | ".join(columns) + " |")
    print("|" + "---|" * ((4 if options.each else 3) + len(UNITS)))
    for name, gains, loss in itertools.product(WEIGHTS, (True, False), LOSSES):
        if loss == 0 and ("loses" in name or not gains):
            continue
        cells = {
            c: [100 * rates(name, n, loss, c, options.suites, options.seed) for n in UNITS]
            for c in (CORRELATIONS if gains else (LARGEST,))
            if math.isnan(c) or _is_possible(name, loss, c)
        }
        rows = cells.items() if options.each else [(math.nan, list(np.max(list(cells.values()), axis=0)))]
        for correlation, row in rows:
            shown = [" / ".join(f"**{one:.1f}**" if one > 150 * STATED else f"{one:.1f}" for one in both) for both in row]
            own = f"{'largest' if math.isnan(correlation) else f'{correlation:g}'} | " if options.each else ""
            changed = "losses and gains" if gains else "losses alone"
            print(f"| {name} | {changed} | {own}{loss:g} | " + " | ".join(shown) + " |", flush=True)
    for name, of in WEIGHTS.items():
        print(f"{name}: effective n " + ", ".join(f"{effective_n(of(n)):.1f} of {n}" for n in UNITS))


def _is_possible(name: str, loss: float, correlation: float) -> bool:
    """Whether two answers can be so much correlated where their shares differ by the largest loss."""
    after = RIGHT - losses_of(name, WEIGHTS[name](100), loss).max()
    return RIGHT * after + correlation * math.sqrt(RIGHT * (1 - RIGHT) * after * (1 - after)) <= after


if __name__ == "__main__":
    main()
