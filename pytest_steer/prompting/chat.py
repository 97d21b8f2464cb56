"""A chat template's own rendering of a conversation, cut at the first character of the reply.

No model is known by name. What stands between the user's turn and the reply (a role header, a space, a closed block of thinking, a
channel) is read off the template: the conversation is rendered once with a reply that occurs nowhere else in it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..core.errors import ModelError
from ..core.record import Thinking
from .conversation import SYSTEM, Conversation, Message, Render, Tools, first_that_renders, stands_in, text_of


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
    thinking: Thinking | None = None
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
    render: Render,
    question: str,
    system: str | None,
    before: Sequence[Message],
    tools: Tools = (),
    *,
    thinking_open: bool,
    markers: Iterable[str],
) -> PromptText:
    """The template's rendering of a conversation up to the reply.

    Args:
        system: the system prompt; None leaves it to the template.
        before: the messages before the question.
        tools: descriptions of tools that the template renders.
        thinking_open: end with the generation prompt instead of where the template puts a reply.
        markers: texts that are one token each, so that the end of the user's turn is not put inside one.

    Raises:
        ModelError: the template cannot render the conversation, or drops a part of it.
    """
    said = [*before, {"role": "user", "content": question}]
    conversation, opened, notes = first_that_renders(render, said, system, tools)
    if thinking_open:
        return _open(conversation, opened, notes, markers)
    return _closed(conversation, opened, notes, markers)[0]


@dataclass(frozen=True)
class TurnsText:
    """A conversation of several turns as text, up to the first character of the reply to the last of them.

    Attributes:
        prompt: the text; its ``turn_end`` is that of the last turn.
        turn_ends: for each turn the number of characters that belong to it and what stands before it. Of a transcript that ends with a
            tool's result and is replied to without a turn, the result stands for one.
        replies_at: for each turn the number of characters before the reply to it; of the last one, all.
    """

    prompt: PromptText
    turn_ends: tuple[int, ...]
    replies_at: tuple[int, ...]

    def is_bare(self, turn: int) -> bool:
        """Whether nothing but spaces stands between a turn, from 1 on, and its reply, as after ``[/INST]``."""
        return not self.prompt.text[self.turn_ends[turn - 1] : self.replies_at[turn - 1]].strip(" ")


def chat_turns(
    render: Render,
    turns: Sequence[str],
    replies: Sequence[str],
    system: str | None,
    before: Sequence[Message],
    tools: Tools = (),
    *,
    thinking_open: bool,
    markers: Iterable[str],
) -> TurnsText:
    """The template's rendering of a dialogue as a model is asked to reply to its last turn, or to the transcript if it has no turn.

    The text ends with the template's generation prompt. Without ``thinking_open`` it ends where the template puts a reply, if more than space
    stands between the two: a closed block of thought, a channel header.

    Args:
        turns: what the user says. replies: to all turns but the last one.
        before: a transcript before the first turn; without turns, it ends with a tool's result.
        tools: descriptions of tools that the template renders.

    Raises:
        ModelError: the template cannot render the conversation, or drops a message or the tools.
    """
    markers = tuple(markers)
    said = [message for turn in zip(turns, replies, strict=False) for message in _exchange(*turn)]
    last = [{"role": "user", "content": turn} for turn in turns[-1:]]
    conversation, opened, notes = first_that_renders(render, [*before, *said, *last], system, tools)
    prompt = _open(conversation, opened, notes, markers)
    if not thinking_open:
        closed, other = _closed(conversation, opened, notes, markers)
        if closed.opening.split() == prompt.opening.split():
            prompt = PromptText(prompt.text, prompt.turn_end, closed.thinking, closed.notes)
        else:
            prompt, conversation = closed, other
    return _with_turns(conversation, prompt, len(turns) or 1, markers)


def _exchange(turn: str, reply: str) -> tuple[Message, Message]:
    return {"role": "user", "content": turn}, {"role": "assistant", "content": reply}


def _open(conversation: Conversation, opened: str, notes: tuple[str, ...], markers: Iterable[str]) -> PromptText:
    if ends_with_closed_thought(opened):
        notes += ("the chat template's generation prompt closes the block of thought by itself",)
    return PromptText(opened, _turn_end(conversation, opened, markers), "open", notes)


def _closed(
    conversation: Conversation, opened: str, notes: tuple[str, ...], markers: Iterable[str]
) -> tuple[PromptText, Conversation]:
    written, conversation, more = _outside_of_thought(conversation)
    text = opened if written is None else written
    thinking: Thinking = "open" if written is None else "closed"
    return PromptText(text, _turn_end(conversation, text, markers), thinking, notes + more), conversation


def _with_turns(conversation: Conversation, prompt: PromptText, n: int, markers: Iterable[str]) -> TurnsText:
    """Where the turns of a prompt end, and where the replies to them begin.

    The last turn's end is known. An earlier one ends with the same text after its last character, if it stands there too.

    Raises:
        ModelError: it cannot be told where an earlier turn ends.
    """
    if n == 1:
        return TurnsText(prompt, (prompt.turn_end,), (len(prompt.text),))
    messages, text = conversation.messages, prompt.turn
    users = [index for index, message in enumerate(messages) if message["role"] == "user"][-n:]
    rendered = next(
        (other for other in (conversation.opened(), conversation.up_to_the_reply()) if other and other.startswith(text)),
        None,
    )
    if rendered is None:
        raise ModelError(
            "the chat template writes earlier turns otherwise once a reply follows, so it is not known where they end"
        )
    tail = text[_end_of_content(conversation, users[-1], rendered, len(text)) :]
    ends, starts = [], []
    for number, index in enumerate(users[:-1], start=1):
        start = _start_of_content(conversation, index + 1, rendered, markers)
        end = _end_of_content(conversation, index, rendered, start)
        if text[end:start].startswith(tail):
            end += len(tail)
        else:
            part = replace(conversation, messages=messages[: index + 1])
            shared = _shared(text, part.render(part.messages, False, **part.settings), markers)
            if not end <= shared <= start:
                raise ModelError(f"it cannot be told where turn {number} ends under the chat template")
            end = shared
        ends.append(end)
        starts.append(start)
    return TurnsText(prompt, (*ends, prompt.turn_end), (*starts, len(prompt.text)))


def _start_of_content(conversation: Conversation, index: int, text: str, markers: Iterable[str]) -> int:
    """Where in a text the content of a message begins, with its thought if the template renders that."""
    word = conversation.new_word("reply")
    other = conversation.saying(index, word).opened()
    return min(_shared(text, other, markers), other.find(word) if word in other else len(text))


def _end_of_content(conversation: Conversation, index: int, text: str, before: int) -> int:
    """Where in a text the content of a message ends."""
    word = conversation.new_word("turn")
    other = conversation.saying(index, word).opened()
    after = other[other.rfind(word) + len(word) :]
    if word in other and text.endswith(after) and len(text) - len(after) <= before:
        return len(text) - len(after)
    said = text_of(conversation.messages[index]).strip()
    at = text.rfind(said, 0, before)
    if at < 0:
        raise ModelError("the chat template changes what the user says, so it cannot be told where a turn ends")
    return at + len(said)


def _outside_of_thought(conversation: Conversation) -> tuple[str | None, Conversation, tuple[str, ...]]:
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


_FOLLOWED = "the chat template refuses a conversation that ends with a reply, so the reply stands as it does before a further question"
_LOST = "the chat template drops the system prompt once a reply follows, so it stands where the template puts it before one"


def _before_the_reply(conversation: Conversation) -> tuple[str | None, tuple[str, ...]]:
    """The text before a reply as the template writes it, and notes; None if it writes none."""
    question = conversation.question.strip()
    for followed in (False, True):  # some templates refuse a conversation that ends with a reply

        def up_to_the_reply(other: Conversation, followed: bool = followed) -> str | None:
            return other.up_to_the_reply(followed)

        written = up_to_the_reply(conversation)
        if written is None:
            continue
        dropped = conversation.dropped(written, up_to_the_reply)
        if dropped is None:
            return written, (_FOLLOWED,) if followed else ()
        if dropped != SYSTEM:
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


def _turn_end(conversation: Conversation, text: str, markers: Iterable[str]) -> int:
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
    return min(end, with_reply) if stands_in(conversation.question, text[:with_reply]) else end


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


# How templates mark a block of thought: <think>, [THINK], <|START_THINKING|>.
_MARKER = re.compile(
    r"(?P<left><\|?|\[|◁)(?P<name>[^\s<>\[\]◁▷|]*(?:think|thought|reasoning)[^\s<>\[\]◁▷|]*)(?P<right>\|?>|\]|▷)", re.I
)
_BEGIN = re.compile("start|begin", re.I)
_NOT_BEGIN = re.compile("^/|^no|end", re.I)
_SIDE = re.compile("^/|(?:start|begin|end)(?:_of)?_?|_?(?:start|begin|end)$", re.I)


@dataclass(frozen=True)
class Parts:
    """A reply, split at its markers of thought.

    Attributes:
        thought: what stands in blocks of thought; None if there is no block.
        answer: what stands outside of them; None if the last block is never closed.
    """

    thought: str | None
    answer: str | None


def markers_in(texts: Iterable[str]) -> frozenset[str]:
    """The kinds of blocks of thought that texts mark, such as the source of a chat template and the names of special tokens."""
    return frozenset(_kind(found) for text in texts for found in _MARKER.finditer(text))


def parts_of(text: str, *, begun: bool, kinds: Iterable[str]) -> Parts:
    """Split a reply into thought and answer.

    Args:
        text: the reply with its markers.
        begun: its prompt ends inside a block of thought.
        kinds: of blocks that count (:func:`markers_in`); other texts in brackets are part of what is said.

    What stands before a closing marker without an opening one is thought too: some templates open the block in the prompt.
    """
    known = frozenset(kinds)
    thought: list[str] = []
    answer: list[str] = []
    inside, seen, start = begun, begun, 0
    for found in _MARKER.finditer(text):
        if _kind(found) not in known:
            continue
        closes = _closes(found)
        is_thought = inside or (closes and not seen)
        (thought if is_thought else answer).append(text[start : found.start()])
        inside, seen, start = not closes, True, found.end()
    (thought if inside else answer).append(text[start:])
    return Parts("".join(thought) if seen else None, None if inside else "".join(answer))


def ends_in_thought(prompt: str) -> bool:
    """Whether a prompt ends with the opening of a block of thought."""
    return end_of_open_thought(prompt) is not None


def end_of_open_thought(text: str) -> str | None:
    """The marker that would close the block of thought in which a text ends; None if it ends in none."""
    last = last_thought(text)
    if last is None or _closes(last):
        return None
    name, begins = _BEGIN.subn(lambda begin: "END" if begin[0].isupper() else "end", last["name"])
    return last["left"] + (name if begins else f"/{name}") + last["right"]


def ends_with_closed_thought(text: str) -> bool:
    """Whether a text ends with the marker that closes a block of thought."""
    last = last_thought(text)
    return last is not None and _closes(last)


def last_thought(text: str) -> re.Match[str] | None:
    """The marker of a block of thought at the very end of a text. Others do not count, since system prompts name such markers too."""
    blocks = list(_MARKER.finditer(text))
    return blocks[-1] if blocks and not text[blocks[-1].end() :].strip() else None


def _closes(found: re.Match[str]) -> bool:
    return _NOT_BEGIN.search(found["name"]) is not None


def _kind(found: re.Match[str]) -> str:
    """What both markers of a block share."""
    return found["left"] + _SIDE.sub("", found["name"]).casefold() + found["right"]
