"""From numbers to an interval, and from an interval to a verdict.

Read in this order: :mod:`intervals` (what an inference is; Student's t, BCa and Hall's t for a mean, Clopper-Pearson
for a share), :mod:`planning` (how many items decide a claim), :mod:`ratio` (one mean
relative to another), :mod:`extremes` (the least and the largest of several, units without an outcome, the size of a mean),
:mod:`paired` (the difference of two shares of the same units, also of weighted or clustered ones),
:mod:`guessing` (more right answers than by guessing), :mod:`agreement` (two raters, or two measures, of the same units),
:mod:`variance` (what labels explain of the values), :mod:`quantile` (order statistics of values in clusters), :mod:`sequential` (bounds
for looking early), :mod:`suite` (many claims at once) and :mod:`estimators` (one object for all that depends on the statistic of a claim).
``_arguments`` only checks arguments.

**Every bound is one-sided.** ``confidence=0.95`` means that the lower bound exceeds the truth in at most 5 % of
repetitions, and that the upper bound is below it in at most 5 %. A claim is one-sided ("at least 0.3"), so one bound
decides it, and the chance of a false pass is at most ``1 - confidence``: for independent items, for shares or values of a
mean without rare, large ones, and for thresholds that were not set from the same items. docs/verdicts.md has simulated rates.
"""

from ..core.evidence import Direction, Verdict
from .agreement import Kappa, RankCorrelation, cohen_kappa, rank_correlation, rank_correlation_bounds
from .extremes import as_rise, between_fillings, items_needed_within, largest_of, least_of, size_of_mean
from .guessing import guessing_share, p_of_guessing, p_of_weighted_guessing
from .intervals import (
    Inference,
    error_rate_of_t,
    is_clearly_skewed,
    judge,
    mean_bootstrap,
    mean_t,
    mean_transformed_t,
    one_per_cluster,
    share,
    share_of_clusters,
    skewness_of,
)
from .paired import (
    change_difference,
    effective_n,
    paired_share_difference,
    share_difference_of_clusters,
    weighted_share_difference,
)
from .planning import items_needed_mean, items_needed_paired, items_needed_share
from .quantile import items_needed_quantile, quantile
from .ratio import items_needed_ratio, ratio_of_means
from .sequential import rounds, sequential_mean, sequential_share
from .suite import FalseVerdicts, expected_false_verdicts, holm
from .variance import Decomposition, VarianceShare, variance_shares

__all__ = [
    "Decomposition", "Direction", "FalseVerdicts", "Inference", "Kappa", "RankCorrelation", "VarianceShare",
    "Verdict", "as_rise", "between_fillings", "change_difference", "cohen_kappa", "effective_n", "error_rate_of_t",
    "expected_false_verdicts", "guessing_share", "holm", "is_clearly_skewed", "items_needed_mean",
    "items_needed_paired", "items_needed_quantile", "items_needed_ratio", "items_needed_share", "items_needed_within",
    "judge", "largest_of", "least_of", "mean_bootstrap", "mean_t", "mean_transformed_t", "one_per_cluster",
    "p_of_guessing", "p_of_weighted_guessing", "paired_share_difference", "quantile", "rank_correlation",
    "rank_correlation_bounds", "ratio_of_means", "rounds", "sequential_mean", "sequential_share", "share",
    "share_difference_of_clusters", "share_of_clusters", "size_of_mean", "skewness_of", "variance_shares",
    "weighted_share_difference",
]  # fmt: skip
