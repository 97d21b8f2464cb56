"""Kinds of claims, one file per promise. Importing it registers them all."""

from ...core.registry import discover

discover(__name__, __path__)
