"""From an item, or a dialogue and the replies so far, to the text that the model reads.

The text of an item has three parts: the user's turn, the opening of the reply, and the answer. Steering scopes are defined by the
places where these meet. The parts are tokenised together (see ``model/tokens.py``), never one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import DataError
from ..core.record import Thinking
from ..data import ContrastItem, Dialogue
from .chat import TurnsText, messages_of
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
    thinking: Thinking | None = None
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
    sides = ([answer.strip() for answer in side] for side in (put.matching, put.not_matching))
    matching, not_matching = (tuple(one[1] if put.is_lettered else one for one in side) for side in sides)
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


# Axes change the question of an item; a turn of a dialogue has no answers that would have to change with it.
_ANSWERS = ("answer0yes", "answer0no")


def render_turn(
    dialogue: Dialogue, replies: Sequence[str], template: PromptFormat, context: Context = AS_GIVEN
) -> TurnsText:
    """Render a dialogue up to the reply to the turn after the given replies, or to its transcript if it has no turn.

    The system prompt of the context replaces that of the transcript. Turns that the context puts first stand before the transcript. What it
    changes in a question it changes in each turn.

    Args:
        replies: to the first turns, as the model wrote them; fewer than there are turns.

    Raises:
        DataError: the context cannot be put to this dialogue, see ``Context.put`` and ``Context.turns``; it changes questions, and there is
            no turn of the user.
        ModelError: the chat template refuses the dialogue, or drops a message or the tools.
    """
    items = [ContrastItem(turn, _ANSWERS[:1], _ANSWERS[1:], dialogue.id) for turn in dialogue.said[: len(replies) + 1]]
    asked = [context.put(item).question for item in items]
    if not dialogue.turns and asked != [item.question for item in items]:
        raise DataError(f"prompt {dialogue.id}: ends with a tool's result, and the context changes the user's question")
    setting = context.setting(template)
    messages = list(dialogue.messages)
    told = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else None
    return setting.form.turns(
        asked if dialogue.turns else (),
        replies,
        told if setting.system is None else setting.system,
        before=[*setting.before, *messages_of(context.turns(items[0])), *messages],
        tools=(*setting.tools, *dialogue.tools),
        thinking_open=setting.thinking_open,
    )
