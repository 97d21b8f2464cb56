"""The model under test: a transformers model, its tokenizer, its blocks and its identity."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from ..errors import ModelError
from ..prompting import PromptFormat
from .blocks import find_blocks
from .chat_template import render_chat
from .tensor_bytes import checksum, hash_of_bytes
from .weights import without_values

R = TypeVar("R")
_looked_at: ContextVar[dict[tuple[object, ...], int] | None] = ContextVar("steer_looked_at", default=None)

# Settings of a configuration that say how it was stored or is run, not what the model computes.
_NOT_IDENTITY = {
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache",
    "_attn_implementation", "_attn_implementation_autoset", "quantization_config", "output_hidden_states",
    "output_attentions", "return_dict",
}  # fmt: skip


@dataclass(eq=False)
class Model:
    """A decoder-only transformers model, its tokenizer and its blocks.

    Attributes:
        hf: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        id: the name it was loaded by.
        unexpected: names of weights in its files that it has no place for and that were left out on request.
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
        """The same; in ``looked_at_once`` what bypasses torch's count of writes (``.data``) is looked for once."""
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
    """A configuration without the settings that say how it is stored or run, at every depth."""
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
