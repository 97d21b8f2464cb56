"""From an item to the text that the model reads.

The text has three parts, since steering scopes are defined by where they meet: the user's turn, the opening of
the reply, and the answer. They are tokenised together (see ``model/tokens.py``), never one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from .contexts import AS_GIVEN, Context
from .items import ContrastItem

Message = dict[str, str]
Render = Callable[[list[Message], bool], str]


@dataclass(frozen=True)
class RenderedItem:
    """An item as text.

    Attributes:
        turn: everything up to the end of the user's turn.
        opening: what follows before the answer (generation prompt, "(" of a lettered answer).
        matching / not_matching: the answers as they continue the text, with their leading space where one belongs.
        special_tokens: whether the tokenizer has to add its own (a chat template writes them itself).
    """

    item: ContrastItem
    turn: str
    opening: str
    matching: tuple[str, ...]
    not_matching: tuple[str, ...]
    special_tokens: bool

    @property
    def prompt(self) -> str:
        return self.turn + self.opening


@dataclass(frozen=True)
class PromptFormat:
    """How a conversation becomes text: the model's chat template, or plain question and answer.

    Attributes:
        template: the source of the chat template, or None for the plain form.
        render: (messages, add_generation_prompt) -> text; None for the plain form.
        markers: texts that are one token each (``<|im_start|>``), so that no cut goes through one.
    """

    template: str | None = None
    render: Render | None = None
    markers: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 of the template's source; of the plain form's name if there is none."""
        source = "plain: Question: {question}\\n\\nAnswer:" if self.template is None else self.template
        return hashlib.sha256(source.encode()).hexdigest()

    def turn_and_opening(self, question: str, system: str | None) -> tuple[str, str]:
        """Text up to the end of the user's turn, and the opening of the reply."""
        if self.render is None:
            lead = f"{system}\n\n" if system else ""
            return f"{lead}Question: {question}", "\n\nAnswer:"
        messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
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


def render_item(item: ContrastItem, template: PromptFormat, context: Context = AS_GIVEN) -> RenderedItem:
    """Renders an item in a context.

    Lettered answers: the reply is opened with "(" and the answer is the letter alone, as in CAA. Other answers
    stand at the start of the reply, without the spaces that files carry around them; the plain form puts one space
    between "Answer:" and the answer.
    """
    item = context.put(item)
    turn, opening = template.turn_and_opening(item.question, context.system)
    gap = " " if template.render is None else ""
    if item.is_lettered:
        opening += gap + "("
        matching, not_matching = (tuple(a.strip()[1] for a in side) for side in (item.matching, item.not_matching))
    else:
        matching, not_matching = (tuple(gap + a.strip() for a in side) for side in (item.matching, item.not_matching))
    return RenderedItem(item, turn, opening, matching, not_matching, special_tokens=template.render is None)


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
