"""What all tests share. Nothing heavy is imported here: the tests of the statistics run without torch."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config, items):
    """Nightly tests only where they are asked for. The real model first: its tests are the longest, and a second process should not wait for them at the end."""
    if "nightly" not in config.getoption("markexpr", ""):
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    items.sort(key=lambda item: item.get_closest_marker("real_model") is None)
