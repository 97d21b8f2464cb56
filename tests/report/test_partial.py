"""The partial report: whole JSON after each claim, and readable wherever a killed process left it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from reports import MODEL, a_claim, a_report

from pytest_steer.core.errors import SteerError
from pytest_steer.report import PartialReport, partial_path, read_report


def a_head() -> dict[str, Any]:
    report = a_report()
    report["provenance"]["partial"] = True
    return {key: report[key] for key in ("schema", "provenance")}


def test_it_stands_beside_its_report():
    assert partial_path(Path("a/out.json")) == Path("a/out.partial.json")
    assert partial_path(Path("out.v1.json")) == Path("out.v1.partial.json")


def test_it_can_be_read_after_each_claim(tmp_path):
    claims = [a_claim(f"c{n}") for n in range(3)]
    partial = PartialReport(tmp_path / "out.partial.json", a_head())
    for done in range(4):
        assert json.loads(partial.path.read_text(encoding="utf-8"))["claims"] == claims[:done]
        report = read_report(partial.path)
        assert report["claims"] == claims[:done]
        assert report["provenance"]["partial"] is True
        assert report["provenance"]["models"] == ([MODEL] if done else [])
        assert report["provenance"]["threads"] == (1 if done else None)
        if done < 3:
            partial.add(claims[done])
    assert partial.path.stat().st_mode & 0o777 == 0o644
    partial.discard()
    assert list(tmp_path.iterdir()) == []


def test_each_claim_is_written_once(tmp_path, monkeypatch):
    written = []
    plain = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: written.append(len(data)) or plain(file, data, at))
    partial = PartialReport(tmp_path / "out.partial.json", a_head())
    for n in range(50):
        partial.add(a_claim(f"c{n:02}"))
    assert sum(written) <= partial.path.stat().st_size + 5 * 51


def test_killed_in_the_middle_of_a_claim(tmp_path):
    """Whatever the length that was left: all claims that were whole, and an error only where not even the head is."""
    partial = PartialReport(tmp_path / "out.partial.json", a_head())
    sizes = []
    for n in range(2):
        partial.add(a_claim(f"c{n}"))
        sizes.append(partial.path.stat().st_size)
    whole = partial.path.read_bytes()
    head = whole.index(b"\n")
    edges = {edge + by for edge in (head, *sizes) for by in range(-6, 7)} & {*range(1, len(whole))}
    for end in edges | {*range(1, len(whole), 7)}:
        partial.path.write_bytes(whole[:end])
        if end < head:
            with pytest.raises(SteerError, match="is damaged: it breaks off"):
                read_report(partial.path)
        else:
            names = [claim["name"] for claim in read_report(partial.path)["claims"]]
            assert names == [f"c{n}" for n, size in enumerate(sizes) if end >= size - len("\n]}\n")]


def test_without_room_for_a_claim_those_before_stay(tmp_path, monkeypatch):
    partial = PartialReport(tmp_path / "out.partial.json", a_head())
    partial.add(a_claim("a"))
    plain = os.pwrite

    def full(file: int, data: bytes, at: int) -> int:
        if len(data) < 100:
            return plain(file, data, at)
        if at % 2 or len(data) < 200:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(file, data[:101], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        partial.add(a_claim("b"))
    monkeypatch.undo()
    assert [claim["name"] for claim in json.loads(partial.path.read_text())["claims"]] == ["a"]
    partial.add(a_claim("c"))
    assert [claim["name"] for claim in read_report(partial.path)["claims"]] == ["a", "c"]


def test_another_run_takes_the_name(tmp_path):
    first = PartialReport(tmp_path / "out.partial.json", a_head())
    second = PartialReport(tmp_path / "out.partial.json", a_head())
    first.add(a_claim("first"))
    second.add(a_claim("second"))
    first.discard()
    assert [claim["name"] for claim in read_report(second.path)["claims"]] == ["second"]
    second.discard()
    assert not second.path.exists()


def test_one_that_is_gone_is_no_error(tmp_path):
    partial = PartialReport(tmp_path / "out.partial.json", a_head())
    partial.path.unlink()
    partial.add(a_claim())
    partial.discard()


def test_one_that_cannot_be_begun_leaves_the_one_before(tmp_path):
    before = PartialReport(tmp_path / "out.partial.json", a_head())
    with pytest.raises(ValueError):
        PartialReport(before.path, {"seed": float("nan")})
    assert read_report(before.path)["claims"] == []
    assert list(tmp_path.iterdir()) == [before.path]
