"""A conversation in a form that a chat template takes, and what the template leaves out of it.

No template is known by name. Words that occur nowhere else are put in the place of what has to be rendered, and looked for in the text.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..core.errors import ModelError
from ..core.evidence import Json

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
