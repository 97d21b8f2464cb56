"""Two models compared on one suite: claims paired by item, and the questions of Tan et al. (2024) about slopes."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..claims.curves import check_has_slope
from ..claims.drawn import complete
from ..claims.judging import adjusted
from ..core.errors import DataError, SteerError, exceptions_named
from ..core.evidence import Evidence, Json
from ..core.run_context import report_progress
from ..core.sources import find_model, shown
from ..data import ContrastItem, Items, sample_of
from ..extract.training import holds_tasks
from ..files import BrokenClaim, ClaimSpec, Suite
from ..files.build import Measuring, load_for
from ..files.inputs import Inputs
from ..measures import Array, propensity_curves
from ..measures.propensity import factors_of
from ..measures.subject import Subject
from ..model import Model
from ..model.loading import Models, stored_in
from ..model.state import tokenizer_hash
from ..prompting import AS_GIVEN, Context, exchange_labels
from ..prompting.kinds import axis_of, known_axes, plain
from ..prompting.options import find_options, swap_options
from ..soundness import check_before
from ..stats import Decomposition, RankCorrelation, rank_correlation_bounds, variance_shares
from .compare_methods import behaviour_name, further_name, method_name

BASE = "as given"
SWAPPED, EXCHANGED, BOTH = "options swapped", "labels exchanged", "options swapped, labels exchanged"


@dataclass(frozen=True)
class Behaviour:
    """A vector on a behaviour's items, as the first claim about both says.

    Attributes:
        name: the behaviour's, with the method's where a file has several.
        contexts: the shifted contexts that the file names, by name; each differs from as given on one axis, or as ``generalizes`` says.
    """

    name: str
    suite: Suite
    claim: ClaimSpec
    contexts: Mapping[str, Context]


def behaviours_of(suites: Sequence[Suite]) -> list[Behaviour]:
    """Each vector on each data set of contrast items once, in the order of the files.

    Raises:
        DataError: there is none.
    """
    first: dict[tuple[object, ...], tuple[Suite, ClaimSpec]] = {}
    for suite in suites:
        for entry in suite.entries:
            if isinstance(entry, BrokenClaim) or entry.test is None or holds_tasks(entry.test, entry.columns):
                continue
            vector = entry.vector
            first.setdefault((vector.key, vector.positions, vector.include_first, entry.test), (suite, entry))
    if not first:
        raise DataError("no claim has contrast items (data.test), so there are no slopes to compare")
    found, names = [], [behaviour_name(claim) for _, claim in first.values()]
    used: dict[str, list[float]] = {}
    for (suite, claim), name in zip(first.values(), names, strict=True):
        full = name if names.count(name) == 1 else f"{name} ({method_name(claim)})"
        earlier = used.setdefault(full, [])
        found.append(Behaviour(further_name(full, claim.multiplier, earlier), suite, claim, contexts_of(suite)))
        earlier.append(claim.multiplier)
    return found


def contexts_of(suite: Suite) -> dict[str, Context]:
    """The shifted contexts of a file: each value of ``contexts`` by itself, and those that ``generalizes`` names.

    Values that need demonstrations are left out: other items would be spent on them.
    """
    known = known_axes()
    found: dict[str, Context] = {}
    for name, values in suite.contexts.items():
        axis = axis_of(name, known)
        if axis.draws_examples or not isinstance(values, (list, tuple)):
            continue
        for value in values:
            context = Context({axis: value})
            if context != AS_GIVEN:
                found.setdefault(f"{name}: {_short(plain(axis.checked(value)))}", context)
    for entry in suite.entries:
        named = None if isinstance(entry, BrokenClaim) else entry.params.get("contexts")
        for name, values in (named or {}).items():
            if isinstance(values, Mapping) and not any(axis_of(one, known).draws_examples for one in values):
                found.setdefault(name, Context.from_dict(values))
    first: dict[Context, str] = {}
    for name, context in found.items():
        first.setdefault(context, name)
    return {name: context for context, name in first.items()}


def variants_of(items: Items) -> dict[str, Items]:
    """The same items with their two options swapped, with the labels exchanged, and with both, to separate a letter from its position.
    Empty unless every item has two lettered options."""
    try:
        if not all(item.is_lettered for item in items):
            return {}
        exchanged = [exchange_labels(item) for item in items]
        return {
            SWAPPED: Items((swap_options(item) for item in items), items.source),
            EXCHANGED: Items(exchanged, items.source),
            BOTH: Items((swap_options(item) for item in exchanged), items.source),
        }
    except DataError:
        return {}


def position_of(item: ContrastItem) -> int | None:
    """Where the option of the matching answer stands: 1 for the first; None for an item without lettered options."""
    if not item.is_lettered:
        return None
    labels = [option["label"] for option in find_options(item.question)]
    own = item.matching[0].strip()[1]
    return labels.index(own) + 1 if own in labels else None


def in_context(context: Context, base: Context) -> Context:
    """A shifted context, with what the claim says about how its items are asked."""
    return replace(context, answers=base.answers) if not base.values else context.over(base)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 30 else f"{text[:14]}...{text[-13:]}"


def each_setting(behaviour: Behaviour, items: Items, base: Context) -> Iterator[tuple[str, Items, Context, bool]]:
    """(name, items, context, whether it is a shifted context) of all that is asked about a behaviour."""
    yield BASE, items, base, False
    for name, variant in variants_of(items).items():
        yield name, variant, base, False
    for name, context in behaviour.contexts.items():
        yield name, items, in_context(context, base), True


@dataclass(frozen=True, eq=False)
class InSetting:
    """The slopes of a behaviour's items in one setting.

    Attributes:
        shifted: whether it is another context, rather than the items' own options in another order or under other labels.
        slopes: [n_items], turned round where the behaviour is meant to fall.
        letter / yes_no / position: of the matching answer as it was shown, one per item; None where an item has none.
        by_token: whether items are scored by one token, in logits, rather than by the tokens of an answer, in nats per token.
        prompts: each item's sequences as tokens.
    """

    name: str
    shifted: bool
    slopes: Array
    letter: Sequence[str | None]
    yes_no: Sequence[str | None]
    position: Sequence[int | None]
    by_token: frozenset[bool]
    prompts: Sequence[object] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Slopes:
    """The slopes of one behaviour's items on one model, in every setting.

    Attributes:
        ids: the content hash of each item. settings: as given first.
        left_out: settings that this model could not be asked in, with the reason.
    """

    behaviour: str
    ids: Sequence[str]
    clusters: Sequence[int] | None
    settings: Sequence[InSetting]
    left_out: dict[str, str]

    @property
    def base(self) -> InSetting:
        return self.settings[0]

    def of(self, name: str) -> InSetting | None:
        return next((one for one in self.settings if one.name == name), None)


def measure_slopes(models: Models, name: str, behaviours: Sequence[Behaviour]) -> tuple[dict[str, Slopes], dict[str, str]]:
    """Measure the slopes of each behaviour on a model. Returns them, and the reasons of failures, by behaviour.

    Raises:
        ModelError: the model cannot be loaded.
    """
    found: dict[str, Slopes] = {}
    failures: dict[str, str] = {}
    inputs_of: dict[int, Inputs] = {}
    for index, behaviour in enumerate(behaviours, 1):
        model = load_for(models, behaviour.suite, name)
        inputs = inputs_of.setdefault(id(model), Inputs(model))
        report_progress(f"{name}: slopes of {behaviour.name} ({index} of {len(behaviours)})")
        try:
            found[behaviour.name] = _slopes(model, inputs, behaviour)
        except SteerError as error:
            failures[behaviour.name] = str(error)
    return found, failures


def _slopes(model: Model, inputs: Inputs, behaviour: Behaviour) -> Slopes:
    claim = behaviour.claim
    subject = inputs.subject(claim)
    everything, base = inputs.test_items(claim)
    sample = sample_of(everything, claim.cluster, at_least=0)
    grid = check_has_slope(subject, claim.multipliers)
    check_before(model, subject)
    settings: list[InSetting] = []
    left_out: dict[str, str] = {}
    for name, items, context, shifted in each_setting(behaviour, sample.units, base):
        try:
            settings.append(_in_setting(model, subject, items, context, grid, name, shifted))
        except SteerError as error:
            if name == BASE:
                raise
            left_out[name] = str(error)
    return Slopes(behaviour.name, sample.units.item_hashes, sample.clusters, settings, left_out)


def _in_setting(
    model: Model, subject: Subject, items: Items, context: Context, grid: list[float], name: str, shifted: bool
) -> InSetting:
    curve = propensity_curves(model, items, {0: subject.intervention}, subject.scope, multipliers=grid, context=context)[0]
    labels, none = factors_of(curve), [None] * len(items)
    return InSetting(
        name=name,
        shifted=shifted,
        slopes=subject.slope_sign * curve.slopes,
        letter=labels.get("letter", none),
        yes_no=labels.get("yes_no", none),
        position=[position_of(context.put(item)) for item in items],
        by_token=frozenset(probe.candidates is not None for probe in curve.probes),
        prompts=[tuple((tuple(probe.ids), probe.candidates) for probe in asked.probes) for asked in curve.asked],
    )


@dataclass(frozen=True)
class Facts:
    """Facts about a model to compare, kept after the model has left memory.

    Attributes:
        weights / bytes: the fingerprint, and the hash of the weights as they are in memory.
        settings: what else is compared, by name.
        tokenizer: its hash. tokens: token to number.
    """

    weights: str
    bytes: str
    settings: Mapping[str, object]
    tokenizer: str
    tokens: Mapping[str, int]


def facts_of(model: Model) -> Facts:
    """Collect the facts that :func:`differences_of` compares."""
    settings = {
        "class": type(model.hf).__name__,
        "blocks": model.n_layers,
        "width": model.width,
        "quantisation": _quantisation(model),
        "dtype": model.dtype,
        "device": model.device.type,
        "vocabulary": model.vocabulary,
        "chat template": model.template_hash[:12],
    }
    tokens = dict(model.tokenizer.get_vocab())
    return Facts(model.fingerprint, model.bytes_hash, settings, tokenizer_hash(model.tokenizer), tokens)


def _quantisation(model: Model) -> str:
    """The stored format of quantised weights. They are computed in ``dtype``, so a quantised model is compared like any other."""
    source = find_model(model.id)
    if source.kind != "gguf" or source.path is None:
        return "none"
    stored = stored_in(source.path)
    return "none" if stored in ("F32", "F16", "BF16") else stored


def differences_of(first: Facts, second: Facts) -> list[str]:
    """One line for each thing that differs."""
    lines = []
    if first.bytes == second.bytes:
        lines.append("weights: equal to the last bit: this is one checkpoint")
    elif first.weights == second.weights:
        lines.append("weights: equal in bfloat16, which is how a checkpoint is known: they differ in precision alone")
    else:
        lines.append(f"weights: {first.weights[:12]} and {second.weights[:12]}")
    for what, one in first.settings.items():
        other = second.settings[what]
        if one != other:
            lines.append(f"{what}: {one} and {other}")
    if first.tokenizer != second.tokenizer:
        shared = sum(second.tokens.get(token) == number for token, number in first.tokens.items())
        lines.append(f"tokenizer: {shared} of {len(first.tokens)} and {len(second.tokens)} tokens have the same number")
    return lines


def prompts_that_differ(first: Mapping[str, Slopes], second: Mapping[str, Slopes]) -> list[str]:
    """For each behaviour how many items reach the two models as different tokens, where any do."""
    found = []
    for name in first:
        if name not in second:
            continue
        pairs = list(zip(first[name].base.prompts, second[name].base.prompts, strict=False))
        different = sum(one != other for one, other in pairs)
        if different:
            found.append(f"{name}: {different} of {len(pairs)} items reach the two models as different tokens")
    return found


def measure_claims(measuring: Measuring, suites: Sequence[Suite], called: str) -> list[Json]:
    """The record of every claim, in the order of the files; a claim that cannot be measured is an error among them.

    Verdicts of a file with ``holm: true`` are adjusted for its number of claims, as in a run of pytest.

    Args:
        measuring: of a run whose model is the one to measure on.
        called: the model's name in progress.
    """
    entries = [(suite, entry) for suite in suites for entry in suite.entries]
    measured = []
    for index, (suite, entry) in enumerate(entries, 1):
        report_progress(f"{called}: claim {entry.name} ({index} of {len(entries)})")
        measured.append(measuring.evidence_of(suite, entry))
    for suite in (suite for suite in suites if suite.holm):
        own = [place for place, (one, _) in enumerate(entries) if one is suite]
        for place, evidence in zip(own, adjusted([measured[place] for place in own]), strict=True):
            measured[place] = evidence
    return [_record(evidence, *entry) for evidence, entry in zip(measured, entries, strict=True)]


def _record(evidence: Evidence, suite: Suite, entry: ClaimSpec | BrokenClaim) -> Json:
    try:
        with exceptions_named():
            return _labelled(evidence, suite, entry).to_dict()
    except SteerError as error:
        return _labelled(entry.failed(error, suite.path), suite, entry).to_dict()


def _labelled(evidence: Evidence, suite: Suite, entry: ClaimSpec | BrokenClaim) -> Evidence:
    return complete(
        evidence.but(
            suite=suite.name,
            id=f"{shown(suite.path)}::{entry.name}",
            matrix=entry.choice or None,
            xfail=entry.xfail,
        )
    )


@dataclass(frozen=True)
class Ranked:
    """A rank correlation, with its subject.

    Attributes:
        of: the behaviours, or the one whose items are ranked.
        reason: why there is no correlation.
    """

    name: str
    of: Sequence[str]
    spearman: RankCorrelation | None
    reason: str | None = None


@dataclass(frozen=True)
class Answers:
    """The answers to the questions about two models.

    Attributes:
        behaviours: of the two models' steerabilities, over behaviours.
        items: of the two models' slopes, over the items of each behaviour.
        contexts: for each of the two models, of steerability as given and in each shifted context (and in the mean of all), over
            behaviours.
        variance: for each of the two models and each behaviour, what explains the variance of its slopes; None if nothing can.
        refused: behaviours that cannot be compared, with the reason.
    """

    behaviours: Ranked
    items: Sequence[Ranked]
    contexts: tuple[Sequence[Ranked], Sequence[Ranked]]
    variance: tuple[Mapping[str, Decomposition | None], Mapping[str, Decomposition | None]]
    refused: Mapping[str, str]


def answers_of(first: Mapping[str, Slopes], second: Mapping[str, Slopes], *, confidence: float = 0.95) -> Answers:
    """Answer the questions from the slopes of two models, by behaviour."""
    refused = {name: reason for name in first if name in second and (reason := unpaired(first[name], second[name]))}
    both = [name for name in first if name in second and name not in refused]
    one, other = ([float(own[name].base.slopes.mean()) for name in both] for own in (first, second))
    return Answers(
        behaviours=_ranked("behaviours", both, one, other, confidence),
        items=[
            _ranked(name, [name], _unit_means(first[name]), _unit_means(second[name]), confidence, unit="items")
            for name in both
        ],
        contexts=(_over_contexts(first, confidence), _over_contexts(second, confidence)),
        variance=(
            {name: decomposed(own, confidence) for name, own in first.items()},
            {name: decomposed(own, confidence) for name, own in second.items()},
        ),
        refused=refused,
    )


def unpaired(one: Slopes, other: Slopes) -> str | None:
    """Why the items of a behaviour cannot be compared between two models; None if they can."""
    if list(one.ids) != list(other.ids):
        return "the two models were asked different items"
    if one.base.by_token != other.base.by_token:
        how = {True: "by one token (logits)", False: "by the tokens of an answer (nats per token)"}
        said = [" and ".join(how[way] for way in sorted(own.base.by_token, reverse=True)) for own in (one, other)]
        return f"the first model's answers are scored {said[0]}, the second's {said[1]}: their slopes have different units"
    return None


def _unit_means(own: Slopes) -> list[float]:
    """The mean slope of each unit: an item, or items that belong together."""
    clusters = np.asarray(own.clusters if own.clusters is not None else range(len(own.ids)))
    return [float(own.base.slopes[clusters == one].mean()) for one in dict.fromkeys(clusters.tolist())]


def _over_contexts(measured: Mapping[str, Slopes], confidence: float) -> list[Ranked]:
    """As given against each shifted context that several behaviours have, and against the mean over all of a behaviour's contexts."""
    names = list(dict.fromkeys(one.name for own in measured.values() for one in own.settings if one.shifted))

    def over(name: str, contexts: Sequence[str]) -> Ranked:
        pairs: dict[str, tuple[float, float]] = {}
        for behaviour, own in measured.items():
            there = [one for one in own.settings if one.name in contexts and one.by_token == own.base.by_token]
            if there:
                means = [one.slopes.mean() for one in there]
                pairs[behaviour] = float(own.base.slopes.mean()), float(np.mean(means))
        one, other = ([pair[side] for pair in pairs.values()] for side in (0, 1))
        return _ranked(name, [*pairs], one, other, confidence)

    found = [over(name, [name]) for name in names]
    return [*found, over("mean of all contexts", names)] if len(names) > 1 else found


def _ranked(
    name: str, of: Sequence[str], one: Sequence[float], other: Sequence[float], confidence: float, unit: str = "behaviours"
) -> Ranked:
    if len(one) < 3:
        return Ranked(name, of, None, f"a rank correlation needs at least 3 {unit}, and there are {len(one)}")
    found = rank_correlation_bounds(one, other, confidence=confidence)
    return Ranked(name, of, found, None if found is not None else "all values of one side are equal")


def decomposed(own: Slopes, confidence: float = 0.95) -> Decomposition | None:
    """What letter, Yes / No, position and context explain of the slopes' variance, over items in all settings of one unit of scores.

    The settings with swapped options and exchanged labels belong to no context: they are there to tell the letter from the position.
    """
    settings = [one for one in own.settings if one.by_token == own.base.by_token]
    cells: dict[str, list[Hashable]] = {
        "letter": [label for one in settings for label in one.letter],
        "yes_no": [label for one in settings for label in one.yes_no],
        "position": [place for one in settings for place in one.position],
        "context": [one.name if one.shifted else own.base.name for one in settings for _ in own.ids],
    }
    units = list(own.clusters) if own.clusters is not None else list(range(len(own.ids)))
    return variance_shares(
        np.concatenate([one.slopes for one in settings]),
        {name: labels for name, labels in cells.items() if None not in labels},
        units * len(settings),
        confidence=confidence,
    )
