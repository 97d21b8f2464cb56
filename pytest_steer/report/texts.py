"""What of the texts of data and contexts goes into a report: ``--steer-report-texts``."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..core.evidence import Json

_LONGEST = 80
_OF_DATA = {"question", "choices", "matching", "not_matching", "prompt", "text", "input", "output", "turns", "said"}
_EMPTY: Json = {"prompt": [], "turns": [], "said": None}  # of replies, which have these keys with or without texts
_SAID = ("message", "findings", "silenced", "headline", "reason", "withheld", "error")
_NAME = re.compile(r"[\w.+-]{1,20}")  # of a value that an axis declares; all else is somebody's text
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1)[^\n\\])+\1(?!\w)""")


def with_texts(claim: Json, texts: str) -> Json:
    """A claim's record as a report has it.

    Args:
        texts: ``all``: as it is. ``short``: texts are cut to 80 characters, and prompts as tokens are left out. ``none``: texts are
            left out, free texts of contexts are hashes, and of messages there is the first line without what it quotes.
    """
    return claim if texts == "all" else _Cut(texts == "none").record(claim)


class _Cut:
    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._cut: dict[str, str] = {}

    def record(self, claim: Json) -> Json:
        found: Json = self._value(claim)
        found["blocks"] = [{**self._said(block), "kind": block["kind"]} for block in found["blocks"]]
        found |= {key: self._said(claim[key]) for key in _SAID if key in claim}
        if self._whole:
            found["message"] = found["message"].partition("\n")[0]
            found["rerun"] = claim["rerun"] and claim["rerun"].partition(" --steer-context ")[0]
            if found.get("counterexample"):
                found["counterexample"]["reproduce"] = found["rerun"]
        return found

    def _said(self, value: Any) -> Any:
        """Words of ours, or a mapping or a list of them, with texts cut wherever they stand in them."""
        if isinstance(value, dict):
            return {key: self._said(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._said(one) for one in value]
        return self._words(value) if isinstance(value, str) else value

    def _value(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key == "context":
                return {axis: self._of_context(inner) for axis, inner in value.items()}
            if "first_steered" in value:
                return {**value, "tokens": [], "candidates": None}
            texts = [name for name in value if name in _OF_DATA and isinstance(value[name], (str, list))]
            left_out = texts if self._whole else []
            for name in left_out:
                self._text(value[name])
            found = {name: self._value(inner, name) for name, inner in value.items() if name not in left_out}
            is_reply = "sample" in value or "turns" in value
            return found | {name: _EMPTY[name] for name in left_out if is_reply and name in _EMPTY}
        if key in _OF_DATA:
            return self._text(value)
        if key == "why" and isinstance(value, str):  # a judge's answer that cannot be read is quoted
            # So may be a call of a tool, without quotes.
            return self._words(value.partition(":")[0] if self._whole else value)
        if isinstance(value, list):
            return [self._value(inner, "") for inner in value]
        return self._of_context(value) if key == "value" else value

    def _of_context(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._of_context(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._of_context(inner) for inner in value]
        return value if not isinstance(value, str) or _NAME.fullmatch(value) else self._text(value)

    def _text(self, value: Any) -> Any:
        """A text or a list of them, cut; each is remembered, since other texts of the record may hold it."""
        if isinstance(value, list):
            return [self._text(inner) for inner in value]
        if not isinstance(value, str):
            return value
        if self._whole:
            self._cut[value] = f"sha256:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]}"
        elif len(value) > _LONGEST:
            self._cut[value] = f"{value[:_LONGEST]}..."
        return self._cut.get(value, value)

    def _words(self, said: str) -> str:
        for text in sorted(self._cut, key=len, reverse=True):
            if len(text) > 3:  # "Yes" and "A" stand in other words too
                said = said.replace(text, self._cut[text])
        return _QUOTED.sub(r"\1...\1", said) if self._whole else said
