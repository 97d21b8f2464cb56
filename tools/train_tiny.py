"""Make `builtin:tiny`: write the text, train the tokenizer and the model, and save one transformers folder.

    python tools/train_tiny.py --out pytest_steer/builtin/tiny

One thread and fixed seeds: the same versions on the same kind of machine give the same bytes. The text comes from
`tiny_text.py`. After training the weights are rounded to bfloat16 and saved so; load them in float32 to measure.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import hashlib
import json
import math
import platform
import random
import time
from pathlib import Path

import tiny_text as text
import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MAX_POSITIONS = 1024


def make_tokenizer(documents: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every string can be encoded, and every word of the world is one token with and without a space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[text.PAD, text.START, text.END],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    extra = [f"{word} {word}\n" for word in ["Yes", "No", "A", "B", "user", "assistant", "system"]] * 50
    tokenizer.train_from_iterator(documents + extra, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=text.START,
        eos_token=text.END,
        pad_token=text.PAD,
        chat_template=text.CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.05,
        )
    )


def batches(token_lists: list[list[int]], size: int, pad: int, seed: int, chunk: int = 50) -> list[torch.Tensor]:
    """Batches in reading order: within each chunk of batches, documents of like length go together, and the batches are shuffled.
    Padding is on the right, so a causal model needs no mask."""
    shuffle = random.Random(seed).shuffle
    out = []
    for first in range(0, len(token_lists), chunk * size):
        rows = sorted(token_lists[first : first + chunk * size], key=len)
        group = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
        shuffle(group)
        out += [torch.tensor([row + [pad] * (len(batch[-1]) - len(row)) for row in batch]) for batch in group]
    return out


def answer_weights(ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast, weight: float) -> torch.Tensor:
    """`weight` for the tokens of assistant turns, 1 for other text, 0 for padding."""
    assistant = tokenizer.convert_tokens_to_ids("assistant")
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    header = torch.zeros_like(ids, dtype=torch.bool)
    header[:, 1:] = (ids[:, 1:] == assistant) & (ids[:, :-1] == start)
    opened = torch.where(header, positions, -1).cummax(1).values
    closed = torch.where(ids == end, positions, -1).cummax(1).values
    closed = torch.cat([torch.full_like(closed[:, :1], -1), closed[:, :-1]], 1)  # the end token itself still counts
    weights = torch.where(opened > closed, weight, 1.0)
    return weights * (ids != pad)


def train(model, tokenizer, documents, *, batch_size, learning_rate, weight, seed, log=print) -> list[float]:
    """One pass over the documents. Returns the mean weighted loss of each step."""
    token_lists = [ids[:MAX_POSITIONS] for ids in tokenizer(documents, add_special_tokens=False)["input_ids"]]
    todo = batches(token_lists, batch_size, tokenizer.pad_token_id, seed)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}], lr=learning_rate, betas=(0.9, 0.98)
    )
    warmup = max(1, min(100, len(todo) // 10))
    model.train()
    losses, began = [], time.time()
    for step, ids in enumerate(todo):
        rate = min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / len(todo))))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        token_loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weights = answer_weights(ids, tokenizer, weight)[:, 1:].flatten()
        loss = (token_loss * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if log and (step % 250 == 0 or step + 1 == len(todo)):
            recent = losses[-100:]
            log(
                f"step {step + 1}/{len(todo)}  loss {sum(recent) / len(recent):.4f}  {time.time() - began:.0f} s", flush=True
            )
    return losses


def script_hash() -> str:
    """One hash over the scripts that decide the weights."""
    here = Path(__file__).resolve().parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in ["train_tiny.py", "tiny_text.py"])).hexdigest()


def save(model, tokenizer, out: Path, facts: dict) -> dict:
    """Round the weights to bfloat16, write the folder, and describe it in MANIFEST.json."""
    out.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out, save_jinja_files=False)
    settings_file = out / "tokenizer_config.json"
    settings = {
        **json.loads(settings_file.read_text()),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }  # older releases know this name too
    settings_file.write_text(json.dumps(settings, indent=2) + "\n")
    for file in out.iterdir():
        file.chmod(0o644)
    manifest = {
        **facts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "script_sha256": script_hash(),
        "model_sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "tokenizer_sha256": hashlib.sha256((out / "tokenizer.json").read_bytes()).hexdigest(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }
    (out / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def build(
    out: Path,
    *,
    seed=0,
    steps=2400,
    batch_size=32,
    vocabulary=1024,
    width=96,
    layers=6,
    learning_rate=2e-3,
    answer_weight=4.0,
    log=print,
) -> dict:
    """The whole way from seed to folder; returns the manifest."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    documents = text.documents(seed, steps * batch_size)
    tokenizer = make_tokenizer(documents[:20000], vocabulary)
    model = make_model(tokenizer, width, layers)
    began = time.time()
    losses = train(
        model,
        tokenizer,
        documents,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight=answer_weight,
        seed=seed,
        log=log,
    )
    if log:
        log(f"trained {sum(p.numel() for p in model.parameters())} parameters in {time.time() - began:.0f} s")
    last = losses[-max(1, len(losses) // 25) :]
    return save(
        model,
        tokenizer,
        out,
        {
            "model": "builtin:tiny",
            "seed": seed,
            "steps": len(losses),
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "answer_weight": answer_weight,
            "width": width,
            "layers": layers,
            "vocabulary": len(tokenizer),
            "first_loss": round(losses[0], 6),
            "training_loss": round(sum(last) / len(last), 6),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--answer-weight", type=float, default=4.0)
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    print(json.dumps(build(out, **arguments), indent=2))
    AutoModelForCausalLM.from_pretrained(out)  # the folder loads


if __name__ == "__main__":
    main()
