"""The interventions: one module per way of changing activations."""
