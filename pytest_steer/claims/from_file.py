"""How a claim comes from a claim file: what fills its fields, and the forms that parameters have there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..core.errors import at_key
from ..core.evidence import Evidence, Json
from ..core.parameters import Form
from ..core.run_context import RunContext
from ..data import Dialogues, Items, Questions, Tasks, Texts
from ..extract.training import Training
from ..fuzzing.trials import Search
from ..measures.judges import judge_schema, make_judge
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context
from ..steering import Intervention, SteeringVector

Steering = SteeringVector | Intervention


class OtherClaim(NamedTuple):
    """Another claim of the file: its name and that of its suite, and what measures it, once in a run."""

    name: str
    suite: str
    evidence: Callable[[], Evidence]


class Written(Protocol):
    """A claim as it is written, before anything is read: the rules of a kind (``faults`` of its class) look at it.

    Attributes:
        values: all its keys, the file's and those of its combination of the matrix included. They can be wrong.
        entry: of these, that of its vector or intervention; empty if it is none.
        own_names: what its combination calls the claim's own behaviour or vector.
    """

    @property
    def values(self) -> Json: ...
    @property
    def entry(self) -> Json: ...
    @property
    def own_names(self) -> Collection[str]: ...
    def path(self, text: str) -> Path: ...


class FromFile(Protocol):
    """A claim in its file: what its fields and parameters are made of. Each thing is read or made once for all claims.

    What is read is seen from the folder of the claim file.

    Attributes:
        key: what is being read, such as ``behaviours.honesty``: errors are said to be there.
        params: the claim's parameters as the file has them, defaults filled in.
        frame: what every claim can say, by the name of the field that takes it.
        data: the keys of ``data`` that are given.
        own_names: see :class:`Written`.
        in_rounds: its items are drawn in rounds.
        has_method: its vector is made by a method from training data, and not saved.
    """

    @property
    def key(self) -> str: ...
    @property
    def model(self) -> Model: ...
    @property
    def run(self) -> RunContext: ...
    @property
    def params(self) -> Mapping[str, object]: ...
    @property
    def frame(self) -> Mapping[str, object]: ...
    @property
    def data(self) -> Collection[str]: ...
    @property
    def own_names(self) -> Collection[str]: ...
    @property
    def has_method(self) -> bool: ...
    @property
    def in_rounds(self) -> bool: ...

    # --- its data, by the name of the field that takes them ---

    @property
    def subject(self) -> Subject: ...
    @property
    def vector(self) -> Steering: ...
    @property
    def items(self) -> Items | None: ...
    @property
    def context(self) -> Context: ...
    @property
    def texts(self) -> Texts: ...
    @property
    def prompts(self) -> Dialogues: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def demonstrations(self) -> Tasks: ...
    @property
    def source(self) -> str: ...
    @property
    def contexts(self) -> Search: ...
    @property
    def others(self) -> Sequence[OtherClaim]: ...

    # --- values that parameters name ---

    def under(self, key: str) -> FromFile:
        """The same, one key deeper."""

    def path(self, text: str) -> Path:
        """A path, or the name of data that are shipped."""

    def read_items(self, text: str) -> Items:
        """Items that are asked in the form of the claim's own, as many as the profile measures."""

    def read_questions(self, text: str) -> Questions:
        """Questions of a file or of the hub, as many as the profile measures."""

    def read_context(self, values: Mapping[str, object]) -> Context:
        """A context, over the one in which the claim's items are asked."""

    @property
    def training(self) -> Training | None:
        """What the claim's vector is made from; None if it is a saved one."""

    def read_training(self, text: str) -> Training:
        """Other training data, whose columns have their usual names."""

    def made_of(self, training: Training) -> Steering:
        """What the method of the claim's vector makes of other training data, before it is shaped."""

    def trained_on(self, text: str) -> Steering:
        """What the claim's entry gives with other training data."""

    def with_vector(self, text: str) -> Steering:
        """What the claim's entry gives with another saved vector."""

    def saved_vector(self, text: str) -> Steering:
        """A saved vector as it is, at the layers of the claim's where it has them, which fits the model."""


FILLED = (
    "subject", "vector", "items", "context", "texts", "prompts", "tasks", "demonstrations", "source", "contexts", "others",
)  # fmt: skip
"""Fields that a claim file fills in by their name, beside those of its frame."""


# --- forms of parameters ---


def file_schema(about: str = "", example: str = "") -> Json:
    """A file, relative to the folder of the claim file."""
    words = {**({"description": about} if about else {}), **({"examples": [example]} if example else {})}
    return {**words, "type": "string", "pattern": r"\S", "x-file": True}


FILE = Form(file_schema(), lambda text, file: file.path(text))
"""The path of a file."""

ITEMS = Form(file_schema(), lambda text, file: file.read_items(text))
"""A file of contrast items."""

QUESTIONS = Form({**file_schema(), "x-hub": True}, lambda text, file: file.read_questions(text))
"""A file of multiple-choice questions, or a data set of the hub."""

CONTEXT = Form({"$ref": "#/$defs/context"}, lambda values, file: file.read_context(values))
"""What is not as given in a context, by axis."""

JUDGE = Form(
    judge_schema(),
    lambda spec, file: make_judge(spec, where=None, base=file.path(""), model=file.model),
)
"""A judge by its name, with its settings."""


def named(form: Form, *, without_own: bool = False, **keywords: Any) -> Form:
    """A mapping of the user's own names to what each stands for.

    Args:
        without_own: an entry that is called like the claim's own behaviour or vector, under a matrix, is left out.
        keywords: further ones of the mapping's JSON Schema.
    """

    def load(given: Json, file: FromFile) -> Json:
        found = {}
        for name, one in given.items():
            if without_own and name in file.own_names:
                continue
            inner = file.under(name)
            with at_key(inner.key):
                found[name] = form.load(one, inner)
        return found

    return Form({"type": "object", **keywords, "additionalProperties": form.schema}, load)
