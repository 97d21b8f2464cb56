"""The model under test: a transformers model with what the rest of the house needs to know of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ModelError, VectorError
from ..prompting import PromptFormat
from ..steering import Intervention, check_depth
from .blocks import find_blocks
from .chat_template import render_chat
from .state import check_ready, without_values
from .structure import Structure, hooks_lifted, look_at

if TYPE_CHECKING:
    from .abilities import Abilities
    from .engine import Engine

# How many values of each weight are looked at to see whether it was changed.
_WEIGHT_SAMPLE = 64

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
        unexpected: names of weights in its files that it has no place for, and that were left out on request.
        steering_blocks: how many ``steering`` blocks are open on it.
        generation_ways: which ways of generating several rows were tried on it, and whether they are right (generation.py).
    """

    hf: Any
    tokenizer: Any
    id: str
    unexpected: tuple[str, ...] = ()
    steering_blocks: int = field(init=False, default=0, repr=False)
    generation_ways: dict[tuple[str, bool], bool] = field(init=False, default_factory=dict, repr=False)
    _fingerprint: tuple[int, str] | None = field(init=False, default=None, repr=False)
    _structure: Structure | None = field(init=False, default=None, repr=False)
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
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Width of the residual stream, which is that of every block's output."""
        return int(self.hf.config.get_text_config(decoder=True).hidden_size)

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
        config = self.hf.config.get_text_config(decoder=True)
        limit = getattr(config, "max_position_embeddings", None)
        return int(limit) if isinstance(limit, int) and limit > 0 else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration and of all weights, rounded to bfloat16.

        The rounding makes it the same for one checkpoint loaded as float32 or as bfloat16; a training step changes it.
        """
        state = self.weights_state()
        if self._fingerprint is None or self._fingerprint[0] != state:
            self._fingerprint = (state, self._compute_fingerprint())
        return self._fingerprint[1]

    def weights_state(self) -> int:
        """A number that changes when weights are changed in memory, by a training step or a merged adapter.

        torch counts the writes to each tensor but for those through ``.data``, so some values of each are looked at too.
        """
        seen: list[object] = []
        for weight in self.hf.parameters():
            if weight.is_meta:
                raise ModelError(without_values(self))
            flat = weight.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _WEIGHT_SAMPLE)].float().cpu().numpy().tobytes()
            seen.append((id(weight), 0 if weight.is_inference() else weight._version, sample))
        for buffer in self.hf.buffers():  # rotary frequencies, corrections of routers
            if not buffer.is_meta:
                flat = buffer.detach().reshape(-1)
                seen.append(flat[:: max(1, flat.numel() // _WEIGHT_SAMPLE)].float().cpu().numpy().tobytes())
        return hash(tuple(seen))

    def structure(self) -> Structure:
        """What a first small forward showed of the blocks; run once.

        Raises:
            ModelError: the model does not run on tokens alone, or does not read from left to right.
        """
        if self._structure is None:
            check_ready(self)
            with hooks_lifted(self):
                self._structure = look_at(self)
        return self._structure

    def check_layer(self, layer: int) -> None:
        """Refuses a layer whose output is not one hidden state per token.

        Raises:
            ModelError: it is not, or see :meth:`structure`.
        """
        self.structure().check(self.id, layer)

    def _compute_fingerprint(self) -> str:
        digest = hashlib.sha256()
        config = _identity(self.hf.config.to_dict())
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

    @cached_property
    def abilities(self) -> Abilities:
        """What may be asked of its forwards beyond whole sequences; told once from what a short forward returns."""
        from .abilities import Abilities

        return Abilities.of(self)

    @cached_property
    def engine(self) -> Engine:
        """Runs and remembers forwards of this model."""
        from .engine import Engine

        return Engine(self)

    def check_fits(self, intervention: Intervention, allow_mismatch: tuple[str, ...] = ()) -> None:
        """Refuses an intervention that was not made for this model.

        Args:
            allow_mismatch: ``model`` accepts a vector made on another model, ``template`` one made under another
                chat template. Width and layers have to fit always.

        Raises:
            VectorError: layers out of range, a stack whose rows are not the model's blocks, another width, another model, or another
                template; says what to do.
            ModelError: the model has no such site inside of its blocks as far as can be told, or see :meth:`check_layer`.
        """
        check_depth(intervention.metadata, self.n_layers, self.id)
        beyond = [layer for layer in intervention.layers if layer >= self.n_layers]
        if beyond:
            raise VectorError(
                f"the intervention acts on layer {beyond[0]}, but {self.id} has {self.n_layers} decoder blocks "
                f"(0 to {self.n_layers - 1})"
            )
        for layer in intervention.layers:
            self.check_layer(layer)
        from .sites import site_width

        for layer in intervention.layers if intervention.site != "block" else ():
            width = site_width(self, layer, intervention.site)
            if intervention.width not in (None, width):
                raise VectorError(
                    f"the vector has width {intervention.width}, but at layer {layer} the site {intervention.site!r} of {self.id} "
                    f"has width {width}"
                )
        if intervention.site == "block" and intervention.width not in (None, self.width):
            raise VectorError(f"the vector has width {intervention.width}, but {self.id} has width {self.width}")
        record = intervention.metadata
        made_on = record.get("model_fingerprint")
        if "model" not in allow_mismatch and made_on is not None and made_on != self.fingerprint:
            raise VectorError(
                f"the vector was made on another model ({record.get('model')}, fingerprint {str(made_on)[:12]}) than the one "
                f"under test ({self.id}, fingerprint {self.fingerprint[:12]}). Extract it again on this model, or accept it "
                "knowingly: allow_mismatch: [model]"
            )
        template = record.get("template_hash")
        if "template" not in allow_mismatch and template is not None and template != self.template_hash:
            raise VectorError(
                f"the vector was made under another chat template (hash {str(template)[:12]}) than the one of {self.id} "
                f"(hash {self.template_hash[:12]}). Extract it again under this template, or accept it knowingly: "
                "allow_mismatch: [template]"
            )


def _identity(config: Any) -> Any:
    """A configuration without the settings that say how it is stored or run, at every depth."""
    if not isinstance(config, dict):
        return config
    return {key: _identity(value) for key, value in config.items() if key not in _NOT_IDENTITY}


def _prompt_format(tokenizer: Any) -> PromptFormat:
    template = getattr(tokenizer, "chat_template", None)
    # Several named templates in one tokenizer: transformers' own choice.
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    markers = tuple(sorted(tokenizer.get_added_vocab()))
    render_with = partial(render_chat, tokenizer)
    if not template:
        return PromptFormat(markers=markers, render_with=render_with)
    return PromptFormat(template=template, render=partial(render_with, template), markers=markers, render_with=render_with)
