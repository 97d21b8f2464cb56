"""Evidence as plain values: what JSON has, and what xdist can send between processes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_steer.core.errors import MeasurementError
from pytest_steer.core.evidence import Evidence
from pytest_steer.stats import Verdict


def types_in(value):
    if isinstance(value, dict):
        return {str} & set(map(type, value)) | set().union(*map(types_in, value.values()), set())
    if isinstance(value, list):
        return set().union(*map(types_in, value), set())
    return {type(value)}


def test_numbers_of_numpy_become_plain():
    details = {"row": [np.float64(1.5), (np.bool_(True), 2)], "values": np.arange(3.0)}
    known = {"estimate": np.float64(0.5), "n": np.int64(3), "interval": (np.float32(0.25), None), "details": details}
    evidence = Evidence("steers", "one", Verdict.PASS, curve=np.arange(2.0), **known)
    plain = evidence.to_dict()
    assert types_in(plain) <= {str, float, int, bool, type(None)}
    assert plain["details"] == {"row": [1.5, [True, 2]], "values": [0.0, 1.0, 2.0]}
    assert (plain["estimate"], plain["n"], plain["interval"], plain["curve"]) == (0.5, 3, [0.25, None], [0.0, 1.0])
    json.dumps(plain, allow_nan=False)


@pytest.mark.parametrize("value", [float("nan"), np.float64("inf"), np.array([1.0, np.nan])])
def test_what_is_not_finite_is_refused_wherever_it_is(value):
    evidence = Evidence("steers", "one", Verdict.PASS, details={"rows": [{"estimate": value}]})
    with pytest.raises(MeasurementError, match=r"one\.details\.rows\[0\]\.estimate"):
        evidence.to_dict()
