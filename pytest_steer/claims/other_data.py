"""Data sets beside a claim's own, with a vector of their own, and how a claim file names them: of ``generalizes`` and ``leaves_alone``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..core.errors import Fault, at_key
from ..core.parameters import Form
from ..core.validation import flow
from ..data import ItemLike, Items, as_items
from ..measures import PropensityCurve
from ..steering import Intervention, SteeringVector
from .from_file import CONTEXT, FromFile, Written, file_schema, named


class OtherData(NamedTuple):
    """Items of another data set, and a vector that was made for it.

    Attributes:
        items: contrast items that the vector was not made from.
        vector: what steers on them in the base of ``tan_relative``.
    """

    items: Iterable[ItemLike]
    vector: SteeringVector | Intervention


def checked_data(data: Any) -> Items | OtherData:
    return OtherData(as_items(data.items), data.vector) if isinstance(data, OtherData) else as_items(data)


def checked_data_sets(given: Mapping[str, object]) -> dict[str, Items | OtherData]:
    return {name: checked_data(data) for name, data in given.items()}


def items_of(data: Iterable[ItemLike] | OtherData) -> Items:
    return as_items(data.items if isinstance(data, OtherData) else data)


def units_of(curve: PropensityCurve) -> set[bool]:
    """Whether items are scored by one token (True) or by the tokens of an answer."""
    return {probe.candidates is not None for probe in curve.probes}


# --- in a claim file ---

CONTEXTS = named(
    Form(
        {
            **CONTEXT.schema,
            "description": "A value for each axis that is not as given, `{option_order: swapped}`.",
            "minProperties": 1,
            "examples": [{"option_order": "swapped"}],
        },
        CONTEXT.load,
    )
)


def _load(value: str | Mapping[str, str], file: FromFile) -> Items | OtherData:
    """Items of other data, with a vector of their own where the file names what that is made from."""
    if isinstance(value, str):
        return file.read_items(value)
    with at_key(file.under("test").key):
        items = file.read_items(value["test"])
    if "vector" in value:
        return OtherData(items, file.under("vector").with_vector(value["vector"]))
    return OtherData(items, file.under("train").trained_on(value["train"])) if "train" in value else items


def _other_data(about: str, test: str, of: str, name: str) -> Form:
    """The form of other data with their own vector. ``of`` says what they are, and ``name`` names the files of examples."""
    train = f"Training data, from which the claim's method makes this {of}'s own vector."
    schema = {
        **file_schema(about),
        "type": ["string", "object"],
        "required": ["test"],
        "properties": {
            "test": file_schema(f"A file of contrast items {test}.", f"data/{name}.json"),
            "train": file_schema(train, f"data/{name}_train.json"),
            "vector": file_schema(f"A saved vector of this {of}.", f"vectors/{name}.safetensors"),
        },
        "additionalProperties": False,
    }
    return Form(schema, _load)


DATA_SETS = named(
    _other_data(
        "A file of contrast items, or the files `test` and `train` (or `vector`).",
        "that the vector of this data set was not made from",
        "data set",
        "formal",
    )
)
BEHAVIOURS = named(
    _other_data(
        "A file of contrast items, or the file `test` with `train` or `vector`.",
        "of the other behaviour",
        "behaviour",
        "honesty",
    ),
    without_own=True,
    minProperties=1,
)


def faults_of_settings(written: Written) -> Iterator[Fault]:
    """Of ``contexts`` and ``data_sets``, each data set with a vector of its own for ``tan_relative`` and none for ``retention``."""
    values = written.values
    given = {key: values[key] for key in ("contexts", "data_sets") if isinstance(values.get(key), dict)}
    contexts, data_sets = given.get("contexts", {}), given.get("data_sets", {})
    if given and not (contexts or data_sets):
        yield Fault((), "names no context and no data set", "Name one: `contexts: {swapped: {option_order: swapped}}`.")
    for name in contexts.keys() & data_sets.keys():
        reason = f"the name {name!r} is that of a context too"
        yield Fault(("data_sets", name), reason, "Give one of them another name.")
    is_relative = "tan_relative" in values
    if is_relative and contexts:
        reason = "tan_relative compares vectors on other data sets, and a context is none"
        yield Fault(("contexts",), reason, "Move `contexts` to a claim that promises `retention`.")
    for name, data in data_sets.items():
        path, vectors = ("data_sets", name), _vectors(data)
        test = data.get("test", "FILE") if isinstance(data, dict) else data
        if not is_relative and isinstance(data, dict):
            reason = "retention needs no vector of the data set"
            yield Fault(path, reason, f"Write `{flow({name: test})[1:-1]}`, or promise `tan_relative`.")
        elif is_relative and not vectors:
            hint = f"Write `{flow({name: {'test': test, 'train': 'FILE'}})[1:-1]}`."
            yield Fault(path, "tan_relative needs the data set's own vector", hint)
        else:
            hint = "Write `vector: FILE`, a saved vector of this data set."
            yield from _faults_of_vector(written, path, vectors, hint)


def faults_of_behaviours(written: Written) -> Iterator[Fault]:
    """Of ``behaviours``, none of which is the claim's own."""
    behaviours = written.values.get("behaviours")
    if not isinstance(behaviours, dict) or not behaviours:
        return
    others = {name: data for name, data in behaviours.items() if name not in written.own_names}
    if not others:
        own = " and ".join(map(repr, behaviours))
        reason = f"names no behaviour but {own}, which {'is' if len(behaviours) == 1 else 'are'} the combination's own"
        yield Fault(("behaviours",), reason, "Name others too.")
    tested = written.values.get("data", {}).get("test")
    for name, data in others.items():
        path, test = ("behaviours", name), data.get("test") if isinstance(data, dict) else data
        if isinstance(test, str) and isinstance(tested, str) and written.path(test) == written.path(tested):
            reason = (
                f"{test!r} is the file of data.test, so it is the claim's own behaviour, which steering is meant to move"
            )
            yield Fault((*path, "test") if isinstance(data, dict) else path, reason, "Name the items of another behaviour.")
        hint = "Delete 'train' to compare with the direction of the test items, or write `vector: FILE`, a saved vector of this behaviour."
        yield from _faults_of_vector(written, path, _vectors(data), hint)


def _vectors(data: Any) -> set[str]:
    return data.keys() & {"train", "vector"} if isinstance(data, dict) else set()


def _faults_of_vector(written: Written, path: tuple[str, ...], given: set[str], hint: str) -> Iterator[Fault]:
    """Of what the own vector of other data is made from."""
    if len(given) > 1:
        yield Fault(path, "has both 'train' and 'vector'", "Delete one of the two.")
    elif "train" in given and "extract" not in written.entry:
        reason = "the claim's vector is a saved one, so no method is known that would make another from 'train'"
        yield Fault((*path, "train"), reason, hint)
