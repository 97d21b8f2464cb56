"""Who decides whether a reply is accepted: the registered judges, one module each, and how replies are put to them."""

from ...core.registry import discover
from .chat import Chat
from .classifier import Classifier
from .contains import Contains
from .judged import Agreement, Rated, agreement, judged, read_labels
from .kinds import Exchange, Judge, Judgement, judge, judge_schema, judges_schema, make_judge
from .local import Local
from .python import PythonFunction
from .regex import Regex

discover(__name__, __path__)

__all__ = [
    "Agreement",
    "Chat",
    "Classifier",
    "Contains",
    "Exchange",
    "Judge",
    "Judgement",
    "Local",
    "PythonFunction",
    "Rated",
    "Regex",
    "agreement",
    "judge",
    "judge_schema",
    "judged",
    "judges_schema",
    "make_judge",
    "read_labels",
]
