"""Adding contexts to the ``regressions`` of a claim file. Every other byte of the file stays as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pytest_steer.core.errors import ClaimFileError
from pytest_steer.core.evidence import Json
from pytest_steer.files.source import read_source

_KEY = "regressions"
_NO_TEXTS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")  # the later ones only in YAML 1.1


def add_regressions(path: Path, contexts: Sequence[Json], root: Path | None = None) -> list[Json]:
    """Adds the contexts that the file does not list yet; those that were added.

    The new text is read back before it replaces the old one, in one step: a file is never left half written.

    Args:
        contexts: each as ``Context.to_dict`` gives it.
        root: the folder of the run. No link below it may lead to a file elsewhere.

    Raises:
        ClaimFileError: the file is elsewhere and only a link to it is in the suite's folder, it cannot be read, or it is written in a way that leaves no safe place for an entry.
        OSError: the file cannot be written.
    """
    before = read_source(path)
    listed = list(before.data.get(_KEY, ()))
    added: list[Json] = []
    for context in contexts:
        if context not in listed + added:
            added.append(context)
    if not added:
        return []
    file = _own_file(path, root or path.parent, before.shown)
    text = file.read_bytes().decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    new = (_in_json if path.name.endswith(".json") else _in_yaml)(text, added)
    advice = f"Add it by hand: `{_KEY}: [{', '.join(map(_flow, added))}]`."
    no_place = ClaimFileError("there is no safe place to add a context", path=before.shown, hint=advice)
    if new is None:
        raise no_place
    suffix = ".steer.json" if file.name.endswith(".json") else ".steer.yaml"
    handle, work = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write((mark + new).encode("utf-8"))
        shutil.copymode(file, work)
        try:
            found = read_source(work).data
        except ClaimFileError:
            found = {}
        if found != {**before.data, _KEY: listed + added}:
            raise no_place
        os.replace(work, file)
    except BaseException:
        os.unlink(work)
        raise
    return added


def _own_file(path: Path, root: Path, shown: str) -> Path:
    """The file that is replaced: that which a link points to, and not the link.

    Raises:
        ClaimFileError: it is not in the suite's folder.
    """
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    file, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
    if path.is_relative_to(root):
        folder = Path(os.path.realpath(root), path.parent.relative_to(root))
    if not file.is_relative_to(folder):
        raise ClaimFileError(
            "is reached through a symbolic link, so another folder's file would be changed",
            path=shown,
            hint=f"Run that file itself: pytest --steer-save-counterexamples {file}",
        )
    return file


# --- YAML ------------------------------------------------------------------------------------------------------


def _in_yaml(text: str, added: list[Json]) -> str | None:
    newline = "\r\n" if "\r\n" in text else "\n"
    try:
        root = YAML(typ="rt").compose(text)
    except YAMLError:
        return None
    if not isinstance(root, MappingNode):
        return None
    entries = [_flow(context) for context in added]
    listed = next((value for key, value in root.value if key.value == _KEY), None)
    if listed is None:
        if root.flow_style:
            more = f"{_KEY}: [{', '.join(entries)}]"
            return _before_closing(text, root.end_mark.index, more, bool(root.value))
        lines = "".join(f"  - {entry}{newline}" for entry in entries)
        gap = "" if text.endswith("\n") else newline
        return f"{text}{gap}{_KEY}:{newline}{lines}"
    if not isinstance(listed, SequenceNode):
        return None
    if listed.flow_style:
        return _before_closing(text, listed.end_mark.index, ", ".join(entries), bool(listed.value))
    # After the line on which the last entry ends, whatever comment stands there.
    last = _last_index(listed.value[-1])
    end = text.find("\n", last)
    end, gap = (len(text), newline) if end < 0 else (end + 1, "")
    dash = text.rfind("-", 0, listed.value[-1].start_mark.index)
    indent = text[text.rfind("\n", 0, dash) + 1 : dash]
    return text[:end] + gap + "".join(f"{indent}- {entry}{newline}" for entry in entries) + text[end:]


def _flow(value: Any) -> str:
    """A value as YAML in one line; texts that could be taken for something else are in quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in _NO_TEXTS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _last_index(node: Node) -> int:
    """The index after the last character of a node; the end mark of a block comes after the comments that follow it."""
    while isinstance(node, (MappingNode, SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return max(int(node.start_mark.index), int(node.end_mark.index) - 1)


def _before_closing(text: str, end: int, more: str, filled: bool) -> str:
    """``more`` in front of the bracket that ends at ``end``."""
    head = text[: end - 1].rstrip()
    space = text[len(head) : end - 1]
    comma = ", " if filled and not head.endswith(",") else " " if filled else ""
    return f"{head}{comma}{more}{space}{text[end - 1 :]}"


# --- JSON ------------------------------------------------------------------------------------------------------


def _in_json(text: str, added: list[Json]) -> str | None:
    entries = ", ".join(json.dumps(context, ensure_ascii=False) for context in added)
    start = text.find("{")
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, start + 1)
    filled = text[at] != "}"
    while text[at] != "}":
        key, at = decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the colon
        value, end = decode(text, at)
        if key == _KEY:
            return _before_closing(text, end, entries, bool(value)) if isinstance(value, list) else None
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    head = text[:at].rstrip()
    space = text[len(head) : at]
    first = text[start + 1 : _skip(text, start + 1)] if filled else ""
    return f'{head}{"," if filled else ""}{first or (" " if filled else "")}"{_KEY}": [{entries}]{space}{text[at:]}'


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
