"""From an entry of a file of prompts to the fields of a dialogue, told apart by its keys.

Shapes (see docs/data.md): a text, ``{question}``, ``{prompt}`` (a text or messages), ``{turns: [...]}`` (MT-Bench), ``{messages: [...]}``, each
with ``tools`` beside it; contrast items of all known shapes give their questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import DataError
from .formats.shapes import item_of, show
from .transcripts import text_of

_ASKED = ("question", "prompt", "turns", "messages")
_IDS = ("id", "question_id")
_SHAPES = (
    "known shapes: a text; {question}; {prompt}; {turns: [texts]}; {messages: [..., {role: user, content: text}]}; each with {tools: "
    "[...]} beside it. Another name is given by columns: {prompt: ...}"
)


def dialogue_fields(entry: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    """Keywords of a dialogue.

    Args:
        columns: where the user says that things stand: ``prompt`` or ``question``, and ``id``.

    Raises:
        DataError: the entry has none of the known shapes, or a value is wrong.
    """
    if isinstance(entry, str):
        return {"turns": (entry,)}
    if isinstance(entry, list):
        return {"turns": (item_of(entry, "", columns).question,)}
    if not isinstance(entry, dict):
        raise DataError(f"expected a text or an object, found {show(entry)}; {_SHAPES}")
    key = _asked_key(entry, columns)
    tools = _listed(entry["tools"], "tools") if entry.get("tools") is not None else []
    identities = [columns["id"]] if "id" in columns else _IDS
    identity = next((entry[name] for name in identities if entry.get(name) is not None), None)
    meta = {str(name): value for name, value in entry.items() if name not in (key, "tools", columns.get("id", "id"))}
    return {
        **_turns(entry, key, columns),
        "tools": tools,
        "meta": meta,
        **({} if identity is None else {"id": str(identity)}),
    }


def _asked_key(entry: Mapping[str, Any], columns: Mapping[str, str]) -> str | None:
    """The key under which stands what is asked; None for a contrast item that has none of its own."""
    named = [columns[key] for key in ("prompt", "question") if key in columns]
    if there := [key for key in named if key in entry]:
        return there[0]
    found = [key for key in _ASKED if entry.get(key) is not None]
    if len(found) == 2 and found == ["turns", "messages"]:
        return "messages"  # the transcript before the turns
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(map(repr, found))} can each be what is asked: keep one of them, or say which as `columns: {{prompt: {found[0]}}}`"
        )
    if found:
        return found[0]
    if {"positive", "negative"} <= entry.keys() or {"chosen", "rejected"} <= entry.keys():
        return None
    if {"input", "output"} <= entry.keys():
        raise DataError("{input, output} is a pair of a task: name its file as data.test, or say `columns: {prompt: input}`")
    if named:
        raise DataError(f"there is no {named[0]!r}, which `columns` names; it has {sorted(map(str, entry))}")
    raise DataError(f"unknown keys {sorted(map(str, entry))}; {_SHAPES}")


def _turns(entry: Mapping[str, Any], key: str | None, columns: Mapping[str, str]) -> dict[str, Any]:
    if key is None:
        return {"turns": (item_of(entry, "", columns).question,)}
    value = entry[key]
    if key == "turns":
        return {"turns": tuple(_listed(value, key))}
    if key == "messages" or isinstance(value, list):
        messages = _listed(value, key)
        if key == "messages" and entry.get("turns") is not None:
            return {"messages": messages, "turns": tuple(_listed(entry["turns"], "turns"))}
        return _last_turn(messages, key)
    if not isinstance(value, str):
        raise DataError(f"{key!r}: expected a text, found {show(value)}")
    return {"turns": (value,)}


def _last_turn(messages: list[Any], key: str) -> dict[str, Any]:
    last = messages[-1] if messages else None
    role = last.get("role") if isinstance(last, Mapping) else None
    if role == "tool":
        return {"messages": messages}
    if not isinstance(last, Mapping) or role != "user":
        there = f"the last one is the {role}'s" if role else f"the last one is {show(last)}" if messages else "there is none"
        raise DataError(
            f"{key!r}: the last message has to be the user's turn or the tool's result that is replied to, and {there}"
        )
    text = text_of(last.get("content"))
    return {"messages": messages[:-1], "turns": (last.get("content") if text is None else text,)}


def _listed(value: Any, key: str) -> list[Any]:
    """A list, or JSON text of one, as a cell of a table has it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(f"{key!r}: expected a list, found {show(value)}") from None
    if not isinstance(value, list):
        raise DataError(f"{key!r}: expected a list, found {show(value)}")
    return value
