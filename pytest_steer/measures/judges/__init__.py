"""Who decides whether a reply is accepted: the registered judges, one module each, and how replies are put to them."""

from ...core.registry import discover
from .chat import Chat as Chat
from .classifier import Classifier as Classifier
from .contains import Contains as Contains
from .judged import Agreement as Agreement
from .judged import Rated as Rated
from .judged import agreement as agreement
from .judged import judged as judged
from .judged import read_labels as read_labels
from .kinds import Exchange as Exchange
from .kinds import Judge as Judge
from .kinds import Judgement as Judgement
from .kinds import judge as judge
from .kinds import judge_schema as judge_schema
from .kinds import judges_schema as judges_schema
from .kinds import make_judge as make_judge
from .local import Local as Local
from .regex import Regex as Regex

discover(__name__, __path__)
