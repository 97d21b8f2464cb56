"""What all tests share. Nothing heavy is imported here: the tests of the statistics run without torch."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """The real model first: its tests are the longest, and a second process should not wait for them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("real_model") is None)
