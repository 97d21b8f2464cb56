"""Scores on disk, and batches that do not fit into memory."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import builders
import numpy as np
import pytest
import torch

from pytest_steer import propensity_curve, wrap_model
from pytest_steer.core.errors import SteerError, SteerWarning
from pytest_steer.measures import steering_receipt
from pytest_steer.model import Engine, activations, engine_of
from pytest_steer.model.memo import DiskMemo
from pytest_steer.model.state import structure_of
from pytest_steer.steering import add_keeping_norm, as_intervention, custom

GRID = (-1.0, 0.0, 1.0)


def model_with(folder, seed=0):
    """A model as a new process would have it: nothing remembered but what is in the folder."""
    model = wrap_model(builders.random_hf("llama", seed=seed), builders.tokenizer(), "m")
    engine_of(model).disk = DiskMemo(folder)
    return model


def curve(model, vector=None):
    return propensity_curve(model, builders.LETTERED, vector or builders.random_vector(1), multipliers=GRID).values


def test_a_second_run_computes_nothing(tmp_path):
    first, second = model_with(tmp_path), model_with(tmp_path)
    want = curve(first)
    assert engine_of(first).forwards > 0
    assert (curve(second) == want).all()
    assert engine_of(second).forwards == 0
    assert engine_of(second).disk.found == engine_of(first).forwards


def test_the_same_weights_in_another_dtype_are_other_scores(tmp_path):
    """Fingerprints are those of the weights rounded to bfloat16, so these two models have one; the disk goes by the bytes."""
    models = []
    for dtype in (torch.bfloat16, torch.float32):
        model = wrap_model(builders.random_hf("llama").to(torch.bfloat16).to(dtype), builders.tokenizer(), "m")
        engine_of(model).disk = DiskMemo(tmp_path)
        curve(model)
        models.append(model)
    assert models[0].fingerprint == models[1].fingerprint
    assert engine_of(models[1]).disk.found == 0


def test_other_weights_vectors_and_functions_are_other_scores(tmp_path):
    curve(model_with(tmp_path))
    other_weights = model_with(tmp_path, seed=3)
    curve(other_weights)
    assert engine_of(other_weights).disk.found == 0
    other_vector = model_with(tmp_path)
    curve(other_vector, builders.random_vector(2))
    assert engine_of(other_vector).forwards == 2 * len(builders.LETTERED)  # the unsteered scores were there
    for factor in (1.0, 2.0):  # what a function does cannot be seen from outside, so its scores are not kept
        model = model_with(tmp_path)
        change = custom(lambda h, s, layer, factor=factor: h + factor * s, layers=1, strength="linear", name="same name")
        curve(model, change)
        assert engine_of(model).forwards == 3 * len(builders.LETTERED)


def test_receipts_at_other_strengths_and_of_other_vectors_are_other_receipts(tmp_path, monkeypatch):
    """The hidden states are read once in a process; on disk there is the receipt of each strength of each intervention."""
    vector, other = builders.random_vector(1), builders.random_vector(1, seed=5)
    changes = [as_intervention(vector), as_intervention(other), add_keeping_norm(vector)]
    asked = [(change, multiplier) for change in changes for multiplier in (0.5, 1.0)]

    alone, ran, read = [displacement(*one) for one in asked], [], activations._read_blocks
    monkeypatch.setattr(activations, "_read_blocks", lambda *given: ran.append(1) or read(*given))

    def moved(model):
        probes = propensity_curve(model, builders.LETTERED, vector, multipliers=GRID).probes
        ran.clear()
        return [steering_receipt(model, probes, *one).doses[0].displacement for one in asked], len(ran)

    first, second = moved(model_with(tmp_path)), moved(model_with(tmp_path))
    assert first == (pytest.approx(alone), 1)
    assert second == (pytest.approx(alone), 0)
    assert len(set(alone)) == len(alone)


def displacement(change, multiplier):
    """The displacement, without any memory."""
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    probes = propensity_curve(model, builders.LETTERED, None, multipliers=[0.0]).probes
    return steering_receipt(model, probes, change, multiplier).doses[0].displacement


def test_a_damaged_score_is_dropped_and_computed_again(tmp_path):
    want = curve(model_with(tmp_path))
    with sqlite3.connect(tmp_path / "scores-2.sqlite") as connection:
        connection.execute(
            "UPDATE scores SET value = zeroblob(16) WHERE rowid IN (SELECT rowid FROM scores ORDER BY rowid LIMIT 2)"
        )
        connection.execute(
            "UPDATE scores SET value = 7 WHERE rowid IN (SELECT rowid FROM scores ORDER BY rowid DESC LIMIT 1)"
        )
    connection.close()
    again = model_with(tmp_path)
    np.testing.assert_allclose(curve(again), want, atol=1e-5)
    assert engine_of(again).disk.dropped == 3
    assert engine_of(again).forwards == 2  # the third is the norms of hidden states that doses are compared with
    last = model_with(tmp_path)
    curve(last)
    assert (engine_of(last).forwards, engine_of(last).disk.dropped) == (0, 0)


@pytest.mark.parametrize(
    "damage", [lambda data: b"no database", lambda data: data[:5000], lambda data: data[:100] + bytes(4000)]
)
def test_a_damaged_file_is_begun_anew(tmp_path, damage):
    want = curve(model_with(tmp_path))
    file = tmp_path / "scores-2.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for beside in tmp_path.glob("*-wal"):
        beside.unlink()
    file.write_bytes(damage(file.read_bytes()))
    again = model_with(tmp_path)
    got = curve(again)
    assert "is damaged; it is deleted" in only_note(again)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert engine_of(again).forwards > 0
    assert (curve(model_with(tmp_path)) == got).all()


# Not by way of the package ``model``, which would load torch in each of three processes.
WRITER = """
import sys
import types
from pathlib import Path
import numpy as np
import pytest_steer
sys.modules["pytest_steer.model"] = types.ModuleType("pytest_steer.model")
sys.modules["pytest_steer.model"].__path__ = [str(Path(pytest_steer.__file__).parent / "model")]
from pytest_steer.model.memo import DiskMemo, bytes_of
memo = DiskMemo(Path(sys.argv[1]))
for i in range(int(sys.argv[3])):
    memo.write_bytes({f"{sys.argv[2]}-{i}-{j}".encode(): bytes_of(np.array([i, j], dtype=float)) for j in range(20)})
print("done")
"""


def start(folder, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_several_processes_write_and_one_is_killed(tmp_path):
    writers = [start(tmp_path, name, 20) for name in ("a", "b")]
    killed = start(tmp_path, "k", 10**7)
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    while not DiskMemo(tmp_path).read({b"x": b"k-0-0"}):
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    memo = DiskMemo(tmp_path)
    keys = {f"{name}-{i}-{j}".encode(): (i, j) for name in "ab" for i in range(20) for j in range(20)}
    found = memo.read({key: key for key in keys})
    assert {key: tuple(value) for key, value in found.items()} == keys
    rounds = 0
    while whole := memo.read({key: key for key in (f"k-{rounds}-{j}".encode() for j in range(20))}):
        assert len(whole) == 20  # all of one write or none of it
        rounds += 1
    assert rounds > 0
    assert memo.dropped == 0


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SteerError, match=r"--steer-cache: the folder .* cannot be used"):
        DiskMemo(tmp_path / "file" / "below")


def test_another_schema_is_begun_anew(tmp_path):
    with sqlite3.connect(tmp_path / "scores-2.sqlite") as connection:
        connection.execute("CREATE TABLE scores (name TEXT)")
    connection.close()
    model = model_with(tmp_path)
    curve(model)
    assert "another program's" in only_note(model)
    again = model_with(tmp_path)
    curve(again)
    assert engine_of(again).forwards == 0


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    (tmp_path / "scores-2.sqlite").mkdir()
    with pytest.raises(SteerError, match=r"--steer-cache: .* there is a folder of its name: delete .*scores-2\.sqlite"):
        DiskMemo(tmp_path)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT count(*) FROM scores").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_damaged_file_that_another_process_uses_is_left_alone(tmp_path):
    first = model_with(tmp_path)
    want = curve(first)
    engine_of(first).disk._close()  # the last one that closes it leaves nothing beside the file
    file = tmp_path / "scores-2.sqlite"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"
        with file.open("r+b") as stream:
            stream.write(b"no database")
        before = file.stat().st_ino
        model = model_with(tmp_path)
        np.testing.assert_allclose(curve(model), want, atol=1e-5)
        assert "is damaged, and cannot be deleted or is in use by another process. The run goes on" in only_note(model)
        assert file.stat().st_ino == before
    finally:
        other.communicate("")
    model = model_with(tmp_path)
    assert "is damaged; it is deleted" in only_note(model)
    assert file.stat().st_ino != before or file.read_bytes()[:6] == b"SQLite"


@pytest.mark.parametrize("fault", ["locked", "full", "readonly"])
def test_a_file_that_cannot_be_written_is_kept_and_the_run_goes_on(tmp_path, monkeypatch, fault):
    monkeypatch.setattr("pytest_steer.model.memo._WAIT", 0.05)
    want = curve(model_with(tmp_path))
    other = sqlite3.connect(tmp_path / "scores-2.sqlite", isolation_level=None)
    count = other.execute("SELECT count(*) FROM scores").fetchone()
    model = model_with(tmp_path, seed=5)
    disk = engine_of(model).disk
    if fault == "locked":
        other.execute("BEGIN IMMEDIATE")
    elif fault == "full":
        disk._connection.execute("PRAGMA max_page_count=1")
        disk.write_bytes({b"key": bytes(10**6)})  # more than fits into the pages that are there
    else:
        disk._connection.execute("PRAGMA query_only=1")
    got = [curve(model, builders.random_vector(seed)) for seed in (1, 2)]
    assert all(np.isfinite(values).all() for values in got)
    assert {"locked": "is locked", "full": "is full", "readonly": "readonly"}[fault] in only_note(model)
    assert disk.told() == []
    if fault == "locked":
        other.execute("COMMIT")
    assert other.execute("SELECT count(*) FROM scores").fetchone() == count
    other.close()
    again = model_with(tmp_path)
    assert (curve(again) == want).all()
    assert engine_of(again).forwards == 0


def test_without_any_space_or_right_the_run_goes_on():
    model = model_with(Path("/proc/no such folder"))
    curve(model)
    assert "the folder cannot be made" in only_note(model)


def only_note(model):
    """What the user is told, once."""
    (note,) = engine_of(model).disk.told()
    return note


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_running_out_of_memory_halves_the_batch_and_says_so_once(message):
    want = curve(wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m"))
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")
    sizes = []

    def small_machine(module, args, kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError(message) if "CUDA" in message else RuntimeError(message)

    model.hf.register_forward_pre_hook(small_machine, with_kwargs=True)
    model.kept[engine_of] = Engine(model, sharing=False)
    with pytest.warns(SteerWarning, match="memory ran out") as caught:
        got = curve(model)
    assert len(caught) == 1
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert max(sizes) > 2 >= sizes[-1]


def test_one_sequence_that_does_not_fit_is_an_error():
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(), "m")

    def no_memory(module, args, kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    structure_of(model)  # the small forward that every model runs first
    model.hf.register_forward_pre_hook(no_memory, with_kwargs=True)
    with pytest.warns(SteerWarning, match="memory ran out"), pytest.raises(torch.OutOfMemoryError):
        curve(model)
