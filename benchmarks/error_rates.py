"""How often verdicts are wrong: simulated false passes at a stated 5 %, per method, shape of the values and number of units.

    python benchmarks/error_rates.py            # the table of docs/verdicts.md, some minutes on one core
    python benchmarks/error_rates.py --suites 400
    python benchmarks/error_rates.py --values "mean perplexity"

In each suite the truth lies on the threshold, where the claim "at least" just holds and "at most" just fails to be false: a pass of
either says that the truth is beyond a bound, and is false. The table has the worse of the two sides.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from pytest_steer.stats import (
    mean_bootstrap,
    mean_t,
    mean_transformed_t,
    rounds,
    sequential_mean,
    sequential_share,
    share,
    share_of_clusters,
)

STATED = 0.05
UNITS = (8, 10, 30, 80, 100)
PER_CLUSTER, CORRELATION, SHARE = 5, 0.5, 0.8

Values = np.ndarray
Wrong = tuple[bool, bool]  # the lower bound exceeds the truth; the upper bound is below it


def clustered_normal(draw: np.random.Generator, n: int) -> Values:
    """n clusters of five normal values with a correlation of .5 inside."""
    common = math.sqrt(CORRELATION) * draw.normal(size=(n, 1))
    return (common + math.sqrt(1 - CORRELATION) * draw.normal(size=(n, PER_CLUSTER))).ravel()


def perplexity_rise(spread: float, correlation: float) -> Callable[[np.random.Generator, int], Values]:
    """What decides ``aggregate: arithmetic``: steered perplexity minus the true ratio times the unsteered one, of n texts.

    Perplexities are log-normal with this standard deviation of their logarithm. The rise of a text's log-likelihood is normal, .05 on average
    with a standard deviation of .05, and correlated with the logarithm of its perplexity.
    """
    truth = math.exp(0.05 + 0.05**2 / 2 + correlation * spread * 0.05)

    def values(draw: np.random.Generator, n: int) -> Values:
        hard, own = draw.normal(size=(2, n))
        rise = 0.05 + 0.05 * (correlation * hard + math.sqrt(1 - correlation**2) * own)
        base = np.exp(3 + spread * hard)
        return base * np.exp(rise) - truth * base

    return values


# The mean of each shape, and how its values are drawn.
SHAPES: dict[str, tuple[float, Callable[[np.random.Generator, int], Values]]] = {
    "normal": (0.0, lambda draw, n: draw.normal(size=n)),
    "uniform": (0.5, lambda draw, n: draw.random(n)),
    "log-normal": (math.exp(0.5), lambda draw, n: draw.lognormal(size=n)),
    "two-valued": (0.0, lambda draw, n: np.where(draw.random(n) < 0.95, 1.0, -19.0)),
    "clustered": (0.0, clustered_normal),
    **{
        f"mean perplexity ({spread:g}, {correlation:g})": (0.0, perplexity_rise(spread, correlation))
        for spread in (0.5, 1.0)
        for correlation in (0.0, 0.5)
    },
}
PERPLEXITIES = tuple(shape for shape in SHAPES if shape.startswith("mean perplexity"))
MEANS: dict[str, Callable[..., object]] = {
    "t": mean_t,
    "bootstrap": lambda values, **more: mean_bootstrap(values, resamples=1000, **more),
    "transformed t": mean_transformed_t,
}


def of_mean(way: Callable[..., object], shape: str, n: int, draw: np.random.Generator) -> Wrong:
    truth, values = SHAPES[shape][0], SHAPES[shape][1](draw, n)
    found = way(values, confidence=1 - STATED, clusters=_labels(n) if shape == "clustered" else None)
    return found.low > truth, found.high < truth  # type: ignore[attr-defined]


def ignoring_clusters(shape: str, n: int, draw: np.random.Generator) -> Wrong:
    found = mean_t(SHAPES[shape][1](draw, n), confidence=1 - STATED)
    return found.low > 0, found.high < 0


def of_share(shape: str, n: int, draw: np.random.Generator, *, over_clusters: bool) -> Wrong:
    """The share of values below a quantile of the normal distribution."""
    flags = SHAPES[shape][1](draw, n) < 0.8416212335729143  # of SHARE
    if over_clusters:
        found = share_of_clusters(flags, _labels(n), confidence=1 - STATED)
    else:
        found = share(int(flags.sum()), flags.size, confidence=1 - STATED)
    return found.low > SHARE, found.high < SHARE


def in_rounds(shape: str, n: int, draw: np.random.Generator) -> Wrong:
    """Wrong at any look."""
    truth, values = SHAPES[shape][0], SHAPES[shape][1](draw, n)
    looks = [sequential_mean(values[:seen], confidence=1 - STATED) for seen in rounds(n)]
    return any(look.low > truth for look in looks), any(look.high < truth for look in looks)


def share_in_rounds(shape: str, n: int, draw: np.random.Generator) -> Wrong:
    flags = SHAPES[shape][1](draw, n) < 0.8416212335729143
    looks = [sequential_share(flags[:seen], confidence=1 - STATED) for seen in rounds(n)]
    return any(look.low > SHARE for look in looks), any(look.high < SHARE for look in looks)


def _labels(n: int) -> list[int]:
    return np.repeat(np.arange(n), PER_CLUSTER).tolist()  # type: ignore[no-any-return]


def rows() -> list[tuple[str, str, Callable[[int, np.random.Generator], Wrong]]]:
    """What the table has: method, shape, and how one suite is judged."""
    found: list[tuple[str, str, Callable[[int, np.random.Generator], Wrong]]] = []
    for shape in ("normal", "uniform", "log-normal", "two-valued"):
        for name, way in MEANS.items():
            found.append((name, shape, lambda n, draw, way=way, shape=shape: of_mean(way, shape, n, draw)))
        found.append(("t in rounds", shape, lambda n, draw, shape=shape: in_rounds(shape, n, draw)))
    for shape in PERPLEXITIES:
        for name, way in MEANS.items():
            found.append((name, shape, lambda n, draw, way=way, shape=shape: of_mean(way, shape, n, draw)))
    for name, way in MEANS.items():
        found.append((f"{name}, with `cluster`", "clustered", lambda n, draw, way=way: of_mean(way, "clustered", n, draw)))
    found.append(("t, without `cluster`", "clustered", lambda n, draw: ignoring_clusters("clustered", n, draw)))
    found.append(("share (exact)", "a share of .8", lambda n, draw: of_share("normal", n, draw, over_clusters=False)))
    found.append(("share in rounds", "a share of .8", lambda n, draw: share_in_rounds("normal", n, draw)))
    found.append(
        ("share, with `cluster`", "clustered, .8", lambda n, draw: of_share("clustered", n, draw, over_clusters=True))
    )
    found.append(
        ("share, without `cluster`", "clustered, .8", lambda n, draw: of_share("clustered", n, draw, over_clusters=False))
    )
    return found


def rate(judged: Callable[[int, np.random.Generator], Wrong], n: int, suites: int, seed: int) -> float:
    """The larger share of suites in which one of the bounds is on the wrong side."""
    draw = np.random.default_rng([seed, n])
    wrong = np.array([judged(n, draw) for _ in range(suites)])
    return float(wrong.mean(0).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=4000, help="suites per cell")
    parser.add_argument("--values", default="", help="only rows whose values begin with this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| Values | Bounds | " + " | ".join(f"n = {n}" for n in UNITS) + " |")
    print("|---|---|" + "---|" * len(UNITS))
    for name, shape, judged in rows():
        if not shape.startswith(options.values):
            continue
        cells = []
        for n in UNITS:
            found = 100 * rate(judged, n, options.suites, options.seed)
            cells.append(f"**{found:.1f}**" if found > 150 * STATED else f"{found:.1f}")
        print(f"| {shape} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
