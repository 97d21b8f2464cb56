"""The tokens that end an answer."""

from __future__ import annotations

from .loaded import Model, once_per_model
from .tokens import Ids


def end_tokens(model: Model) -> frozenset[int]:
    """The tokens at which the model's generation_config ends a text."""
    ends = getattr(getattr(model.hf, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, (list, tuple)) else [ends])


def answer_ends(model: Model) -> Ids:
    """The tokens that end an answer of one line, ascending: those that begin with a line break (after spaces or not), the
    tokenizer's end-of-text token, and those of the model's generation_config.

    The tokenizer decodes each of its tokens once per model.
    """
    vocabulary = model.vocabulary
    ends = {*_line_breaks(model), *end_tokens(model), model.tokenizer.eos_token_id}
    return tuple(sorted(token for token in ends if token is not None and 0 <= token < vocabulary))


@once_per_model
def _line_breaks(model: Model) -> Ids:
    """The tokens that begin with a line break, spaces before it or not."""
    tokens = range(min(len(model.tokenizer), model.vocabulary))
    texts = [model.tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in tokens]
    return tuple(token for token, text in enumerate(texts) if text.lstrip(" ").startswith(("\n", "\r")))
