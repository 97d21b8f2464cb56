"""Where the reply begins in the chat template of a model that thinks."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting
from ..kinds import axis


@axis(
    "thinking",
    ["closed", "open"],
    about="Where the reply begins. closed (or as_given): where the chat template puts a reply without thought. open: right after the generation prompt, where a model that thinks begins to think.",
    listed="A list of places where the reply begins: `[as_given, open]`.",
    example="open",
    on="prompt",
    place=120,
    inherits=True,
)
def thinking(setting: Setting, value: str) -> Setting:
    """``closed`` is what as given means, even in a claim file that says ``thinking: open`` for all its claims."""
    return replace(setting, thinking_open=value == "open")
