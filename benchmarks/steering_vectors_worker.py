"""Runs in the environment of the steering-vectors package: reads work from standard input, one JSON object a line, and answers."""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from steering_vectors import SteeringVector
from transformers import AutoConfig, AutoModelForCausalLM


def load(folder: str) -> Any:
    """A folder that transformers 5 wrote, in transformers 4: that looks elsewhere for the rotary base and for tied embeddings."""
    config = AutoConfig.from_pretrained(folder)
    rotary = json.loads(Path(folder, "config.json").read_text()).get("rope_parameters") or {}
    if "rope_theta" in rotary:
        config.rope_theta = rotary["rope_theta"]
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    if model.get_input_embeddings().weight.is_meta:
        weight = torch.nn.Parameter(load_file(Path(folder, "model.safetensors"))["lm_head.weight"].float())
        model.get_input_embeddings().weight = model.get_output_embeddings().weight = weight
    return model


@torch.no_grad()
def main() -> None:
    folder, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = load(folder)
    print(json.dumps({name: metadata.version(name) for name in ("steering-vectors", "transformers", "torch")}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        vectors = [SteeringVector({int(layer): torch.tensor(direction)}) for layer, direction in work["directions"].items()]
        started = time.perf_counter()
        values = []
        for ids, start, (yes, no) in work["questions"]:
            own = []
            for vector in vectors:
                for multiplier in work["grid"]:
                    with vector.apply(model, multiplier=multiplier, min_token_index=start):
                        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
                    own.append(float(logits[yes] - logits[no]))
            values.append(own)
        print(json.dumps({"values": values, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
