"""Transcripts: the messages of a conversation and the tools of its model, as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.errors import DataError
from ..core.evidence import Json
from ..core.registry import did_you_mean
from .items import check_text

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
