"""The tokens that end an answer."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from .loaded import Model
from .tokens import Ids

_breaks: WeakKeyDictionary[Model, Ids] = WeakKeyDictionary()


def end_tokens(model: Model) -> frozenset[int]:
    """The tokens at which the model's generation_config ends a text."""
    ends = getattr(getattr(model.hf, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, (list, tuple)) else [ends])


def answer_ends(model: Model) -> Ids:
    """The tokens that end an answer of one line, in order: those that begin with a line break, spaces before it or not, the
    tokenizer's end-of-text token, and those of the model's generation_config.

    The tokenizer is asked once for each of its tokens, and what it says is remembered.
    """
    vocabulary = int(model.hf.config.get_text_config(decoder=True).vocab_size)
    tokenizer = model.tokenizer
    if model not in _breaks:
        texts = [
            tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in range(min(len(tokenizer), vocabulary))
        ]
        _breaks[model] = tuple(token for token, text in enumerate(texts) if text.lstrip(" ").startswith(("\n", "\r")))
    ends = {*_breaks[model], *end_tokens(model), tokenizer.eos_token_id}
    return tuple(sorted(token for token in ends if token is not None and 0 <= token < vocabulary))
