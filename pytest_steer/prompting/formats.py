"""How a conversation becomes text: a chat template, or a text with places for the system prompt and the question."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..core.errors import DataError, ModelError
from ..core.sources import find_model
from .chat import Frame, Message, PromptText, Render, Tools, Turn, TurnsText, chat_prompt, chat_turns, messages_of

RenderWith = Callable[..., str]
"""(source of a chat template, messages, add_generation_prompt, **settings of the template) -> text."""

QUESTION = "{question}"
SYSTEM = "{system}"
PLAIN = "Question: {question}\n\nAnswer: "
DATE = "2025-01-01"
"""The date that a template gets when it asks for today's, unless a context names another. So prompts do not depend on the day."""


@dataclass(frozen=True)
class PromptFormat:
    """How a conversation becomes text: the model's chat template, or a text such as plain question and answer.

    Attributes:
        template: the source of the chat template, or None for a text.
        render: (messages, add_generation_prompt, **settings) -> text; None for a text.
        markers: texts that are one token each (``<|im_start|>``), so that no cut goes through one.
        text: without a chat template, the text with ``{question}``. What follows ``{question}`` opens the reply, including a
            trailing space. ``{system}`` is where the system prompt goes; without it, a system prompt stands at the start.
        render_with: (source, messages, add_generation_prompt, **settings) -> text under another chat template; None if no other
            template can be rendered.
        date: the ISO date that a template gets when it asks for today's.
    """

    template: str | None = None
    render: Render | None = None
    markers: tuple[str, ...] = ()
    text: str = PLAIN
    render_with: RenderWith | None = None
    date: str = DATE

    @property
    def hash(self) -> str:
        """SHA-256 of the template's source; of the plain form's name if there is none."""
        source = "plain: Question: {question}\\n\\nAnswer:" if self.template is None else self.template
        return hashlib.sha256(source.encode()).hexdigest()

    @property
    def name(self) -> str:
        """What is said of it in a line: the start of the template's hash, or that there is none."""
        if self.template is not None:
            return f"chat template {self.hash[:12]}"
        return "no chat template (Question: / Answer:)" if self.text == PLAIN else f"no chat template ({self.text!r})"

    def under(self, template: str | None, date: str | None = None) -> PromptFormat:
        """The format under another template: None keeps this one, ``plain`` is the plain form, else see ``check_template``.

        Raises:
            DataError: a chat template, and ``render_with`` is None.
        """
        form = self if date is None else dataclasses.replace(self, date=date)
        if template is None:
            return form
        if template == "plain" or not is_chat_template(template):
            return dataclasses.replace(form, template=None, render=None, text=PLAIN if template == "plain" else template)
        if self.render_with is None:
            raise DataError("template: a chat template needs a model's tokenizer to render it, and there is none here")
        return dataclasses.replace(form, template=template, render=partial(self.render_with, template))

    def prompt(
        self,
        question: str,
        system: str | None = None,
        turns: Sequence[Turn] = (),
        *,
        thinking_open: bool = False,
        before: Sequence[Message] = (),
        tools: Tools = (),
    ) -> PromptText:
        """A conversation as text, up to the first character of the reply.

        Args:
            system: the system prompt; None leaves it to the template.
            turns: earlier (user, reply) turns, in order.
            thinking_open: end with the chat template's generation prompt, where a model that thinks begins to think, instead of
                where the template puts a reply.
            before: a transcript before the earlier turns, without a system prompt.
            tools: descriptions of tools that the template renders.

        Raises:
            ModelError: the chat template cannot render the conversation, or drops a part of it; there is none, and the conversation has
                tools.
        """
        if self.render is None:
            return self._filled(question, system, [*_shown(before, tools), *turns])
        dated = partial(self.render, date=self.date)
        said = [*before, *messages_of(turns)]
        return chat_prompt(Frame(dated, self.markers, system, said, tools, thinking_open), question)

    def turns(
        self,
        turns: Sequence[str],
        replies: Sequence[str] = (),
        system: str | None = None,
        *,
        before: Sequence[Message] = (),
        tools: Tools = (),
        thinking_open: bool = False,
    ) -> TurnsText:
        """A dialogue as text, as a model is asked to reply to its last turn: see ``chat_turns``.

        Args:
            turns: what the user says; none to reply to ``before``, which ends with a tool's result. replies: to all turns but the last one.
            system: the system prompt; None leaves it to the template.
            before: a transcript before the first turn, without a system prompt.

        Raises:
            ModelError: the chat template cannot render the dialogue, or drops a message or the tools; there is none, and the dialogue
                has tools.
        """
        if self.render is None:
            return self._filled_turns(turns, replies, system, before, tools)
        dated = partial(self.render, date=self.date)
        return chat_turns(Frame(dated, self.markers, system, before, tools, thinking_open), turns, replies)

    def _filled_turns(
        self, turns: Sequence[str], replies: Sequence[str], system: str | None, before: Sequence[Message], tools: Tools
    ) -> TurnsText:
        shown = [*_shown(before, tools), *zip(turns, replies, strict=False)]
        found = [self._filled(user, system, shown[:number]) for number, (user, _) in enumerate(shown)]
        last = self._filled(turns[-1], system, shown)
        earlier = found[len(shown) - len(turns) + 1 :]
        ends = (*(one.turn_end for one in earlier), last.turn_end)
        return TurnsText(last, ends, (*(len(one.text) for one in earlier), len(last.text)))

    def _filled(self, question: str, system: str | None, turns: Sequence[Turn]) -> PromptText:
        # The system prompt stands once, in the first turn.
        before, after = self.text.split(QUESTION)
        placed = (system or "", *[""] * len(turns))
        around = [(before.replace(SYSTEM, here), after.replace(SYSTEM, here)) for here in placed]
        text = f"{system}\n\n" if system and SYSTEM not in self.text else ""
        for (before, after), (user, reply) in zip(around, turns, strict=False):
            text += f"{before}{user}{after}{reply}\n\n"
        before, after = around[-1]
        turn = f"{text}{before}{question}"
        return PromptText(turn + after, len(turn))


def _shown(before: Sequence[Message], tools: Tools) -> list[Turn]:
    """A transcript as (user, reply) turns, which is what can be put without a chat template.

    Raises:
        ModelError: it is something else.
    """
    roles = [message["role"] for message in before]
    if tools or roles != ["user", "assistant"] * (len(roles) // 2):
        what = "tools" if tools or "tool" in roles else f"messages of {', '.join(roles)} before the question"
        raise ModelError(f"there is no chat template, which alone renders {what}")
    said = [str(message["content"]) for message in before]
    return [*zip(said[::2], said[1::2], strict=True)]


@dataclass(frozen=True)
class Setting:
    """How a prompt is made: what the axes of a context change besides the item and the turns.

    Attributes:
        form: how the conversation becomes text.
        system: the system prompt; None leaves it to the template.
        thinking_open / before / tools: see ``PromptFormat.prompt``.
    """

    form: PromptFormat
    system: str | None = None
    thinking_open: bool = False
    before: tuple[Message, ...] = ()
    tools: Tools = ()


def check_date(value: str | datetime.date) -> str:
    """Check an ISO date, such as ``2025-01-01``, and return it as a text.

    Raises:
        DataError: it is not one.
    """
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise DataError(f"date must be a day such as '{DATE}', not {value!r}") from None


def is_chat_template(template: str) -> bool:
    """Whether a text is the source of a chat template (Jinja) rather than a text with ``{question}``."""
    return "{%" in template or "{{" in template


def check_template(template: str) -> str:
    """Check a template that a context can name, and return it.

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


_FILE = "chat_template.jinja"
_GGUF_KEY = b"tokenizer.chat_template"


def template_name(name: str) -> str | None:
    """What ``PromptFormat.name`` will say of a model; None if that cannot be told without loading it (a hub id)."""
    try:
        source = find_model(name)
        if source.path is None:
            return None
        if source.kind == "gguf":
            return None if _holds(source.path, _GGUF_KEY) else PromptFormat().name
        return PromptFormat(template=_template_in(source.path)).name
    except (ModelError, OSError, ValueError):
        return None  # which is an error once it is loaded


def _template_in(folder: Path) -> str | None:
    if (folder / _FILE).is_file():
        return (folder / _FILE).read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    found = json.loads(settings.read_text(encoding="utf-8")).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):  # several named ones, as in PromptFormat: transformers' own choice
        named = {entry["name"]: entry["template"] for entry in found}
        found = named.get("default") or next(iter(named.values()), None)
    return found or None


def _holds(path: Path, key: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(key) >= 0
