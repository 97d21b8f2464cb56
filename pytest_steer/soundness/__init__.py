"""Whether hooks do what they say: exact properties, tried on a model."""

from .automatic import check_before
from .examine import examine
from .properties import PROPERTIES
from .target import Apply, SteeredBatch, Target, foreign, own

__all__ = ["PROPERTIES", "Apply", "SteeredBatch", "Target", "check_before", "examine", "foreign", "own"]
