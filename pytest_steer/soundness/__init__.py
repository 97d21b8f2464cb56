"""Whether hooks do what they say: exact properties, tried on a model."""

from .examine import check_before, examine
from .properties import PROPERTIES
from .target import Target, foreign, own

__all__ = ["PROPERTIES", "Target", "check_before", "examine", "foreign", "own"]
