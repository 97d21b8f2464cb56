"""Preference data as contrast items: ``{prompt, chosen, rejected}``, the files of DPO.

Shapes: TRL's standard one (three texts), its conversational one (``prompt`` a list of messages, ``chosen`` and ``rejected`` lists that
hold the reply), the same with the prompt as text and whole conversations beside it (UltraFeedback), and whole conversations
alone. A contrast item has the user's turn and two replies, so that what stands before that turn is refused, not dropped.
"""

from __future__ import annotations

from typing import Any

from ...errors import DataError
from ..items import ContrastItem

KEYS = ("prompt", "chosen", "rejected")


def is_preference(entry: dict[str, Any]) -> bool:
    """Whether an entry has the keys of preference data."""
    return "chosen" in entry and "rejected" in entry


def preference(entry: dict[str, Any], number: str) -> ContrastItem:
    """The contrast item of a preference: the chosen reply matches, the rejected one does not.

    Raises:
        DataError: a key is missing or of another type, the two conversations differ before the reply, or something stands
            before the user's turn.
    """
    asked = _prompt(entry.get("prompt"))
    replies: list[str] = []
    for side in ("chosen", "rejected"):
        before, reply = _reply(entry[side], side)
        if before is not None and asked is not None and before.strip() != asked.strip():
            raise DataError(
                f"'{side}' answers {before[:60]!r}, and 'prompt' is {asked[:60]!r}: one of them is of another entry"
            )
        asked = before if asked is None else asked
        replies.append(reply)
    if asked is None:
        raise DataError(
            "'prompt' is missing, and 'chosen' and 'rejected' hold replies alone, so nothing says what they answer"
        )
    meta = {str(key): value for key, value in entry.items() if key not in KEYS}
    identity = meta.pop("id", None)
    return ContrastItem(asked, (replies[0],), (replies[1],), str(identity if identity is not None else number), meta)


def _prompt(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return user_turn(messages_of(value, "prompt"), "prompt")
    raise DataError(f"'prompt': expected a text or a list of messages, found a {type(value).__name__}")


def _reply(value: Any, side: str) -> tuple[str | None, str]:
    """The user's turn that a reply answers, if it stands there, and the reply."""
    if isinstance(value, str):
        return None, value
    if not isinstance(value, list):
        raise DataError(f"'{side}': expected a text or a list of messages, found a {type(value).__name__}")
    messages = messages_of(value, side)
    if not messages or messages[-1][0] != "assistant":
        last = f"the last one is the {messages[-1][0]}'s" if messages else "there is none"
        raise DataError(f"'{side}': the last message has to be the assistant's, and {last}")
    return user_turn(messages[:-1], side) if len(messages) > 1 else None, messages[-1][1]


def messages_of(value: list[Any], where: str) -> list[tuple[str, str]]:
    """(role, content) of each message of a list.

    Raises:
        DataError: one of them is no message.
    """
    found = []
    for index, message in enumerate(value):
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise DataError(f"'{where}': message {index} has to be an object with the texts 'role' and 'content'")
        found.append((message["role"], message["content"]))
    return found


def user_turn(messages: list[tuple[str, str]], where: str, unit: str = "a contrast item") -> str:
    """The one turn of the user that these messages are.

    Args:
        unit: what is made of them, for the message.

    Raises:
        DataError: they are something else.
    """
    if len(messages) != 1 or messages[0][0] != "user":
        roles = ", ".join(role for role, _ in messages) or "nothing"
        more = "; a system prompt or earlier turns are a context (`contexts: {system: [...]}`)" if "item" in unit else ""
        raise DataError(
            f"'{where}': {unit} has one turn of the user before the reply, and here stand {roles}. Bring the last turn alone{more}"
        )
    return messages[0][1]
