"""A chat template's own rendering of a conversation, cut at the first character of the reply.

Nothing here knows a model. What stands between the user's turn and the reply (a role header, a space, a closed block of thinking, a
channel) is read off the template: the conversation is rendered once with a reply that occurs nowhere else in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import ModelError

Message = dict[str, Any]
Turn = tuple[str, str]
"""What a user said, and the reply."""
Render = Callable[..., str]
"""(messages, add_generation_prompt, **settings of the template) -> text."""

# How templates mark a block of thought: <think>, [THINK], <|START_THINKING|>. One that writes the reply into such a block without
# closing it has to be told to.
_THOUGHT = re.compile(
    r"(?P<left><\|?|\[|◁)(?P<name>[^\s<>\[\]◁▷|]*(?:think|thought|reasoning)[^\s<>\[\]◁▷|]*)(?P<right>\|?>|\]|▷)", re.I
)
_BEGIN = re.compile("start|begin", re.I)
_NOT_BEGIN = re.compile("^/|^no|end", re.I)


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

    @property
    def is_bare(self) -> bool:
        """Whether nothing but spaces stands between the user's turn and the reply, as after ``[/INST]``."""
        return not self.opening.strip(" ")


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
        ModelError: the template cannot render the conversation, or drops a part of it.
    """
    messages, settings, opened, notes = _first_that_renders(render, question, system, turns)
    if thinking_open:
        text, thinking = opened, "open"
        if _ends_in_closed_thought(opened):
            notes += ("the chat template's generation prompt closes the block of thought by itself",)
    else:
        written, settings, more = _closed(render, messages, settings, question, system)
        text, thinking = (opened, "open") if written is None else (written, "closed")
        notes += more
    return PromptText(text, _turn_end(render, messages, settings, question, text, markers), thinking, notes)


# Templates for tools or documents alone need lists of them, and empty ones will do.
_SETTINGS: tuple[dict[str, Any], ...] = ({}, {"tools": [], "documents": []})


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
                takes_system = _takes_system(messages, partial(_opened, render, settings=settings))
                dropped = _dropped(text, messages, question, system, takes_system)
                if dropped is None:
                    return messages, settings, text, (_MERGED,) if merged else ()
                reasons.append(f"the chat template drops {dropped}")
    if system == "":
        # A template without a place for a system prompt has none to be empty.
        return _first_that_renders(render, question, None, turns)
    raise ModelError(reasons[0])


_MERGED = (
    "the chat template has no place for a system prompt, so it stands at the start of the first user turn, a blank line before the "
    "question"
)


def _takes_system(messages: list[Message], rendered: Callable[[list[Message]], str | None]) -> bool:
    """Whether a system prompt is rendered: one that stands nowhere else, since the real one can be part of a question or the
    template's own."""
    if messages[0]["role"] != "system":
        return True
    word = "system0prompt"
    content: Any = word if isinstance(messages[0]["content"], str) else [{"type": "text", "text": word}]
    try:
        text = rendered([{"role": "system", "content": content}, *messages[1:]])
    except ModelError:
        return False
    return text is not None and word in text


def _opened(render: Render, messages: list[Message], settings: dict[str, Any]) -> str:
    return render(messages, True, **settings)


def _messages(question: str, system: str | None, turns: Sequence[Turn]) -> list[Message]:
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for user, reply in turns:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return [*messages, {"role": "user", "content": question}]


def _stands_in(said: str, text: str) -> bool:
    """Whether a text holds what was said, white space aside, which some templates change; also as JSON has it."""
    whole = _squeezed(text)
    return any(
        _squeezed(form) in whole for form in (said, json.dumps(said)[1:-1], json.dumps(said, ensure_ascii=False)[1:-1])
    )


def _squeezed(text: str) -> str:
    return "".join(text.split())


_SYSTEM = "the system prompt"


def _dropped(text: str, messages: list[Message], question: str, system: str | None, takes_system: bool) -> str | None:
    """What of a conversation a template leaves out, in words; None if it is all there."""
    if not _stands_in(question, text):
        return "the question"
    if system and not (takes_system and _stands_in(system, text)):
        return _SYSTEM
    if not all(_stands_in(_text_of(m), text) for m in messages if m["role"] == "user"):
        return "earlier turns"
    return None


def _text_of(message: Message) -> str:
    content = message["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def _closed(
    render: Render, messages: list[Message], settings: dict[str, Any], question: str, system: str | None
) -> tuple[str | None, dict[str, Any], tuple[str, ...]]:
    """The text before the reply, outside of any block of thought, the settings it was rendered with, and notes; no text if the
    template renders no reply."""
    written, notes = _before_the_reply(render, messages, settings, question, system)
    if written is None:
        note = "the chat template does not render a reply to this conversation; the generation prompt is used"
        return None, settings, (note,)
    end = _end_of_open_thought(written)
    if end is None:
        return written, settings, notes
    without_thought = {**settings, "enable_thinking": False}
    other, _ = _before_the_reply(render, messages, without_thought, question, system)
    if other is not None and _end_of_open_thought(other) is None:
        note = "rendered with enable_thinking=False: as given, the template puts the reply inside a block of thought"
        return other, without_thought, (*notes, note)
    note = f"the template puts the reply inside a block of thought; {end!r} was written to close it"
    return written.rstrip() + end, settings, (*notes, note)


def _before_the_reply(
    render: Render, messages: list[Message], settings: dict[str, Any], question: str, system: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """The text before a reply as the template writes it, and notes; None if it writes none."""
    for followed in (False, True):  # some templates refuse a conversation that ends with a reply
        written = _up_to_the_reply(render, messages, settings, followed)
        if written is None:
            continue
        takes_system = _takes_system(messages, partial(_up_to_the_reply, render, settings=settings, followed=followed))
        dropped = _dropped(written, messages, question, system, takes_system)
        if dropped is None:
            return written, (_FOLLOWED,) if followed else ()
        if dropped != _SYSTEM:
            continue
        # Some templates put the system prompt into the last message only, and lose it once a reply follows. What stands before the
        # reply is read off the conversation without the system prompt.
        bare = messages[1:]
        without = _up_to_the_reply(render, bare, settings, followed)
        try:
            opened, bare_opened = (render(said, True, **settings) for said in (messages, bare))
        except ModelError:
            continue
        before, _, tail = opened.rpartition(question.strip())
        if without is not None and bare_opened.rpartition(question.strip())[2] == tail:
            return before + question.strip() + without.rpartition(question.strip())[2], (_LOST,)
    return None, ()


_FOLLOWED = "the chat template refuses a conversation that ends with a reply, so the reply stands as it does before a further question"
_LOST = "the chat template drops the system prompt once a reply follows, so it stands where the template puts it before one"


def _up_to_the_reply(render: Render, messages: list[Message], settings: dict[str, Any], followed: bool) -> str | None:
    """The rendered text before a reply, which is the last message or is followed by another question; None if there is none."""
    whole = str(messages)
    reply = next(word for n in range(1000) if (word := f"reply{n}x") not in whole)
    last = messages[-1]
    content: Any = reply if isinstance(last["content"], str) else [{"type": "text", "text": reply}]
    said = [*messages, {"role": "assistant", "content": content}, *([last] if followed else [])]
    try:
        text = render(said, False, **settings)
    except ModelError:
        return None
    before, found, _ = text.partition(reply)
    return before if found else None


def _end_of_open_thought(text: str) -> str | None:
    """The marker that would close the block of thought in which a text ends; None if it ends in none."""
    last = _last_thought(text)
    if last is None or _NOT_BEGIN.search(last["name"]):
        return None
    name = _BEGIN.sub(_end_for, last["name"]) if _BEGIN.search(last["name"]) else f"/{last['name']}"
    return last["left"] + name + last["right"]


def _end_for(begin: re.Match[str]) -> str:
    return "END" if begin[0].isupper() else "end"


def _ends_in_closed_thought(text: str) -> bool:
    last = _last_thought(text)
    return last is not None and _NOT_BEGIN.search(last["name"]) is not None


def _last_thought(text: str) -> re.Match[str] | None:
    """The marker of a block of thought at the end of a text. Instructions in a system prompt name such markers too, so only one that
    the reply follows at once counts."""
    blocks = list(_THOUGHT.finditer(text))
    return blocks[-1] if blocks and not text[blocks[-1].end() :].strip() else None


def _turn_end(
    render: Render, messages: list[Message], settings: dict[str, Any], question: str, text: str, markers: Iterable[str]
) -> int:
    """Where in a prompt the user's turn ends.

    Nearly every template writes more text after the turn once a reply follows. One that does not (it closes the conversation
    differently) is cut where the two texts part, before the marker that differs.
    """
    try:
        end = _shared(text, render(messages, False, **settings), markers)
    except ModelError:
        end = len(text)
    # A template may write its generation prompt unasked; before a reply it can be another.
    reply = _up_to_the_reply(render, messages, settings, False)
    with_reply = len(text) if reply is None else _shared(text, reply, markers)
    # Where the system prompt is lost once a reply follows, the two texts part before the question and say nothing.
    return min(end, with_reply) if _stands_in(question, text[:with_reply]) else end


def _shared(text: str, other: str, markers: Iterable[str]) -> int:
    """How many characters a text shares with another at its start; a marker that differs is not cut."""
    end = common_prefix(text, other)
    if end in (len(text), len(other)):
        return end
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
