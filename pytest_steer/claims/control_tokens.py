"""Questions that hold the tokenizer's own control tokens: they are read as ends of turns, not as text."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Model


def control_token_warnings(model: Model, questions: Sequence[str]) -> list[str]:
    """A warning if questions hold a special token of the tokenizer, such as ``<|im_end|>``.

    The model takes it for the mark of a turn. So a question that was rendered with a chat template before is rendered twice, and one that
    closes its turn puts words in the reply's mouth.
    """
    known = getattr(model.tokenizer, "added_tokens_decoder", {}).values()
    marks = sorted(str(token) for token in known if token.special and str(token).strip())
    holding = [question for question in questions if any(mark in question for mark in marks)]
    if not holding:
        return []
    first = next(mark for mark in marks if mark in holding[0])
    return [
        f"{len(holding)} of these {len(questions)} questions hold control tokens of the tokenizer (such as {first!r}), which the model reads as "
        "marks of turns and not as text: give the question alone, without a chat template's marks"
    ]
