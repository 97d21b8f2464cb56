"""From a dialogue and the replies so far to the text that the model reads next."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import ContrastItem, Dialogue
from ..errors import DataError
from .chat import TurnsText
from .contexts import AS_GIVEN, Context
from .conversation import messages_of
from .formats import PromptFormat

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
