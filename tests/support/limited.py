"""Runs a module in a process that can write files of so many bytes at most: ``limited SIZE MODULE ARGUMENTS``. What it prints is unlimited."""

from __future__ import annotations

import os
import resource
import runpy
import subprocess
import sys


def main() -> None:
    size, module = int(sys.argv[1]), sys.argv[2]
    writers = [subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=number) for number in (1, 2)]
    for number, writer in enumerate(writers, start=1):
        assert writer.stdin is not None
        os.dup2(writer.stdin.fileno(), number)
        writer.stdin.close()
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", encoding="utf-8") for number in (1, 2))
    sys.dont_write_bytecode = True  # a module that is compiled now would be cut too, and stay so
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.argv = sys.argv[2:]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        for number, stream in enumerate((sys.stdout, sys.stderr), start=1):
            stream.close()
            os.close(number)
        for writer in writers:
            writer.wait()


if __name__ == "__main__":
    main()
