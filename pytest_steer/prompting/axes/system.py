"""The system prompt."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting
from ..kinds import axis, text


@axis(
    "system",
    about='A system prompt; "" is an empty one, as_given what the chat template has by itself.',
    title="System prompts",
    listed='A list of different system prompts; "" is none.',
    example="You are a helpful assistant.",
    schema={"type": "string"},
    read=text("system"),
    as_given=None,
    on="prompt",
    place=10,
)
def system(setting: Setting, value: str) -> Setting:
    return replace(setting, system=value)
