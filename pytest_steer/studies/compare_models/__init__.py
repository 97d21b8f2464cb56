"""Two models side by side: one suite on both, paired by item, and Tan et al.'s questions of the slopes."""

from .behaviours import Behaviour, behaviours_of
from .claims import measure_claims
from .differences import Facts, differences_of, facts_of, prompts_that_differ
from .questions import Answers, Ranked, answers_of, decomposed
from .slopes import InSetting, Slopes, measure_slopes

__all__ = [
    "Answers",
    "Behaviour",
    "Facts",
    "InSetting",
    "Ranked",
    "Slopes",
    "answers_of",
    "behaviours_of",
    "decomposed",
    "differences_of",
    "facts_of",
    "measure_claims",
    "measure_slopes",
    "prompts_that_differ",
]
