"""The template: how the conversation becomes text."""

from __future__ import annotations

from dataclasses import replace

from ..formats import Setting, check_template
from ..kinds import text_axis


@text_axis(
    "template",
    check_template,
    about="as_given is the model's template, plain is plain question and answer. Or a text with {question} and optionally {system}, or a chat template in Jinja.",
    title="Templates",
    example="plain",
    on="prompt",
    place=20,
    inherits=True,
)
def template(setting: Setting, value: str) -> Setting:
    """A text with ``{question}`` is used as written. What follows the question opens the reply."""
    return replace(setting, form=setting.form.under(value))
