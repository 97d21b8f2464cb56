"""``pytest-steer show``: what is printed of each kind of claim, on the built-in model, and what is an error."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_steer import Context, load_model, propensity_curve, read_items
from pytest_steer.cli.main import main
from pytest_steer.core.evidence import plain
from pytest_steer.measures import asked_record
from pytest_steer.report import report_schema

from .conftest import lettered

CLAIMS = """
vector:
  extract: {method: caa, data: train.json}
  layer: 1
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt}
claims:
  - steers: {steerability: -50}
  - not_anti_steered: {share: 0.99}
  - steers: {steerability: -50, name: worded, min_n: 2, answers: sum, thinking: open, data: {test: worded.json}}
  - ppl_delta_below: {limit: 1000000}
  - performs_task: {accuracy: 0.1, n_shots: 2, data: {test: pairs.json}}
  - hooks_are_sound: {max_batches: 2}
"""


def as_the_model_sees_it() -> tuple[list[str], int]:
    """The first lettered item's tokens, and how many of them belong to the user's turn; by transformers alone."""
    tokenizer = load_model("builtin:tiny").tokenizer
    said = [{"role": "user", "content": lettered(1, start=8)[0]["question"]}]
    turn, opened = (
        tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=flag) for flag in (False, True)
    )
    texts = [
        [tokenizer.decode([i]) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
        for text in (turn, opened + "(")
    ]
    assert texts[1][: len(texts[0])] == texts[0]
    return texts[1], len(texts[0])


@pytest.fixture
def folder(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(suite)
    (suite / "worded.json").write_text(
        json.dumps(
            [
                {"question": f"How are you{end}?", "matching": ["very well", "well"], "not_matching": "so so"}
                for end in ("", " today")
            ]
        )
    )
    (suite / "pairs.json").write_text(
        json.dumps([{"input": a, "output": b} for a, b in (("hot", "cold"), ("up", "down"), ("big", "small"))])
    )
    (suite / "c.steer.yaml").write_text(CLAIMS)
    return suite


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", "c.steer.yaml", *arguments]) == 0
    return capsys.readouterr().out


def test_every_claim_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys)
    tokens, turn = as_the_model_sees_it()
    marked = [*tokens[:turn], "<steered from here>", *tokens[turn:], "<scored from here>", "'B' or 'A'"]
    assert printed.splitlines()[:8] == [
        "steers (steers) on builtin:tiny",
        "  promised: steerability -50",
        "  positions after_prompt",
        "",
        "  item 0: the reply stands where the chat template puts one without thought; the logits of one next token are compared",
        "    matching '(B)', not matching '(A)'",
        f"      {len(tokens)} tokens, steered from {turn}, scored from {len(tokens)}",
        "      " + "·".join(marked).replace("\n", "\\n"),
    ]
    heads = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    assert heads == [
        f"{name} on builtin:tiny"
        for name in (
            "steers (steers)", "not_anti_steered (not_anti_steered)", "worded (steers)", "ppl_delta_below (ppl_delta_below)",
            "performs_task (performs_task)", "hooks_are_sound (hooks_are_sound)",
        )
    ]  # fmt: skip
    assert (
        "not_anti_steered (not_anti_steered) on builtin:tiny\n  promised: share 0.99\n  the same as for steers\n" in printed
    )


def test_no_line_is_wider_than_the_terminal_and_no_space_of_a_token_is_lost(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shown(capsys, "worded")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = shown(capsys, "worded")
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, whole.splitlines()))
    assert narrow.replace("\n      ·", "·").count("·") == whole.count("·")
    for line in whole.splitlines():
        if "·" in line:
            assert line in narrow.replace("\n      ·", "·")
        else:
            assert " ".join(line.split()) in " ".join(narrow.split())


@pytest.mark.parametrize("kind", ["promotes", "suppresses"])
def test_letters_are_scored_by_their_likelihood_where_a_claim_does_that(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (folder / "c.steer.yaml").write_text(CLAIMS + f"  - {kind}: 0.1\n")
    printed = shown(capsys, kind)
    tokens, turn = as_the_model_sees_it()
    assert "answers of 1 and 1 tokens are compared by the mean of their log-likelihoods" in printed
    for letter in "BA":
        marked = [*tokens[:turn], "<steered from here>", *tokens[turn:], "<scored from here>", letter]
        assert "      " + "·".join(marked).replace("\n", "\\n") in printed.splitlines()


def test_answers_of_several_tokens_stand_in_a_line_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, "worded")
    assert printed.startswith("worded (steers) on builtin:tiny\n")
    assert "the reply follows the generation prompt (thinking: open); answers of " in printed
    assert "tokens are compared by the sum of their log-likelihoods" in printed
    lines = [line.strip() for line in printed.splitlines()]
    for answer in ("matching 'very well'", "matching 'well'", "not matching 'so so'"):
        at = lines.index(answer)
        scored = lines[at + 2].split("<scored from here>·")[1]
        assert scored.replace("·", "") == answer.split("'")[1]
        assert lines[at + 2].index("<steered from here>") < lines[at + 2].index("<scored from here>")


def test_texts_tasks_and_hooks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "ppl_delta_below", "--items", "3")
    assert [line for line in text.splitlines() if line.startswith("  text ")] == ["  text 0", "  text 1", "  text 2"]
    assert "tokens, steered from 1, scored from 1\n" in text
    task = shown(capsys, "performs_task")
    assert "  task 0: 'hot' -> 'cold', after 2 demonstrations\n" in task
    assert task.rstrip().split("<scored from here>")[1].replace("·", "") == " cold"
    assert "no items: the hooks are tried on prompts of their own" in shown(capsys, "hooks_are_sound")


def test_prompts_of_claims_about_replies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where steering begins: after the user's first turn, and from `from_turn: 2` on after the second."""
    (folder / "turns.jsonl").write_text(json.dumps({"turns": ["How was the trip?", "Tell me more."]}) + "\n")
    claims = "  - generates: {share: 0.5, judge: {contains: a}, data: {prompts: turns.jsonl}}\n"
    with (folder / "c.steer.yaml").open("a") as file:
        file.write(claims + claims.replace("{share", "{name: later, from_turn: 2, share") + "  - no_cliff: {budget: 0.2}\n")
    tokenizer = load_model("builtin:tiny").tokenizer
    said = [("user", "How was the trip?"), ("assistant", "(reply 1)"), ("user", "Tell me more.")]
    messages = [{"role": role, "content": text} for role, text in said]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    for name, turns in (("generates", 1), ("later", 3)):
        turn = tokenizer.apply_chat_template(messages[:turns], tokenize=False)
        printed = shown(capsys, name)
        assert "  prompt 0: the reply stands where the chat template puts one" in printed
        lines = [line[6:] for line in printed.splitlines() if line.startswith("      ")]
        line = "".join(lines[1:]).replace("·", "").replace("\\n", "\n")
        assert line == f"{turn}<steered from here>{whole[len(turn) :]}"
    cliff = shown(capsys, "no_cliff")
    assert cliff.index("  text 0") < cliff.index("  prompt ")


def test_a_claim_like_one_that_does_not_stand_above_it_names_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = "  - steers: {steerability: -50, name: again}\n"
    (folder / "c.steer.yaml").write_text(CLAIMS + again)
    assert shown(capsys).endswith(
        "again (steers) on builtin:tiny\n  promised: steerability -50\n  the same as for steers\n\n"
    )
    assert "the same as" not in shown(capsys, "again")


def test_faulty_claims_do_not_hide_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wordy.json").write_text("[{}]")
    claims = CLAIMS.replace("{share: 0.99}", "{sahre: 0.99}").replace("{test: worded.json}", "{test: wordy.json}")
    (folder / "c.steer.yaml").write_text(claims)
    assert main(["show", "c.steer.yaml"]) == 4
    printed = capsys.readouterr()
    heads = [line.split()[0] for line in printed.out.splitlines() if line and not line.startswith(" ")]
    assert heads == ["steers", "ppl_delta_below", "performs_task", "hooks_are_sound"]
    said = [line for line in printed.err.splitlines() if ": error: " in line]
    assert said[0].startswith(
        "not_anti_steered: error: c.steer.yaml:9: claims[1].not_anti_steered.sahre: unknown key 'sahre'"
    )
    assert said[1].startswith("worded: error: c.steer.yaml:10: claims[2].steers.data.test: ")
    assert len(said) == 2


@pytest.mark.parametrize("module", ["pytest_steer", "pytest_steer.cli.main"])
def test_the_command_as_a_module(module: str) -> None:
    import subprocess
    import sys

    run = subprocess.run([sys.executable, "-W", "error", "-m", module, "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout.split()[0], run.stderr) == (0, "pytest-steer", "")
    run = subprocess.run([sys.executable, "-m", module, "shwo"], capture_output=True, text=True)
    assert run.returncode == 4
    assert "did you mean 'show'?" in run.stderr


def test_an_unknown_claim_and_a_broken_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "c.steer.yaml", "stears"]) == 4
    error = capsys.readouterr().err
    assert error.startswith(
        "pytest-steer show: error: c.steer.yaml has no claim 'stears': did you mean 'steers'? There are steers, not_anti_steered, worded"
    )
    (folder / "c.steer.yaml").write_text(CLAIMS.replace("{test: worded.json}", "{test: wordy.json}"))
    assert main(["show", "c.steer.yaml", "worded"]) == 4
    assert "there is no file" in capsys.readouterr().err
    assert main(["show", "none.steer.yaml"]) == 4
    assert "none.steer.yaml: there is no such file" in capsys.readouterr().err


def test_the_evidence_has_what_show_prints(folder: Path, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--steer-report=out.json")
    result.assert_outcomes(passed=5, failed=1)  # the task is not performed
    report = json.loads((folder / "out.json").read_text())
    jsonschema.validate(report, report_schema())
    asked = {claim["name"]: claim["asked"] for claim in report["claims"]}
    assert asked["hooks_are_sound"] is None
    steers = asked["steers"]
    assert (steers["thinking"], steers["answers"], steers["notes"]) == ("closed", "label", [])
    assert steers["lengths"] == {"items": 10, "different": 0, "matching": 1, "not_matching": 1}
    (first,) = steers["first_item"]
    tokens, turn = as_the_model_sees_it()
    assert first == {"tokens": tokens, "first_steered": turn, "first_scored": len(tokens), "candidates": ["B", "A"]}
    assert (asked["worded"]["thinking"], asked["worded"]["answers"]) == ("open", "sum")
    assert len(asked["worded"]["first_item"]) == 3
    for name in ("ppl_delta_below", "performs_task"):
        assert (asked[name]["thinking"], asked[name]["answers"], asked[name]["lengths"]) == (None, None, None)
        assert len(asked[name]["first_item"]) == 1
    # The same from Python.
    model, items = load_model("builtin:tiny"), read_items(folder / "test.json")
    from builders import random_vector

    curve = propensity_curve(model, items, random_vector(1, width=model.width), multipliers=[-1, 0, 1])
    assert plain(asked_record(model, curve, Context())) == steers


def test_what_is_promised_and_where_it_comes_from(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.steer.yaml").write_text(
        CLAIMS[: CLAIMS.index("  - ")]
        + "  - steers:\n  - not_anti_steered: {share: {value: 0.25, set: 2026-11-01, from: test.json}}\n"
        "  - beats: {baseline: random}\n"
    )
    lines = [line for line in shown(capsys).splitlines() if line.startswith("  promised")]
    assert lines == [
        "  promised: steerability (no threshold yet)",
        "  promised: share 0.25, set on 2026-11-01, from test.json",
        "  promised: margin 0",
    ]
