"""All that an extension needs, in one import: claims, methods, interventions, axes, judges, formats, and what they are made of.

Import it in the extension's own modules only: it loads torch.
"""

from .checking import check_extension
from .claims.asserting import assertion
from .claims.base import AboutItems, Claim, OverCurve, OverItems, OverReplies, OverTexts
from .claims.from_file import CONTEXT, FILE, ITEMS, JUDGE, QUESTIONS, FromFile, Written, named
from .claims.judging import Judgement, Reason, withhold
from .claims.kind import claim
from .claims.measurement import Counted, Measurement, Read, Scale
from .core.block import (
    Conversation,
    CostPoint,
    Curve,
    Distribution,
    EffectAgainstCost,
    Entry,
    Estimate,
    Excerpt,
    Intervals,
    Items,
    Line,
    Series,
    Table,
    items_of,
)
from .core.errors import DataError, Fault, MeasurementError, SteerError
from .core.evidence import Direction, Evidence
from .core.finding import Finding, Weight, code
from .core.parameters import Form, Param
from .core.promises import Promise
from .measures.ask import Ask
from .stats.estimators import Estimator, Filled, Mean, PairedShare, Quantile, Ratio, Rise, Share, Worst

__all__ = [
    "CONTEXT", "FILE", "ITEMS", "JUDGE", "QUESTIONS", "AboutItems", "Ask", "Claim", "Conversation", "CostPoint", "Counted",
    "Curve", "DataError", "Direction", "Distribution", "EffectAgainstCost", "Entry", "Estimate", "Estimator", "Evidence",
    "Excerpt", "Fault", "Filled", "Finding", "Form", "FromFile", "Intervals", "Items", "Judgement", "Line", "Mean",
    "Measurement", "MeasurementError", "OverCurve", "OverItems", "OverReplies", "OverTexts", "PairedShare", "Param",
    "Promise", "Quantile", "Ratio", "Read", "Reason", "Rise", "Scale", "Series", "Share", "SteerError", "Table", "Weight",
    "Worst", "Written", "assertion", "check_extension", "claim", "code", "items_of", "named", "withhold",
]  # fmt: skip
