"""The table at the end of a run: numbers as their claim shows them."""

from __future__ import annotations

import pytest

from pytest_steer.evidence import Direction, Evidence, Verdict
from pytest_steer.report import claim_table


@pytest.mark.parametrize(
    ("percent", "cells"),
    [(True, ["+7.8%", "[+6.4%, +9.1%]", "<= +12%"]), (False, ["0.0779", "[0.0643, 0.091]", "<= 0.12"])],
)
def test_a_claim_in_per_cent_is_shown_in_per_cent(percent, cells):
    evidence = Evidence(
        "ppl_delta_below", "cheap", Verdict.PASS, "perplexity delta", 0.0779, (0.0643, 0.091), threshold=0.12,
        direction=Direction.AT_MOST, n=60, unit="texts", percent=percent, suite="s", id="a.steer.yaml::cheap",
    )  # fmt: skip
    *_, line = claim_table([evidence.to_dict()]).splitlines()
    assert line.split(None, 3)[:3] == ["s:", "cheap", "(ppl_delta_below)"]
    for cell in cells:
        assert cell in line
