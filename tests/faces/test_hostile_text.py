"""Control characters in texts of others reach no terminal: they are written out, by pytest's part and by every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from pytest_steer import SteeringVector
from pytest_steer.cli.main import main
from pytest_steer.core.columns import visible

from .conftest import HEAD, steering_items

ESCAPE, NUL, C1, BIDI = "\x1b[31m", "\x00", "\x9b", "\u202e"
HOSTILE = f"{ESCAPE}{NUL}{C1}{BIDI}\u2066\u200f\r\x07\ud800"
IN_YAML = "\\u001b[31m\\u0000\\u009b\\u202e\\u2066\\u200f\\u000d\\u0007"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_what_is_obeyed_is_written_out_and_all_else_stays() -> None:
    plain = "Ein Satz, 日本語 עברית, a\ttab and\nlines, é and 👩‍👩‍👧"
    assert visible(plain) == plain
    assert visible(f"a{HOSTILE}b") == r"a\x1b[31m\x00\x9b\u202e\u2066\u200f\r\x07\ud800b"
    for code in range(0x110000):
        if not visible(chr(code)).isprintable():
            assert chr(code) in "\t\n" or code > 0x9F, hex(code)


@pytest.fixture
def hostile(suite: Path) -> Path:
    """A suite in which all that can be named is hostile."""
    items = [{**item, "question": f"{item['question']} {HOSTILE[:-1]}"} for item in steering_items(10, 0)]
    (suite / "test.json").write_text(json.dumps(items))
    vector = SteeringVector({1: torch.ones(96)}, metadata={"method": f"mine {HOSTILE[:-1]}"})
    vector.save(suite / "v.safetensors")
    head = HEAD.partition("multipliers")[2].join(["vector: {file: v.safetensors}\nmultipliers", ""])
    claims = '  - steers: {steerability: 50, name: "far \\u202e"}\n'
    claims += f'  - steers: {{steerability: 50, name: "known", xfail: "because {IN_YAML}"}}\n'
    claims += f'  - steers: {{steerability: 50, name: "broken", "key {IN_YAML}": 1}}\n'
    (suite / f"c{ESCAPE}{BIDI}.steer.yaml").write_text(head + claims)
    (suite / "d.steer.yaml").write_text(f'model: "builtin:{IN_YAML[:10]}"\n' + head + "  - steers: 50\n")
    return suite


def test_nothing_that_a_terminal_obeys_is_printed_by_pytest(hostile: Path, pytester: pytest.Pytester) -> None:
    for arguments in (["-v", "-rA", "--steer-report=out.json"], ["--collect-only"], ["-q", "d.steer.yaml::no such"]):
        result = pytester.runpytest("-p", "no:cacheprovider", *arguments)
        shown = result.stdout.str() + result.stderr.str()
        assert not OBEYED.findall(shown.replace("\r\n", "\n")), arguments
        if "-v" in arguments:
            result.assert_outcomes(failed=3, xfailed=1)
            result.stdout.fnmatch_lines([r"*Is number * even[?] \x1b[[]31m\x00\x9b\u202e\u2066\u200f*"])
            result.stdout.fnmatch_lines([r"c\x1b[[]31m\u202e.steer.yaml::far \u202e FAILED*"])
            result.stdout.fnmatch_lines([r"XFAIL *because \x1b[[]31m*"])
            result.stdout.fnmatch_lines([r"*builtin:\x1b[[]31*"])
    claims = json.loads((hostile / "out.json").read_text())["claims"]
    assert claims[0]["name"] == f"far {BIDI}"  # as it is written


def test_nothing_that_a_terminal_obeys_is_printed_by_a_command(
    hostile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    (file,) = hostile.glob("c*.steer.yaml")
    file.write_text(file.read_text().rsplit("\n", 2)[0] + "\n")  # without the broken claim
    assert main(["show", str(file)]) == 0
    assert main(["show", f"{file}{HOSTILE[:3]}"]) != 0
    assert main([f"{ESCAPE}no command"]) != 0
    out = "".join(capsys.readouterr())
    assert not OBEYED.findall(out)
    assert r"\x1b" in out.partition("assistant")[0]  # between the marks of tokens
