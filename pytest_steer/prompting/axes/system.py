"""The system prompt."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting
from ..kinds import text_axis


@text_axis(
    "system",
    about='A system prompt. "" is an empty one; as_given is the chat template\'s default.',
    title="System prompts",
    listed='A list of different system prompts; "" is none.',
    example="You are a helpful assistant.",
    on="prompt",
    place=10,
)
def system(setting: Setting, value: str) -> Setting:
    return replace(setting, system=value)
