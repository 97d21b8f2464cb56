"""The model under test: a transformers model, its tokenizer, its decoder blocks, its identity, and its weights as a checksum and a hash."""

from __future__ import annotations

import datetime
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ..core.columns import message_of
from ..core.errors import ModelError
from ..prompting import PromptFormat
from ..prompting.chat import Message

R = TypeVar("R")
_looked_at: ContextVar[dict[tuple[object, ...], int] | None] = ContextVar("steer_looked_at", default=None)

# Settings about storage and running, which do not change what the model computes.
_NOT_IDENTITY = {
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache",
    "_attn_implementation", "_attn_implementation_autoset", "quantization_config", "output_hidden_states",
    "output_attentions", "return_dict",
}  # fmt: skip


Inputs = dict[str, Any]
"""Keyword arguments of a model's forward, whose names its class chooses."""


@dataclass(eq=False)
class Model:
    """A decoder-only transformers model, its tokenizer and its blocks.

    Attributes:
        hf: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        id: the name it was loaded by.
        unexpected: names of weights in its files that its class does not have, left out on request.
        steering_blocks: how many ``steered`` blocks are open on it.
        kept: results of functions that run once per model, see ``once_per_model``.
        loaded_weights: ``weights_checksum`` of a model that a run has loaded by its name; None for any other.
    """

    hf: Any
    tokenizer: Any
    id: str
    unexpected: tuple[str, ...] = ()
    steering_blocks: int = field(init=False, default=0, repr=False)
    kept: dict[Callable[[Model], Any], Any] = field(init=False, default_factory=dict, repr=False)
    loaded_weights: int | None = field(init=False, default=None, repr=False)
    _fingerprint: tuple[int, str] | None = field(init=False, default=None, repr=False)
    _format: tuple[Any, PromptFormat] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.hf.eval()
        self.backbone, self.blocks = find_blocks(self.hf)

    def __repr__(self) -> str:
        return f"<Model {self.id}: {type(self.hf).__name__}, {self.n_layers} layers, width {self.width}, {self.dtype} on {self.device}>"

    @property
    def format(self) -> PromptFormat:
        """How a conversation becomes text for it, by the chat template that its tokenizer has now."""
        template = getattr(self.tokenizer, "chat_template", None)
        if self._format is None or self._format[0] != template:
            self._format = (template, _prompt_format(self.tokenizer))
        return self._format[1]

    @property
    def config(self) -> Any:
        """The configuration of its decoder, which is a part of the whole one for models that also read pictures or sound."""
        return self.hf.config.get_text_config(decoder=True)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Width of the residual stream, which is that of every block's output."""
        return int(self.config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the model has a logit for."""
        return int(self.config.vocab_size)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.hf.parameters()).device
        return device

    @property
    def dtype(self) -> str:
        return str(next(self.hf.parameters()).dtype).removeprefix("torch.")

    @property
    def max_positions(self) -> int | None:
        """The longest sequence the model was made for, or None if its configuration does not say."""
        limit = getattr(self.config, "max_position_embeddings", None)
        return int(limit) if isinstance(limit, int) and limit > 0 else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration and of all weights, rounded to bfloat16.

        The rounding makes it the same for one checkpoint loaded as float32 or as bfloat16, so it says where a vector was made. What
        is remembered goes by ``bytes_hash``.
        """
        state = self.known_state()
        if self._fingerprint is None or self._fingerprint[0] != state:
            self._fingerprint = (state, self._compute_fingerprint())
        return self._fingerprint[1]

    @property
    def bytes_hash(self) -> str:
        """SHA-256 of the weights and buffers as they are in memory."""
        buffers = {f"buffer {name}": value for name, value in self.hf.named_buffers()}  # some are not in the state_dict
        values = {**self.hf.state_dict(), **buffers}
        return hash_of_bytes(sorted((name, value) for name, value in values.items() if isinstance(value, torch.Tensor)))

    def weights_checksum(self) -> int:
        """Of the weights and the buffers that its files hold, by their values."""
        held = self.hf.state_dict().values()
        return checksum([value for value in held if isinstance(value, torch.Tensor) and not value.is_meta])

    def weights_state(self) -> int:
        """A number that changes when weights or buffers (rotary frequencies, ...) are changed in memory, in whichever way."""
        return hash((self._written(), self._checksum()))

    def known_state(self) -> int:
        """As ``weights_state``; within ``looked_at_once``, writes that bypass torch's count (``.data``) are looked for once."""
        written, known = self._written(), _looked_at.get()
        if known is None:
            return hash((written, self._checksum()))
        if (id(self), written) not in known:
            known[id(self), written] = self._checksum()
        return hash((written, known[id(self), written]))

    def _written(self) -> tuple[tuple[int, int], ...]:
        """Which weights and buffers there are, and how often torch has seen each of them written."""
        values = [*self.hf.parameters(), *self.hf.buffers()]
        return tuple((id(value), 0 if value.is_inference() else value._version) for value in values)

    def _checksum(self) -> int:
        weights = list(self.hf.parameters())
        if any(weight.is_meta for weight in weights):
            raise ModelError(without_values(self.id, self.hf))
        return checksum([*weights, *(buffer for buffer in self.hf.buffers() if not buffer.is_meta)])

    def _compute_fingerprint(self) -> str:
        digest = hashlib.sha256()
        config = identity_of(self.hf.config.to_dict())
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for name, value in sorted(self.hf.state_dict().items()):
            digest.update(f"{name}{list(value.shape)}".encode())
            kept = value.to(torch.bfloat16).view(torch.int16) if value.is_floating_point() else value
            digest.update(kept.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def template_hash(self) -> str:
        """Identity of the chat template, or of the plain question-and-answer form."""
        return self.format.hash


@contextmanager
def looked_at_once() -> Iterator[None]:
    """Read all weights once in the body, which is one measurement, to see whether they were changed."""
    token = _looked_at.set({})
    try:
        yield
    finally:
        _looked_at.reset(token)


def once_per_model(function: Callable[[Model], R]) -> Callable[[Model], R]:
    """Decorate a function of a model to run once per model. Its result is in ``model.kept``, under the decorated function."""

    @functools.wraps(function)
    def kept(model: Model) -> R:
        # In the model and not in a table of models: an engine holds its model, which such a table would keep for good.
        if kept not in model.kept:
            model.kept[kept] = function(model)
        result: R = model.kept[kept]
        return result

    return kept


def identity_of(config: Any) -> Any:
    """A configuration without its settings about storage and running, at every depth."""
    if not isinstance(config, dict):
        return config
    return {key: identity_of(value) for key, value in config.items() if key not in _NOT_IDENTITY}


def _prompt_format(tokenizer: Any) -> PromptFormat:
    template = getattr(tokenizer, "chat_template", None)
    # Several named templates in one tokenizer: transformers' own choice.
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    markers = tuple(sorted(tokenizer.get_added_vocab()))
    render_with = functools.partial(render_chat, tokenizer)
    if not template:
        return PromptFormat(markers=markers, render_with=render_with)
    return PromptFormat(
        template=template, render=functools.partial(render_with, template), markers=markers, render_with=render_with
    )


# What a list of blocks is called, for the choice among several lists of the right length.
_USUAL = ("layers", "layer", "h", "blocks", "block")
# Parts of the names of modules that read pictures or sound.
_OTHER_SENSES = ("vision", "visual", "image", "audio", "video", "speech", "sound", "vqmodel")


def find_blocks(hf: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The module that takes tokens and runs the decoder's blocks one after the other, and the blocks.

    A list of modules counts as the blocks if its length is the depth in the configuration and each of its members has at least
    two submodules. Whether the model runs them in that order is checked later (``state.py``).

    Raises:
        ModelError: the model is an encoder-decoder or fills masks, or no list or more than one fits.
    """
    config = hf.config
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{type(hf).__name__} is an encoder-decoder; steering claims need a decoder-only language model")
    if "MaskedLM" in type(hf).__name__:
        raise ModelError(
            f"{type(hf).__name__} fills masked tokens in and does not predict the next one; steering claims need a decoder-only "
            "language model"
        )
    text = config.get_text_config(decoder=True)
    depth = _depth(text)
    if depth is None:
        raise ModelError(f"{type(hf).__name__}: its configuration has no num_hidden_layers, so its blocks cannot be counted")
    lists = [
        (name, module) for name, module in hf.named_modules() if isinstance(module, nn.ModuleList) and _is_text(name, module)
    ]
    found = [(name, module) for name, module in lists if len(module) == depth]
    if not found:
        # LongCat counts each of its blocks as two layers.
        found = [(name, module) for name, module in lists if len(module) == getattr(text, "num_layers", None)]
    if len(found) > 1:
        found = [(name, module) for name, module in found if name.rpartition(".")[2] in _USUAL] or found
    if len(found) != 1:
        every = [f"{n} ({len(m)})" for n, m in hf.named_modules() if isinstance(m, nn.ModuleList)]
        raise ModelError(
            f"{type(hf).__name__}: the decoder blocks were not found. Looked for one module list of {depth} blocks "
            f"(num_hidden_layers), such as model.layers, transformer.h, gpt_neox.layers or model.decoder.layers; "
            f"found {[name for name, _ in found] or 'none'}; all lists: {', '.join(every) or 'none'}"
        )
    name, blocks = found[0]
    return _runner(hf, name), blocks


def _runner(hf: Any, name: str) -> nn.Module:
    """The innermost module around the blocks that takes tokens. BERT and its kin run their blocks in one that does not."""
    parts = name.split(".")[:-1]
    for end in range(len(parts), -1, -1):
        module = hf.get_submodule(".".join(parts[:end]))
        if "input_ids" in inspect.signature(module.forward).parameters:
            return module  # type: ignore[no-any-return]
    return hf.get_submodule(".".join(parts))  # type: ignore[no-any-return]


def _depth(text: Any) -> int | None:
    """How many blocks the decoder has. Configurations of BART and its kin call the depth of their encoder num_hidden_layers."""
    depths = (getattr(text, name, None) for name in ("decoder_layers", "num_decoder_layers", "num_hidden_layers"))
    return next((depth for depth in depths if isinstance(depth, int) and depth > 0), None)


def _is_text(name: str, blocks: nn.ModuleList) -> bool:
    if any(sense in name.lower() for sense in _OTHER_SENSES):
        return False
    # Blocks mix tokens and transform them: each has submodules of its own. Lists of norms or projections do not.
    return len(blocks) > 0 and all(len(list(block.children())) >= 2 for block in blocks)


# Formats of dates: what the date function is called with, and other text constants that could be one.
_DATE_FORMATS = (
    re.compile(r"strftime_now\(\s*(['\"])(?P<format>.*?)\1", re.DOTALL),
    re.compile(r"(['\"])(?P<format>(?:(?!\1)[^\n])*%(?:(?!\1)[^\n])*)\1"),
)

# transformers hands a template today's date through a function of this name. A macro of the same name replaces it.
_DATED = (
    "{%- macro strftime_now(format) %}"
    "{{ steer_dates[format] if format in steer_dates else raise_exception('the format ' ~ format ~ ' of a date is not known') }}"
    "{%- endmacro %}{{ '' }}"
)


def render_chat(
    tokenizer: Any, source: str, messages: Sequence[Message], opened: bool, *, date: str, **settings: Any
) -> str:
    """The text of a conversation under a chat template.

    Args:
        source: the template.
        opened: end with the generation prompt.
        date: ISO date that the template gets when it asks for today's.
        settings: what else the template is given (``enable_thinking``, ``tools``).

    Raises:
        ModelError: the template refuses the conversation, or is none.
    """
    if "strftime_now" in source:
        day = datetime.date.fromisoformat(date)
        formats = {found["format"] for pattern in _DATE_FORMATS for found in pattern.finditer(source)}
        settings["steer_dates"] = {format: day.strftime(format) for format in formats}
        source = _DATED + source
    try:
        text = tokenizer.apply_chat_template(
            list(messages), chat_template=source, tokenize=False, add_generation_prompt=opened, **settings
        )
    except Exception as error:  # templates raise what they like, through jinja2
        raise ModelError(f"the chat template cannot render {[m['role'] for m in messages]}: {message_of(error)}") from None
    return str(text)


_SHOWN = 3


def without_values(name: str, hf: Any) -> str:
    """The message about a model with weights on ``meta``, which have no values."""
    tensors = [*hf.named_parameters(), *hf.named_buffers()]
    weights = [weight for weight, value in tensors if value.is_meta]
    if any(getattr(getattr(module, "_hf_hook", None), "offload", False) for module in hf.modules()):
        return (
            f"{name}: {len(weights)} of its weights are offloaded by accelerate ({first_few(weights)}): between forwards they have no "
            "values that could be checked. Load it with a device_map that keeps all of it in memory"
        )
    return (
        f"{name}: {len(weights)} of its weights are on the device 'meta', so they have no values ({first_few(weights)}). Load them "
        "before you measure: load_model(...), or from_pretrained(...) without torch.device('meta')"
    )


def first_few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


# How many values of a tensor are compared at their places. A sum does not see two values that have changed places.
_SAMPLE = 64
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensors: Iterable[torch.Tensor]) -> int:
    """A number that changes with any single value of the tensors: the sum of the bits of each, and some values at their places.

    It reads every tensor once, as a forward of one token does. Changes that leave the sum and the sample as they were are missed.
    """
    seen: list[object] = []
    elsewhere: list[tuple[torch.Tensor, torch.Tensor]] = []
    for tensor in tensors:
        flat = tensor.detach().reshape(-1).contiguous()
        some = flat[:: max(1, flat.numel() // _SAMPLE)].contiguous().view(torch.uint8)
        if flat.device.type == "cpu":
            raw: np.ndarray[Any, Any] = flat.view(torch.uint8).numpy()
            whole = raw.nbytes // 8 * 8
            seen += (int(np.add.reduce(raw[:whole].view(np.uint64))), raw[whole:].tobytes(), some.numpy().tobytes())
        else:
            elsewhere.append((flat.view(_INTEGERS[min(8, flat.element_size())]).sum(dtype=torch.int64), some))
    if elsewhere:  # one wait for the device
        sums, samples = zip(*elsewhere, strict=True)
        place = sums[0].device  # a model can be on several
        together = torch.stack([one.to(place) for one in sums]), torch.cat([one.to(place) for one in samples])
        seen += (tuple(together[0].tolist()), together[1].cpu().numpy().tobytes())
    return hash(tuple(seen))


def hash_of_bytes(named: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes; a tensor under a second name is read once."""
    digest = hashlib.sha256()
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in named:
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        same = first.setdefault(place, name) if tensor.numel() else name
        digest.update(repr((name, same, str(tensor.dtype), tuple(tensor.shape))).encode())
        if same == name:
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
