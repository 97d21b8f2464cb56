"""Load models, find their blocks, run and steer forwards. Knows nothing of claims or pytest."""

from .activations import check_layers
from .engine import Engine, block_outputs, engine_of
from .hooks import steered
from .loading import load_model, wrap_model
from .model import Model
from .probes import Probe
from .replies import Generation, generate
from .sites import check_fits
from .tokens import answer_ends, encode, tokenize_answer, tokenize_item, tokenize_task, tokenize_text
from .writing import Drawing

__all__ = [
    "Drawing", "Engine", "Generation", "Model", "Probe", "answer_ends", "block_outputs", "check_fits", "check_layers",
    "encode", "engine_of", "generate", "load_model", "steered", "tokenize_answer", "tokenize_item", "tokenize_task", "tokenize_text",
    "wrap_model",
]  # fmt: skip
