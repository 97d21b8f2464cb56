"""The template: how the conversation becomes text."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting, check_template
from ..kinds import axis, text


@axis(
    "template",
    about="as_given is the model's own, plain is plain question and answer; or a text with {question} and maybe {system}, or a chat template in Jinja.",
    title="Templates",
    listed="A list of different templates.",
    example="plain",
    schema={"type": "string"},
    read=text("template", check_template),
    as_given=None,
    on="prompt",
    place=20,
    inherits=True,
)
def template(setting: Setting, value: str) -> Setting:
    """A text with ``{question}`` is used as written: what follows the question opens the reply."""
    return replace(setting, form=setting.form.under(value))
