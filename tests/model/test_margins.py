"""Greedy margins: how far each token of an answer, and what ends it, is ahead of every other token."""

from __future__ import annotations

import dataclasses

import builders
import engines
import numpy as np
import plain
import pytest
from engines import fresh, run_pairs, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_steer.core.errors import DataError
from pytest_steer.model import Probe, engine_of
from pytest_steer.model.abilities import abilities_of
from pytest_steer.model.layout import Budget, Way
from pytest_steer.model.memo import DiskMemo
from pytest_steer.steering import as_intervention

ENDS = (2, 15, 40, 203)
PAIRS = [(None, 0.0), (0, -1.0), (0, 1.5), (1, 1.0), (2, -2.0)]
FEW = ("llama", "gpt2", "gemma2", "gemma2 wide", "neox", "opt", "bloom")


def check(model, probes, pairs=PAIRS):
    found, paths = run_pairs(model, probes, pairs)
    engines.check(model, probes, pairs, found)
    assert all(scores.dtype == np.float64 for own in found for scores in own)
    return paths


def questions(scope):
    """Tasks of different lengths, some sharing a long prompt, with several questions about one sequence among them."""
    probes = []
    for n, answer in enumerate((1, 3, 2)):
        prompt = (*tokens(5, 30), *tokens(60 + n, 4 + 3 * n))
        start = {"all": 1, "after_prompt": len(prompt) - 3, "last": len(prompt) - 1}[scope]
        ids, short = prompt + tokens(90 + n, answer), prompt + tokens(120 + n, 2)
        probes += [
            Probe(ids, start, score_from=len(prompt), margins=True, ends=ENDS),
            Probe(short, start, score_from=len(prompt), margins=True),
            Probe(prompt, start, score_from=len(prompt), margins=True, ends=ENDS[:1]),
            Probe(ids, start, score_from=len(prompt)),
            Probe(prompt, start, (20, 30)),
        ]
    return probes


@pytest.mark.covering(1)
@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize("scope", ["all", "after_prompt", "last"])
@pytest.mark.parametrize(("padding", "sharing"), [("right", True), ("left", True), ("left", False)])
def test_margins_equal_the_plain_way_in_any_company(family, scope, padding, sharing):
    check(fresh(family, padding, sharing), questions(scope))


@pytest.mark.parametrize("scope", ["all", "last"])
def test_margins_are_run_on_the_fast_ways(scope):
    """Branches of one prompt, and a prefix that all share: nothing of it falls back to the plain way."""
    prefix = tokens(3, 150)
    probes = [
        dataclasses.replace(
            probe,
            ids=prefix + probe.ids,
            steer_from=probe.steer_from + (len(prefix) if scope == "last" else 0),
            score_from=probe.score_from + len(prefix),
        )
        for probe in questions(scope)
        if probe.margins
    ]
    paths = check(fresh("llama"), probes)
    assert set(paths.values()) == {"shared positions, shared prefix" if scope == "last" else "shared depth, shared prefix"}


def test_a_rival_that_is_no_answer_counts():
    """Every token of the vocabulary can be the rival, so no rows of the unembedding may be left out: the margins of single
    tokens, asked for beside two candidates."""
    model = fresh("llama")
    ids = tokens(5, 20)
    best = int(plain.logits(model.hf, list(ids), {}, 0.0)[-1].argmax())
    probes = [Probe((*ids, token), 1, score_from=20, margins=True) for token in (best, 40, 50)]
    check(model, [Probe(ids, 1, (40, 50)), *probes], [(None, 0.0), (1, 1.0)])
    margins = [scores[0][0] for scores in engine_of(model).run(probes, None, [0.0])]
    assert margins[0] > 0 > max(margins[1:])


def test_every_question_has_an_answer_of_its_own(tmp_path):
    """What is asked is a part of the key, in memory and on disk."""
    ids = tokens(5, 24)
    variants = [
        Probe(ids, 20, score_from=20),
        Probe(ids, 20, score_from=20, margins=True),
        Probe(ids, 20, score_from=22, margins=True),
        Probe(ids, 20, score_from=20, margins=True, ends=ENDS),
        Probe(ids, 20, score_from=20, margins=True, ends=ENDS[1:]),
        Probe(ids, 20, ENDS),
    ]
    first = fresh("llama")
    engine_of(first).disk = DiskMemo(tmp_path)
    check(first, variants)
    assert engine_of(first).forwards == len(variants) * len(PAIRS)
    second = fresh("llama")
    engine_of(second).disk = DiskMemo(tmp_path)
    check(second, variants[::-1])
    assert engine_of(second).forwards == 0


def test_a_batch_holds_no_more_logits_than_it_may():
    """The read behind the answer counts too: four questions of three reads under two pairs, in two batches of two."""
    model = fresh("llama")
    engine_of(model)._budget = Budget(1024, 14 * builders.VOCABULARY)
    probes = [Probe(tokens(n, 20 + n), 18, score_from=18 + n, margins=True, ends=ENDS) for n in (0, 9, 17, 40)]
    seen = []
    assert abilities_of(model).branches
    head = model.hf.get_output_embeddings()
    handle = head.register_forward_hook(lambda _module, _args, output: seen.append(output.shape[1]))
    # Already looked at and tried, so that those forwards are not among those counted.
    kinds = ("shared depth", "shared positions")
    engine_of(model)._exact = {(Way(kind), False, ((1, "block"),)) for kind in kinds}
    try:
        engine_of(model).run(probes, as_intervention(builders.random_vector(0)), [0.0, 1.0])
    finally:
        handle.remove()
    assert sum(seen) == 2 * sum(len(probe.reads) for probe in probes) == 24
    assert max(seen) <= 14
    assert len(seen) == 2


@pytest.mark.parametrize(
    "change", [{"candidates": (20,)}, {"margins": False}, {"ends": ()}], ids=["candidates", "ends alone", "no ends"]
)
def test_questions_without_an_answer(change):
    probe = dataclasses.replace(Probe((5, 6, 7), 1, score_from=2, margins=True, ends=(3,), name="task 4"), **change)
    with pytest.raises(DataError, match="task 4: margins are those of answer tokens, not of candidates, and ends are some"):
        engine_of(fresh("llama")).run([probe], None, [0.0])


@st.composite
def drawn(draw):
    """Probes over three tokens, so that many begin alike and some are the beginning of others."""
    ids = tuple(draw(st.lists(st.sampled_from([40, 50, 60]), min_size=2, max_size=9)))
    start, kind = draw(st.integers(0, len(ids) - 1)), draw(st.sampled_from(["margins", "ends", "candidates", "scores"]))
    if kind == "candidates":
        return Probe(ids, start, (70, 80))
    ends = draw(st.sampled_from([(70,), (40, 70, 80)])) if kind == "ends" else None
    last = len(ids) - (kind != "ends")
    return Probe(ids, start, score_from=draw(st.integers(1, last)), margins=kind != "scores", ends=ends)


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(
    st.sampled_from(["llama", "gpt2", "bloom", "gemma3"]),
    st.lists(drawn(), min_size=1, max_size=6),
    st.lists(st.sampled_from(PAIRS), min_size=1, max_size=4),
    st.sampled_from(["left", "right"]),
)
def test_any_questions_in_any_company(family, probes, pairs, padding):
    check(fresh(family, padding), probes, pairs)
