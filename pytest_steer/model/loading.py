"""Load the model under test, with or without a PEFT adapter; the models of one run are loaded once each.

All weights of a model have to be in its files, and all in its files have to be used.

GGUF files are converted, once each, into transformers folders in the user's cache. Reading one through transformers takes tens of seconds, most
of it spent parsing the tokenizer's lists again and again. transformers itself does the conversion, so every architecture that it reads works
here, with the same logits.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..core.columns import message_of, one_screen
from ..core.errors import ModelError, SteerError
from ..core.run_context import RunContext, report_progress
from ..core.sources import ModelSource, find_model
from ..steering.formats.gguf_file import open_gguf
from .engine import engine_of
from .memo import DiskMemo
from .model import Model, first_few

ADAPTER = "adapter_config.json"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

LoadingInfo = Mapping[str, Collection[Any]]
"""The result of ``from_pretrained(..., output_loading_info=True)`` next to the model: names of weights by what is wrong with them."""
_SUGGESTED = 4


def load_model(
    name: str | os.PathLike[str], *, dtype: str = "auto", device: str = "auto", allow_unexpected: Iterable[str] = ()
) -> Model:
    """Load a model for steering claims.

    Args:
        name: a local transformers folder, a ``.gguf`` file, a hub id, ``builtin:NAME`` or ``package:NAME``.
        dtype: ``float32``, ``bfloat16``, ``float16``; ``auto`` is float32 on a CPU and the checkpoint's own elsewhere.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...; ``auto`` is the best one present.
        allow_unexpected: regular expressions for names of weights in the files that the model has no place for. Those that match
            may be left out, as with ``["^mtp."]``. All others are an error, except those that transformers itself ignores.

    Raises:
        ModelError: the name means nothing, the model cannot be loaded, weights are missing from its files or left out, or its
            blocks cannot be found.
    """
    import transformers

    allowed = check_patterns(allow_unexpected)
    source = find_model(name)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    folder: Any = source.place
    left_out: tuple[str, ...] = ()
    if source.kind == "gguf" and source.path is not None:
        folder = converted(source.path)
        left_out = left_out_of(folder)
    report_progress(f"loading {source.id}")
    adapter = _adapter_in(source)
    try:
        with quiet_transformers(), _without_adapter(folder) if adapter else nullcontext(folder) as base:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            hf: Any
            info: Any
            hf, info = transformers.AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
                base, dtype=kind, output_loading_info=True, ignore_mismatched_sizes=True
            )
            if adapter:
                # Not by from_pretrained, which then says nothing of the base model's weights.
                added = hf.load_adapter(str(folder))
    except Exception as error:  # transformers, safetensors and the hub client raise nearly anything
        where = "the hub or its local cache" if source.kind == "hub" else str(folder)
        raise ModelError(f"model {source.id!r}: cannot be loaded from {where}: {_in_a_line(error)}") from error
    check_complete(source.id, hf, info)
    if adapter and added.missing_keys:
        raise ModelError(
            f"model {source.id!r}: the files of its PEFT adapter lack weights: {first_few(sorted(added.missing_keys))}"
        )
    unexpected = (*left_out, *unexpected_weights(hf, info))
    check_unexpected(source.id, hf, unexpected, allowed)
    try:
        hf.to(place)
    except RuntimeError as error:  # no memory left on the device, for one
        raise ModelError(f"model {source.id!r}: cannot be put on {place}: {_in_a_line(error)}") from error
    return Model(hf, tokenizer, source.id, unexpected)


def _in_a_line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {one_screen(first, share=0.75)}"


def check_patterns(allow_unexpected: Iterable[str]) -> tuple[str, ...]:
    """The patterns, if they are a list of regular expressions.

    Raises:
        ModelError: they are not.
    """
    if isinstance(allow_unexpected, str):
        raise ModelError(f"allow_unexpected is a list of patterns: write [{json.dumps(allow_unexpected)}]")
    patterns = tuple(allow_unexpected)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise ModelError(f"allow_unexpected: {pattern!r} is not a pattern; name weights, as in {json.dumps(['^mtp.'])}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ModelError(
                f"allow_unexpected: {pattern!r} is not a regular expression ({error}). It is looked for anywhere in a weight's "
                f"name, so a part of the name will do: {json.dumps([re.sub(r'[^0-9A-Za-z_.]', '', pattern) or '^mtp.'])}"
            ) from None
    return patterns


def check_complete(name: str, hf: Any, info: LoadingInfo) -> None:
    """Refuse a model with weights that its files do not have: transformers has filled them with random numbers.

    Args:
        name: of the model, for the error.
        info: what ``from_pretrained(..., output_loading_info=True)`` gave. It leaves out weights that are tied to others, and
            those that transformers ignores.

    Raises:
        ModelError: a weight is missing, or has another shape in the files.
    """
    reshaped = sorted(info["mismatched_keys"])
    missing = sorted(set(info["missing_keys"]) - {key for key, *_ in reshaped})
    others = sorted(info["unexpected_keys"])
    kind = type(hf).__name__
    if missing:
        beside = f" They hold {first_few(others)} instead, which it has no place for." if others else ""
        raise ModelError(
            f"model {name!r}: its files lack {_counted(missing, 'weight')} of {kind}: {first_few(missing)}.{beside} transformers fills such "
            "weights with random numbers, so another model would be measured. Save the whole model again with save_pretrained, or "
            "fetch its files again"
        )
    if reshaped:
        shown = [f"{key} {list(there)} in the files, {list(wanted)} in the model" for key, there, wanted in reshaped]
        raise ModelError(
            f"model {name!r}: {_counted(reshaped, 'weight')} of {kind} with another shape in the files: {first_few(shown)}. Correct "
            "config.json, or fetch the files again"
        )


def unexpected_weights(hf: Any, info: LoadingInfo) -> tuple[str, ...]:
    """Names of the weights in the files that the model does not have, except those that transformers itself ignores.

    Buffers that the model computes itself do not count, although older versions of transformers saved them.
    """
    computed = {name for name, _ in hf.named_buffers()}
    return tuple(sorted(set(info["unexpected_keys"]) - computed))


def check_unexpected(name: str, hf: Any, unexpected: Sequence[str], allow_unexpected: Sequence[str]) -> None:
    """Refuse a model that leaves weights of its files out, unless a pattern allows it.

    Args:
        allow_unexpected: regular expressions that are looked for in the weights' names (``re.search``).

    Raises:
        ModelError: a weight is left out and matches no pattern.
    """
    refused = [weight for weight in unexpected if not any(re.search(pattern, weight) for pattern in allow_unexpected)]
    if refused:
        # Both YAML and Python read a list that is written like this.
        line = json.dumps([*allow_unexpected, *_patterns(refused, [*hf.state_dict()])])
        raise ModelError(
            f"model {name!r}: its files hold {_counted(refused, 'weight')} that {type(hf).__name__} has no place for: "
            f"{first_few(refused)}. Without them, another model than the one that was saved would be measured. If that is what you "
            f"mean, say so with `allow_unexpected: {line}` beside `model:` in the claim file; in Python, load_model(..., "
            f"allow_unexpected={line})"
        )


def _patterns(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """A few patterns that match the names and no weight of the model."""
    starts = dict.fromkeys(_own_start(name, known) for name in names)
    if len(starts) > _SUGGESTED:
        starts = dict.fromkeys(f"^{name.split('.')[0]}." for name in names)
    return list(starts)[:_SUGGESTED]


def _own_start(name: str, known: Sequence[str]) -> str:
    parts = name.split(".")
    for count in range(1, len(parts)):
        start = ".".join(parts[:count]) + "."
        if not any(other.startswith(start) for other in known):
            return f"^{start}"
    return f"^{name}$"


def _counted(names: Sequence[object], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _adapter_in(source: ModelSource) -> bool:
    """Whether the model's folder holds a PEFT adapter next to the weights.

    Raises:
        ModelError: it does, and peft is not installed: transformers would leave the adapter out in silence.
    """
    if source.path is None or not source.path.is_dir():
        return False
    if not (source.path / ADAPTER).is_file():
        alone = next(source.path.glob("adapter_model*"), None)
        if alone is not None:
            raise ModelError(
                f"model {source.id!r}: its folder holds the weights of a PEFT adapter ({alone.name}) without {ADAPTER}, so they would be left "
                f"out in silence: add the file, or move {alone.name} away to measure the base model"
            )
        return False
    if importlib.util.find_spec("peft") is None:
        raise ModelError(
            f"model {source.id!r}: its folder holds a PEFT adapter ({ADAPTER}), and peft is not installed, so another model would be measured. "
            "Install it (pip install peft), or move the adapter's files away to measure the base model"
        )
    return True


@contextmanager
def _without_adapter(folder: Path) -> Iterator[str]:
    """The folder without its adapter: links to all other files."""
    with tempfile.TemporaryDirectory() as made:
        for entry in folder.iterdir():
            if not entry.name.startswith("adapter_"):
                (Path(made) / entry.name).symlink_to(entry.resolve())
        yield made


def wrap_model(hf: Any, tokenizer: Any, id: str = "in memory") -> Model:
    """Wrap a model that is already in memory, and put it into evaluation mode.

    Raises:
        ModelError: its blocks cannot be found, or there is no tokenizer.
    """
    if not hasattr(tokenizer, "get_added_vocab"):
        raise ModelError(
            f"wrap_model needs the model's tokenizer, not {type(tokenizer).__name__}: wrap_model(hf, AutoTokenizer.from_pretrained(path))"
        )
    return Model(hf, tokenizer, id)


def pick_device(device: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ModelError: unknown, or not present on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from None
    return place


def pick_dtype(dtype: str, device: torch.device) -> Any:
    """The torch dtype of that name; ``auto`` is float32 on a CPU, else the checkpoint's own.

    Raises:
        ModelError: unknown.
    """
    if dtype == "auto":
        # On a CPU the shape of a batch moves bfloat16 scores by 1e-2.
        return torch.float32 if device.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


class Models:
    """Loads the models of a run, with its score cache, once per name, dtype and device. A failure is raised again without another try."""

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self._loaded: dict[tuple[str, str, str], Model] = {}
        self._failed: dict[tuple[str, str, str, tuple[str, ...]], SteerError] = {}

    def load(
        self, name: str, *, dtype: str | None = None, device: str | None = None, allow_unexpected: Iterable[str] = ()
    ) -> Model:
        """The model of this name.

        Args:
            dtype / device: instead of the run's.
            allow_unexpected: patterns of weights that may be left out, in addition to those of the run.

        Raises:
            SteerError: the cache's folder cannot be used, or see ``pytest_steer.load_model``.
        """
        place = device or self.run.device
        key = (name, dtype or self._dtype_on(place), place)
        allowed = tuple(dict.fromkeys((*self.run.allow_unexpected, *check_patterns(allow_unexpected))))
        if (*key, allowed) in self._failed:
            raise self._failed[*key, allowed]
        try:
            if key not in self._loaded:
                disk = self._disk
                model = load_model(name, dtype=key[1], device=place, allow_unexpected=allowed)
                engine_of(model).disk = disk
                model.loaded_weights = model.weights_checksum()
                self._loaded[key] = model
            # Another claim file may have allowed what this one does not.
            check_unexpected(self._loaded[key].id, self._loaded[key].hf, self._loaded[key].unexpected, allowed)
        except SteerError as error:
            self._failed[*key, allowed] = error
            raise
        return self._loaded[key]

    def _dtype_on(self, device: str) -> str:
        return "bfloat16" if self.run.half_on_cpu and pick_device(device).type == "cpu" else self.run.dtype

    @cached_property
    def _disk(self) -> DiskMemo | None:
        return DiskMemo(self.run.cache) if self.run.cache is not None else None


def free_memory() -> None:
    """Free the memory of unused models: modules and hooks refer to each other in circles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_adapter(model: Model, folder: str | PathLike[str]) -> Model:
    """A copy of a model with the adapter of a folder on it. The model itself stays as it is.

    Raises:
        ModelError: peft is not installed, there is no adapter in the folder, or it does not fit the model.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"adapter {path}: there is no such folder")
    if not (path / ADAPTER).is_file():
        raise ModelError(f"adapter {path}: has no {ADAPTER}, so it is no folder of a PEFT adapter")
    try:
        config = json.loads((path / ADAPTER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"adapter {path}: its {ADAPTER} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"adapter {path}: its {ADAPTER} is not a JSON object")
    if "peft_type" not in config:
        raise ModelError(
            f"adapter {path}: its {ADAPTER} names no 'peft_type', so it is not known what kind of adapter it is"
        )
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"adapter {path}: needs peft, which is not installed: pip install 'pytest-steer[adapters]'")
    hf = copy.deepcopy(model.hf)
    try:
        with quiet_transformers():
            added = hf.load_adapter(str(path))
    except Exception as error:  # peft and transformers raise nearly anything
        raise ModelError(f"adapter {path}: cannot be put on {model.id}: {_in_a_line(error)}") from error
    wrong = {"lacks weights": added.missing_keys, "has weights that the model has no place for": added.unexpected_keys}
    for what, keys in wrong.items():
        if keys:
            raise ModelError(f"adapter {path}: {what}: {first_few(sorted(keys))}")
    hf.eval()
    return Model(hf, model.tokenizer, f"{model.id} with {path.name}", model.unexpected)


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
