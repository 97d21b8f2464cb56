"""What all tests share. Nothing heavy is imported here: the tests of the statistics run without torch."""

from __future__ import annotations

import itertools
import json
import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def each_schema_is_checked_once():
    """``jsonschema.validate`` checks the schema itself at every call, which takes far longer than what is held against it."""
    from jsonschema import Draft202012Validator

    check, seen = Draft202012Validator.check_schema, set()

    def check_once(schema, *arguments, **options):
        key = json.dumps([schema, arguments, options], sort_keys=True, default=repr)
        if key not in seen:
            check(schema, *arguments, **options)
            seen.add(key)

    Draft202012Validator.check_schema = staticmethod(check_once)
    yield
    Draft202012Validator.check_schema = check


def pytest_collection_modifyitems(config, items):
    """Nightly tests, and what ``covering`` leaves out of products, only where the mark expression names ``nightly``. The real model
    first: its tests are the longest, and a second process should not wait for them at the end."""
    if "nightly" not in config.getoption("markexpr", ""):
        named = [argument for argument in config.args if "::" in argument]
        spared = set() if any("[" in argument for argument in named) else left_to_the_night(items)
        left_out = [item for item in items if item.get_closest_marker("nightly") or item in spared]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: item.get_closest_marker("real_model") is None)


def left_to_the_night(items):
    """Items of tests marked ``covering(strength)`` that are not needed to meet every value (1) or pair of values (2) of their
    parameters once."""
    products = {}
    for item in items:
        marker = item.get_closest_marker("covering")
        if marker is not None:
            products.setdefault((item.parent, item.originalname), (marker.args[0], []))[1].append(item)
    return {item for strength, product in products.values() for item in set(product) - covering(product, strength)}


def covering(product, strength):
    """A small part of a product in which every combination of so many parameters' values occurs that occurs in the product."""
    # Values are the same objects throughout a product; pytest's own indices are those of items, not of values.
    values = {item: sorted((name, id(value)) for name, value in item.callspec.params.items()) for item in product}
    combinations = {item: set(itertools.combinations(own, strength)) for item, own in values.items()}
    open_ones = set().union(*combinations.values())
    chosen = []
    while open_ones:
        best = max(product, key=lambda item: len(combinations[item] & open_ones))  # the first of several
        chosen.append(best)
        open_ones -= combinations[best]
    return set(chosen)
