"""From the text of a claim file to plain data, and the line on which each part of it stands.

Whatever is wrong with the text itself (encoding, YAML or JSON syntax, a key written twice) ends here.
"""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from pytest_steer.core.errors import ClaimFileError
from pytest_steer.core.evidence import Json

DataPath = tuple[str | int, ...]
"""Where something is inside the file: ``("claims", 2, "steers")``."""

SMALLEST = "`vector: {file: v.safetensors}`, `data: {test: test.json}`, `claims: [{steers: {steerability: 0.3}}]`"

# A few aliases of aliases can stand for more entries than fit into memory.
_MOST_ENTRIES = 100_000

# No valid file is deeper than a handful of levels; what comes after this file may recurse.
_DEEPEST = 50


@dataclass(frozen=True)
class Source:
    """A claim file that could be read.

    Attributes:
        path: absolute.
        shown: the path as the caller wrote it, for messages.
        data: plain Python values (and, as they are, those of YAML that no claim file needs: dates, bytes,
            tagged ones). Entries whose top-level key starts with ``x-`` are left out.
        lines: 1-based line of each part. Of a part that an alias brought in, the line of the anchor's text.
    """

    path: Path
    shown: str
    data: Json
    lines: Mapping[DataPath, int]

    def line(self, path: DataPath) -> int | None:
        """Line of the innermost part of ``path`` whose line is known."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read_source(path: str | os.PathLike[str]) -> Source:
    """Reads a claim file: JSON if its name ends with ``.json``, else YAML 1.2.

    Raises:
        ClaimFileError: the file cannot be opened or decoded, its syntax is wrong, a key is there twice, it is
            empty, or it is not a mapping.
    """
    shown = os.fspath(path)
    text = _decode(_read_bytes(shown), shown)
    if not text.strip():
        raise ClaimFileError("the file is empty", path=shown, hint=f"A claim file needs at least {SMALLEST}.")
    read = _read_json if shown.lower().endswith(".json") else _read_yaml
    loaded, tree = read(text, shown)
    if loaded is None:
        raise ClaimFileError("the file says nothing", path=shown, hint=f"A claim file needs at least {SMALLEST}.")
    if not isinstance(loaded, dict):
        what, advice = "a single value", "Write lines of `key: value`."
        if isinstance(loaded, list):
            what, advice = "a list", "Put the list under a key, `claims:`."
        hint = f"{advice} A claim file needs at least {SMALLEST}."
        raise ClaimFileError(f"the file must be a mapping, but is {what}", path=shown, line=1, hint=hint)
    plain = _Plain(shown)
    data = plain.mapping(loaded, ())
    if tree is not loaded and isinstance(tree, dict):  # of JSON, the YAML reader knows the lines
        plain = _Plain(shown)
        plain.mapping(tree, ())
    return Source(Path(shown).absolute(), shown, data, plain.lines)


def _read_bytes(shown: str) -> bytes:
    try:
        return Path(shown).read_bytes()
    except FileNotFoundError:
        raise ClaimFileError("there is no such file", path=shown, hint="Check the spelling of the path.") from None
    except IsADirectoryError:
        raise ClaimFileError("this is a folder", path=shown, hint="Name the claim file inside it.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason, hint = getattr(error, "strerror", None) or error, "Check the path and the file's permissions."
        raise ClaimFileError(f"the file cannot be read: {reason}", path=shown, hint=hint) from error


def _decode(raw: bytes, shown: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClaimFileError(
            f"the file is not UTF-8: byte 0x{error.object[error.start]:02x} cannot be decoded",
            path=shown,
            line=error.object.count(b"\n", 0, error.start) + 1,
            hint="Save the file with the encoding UTF-8.",
        ) from None


def _read_yaml(text: str, shown: str) -> tuple[Any, Any]:
    """What the text says, twice: the round-trip reader's values also know their lines."""
    try:
        tree = _tree(text, shown)
    except MarkedYAMLError as error:
        raise _syntax_error(text, shown, error) from None
    except ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise ClaimFileError(
            f"the character U+{code:04X} is not allowed in YAML",
            path=shown,
            line=text.count("\n", 0, error.position) + 1,
            hint=f'Remove it, or write it inside double quotes as "\\u{code:04x}".',
        ) from None
    except RecursionError:
        raise _too_deep(shown) from None
    except ClaimFileError:  # a key is there twice
        raise
    except ValueError as error:
        hint = "Put values that are meant as text, such as dates, in quotes."
        line = _line_of_scalar(text, type(error))
        raise ClaimFileError(f"not valid YAML: {error}", path=shown, line=line, hint=hint) from error
    except Exception as error:
        # On text that is far from YAML the reader stumbles over itself (AttributeError, ...).
        # To the user that is a syntax error like others, and one broken file must not stop the rest.
        hint = "Look at tags (!), anchors (&) and aliases (*), above all at one that contains itself."
        raise ClaimFileError(f"not valid YAML ({type(error).__name__}: {error})", path=shown, hint=hint) from error
    return tree, tree


def _tree(text: str, shown: str) -> Any:
    try:
        return YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        key, first = _twice_written(text, error)
        raise _twice(key, shown, _line_of(error), first) from None


def _line_of_scalar(text: str, kind: type[Exception]) -> int | None:
    """The line of the first value that on its own fails in the same way."""
    try:
        for node in _nodes(YAML(typ="rt").compose(text)):
            if isinstance(node, ScalarNode) and node.style is None:
                try:
                    YAML(typ="rt").load(node.value)
                except kind:
                    return int(node.start_mark.line) + 1
    except Exception:  # a line is a nicety: the first error is what the user has to hear of
        pass
    return None


class _NotJson(Exception):
    """A constant that Python's reader knows and JSON does not."""


def _read_json(text: str, shown: str) -> tuple[Any, Any]:
    """What the text says, by JSON's own reader, and the same by the YAML reader, which knows the lines."""
    repeated: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> Json:
        repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    def constant(name: str) -> NoReturn:
        raise _NotJson(name)

    try:
        exact = json.loads(text, object_pairs_hook=mapping, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise ClaimFileError(
            f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]} (column {error.colno})",
            path=shown,
            line=error.lineno,
            hint="JSON has no comments, no single quotes and no comma after the last entry; "
            "a file that ends with .steer.yaml may have them.",
        ) from None
    except _NotJson as error:
        raise ClaimFileError(
            f"not valid JSON: {error} is not a JSON value",
            path=shown,
            line=text.count("\n", 0, text.find(str(error))) + 1,
            hint="Write a finite number.",
        ) from None
    except RecursionError:
        raise _too_deep(shown) from None
    except ValueError as error:  # an integer of thousands of digits
        raise ClaimFileError(f"not readable: {error}", path=shown, hint="Write a shorter number.") from None
    try:
        tree = _tree(text, shown)
    except ClaimFileError:  # a key is there twice
        raise
    except Exception:
        # JSON that is not YAML is rare (a line break before a colon, a key of 1025 characters): the lines are
        # lost then, but not the data.
        tree = None
    if repeated:
        raise _twice(repeated[0], shown, None, None)
    return exact, tree


def _twice_written(text: str, error: MarkedYAMLError) -> tuple[str, int | None]:
    """The key that is there twice, and the line of the first time."""
    place = (error.problem_mark.line, error.problem_mark.column)
    for node in _nodes(YAML(typ="rt").compose(text)):
        if isinstance(node, MappingNode):
            keys = [key for key, _ in node.value]
            for key in keys:
                if (key.start_mark.line, key.start_mark.column) == place:
                    first = next(other for other in keys if other is key or other.value == key.value)
                    return str(key.value), None if first is key else first.start_mark.line + 1
    return str(error.problem), None  # pragma: no cover: the reader has just seen it


def _nodes(root: Node | None) -> Iterator[Node]:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, MappingNode):
            waiting.extend(part for pair in node.value for part in pair)
        elif isinstance(node, SequenceNode):
            waiting.extend(node.value)


def _twice(key: str, shown: str, line: int | None, first: int | None) -> ClaimFileError:
    also = f" (first in line {first})" if first is not None else ""
    more = "" if shown.endswith(".json") else ", or start it with '- ' if it is a new entry of a list"
    hint = f"Delete one of them{more}."
    return ClaimFileError(f"the key {key!r} is there twice{also}", path=shown, line=line, hint=hint)


def _too_deep(shown: str) -> ClaimFileError:
    return ClaimFileError("the file is nested too deeply", path=shown, hint="A claim needs six levels at most.")


class _Plain:
    """Turns the readers' values into plain ones, and notes the line of each part.

    Attributes:
        lines: 1-based, of the parts whose reader knows them.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._left = _MOST_ENTRIES
        self.lines: dict[DataPath, int] = {}

    def mapping(self, mapping: dict[Any, Any], path: DataPath) -> Json:
        found = {}
        for key, value in mapping.items():
            # Every valid key is text. One that is not (14, null, a list) becomes text, and so an unknown key.
            name = self.value(_key_text(key), path)
            if not path and name.startswith("x-"):
                continue
            here = (*path, name)
            if isinstance(mapping, CommentedMap) and (line := _line_of_key(mapping, key)) is not None:
                self.lines[here] = line
            found[name] = self.value(_dates_as_text(value) if name in ("date", "expires", "set") else value, here)
        return found

    def value(self, value: Any, path: DataPath) -> Any:
        self._left -= 1
        if self._left < 0:
            reason = f"the file has more than {_MOST_ENTRIES} entries once its aliases are written out"
            hint = "Use fewer aliases (*name) of things that contain aliases."
            raise ClaimFileError(reason, path=self._shown, hint=hint)
        if len(path) > _DEEPEST:
            raise _too_deep(self._shown)
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, CommentedSeq):
            known = value.lc.data or {}  # none behind a tag that is no list
            self.lines |= {(*path, index): value.lc.item(index)[0] + 1 for index in range(len(value)) if index in known}
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, (bool, ScalarBoolean)):  # with an anchor, true is not a bool but a kind of int
            return bool(value)
        return int(value) if isinstance(value, int) else value

    def _text(self, text: str) -> str:
        try:
            text.encode()
            return str(text)
        except UnicodeEncodeError:
            pass
        try:  # \ud83d\ude00 is one character; the YAML reader leaves it as two halves
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise ClaimFileError(
                f"the text {text[:40]!r} has half a character in it",
                path=self._shown,
                hint="Write the character itself, or both halves of its \\u escape.",
            ) from None


def _dates_as_text(value: Any) -> Any:
    """YAML reads 2025-01-01 as a date. Under a key for dates it is text, as in JSON; anywhere else it is a mistake."""
    if isinstance(value, list):
        return [_dates_as_text(one) for one in value]
    is_day = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return value.isoformat() if is_day else value


def _key_text(key: object) -> str:
    if key is None:
        return "null"
    if isinstance(key, (bool, ScalarBoolean)):
        return "true" if key else "false"
    try:
        return str(key)
    except ValueError:  # an integer of thousands of digits
        return "a very long number"


def _line_of_key(mapping: CommentedMap, key: Any) -> int | None:
    if key in (mapping.lc.data or {}):
        return int(mapping.lc.key(key)[0]) + 1
    for merged in mapping.merge:  # it came in by `<<`
        if key in merged:
            return _line_of_key(merged, key)
    return None


# --- wrong syntax, in words that say what to do ---


# What ruamel.yaml says of the commonest slips, and what to tell the user instead: reason, hint.
_KNOWN_PROBLEMS = {
    "found character '\\t' that cannot start any token": (
        "a tab cannot be used here",
        "YAML is indented with spaces: replace the tab.",
    ),
    "mapping values are not allowed here": (
        "there is a second ': ' where a value is expected",
        "Put a text that contains ': ' in quotes, or correct the indentation of this line.",
    ),
    "could not find expected ':'": (
        "this line is neither 'key: value' nor a list entry",
        "Put a space after the colon and after '-', or put a text of several lines in quotes.",
    ),
    "but found another document": (
        "a second document begins here",
        "A claim file is one YAML document: remove the '---', or write two files.",
    ),
    "expected <block end>, but found '<block mapping start>'": (
        "the indentation does not match that of the lines above",
        "Indent keys of one mapping equally.",
    ),
    "expected <block end>, but found '?'": (
        "a key stands where the next entry of a list is expected",
        "Start the line with '- ', or indent it as deep as the first key of the entry above.",
    ),
    "expected <block end>, but found '<block sequence start>'": (
        "the indentation of this '-' does not match that of the lines above",
        "Indent the entries of one list equally.",
    ),
    "expected <block end>, but found '-'": (
        "the indentation of this '-' does not match that of the lines above",
        "Indent the entries of one list equally, and do not mix them with 'key: value' lines.",
    ),
    "expected <block end>, but found '<scalar>'": (
        "there is text after a value that has already ended",
        "Put the whole value in quotes; a quote inside single quotes is written twice.",
    ),
    "found unexpected end of stream": ("a quoted text is not closed", "Add the closing quote."),
    "found character '%' that cannot start any token": ("a value cannot start with %", "Put it in quotes."),
    "found character '@' that cannot start any token": ("a value cannot start with @", "Put it in quotes."),
    "found character '`' that cannot start any token": ("a value cannot start with `", "Put it in quotes."),
}


_BRACKETS = {"while parsing a flow sequence": "'['", "while parsing a flow mapping": "'{'"}


def _syntax_error(text: str, shown: str, error: MarkedYAMLError) -> ClaimFileError:
    """The error of a text that is no YAML, in the words of somebody who has just written it."""
    line, last = _line_of(error), text.rstrip().count("\n") + 1
    problem = (error.problem or "unexpected text").replace("<stream end>", "the end of the file")
    began = error.context_mark.line + 1 if error.context_mark is not None else None
    if problem in _KNOWN_PROBLEMS:
        reason, hint = _KNOWN_PROBLEMS[problem]
        if problem == "could not find expected ':'" and began is not None:
            line = began  # the reader only notices on the next line
        if problem == "found unexpected end of stream" and began is not None:
            reason, line = f"{reason}: it begins here", began
    elif (bracket := _BRACKETS.get(error.context)) is not None:
        reason = f"not valid YAML: {problem}"
        hint = f"Look at the {bracket} in line {began}: close it, and put commas between its entries."
    elif problem.startswith("found undefined alias"):
        name = problem.split("'")[1] if "'" in problem else "?"
        reason = f"the alias *{name} has no anchor &{name} above it"
        hint = f"Put &{name} before the value that it repeats, or the text in quotes if no alias is meant."
    else:
        reason = f"not valid YAML: {problem}"
        hint = "Check quotes, brackets and indentation here and in the line above."
    return ClaimFileError(reason, path=shown, line=min(line, last), hint=hint)


def _line_of(error: MarkedYAMLError) -> int:
    """The 1-based line at which the reader of YAML stopped."""
    mark = error.problem_mark or error.context_mark
    return int(mark.line) + 1 if mark is not None else 1
