"""Chat templates of our own, one for each way in which templates of released models differ, with what each has to render to.

The markers are made up. ``closing``, ``opening`` and ``generation`` are written down by hand, so they say what is right without any
code: question + closing is the user's turn, opening stands before a reply, generation is what the generation prompt adds to the turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import builders

SYSTEM = "Sing."


@dataclass(frozen=True)
class Case:
    """A template and what it renders to.

    Attributes:
        system: where a system prompt stands: in a message of its own (``own``), at the start of the first user turn (``merged``), or in
            the template's last user message, which a reply takes away (``last``).
        settings: what the template has to be told so that it renders a conversation with a reply outside of any thought.
        parts: a message's content is a list of parts.
        followed: the template refuses a conversation that ends with a reply.
        closes: what has to be written to close the block of thought that the template opens before a reply.
        note: a part of what the evidence says about it.
    """

    name: str
    source: str | None
    closing: str
    opening: str
    generation: str
    system: Literal["own", "merged", "last"] = "own"
    settings: dict[str, Any] = field(default_factory=dict)
    parts: bool = False
    followed: bool = False
    closes: str = ""
    note: str = ""

    @property
    def markers(self) -> list[str]:
        """The markers as a tokenizer of such a model would have them: one token each."""
        return sorted(set(re.findall(r"<[|/]?\w+[|]?>|\[/?[A-Z]+\]", self.source or "")) - {"<s>", "</s>"})

    def messages(self, question: str, system: str | None = None, reply: str | None = None) -> list[dict[str, Any]]:
        """The conversation as this template takes it."""
        said = [] if system is None else [{"role": "system", "content": system}]
        if system is not None and self.system == "merged":
            said, question = [], f"{system}\n\n{question}"
        said.append({"role": "user", "content": question})
        if reply is not None:
            said.append({"role": "assistant", "content": reply})
            said += [{"role": "user", "content": "zz"}] * self.followed
        return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in said] if self.parts else said


def _each(system: str, user: str, reply: str, generation: str, end: str = "", start: str = "") -> str:
    """A template of one piece for each role; ``{}`` is the content."""
    pieces = {"system": system, "user": user, "assistant": reply}
    branches = "".join(
        f"{{%- {'if' if not index else 'elif'} m['role'] == '{role}' -%}}{{{{ {_text(piece)} }}}}"
        for index, (role, piece) in enumerate(pieces.items())
    )
    return (
        f"{start}{{%- for m in messages -%}}{branches}{{%- endif -%}}{{%- endfor -%}}"
        f"{{%- if add_generation_prompt -%}}{{{{ {generation!r} }}}}{{%- else -%}}{{{{ {end!r} }}}}{{%- endif -%}}"
    )


def _text(piece: str, content: str = "m['content']") -> str:
    before, _, after = piece.partition("{}")
    return f"{before!r} + {content} + {after!r}"


_SYS, _USER = "<|sys|>{}<|over|>", "<|user|>{}<|over|>"
_REFUSES = "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no system role') }}{%- endif -%}"

CASES = (
    Case("default system prompt", builders.CHATML, "<|im_end|>\n", "<|im_start|>assistant\n", "<|im_start|>assistant\n"),
    Case("nothing after the turn", _each("[SYS]{}[/SYS]", "[ASK] {} [/ASK]", "{}</s>", ""), " [/ASK]", "", ""),
    Case(
        "nothing after the turn, the reply brings a space", _each("[SYS]{}[/SYS]", "[ASK]{}[/ASK]", " {} </s>", ""),
        "[/ASK]", " ", "",
    ),
    Case("reply brings its space", _each("{}\n", "user: {}\n", "assistant: {}\n", "assistant:"), "\n", "assistant: ", "assistant:"),
    Case("plain headings", _each("{}\n\n", "# Ask:\n{}\n\n", "# Say:\n{}\n\n", "# Say:\n"), "\n\n", "# Say:\n", "# Say:\n"),
    Case("thought opened for generation alone", _each(_SYS, _USER, "<|bot|>{}<|over|>", "<|bot|><think>\n"),
         "<|over|>", "<|bot|>", "<|bot|><think>\n"),
    Case("reply after a closed thought", _each(_SYS, _USER, "<|bot|>\n<think>\n\n</think>\n\n{}<|over|>", "<|bot|>\n"),
         "<|over|>", "<|bot|>\n<think>\n\n</think>\n\n", "<|bot|>\n"),
    Case(
        "reply inside a thought, with a switch",
        _each(_SYS, _USER, "<|bot|><think>!{}<|over|>", "<|bot|><think>").replace(
            "'<|bot|><think>!'", "('<|bot|><think></think>' if enable_thinking is defined and not enable_thinking else '<|bot|><think>')"
        ),
        "<|over|>", "<|bot|><think></think>", "<|bot|><think>", settings={"enable_thinking": False}, note="enable_thinking=False",
    ),
    Case("reply inside a thought, without a switch", _each(_SYS, _USER, "<|bot|><think>\n{}<|over|>", "<|bot|><think>\n"),
         "<|over|>", "<|bot|><think></think>", "<|bot|><think>\n", closes="</think>", note="'</think>' was written"),
    Case("reply inside a thought of another spelling", _each(_SYS, _USER, "<|bot|><|begin_of_thought|>{}<|over|>", "<|bot|>"),
         "<|over|>", "<|bot|><|begin_of_thought|><|end_of_thought|>", "<|bot|>", closes="<|end_of_thought|>", note="was written"),
    Case("channel before a reply alone", _each(_SYS, _USER, "<|bot|><|channel|>last<|say|>{}<|over|>", "<|bot|>"),
         "<|over|>", "<|bot|><|channel|>last<|say|>", "<|bot|>"),
    Case("refuses a system prompt", _each("{}", _USER, "<|bot|>{}<|over|>", "<|bot|>", start=_REFUSES),
         "<|over|>", "<|bot|>", "<|bot|>", system="merged", note="no place for a system prompt"),
    Case("drops a system prompt", _each("{}", _USER, "<|bot|>{}<|over|>", "<|bot|>").replace("'' + m['content'] + ''", "''", 1),
         "<|over|>", "<|bot|>", "<|bot|>", system="merged", note="no place for a system prompt"),
    Case(
        "system prompt in the last user message",
        "{%- set ns = namespace(s='') -%}{%- for m in messages -%}{%- if m['role'] == 'system' -%}{%- set ns.s = m['content'] + '\n\n' -%}"
        "{%- elif m['role'] == 'user' -%}{{ '[ASK] ' + (ns.s if loop.last else '') + m['content'] + '[/ASK]' }}"
        "{%- else -%}{{ ' ' + m['content'] + '</s>' }}{%- endif -%}{%- endfor -%}",
        "[/ASK]", " ", "", system="last", note="drops the system prompt once a reply follows",
    ),
    Case("today's date", _each(_SYS, _USER, "<|bot|>{}<|over|>", "<|bot|>", start="<|day|>{{ strftime_now('%d %b %Y') }}\n"),
         "<|over|>", "<|bot|>", "<|bot|>"),
    Case("an end where no reply follows", _each(_SYS, _USER, "<|bot|>{}<|over|>", "<|bot|>", end="[STOP]"),
         "<|over|>", "<|bot|>", "<|bot|>"),
    Case("generation prompt always written", _each(_SYS, _USER, "<|bot|>[SAY]{}<|over|>", "").replace(
            "{%- if add_generation_prompt -%}", "{%- if messages[-1]['role'] == 'user' -%}{{ '<|bot|><|plan|><|planned|>' }}{%- elif false -%}"
         ), "<|over|><|bot|>", "[SAY]", "<|plan|><|planned|>"),
    Case("content in parts", _each(_SYS, _USER, "<|bot|>{}<|over|>", "<|bot|>").replace("m['content']", "m['content'][0]['text']"),
         "<|over|>", "<|bot|>", "<|bot|>", parts=True),
    Case("needs tools and documents",
         _each(_SYS, _USER, "<|bot|>{}<|over|>", "<|bot|>", start="{%- for t in tools -%}x{%- endfor -%}{%- for d in documents -%}x{%- endfor -%}"),
         "<|over|>", "<|bot|>", "<|bot|>", settings={"tools": [], "documents": []}),
    Case("trims", _each("{}\n", "user: {}\n", "assistant: {}\n", "assistant:").replace("m['content']", "m['content'] | trim"),
         "\n", "assistant: ", "assistant:"),
    Case("writes the begin token", _each(_SYS, _USER, "<|bot|>{}</s>", "<|bot|>", start="{{ bos_token }}"),
         "<|over|>", "<|bot|>", "<|bot|>"),
    Case("refuses a reply at the end",
         _each(_SYS, _USER, "<|bot|> {}<|over|>", "<|bot|>",
               start="{%- if messages[-1]['role'] == 'assistant' -%}{{ raise_exception('the user speaks last') }}{%- endif -%}"),
         "<|over|>", "<|bot|> ", "<|bot|>", followed=True, note="refuses a conversation that ends with a reply"),
    Case("no template", None, "", "\n\nAnswer: ", "\n\nAnswer:"),
)  # fmt: skip
BY_NAME = {case.name: case for case in CASES}

_LF, _SP = builders.LINE_FEED, builders.SPACE
# Vocabularies that differ in what stands in one token with the ends of prompt and answer, and in what a tokenizer does by itself.
VOCABULARIES: dict[str, dict[str, Any]] = {
    "bytes": {},
    "labels merged": {"merged": (("(", "A"), ("(", "B"))},
    "one label merged, begin token": {"merged": (("(", "A"), (">", _LF)), "begin": True},
    "ends merged": {"merged": ((":", _SP), (":" + _SP, "("), (_LF, "("), ("?", _LF), ("]", "("), ("B", ")"))},
    "markers spelled out": {"merged": ((_SP, "("), ("]", _SP), (_LF, _LF), (":" , _LF)), "end": True},
    "slow": {"merged": (("(", "A"), ("(", "B"), (_SP, "n"))},
    "spans without white space": {"merged": ((".", _LF), (_SP, "n"), (_SP, "(")), "begin": True},
    "no pad token": {"merged": ((_SP, "s"), (">", "s"), ("\u0120Yes", ","))},
}  # fmt: skip
