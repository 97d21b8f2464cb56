"""OpenAssistant's messages (Köpf et al. 2023, arXiv 2304.07327) as texts: the best-rated replies of one language, each to its parent.

Layouts: messages one by one, or trees (``{"message_tree_id", "prompt": {..., "replies": [...]}}``); labels as the hub has them,
``{"name": [...], "value": [...], "count": [...]}``, or as OpenAssistant exports them, ``{"quality": {"value", "count"}}``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.registry import did_you_mean
from ..texts import Completion, Texts

LANGUAGE = "en"
BEST = 128
"""Von Rütte et al. (2024, arXiv 2402.14433) measure perplexity on 128 replies."""
_LABEL = "quality"


@dataclass(frozen=True)
class _Message:
    id: str
    parent: str | None
    text: str
    role: str
    language: str | None
    quality: float | None
    is_deleted: bool


def is_open_assistant(entry: Any) -> bool:
    """Whether an entry is a message of OpenAssistant, or a tree of them."""
    if not isinstance(entry, dict):
        return False
    return {"message_id", "text", "role"} <= entry.keys() or ("message_tree_id" in entry and "prompt" in entry)


def best_replies(
    entries: Iterable[tuple[str, Any]], *, language: str = LANGUAGE, best: int = BEST, first_turns: bool = False
) -> Texts:
    """The replies of the highest quality in a language, best first, each with its parent as the prompt.

    A reply without a label of its quality is none, nor is a deleted one, one whose parent is not in the file, or one to a parent in another
    language. Of equally good ones the later in the file come first, as in the code of von Rütte et al.

    Args:
        entries: where each stands, and the entry.
        best: how many; all if there are fewer.
        first_turns: only replies to the first message of a conversation, as von Rütte et al. take them.

    Raises:
        DataError: an entry is no message, two have one id, or no reply is left.
    """
    messages: dict[str, _Message] = {}
    for where, entry in entries:
        try:
            for message in _messages(entry):
                if message.id in messages:
                    raise DataError(f"the message_id {message.id!r} is there twice")
                messages[message.id] = message
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    replies = [one for one in messages.values() if one.role == "assistant" and not one.is_deleted and one.text.strip()]
    spoken = [one for one in replies if one.language == language]
    answering = [
        one
        for one in spoken
        if (parent := messages.get(one.parent or "")) is not None
        and parent.language == language
        and not (first_turns and parent.parent is not None)
    ]
    rated = [one for one in answering if one.quality is not None]
    if not rated:
        raise DataError(_none_left(len(messages), replies, spoken, answering, language))
    order = sorted(range(len(rated)), key=lambda at: (rated[at].quality, at), reverse=True)
    chosen = [rated[at] for at in order[:best]]
    texts = [Completion(messages[one.parent or ""].text, one.text) for one in chosen]
    what = f"rated {'first ' if first_turns else ''}replies in {language!r}"
    words = f"all {len(rated)} {what}" if len(rated) <= best else f"the {len(chosen)} best of {len(rated)} {what}"
    wanted = f" ({best} wanted)" if len(rated) < best else ""
    return Texts(texts, [one.id for one in chosen], (), words + wanted)


def _messages(entry: Any) -> Iterator[_Message]:
    if not is_open_assistant(entry):
        raise DataError("is no message of OpenAssistant, as the first entry of the file is: message_id, text, role")
    if "message_tree_id" in entry and isinstance(entry["prompt"], dict):
        yield from _tree(entry["prompt"])
    elif "message_id" in entry:
        yield _message(entry, entry.get("parent_id"))
    else:
        raise DataError("'prompt' of a tree has to be a message")


def _tree(root: Json) -> Iterator[_Message]:
    open_nodes: list[tuple[Any, str | None]] = [(root, None)]
    while open_nodes:  # a tree can be deeper than Python calls
        node, parent = open_nodes.pop()
        if not isinstance(node, dict) or not {"message_id", "text", "role"} <= node.keys():
            raise DataError("a message of the tree lacks message_id, text or role")
        message = _message(node, parent)
        yield message
        replies = node.get("replies") or []
        if not isinstance(replies, list):
            raise DataError(f"'replies' has to be a list of messages, found {replies!r:.60}")
        open_nodes += [(reply, message.id) for reply in reversed(replies)]


def _message(entry: Json, parent: Any) -> _Message:
    for key in ("message_id", "text", "role"):
        if not isinstance(entry[key], str):
            raise DataError(f"{key!r} has to be a text, found {entry[key]!r:.60}")
    parent = None if parent is None else str(parent)
    language = entry["lang"] if isinstance(entry.get("lang"), str) else None
    quality, is_deleted = _quality(entry.get("labels")), bool(entry.get("deleted"))
    return _Message(entry["message_id"], parent, entry["text"], entry["role"], language, quality, is_deleted)


def _quality(labels: Any) -> float | None:
    """The mean rating of a message's quality, from 0 to 1; None if nobody rated it."""
    if not labels:
        return None
    if not isinstance(labels, dict):
        raise DataError(f"'labels' has to be an object, found {labels!r:.60}")
    names, values = labels.get("name"), labels.get("value")
    if isinstance(names, list):
        if not isinstance(values, list) or len(values) != len(names):
            raise DataError("'labels': 'name' and 'value' have to be lists of one length")
        value = next((value for name, value in zip(names, values, strict=True) if name == _LABEL), None)
    else:
        label = labels.get(_LABEL)
        value = label.get("value") if isinstance(label, dict) else label
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataError(f"'labels': the value of {_LABEL!r} is a number, not {value!r:.60}")
    return float(value)


def _none_left(count: int, replies: list[_Message], spoken: list[_Message], answering: list[_Message], language: str) -> str:
    found = f"of {count} messages {len(replies)} are replies of the assistant"
    if replies and not spoken:
        there = sorted({one.language for one in replies if one.language is not None})
        return f"{found}, and none is in the language {language!r}: {did_you_mean(language, there)}"
    if spoken and not answering:
        return f"{found}, {len(spoken)} of them in {language!r}, and none has its prompt (parent_id) in the file"
    return (
        f"{found}, {len(answering)} of them in {language!r} with their prompt, and none has a label of its {_LABEL}, by which the best are "
        "chosen: write the replies that you want as entries of {prompt, completion}"
    )
