"""Windows over a text that is longer than a model takes, so that each token is scored exactly once.

As in the transformers documentation on the perplexity of fixed-length models: windows of ``window`` tokens begin every ``stride`` tokens,
and each scores the tokens that no earlier one has scored. So all but the first window's tokens have at least ``window - stride`` tokens
before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SteerError


@dataclass(frozen=True)
class Window:
    """Tokens ``start`` to ``end`` of a text, of which those from ``scored`` on are scored. Places count from the text's start."""

    start: int
    end: int
    scored: int


@dataclass(frozen=True)
class Windows:
    """How long texts are cut.

    Attributes:
        size: tokens of a window, at least 2. stride: by how many tokens the next one begins later, from 1 to ``size - 1``.
    """

    size: int
    stride: int

    def over(self, tokens: int, first: int) -> list[Window]:
        """The windows over a text.

        Args:
            tokens: of the text. first: the first one that is scored, at least 1.
        """
        found, start, scored = [], 0, first
        while scored < tokens:
            end = min(start + self.size, tokens)
            if end > scored:
                found.append(Window(start, end, scored))
                scored = end
            start += self.stride
        return found


def windows_for(longest: int | None, model: str, window: int | None, stride: int | None) -> Windows | None:
    """The windows that a user asks for; None if no text is cut.

    Args:
        longest: what the model takes at most; None if it does not say.
        window: tokens of a window; by default as many as the model takes. stride: by default half a window.

    Raises:
        SteerError: a window or stride that cannot be used.
    """
    if window is None and stride is None:
        return None
    for name, value, least in (("window", window, 2), ("stride", stride, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise SteerError(f"{name} is a number of tokens, at least {least}, not {value!r}")
    size = window if window is not None else longest
    if size is None:
        raise SteerError(
            f"stride {stride}: {model} does not say how many tokens it takes. Give the window too, such as window 1024"
        )
    if longest is not None and size > longest:
        raise SteerError(f"window {size}: {model} takes at most {longest} tokens. Write window {longest}, or less")
    step = stride if stride is not None else size // 2
    if step >= size:
        raise SteerError(
            f"stride {step} is not smaller than the window of {size} tokens, so a window's first token would have nothing before it. "
            f"Write stride {size // 2}"
        )
    return Windows(size, step)
