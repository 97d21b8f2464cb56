"""Manners: what the plugin does to a suite that does not use it (nothing), and that every public name is there.

Each test runs a Python of its own: what is imported in this process says nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from forked import run_module

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf", "numpy", "scipy", "hypothesis", "jsonschema", "msgspec",
    "ruamel", "tabulate", "jinja2",
)  # fmt: skip
LOADED = f"import sys; print('HEAVY', sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r})))"


def environment_of(plugins="1"):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    return environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": plugins, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def run(*command, folder):
    command, environment = [sys.executable, *command], environment_of()
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def python(code, folder):
    done = run("-c", dedent(code), folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def foreign(tmp_path):
    """A suite that knows nothing of steering, and says at its very end what is loaded."""
    (tmp_path / "conftest.py").write_text(f"def pytest_unconfigure():\n    {LOADED}\n")
    (tmp_path / "test_foreign.py").write_text(
        "import pytest\n\ndef test_a(): pass\n\n@pytest.mark.skip\ndef test_b(): pass\n"
    )
    (tmp_path / "data.yaml").write_text("claims: []\n")
    (tmp_path / "data.json").write_text("[]\n")
    return tmp_path


# --- a suite that does not use it ----------------------------------------------------------------------------------------


def test_a_foreign_suite_shows_nothing_of_it_and_loads_nothing_heavy(foreign):
    with_it = run("-m", "pytest", "-p", "pytest_steer.pytest_plugin.plugin", "-p", "no:cacheprovider", folder=foreign)
    without = run("-m", "pytest", "-p", "no:cacheprovider", folder=foreign)
    assert "1 passed, 1 skipped" in with_it.stdout
    assert "HEAVY []" in with_it.stdout

    def lines(done):
        return [line for line in done.stdout.splitlines() if not line.startswith(("=", "plugins:"))]

    assert lines(with_it) == lines(without)
    assert with_it.stderr == without.stderr
    assert sorted(path.name for path in foreign.iterdir() if path.name != "__pycache__") == [
        "conftest.py", "data.json", "data.yaml", "test_foreign.py"
    ]  # fmt: skip


def test_a_foreign_suite_with_strict_markers_and_warnings_as_errors(foreign):
    done = run(
        "-W", "error", "-m", "pytest", "-p", "pytest_steer.pytest_plugin.plugin", "--strict-markers", "--strict-config", "-W", "error", folder=foreign
    )  # fmt: skip
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr


def test_it_can_be_switched_off(foreign):
    def run(*options):
        return run_module("pytest", "-p", "no:cacheprovider", *options, cwd=foreign, env=environment_of(plugins=""))

    (foreign / "claims.steer.yaml").write_text("not: [valid\n")
    on = run("--collect-only")
    assert "claims.steer.yaml" in on.stdout
    assert "3 tests collected" in on.stdout
    off = run("-p", "no:steer")
    assert off.returncode == 0, off.stdout + off.stderr
    assert "1 passed, 1 skipped" in off.stdout
    unknown = run("-p", "no:steer", "--steer-seed", "1")
    assert unknown.returncode == 4
    assert "unrecognized arguments: --steer-seed" in unknown.stderr


def test_help_lists_the_options_and_loads_nothing_heavy(foreign):
    plugin = ("-m", "pytest", "-p", "pytest_steer.pytest_plugin.plugin")
    assert "HEAVY []" in run(*plugin, "--fixtures", "--markers", folder=foreign).stdout
    done = run(*plugin, "--help", folder=foreign)
    for option in ("model", "device", "dtype", "profile", "seed", "report", "inconclusive"):
        assert f"--steer-{option}" in done.stdout
        assert f"steer_{option}" in done.stdout
    assert "HEAVY []" in done.stdout


# --- imports -------------------------------------------------------------------------------------------------------------


def test_importing_loads_nothing_heavy(tmp_path):
    code = """
        import pytest_steer; dir(pytest_steer); pytest_steer.__version__
        import pytest_steer.core.errors, pytest_steer.core.sources, pytest_steer.core.run_context, pytest_steer.core.run_context, pytest_steer.core.evidence
        from pytest_steer import SteerError, SteeringFailure, SteerWarning
        import pytest_steer.pytest_plugin.plugin
    """
    assert python(f"{dedent(code)}\n{LOADED}", tmp_path).strip() == "HEAVY []"


def test_what_knows_nothing_of_models_loads_no_torch(tmp_path):
    code = """
        import sys
        import pytest_steer.stats, pytest_steer.data, pytest_steer.prompting, pytest_steer.prompting.strategies
        from pytest_steer import read_items, read_texts, Items, ContrastItem, Context
        print({'torch', 'transformers'} & set(sys.modules))
    """
    assert python(code, tmp_path).strip() == "set()"


def test_every_public_name_is_there_and_documented(tmp_path):
    code = """
        import json, pytest_steer
        from pytest_steer import (
            load_model, read_items, SteeringVector, extract,
            propensity_curve, perplexity,
            assert_steers, assert_not_anti_steered, assert_ppl_delta_below,
            contexts, prompts,
        )
        contract = [extract.caa, extract.mean_difference, SteeringVector.load, load_model, read_items, propensity_curve,
                    perplexity, assert_steers, assert_not_anti_steered, assert_ppl_delta_below, contexts, prompts]
        names = pytest_steer.__all__
        star = {}
        exec("from pytest_steer import *", star)
        try:
            pytest_steer.assert_steer
        except AttributeError as error:
            unknown = str(error)
        print(json.dumps({
            "contract": all(map(callable, contract)),
            "missing": [name for name in names if not hasattr(pytest_steer, name)],
            "not in dir": [name for name in names if name not in dir(pytest_steer)],
            "twice": sorted(name for name in set(names) if names.count(name) > 1),
            "not in star": sorted(set(names) - set(star)),
            "undocumented": [n for n in names if n != "__version__" and not getattr(pytest_steer, n).__doc__],
            "unknown": unknown,
        }))
    """
    public = json.loads(python(code, tmp_path))
    assert public["contract"]
    assert [public[key] for key in ("missing", "not in dir", "twice", "not in star", "undocumented")] == [[]] * 5
    assert public["unknown"] == "module 'pytest_steer' has no attribute 'assert_steer'"


def test_type_checkers_see_what_is_there(tmp_path):
    """The imports for type checkers name each public name once, from the module it really comes from."""
    code = """
        import ast, pathlib, pytest_steer
        tree = ast.parse(pathlib.Path(pytest_steer.__file__).read_text())
        block = next(node for node in tree.body if isinstance(node, ast.If))
        named = {}
        for node in block.body:
            for alias in node.names:
                assert alias.asname == alias.name
                named[alias.name] = node.module
        print(sorted(set(named) ^ (set(pytest_steer._HOMES) | {"extract"})))
        print([name for name, home in pytest_steer._HOMES.items() if named[name] != home])
    """
    assert python(code, tmp_path).splitlines() == ["[]", "[]"]


def test_measuring_writes_nothing_and_prints_nothing(tmp_path):
    """No file unless asked, nothing on the terminal, the user's settings of torch and Hypothesis as they were."""
    code = """
        import builders, torch, hypothesis
        before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.random.initial_seed(), torch.get_rng_state().sum().item()
        profile = hypothesis.settings.get_current_profile_name()
        from hypothesis.configuration import storage_directory
        home = storage_directory().home_directory
        from pytest_steer import (
            assert_holds_in_contexts, assert_hooks_are_sound, propensity_curve, perplexity, extract, contexts
        )
        model = builders.random_model("llama")
        before = before[:3] + (torch.get_rng_state().sum().item(),)
        vector = extract.caa(model, builders.LETTERED[:2], layer=1)
        propensity_curve(model, builders.LETTERED, vector)
        perplexity(model, builders.TEXTS, vector)
        many = [(f"Question {number}?", "(A)", "(B)") for number in range(24)]
        space = contexts(system=["a", "b"], noise=[{"typos": 0.1}, {"case": 0.1}])
        assert_holds_in_contexts(
            model, vector, many, contexts=space, effect=-1e9, max_contexts=6
        )
        assert_hooks_are_sound(model, vector, max_batches=2)
        assert storage_directory().home_directory == home
        after = torch.is_grad_enabled(), torch.get_default_dtype(), torch.random.initial_seed(), torch.get_rng_state().sum().item()
        assert before == after, (before, after)
        assert hypothesis.settings.get_current_profile_name() == profile
    """
    (tmp_path / "measuring.py").write_text(dedent(code))
    (tmp_path / "here").mkdir()
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support", tmp_path)))
    done = run_module("measuring", cwd=tmp_path / "here", env=environment_of() | {"PYTHONPATH": paths})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "here").iterdir()) == []
