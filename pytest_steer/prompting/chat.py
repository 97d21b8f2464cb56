"""A chat template's own rendering of a conversation, cut at the first character of the reply.

No model is known by name. What stands between the user's turn and the reply (a role header, a space, a closed block of thinking, a
channel) is read off the template: the conversation is rendered once with a reply that occurs nowhere else in it. In the same way, words that
occur nowhere else are put in the place of what has to be rendered, and looked for in the text, to find what a template leaves out.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..core.errors import ModelError
from ..core.evidence import Json
from ..core.record import Thinking

Message = Json
Turn = tuple[str, str]
"""What a user said, and the reply."""
Tools = tuple[Json, ...]
Render = Callable[..., str]
"""(messages, add_generation_prompt, **settings of the template) -> text."""


@dataclass(frozen=True)
class Frame:
    """A chat template, and what it is given besides the user's turns.

    Attributes:
        markers: texts that are one token each, so that no cut goes through one.
        system: the system prompt; None leaves it to the template.
        before: the messages before the first turn, without a system prompt.
        tools: descriptions of tools that the template renders.
        thinking_open: end with the generation prompt instead of where the template puts a reply.
    """

    render: Render
    markers: tuple[str, ...] = ()
    system: str | None = None
    before: Sequence[Message] = ()
    tools: Tools = ()
    thinking_open: bool = False


SYSTEM = "the system prompt"
# How a template that takes no parts writes one.
_PART = "'type': 'text'"
# A question of more characters than this stands in a text only if it was put there.
_BY_CHANCE = 24
_QUESTION, _PROMPT = "question0asked", "system0prompt"
# Templates for tools or documents alone need lists of them, and empty lists will do.
_DOCUMENTS: tuple[Json, ...] = ({}, {"tools": [], "documents": []})


@dataclass(frozen=True)
class Conversation:
    """A conversation in a form that a template takes.

    Attributes:
        settings: arguments of the template.
        question / system: what has to be in the rendered text: that of the last message, the user's or a tool's, and the system prompt,
            which may stand inside the first user turn.
        tools: descriptions that have to be in the text too.
    """

    render: Render
    messages: list[Message]
    settings: Json
    question: str
    system: str | None
    tools: Tools = ()

    def opened(self) -> str:
        """The rendered text with the generation prompt."""
        return self.render(self.messages, True, **self.settings)

    def up_to_the_reply(self, followed: bool = False) -> str | None:
        """The rendered text before a reply, or None if there is none. ``followed``: another question follows the reply."""
        reply = self.new_word("reply")
        last = self.messages[-1]
        said = [*self.messages, _like(last, "assistant", reply), *([last] if followed else [])]
        try:
            text = self.render(said, False, **self.settings)
        except ModelError:
            return None
        before, found, _ = text.partition(reply)
        return before if found else None

    def new_word(self, name: str) -> str:
        """A word that occurs nowhere in the conversation."""
        whole = str(self.messages)
        return next(word for n in range(1000) if (word := f"{name}{n}x") not in whole)

    def saying(self, index: int, text: str) -> Conversation:
        """The conversation with another text as one of its messages."""
        messages = [*self.messages]
        messages[index] = {**messages[index], "content": _like(messages[index], "", text)["content"]}
        return replace(self, messages=messages)

    def dropped(self, text: str, rendered: Callable[[Conversation], str | None]) -> str | None:
        """What the template leaves out of the conversation in ``text``, in words; None if it is all there."""
        if _PART in text and _PART not in self.question:
            return "the question's form: it writes the list of parts that a message is made of"
        # A short question may stand elsewhere in the text by chance.
        is_short = len(_squeezed(self.question)) <= _BY_CHANCE
        if not stands_in(self.question, text) or (is_short and not self._takes(-1, _QUESTION, rendered)):
            last = "tool's result" if self.messages[-1]["role"] == "tool" else "question"
            return f"the {last}, or cuts it: its text is not in the rendered prompt"
        # A system message is tried with words that stand nowhere else: the real one can be part of a question or the template's own.
        if self.system:
            has_place = self.messages[0]["role"] != "system" or self._takes(0, _PROMPT, rendered)
            if not has_place or not stands_in(self.system, text):
                return SYSTEM
        if not all(stands_in(text_of(m), text) for m in self.messages if m["role"] == "user"):
            return "earlier turns"
        return self._dropped_before(text, rendered)

    def _takes(self, index: int, word: str, rendered: Callable[[Conversation], str | None]) -> bool:
        try:
            text = rendered(self.saying(index, word))
        except ModelError:
            return False
        return text is not None and word in text

    def _dropped_before(self, text: str, rendered: Callable[[Conversation], str | None]) -> str | None:
        """What is left out of the transcript before the question and of the tools."""
        before = [
            (index, message) for index, message in enumerate(self.messages[:-1]) if message["role"] in ("assistant", "tool")
        ]
        if not before and not self.tools:
            return None
        twin, words = self._twin()
        try:
            said = rendered(twin)
        except ModelError:
            said = None
        if said is None:  # it takes no such names; then the text itself has to hold them
            said, words = text, self._own_words()
        for word, what in words.items():
            if not stands_in(word, said):
                return what
        for _, message in before:
            for call in message.get("tool_calls", ()):
                arguments = call["function"]["arguments"]
                if (
                    arguments
                    and isinstance(arguments, dict)
                    and str(arguments) in text
                    and not stands_in(json.dumps(arguments), text)
                ):
                    return "the form of a call's arguments: it writes them as Python and not as JSON"
        return None

    def _twin(self) -> tuple[Conversation, dict[str, str]]:
        """The same conversation of words that stand nowhere else, and what each word is in the place of."""
        words: dict[str, str] = {}
        numbers = itertools.count()

        def word(what: str) -> str:
            made = f"zq{next(numbers)}x"
            words[made] = what
            return made

        messages = [*self.messages]
        for index, message in enumerate(self.messages[:-1]):
            what = f"the {'reply' if message['role'] == 'assistant' else message['role']} of message {index}"
            if message["role"] in ("assistant", "tool") and text_of(message):
                message = {**message, "content": _like(message, "", word(what))["content"]}
            if message.get("tool_calls"):
                message = {**message, "tool_calls": [_with_words(call, word) for call in message["tool_calls"]]}
            messages[index] = message
        tools = []
        for tool in self.tools:
            name = word(f"the tools: the name of {tool['function']['name']!r} is not in the rendered prompt")
            tools.append({**tool, "function": {**tool["function"], "name": name}})
        settings = {**self.settings, **({"tools": tools} if tools else {})}
        return replace(self, messages=messages, settings=settings), words

    def _own_words(self) -> dict[str, str]:
        """What has to be in the text, and what it is."""
        words: dict[str, str] = {}
        for index, message in enumerate(self.messages[:-1]):
            if message["role"] == "tool" and text_of(message):
                words[text_of(message)] = f"the tool of message {index}"
            for call in message.get("tool_calls", ()):
                words[call["function"]["name"]] = "a call of a tool"
        for tool in self.tools:
            name = tool["function"]["name"]
            words[name] = f"the tools: the name of {name!r} is not in the rendered prompt"
        return words


def first_that_renders(frame: Frame, said: Sequence[Message]) -> tuple[Conversation, str, tuple[str, ...]]:
    """The first form of the conversation that the template takes, its text with the generation prompt, and notes.

    Args:
        said: all messages, without a system prompt; the last one is the user's or a tool's.

    Raises:
        ModelError: the template takes none; it says why it does not take the plainest one.
    """
    reasons: list[str] = []
    for conversation, notes in _forms(frame, said):
        try:
            text = conversation.opened()
        except ModelError as error:
            reasons.append(str(error))
            continue
        dropped = conversation.dropped(text, Conversation.opened)
        if dropped is None:
            return conversation, text, notes
        reasons.append(f"the chat template drops {dropped}")
    if frame.system == "":
        # A template without a place for a system prompt has none to be empty.
        return first_that_renders(replace(frame, system=None), said)
    raise ModelError(reasons[0])


_MERGED = (
    "the chat template has no place for a system prompt, so it stands at the start of the first user turn, a blank line before the "
    "question"
)
_NUMBERED = "the chat template refuses the ids of the calls of tools, so they have others"


def _forms(frame: Frame, said: Sequence[Message]) -> Iterator[tuple[Conversation, tuple[str, ...]]]:
    """The forms in which a conversation can be put, the plainest first, each with a note of what was changed."""
    system, tools, has_calls = frame.system, frame.tools, any(message.get("tool_calls") for message in said)
    for merged in (False, True) if system else (False,):
        for numbered in (False, True) if has_calls else (False,):
            for as_text in (False, True) if has_calls else (False,):
                for parts in (False, True):
                    for more in _DOCUMENTS:
                        messages = _with_system([*said], system, merged)
                        if has_calls:
                            messages = _with_calls(messages, numbered, as_text)
                        if parts:
                            messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
                        settings = {**more, **({"tools": list(tools)} if tools else {})}
                        notes = (_MERGED,) * merged + (_NUMBERED,) * numbered
                        yield Conversation(frame.render, messages, settings, said[-1]["content"], system, tools), notes


def _with_system(messages: list[Message], system: str | None, merged: bool) -> list[Message]:
    if system is None:
        return messages
    if not merged:
        return [{"role": "system", "content": system}, *messages]
    first = next(index for index, message in enumerate(messages) if message["role"] == "user")
    told = {**messages[first], "content": f"{system}\n\n{messages[first]['content']}"}
    return [*messages[:first], told, *messages[first + 1 :]]


def _with_calls(messages: list[Message], numbered: bool, as_text: bool) -> list[Message]:
    """The messages with ids of nine digits, and with the arguments of calls as JSON text, as some templates want them."""
    ids: dict[str, str] = {}
    found = []
    for message in messages:
        if message.get("tool_calls"):
            calls = []
            for call in message["tool_calls"]:
                ids[call["id"]] = f"{len(ids):09d}" if numbered else call["id"]
                arguments = call["function"]["arguments"]
                function = {
                    **call["function"],
                    "arguments": json.dumps(arguments, ensure_ascii=False) if as_text else arguments,
                }
                calls.append({**call, "id": ids[call["id"]], "function": function})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            message = {**message, "tool_call_id": ids.get(message["tool_call_id"], message["tool_call_id"])}
        found.append(message)
    return found


def _with_words(call: Json, word: Callable[[str], str]) -> Json:
    """A call with a word as its name and, where it has arguments, as the first of them."""
    function, name = call["function"], word("a call of a tool")
    arguments = function["arguments"]
    told = json.loads(arguments) if isinstance(arguments, str) else arguments
    if told:
        told = {**told, next(iter(told)): word("the arguments of a call of a tool")}
    return {**call, "function": {"name": name, "arguments": json.dumps(told) if isinstance(arguments, str) else told}}


def messages_of(turns: Sequence[Turn]) -> list[Message]:
    """The messages of (user, reply) turns."""
    return [
        message
        for user, reply in turns
        for message in ({"role": "user", "content": user}, {"role": "assistant", "content": reply})
    ]


def text_of(message: Message) -> str:
    """The text of a message of a text or of one part."""
    content = message["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def stands_in(said: str, text: str) -> bool:
    """Whether a text holds what was said, as it is or as JSON. White space is ignored, since some templates change it."""
    whole = _squeezed(text)
    return any(
        _squeezed(form) in whole for form in (said, json.dumps(said)[1:-1], json.dumps(said, ensure_ascii=False)[1:-1])
    )


def _like(message: Message, role: str, text: str) -> Message:
    """A message whose content is a text or a list of parts, like that of another one."""
    return {"role": role, "content": text if isinstance(message["content"], str) else [{"type": "text", "text": text}]}


def _squeezed(text: str) -> str:
    return "".join(text.split())


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


def chat_prompt(frame: Frame, question: str) -> PromptText:
    """The template's rendering of a conversation up to the reply.

    Raises:
        ModelError: the template cannot render the conversation, or drops a part of it.
    """
    found = first_that_renders(frame, [*frame.before, {"role": "user", "content": question}])
    return _open(*found, frame.markers) if frame.thinking_open else _closed(*found, frame.markers)[0]


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


def chat_turns(frame: Frame, turns: Sequence[str], replies: Sequence[str]) -> TurnsText:
    """The template's rendering of a dialogue as a model is asked to reply to its last turn, or to the transcript if it has no turn.

    The text ends with the template's generation prompt. Without ``thinking_open`` it ends where the template puts a reply, if more than space
    stands between the two: a closed block of thought, a channel header.

    Args:
        turns: what the user says; without any, the messages before end with a tool's result. replies: to all turns but the last one.

    Raises:
        ModelError: the template cannot render the conversation, or drops a message or the tools.
    """
    markers = frame.markers
    said = [*frame.before, *messages_of(list(zip(turns, replies, strict=False)))]
    last = [{"role": "user", "content": turn} for turn in turns[-1:]]
    conversation, opened, notes = first_that_renders(frame, [*said, *last])
    prompt = _open(conversation, opened, notes, markers)
    if not frame.thinking_open:
        closed, other = _closed(conversation, opened, notes, markers)
        if closed.opening.split() == prompt.opening.split():
            prompt = PromptText(prompt.text, prompt.turn_end, closed.thinking, closed.notes)
        else:
            prompt, conversation = closed, other
    return _with_turns(conversation, prompt, len(turns) or 1, markers)


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


def common_prefix(one: Sequence[object], other: Sequence[object]) -> int:
    """The number of characters or tokens that two texts share at their start."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


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
