"""Loading models, finding their blocks, running and steering forwards. Knows nothing of checks or pytest."""

from .activations import block_outputs, check_layers
from .engine import Engine
from .generation import Generation, generate
from .hooks import steering
from .loaded import Model
from .loading import load_model, wrap_model
from .probes import Probe
from .tokens import ItemTokens, encode, tokenize_item, tokenize_text

__all__ = [
    "Engine", "Generation", "ItemTokens", "Model", "Probe", "block_outputs", "check_layers", "encode",
    "generate", "load_model", "steering", "tokenize_item", "tokenize_text", "wrap_model",
]  # fmt: skip
