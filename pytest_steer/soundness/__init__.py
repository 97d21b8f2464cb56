"""Whether hooks do what they say: exact properties, each a function of its own, tried out on a model."""

from .automatic import check_before
from .examine import PROPERTIES, Soundness, examine
from .target import Target, foreign, own

__all__ = ["PROPERTIES", "Soundness", "Target", "check_before", "examine", "foreign", "own"]
