"""What of the texts of data and contexts goes into a report: ``--steer-report-texts``."""

from __future__ import annotations

import hashlib
import re
from typing import Any

_LONGEST = 80
_OF_DATA = {"question", "choices", "matching", "not_matching", "prompt", "text", "input", "output", "turns", "said"}
_EMPTY: dict[str, Any] = {"prompt": [], "turns": [], "said": None}  # of replies, which have these keys with or without texts
_NAME = re.compile(r"[\w.+-]{1,20}")  # of a value that an axis declares; all else is somebody's text
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1)[^\n\\])+\1(?!\w)""")


def with_texts(claim: dict[str, Any], texts: str) -> dict[str, Any]:
    """A claim's record as a report has it.

    Args:
        texts: ``all``: as it is. ``short``: texts are cut to 80 characters, and prompts as tokens are left out. ``none``: texts are
            left out, free texts of contexts are hashes, and of messages there is the first line without what it quotes.
    """
    if texts == "all":
        return claim
    return _Cut(texts == "none").record(claim)


class _Cut:
    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._cut: dict[str, str] = {}

    def record(self, claim: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._value(claim)
        found["message"] = self._words(claim["message"])
        for key in ("findings", "silenced"):
            found[key] = [{name: self._words(text) for name, text in one.items()} for one in claim.get(key) or ()]
        found["blocks"] = [{**self._shown(block), "kind": block["kind"]} for block in found["blocks"]]
        found |= {key: self._words(claim[key]) for key in ("headline", "reason")}
        if claim.get("withheld"):
            found["withheld"] = {name: self._words(text) for name, text in claim["withheld"].items()}
        if claim["error"] is not None:
            found["error"] = self._words(claim["error"])
        if self._whole:
            found["message"] = found["message"].partition("\n")[0]
            found["rerun"] = claim["rerun"] and claim["rerun"].partition(" --steer-context ")[0]
            if found.get("counterexample"):
                found["counterexample"]["reproduce"] = found["rerun"]
        return found

    def _shown(self, value: Any) -> Any:
        """A block, or a part of one, with texts cut wherever they stand in its words."""
        if isinstance(value, dict):
            return {key: self._shown(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._shown(one) for one in value]
        return self._words(value) if isinstance(value, str) else value

    def _value(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key == "context":
                return {axis: self._of_context(inner) for axis, inner in value.items()}
            if "first_steered" in value:
                return {**value, "tokens": [], "candidates": None}
            texts = {name for name in _OF_DATA & value.keys() if isinstance(value[name], (str, list))}
            left_out = texts if self._whole else set()
            for name in left_out:
                self._text(value[name])
            found = {name: self._value(inner, name) for name, inner in value.items() if name not in left_out}
            return found | {name: _EMPTY[name] for name in left_out & _EMPTY.keys() if {"sample", "turns"} & value.keys()}
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
