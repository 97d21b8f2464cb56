"""The file of a report: who may read it, and what stays when it cannot be written."""

from __future__ import annotations

import json
import resource

import pytest

from pytest_steer.core.errors import SteerError
from pytest_steer.report import write_report


def test_everyone_may_read_it(tmp_path):
    """Temporary files are their owner's alone, and a report is made as one."""
    file = tmp_path / "out.json"
    write_report(file, {"text": "größer"})
    assert file.stat().st_mode & 0o777 == 0o644
    assert json.loads(file.read_text(encoding="utf-8")) == {"text": "größer"}
    assert list(tmp_path.iterdir()) == [file]


def test_half_a_character_is_escaped(tmp_path):
    write_report(tmp_path / "out.json", {"text": "a\ud83d"})
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == {"text": "a\ud83d"}


def test_a_full_disk_leaves_the_one_before(tmp_path):
    file = tmp_path / "out.json"
    write_report(file, {"n": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # files grow no further: an OSError, as without space
    try:
        with pytest.raises(OSError):
            write_report(file, {"text": "long" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert json.loads(file.read_text(encoding="utf-8")) == {"n": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path):
    file = tmp_path / "out.json"
    write_report(file, {"n": 1})
    with pytest.raises(SteerError, match="not JSON compliant"):
        write_report(file, {"n": float("nan")})
    assert json.loads(file.read_text(encoding="utf-8")) == {"n": 1}
    assert list(tmp_path.iterdir()) == [file]
