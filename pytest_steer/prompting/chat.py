"""A chat template's own rendering of a conversation, cut at the first character of the reply.

Nothing here knows a model. What stands between the user's turn and the reply (a role header, a space, a closed block of thinking, a
channel) is read off the template: the conversation is rendered once with a reply that occurs nowhere else in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .axes.few_shot import Turn

Message = dict[str, Any]
Render = Callable[..., str]
"""(messages, add_generation_prompt, **settings of the template) -> text."""

# How templates mark a block of thought. A template that writes the reply into such a block without closing it has to be told to.
_THOUGHT = re.compile(
    r"<(?P<tag>(?:\w+:)?(?:think|thinking|thought|reasoning)(?::\w+)?)>|\[(?P<upper>THINK)\]|<\|START_(?P<start>THINKING)\|>"
)


@dataclass(frozen=True)
class PromptText:
    """A conversation as text, up to the first character of the reply.

    Attributes:
        text: the prompt.
        turn_end: how many of its characters belong to the user's turn and what stands before it.
        thinking: ``closed`` where the reply stands as the template writes one without thought, ``open`` where it stands right after the
            generation prompt; None where there is no chat template.
        notes: what the template made necessary, in words for the reader of a report.
    """

    text: str
    turn_end: int
    thinking: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def turn(self) -> str:
        """The text up to the end of the user's turn."""
        return self.text[: self.turn_end]

    @property
    def opening(self) -> str:
        """What the template writes between the user's turn and the reply."""
        return self.text[self.turn_end :]


def chat_prompt(
    render: Render, question: str, system: str | None, turns: Sequence[Turn], *, thinking_open: bool, markers: Iterable[str]
) -> PromptText:
    """The template's rendering of a conversation up to the reply.

    Args:
        system: the system prompt; None leaves it to the template.
        turns: earlier (user, reply) turns.
        thinking_open: end with the generation prompt instead of where the template puts a reply.
        markers: texts that are one token each, so that the end of the user's turn is not put inside one.

    Raises:
        ModelError: the template cannot render the conversation, or drops the question or the system prompt.
    """
    messages, settings, opened, notes = _first_that_renders(render, question, system, turns)
    text, thinking = opened, "open"
    if not thinking_open:
        written = _up_to_the_reply(render, messages, settings)
        # Some templates put the system prompt into the last message only, and lose it once a reply follows.
        if written is not None and _holds(written, question, system):
            text, more = _closed(render, messages, settings, written)
            thinking, notes = "closed", notes + more
        else:
            notes += ("the chat template does not render a reply to this conversation; the generation prompt is used",)
    return PromptText(text, _turn_end(render, messages, settings, text, markers), thinking, notes)


# A template for tools alone needs a list of them, and an empty one will do.
_SETTINGS: tuple[dict[str, Any], ...] = ({}, {"tools": []})


def _first_that_renders(
    render: Render, question: str, system: str | None, turns: Sequence[Turn]
) -> tuple[list[Message], dict[str, Any], str, tuple[str, ...]]:
    """The form of the conversation that the template takes: messages, settings, its text with the generation prompt, and notes."""
    reasons: list[str] = []
    for merged in (False, True) if system else (False,):
        for parts in (False, True):
            for settings in _SETTINGS:
                messages = _messages(question, None if merged else system, turns)
                if merged:
                    first = messages[0]
                    first["content"] = f"{system}\n\n{first['content']}"
                if parts:
                    messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
                try:
                    text = render(messages, True, **settings)
                except ModelError as error:
                    reasons.append(str(error))
                    continue
                if not _holds(text, question, None):
                    reasons.append("the chat template drops the question")
                elif not _holds(text, question, system):
                    reasons.append("the chat template drops the system prompt")
                else:
                    note = (_MERGED,) if merged else ()
                    return messages, settings, text, note
    if system == "":
        # A template without a place for a system prompt has none to be empty.
        return _first_that_renders(render, question, None, turns)
    raise ModelError(reasons[0])


_MERGED = (
    "the chat template has no place for a system prompt, so it stands at the start of the first user turn, a blank line before the "
    "question"
)


def _messages(question: str, system: str | None, turns: Sequence[Turn]) -> list[Message]:
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for user, reply in turns:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return [*messages, {"role": "user", "content": question}]


def _holds(text: str, question: str, system: str | None) -> bool:
    return question.strip() in text and (not system or system.strip() in text)


def _up_to_the_reply(render: Render, messages: list[Message], settings: dict[str, Any]) -> str | None:
    """The text before a reply as the template writes it; None if it writes none."""
    whole = str(messages)
    reply = next(word for n in range(1000) if (word := f"reply{n}x") not in whole)
    content: Any = reply if isinstance(messages[-1]["content"], str) else [{"type": "text", "text": reply}]
    try:
        text = render([*messages, {"role": "assistant", "content": content}], False, **settings)
    except ModelError:
        return None
    before, found, _ = text.partition(reply)
    return before if found else None


def _closed(render: Render, messages: list[Message], settings: dict[str, Any], written: str) -> tuple[str, tuple[str, ...]]:
    """The text before the reply, outside of any block of thought."""
    end = _end_of_open_thought(written)
    if end is None:
        return written, ()
    without = _up_to_the_reply(render, messages, {**settings, "enable_thinking": False})
    if without is not None and _end_of_open_thought(without) is None:
        return without, (
            "rendered with enable_thinking=False: as given, the template puts the reply inside a block of thought",
        )
    closed = written.rstrip() + end
    return closed, (f"the template puts the reply inside a block of thought; {end!r} was written to close it",)


def _end_of_open_thought(text: str) -> str | None:
    """The marker that would close the block of thought in which a text ends; None if it ends in none."""
    blocks = list(_THOUGHT.finditer(text))
    if not blocks:
        return None
    last = blocks[-1]
    if last["tag"]:
        end = f"</{last['tag']}>"
    else:
        end = "[/THINK]" if last["upper"] else "<|END_THINKING|>"
    # Instructions in a system prompt name such markers too; only one that the reply follows at once is open.
    return None if end in text[last.end() :] or text[last.end() :].strip() else end


def _turn_end(render: Render, messages: list[Message], settings: dict[str, Any], text: str, markers: Iterable[str]) -> int:
    """Where in a prompt the user's turn ends.

    Nearly every template writes more text after the turn once a reply follows. One that does not (it closes the conversation
    differently) is cut where the two texts part, before the marker that differs.
    """
    try:
        turn = render(messages, False, **settings)
    except ModelError:
        turn = text
    if text.startswith(turn):
        return len(turn)
    end = common_prefix(turn, text)
    for marker in markers:
        at = text.find(marker, max(0, end - len(marker) + 1), end + len(marker) - 1)
        if 0 <= at < end < at + len(marker):
            end = at
    return end


def common_prefix(one: str, other: str) -> int:
    """How many characters two texts share at their start."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
