"""From an item to the text that the model reads.

The text has three parts: the user's turn, the opening of the reply, and the answer. Steering scopes are defined by the
places where these meet. The parts are tokenised together (see ``model/tokens.py``), never one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..data import ContrastItem
from .contexts import AS_GIVEN, Context
from .formats import PromptFormat


@dataclass(frozen=True)
class RenderedItem:
    """An item as text.

    Attributes:
        item: the item as its context puts it.
        turn: everything up to the end of the user's turn.
        opening: the text between the turn and the answer: what the template writes before a reply, and how the reply begins
            ("(" before a letter).
        matching / not_matching: the answers as they continue the text.
        special_tokens: whether the tokenizer has to add its special tokens (a chat template writes them itself).
        bare: whether the template writes nothing after the user's turn, so that a reply follows the turn's last token.
        thinking: ``closed``, ``open`` or None, see ``PromptText``.
        notes: adjustments that the template made necessary.
    """

    item: ContrastItem
    turn: str
    opening: str
    matching: tuple[str, ...]
    not_matching: tuple[str, ...]
    special_tokens: bool
    bare: bool = False
    thinking: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        return self.turn + self.opening


def render_item(item: ContrastItem, template: PromptFormat, context: Context = AS_GIVEN) -> RenderedItem:
    """Render an item in a context.

    For lettered answers the reply begins with "(" and the answer is the letter alone, as in CAA. Other answers stand at
    the start of the reply, without the spaces around them in the file.

    Raises:
        DataError: the context cannot be put to this item, see ``Context.put`` and ``Context.turns``.
        ModelError: the chat template cannot render it.
    """
    setting = context.setting(template)
    put = context.put(item)
    prompt = setting.form.prompt(
        put.question,
        setting.system,
        context.turns(item),
        thinking_open=setting.thinking_open,
        before=setting.before,
        tools=setting.tools,
    )
    letters = put.is_lettered
    matching, not_matching = (
        tuple(answer.strip()[1] if letters else answer.strip() for answer in side)
        for side in (put.matching, put.not_matching)
    )
    return RenderedItem(
        put,
        prompt.turn,
        prompt.opening + context.opening_of(put),
        matching,
        not_matching,
        special_tokens=setting.form.render is None,
        bare=prompt.is_bare,
        thinking=prompt.thinking,
        notes=prompt.notes,
    )
