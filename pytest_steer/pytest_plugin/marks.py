"""Which tests are about steering, known before they run: what ``-m steer`` selects."""

from __future__ import annotations

import inspect

import pytest

FIXTURES = {"steer_model", "steer_load_model", "steering"}


def uses_steering(item: pytest.Item) -> bool:
    """Whether a test uses a fixture of this package, through other fixtures too, or names one of its assertions in its own body."""
    if not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    function = getattr(item, "function", None)
    if function is None:
        return False
    handle = getattr(function, "hypothesis", None)  # of a test under @given, which stands inside
    code = getattr(inspect.unwrap(getattr(handle, "inner_test", function)), "__code__", None)
    if code is None:
        return False
    named = {name for name in code.co_names if name.startswith("assert_")}
    return bool(named) and not named.isdisjoint(_assertions())


def _assertions() -> set[str]:
    from .. import __all__

    return {name for name in __all__ if name.startswith("assert_")}
