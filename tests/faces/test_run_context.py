"""One run context for pytest, the command line and plain Python: what each face puts into it, and that it is taken off again."""

from __future__ import annotations

import contextvars
from pathlib import Path

import pytest

from pytest_steer.cli.main import main
from pytest_steer.core.run_context import RunContext, current_run, report_progress, running


def test_plain_python_has_the_defaults():
    assert contextvars.Context().run(current_run) == RunContext()


def test_contexts_nest_and_are_taken_off_when_something_fails():
    told, before = [], current_run()

    def fail():
        with running(RunContext(seed=1, progress=told.append)):
            with running(RunContext(seed=2)):
                assert current_run().seed == 2
                report_progress("nobody listens")
            assert current_run().seed == 1
            report_progress("half done")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert current_run() is before
    assert told == ["half done"]


@pytest.mark.parametrize("by", ["options", "ini"])
def test_options_and_ini_keys_become_the_run_of_every_test_and_fixture(pytester, by):
    values = {
        "seed": "7",
        "profile": "nightly",
        "dtype": "bfloat16",
        "device": "cpu",
        "cache": "kept",
        "counterexamples": "bad",
    }
    if by == "ini":
        lines = [f"steer_{name} = {value}" for name, value in values.items()]
        pytester.makeini(
            "\n".join(["[pytest]", *lines, "steer_no_soundness = true", "steer_allow_unexpected =", "  ^a", "  b$"])
        )
        options = []
    else:
        options = [f"--steer-{name}={value}" for name, value in values.items()]
        options += ["--steer-no-soundness", "--steer-allow-unexpected=^a", "--steer-allow-unexpected=b$"]
    pytester.makepyfile("""
        from pathlib import Path
        import pytest
        from pytest_steer.core.run_context import current_run

        @pytest.fixture
        def seed_in_setup():
            return current_run().seed

        def test_it(seed_in_setup):
            run = current_run()
            assert (run.seed, seed_in_setup) == (7, 7)
            assert (run.effort.name, run.effort.max_contexts, run.effort.batch) == ("nightly", 200, 32)
            assert (run.dtype, run.device, run.model) == ("bfloat16", "cpu", "builtin:tiny")
            assert (run.cache, run.counterexamples()) == (Path.cwd() / "kept", Path.cwd() / "bad")
            assert run.allow_unexpected == ("^a", "b$")
            assert run.context == {"option_order": "swapped"}
            assert run.place.endswith("::test_it")
            assert not run.soundness
            assert run.evidence is not None
    """)
    more = ["--steer-model=builtin:tiny", '--steer-context={"option_order": "swapped"}']
    pytester.runpytest_inprocess(*options, *more).assert_outcomes(passed=1)


def test_an_option_wins_over_its_ini_key(pytester):
    pytester.makeini(
        "[pytest]\nsteer_seed = 3\nsteer_dtype = bfloat16\nsteer_allow_unexpected =\n  ^a\nsteer_no_soundness = false\n"
    )
    pytester.makepyfile("""
        from pytest_steer.core.run_context import current_run

        def test_it():
            run = current_run()
            assert (run.seed, run.dtype, run.allow_unexpected, run.soundness) == (7, "float32", ("b$",), False)
    """)
    options = ["--steer-seed=7", "--steer-dtype=float32", "--steer-allow-unexpected=b$", "--steer-no-soundness"]
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steer_seed = many", "steer_seed in the ini file: takes a whole number from 0 on, not 'many'"),
        ("steer_profile = weekly", "steer_profile in the ini file: must be one of dev, ci, nightly, not 'weekly'"),
        ("steer_cache = tox.ini", "steer_cache in the ini file: tox.ini: is a file, not a folder"),
        ("steer_model = builtin:tinny", "steer_model in the ini file: *Did you mean 'builtin:tiny'?*"),
    ],
)
def test_a_wrong_ini_value_is_named_as_such(pytester, line, message):
    pytester.makeini(f"[pytest]\n{line}\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])


def test_each_face_names_its_own_option(suite: Path, pytester, monkeypatch, capsys):
    monkeypatch.chdir(suite)
    claims = "vector: {extract: {method: caa, data: train.json}, layer: 1}\ndata: {test: test.json}\nclaims:\n  - steers: {steerability: 0.1}\n"
    (suite / "c.steer.yaml").write_text(claims)
    assert main(["show", "c.steer.yaml", "--cache", "test.json/scores"]) == 4
    assert "c.steer.yaml:4: --cache: the folder test.json/scores cannot be used" in capsys.readouterr().err
    result = pytester.runpytest_inprocess("c.steer.yaml", "--steer-cache", "test.json/scores")
    result.stdout.fnmatch_lines(["*--steer-cache: the folder *test.json/scores cannot be used*"])
