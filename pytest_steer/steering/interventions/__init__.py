"""The interventions: one module per way of changing activations."""

from ...core.registry import discover

discover(__name__, __path__)
