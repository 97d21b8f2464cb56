"""The built-in axes of contexts, one per module."""

from ...core.registry import discover

discover(__name__, __path__)
