"""Convert GGUF files, once each, into transformers folders in the user's cache.

Reading a GGUF file through transformers takes tens of seconds, most of it spent parsing the tokenizer's lists again
and again. transformers itself does the conversion, so every architecture that it reads works here, with the same logits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.columns import message_of
from ..core.errors import ModelError
from ..core.run_context import report_progress
from ..steering.formats.gguf_file import open_gguf
from .weights import check_complete, unexpected_weights

# Increased when conversions by an older version can no longer be used.
_FORMAT = 3
_ROPE_FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def cache_folder() -> Path:
    """``$PYTEST_STEER_CACHE``, else ``pytest-steer`` under the user's cache folder."""
    given = os.environ.get("PYTEST_STEER_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pytest-steer"


def converted(file: Path) -> Path:
    """The transformers folder of a GGUF file, which is converted if that has not been done yet.

    The folder is named by the SHA-256 of the file, so a changed file is converted again. Its files are checked by
    hash on every use; one that is damaged, or that holds any other file, is deleted and made again.

    Raises:
        ModelError: transformers cannot read the file, the file lacks weights, or the cache folder cannot be written.
    """
    digest = file_hash(file)
    folder = cache_folder() / "models" / f"{digest[:32]}-{_FORMAT}"
    if _is_whole(folder, digest):
        return folder
    report_progress(f"converting {file.name} once (kept in {folder})")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"{file}: the cache folder {folder.parent} cannot be written ({error.strerror}); "
            "set PYTEST_STEER_CACHE to one that can"
        ) from None
    try:
        _convert(file, work, digest)
        os.replace(work, folder)
    except OSError as error:
        # Another process may have been faster. Its result is as good as ours if it is whole.
        if not _is_whole(folder, digest):
            raise ModelError(f"{file}: the conversion cannot be kept in {folder.parent}: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def stored_in(file: Path) -> str:
    """The type in which most of the weights of a GGUF file are stored, such as ``Q4_1``; ``F32``, ``F16`` and ``BF16`` are not quantised."""
    counts: Counter[str] = Counter()
    for tensor in open_gguf(file).tensors:
        counts[tensor.tensor_type.name] += int(tensor.n_elements)
    return counts.most_common(1)[0][0]


def left_out_of(folder: Path) -> tuple[str, ...]:
    """Names of the weights in a converted GGUF file that its model has no place for."""
    record: Any = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
    return tuple(record["unexpected"])


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing progress bars in the body. The user's setting is restored afterwards."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        record: Any = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
        kept: dict[str, str] = record["files"]
        # A file that was put there would be used too: a chat template, code, further weights.
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
        same = record["gguf_sha256"] == digest and bool(kept) and there == {*kept, "conversion.json"}
        return same and all(file_hash(folder / name) == expected for name, expected in kept.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _convert(file: Path, work: Path, digest: str) -> None:
    import torch
    import transformers
    from safetensors.torch import save_model

    try:
        with quiet_transformers():
            hf: Any
            info: Any
            hf, info = transformers.AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
                file.parent, gguf_file=file.name, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # transformers raises nearly anything on a file that it cannot read
        raise ModelError(f"{file}: transformers cannot read this GGUF file: {message_of(error)}") from None
    # Before anything is kept: in the folder, random numbers are weights like others.
    check_complete(str(file), hf, info)
    # transformers marks the model as quantised and then refuses to save it; its weights are plain float32 by now.
    if hasattr(hf.config, "quantization_config"):
        del hf.config.quantization_config
    hf.config.architectures = [type(hf).__name__]
    unexpected = sorted({*unexpected_weights(hf, info), *_not_read(file, hf)})
    try:
        hf.config.save_pretrained(work)
        hf.generation_config.save_pretrained(work)
        tokenizer.save_pretrained(work)
        save_model(hf, str(work / "model.safetensors"), metadata={"format": "pt"})
        record = {
            "gguf": file.name,
            "gguf_sha256": digest,
            "unexpected": unexpected,
            "files": {path.name: file_hash(path) for path in sorted(work.iterdir())},
            "transformers": transformers.__version__,
        }
        (work / "conversion.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    except Exception as error:  # safetensors and tokenizers each have an error of their own for a full disk
        raise ModelError(
            f"{file}: the conversion cannot be kept in {work.parent}: {error}; make room there (it takes about 4 bytes per parameter), or "
            "set PYTEST_STEER_CACHE to a folder that has some"
        ) from None


def _not_read(file: Path, hf: Any) -> Iterator[str]:
    """Tensors that transformers ignores silently: blocks after the model's last one, and factors of rotary frequencies.

    Llama 3 and Phi 3 need those factors, which transformers knows from a configuration only.
    """
    config = hf.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    scales_rope = rope.get("rope_type", "default") != "default"
    for name in (tensor.name for tensor in open_gguf(file).tensors):
        block = re.match(r"blk\.(\d+)\.", name)
        if (block and int(block[1]) >= config.num_hidden_layers) or (name in _ROPE_FACTORS and not scales_rope):
            yield name
