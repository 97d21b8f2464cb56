"""Which pairs are shown before a query."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_steer.core.errors import DataError
from pytest_steer.data import TaskItem
from pytest_steer.data.tasks import deal_anew, draw_demonstrations

POOL = [TaskItem(f"in{i}", f"out{i}") for i in range(9)]
QUERY = POOL[4]


def test_other_pairs_all_different():
    for seed in range(30):
        shown = draw_demonstrations(QUERY, POOL, 5, seed=seed)
        assert len(set(shown)) == 5
        assert set(shown) <= set(POOL) - {QUERY}


def test_pairs_with_the_querys_input_are_passed_over():
    pool = [*POOL[:2], TaskItem(" in4 ", "another output"), TaskItem("in4", "out4")]
    assert set(draw_demonstrations(QUERY, pool, 2)) == set(POOL[:2])
    with pytest.raises(
        DataError, match="task item 'in4': 3 demonstrations are asked for, but there are only 2 other pairs to draw from"
    ):
        draw_demonstrations(QUERY, pool, 3)


def test_repeated_pairs_count_once():
    with pytest.raises(DataError, match="only 2 other pairs"):
        draw_demonstrations(QUERY, [*POOL[:2], *POOL[:2], TaskItem(" in0", "out0 ")], 3)


def test_the_draw_depends_on_seed_and_query_alone():
    want = draw_demonstrations(QUERY, POOL, 3, seed=2)
    assert want == draw_demonstrations(QUERY, POOL[::-1], 3, seed=2)
    assert want == draw_demonstrations(QUERY, [item for item in POOL if item != QUERY], 3, seed=2)
    assert len({draw_demonstrations(QUERY, POOL, 3, seed=seed) for seed in range(20)}) > 10
    others = {draw_demonstrations(TaskItem(f"query {i}", "x"), POOL, 3, seed=2) for i in range(20)}
    assert len(others) > 10


def test_every_pair_is_drawn_at_every_place():
    places = Counter(
        (place, item) for seed in range(400) for place, item in enumerate(draw_demonstrations(QUERY, POOL, 3, seed=seed))
    )
    assert len(places) == 3 * 8
    assert min(places.values()) > 25  # 50 expected


def test_no_shots_is_no_demonstrations():
    assert draw_demonstrations(QUERY, [], 0) == ()


def test_shuffling_keeps_the_inputs_and_deals_the_outputs():
    for seed in range(50):
        shown = draw_demonstrations(QUERY, POOL, 5, seed=seed)
        dealt = draw_demonstrations(QUERY, POOL, 5, shuffled=True, seed=seed)
        assert [item.input for item in dealt] == [item.input for item in shown]
        assert Counter(item.output for item in dealt) == Counter(item.output for item in shown)
        assert all(new.output != old.output for new, old in zip(dealt, shown, strict=True))


def kept(shown, dealt):
    return sum(a.output.strip() == b.output.strip() for a, b in zip(shown, dealt, strict=True))


@given(st.lists(st.sampled_from(["a", "b", " b", "c"]), max_size=6), st.integers(0, 5))
def test_as_few_keep_their_output_as_possible(outputs, seed):
    """Against all ways of dealing them out."""
    shown = [TaskItem(str(i), output) for i, output in enumerate(outputs)]
    dealt = deal_anew(shown, random.Random(seed))
    assert [item.input for item in dealt] == [item.input for item in shown]
    assert sorted(item.output for item in dealt) == sorted(outputs)
    fewest = min(
        sum(a.strip() == b.strip() for a, b in zip(outputs, other, strict=True)) for other in itertools.permutations(outputs)
    )
    assert kept(shown, dealt) == fewest


def test_all_cycles_of_different_outputs_occur():
    shown = POOL[:4]
    found = {deal_anew(shown, random.Random(seed)) for seed in range(200)}
    assert len(found) == 6  # (4 - 1)!
