"""What all tests share. Nothing heavy is imported here: the tests of the statistics run without torch."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
from pathlib import Path

import pytest

# A run within a test forgets the modules that it loaded, and this one can be loaded once in a process.
with contextlib.suppress(ImportError):
    import vl_convert  # noqa: F401

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # each process that a test starts would compile the package again
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "pytest-steer-bytecode")

HERE = Path(__file__).parent
# What ``-m quick`` runs: folders, files and single tests that are done within a minute and touch every folder of the package.
QUICK = """
    test_import_rules.py test_builtin_tiny.py data report fuzzing
    prompting/test_axes.py prompting/test_chat.py prompting/test_rendering.py
    stats/test_bootstrap.py stats/test_intervals.py stats/test_judge.py stats/test_planning.py
    steering/test_formats_wrong.py steering/test_interventions.py steering/test_methods.py steering/test_vectors.py
    extract/test_extract.py::test_the_first_position_is_left_out_of_the_mean
    extract/test_extract_methods.py::test_function_vectors_of_layers_with_heads_of_different_number_or_none
    model/test_blocks.py model/test_fits.py model/test_steering_prompts.py model/test_tokens.py
    model/test_engine.py::test_perplexity_equals_the_plain_way
    model/test_generation.py::test_a_row_does_not_depend_on_the_rows_beside_it
    model/test_generation.py::test_rows_equal_a_forward_per_token
    model/test_sites.py::test_inner_sites_share_what_is_below_them
    measures/test_curves.py measures/test_known_answers.py measures/test_shown.py
    soundness/test_soundness.py::test_a_layer_that_is_left_out_of_two
    soundness/test_soundness.py::test_before_claims_every_family_is_sound
    claims/test_evidence.py claims/test_generalizes.py claims/test_performs_task.py
    claims/test_holds_in_contexts.py::test_as_given_that_fails_already_is_the_counterexample
    studies/test_comparing.py::test_the_numbers_are_those_of_the_plain_way
    studies/test_sweeping.py::test_the_best_by_first_order_are_measured
    files/test_suites_make.py files/test_suites_matrix.py files/test_suites_messages.py files/test_suites_right.py
    files/test_suites_wrong.py faces/test_assertions.py faces/test_show.py
""".split()  # noqa: SIM905


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


@pytest.fixture(scope="session")
def surveys():
    """Surveys of spaces of contexts, which follow from the space and the seed and take half of a search's time."""
    return {}


@pytest.fixture
def each_space_is_surveyed_once(monkeypatch, surveys):
    from pytest_steer.fuzzing import worst_context

    survey = worst_context.survey

    def once(space, *, seed):
        key = repr(space), seed
        if key not in surveys:
            surveys[key] = survey(space, seed=seed)
        return surveys[key]

    monkeypatch.setattr(worst_context, "survey", once)


def pytest_ignore_collect(collection_path, config):
    """For ``-m quick`` other files are not even imported."""
    if config.getoption("markexpr", "") == "quick" and collection_path.suffix == ".py" and HERE in collection_path.parents:
        path = collection_path.relative_to(HERE)
        files = {name.partition("::")[0] for name in QUICK}
        if files.isdisjoint({str(path), *map(str, path.parents)}) and path.name not in ("conftest.py", "__init__.py"):
            return True
    return None


@pytest.hookimpl(tryfirst=True)  # before pytest's own hook selects by marks
def pytest_collection_modifyitems(config, items):
    """Nightly tests, and what ``covering`` leaves out of products, only where the mark expression names ``nightly``. The real model
    first: its tests are the longest, and a second process should not wait for them at the end."""
    if "nightly" not in config.getoption("markexpr", ""):
        named = [argument for argument in config.args if "::" in argument]
        left_out = {item for item in items if item.get_closest_marker("nightly")}
        if not any("[" in argument for argument in named):
            left_out |= left_to_the_night([item for item in items if item not in left_out])
        if left_out:
            config.hook.pytest_deselected(items=list(left_out))
            items[:] = [item for item in items if item not in left_out]
    mark_quick(items)
    items.sort(key=lambda item: item.get_closest_marker("real_model") is None)


def mark_quick(items):
    """Gives the tests named in ``QUICK`` their mark."""
    missing = [name for name in QUICK if not (HERE / name.partition("::")[0]).exists()]
    if missing:
        raise pytest.UsageError(f"tests/conftest.py: QUICK names what is not there: {', '.join(missing)}")
    for item in items:
        path = item.path.relative_to(HERE) if item.path.is_relative_to(HERE) else item.path
        names = {str(path), *map(str, path.parents), f"{path}::{getattr(item, 'originalname', item.name)}"}
        if not names.isdisjoint(QUICK):
            item.add_marker("quick")


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
