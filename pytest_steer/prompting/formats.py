"""How a conversation becomes text: a chat template, or a text with places for the system prompt and the question."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import DataError
from .axes.few_shot import Turn
from .axes.wording import QUESTION

Message = dict[str, str]
Render = Callable[[list[Message], bool], str]
RenderWith = Callable[[str, list[Message], bool], str]

SYSTEM = "{system}"
PLAIN = "Question: {question}\n\nAnswer: "


@dataclass(frozen=True)
class PromptFormat:
    """How a conversation becomes text: the model's chat template, or a text such as plain question and answer.

    Attributes:
        template: the source of the chat template, or None for a text.
        render: (messages, add_generation_prompt) -> text; None for a text.
        markers: texts that are one token each (``<|im_start|>``), so that no cut goes through one.
        text: where there is no chat template, the text with ``{question}``. What stands behind it opens the reply;
            spaces at its end belong to the answer. ``{system}`` is where the system prompt goes; without it, a system
            prompt stands in front.
        render_with: (source, messages, add_generation_prompt) -> text under another chat template; None if there is no way.
    """

    template: str | None = None
    render: Render | None = None
    markers: tuple[str, ...] = ()
    text: str = PLAIN
    render_with: RenderWith | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the template's source; of the plain form's name if there is none."""
        source = "plain: Question: {question}\\n\\nAnswer:" if self.template is None else self.template
        return hashlib.sha256(source.encode()).hexdigest()

    @property
    def gap(self) -> str:
        """What stands between the opening of the reply and the reply."""
        return "" if self.render is not None else self.text[len(self.text.rstrip(" ")) :]

    def under(self, template: str | None) -> PromptFormat:
        """The format that a context names: None leaves this one, ``plain`` is the plain form, else see ``check_template``.

        Raises:
            DataError: a chat template, where there is no way to render one.
        """
        if template is None:
            return self
        if template == "plain":
            return dataclasses.replace(self, template=None, render=None, text=PLAIN)
        if not is_chat_template(template):
            return dataclasses.replace(self, template=None, render=None, text=template)
        if self.render_with is None:
            raise DataError("template: a chat template needs a model's tokenizer to render it, and there is none here")
        render_with = self.render_with
        return dataclasses.replace(
            self, template=template, render=lambda messages, opened: render_with(template, messages, opened)
        )

    def turn_and_opening(self, question: str, system: str | None, turns: Sequence[Turn] = ()) -> tuple[str, str]:
        """Text up to the end of the user's turn, and the opening of the reply.

        Args:
            turns: earlier (user, reply) turns, in order.
        """
        if self.render is None:
            return self._filled(question, system, turns)
        messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        for user, reply in turns:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
        messages.append({"role": "user", "content": question})
        turn, whole = self.render(messages, False), self.render(messages, True)
        # Nearly every template writes the reply's opening behind the turn. One that does not (it closes the
        # conversation differently) is cut where the two texts part, before the marker that differs.
        end = len(turn) if whole.startswith(turn) else _common_prefix(turn, whole)
        for marker in self.markers:
            at = whole.find(marker, max(0, end - len(marker) + 1), end + len(marker) - 1)
            if 0 <= at < end < at + len(marker):
                end = at
        return whole[:end], whole[end:]

    def _filled(self, question: str, system: str | None, turns: Sequence[Turn]) -> tuple[str, str]:
        before, behind = self.text.rstrip(" ").split(QUESTION)
        places = SYSTEM in self.text

        def put(text: str, system: str) -> str:
            return text.replace(SYSTEM, system)

        # The system prompt stands once, in the first turn.
        named = [system or "", *[""] * len(turns)]
        lead = f"{system}\n\n" if system and not places else ""
        earlier = "".join(
            f"{put(before, here)}{user}{put(behind, here)}{self.gap}{reply}\n\n"
            for here, (user, reply) in zip(named, turns, strict=False)
        )
        return f"{lead}{earlier}{put(before, named[len(turns)])}{question}", put(behind, named[len(turns)])


def is_chat_template(template: str) -> bool:
    """Whether a text is the source of a chat template (Jinja) rather than a text with ``{question}``."""
    return "{%" in template or "{{" in template


def check_template(template: str) -> str:
    """A template that a context can name.

    Raises:
        DataError: neither ``plain``, nor a chat template, nor a text with ``{question}`` once.
    """
    if template == "plain" or is_chat_template(template):
        return template
    if template.count(QUESTION) != 1 or template.count(SYSTEM) > 1:
        raise DataError(
            f"template {template!r} is neither 'plain', nor a chat template (Jinja), nor a text with {QUESTION} once and "
            f"{SYSTEM} at most once"
        )
    return template


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
