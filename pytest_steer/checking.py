"""Trying a registered thing, as scikit-learn's ``check_estimator`` tries an estimator: what everything of its kind has to keep to.

All is tried on the built-in model with built-in data. Faults are collected and raised as one error.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, find
from hypothesis import settings as searching

from .claims import Claim, ClaimKind, complete, evidence_of
from .claims.kinds.ppl_delta_below import PplDeltaBelow
from .core import registry
from .core.errors import DataError, SteerError, exceptions_named
from .core.evidence import Direction, Evidence, Json, Verdict
from .core.file_formats import FileFormat
from .core.parameters import Schema, hints_of, param_of
from .core.validation import Checks
from .data import (
    ContrastItem,
    Dialogue,
    Dialogues,
    Items,
    TaskItem,
    Tasks,
    Texts,
    as_dialogues,
    as_items,
    as_texts,
    read_items,
    read_questions,
    read_texts,
)
from .data.formats import entries
from .extract import mean_difference
from .extract.kinds import MethodKind
from .extract.training import Training
from .files.schema import full_schema
from .measures.judges.kinds import Exchange, JudgeKind, Judgement
from .measures.subject import Subject
from .model import Model
from .model.loading import load_model
from .prompting import Axis, Context, render_item
from .prompting.kinds import AS_GIVEN_WORD
from .prompting.strategies import contexts
from .report import build_report, fitting, write_report
from .report.reading import read_report
from .soundness import examine, own
from .steering import Intervention, SteeringVector, as_intervention, load_intervention, save_intervention
from .steering.kinds import InterventionKind

LAYER = 2
_MOST = 20  # larger numbers are larger efforts: of draws, epochs, contexts
_MULTIPLIERS = (2.0, -2.0, 6.0, -6.0, 0.5)
_PLACES = ("mill", "inn", "lake", "school", "market", "forest")
_EVENTS = ("lesson", "dinner")
_GOOD, _BAD = "It was delightful.", "It was dreadful."
_VERDICTS = {Verdict.PASS: "a pass", Verdict.FAIL: "a fail", Verdict.INCONCLUSIVE: "no verdict"}
_OTHER_HOW = "changes `units.how`, though it says judges=True: runs with other values of it would not be compared"
_SAME_HOW = "changes what is measured, and `units.how` stays: runs with other values of it would be compared"
_OF_FILES = {"x-file", "x-questions", "x-items", "x-baseline", "x-context"}


@dataclass
class _Trial:
    """What was tried, with the values and the file that were given, and what is wrong."""

    given: Json
    sample: Path | None
    tried: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Try something. Whatever the body raises is a fault."""
        self.tried.append(what)
        try:
            with exceptions_named():
                yield
        except SteerError as error:
            self.faults.append(f"{what}: {error}")

    def check(self, what: str, holds: Callable[[], bool], otherwise: str) -> None:
        """Try something that has to hold."""
        with self.of(what):
            _require(holds(), otherwise)

    def settings_of(self, kind: MethodKind | InterventionKind | FileFormat) -> Json:
        """The given settings, and examples of those without which nothing can be made."""
        return {name: _examples(kind.settings[name])[0] for name in kind.required if name not in self.given} | self.given


def check_extension(
    name: str, *, kind: str | None = None, given: Json | None = None, sample: str | Path | None = None
) -> list[str]:
    """Try a registered thing on the built-in model: whatever everything of its kind has to keep to.

    - A claim: a pass, a fail and no verdict are forced through its promise, its evidence goes through every report format and back, its units
      average to the estimate, each parameter is varied, and ``units.how`` changes exactly for those that are not ``judges=True``.
    - A method: a vector of the right shape, the same under one seed, from each form of data that it takes.
    - An intervention: sound hooks, the same from its file, another hash for each other setting.
    - An axis: each value is rendered, written and read again, and a search shrinks it to as given.
    - A format of vectors or data reads ``sample`` (or what it writes) the same twice; one of reports writes reports of every verdict.
    - A judge: one judgement for each reply, the same twice, and a record that is plain data.

    Args:
        name: the name under which it is registered.
        kind: ``claim``, ``method``, ``intervention``, ``axis``, ``vector format``, ``data format``, ``report format`` or ``judge``, where
            the name stands for several.
        given: values of parameters, or settings, that have no usable example.
        sample: a file, of a format that does not write.

    Returns:
        What was tried, a line each.

    Raises:
        SteerError: nothing is registered under the name, or checks fail; lists every failure.
    """
    registry.load_extensions()
    found = [one for one in _CHECKS if name in registry.names(one) and kind in (None, one)]
    if not found:
        registry.find(kind or "claim", name)  # which says what there is
    if len(found) > 1:
        raise SteerError(f"{name!r} is the name of {' and of '.join(f'a {one}' for one in found)}: add kind={found[0]!r}")
    trial = _Trial(dict(given or {}), None if sample is None else Path(sample))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about so few built-in data
        _CHECKS[found[0]](trial, registry.find(found[0], name))
    if trial.faults:
        lines = "".join(f"\n- {fault}" for fault in trial.faults)
        home = registry.home_of(found[0], name)
        raise SteerError(f"{home}: the {found[0]} {name!r} fails {len(trial.faults)} of {len(trial.tried)} checks:{lines}")
    return trial.tried


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SteerError(otherwise)


# --- the built-in data ---


@cache
def _model() -> Model:
    return load_model("builtin:tiny", dtype="float32", device="cpu")


def _items() -> Items:
    asked = [f"You were at the {place}. How was the {event}?" for place in _PLACES for event in _EVENTS]
    return as_items([ContrastItem(question, (_GOOD,), (_BAD,), str(number)) for number, question in enumerate(asked)])


def _lettered() -> Items:
    asked = [f"You were at the {place}. How was it?\n(A) {_GOOD}\n(B) {_BAD}" for place in _PLACES]
    return as_items([ContrastItem(question, (" (A)",), (" (B)",), str(number)) for number, question in enumerate(asked)])


def _tasks() -> Tasks:
    return Tasks(
        [TaskItem(f"The {place}", place) for place in (*_PLACES, "hill", "garden", "tower", "island", "bridge", "meadow")]
    )


def _texts() -> Texts:
    ends = ("It is late.", "The sea is calm.")
    return as_texts(
        [f"The {place} has two doors. Anna lives at the {place}. {end}" for place in _PLACES for end in ends], "texts"
    )


def _prompts() -> Dialogues:
    return as_dialogues([Dialogue((item.question, "And what did you do then?"), id=item.id) for item in _items()])


@cache
def _vector() -> SteeringVector:
    sides = [[f"{answer} The {place} was there." for place in _PLACES] for answer in (_GOOD, _BAD)]
    return mean_difference(_model(), *sides, layer=LAYER)


_DATA: dict[str, Callable[[], Any]] = {
    "items": _items,
    "texts": _texts,
    "prompts": _prompts,
    "tasks": _tasks,
    "demonstrations": _tasks,
    "questions": lambda: read_questions("builtin:capability").first(12),
    "contexts": lambda: {"option_order": ["as_given", "swapped"], "filler": [0, 1]},
}


# --- values of parameters ---


def _examples(schema: Schema) -> list[Any]:
    """Values that a parameter can have: its example first, then others within its bounds; of one that is a vector's file, vectors."""
    if schema.get("x-vector"):
        drawn = [torch.randn(_vector().width, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
        return [SteeringVector({LAYER: direction}) for direction in drawn]
    if schema.get("x-judge"):
        return [{"regex": "e"}, {"contains": ["the"]}]
    found = [*schema.get("examples", ()), *schema.get("enum", ())]
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    found += [True, False] if "boolean" in kinds else []
    if {"integer", "number"} & {*kinds}:
        low, high = _bounds(schema)
        found = [one for one in found if not isinstance(one, (int, float)) or abs(one) < _MOST]
        found += [low + 1] if math.isfinite(low) else []
        found += [high - 1, 1, 2] if high < _MOST else [1, 2]
        found += [(low + high) / 2] if math.isfinite(low + high) and "number" in kinds else []
    values, checks = [], Checks({**schema, "$defs": full_schema()["$defs"]})
    for value in found:
        if isinstance(value, float) and value.is_integer() and "integer" in kinds and "number" not in kinds:
            value = int(value)
        if value not in values and checks.is_valid(value):
            values.append(value)
    return values


def _bounds(schema: Schema) -> tuple[float, float]:
    low: Any = schema.get("exclusiveMinimum", schema.get("minimum", -math.inf))
    high: Any = schema.get("exclusiveMaximum", schema.get("maximum", math.inf))
    return low, high


def _beyond(schema: Schema) -> list[float]:
    """Numbers that the bounds of a parameter exclude."""
    steps = {"exclusiveMinimum": 0, "exclusiveMaximum": 0, "minimum": -1, "maximum": 1}
    return [schema[key] + step for key, step in steps.items() if key in schema]


# --- a claim ---


def _claim(trial: _Trial, kind: ClaimKind) -> None:
    base = {
        name: _DATA[name]() for name, needed in kind.fields.items() if name in _DATA and (needed or name in kind.either[:1])
    }
    base |= {"vector": _vector()} if "vector" in kind.fields else {}
    base |= _needed(kind, trial.given) | trial.given
    promise = next((name for name in (kind.main, *kind.promises) if name in kind.promises), None)

    def measured(**changes: Any) -> Evidence:
        return evidence_of(_declared(kind, base | changes), _model())

    forced: dict[Verdict, Evidence] = {}
    if promise is None or not issubclass(kind.declared, Claim):
        with trial.of("it is measured"):
            evidence = measured()
            forced[evidence.verdict] = evidence
    else:
        for verdict, called in _VERDICTS.items():
            with trial.of(f"{called} is forced through {promise!r}"):
                forced[verdict] = _forced(kind, promise, verdict, measured)
    with trial.of("its evidence goes through every report format and back"):
        _reported(list(forced.values()))
    with trial.of("its units average to the estimate"):
        for evidence in forced.values():
            _averages(evidence)
    _varied(trial, kind, base, measured)


def _declared(kind: ClaimKind, values: Json) -> Any:
    return kind.declared(**{name: value for name, value in values.items() if value is not ...})


def _needed(kind: ClaimKind, given: Json) -> Json:
    """Examples of the parameters that have to be given."""
    names = [name for name, schema in kind.parameters.items() if "x-questions" in schema]
    names += [*kind.schema.get("required", ()), *(() if set(kind.one_of) & given.keys() else kind.one_of[:1])]
    names += () if set(kind.any_of) & given.keys() else kind.any_of[:1]
    found = {}
    for name in names:
        schema = kind.parameters.get(name, {})
        if name in given or (name in _DATA and name not in kind.parameters):
            continue
        found[name] = _DATA["questions"]() if "x-questions" in schema else next(iter(_examples(schema)), None)
    return found


def _forced(kind: ClaimKind, promise: str, verdict: Verdict, measured: Callable[..., Evidence]) -> Evidence:
    """Evidence with a verdict, whose threshold is set from what was measured without one."""
    seen = []
    directions: list[Json] = [{"direction": "raises"}, {"direction": "lowers"}] if "direction" in kind.fields else [{}]
    for deployed in ({"multiplier": multiplier, **one} for multiplier in _MULTIPLIERS for one in directions):
        said = ", ".join(f"{key} {value}" for key, value in deployed.items())
        try:
            free = measured(**deployed, **{promise: {"value": None}})
        except SteerError as error:
            seen.append(f"{said}: {error}")
            continue
        _require(
            free.verdict is Verdict.INCONCLUSIVE, f"without a threshold it says {free.verdict}, where nothing is promised"
        )
        if verdict is Verdict.INCONCLUSIVE:
            return free
        low, high = free.interval
        seen.append(f"{said}: {free.estimate} [{low}, {high}]")
        for threshold in _thresholds(kind.parameters[promise], free, verdict):
            try:
                found = measured(**deployed, **{promise: threshold})
            except SteerError as error:
                seen[-1] += f", with {threshold:.4g}: {error}"
                continue
            if found.verdict is verdict:
                return found
            why = "" if found.withheld is None else f" ({found.withheld.text})"
            seen[-1] += f", with {threshold:.4g} {found.verdict}{why}"
    raise SteerError(f"never {verdict}. {'; '.join(dict.fromkeys(seen))}")


def _thresholds(schema: Schema, free: Evidence, verdict: Verdict) -> list[float]:
    """Thresholds within a parameter's bounds that an interval keeps, or breaks."""
    low, high = free.interval
    below = (free.direction is Direction.AT_LEAST) == (verdict is Verdict.PASS)
    end, (least, most) = (low if below else high), _bounds(schema)
    if end is None:
        return []
    room = max(0.1 * abs(end), (high - low) if low is not None and high is not None else 0.0, 1e-3)
    limit = least if below else most
    wanted = [end - room if below else end + room, end / 2 if below == (end > 0) else 2 * end]
    wanted += [(end + limit) / 2] if math.isfinite(limit) else []
    return [one for one in wanted if least < one < most and one and (one < end if below else one > end)]


def _reported(found: list[Evidence]) -> None:
    _require(bool(found), "no verdict could be forced, so there is no evidence to report")
    named = [one.but(id=f"checked::{one.verdict}", suite="checked", name=str(one.verdict)) for one in found]
    records = [complete(one).to_dict() for one in named]
    fit, faults = fitting(records)
    _require(not faults, "; ".join(faults))
    report = build_report(fit, seed=0, profile="ci", started=time.time())
    with tempfile.TemporaryDirectory() as folder:
        for known in registry.things("report format").values():
            file = Path(folder, f"report{known.suffixes[0]}")
            write_report(file, report)
            if known.suffixes[0] == ".json":
                back = read_report(file)
                _require(
                    back["claims"] == json.loads(json.dumps(report["claims"])), "the JSON report reads back as another one"
                )


def _averages(evidence: Evidence) -> None:
    units, estimate = evidence.units, evidence.estimate
    if units is None or estimate is None or units.parts is not None:
        return  # of several parts the worst one is the estimate
    mean = float(np.mean(units.values))
    if units.clusters is not None:
        groups = np.array(units.clusters)
        mean = float(np.mean([np.mean(np.array(units.values)[groups == group]) for group in np.unique(groups)]))
    sign = 1 if mean * estimate >= 0 else -1
    close = math.isclose(sign * mean, estimate, rel_tol=1e-3, abs_tol=1e-6)
    _require(close, f"the mean of the {len(units.values)} units is {mean:.6g}, and the estimate {estimate:.6g}")


def _varied(trial: _Trial, kind: ClaimKind, base: Json, measured: Callable[..., Evidence]) -> None:
    hints = hints_of(kind.declared)
    for name, schema in kind.parameters.items():
        number = schema.get("properties", {}).get("value", schema) if schema.get("x-promise") else schema
        for value in _beyond(number):
            with trial.of(f"{name} refuses {value:g}"):
                _refuses(kind, {**base, name: value}, name)
        if name in kind.promises or _OF_FILES & schema.keys() or name in kind.any_of or (kind.either and name == "on"):
            continue
        param = param_of(hints[kind.field_of[name]])
        other = kind.only_with.get(name)
        partner = {other: _examples(kind.parameters[other])[0]} if other in kind.parameters else {}
        with trial.of(f"{name} is varied"):
            changed = _changes_how(name, _examples(schema), base, partner, measured)
            judges = param is not None and param.judges
            if changed == judges:
                raise SteerError(_OTHER_HOW if judges else _SAME_HOW)


def _refuses(kind: ClaimKind, values: Json, name: str) -> None:
    try:
        _declared(kind, values)
    except SteerError as error:
        _require(kind.field_of[name] in str(error) or name in str(error), f"the error names another thing: {error}")
        return
    raise SteerError("it was taken")


def _changes_how(name: str, values: list[Any], base: Json, partner: Json, measured: Callable[..., Evidence]) -> bool | None:
    """Whether ``units.how`` differs between the default of a parameter and another value; None if none could be tried."""
    changes, before = None, None
    with suppress(SteerError):
        before = measured(**partner).units
    if before is None:
        return None
    for value in values[:4]:
        if not changes and value != base.get(name, before.how.get(name)):
            with suppress(SteerError):  # a value that these data, or the other parameters, do not allow
                after = measured(**partner, **{name: value}).units
                changes = changes if after is None else after.how != before.how
    return changes


# --- what steers ---


def _method(trial: _Trial, kind: MethodKind) -> None:
    seen = [f"At the {place}, the {event} began." for place in _PLACES for event in _EVENTS]
    sides = ([f"{_GOOD} {one}" for one in seen], [f"{_BAD} {one}" for one in seen])
    forms = {
        "contrast items": Training(_items(), Path("items"), 0),
        "texts": Training(sides, Path("texts"), 0),
        "pairs of a task": Training(_tasks(), Path("tasks"), 0),
    }
    settings = trial.settings_of(kind)
    for form, training in forms.items():
        if kind.takes == "items" and form == "texts":
            continue

        def made(training: Training = training, **more: Any) -> SteeringVector | Intervention:
            layers = None if kind.layers == "none" else [LAYER]
            return kind.extract(
                _model(), training, layers=layers, context=training.context, seed=0, settings={**settings, **more}
            )

        with trial.of(f"{form} make a vector or intervention that fits the model"):
            first = made()
            change = as_intervention(first)
            _require(
                change.width in (None, _model().width), f"its width is {change.width}, that of the model {_model().width}"
            )
            _require(max(change.layers) < _model().n_layers, f"it acts at layer {max(change.layers)} of {_model().n_layers}")
            with trial.of(f"{form} make the same twice under one seed"):
                _require(_same(first, made()), "two calls with one seed give two results: draw what is random from `seed`")
    for name, schema in kind.settings.items():
        if "x-file" in schema:
            continue
        with trial.of(f"the setting {name} takes its examples, or refuses them in words"):
            for value in _examples(schema)[:3]:
                with suppress(SteerError):  # a value that these data do not allow
                    made(forms["contrast items"], **{name: value})


def _same(one: SteeringVector | Intervention, other: SteeringVector | Intervention) -> bool:
    if isinstance(one, SteeringVector) and isinstance(other, SteeringVector):
        return one.layers == other.layers and all(torch.equal(one.directions[k], other.directions[k]) for k in one.layers)
    return as_intervention(one).hash == as_intervention(other).hash


def _intervention(trial: _Trial, kind: InterventionKind) -> None:
    vector, settings = _vector(), trial.settings_of(kind)

    def made(**more: Any) -> Intervention:
        layers = (LAYER,) if "layers" in kind.filled else None
        return kind.make(vector, layers=layers, site="block", settings={**settings, **more})

    with trial.of("its hooks are sound"):
        subject = Subject(vector=made(), multiplier=1.0)
        record = examine(_model(), lambda layer: own(_model(), subject), examples=4, seed=0)
        broken = [f"{one.property}: {one.message}" for one in record.broken]
        _require(not broken, "; ".join(broken))
    words = "its hash differs each time: give it settings that JSON can hold"
    trial.check("made twice, it is the same", lambda: made().hash == made().hash, words)
    with trial.of("its file makes it again"):
        first = made()
        with tempfile.TemporaryDirectory() as folder:
            save_intervention(first, Path(folder, "a.safetensors"))
            back = load_intervention(Path(folder, "a.safetensors"))
        _require(back.hash == first.hash, "what is read from its file has another hash")
        hidden = torch.randn(2, 3, vector.width, generator=torch.Generator().manual_seed(0))
        strength, steered = torch.ones(2, 1), torch.ones(2, 3, dtype=torch.bool)
        layer = first.changes[0]
        if first.looks == "position":
            _require(
                torch.equal(first.apply(hidden, strength, steered, layer), back.apply(hidden, strength, steered, layer)),
                "what is read does something else",
            )
    for name, schema in kind.settings.items():
        with trial.of(f"its hash changes with {name}"):
            hashes = [made(**{name: value}).hash for value in _examples(schema)[:3]]
            _require(len({*hashes}) == len(hashes), f"two values of {name} give one hash")


# --- how it is asked ---


def _axis(trial: _Trial, axis: Axis) -> None:
    values = trial.given.get("values") or _values_of(axis)
    examples = _items() if axis.draws_examples else None
    items = [*islice(_items(), 2), *islice(_lettered(), 2)]
    trial.check(
        "it has values to try", lambda: bool(values), "it has no value to try: give an example, Axis(..., example=...)"
    )
    changed = False
    for value in values:
        with trial.of(f"{value!r} is rendered".replace("\n", " ")[:100]):
            context = Context({axis: value}, examples=examples)
            changed |= _asked(items, context) != _asked(items, Context())
        with trial.of(f"{value!r} is written and read again".replace("\n", " ")[:100]):
            written = json.loads(json.dumps(context.to_dict()))
            back = Context.from_dict(written, examples=examples, axes=[axis])
            _require(back == context, f"{written} is read as {back!r}")
    words = "no value changes the prompt or the answers of any item"
    trial.check("a value changes what the model is asked", lambda: changed, words)
    with trial.of("a search shrinks it to as given"):
        space = contexts(examples=examples, **{axis.name: [*values, axis.as_given]})
        quick = searching(max_examples=50, database=None, deadline=None, suppress_health_check=[*HealthCheck])
        _require(find(space, lambda context: True, settings=quick) == Context(), "the simplest context is not as given")


def _values_of(axis: Axis) -> list[Any]:
    if axis.choices:
        return [value for value in axis.choices if value != axis.as_given][:6]
    listed = [*axis.value_schema.get("enum", ()), *axis.value_schema["examples"]]
    distinct = map(json.loads, dict.fromkeys(map(json.dumps, listed)))
    return [value for value in distinct if value not in (AS_GIVEN_WORD, axis.as_given)][:6]


def _asked(items: Iterable[ContrastItem], context: Context) -> list[Any]:
    """What a model is asked in a context, with how its prompts are made: not every template shows all of that."""
    found: list[Any] = [context.setting(_model().format)]
    for item in items:
        try:
            rendered = render_item(item, _model().format, context)
        except DataError:
            continue  # an axis about labelled options, for an item without them
        _require(bool(rendered.prompt.strip()), f"item {item.id}: the prompt is empty")
        found.append((rendered.prompt, rendered.matching, rendered.not_matching))
    return found


def _judge(trial: _Trial, kind: JudgeKind) -> None:
    pairs = zip(_items(), (_GOOD, _BAD, "", "Sorry."), strict=False)
    exchanges = [Exchange((item.question,), reply, item.id) for item, reply in pairs]
    with trial.of("it gives one judgement for each reply"):
        made = kind.make(kind.example | trial.given, {"base": Path(), "model": _model()})
        first = [*made.judge(exchanges)]
        _require(len(first) == len(exchanges), f"{len(first)} judgements of {len(exchanges)} replies")
        wrong = next((one for one in first if not isinstance(one, Judgement)), None)
        _require(wrong is None, f"gives {type(wrong).__name__}, not Judgement")
    trial.check("it judges the same twice", lambda: [*made.judge(exchanges)] == first, "two calls judge differently")
    trial.check("its record is plain data", lambda: json.dumps(made.record(), allow_nan=False) != "null", "it has none")


# --- files ---


def _sample_named(known: FileFormat) -> str:
    return f"name one: check_extension({known.name!r}, sample='FILE{known.suffixes[0]}')"


def _vector_format(trial: _Trial, known: FileFormat) -> None:
    sample, is_written = trial.sample, known.write is not None
    trial.check("there is a file to read, or it writes one", lambda: sample is not None or is_written, _sample_named(known))
    settings = trial.settings_of(known)
    layer = settings.pop("layer", "all")
    if sample is not None:
        with trial.of("it reads the file, twice the same"):
            one, other = (SteeringVector.load(sample, layer=layer, **settings) for _ in range(2))
            _require(_same(one, other), "two reads give two vectors")
    if is_written:
        with trial.of("what it writes it reads again"), tempfile.TemporaryDirectory() as folder:
            vector = SteeringVector({LAYER: _vector().directions[LAYER], LAYER + 1: 2 * _vector().directions[LAYER]})
            vector.save(Path(folder, f"a{known.suffixes[0]}"))
            back = SteeringVector.load(Path(folder, f"a{known.suffixes[0]}"), layer="all", **settings)
            _require(
                _same(vector, back), f"layers {list(vector.layers)} are read as {list(back.layers)}, or with other values"
            )


def _data_format(trial: _Trial, known: FileFormat) -> None:
    sample = trial.sample
    trial.check("there is a file to read", lambda: sample is not None, _sample_named(known))
    if sample is None:
        return
    with trial.of("it reads entries that are plain data, twice the same"):
        one, other = ([*entries(sample)] for _ in range(2))
        _require(bool(one), "the file has no entries")
        _require(one == other, "two reads give two lists of entries")
        json.dumps([entry for _, entry in one], allow_nan=False)
    with trial.of("as JSON Lines its entries are the same items"), tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "a.jsonl")
        lines.write_text("".join(f"{json.dumps(entry)}\n" for _, entry in one), encoding="utf-8")
        read = read_items if isinstance(one[0][1], dict) and "question" in one[0][1] else read_texts
        _require([*read(sample)] == [*read(lines)], "they are read as others")


def _report_format(trial: _Trial, known: FileFormat) -> None:
    records = []
    for name, limit in (("pass", 90.0), ("fail", 1e-9), ("open", None)):
        evidence = evidence_of(PplDeltaBelow(vector=_vector(), texts=_texts(), limit=limit, name=name), _model())
        records.append(complete(evidence.but(id=f"checked::{name}", suite="checked")).to_dict())
    for what, claims in (("a pass, a fail and no verdict", records), ("no claim", [])):
        with trial.of(f"it writes a report of {what}"), tempfile.TemporaryDirectory() as folder:
            report = build_report(fitting(claims)[0], seed=0, profile="ci", started=0.0)
            files = [Path(folder, f"{number}{known.suffixes[0]}") for number in range(2)]
            for file in files:
                write_report(file, report)
            _require(files[0].read_bytes() == files[1].read_bytes(), "one report is written in two ways")


_CHECKS: dict[str, Callable[[_Trial, Any], None]] = {
    "claim": _claim,
    "method": _method,
    "intervention": _intervention,
    "axis": _axis,
    "judge": _judge,
    "vector format": _vector_format,
    "data format": _data_format,
    "report format": _report_format,
}
