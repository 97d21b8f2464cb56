"""How often verdicts are wrong: simulated false passes at a stated 5 %, per method, shape of the values and number of units.

    python benchmarks/error_rates.py            # the tables of docs/verdicts.md, some minutes on one core
    python benchmarks/error_rates.py --only quantiles
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
    quantile,
    rounds,
    sequential_mean,
    sequential_share,
    share,
    share_of_clusters,
)

STATED = 0.05
TEXTS, POSITIONS, Q = (20, 30, 60, 100, 200), 20, 0.9
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


def related(rho: float) -> Callable[[np.random.Generator, int], Values]:
    """Positions whose log divergences are normal, with this correlation within a text: [texts, positions]."""
    return lambda draw, n: np.exp(
        math.sqrt(rho) * draw.normal(size=(n, 1)) + math.sqrt(1 - rho) * draw.normal(size=(n, POSITIONS))
    )


def wholly_large(share: float) -> Callable[[np.random.Generator, int], Values]:
    """Between 0 and 1, and in a share of the texts between 10 and 11 at every position."""
    return lambda draw, n: draw.random((n, POSITIONS)) + 10 * (draw.random((n, 1)) < share)


# The true quantile of each shape, and how its values are drawn.
QUANTILES: dict[str, tuple[float, Callable[[np.random.Generator, int], Values]]] = {
    **{
        f"log-normal, correlation {rho:g} within a text": (math.exp(1.2815515655446004), related(rho))
        for rho in (0, 0.1, 0.5, 1)
    },
    "12 % of the texts wholly large": (10 + (0.12 - (1 - Q)) / 0.12, wholly_large(0.12)),
    "5 % of the texts wholly large": (Q / 0.95, wholly_large(0.05)),
}


def of_quantile(shape: str, n: int, draw: np.random.Generator, *, over_texts: bool) -> Wrong:
    truth, values = QUANTILES[shape][0], QUANTILES[shape][1](draw, n)
    clusters = np.repeat(np.arange(n), POSITIONS) if over_texts else None
    found = quantile(values.ravel(), Q, confidence=1 - STATED, clusters=clusters)
    return found.low > truth, found.high < truth


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


def rate(judged: Callable[[int, np.random.Generator], Wrong], n: int, suites: int, seed: int) -> np.ndarray:
    """[2] the shares of suites in which the lower and the upper bound is on the wrong side."""
    draw = np.random.default_rng([seed, n])
    return np.array([judged(n, draw) for _ in range(suites)]).mean(0)


def quantile_table(suites: int, seed: int) -> None:
    print("| Positions | Clusters | " + " | ".join(f"{n} texts" for n in TEXTS) + " |")
    print("|---|---|" + "---|" * len(TEXTS))
    for shape in QUANTILES:
        for over_texts in (True, False):
            if not over_texts and "0.1" not in shape:
                continue
            cells = []
            for n in TEXTS:
                low, high = 100 * rate(lambda n, draw: of_quantile(shape, n, draw, over_texts=over_texts), n, suites, seed)  # noqa: B023
                cells.append(" / ".join(f"**{one:.1f}**" if one > 150 * STATED else f"{one:.1f}" for one in (high, low)))
            print(f"| {shape} | {'texts' if over_texts else 'none'} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=4000, help="suites per cell")
    parser.add_argument("--values", default="", help="only rows whose values begin with this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["verdicts", "quantiles"], help="one of the tables")
    options = parser.parse_args()
    if options.only != "verdicts":
        quantile_table(options.suites, options.seed)
    if options.only == "quantiles":
        return
    print("| Values | Bounds | " + " | ".join(f"n = {n}" for n in UNITS) + " |")
    print("|---|---|" + "---|" * len(UNITS))
    for name, shape, judged in rows():
        if not shape.startswith(options.values):
            continue
        cells = []
        for n in UNITS:
            found = 100 * rate(judged, n, options.suites, options.seed).max()
            cells.append(f"**{found:.1f}**" if found > 150 * STATED else f"{found:.1f}")
        print(f"| {shape} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
