"""From an entry of a data file to a contrast item or a text, told apart by its keys.

Shapes (see docs/data.md): CAA and model-written-evals (``question``, ``answer_matching_behavior``,
``answer_not_matching_behavior``), Tan et al.'s processed form (``positive`` / ``negative`` with ``prompt`` and
``response``), EasyEdit (``question``, ``matching``, ``not_matching``), the same as CSV (BiPO), the CAA recasts of MMLU and
TruthfulQA (``prompt``, ``correct``, ``incorrect``), preferences, arrays of three, and a user's own names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.registry import nearest
from ..items import ContrastItem
from ..likeness import normal_form
from ..texts import Completion, TextLike

_T = TypeVar("_T")
_QUESTION_KEYS: dict[str, tuple[str, str, str]] = {
    "caa": ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
    "easyedit": ("question", "matching", "not_matching"),
    "recast": ("prompt", "correct", "incorrect"),
}
_SHAPES = (
    "known shapes: {question, answer_matching_behavior, answer_not_matching_behavior}; "
    "{question, matching, not_matching}; {prompt, correct, incorrect}; {prompt, chosen, rejected}; "
    "[question, matching, not_matching]; {positive: {prompt, response}, negative: {prompt, response}}; of a task: {input, output} in "
    "every entry. Other names are given by columns: {question: ..., matching: ..., not_matching: ...}"
)


def item_of(entry: Any, number: str, columns: Mapping[str, str]) -> ContrastItem:
    """The contrast item that an entry holds.

    Args:
        number: its id, unless the entry has one.
        columns: where the user says that things stand.

    Raises:
        DataError: the entry has none of the known shapes, or a value is wrong.
    """
    named = item_columns(columns)
    if named is None and isinstance(entry, list) and len(entry) == 3:
        return ContrastItem(entry[0], entry[1], entry[2], number)
    if not isinstance(entry, dict):
        raise DataError(f"expected an object, found {show(entry)}; {_SHAPES}")
    if named is not None:
        absent = [name for name in named if name not in entry]
        if absent:
            raise DataError(
                f"has no {absent[0]!r}, which `columns` names or leaves as it is; it has {sorted(map(str, entry))}"
            )
        return _keyed(entry, named, number, columns.get("id", "id"))
    if "positive" in entry and "negative" in entry:
        return _tan(entry, number)
    if is_preference(entry):
        return preference(entry, number)
    for keys in _QUESTION_KEYS.values():
        if any(key in entry for key in keys[1:]):
            return _keyed(entry, keys, number, columns.get("id", "id"))
    if entry.keys() == {"question"}:
        raise DataError("only a question and no answers: an open-ended file does not hold contrast items")
    if {"input", "output"} <= entry.keys():
        raise DataError("{input, output} is a task, not a contrast item: it has no answer to compare with")
    raise DataError(f"unknown keys {sorted(map(str, entry))}; {_SHAPES}")


def _keyed(entry: Json, keys: tuple[str, str, str], number: str, id_key: str) -> ContrastItem:
    question = _field(entry, keys[0], _text)
    matching, not_matching = (_field(entry, key, _answers) for key in keys[1:])
    return ContrastItem(question, matching, not_matching, *_id_and_others(entry, keys, number, id_key))


def _id_and_others(entry: Json, keys: Sequence[str], number: str, id_key: str = "id") -> tuple[str, Json]:
    others = others_of(entry, keys)
    identity = others.pop(id_key, None)
    return str(identity if identity is not None else number), others


def others_of(entry: Json, keys: Iterable[str | None]) -> Json:
    """What an entry holds under other keys than these."""
    return {str(key): value for key, value in entry.items() if key not in keys}


def _tan(entry: Json, number: str) -> ContrastItem:
    sides = {}
    for side in ("positive", "negative"):
        value = entry[side]
        if not isinstance(value, dict):
            raise DataError(f"'{side}' has to be an object with 'prompt' and 'response', found {show(value)}")
        try:
            sides[side] = (_field(value, "prompt", _text), _field(value, "response", _answers))
        except DataError as error:
            raise DataError(f"{side}: {error}") from None
    if sides["positive"][0] != sides["negative"][0]:
        raise DataError("the positive and the negative prompt differ, so their answers cannot be compared on one prompt")
    meta = others_of(entry, ("positive", "negative"))
    return ContrastItem(sides["positive"][0], sides["positive"][1], sides["negative"][1], number, meta)


def _field(entry: Json, key: str, read: Callable[[Any], _T]) -> _T:
    if key not in entry or entry[key] is None:
        known = {name for keys in _QUESTION_KEYS.values() for name in keys}
        meant = nearest(key, sorted({*map(str, entry)} - known))
        hint = f"; rename {meant!r} to {key!r}" if meant else ""
        raise DataError(f"'{key}' is missing; found {sorted(map(str, entry))}{hint}")
    try:
        return read(entry[key])
    except DataError as error:
        raise DataError(f"'{key}': {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"expected a text, found {show(value)}")
    return value


def _answers(value: Any) -> tuple[str, ...]:
    answers = [value] if isinstance(value, str) else value
    if isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers):
        return tuple(answers)
    raise DataError(f"expected a text or a list of texts, found {show(value)}")


def show(value: Any) -> str:
    """A value in one short line."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


# --- the names that a user's file has: ``columns: {question: q, matching: good, not_matching: bad}`` ---

ITEM = ("question", "matching", "not_matching", "id")
TASK = ("input", "output")
TEXT = ("text", "prompt", "completion")
KNOWN = (*ITEM, *TASK, *TEXT)


def check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """``columns`` as a dictionary.

    Raises:
        DataError: something is named that is not read, or a name is no text, or two things have one name.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise DataError(f"columns is a mapping such as {{'question': 'q'}}, not {columns!r}")
    for key, name in columns.items():
        if key not in KNOWN:
            raise DataError(f"columns: {key!r} is nothing that is read; known: {', '.join(KNOWN)}")
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"columns: the column of {key!r} is a name, not {name!r}")
    names = [columns[key] for key in ITEM if key in columns]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"columns: {repeated[0]!r} stands for two things")
    return dict(columns)


def item_columns(columns: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Where question, matching and not matching answer stand, if ``columns`` says it of one of them."""
    if not set(ITEM[:3]) & columns.keys():
        return None
    question, matching, not_matching = (columns.get(key, key) for key in ITEM[:3])
    return question, matching, not_matching


# --- preferences, the files of DPO: ``{prompt, chosen, rejected}`` ---
#
# Shapes: TRL's standard one (three texts), its conversational one (``prompt`` a list of messages, ``chosen`` and ``rejected`` lists that
# hold the reply), the same with the prompt as text and whole conversations beside it (UltraFeedback), and whole conversations
# alone. A contrast item has the user's turn and two replies, so that what stands before that turn is refused, not dropped.

_PREFERENCE_KEYS = ("prompt", "chosen", "rejected")


def is_preference(entry: Json) -> bool:
    """Whether an entry has the keys of preference data."""
    return "chosen" in entry and "rejected" in entry


def preference(entry: Json, number: str) -> ContrastItem:
    """The contrast item of a preference: the chosen reply matches, the rejected one does not.

    Raises:
        DataError: a key is missing or of another type, the two conversations differ before the reply, or something stands
            before the user's turn.
    """
    asked = _prompt(entry.get("prompt"))
    replies: list[str] = []
    for side in ("chosen", "rejected"):
        before, reply = _reply(entry[side], side)
        if before is not None and asked is not None and before.strip() != asked.strip():
            raise DataError(
                f"'{side}' answers {before[:60]!r}, and 'prompt' is {asked[:60]!r}: one of them is of another entry"
            )
        asked = before if asked is None else asked
        replies.append(reply)
    if asked is None:
        raise DataError(
            "'prompt' is missing, and 'chosen' and 'rejected' hold replies alone, so nothing says what they answer"
        )
    return ContrastItem(asked, (replies[0],), (replies[1],), *_id_and_others(entry, _PREFERENCE_KEYS, number))


def _prompt(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return user_turn(messages_of(value, "prompt"), "prompt")
    raise DataError(f"'prompt': expected a text or a list of messages, found a {type(value).__name__}")


def _reply(value: Any, side: str) -> tuple[str | None, str]:
    """The user's turn that a reply answers, if it stands there, and the reply."""
    if isinstance(value, str):
        return None, value
    if not isinstance(value, list):
        raise DataError(f"'{side}': expected a text or a list of messages, found a {type(value).__name__}")
    before, reply = before_reply(messages_of(value, side), side)
    return user_turn(before, side) if before else None, reply


def messages_of(value: list[Any], where: str) -> list[tuple[str, str]]:
    """(role, content) of each message of a list.

    Raises:
        DataError: one of them is no message.
    """
    found = []
    for index, message in enumerate(value):
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise DataError(f"'{where}': message {index} has to be an object with the texts 'role' and 'content'")
        found.append((message["role"], message["content"]))
    return found


def before_reply(messages: list[tuple[str, str]], where: str) -> tuple[list[tuple[str, str]], str]:
    """The messages before the last one, and the text of that, which is the assistant's.

    Raises:
        DataError: the last one is another's, or there is none.
    """
    if not messages or messages[-1][0] != "assistant":
        last = f"the last one is the {messages[-1][0]}'s" if messages else "there is none"
        raise DataError(f"'{where}': the last message has to be the assistant's, and {last}")
    return messages[:-1], messages[-1][1]


def user_turn(messages: list[tuple[str, str]], where: str, unit: str = "a contrast item") -> str:
    """The one turn of the user that these messages are.

    Args:
        unit: what is made of them, for the message.

    Raises:
        DataError: they are something else.
    """
    if len(messages) != 1 or messages[0][0] != "user":
        roles = ", ".join(role for role, _ in messages) or "nothing"
        more = "; a system prompt or earlier turns are a context (`contexts: {system: [...]}`)" if "item" in unit else ""
        raise DataError(
            f"'{where}': {unit} has one turn of the user before the reply, and here stand {roles}. Bring the last turn alone{more}"
        )
    return messages[0][1]


# --- texts: a plain one, or a prompt and its completion ---
#
# Shapes of completions (see docs/data.md): ``{prompt, completion}`` with texts or with messages (TRL), the names that other data sets
# have for the two, ``{instruction, input, output}`` (Alpaca), a conversation of two messages, and a user's own names.

PROMPTS = ("prompt", "question", "instruction", "query")
COMPLETIONS = ("completion", "response", "answer", "reply", "output", "target")
_CONVERSATIONS = ("messages", "conversation")
_UNIT = "a text with a prompt"


def text_of(entry: Any, columns: Mapping[str, str]) -> TextLike:
    """The text or completion that an entry holds.

    Args:
        columns: where the user says that things stand: ``text``, or ``prompt`` and ``completion``.

    Raises:
        DataError: it holds neither, or what stands there is no text.
    """
    named = {"prompt", "completion"} & columns.keys()
    if not isinstance(entry, dict):
        wanted = next((columns[key] for key in ("text", "prompt", "completion") if key in columns), None)
        if wanted is not None:
            raise DataError(f"expected a text or an object with a {wanted!r}, found {show(entry)}")
        return _plain(entry, "text", entry)
    if not named:
        column = columns.get("text", "text")
        if column in entry:
            return _plain(entry[column], column, entry)
        if "text" in columns:
            raise DataError(f"there is no column {column!r}; it has {_names(entry)}")
        conversation = next((key for key in _CONVERSATIONS if isinstance(entry.get(key), list)), None)
        if conversation is not None:
            return _of_messages(entry[conversation], conversation)
    prompt = columns.get("prompt") or _only(entry, PROMPTS, "prompt")
    completion = columns.get("completion") or _only(entry, COMPLETIONS, "completion")
    if completion is None and "text" in entry and named:
        completion = "text"
    for name in (prompt, completion):
        if name is not None and name not in entry:
            raise DataError(f"there is no column {name!r}; it has {_names(entry)}")
    if prompt is None or completion is None:
        raise DataError(_which(entry, prompt, completion))
    asked = _side(entry[prompt], prompt, "user")
    if prompt == "instruction" and isinstance(entry.get("input"), str) and entry["input"].strip():
        asked = f"{asked}\n\n{entry['input']}"
    return Completion(asked, _side(entry[completion], completion, "assistant"))


def _plain(value: Any, name: str, entry: Any) -> str:
    if not isinstance(value, str) or not normal_form(value):  # invisible characters are no text
        raise DataError(f"expected a text or an object with a {name!r}, found {show(entry)}")
    return value


def _only(entry: Mapping[str, object], known: tuple[str, ...], what: str) -> str | None:
    found = [name for name in known if name in entry]
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(map(repr, found))} can each be the {what}: say which, as `columns: {{{what}: {found[0]}}}` under `data` "
            f"(in Python read_texts(path, columns={{{what!r}: {found[0]!r}}}))"
        )
    return found[0] if found else None


def _side(value: Any, name: str, role: str) -> str:
    """A text, or a list of the one message of that role."""
    if isinstance(value, list):
        messages = messages_of(value, name)
        if role == "user":
            return user_turn(messages, name, _UNIT)
        if len(messages) != 1 or messages[0][0] != role:
            raise DataError(f"{name!r}: expected one message of the {role}, found {show(value)}")
        value = messages[0][1]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{name!r}: expected a text, found {show(value)}")
    return value


def _of_messages(value: list[Any], name: str) -> Completion:
    before, reply = before_reply(messages_of(value, name), name)
    return Completion(user_turn(before, name, _UNIT), reply)


def _names(entry: Mapping[str, object]) -> str:
    return ", ".join(map(repr, entry))


def _which(entry: Mapping[str, object], prompt: str | None, completion: str | None) -> str:
    """What to say of an entry whose names tell nothing."""
    if completion is not None:
        return (
            f"{completion!r} has no prompt beside it; it has {_names(entry)}. Say where the prompt stands, as `columns: {{prompt: ...}}` "
            f"under `data`, or read {completion!r} as plain texts: `columns: {{text: {completion}}}`"
        )
    if prompt is not None:
        others = {name: value for name, value in entry.items() if name != prompt}
        likely = max(others, key=lambda name: len(str(others[name])), default="reply")
        return (
            f"has the columns {_names(entry)}: which of them holds the texts? Say it, as `columns: {{prompt: {prompt}, completion: "
            f"{likely}}}` under `data` (in Python read_texts(path, columns={{'completion': {likely!r}}}))"
        )
    likely = max(entry, key=lambda column: len(str(entry[column])), default="body")
    return (
        f"has the columns {_names(entry)}: which of them holds the texts? Say it, as `columns: {{text: {likely}}}` under `data` (in Python "
        f"read_texts(path, column={likely!r}))"
    )
