"""The axes of a context that the package has, one per module."""

from ...registry import discover

discover(__name__, __path__)
