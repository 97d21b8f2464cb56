"""A chat template's own rendering of a conversation, cut at the first character of the reply.

No model is known by name. What stands between the user's turn and the reply (a role header, a space, a closed block of thinking, a
channel) is read off the template: the conversation is rendered once with a reply that occurs nowhere else in it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelError
from .thoughts import end_of_open_thought, ends_with_closed_thought

Message = dict[str, Any]
Turn = tuple[str, str]
"""What a user said, and the reply."""
Render = Callable[..., str]
"""(messages, add_generation_prompt, **settings of the template) -> text."""

# How a template that takes no parts writes one.
_PART = "'type': 'text'"
# A question of more characters than this stands in a text only if it was put there.
_BY_CHANCE = 24


@dataclass(frozen=True)
class PromptText:
    """A conversation as text, up to the first character of the reply.

    Attributes:
        text: the prompt.
        turn_end: the number of its characters that belong to the user's turn and what stands before it.
        thinking: ``closed`` if the reply begins where the template writes one without thought, ``open`` if it begins right after the
            generation prompt; None without a chat template.
        notes: adjustments that the template made necessary, for the reader of a report.
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
    conversation, opened, notes = _first_that_renders(render, question, system, turns)
    if thinking_open:
        text, thinking = opened, "open"
        if ends_with_closed_thought(opened):
            notes += ("the chat template's generation prompt closes the block of thought by itself",)
    else:
        written, conversation, more = _outside_of_thought(conversation)
        text, thinking = (opened, "open") if written is None else (written, "closed")
        notes += more
    return PromptText(text, _turn_end(conversation, text, markers), thinking, notes)


@dataclass(frozen=True)
class _Conversation:
    """A conversation in a form that a template takes.

    Attributes:
        settings: arguments of the template.
        question / system: what has to be in the rendered text; the system prompt may stand inside the first user turn.
    """

    render: Render
    messages: list[Message]
    settings: dict[str, Any]
    question: str
    system: str | None

    def opened(self) -> str:
        """The rendered text with the generation prompt."""
        return self.render(self.messages, True, **self.settings)

    def up_to_the_reply(self, followed: bool = False) -> str | None:
        """The rendered text before a reply, or None if there is none. ``followed``: another question follows the reply."""
        whole = str(self.messages)
        reply = next(word for n in range(1000) if (word := f"reply{n}x") not in whole)
        last = self.messages[-1]
        said = [*self.messages, _like(last, "assistant", reply), *([last] if followed else [])]
        try:
            text = self.render(said, False, **self.settings)
        except ModelError:
            return None
        before, found, _ = text.partition(reply)
        return before if found else None

    def dropped(self, text: str, rendered: Callable[[_Conversation], str | None]) -> str | None:
        """What the template leaves out of the conversation in ``text``, in words; None if it is all there."""
        if _PART in text and _PART not in self.question:
            return "the question's form: it writes the list of parts that a message is made of"
        if not _stands_in(self.question, text) or not self._takes_question(rendered):
            return "the question, or cuts it: its text is not in the rendered prompt"
        if self.system and not (self._takes_system(rendered) and _stands_in(self.system, text)):
            return _SYSTEM
        if not all(_stands_in(_text_of(m), text) for m in self.messages if m["role"] == "user"):
            return "earlier turns"
        return None

    def _takes_question(self, rendered: Callable[[_Conversation], str | None]) -> bool:
        """Whether the last message is rendered; a short question may stand elsewhere in the text by chance."""
        if len(_squeezed(self.question)) > _BY_CHANCE:
            return True
        word = "question0asked"
        try:
            text = rendered(replace(self, messages=[*self.messages[:-1], _like(self.messages[-1], "user", word)]))
        except ModelError:
            return False
        return text is not None and word in text

    def _takes_system(self, rendered: Callable[[_Conversation], str | None]) -> bool:
        """Whether a system message is rendered.

        It is tried with a system prompt that stands nowhere else, since the real one can be part of a question or the template's own.
        """
        first, *others = self.messages
        if first["role"] != "system":
            return True
        word = "system0prompt"
        try:
            text = rendered(replace(self, messages=[_like(first, "system", word), *others]))
        except ModelError:
            return False
        return text is not None and word in text


# Templates for tools or documents alone need lists of them, and empty lists will do.
_SETTINGS: tuple[dict[str, Any], ...] = ({}, {"tools": [], "documents": []})


def _first_that_renders(
    render: Render, question: str, system: str | None, turns: Sequence[Turn]
) -> tuple[_Conversation, str, tuple[str, ...]]:
    """The first form of the conversation that the template takes, its text with the generation prompt, and notes."""
    reasons: list[str] = []
    for merged in (False, True) if system else (False,):
        for parts in (False, True):
            for settings in _SETTINGS:
                messages = _messages(question, None if merged else system, turns)
                if merged:
                    messages[0]["content"] = f"{system}\n\n{messages[0]['content']}"
                if parts:
                    messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
                conversation = _Conversation(render, messages, settings, question, system)
                try:
                    text = conversation.opened()
                except ModelError as error:
                    reasons.append(str(error))
                    continue
                dropped = conversation.dropped(text, _Conversation.opened)
                if dropped is None:
                    return conversation, text, (_MERGED,) if merged else ()
                reasons.append(f"the chat template drops {dropped}")
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


def _like(message: Message, role: str, text: str) -> Message:
    """A message whose content is a text or a list of parts, like that of another one."""
    return {"role": role, "content": text if isinstance(message["content"], str) else [{"type": "text", "text": text}]}


def _text_of(message: Message) -> str:
    content = message["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def _stands_in(said: str, text: str) -> bool:
    """Whether a text holds what was said, as it is or as JSON. White space is ignored, since some templates change it."""
    whole = _squeezed(text)
    return any(
        _squeezed(form) in whole for form in (said, json.dumps(said)[1:-1], json.dumps(said, ensure_ascii=False)[1:-1])
    )


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _outside_of_thought(conversation: _Conversation) -> tuple[str | None, _Conversation, tuple[str, ...]]:
    """The text before the reply, outside of any block of thought, the conversation with the settings that gave it, and notes.

    There is no text if the template renders no reply.
    """
    written, notes = _before_the_reply(conversation)
    if written is None:
        note = "the chat template does not render a reply to this conversation; the generation prompt is used"
        return None, conversation, (note,)
    end = end_of_open_thought(written)
    if end is None:
        return written, conversation, notes
    without_thought = replace(conversation, settings={**conversation.settings, "enable_thinking": False})
    other, _ = _before_the_reply(without_thought)
    if other is not None and end_of_open_thought(other) is None:
        note = "rendered with enable_thinking=False: as given, the template puts the reply inside a block of thought"
        return other, without_thought, (*notes, note)
    note = f"the template puts the reply inside a block of thought; {end!r} was written to close it"
    return written.rstrip() + end, conversation, (*notes, note)


_SYSTEM = "the system prompt"
_FOLLOWED = "the chat template refuses a conversation that ends with a reply, so the reply stands as it does before a further question"
_LOST = "the chat template drops the system prompt once a reply follows, so it stands where the template puts it before one"


def _before_the_reply(conversation: _Conversation) -> tuple[str | None, tuple[str, ...]]:
    """The text before a reply as the template writes it, and notes; None if it writes none."""
    question = conversation.question.strip()
    for followed in (False, True):  # some templates refuse a conversation that ends with a reply

        def up_to_the_reply(other: _Conversation, followed: bool = followed) -> str | None:
            return other.up_to_the_reply(followed)

        written = up_to_the_reply(conversation)
        if written is None:
            continue
        dropped = conversation.dropped(written, up_to_the_reply)
        if dropped is None:
            return written, (_FOLLOWED,) if followed else ()
        if dropped != _SYSTEM:
            continue
        # Some templates put the system prompt into the last message only, and lose it once a reply follows. What stands before the
        # reply is read off the conversation without the system prompt.
        bare = replace(conversation, messages=conversation.messages[1:])
        without = up_to_the_reply(bare)
        try:
            opened, bare_opened = conversation.opened(), bare.opened()
        except ModelError:
            continue
        before, _, tail = opened.rpartition(question)
        if without is not None and bare_opened.rpartition(question)[2] == tail:
            return before + question + without.rpartition(question)[2], (_LOST,)
    return None, ()


def _turn_end(conversation: _Conversation, text: str, markers: Iterable[str]) -> int:
    """Where in a prompt the user's turn ends.

    Nearly every template writes more text after the turn once a reply follows. If one does not (it closes the conversation
    differently), the turn ends where the two texts part, before the marker that differs.
    """
    try:
        end = _shared(text, conversation.render(conversation.messages, False, **conversation.settings), markers)
    except ModelError:
        end = len(text)
    # A template may write its generation prompt unasked, and another one before a reply.
    reply = conversation.up_to_the_reply()
    with_reply = len(text) if reply is None else _shared(text, reply, markers)
    # Where the system prompt is lost once a reply follows, the two texts part before the question and say nothing.
    return min(end, with_reply) if _stands_in(conversation.question, text[:with_reply]) else end


def _shared(text: str, other: str, markers: Iterable[str]) -> int:
    """The number of characters that a text shares with another at its start; a marker that differs is not cut."""
    end = common_prefix(text, other)
    if end in (len(text), len(other)):
        return end
    for marker in markers:
        at = text.find(marker, max(0, end - len(marker) + 1), end + len(marker) - 1)
        if 0 <= at < end < at + len(marker):
            end = at
    return end


def common_prefix(one: str, other: str) -> int:
    """The number of characters that two texts share at their start."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return len(list(same))
