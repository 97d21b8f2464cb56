"""The day that a chat template gets when it asks for today's date."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting, check_date
from ..kinds import axis


@axis(
    "date",
    about="The day that a chat template gets when it asks for today's date. As given it is 2025-01-01, so prompts do not depend on the day.",
    title="Dates",
    listed="A list of different days that the chat template gets when it asks for today's date.",
    example="2025-01-01",
    schema={"type": "string"},
    read=check_date,
    as_given=None,
    on="prompt",
    place=130,
    inherits=True,
)
def date(setting: Setting, value: str) -> Setting:
    return replace(setting, form=setting.form.under(None, value))
