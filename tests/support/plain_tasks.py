"""Tasks in context the plain way: write the prompt, decode greedily with whole forwards, read the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain


def prompt_of(shown: Any, query: str) -> str:
    """Todd et al. (2023): demonstrations, then the query with its answer open."""
    return "".join(f"Q: {x}\nA: {y}\n\n" for x, y in shown) + f"Q: {query}\nA:"


def start_of(tokenizer: Any, prompt: str, scope: str, include_first: bool = False) -> int:
    """The first steered token; the turn is what stands before the line of the open answer."""
    ids = plain.ids_of(tokenizer, prompt, True)
    turn = plain.ids_of(tokenizer, prompt[: prompt.rindex("\nA:")], True)
    return plain.start_of(scope, len(turn), len(ids), include_first)


def ends_line(tokenizer: Any, token: int, end_of_text: Any = ()) -> bool:
    """Whether a token ends the line: it is an end-of-text token, or a line break stands first in it."""
    text = tokenizer.decode([token])
    return token in end_of_text or text.lstrip(" ")[:1] in ("\n", "\r")


def line(
    hf: Any,
    tokenizer: Any,
    prompt: str,
    directions: Any = None,
    m: float = 0.0,
    scope: str = "last",
    include_first: bool = False,
    most: int = 8,
    end_of_text: Any = (),
) -> tuple[int, str | None]:
    """The first token that greedy decoding writes, and the text of its line with the space before it; None if the line does not end in time."""
    ids = plain.ids_of(tokenizer, prompt, True)
    start = start_of(tokenizer, prompt, scope, include_first)
    found: list[int] = []
    while len(found) < most:
        found.append(int(plain.logits(hf, ids + found, directions or {}, m, start)[-1].argmax()))
        if ends_line(tokenizer, found[-1], end_of_text):
            return found[0], tokenizer.decode(found[:-1])
    return found[0], None


def flags(
    hf: Any, tokenizer: Any, tasks: Any, shown_of: Any, directions: Any = None, m: float = 0.0, scope: str = "last"
) -> np.ndarray:
    """(first token right, line right) of each task, after the demonstrations that ``shown_of`` gives for it."""
    found = []
    for task in tasks:
        prompt = prompt_of([(item.input, item.output) for item in shown_of(task)], task.input)
        first, written = line(hf, tokenizer, prompt, directions, m, scope, end_of_text=(2,))
        asked = len(plain.ids_of(tokenizer, prompt, True))
        right = plain.ids_of(tokenizer, f"{prompt} {task.output}", True)[asked]
        found.append((first == right, written == f" {task.output}"))
    return np.array(found)
