"""From an entry of a file of texts to a text: a plain one, or a prompt and its completion, told apart by its keys.

Shapes of completions (see docs/data.md): ``{prompt, completion}`` with texts or with messages (TRL), the names that other data sets
have for the two, ``{instruction, input, output}`` (Alpaca), a conversation of two messages, and a user's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import DataError
from ..likeness import normal_form
from ..texts import Completion, TextLike
from .shapes import before_reply, messages_of, show, user_turn

PROMPTS = ("prompt", "question", "instruction", "query")
COMPLETIONS = ("completion", "response", "answer", "reply", "output", "target")
_CONVERSATIONS = ("messages", "conversation")
_UNIT = "a text with a prompt"


def text_of(entry: Any, columns: Mapping[str, str]) -> TextLike:
    """The text or completion that an entry holds.

    Args:
        columns: where the user says that things stand: ``text``, or ``prompt`` and ``completion``.

    Raises:
        DataError: it holds neither, or what stands there is no text.
    """
    named = {"prompt", "completion"} & columns.keys()
    if not isinstance(entry, dict):
        wanted = next((columns[key] for key in ("text", "prompt", "completion") if key in columns), None)
        if wanted is not None:
            raise DataError(f"expected a text or an object with a {wanted!r}, found {show(entry)}")
        return _plain(entry, "text", entry)
    if not named:
        column = columns.get("text", "text")
        if column in entry:
            return _plain(entry[column], column, entry)
        if "text" in columns:
            raise DataError(f"there is no column {column!r}; it has {_names(entry)}")
        conversation = next((key for key in _CONVERSATIONS if isinstance(entry.get(key), list)), None)
        if conversation is not None:
            return _of_messages(entry[conversation], conversation)
    prompt = columns.get("prompt") or _only(entry, PROMPTS, "prompt")
    completion = columns.get("completion") or _only(entry, COMPLETIONS, "completion")
    if completion is None and "text" in entry and named:
        completion = "text"
    for name in (prompt, completion):
        if name is not None and name not in entry:
            raise DataError(f"there is no column {name!r}; it has {_names(entry)}")
    if prompt is None or completion is None:
        raise DataError(_which(entry, prompt, completion))
    asked = _side(entry[prompt], prompt, "user")
    if prompt == "instruction" and isinstance(entry.get("input"), str) and entry["input"].strip():
        asked = f"{asked}\n\n{entry['input']}"
    return Completion(asked, _side(entry[completion], completion, "assistant"))


def _plain(value: Any, name: str, entry: Any) -> str:
    if not isinstance(value, str) or not normal_form(value):  # invisible characters are no text
        raise DataError(f"expected a text or an object with a {name!r}, found {show(entry)}")
    return value


def _only(entry: Mapping[str, Any], known: tuple[str, ...], what: str) -> str | None:
    found = [name for name in known if name in entry]
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(map(repr, found))} can each be the {what}: say which, as `columns: {{{what}: {found[0]}}}` under `data` "
            f"(in Python read_texts(path, columns={{{what!r}: {found[0]!r}}}))"
        )
    return found[0] if found else None


def _side(value: Any, name: str, role: str) -> str:
    """A text, or a list of the one message of that role."""
    if isinstance(value, list):
        messages = messages_of(value, name)
        if role == "user":
            return user_turn(messages, name, _UNIT)
        if len(messages) != 1 or messages[0][0] != role:
            raise DataError(f"{name!r}: expected one message of the {role}, found {show(value)}")
        value = messages[0][1]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{name!r}: expected a text, found {show(value)}")
    return value


def _of_messages(value: list[Any], name: str) -> Completion:
    before, reply = before_reply(messages_of(value, name), name)
    return Completion(user_turn(before, name, _UNIT), reply)


def _names(entry: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, entry))


def _which(entry: Mapping[str, Any], prompt: str | None, completion: str | None) -> str:
    """What to say of an entry whose names tell nothing."""
    if completion is not None:
        return (
            f"{completion!r} has no prompt beside it; it has {_names(entry)}. Say where the prompt stands, as `columns: {{prompt: ...}}` "
            f"under `data`, or read {completion!r} as plain texts: `columns: {{text: {completion}}}`"
        )
    if prompt is not None:
        others = {name: value for name, value in entry.items() if name != prompt}
        likely = max(others, key=lambda name: len(str(others[name])), default="reply")
        return (
            f"has the columns {_names(entry)}: which of them holds the texts? Say it, as `columns: {{prompt: {prompt}, completion: "
            f"{likely}}}` under `data` (in Python read_texts(path, columns={{'completion': {likely!r}}}))"
        )
    likely = max(entry, key=lambda column: len(str(entry[column])), default="body")
    return (
        f"has the columns {_names(entry)}: which of them holds the texts? Say it, as `columns: {{text: {likely}}}` under `data` (in Python "
        f"read_texts(path, column={likely!r}))"
    )
