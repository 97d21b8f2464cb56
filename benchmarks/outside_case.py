"""What outside code and ours both measure: the model in its forms, and a line of the table."""

from __future__ import annotations

import contextlib
import json
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_steer import SteeringVector, extract, load_model, read_items, read_texts
from pytest_steer.model import Model

EXAMPLES = Path(__file__).parent.parent / "example_suites"
MULTIPLIERS = (-1.0, 0.5, 2.0)
EVERYWHERE: dict[str, Any] = {"positions": "all", "include_first": True}
N_ITEMS, N_TEXTS, N_QUESTIONS = 12, 12, 24


@dataclass(frozen=True)
class Case:
    """What everybody measures."""

    name: str
    model: Model
    folder: Path
    vector: SteeringVector

    @property
    def layer(self) -> int:
        return next(iter(self.vector.directions))

    @property
    def direction(self) -> torch.Tensor:
        return self.vector.directions[self.layer]

    @property
    def items(self) -> Any:
        return read_items(EXAMPLES / "costs/data/sentiment_test.json")[:N_ITEMS]

    @property
    def lettered(self) -> Any:
        return read_items(EXAMPLES / "smollm2/data/confidence_choice_test.json")[:N_ITEMS]

    @property
    def texts(self) -> list[str]:
        return [str(text) for text in read_texts(EXAMPLES / "smollm2/data/neutral.txt")[:N_TEXTS]]

    @contextlib.contextmanager
    def steered(self, multiplier: float, first: int = 0) -> Iterator[Any]:
        """The model with a plain hook that adds the vector from a position on."""

        def add(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, first:] += multiplier * self.direction
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = self.model.blocks[self.layer].register_forward_hook(add)
        try:
            yield self.model.hf
        finally:
            handle.remove()

    def logits(self, ids: Sequence[int], multiplier: float = 0.0, first: int = 0) -> torch.Tensor:
        """[1, tokens, vocabulary], one plain forward."""
        with torch.no_grad(), self.steered(multiplier, first) as model:
            found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits
            return found

    def baked(self, multiplier: float) -> str:
        """A folder with the steered model: the block's feed-forward output has the dose as a bias."""
        import transformers

        place = self.folder.parent / f"{self.folder.name}_{multiplier:g}"
        if place.exists():
            return str(place)
        hf = transformers.AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
        state, dose = hf.state_dict(), multiplier * self.direction
        if f"transformer.h.{self.layer}.mlp.c_proj.bias" in state:
            state[f"transformer.h.{self.layer}.mlp.c_proj.bias"] += dose
        else:
            hf.config.mlp_bias = True
            hf = type(hf)(hf.config)
            state |= {
                name: torch.zeros_like(own)
                for name, own in hf.state_dict().items()
                if ".mlp." in name and name.endswith(".bias")
            }
            state[f"model.layers.{self.layer}.mlp.down_proj.bias"] = dose
        hf.load_state_dict(state)
        hf.save_pretrained(place)
        self.model.tokenizer.save_pretrained(place)
        return str(place)


@dataclass(frozen=True)
class Row:
    """One comparison."""

    measure: str
    code: str
    at: str
    theirs: float
    ours: float

    def line(self, case: str) -> str:
        off = abs(self.theirs - self.ours) / max(abs(self.theirs), abs(self.ours), 1e-300)
        return f"| {self.measure} | {self.code} | {case} | {self.at} | {self.theirs:.6g} | {self.ours:.6g} | {off:.1e} |"


def source(path: Path, **changed: Any) -> dict[str, Any]:
    """The names that a file of theirs defines; ``"cuda"`` is replaced by the processor that there is."""
    module = sys.modules[f"outside_{path.stem}"] = types.ModuleType(f"outside_{path.stem}")
    exec(compile(path.read_text().replace("'cuda'", "'cpu'"), str(path), "exec"), vars(module))
    vars(module).update(changed)
    return vars(module)


def cell(path: Path, function: str) -> Any:
    """A function from a cell of a notebook of theirs. It rounds to four places, which is left out here."""
    cells = ("".join(one["source"]) for one in json.loads(path.read_text())["cells"])
    found: dict[str, Any] = {"torch": torch, "np": np, "round": lambda value, _places: value}
    exec(next(one for one in cells if one.lstrip().startswith(f"def {function}")), found)
    return found[function]


def cases(name: str, folder: Path) -> Iterator[Case]:
    """The real model, and small random ones of other families that take its tokenizer."""
    import transformers

    given = load_model(name, dtype="float32")
    train = EXAMPLES / "smollm2/data/sentiment_train.json"
    texts = json.loads(train.read_text())
    vector = extract.mean_difference(given, texts["positive"], texts["negative"], layer=given.n_layers * 3 // 5)
    yield _saved("SmolLM2", given.hf, given.tokenizer, vector, folder)
    size, common = (
        len(given.tokenizer),
        {"bos_token_id": given.tokenizer.bos_token_id, "eos_token_id": given.tokenizer.eos_token_id},
    )
    for config in (
        transformers.GPT2Config(vocab_size=size, n_embd=64, n_layer=4, n_head=4, n_positions=1024, initializer_range=0.3, **common),
        transformers.Qwen2Config(
            vocab_size=size, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            initializer_range=0.3, tie_word_embeddings=False, **common,
        ),
    ):  # fmt: skip
        torch.manual_seed(0)
        hf = transformers.AutoModelForCausalLM.from_config(config).eval()
        yield _saved(
            type(config).__name__.removesuffix("Config"), hf, given.tokenizer, SteeringVector({2: torch.randn(64)}), folder
        )


def _saved(name: str, hf: Any, tokenizer: Any, vector: SteeringVector, folder: Path) -> Case:
    place = folder / name
    hf.save_pretrained(place)
    tokenizer.save_pretrained(place)
    model = load_model(str(place), dtype="float32")
    return Case(name, model, place, SteeringVector(dict(vector.directions)))
