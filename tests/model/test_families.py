"""Every causal class of the installed transformers as a tiny model."""

from __future__ import annotations

import families
import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def test_the_list_is_that_of_transformers():
    known = set(families.FAMILIES) | set(families.NOT_BUILT)
    # An older or newer transformers lacks some or has more; what the list was made with is complete.
    missing = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - known
    assert not missing, f"families without a line in tests/families.py: {sorted(missing)}"
    assert not set(families.FAMILIES) & set(families.NOT_BUILT)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_family_builds_small(family):
    config = families.config_of(family)
    with torch.device("meta"):
        hf = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(weights.numel() for weights in hf.parameters()) < 500_000
