"""All that an extension needs, in one import: claims, methods, interventions, axes, judges, formats, and what they are made of.

Import it in the extension's own modules only: it loads torch.
"""

from .claims.asserting import assertion
from .claims.base import AboutItems, Claim, OverCurve, OverItems, OverReplies, OverTexts
from .claims.figures import CostPoint, Curves, Distribution, EffectAgainstCost, Intervals, Line, Row
from .claims.from_file import CONTEXT, FILE, ITEMS, JUDGE, QUESTIONS, FromFile, Written, named
from .claims.judging import Judgement, Reason, withhold
from .claims.kinds import claim
from .claims.measurement import Counted, Measurement, Read, Scale
from .core.finding import Finding, Weight, code
from .errors import DataError, Fault, MeasurementError, SteerError
from .evidence import Direction, Evidence
from .measures.ask import Ask
from .parameters import Form, Param
from .promises import Promise
from .stats.estimators import Estimator, Filled, Mean, PairedShare, Quantile, Ratio, Share, Worst

__all__ = [
    "CONTEXT",
    "FILE",
    "ITEMS",
    "JUDGE",
    "QUESTIONS",
    "AboutItems",
    "Ask",
    "Claim",
    "CostPoint",
    "Counted",
    "Curves",
    "DataError",
    "Direction",
    "Distribution",
    "EffectAgainstCost",
    "Estimator",
    "Evidence",
    "Fault",
    "Filled",
    "Finding",
    "Form",
    "FromFile",
    "Intervals",
    "Judgement",
    "Line",
    "Mean",
    "Measurement",
    "MeasurementError",
    "OverCurve",
    "OverItems",
    "OverReplies",
    "OverTexts",
    "PairedShare",
    "Param",
    "Promise",
    "Quantile",
    "Ratio",
    "Read",
    "Reason",
    "Row",
    "Scale",
    "Share",
    "SteerError",
    "Weight",
    "Worst",
    "Written",
    "assertion",
    "claim",
    "code",
    "named",
    "withhold",
]
