"""Steering vectors from a model. Knows nothing of checks or pytest."""

from .mean_difference import caa, letter_imbalance, mean_difference

__all__ = ["caa", "letter_imbalance", "mean_difference"]
