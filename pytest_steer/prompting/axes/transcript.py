"""An earlier transcript of an agent: messages with calls of tools and their results, and the tools that the chat template renders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.registry import did_you_mean
from ...data.dialogues import ROLES, check_messages, check_tools
from ..formats import Setting
from ..kinds import axis

_EXAMPLE = {
    "messages": [
        {"role": "user", "content": "Is it warm in Rome?"},
        {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}]},
        {"role": "tool", "content": "23 degrees, sunny"},
        {"role": "assistant", "content": "Yes, it is 23 degrees."},
    ],
    "tools": [
        {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ],
}


@dataclass(frozen=True, repr=False)
class Transcript:
    """What stands before the question.

    Attributes:
        messages: as chat templates take them; the last one is not the user's, who asks the question next.
        tools: descriptions of tools.

    Raises:
        DataError: messages or tools of another form, or none at all.
    """

    messages: tuple[Json, ...] = field(default=(), hash=False)
    tools: tuple[Json, ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", check_messages(self.messages))
        object.__setattr__(self, "tools", check_tools(self.tools))
        if not self.messages and not self.tools:
            raise DataError("transcript: there are no messages and no tools: write as_given for none")
        if self.messages and self.messages[-1]["role"] == "user":
            raise DataError("transcript: the last message is the user's, and the question follows: end with the assistant's")

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def __repr__(self) -> str:
        return repr(self.to_dict())  # which a Context takes

    def to_dict(self) -> Json:
        """As it stands in a claim file."""
        return {name: list(value) for name, value in (("messages", self.messages), ("tools", self.tools)) if value}


def _read(value: Any) -> Transcript:
    if isinstance(value, Transcript):
        return value
    if not isinstance(value, Mapping):
        raise DataError(f"transcript is a mapping of messages and tools, not {value!r:.80}")
    unknown = next((str(key) for key in value if key not in ("messages", "tools")), None)
    if unknown is not None:
        raise DataError(f"transcript: unknown key {unknown!r}: {did_you_mean(unknown, ['messages', 'tools'])}")
    try:
        return Transcript(tuple(value.get("messages") or ()), tuple(value.get("tools") or ()))
    except DataError as error:
        raise DataError(f"transcript: {str(error).removeprefix('transcript: ')}") from None


@axis(
    "transcript",
    title="Earlier transcripts",
    listed="A list of different transcripts, each with messages, tools or both.",
    example=_EXAMPLE,
    schema={
        "type": "object",
        "properties": {
            "messages": {
                "title": "Messages",
                "description": "Messages as chat templates take them, the last one not the user's.",
                "type": "array",
                "items": {
                    "description": "A message: role and content; of the assistant with tool_calls, of a tool with tool_call_id.",
                    "type": "object",
                    "required": ["role"],
                    "properties": {
                        "role": {"description": "Whose message it is.", "enum": list(ROLES), "examples": ["user"]}
                    },
                },
                "examples": [_EXAMPLE["messages"]],
            },
            "tools": {
                "title": "Tools",
                "description": "Descriptions of tools: name, description, and parameters as JSON Schema.",
                "type": "array",
                "items": {"description": "A tool.", "type": "object"},
                "examples": [_EXAMPLE["tools"]],
            },
        },
        "additionalProperties": False,
    },
    read=_read,
    as_given=None,
    size=lambda value: 0.0 if value is None else len(value.messages) + len(value.tools),
    on="prompt",
    place=78,
    acts=-1,
)
def transcript(setting: Setting, value: Transcript) -> Setting:
    """Messages before the question, with calls of tools, and the tools that the chat template renders: {messages: [...], tools: [...]}."""
    messages, system = list(value.messages), setting.system
    if messages and messages[0]["role"] == "system":
        system = messages.pop(0)["content"]
    return replace(setting, system=system, before=tuple(messages), tools=value.tools)
