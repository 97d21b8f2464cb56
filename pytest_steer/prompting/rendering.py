"""From an item to the text that the model reads.

The text has three parts, since steering scopes are defined by where they meet: the user's turn, the opening of
the reply, and the answer. They are tokenised together (see ``model/tokens.py``), never one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from .contexts import AS_GIVEN, Context
from .formats import PromptFormat
from .items import ContrastItem


@dataclass(frozen=True)
class RenderedItem:
    """An item as text.

    Attributes:
        turn: everything up to the end of the user's turn.
        opening: what follows before the answer (generation prompt, "(" of a lettered answer).
        matching / not_matching: the answers as they continue the text, with their leading space where one belongs.
        special_tokens: whether the tokenizer has to add its own (a chat template writes them itself).
    """

    item: ContrastItem
    turn: str
    opening: str
    matching: tuple[str, ...]
    not_matching: tuple[str, ...]
    special_tokens: bool

    @property
    def prompt(self) -> str:
        return self.turn + self.opening


def render_item(item: ContrastItem, template: PromptFormat, context: Context = AS_GIVEN) -> RenderedItem:
    """Renders an item in a context.

    Lettered answers: the reply is opened with "(" and the answer is the letter alone, as in CAA. Other answers
    stand at the start of the reply, without the spaces that files carry around them; the plain form puts one space
    between "Answer:" and the answer.

    Raises:
        DataError: the context cannot be put to this item, see ``Context.put`` and ``Context.turns``.
    """
    form = template.under(context.template)
    put = context.put(item)
    turn, opening = form.turn_and_opening(put.question, context.system, context.turns(item))
    words = context.opening_of(put)
    if put.is_lettered:
        opening += form.gap + words
        matching, not_matching = (tuple(a.strip()[1] for a in side) for side in (put.matching, put.not_matching))
    else:
        # Spaces before an answer are part of it, as tokenizers see them.
        said = (form.gap + words).rstrip(" ")
        gap = (form.gap + words)[len(said) :]
        opening += said
        matching, not_matching = (tuple(gap + a.strip() for a in side) for side in (put.matching, put.not_matching))
    return RenderedItem(put, turn, opening, matching, not_matching, special_tokens=form.render is None)
