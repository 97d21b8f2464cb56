"""Processes of Python that begin with torch and transformers loaded, which takes most of the time of a short run.

They are forked from one process that has loaded both, and has seen nothing of the package or of pytest.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

_HEAVY = [
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",
    "scipy.stats",
    "safetensors.torch",
    "ruamel.yaml",
    "jsonschema",
]


def run_module(
    module: str,
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str = "",
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m module arguments`` does in a folder.

    Args:
        env: its environment; that of this process by default. input: what it reads.
    """
    folder, environment = str(cwd or Path.cwd()), {**(os.environ if env is None else env)}
    if sys.platform == "win32":  # pragma: no cover
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, cwd=folder, env=environment, input=input, capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as kept:
        files = [Path(kept, name) for name in ("in", "out", "err")]
        files[0].write_text(input, encoding="utf-8")
        process = start_module(module, arguments, cwd=folder, env=environment, files=[*map(str, files)])
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired([module, *arguments], timeout)
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in files[1:])
        assert process.exitcode is not None
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out, err)


def start_module(
    module: str, arguments: Sequence[str], *, cwd: str | Path, env: dict[str, str], files: list[str]
) -> BaseProcess:
    """Start a process that does what ``python -m module arguments`` does; files: its input, its output and where errors go."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    process = context.Process(target=_become, args=(module, tuple(arguments), str(cwd), env, files))
    process.start()
    return process


def runpytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """``pytester.runpytest_subprocess`` with less to load."""
    path = os.pathsep.join(filter(None, [str(pytester.path), os.environ.get("PYTHONPATH")]))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as base:
        done = run_module(
            "pytest", f"--basetemp={base}/t", *arguments, cwd=pytester.path, env={**os.environ, "PYTHONPATH": path}
        )
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    lines = done.stdout.splitlines(), done.stderr.splitlines()
    return pytest.RunResult(done.returncode, *lines, time.monotonic() - start)


def _become(
    module: str,
    arguments: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    files: list[str],
) -> None:
    for number, file in enumerate(files):
        opened = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w" if n else "r", encoding="utf-8") for n in range(3))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [folder, *paths, *(path for path in sys.path if path not in ("", *paths))]
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    sys.pycache_prefix = environment.get("PYTHONPYCACHEPREFIX")
    import torch  # is loaded, and has not looked at this environment

    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", torch.get_num_threads())))
    # A plugin of pytest that transformers has loaded: pytest warns that it cannot rewrite it.
    for name in [name for name in sys.modules if name.partition(".")[0] == "anyio"]:
        del sys.modules[name]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
