"""``pytest-steer explain``: what it says before a run is what the run then does."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from small_suite import small_suite

from pytest_steer.cli.main import main
from pytest_steer.core.errors import SteerError
from pytest_steer.core.run_context import RunContext, running
from pytest_steer.files import read_suite
from pytest_steer.files.build import Measuring
from pytest_steer.model import engine_of
from pytest_steer.pytest_plugin.options import PROFILES

MORE = """\
model: builtin:tiny
vector: {extract: {method: mean_difference, data: data/approval_train.json}, layer: 1, positions: all}
data: {test: data/approval_test.json, neutral: data/neutral.txt}
contexts: {system: ["", "You are a villager. You live in the village and you answer every question that you are asked."]}
claims:
  - kl_below: {limit: 0.5}
  - ppl_delta_below: {limit: 0.5}
  - steers: {steerability: 0.9}
  - not_anti_steered: {share: 0.1}
  - holds_in_contexts: {steerability: 0.1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example suite with some of its items and texts."""
    monkeypatch.chdir(small_suite(tmp_path / "builtin", texts=30))
    Path("more.steer.yaml").write_text(MORE)
    return Path()


def explained(capsys, *arguments: str) -> list[dict[str, Any]]:
    assert main(["explain", *arguments, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["claims"]
    return found


def measured(monkeypatch: pytest.MonkeyPatch, file: str, run: RunContext) -> tuple[list[dict[str, Any]], float]:
    """What a run of the claims does: its scores as the engine counts them, its forwards as they are run, and the tokens as blocks give
    them out."""
    suite, measuring = read_suite(file), Measuring(run)
    model = measuring.models.load("builtin:tiny")
    engine, seen = engine_of(model), {"forwards": 0, "tokens": 0, "inside": 0}

    def counting(name: str) -> None:
        own = getattr(engine, name)  # of this one: the check of the hooks has an engine of its own

        def counted(*arguments: Any) -> Any:
            seen["forwards"] += 1
            seen["inside"] = 1
            try:
                return own(*arguments)
            finally:
                seen["inside"] = 0

        monkeypatch.setattr(engine, name, counted)

    def look(_module: Any, _given: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        seen["tokens"] += seen["inside"] * hidden.shape[0] * hidden.shape[1]

    counting("_computed")
    counting("_run_prefix")
    handles = [block.register_forward_hook(look) for block in model.blocks] if run.cache is None else []
    found = []
    start = perf_counter()
    with running(run):
        for entry in suite.entries:
            before = engine.forwards, engine.remembered, dict(seen)
            evidence = measuring.evidence_of(suite, entry)
            assert evidence.error is None
            found.append(
                {
                    "claim": entry.name,
                    "computed": engine.forwards - before[0],
                    "known": engine.remembered - before[1],
                    "forwards": seen["forwards"] - before[2]["forwards"],
                    "tokens": (seen["tokens"] - before[2]["tokens"]) / model.n_layers,
                    "estimate": evidence.estimate,
                    "details": evidence.details,
                }
            )
    for handle in handles:
        handle.remove()
    return found, perf_counter() - start


def test_it_says_what_a_run_does(folder: Path, capsys, monkeypatch) -> None:
    said = explained(capsys, "more.steer.yaml")
    real, _ = measured(monkeypatch, "more.steer.yaml", RunContext())
    assert [one["claim"] for one in said] == [one["claim"] for one in real]
    certain = [(before, after) for before, after in zip(said, real, strict=True) if not before["depends_on_scores"]]
    assert certain
    for before, after in certain:
        assert before["stopped"] is None
        assert before["scores"]["computed"] == [after["computed"]] * 2
        assert before["scores"]["known"] == [after["known"]] * 2
        assert sum(scores for scores, _ in before["ways"].values()) == after["computed"]
        assert before["forwards"] == [after["forwards"]] * 2
        # A run pads rows.
        assert before["tokens"][0] - 1 <= after["tokens"] <= 1.3 * before["tokens"][0] + 1
        assert after["tokens"] == 0 or before["plain_tokens"][0] > before["tokens"][0]
    for before, after in zip(said, real, strict=True):
        if before["depends_on_scores"]:
            least, most = before["scores"]["computed"]
            assert least <= after["computed"] <= most


@pytest.mark.nightly  # a busy machine is another machine
def test_the_time_is_about_right(folder: Path, capsys, monkeypatch) -> None:
    said = explained(capsys, "tiny.steer.yaml")
    _, seconds = measured(monkeypatch, "tiny.steer.yaml", RunContext())
    least, most = (sum(one["seconds"][end] for one in said) for end in (0, 1))
    assert most / 3 < seconds < least * 3


def test_of_scores_in_the_folder_none_is_computed_and_none_is_put_there(folder: Path, capsys, monkeypatch, tmp_path) -> None:
    cache = tmp_path / "scores"
    before = explained(capsys, "more.steer.yaml::steers", "--cache", str(cache))[0]
    assert before["scores"]["cached"] == [0, 0]
    computed = before["scores"]["computed"][0]
    assert computed > 0
    real, _ = measured(monkeypatch, "more.steer.yaml", RunContext(cache=cache))
    plain, _ = measured(monkeypatch, "more.steer.yaml", RunContext(soundness=False))
    assert [one["estimate"] for one in real] == [one["estimate"] for one in plain]
    after = explained(capsys, "more.steer.yaml::steers", "--cache", str(cache))[0]
    assert after["scores"]["computed"] == [0, 0]
    assert after["scores"]["cached"] == [computed, computed]
    assert after["forwards"] == [0, 0]


def test_nothing_is_written_to_the_folder(folder: Path, capsys, tmp_path) -> None:
    cache = tmp_path / "scores"
    explained(capsys, "more.steer.yaml::ppl_delta_below", "--cache", str(cache))
    with sqlite3.connect(next(cache.glob("*.sqlite"))) as connection:
        (first,) = connection.execute("SELECT count(*) FROM scores").fetchone()
    explained(capsys, "more.steer.yaml", "--cache", str(cache))
    with sqlite3.connect(next(cache.glob("*.sqlite"))) as connection:
        # The activations that the vector is made from are there from the first time.
        assert connection.execute("SELECT count(*) FROM scores").fetchone() == (first,)


SEARCH = (
    MORE.partition("contexts:")[0]
    + """\
contexts: {system: ["", "You are kind.", "You are a villager, who lives in the village."], filler: [1, 2, 3], noise: [{typos: 0.1, seed: 0}]}
claims:
  - holds_in_contexts: {steerability: 0.9, max_contexts: 10}
"""
)


def test_a_search_stays_within_what_its_limits_allow(folder: Path, capsys, monkeypatch) -> None:
    file = Path("search.steer.yaml")
    file.write_text(SEARCH)
    (said,) = explained(capsys, str(file))
    least, most = said["search"]["least"], said["search"]["most"]
    assert said["search"]["of"] == "contexts"
    # As given, four of one axis, and at least one that is drawn; ten to search; ten, (3 + 2 + 1) and 3 times 8 values to shrink.
    assert 5 < least <= 11
    assert most == 1 + 10 + 10 + 6 + 24
    (real,), _ = measured(monkeypatch, str(file), RunContext())
    assert least <= real["details"]["tried"] <= most
    for key in ("computed", "forwards", "tokens"):
        low, high = said["scores"][key] if key == "computed" else said[key]
        assert low <= real[key] + 1e-9
        assert real[key] <= (1.3 if key == "tokens" else 1) * high  # a run pads rows
    assert said["seconds"][0] < said["seconds"][1]
    assert main(["explain", str(file)]) == 0
    assert f"  search    {least} to {most} contexts, by its limits\n" in capsys.readouterr().out


def test_a_search_for_a_multiplier_has_limits_too(folder: Path, capsys, monkeypatch) -> None:
    claim = "claims:\n  - steers_at_cost: {effect: 0.1, budget: 0.05}\n"
    Path("cost.steer.yaml").write_text(MORE.partition("contexts:")[0] + claim)
    (said,) = explained(capsys, "cost.steer.yaml")
    assert said["search"] == {"least": 1, "most": 1 + 10 + 12, "of": "multipliers"}
    (real,), _ = measured(monkeypatch, "cost.steer.yaml", RunContext())
    least, most = said["scores"]["computed"]
    assert least <= real["computed"] <= most


def test_a_claim_in_rounds_has_two_numbers(folder: Path, capsys) -> None:
    Path("rounds.steer.yaml").write_text(
        MORE.partition("contexts:")[0] + "claims:\n  - not_anti_steered: {share: 0.5, sequential: true}\n"
    )
    (one,) = explained(capsys, "rounds.steer.yaml")
    assert one["depends_on_scores"]
    assert one["scores"]["computed"][0] < one["scores"]["computed"][1]
    assert main(["explain", "rounds.steer.yaml"]) == 0
    assert "the scores decide how many are asked for: two examples, no bounds" in capsys.readouterr().out


def test_a_profile_is_that_of_the_run(folder: Path, capsys) -> None:
    (whole,) = explained(capsys, "more.steer.yaml::ppl_delta_below")
    (quick,) = explained(capsys, "more.steer.yaml::ppl_delta_below", "--profile", "dev", "--dtype", "float32")
    assert quick["scores"]["asked"][0] == 2 * PROFILES["dev"].max_items < whole["scores"]["asked"][0]


def test_words_and_what_is_wrong(folder: Path, capsys) -> None:
    assert main(["explain", "tiny.steer.yaml::approval-rises"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("approval-rises (steers) on builtin:tiny: layer 1 changed, of ")
    assert "an estimate" in printed
    for arguments, message in (
        (["gone.steer.yaml"], "gone.steer.yaml: there is no such file"),
        (["tiny.steer.yaml::gone"], "has no claim 'gone': there are approval-rises"),
    ):
        assert main(["explain", *arguments]) == 4
        assert message in capsys.readouterr().err
    Path("wrong.steer.yaml").write_text(MORE.replace("share: 0.1", "shaer: 0.1"))
    assert main(["explain", "wrong.steer.yaml"]) == 4
    printed = capsys.readouterr().out
    assert "error: wrong.steer.yaml:9: claims[3].not_anti_steered.shaer" in printed
    assert "steers (steers) on builtin:tiny" in printed


def test_a_rehearsal_leaves_the_model_and_its_scores_alone(folder: Path) -> None:
    from pytest_steer.studies.explain import Explaining

    run = RunContext()
    explaining, suite = Explaining(run), read_suite("more.steer.yaml")
    with running(run):
        found = list(explaining.all(suite, suite.entries[:3]))
    assert not [one for _, one in found if isinstance(one, SteerError)]
    engine = engine_of(explaining.models.load("builtin:tiny"))
    assert engine.forwards == engine.remembered == 0
