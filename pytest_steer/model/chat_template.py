"""Render a chat template through its tokenizer, with a fixed date."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from ..screen import message_of

# Formats of dates: what the date function is called with, and other text constants that could be one.
_FORMATS = (
    re.compile(r"strftime_now\(\s*(['\"])(?P<format>.*?)\1", re.DOTALL),
    re.compile(r"(['\"])(?P<format>(?:(?!\1)[^\n])*%(?:(?!\1)[^\n])*)\1"),
)

# transformers hands a template today's date through a function of this name. A macro of the same name replaces it.
_DATED = (
    "{%- macro strftime_now(format) %}"
    "{{ steer_dates[format] if format in steer_dates else raise_exception('the format ' ~ format ~ ' of a date is not known') }}"
    "{%- endmacro %}{{ '' }}"
)


def render_chat(
    tokenizer: Any, source: str, messages: Sequence[dict[str, Any]], opened: bool, *, date: str, **settings: Any
) -> str:
    """The text of a conversation under a chat template.

    Args:
        source: the template.
        opened: end with the generation prompt.
        date: ISO date that the template gets when it asks for today's.
        settings: what else the template is given (``enable_thinking``, ``tools``).

    Raises:
        ModelError: the template refuses the conversation, or is none.
    """
    if "strftime_now" in source:
        day = datetime.date.fromisoformat(date)
        formats = {found["format"] for pattern in _FORMATS for found in pattern.finditer(source)}
        settings["steer_dates"] = {format: day.strftime(format) for format in formats}
        source = _DATED + source
    try:
        text = tokenizer.apply_chat_template(
            list(messages), chat_template=source, tokenize=False, add_generation_prompt=opened, **settings
        )
    except Exception as error:  # templates raise what they like, through jinja2
        raise ModelError(f"the chat template cannot render {[m['role'] for m in messages]}: {message_of(error)}") from None
    return str(text)
