"""Where in a block hidden states are read or changed (its output, its MLP's output, its heads' outputs), and whether an intervention fits
there: layers, width, and the model and chat template that it was made on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, VectorError
from ..steering import Intervention, Site, check_depth
from .abilities import setting_at
from .model import Model
from .state import check_layer

See = Callable[[torch.Tensor], torch.Tensor | None]

# Their names in transformers: the MLP of a block (OPT has its second linear layer there instead), the attention of a
# block, and the output projection of an attention.
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "fc2", "shared_mlp", "mlp_block")
# A second MLP next to the first, as in Granite's mixtures of experts and LongCat: the block adds the sum of both.
_SECOND_MLP = ("shared_mlp", "mlps")
_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
# Names of an attention or a recurrence, layer by layer (Nemotron-H, RecurrentGemma).
_MIXER = ("mixer", "temporal_block")
_PROJECTION = ("o_proj", "out_proj", "c_proj", "dense", "wo", "Wo")


def hidden_of(output: Any) -> torch.Tensor:
    """The hidden states of a block's output: most blocks of transformers 5 return a tensor, some a tuple or list that starts with it."""
    hidden: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return hidden


def with_hidden(output: Any, hidden: torch.Tensor) -> Any:
    """A block's output with other hidden states."""
    return type(output)((hidden, *output[1:])) if isinstance(output, (tuple, list)) else hidden


@contextmanager
def attached(model: Model, layers: Iterable[int], site: Site, see: Callable[[int], See]) -> Iterator[None]:
    """Hook a function to a site of each layer while the body runs.

    Args:
        see: makes the function of a layer. That gets the hidden states and returns the changed ones, or None to leave them. They
            are [rows, positions, width], but [rows * positions, width] inside the blocks of some models (OPT).

    Raises:
        ModelError: the block has no such site as far as can be told, or its output is not one hidden state per token. A
            forward raises it too if the model goes past the site.
    """
    with ExitStack() as stack:
        for layer in layers:
            check_layer(model, layer)
            if site == "block":
                stack.enter_context(model.blocks[layer].register_forward_hook(_on_output(see(layer))))
            else:
                _attach_inside(stack, model, layer, site, see(layer))
        yield


def _on_output(see: See) -> Callable[[Any, Any, Any], Any]:
    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        changed = see(hidden_of(output))
        return None if changed is None else with_hidden(output, changed)

    return hook


def _attach_inside(stack: ExitStack, model: Model, layer: int, site: Site, see: See) -> None:
    """Hook a function to the MLP or the heads of a block, and to the block a check that they ran."""
    passed = False

    def seen(hidden: torch.Tensor) -> torch.Tensor | None:
        nonlocal passed
        passed = True
        return see(hidden)

    def on_input(_module: Any, args: Any) -> Any:
        changed = seen(args[0])
        return None if changed is None else (changed, *args[1:])

    def after_block(_module: Any, _inputs: Any, _output: Any) -> None:
        nonlocal passed
        if not passed:
            raise ModelError(f"{model.id}: block {layer} ran without its {site} site, so nothing was steered there")
        passed = False

    if site == "mlp":
        stack.enter_context(mlp_of(model, layer).register_forward_hook(_on_output(seen)))
    else:
        stack.enter_context(output_projection(model, layer)[0].register_forward_pre_hook(on_input))
    stack.enter_context(model.blocks[layer].register_forward_hook(after_block))


def mlp_of(model: Model, layer: int) -> nn.Module:
    """The module whose output the block's MLP adds to the residual stream (a norm that follows it, as in Gemma 2, comes later).

    Raises:
        ModelError: not found.
    """
    block = model.blocks[layer]
    found = _child(block, _MLP)
    if found is None:
        raise ModelError(_not_found(model, layer, "MLP", _MLP, block))
    second = _child(block, _SECOND_MLP)
    if second is not None and second is not found:
        raise ModelError(
            f"{model.id}: block {layer} ({type(block).__name__}) adds up two MLPs ({_name_of(block, found)} and "
            f"{_name_of(block, second)}), so no one module gives its MLP's output; use the block's own output"
        )
    if "residual" in inspect.signature(found.forward).parameters:
        # BLOOM and MPT add the residual stream inside of their MLP: its last linear layer gives what is added.
        linear = [
            module for module in found.children() if isinstance(module, nn.Linear) and module.out_features == model.width
        ]
        if not linear:
            raise ModelError(_not_found(model, layer, "last linear layer of the MLP", ("one of the model's width",), found))
        return linear[-1]
    return found


def output_projection(model: Model, layer: int) -> tuple[nn.Module, int]:
    """W_O, the module that reads the outputs of the attention heads side by side, and the width that it reads.

    Raises:
        ModelError: not found, or its input cannot be divided into heads.
    """
    attention = _attention_of(model, layer)
    found = _child(attention, _PROJECTION)
    if isinstance(found, nn.Linear):
        return found, found.in_features
    weight = getattr(found, "weight", None)
    if found is not None and type(found).__name__ == "Conv1D" and isinstance(weight, torch.Tensor):
        # GPT-2 keeps its weights the other way round.
        return found, int(weight.shape[0])
    raise ModelError(_not_found(model, layer, "output projection of the attention", _PROJECTION, attention))


def _attention_of(model: Model, layer: int) -> nn.Module:
    block = model.blocks[layer]
    attention = _child(block, _ATTENTION)
    mixer = _child(block, _MIXER)
    if attention is None and mixer is not None and "q_proj" in dict(mixer.named_children()):
        return mixer
    if attention is None:
        raise ModelError(_not_found(model, layer, "attention", _ATTENTION, block))
    # GPT-Neo and others keep the attention proper one level further in.
    return _child(attention, _ATTENTION) or attention


def n_heads(model: Model, layer: int) -> int:
    """Number of attention heads of a block.

    Raises:
        ModelError: neither the attention nor the configuration tells, or see :func:`output_projection`.
    """
    _, width = output_projection(model, layer)
    attention = _attention_of(model, layer)
    counts = [getattr(attention, name, None) for name in ("num_heads", "num_attention_heads", "n_heads", "n_head")]
    for count in (*counts, setting_at(model.config, layer, "num_attention_heads")):
        if isinstance(count, int) and count > 0 and width % count == 0:
            return count
    raise ModelError(
        f"{model.id}: neither the attention of block {layer} nor the configuration says how many heads the width {width} has, so "
        "they cannot be told apart"
    )


def layers_with_heads(model: Model) -> tuple[int, ...]:
    """The layers whose heads can be told apart; hybrid models have attention in some of their blocks only.

    Raises:
        ModelError: there are none, with the reason for the first block.
    """
    found, first = [], None
    for layer in range(model.n_layers):
        try:
            check_layer(model, layer)
            n_heads(model, layer)
            found.append(layer)
        except ModelError as error:
            first = first or error
    if not found and first is not None:
        raise first
    return tuple(found)


def site_width(model: Model, layer: int, site: Site) -> int:
    """Width of the hidden states at a site.

    Raises:
        ModelError: the block has no such site as far as can be told.
    """
    if site == "heads":
        return output_projection(model, layer)[1]
    if site == "mlp":
        mlp_of(model, layer)
    return model.width


def _child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    children = dict(module.named_children())
    return next((children[name] for name in names if name in children), None)


def _name_of(parent: nn.Module, module: nn.Module) -> str:
    return next(name for name, child in parent.named_children() if child is module)


def _not_found(model: Model, layer: int, what: str, names: tuple[str, ...], module: nn.Module) -> str:
    children = ", ".join(name for name, _ in module.named_children())
    return (
        f"{model.id}: the {what} of block {layer} ({type(module).__name__}) was not found. Looked for {', '.join(names)}; it has: "
        f"{children or 'nothing'}"
    )


def check_fits(model: Model, intervention: Intervention, allow_mismatch: tuple[str, ...] = ()) -> None:
    """Refuse an intervention that was not made for this model.

    Args:
        allow_mismatch: ``model`` accepts a vector made on another model, ``template`` one made under another
            chat template. Width and layers have to fit always.

    Raises:
        VectorError: layers out of range, a stack whose rows are not the model's blocks, another width, another model, or another
            template.
        ModelError: the model has no such site inside of its blocks as far as can be told, or see ``check_layer``.
    """
    check_depth(intervention.metadata, model.n_layers, model.id)
    missing = [layer for layer in intervention.layers if layer >= model.n_layers]
    if missing:
        raise VectorError(
            f"the intervention acts on layer {missing[0]}, but {model.id} has {model.n_layers} decoder blocks "
            f"(0 to {model.n_layers - 1})"
        )
    for layer in intervention.layers:
        check_layer(model, layer)
        width = site_width(model, layer, intervention.site)
        if intervention.width not in (None, width):
            site = f"at layer {layer} the site {intervention.site!r} of " if intervention.site != "block" else ""
            raise VectorError(f"the vector has width {intervention.width}, but {site}{model.id} has width {width}")
    record = intervention.metadata
    other = mismatches(model, intervention)
    made_on = record.get("model_fingerprint")
    if "model" in other and "model" not in allow_mismatch:
        raise VectorError(
            f"the vector was made on another model ({record.get('model')}, fingerprint {str(made_on)[:12]}) than the one "
            f"under test ({model.id}, fingerprint {model.fingerprint[:12]}). Extract it again on this model, or accept it "
            "knowingly: allow_mismatch: [model]"
        )
    template = record.get("template_hash")
    if "template" in other and "template" not in allow_mismatch:
        raise VectorError(
            f"the vector was made under another chat template (hash {str(template)[:12]}) than the one of {model.id} "
            f"(hash {model.template_hash[:12]}). Extract it again under this template, or accept it knowingly: "
            "allow_mismatch: [template]"
        )


def mismatches(model: Model, intervention: Intervention) -> tuple[str, ...]:
    """Differences between the model and what an intervention was made with: ``model``, ``template``."""
    made = {
        what: intervention.metadata.get(key) for what, key in (("model", "model_fingerprint"), ("template", "template_hash"))
    }
    # A fingerprint takes seconds, so it is taken where there is another to compare it with.
    own = {"model": lambda: model.fingerprint, "template": lambda: model.template_hash}
    return tuple(what for what, value in made.items() if value is not None and value != own[what]())


def mismatch_warnings(model: Model, intervention: Intervention) -> list[str]:
    """Warnings about the mismatches of an intervention that ``allow_mismatch`` accepted."""
    made_on = intervention.metadata.get("model")
    words = {"model": f"on the model {made_on}, not on {model.id}", "template": "under another chat template"}
    found = [words[what] for what in mismatches(model, intervention)]
    return [f"allow_mismatch accepted a vector that was made {' and '.join(found)}"] if found else []
