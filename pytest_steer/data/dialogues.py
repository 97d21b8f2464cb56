"""Dialogues: what a model is asked to reply to, in one turn or several, with the transcript and the tools before it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from ..core.errors import DataError
from ..core.evidence import Json
from ..core.registry import did_you_mean
from .formats.entries import each_made, entries, file_of, has_entries, read_again, text_lines
from .formats.shapes import check_columns, item_of, others_of, show
from .items import ContrastItem, check_text
from .likeness import normal_form
from .units import Units

MOST_TURNS = 10
"""The most turns of the user that a dialogue has."""


@dataclass(frozen=True)
class Dialogue:
    """What a model is asked to reply to.

    Attributes:
        turns: the user's turns, 1 to 10, in order; the model's own replies stand between them. None, if the transcript ends with a
            tool's result, to which the model replies then. A user's message at its end becomes the turn.
        messages: an earlier transcript before the first turn, ``{role, content}`` and ``tool_calls`` as chat templates take them.
        tools: descriptions of the tools that the template renders, ``{type: function, function: {name, description, parameters}}``.
        id: where it stands in its data set; stable under slicing.
        cluster: what it belongs to with others, such as paraphrases of one prompt; None if it stands for itself.
        meta: what else its entry holds.

    Raises:
        DataError: nothing to reply to, more than ten turns, an empty one, a message or a tool of another form.
    """

    turns: tuple[str, ...] = ()
    messages: tuple[Json, ...] = field(default=(), hash=False)
    tools: tuple[Json, ...] = field(default=(), hash=False)
    id: str = field(default="", compare=False)
    cluster: str | None = field(default=None, compare=False)
    meta: dict[str, object] = field(default_factory=dict, compare=False, hash=False, repr=False)

    def __post_init__(self) -> None:
        turns = (self.turns,) if isinstance(self.turns, str) else self.turns
        if not isinstance(turns, Iterable):
            raise DataError(f"turns is a list of texts, not {turns!r}")
        object.__setattr__(self, "turns", tuple(turns))
        if len(self.turns) > MOST_TURNS:
            raise DataError(f"a dialogue has 1 to {MOST_TURNS} turns of the user, not {len(self.turns)}")
        for number, turn in enumerate(self.turns, start=1):
            check_text(turn, f"turn {number}")
        object.__setattr__(self, "messages", check_messages(self.messages))
        object.__setattr__(self, "tools", check_tools(self.tools))
        if not self.turns:
            self._reply_to_transcript()

    def _reply_to_transcript(self) -> None:
        """Of a dialogue without turns: take the user's last message as the turn, or see that there is a tool's result to reply to."""
        last = self.messages[-1] if self.messages else {"role": None}
        if last["role"] == "user":
            object.__setattr__(self, "turns", (last["content"],))
            object.__setattr__(self, "messages", self.messages[:-1])
        elif last["role"] != "tool":
            there = f", not with a message of the {last['role']}" if self.messages else ""
            raise DataError(
                f"a dialogue has 1 to {MOST_TURNS} turns of the user, not 0, or a transcript that ends with a tool's result{there}"
            )
        elif all(message["role"] != "user" for message in self.messages):
            raise DataError("the transcript has no message of the user: put it before the call of the tool")

    @property
    def form(self) -> tuple[str, ...]:
        """The normal form: the turns, and the transcript and tools where there are any. Dialogues of one form are one dialogue."""
        before = [json.dumps(part, ensure_ascii=False, sort_keys=True) for part in (self.messages, self.tools)]
        return (*map(normal_form, self.turns), *(["\n", *before] if self.messages or self.tools else []))

    @property
    def n_replies(self) -> int:
        """How many replies the model writes: one to each turn, or one to the transcript that ends with a tool's result."""
        return len(self.turns) or 1

    @property
    def said(self) -> tuple[str, ...]:
        """What each reply is to, for readers: the turns, or the user's last message with the results of tools after it, as one text."""
        if self.turns:
            return self.turns
        last = max(index for index, message in enumerate(self.messages) if message["role"] == "user")
        results = [f"[{one['name']}] {one['content']}" for one in self.messages[last + 1 :] if one["role"] == "tool"]
        return ("\n\n".join([self.messages[last]["content"], *results]),)

    @property
    def asked(self) -> tuple[str, ...]:
        """All that the user says, in order: in the transcript and in the turns."""
        return (*(message["content"] for message in self.messages if message["role"] == "user"), *self.turns)

    def tool(self, name: str) -> Json | None:
        """The description of the tool of that name, or None."""
        return next((tool for tool in self.tools if name_of(tool) == name), None)


class Dialogues(Units[Dialogue]):
    """Dialogues. Those that begin with the same turn after the same transcript belong together."""

    called, one, shown_as = "prompts", "prompt", "prompts"

    def content_of(self, entry: Dialogue) -> object:
        return [entry.turns, entry.messages, entry.tools]

    def labels(self) -> Sequence[Hashable]:
        return [place if own.cluster is None else own.cluster for place, own in enumerate(self)]

    def together(self) -> Sequence[Hashable]:
        return [(normal_form(own.said[0]), repr(own.messages)) for own in self]

    @property
    def most_turns(self) -> int:
        """The number of replies to the longest one."""
        return max((one.n_replies for one in self), default=0)


DialogueLike = str | Dialogue | ContrastItem
"""A prompt of one turn, a dialogue, or a contrast item, of which the question is asked."""


def as_dialogues(dialogues: Iterable[DialogueLike]) -> Dialogues:
    """Dialogues from any iterable of texts, of Dialogue or of ContrastItem; numbers those without an id.

    Raises:
        DataError: there are none, or something else is in it.
    """
    if isinstance(dialogues, Dialogues):
        return dialogues
    if isinstance(dialogues, str) or not isinstance(dialogues, Iterable):
        raise DataError(f"prompts are a list, not {dialogues!r:.60}: give [text], or read a file with read_prompts(path)")
    found = []
    for index, one in enumerate(dialogues):
        try:
            made = _dialogue(one)
        except DataError as error:
            raise DataError(f"prompt {index}: {error}") from None
        found.append(made if made.id else replace(made, id=str(index)))
    if not found:
        raise DataError("there are no prompts")
    source, expression = getattr(dialogues, "source", "prompts"), getattr(dialogues, "expression", "prompts")
    return Dialogues(found, str(source), str(expression))


def read_prompts(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> Dialogues:
    """Read what a model is asked to reply to.

    The lines of a text file (blank ones are skipped), or entries of a JSON, JSON Lines, CSV, TSV or Parquet file: a text, ``{question}``,
    ``{prompt}``, ``{turns: [...]}`` (MT-Bench), ``{messages: [...]}`` that ends with the user's turn or a tool's result, each also with
    ``tools``. Contrast items give their questions.

    Args:
        columns: another name of the prompt, ``{"prompt": "q"}``, and ``id``.

    Raises:
        DataError: the file is missing, is not valid, holds no prompts, or one of its entries is wrong, with its line, row or index.
    """
    file, names = file_of(path), check_columns(columns)
    rows = entries(file) if has_entries(file) else ((f"line {n}", line) for n, line in enumerate(text_lines(file), 1))
    found = each_made(rows, file, lambda entry, number: Dialogue(**{"id": number, **_fields(entry, names)}), "prompts")
    return Dialogues(found, str(path), read_again("read_prompts", path, names))


def _dialogue(one: Any) -> Dialogue:
    if isinstance(one, Dialogue):
        return one
    if isinstance(one, ContrastItem):
        return Dialogue((one.question,), id=one.id, meta=one.meta)
    if isinstance(one, str):
        return Dialogue((one,))
    raise DataError(
        f"is a {type(one).__name__}: read a file with read_prompts(path), or give a text, Dialogue(turns=(...,)) or a ContrastItem"
    )


# --- from an entry of a file of prompts to the fields of a dialogue, told apart by its keys ---


_ASKED = ("question", "prompt", "turns", "messages")
_IDS = ("id", "question_id")
_SHAPES = (
    "known shapes: a text; {question}; {prompt}; {turns: [texts]}; {messages: [..., {role: user, content: text}]}; each with {tools: "
    "[...]} beside it. Another name is given by columns: {prompt: ...}"
)


def _fields(entry: Any, columns: Mapping[str, str]) -> Json:
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
    meta = others_of(entry, (key, "tools", columns.get("id", "id")))
    found = {**_turns(entry, key, columns), "tools": tools, "meta": meta}
    return found if identity is None else {**found, "id": str(identity)}


def _asked_key(entry: Mapping[str, object], columns: Mapping[str, str]) -> str | None:
    """The key of what is asked; None for a contrast item, whose own keys say it."""
    named = [columns[key] for key in ("prompt", "question") if key in columns]
    if there := [key for key in named if key in entry]:
        return there[0]
    found = [key for key in _ASKED if entry.get(key) is not None]
    if found == ["turns", "messages"]:
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


def _turns(entry: Mapping[str, object], key: str | None, columns: Mapping[str, str]) -> Json:
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


def _last_turn(messages: list[Any], key: str) -> Json:
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


# --- transcripts: the messages of a conversation and the tools of its model, as chat templates take them ---

Message = Json
ROLES = ("system", "user", "assistant", "tool")
_READ = ("role", "content", "tool_calls", "tool_call_id", "name")


def check_messages(messages: Any) -> tuple[Message, ...]:
    """A transcript in the form that chat templates take.

    A message is ``{role, content}``, of the assistant with ``tool_calls`` (content may then be missing), of a tool with the
    ``tool_call_id`` that it answers. A content of text parts becomes one text; a call is ``{id, type: function, function: {name,
    arguments}}``, whose arguments may be given as JSON text. An id that is not given is made from the call's number.

    Raises:
        DataError: something else stands there, a system prompt that is not the first message, a tool's message that answers no call, or a
            call that none answers before the user speaks.
    """
    listed = _list_of(messages, "messages")
    found: list[Message] = []
    waiting: dict[str, str] = {}  # id of a call that no message answers yet, to the name of its tool
    calls = 0
    for index, message in enumerate(listed):
        where = f"message {index}"
        role = _role_of(message, where)
        if role == "system" and index:
            raise DataError(f"{where}: a system prompt is the first message: put it first, or give it as a context")
        if waiting and role != "tool":
            raise DataError(
                f"{where}: the call of {next(iter(waiting.values()))!r} before it has no message of a tool that answers it"
            )
        made: Message = {"role": role, "content": _content_of(message, where, may_lack=bool(message.get("tool_calls")))}
        if role == "assistant" and message.get("tool_calls"):
            made["tool_calls"] = _calls_of(message["tool_calls"], f"{where}: tool_calls", calls)
            calls += len(made["tool_calls"])
            waiting = {call["id"]: call["function"]["name"] for call in made["tool_calls"]}
        elif role == "tool":
            answered = str(message.get("tool_call_id") or next(iter(waiting), ""))
            if answered not in waiting:
                raise DataError(
                    f"{where}: answers no call: "
                    + (f"there is none with the id {answered!r} before it" if answered else "there is none before it")
                )
            made |= {"tool_call_id": answered, "name": waiting.pop(answered)}
        # Templates may render more than these, such as reasoning_content.
        made |= {key: _plain(value, where) for key, value in message.items() if key not in _READ and value is not None}
        found.append(made)
    if waiting:
        raise DataError(f"the call of {next(iter(waiting.values()))!r} has no message of a tool that answers it")
    return tuple(found)


def check_tools(tools: Any) -> tuple[Json, ...]:
    """Descriptions of tools as chat templates take them: ``{type: function, function: {name, description, parameters}}``.

    The inner object may stand alone.

    Raises:
        DataError: something else stands there, two tools have one name, or ``parameters`` is no JSON Schema of an object.
    """
    found = []
    for index, tool in enumerate(_list_of(tools, "tools")):
        where = f"tool {index}"
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or tool.get("type", "function") != "function":
            raise DataError(
                f"{where}: expected {{type: function, function: {{name, description, parameters}}}}, found {tool!r:.60}"
            )
        check_text(function.get("name"), f"the name of {where}")
        _check_parameters(function.get("parameters", {}), f"{where}, {function['name']!r}")
        found.append({"type": "function", "function": _plain(function, where)})
    names = [tool["function"]["name"] for tool in found]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"two tools have the name {repeated!r}")
    return tuple(found)


def name_of(tool: Json) -> str:
    """The name of a tool, as :func:`check_tools` gives it."""
    return str(tool["function"]["name"])


def text_of(content: Any) -> str | None:
    """The text of a message's content: a text, or parts that are all text; None for anything else."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    return None


def _list_of(value: Any, what: str) -> list[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise DataError(f"{what} is a list, not {value!r:.60}")
    return list(value)


def _role_of(message: Any, where: str) -> str:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise DataError(f"{where}: expected an object with 'role' and 'content', found {message!r:.60}")
    if message["role"] not in ROLES:
        raise DataError(f"{where}: unknown role {message['role']!r}: {did_you_mean(message['role'], ROLES)}")
    return str(message["role"])


def _content_of(message: Mapping[str, object], where: str, *, may_lack: bool) -> str:
    content = message.get("content")
    if may_lack and content in (None, "", []):
        return ""
    if message["role"] == "tool" and isinstance(content, (Mapping, list, int, float)) and text_of(content) is None:
        content = json.dumps(content, ensure_ascii=False)
    text = text_of(content)
    if text is None and isinstance(content, list):
        raise DataError(f"{where}: 'content' has a part that is no text, and text alone is steered and measured")
    check_text(text if text is not None else content, f"the content of {where}")
    return str(text)


def _calls_of(calls: Any, where: str, before: int) -> list[Json]:
    found = []
    for index, call in enumerate(_list_of(calls, where)):
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise DataError(f"{where}: expected {{function: {{name, arguments}}}}, found {call!r:.60}")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError as error:
                raise DataError(f"{where}: the arguments of {function['name']!r} are not valid JSON: {error}") from None
        if not isinstance(arguments, Mapping):
            raise DataError(f"{where}: the arguments of {function['name']!r} are an object, not {arguments!r:.60}")
        # Nine letters and digits, which is what the strictest templates ask of an id.
        identity = str(call.get("id") or f"call{before + index:05d}")
        function = {"name": function["name"], "arguments": _plain(arguments, where)}
        found.append({"id": identity, "type": "function", "function": function})
    ids = [call["id"] for call in found]
    if len(set(ids)) < len(ids):
        raise DataError(f"{where}: two calls have one id")
    return found


def _check_parameters(schema: Any, where: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise DataError(f"{where}: 'parameters' is the JSON Schema of an object, not {schema!r:.60}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise DataError(f"{where}: 'parameters' is no JSON Schema: {error.message}") from None


def _plain(value: Any, where: str) -> Any:
    """A deep copy of plain data."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {value!r:.60} cannot be written as JSON: {error}") from None
