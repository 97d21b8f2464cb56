"""Findings: facts that a reader of a verdict should know. Each finder runs over every measurement that has the data it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core.errors import SteerError
from ..core.evidence import Direction, Json, Verdict
from ..core.finding import CODES, Finding, Weight, code, ordered
from ..core.numbers import number
from ..core.registry import did_you_mean
from ..data import Items, Sample, TextLike
from ..data.texts import content_of
from ..data.traces import Known, answers_in, is_comparable, known_in
from ..extract import letter_imbalance, unreliable
from ..measures import Array, chance_warnings, unreached
from ..measures.ask import Ask
from ..measures.subject import Subject
from ..model import Model
from ..model.sites import mismatch_warnings
from ..stats import error_rate_of_t, is_clearly_skewed, judge, one_per_cluster, skewness_of
from ..stats.estimators import MIN_N, AsMean, Estimator, Mean, Share
from .judging import Judgement, few_units, not_read
from .measurement import Measurement
from .rulings import Written


@dataclass(frozen=True, eq=False)
class Found:
    """The input of a finder: a claim, its questions and measurement, and the judgement.

    Attributes:
        details: of the evidence, as far as they are known.
    """

    claim: Any
    ask: Ask
    measured: Measurement
    judgement: Judgement
    details: Json = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        return self.measured.subject or self.ask.subject

    @property
    def asked_texts(self) -> list[str]:
        """The questions, one text per unit; empty for texts that are read as they are."""
        ask_of = _ASKED.get(self.measured.sample.called)
        return [] if ask_of is None else [ask_of(one) for one in self.measured.sample.units]


_ASKED: dict[str, Callable[[Any], str]] = {
    "items": lambda item: str(item.question),
    "tasks": lambda task: str(task.input),
    "questions": lambda question: str(question.question),
    "prompts": lambda dialogue: "\n\n".join(dialogue.asked),
}

Finder = Callable[[Found], Iterable[Finding]]


def findings_of(found: Found) -> list[Finding]:
    """The findings of all finders and of the claim itself, without repeats, the most important first."""
    said = [finding for finder in FINDERS for finding in finder(found)]
    measured = found.measured
    of_sample = (_named(measured.of, one) for one in measured.sample.findings)
    return ordered([*said, *of_sample, *measured.findings, *found.claim.find(found)])


def _named(of: str, finding: Finding) -> Finding:
    return replace(finding, text=f"{of}: {finding.text}") if of else finding


def check_silence(silence: Any, where: str) -> None:
    """Refuse codes that are none, and codes without a reason.

    Raises:
        SteerError: says which code is meant.
    """
    for name, reason in dict(silence).items():
        if name not in CODES:
            raise SteerError(f"{where}: silence: {name!r} is no code of a finding: {did_you_mean(name, list(CODES))}")
        if not isinstance(reason, str) or not reason.strip():
            raise SteerError(f"{where}: silence: {name!r} needs a reason: write `{name}: why it does not matter here`")


# --- the vector and its training data ---

overlap = code(
    "train-test-overlap",
    signal="Test data repeat, or nearly repeat, what the vector was extracted from.",
    meaning="The vector is judged on what it was made of, so its effect or its cost is flattered.",
    cure="Judge it on data that it did not see.",
    weight=Weight.MEANINGLESS,
)
letters = code(
    "letter-imbalance",
    signal="In the vector's training data most matching answers have the same letter.",
    meaning="The vector may raise a letter and not the behaviour.",
    cure="Balance the letters of the training items.",
    weight=Weight.MEANINGLESS,
)
other_positions = code(
    "other-positions",
    signal="The method is applied at other positions where it comes from.",
    meaning="Published results do not carry over.",
    cure="Steer the method's own positions, or say in the claim's name that these differ.",
)
unreliable_vector = code(
    "unreliable-vector",
    signal="Two halves of the training data give vectors that point in different directions.",
    meaning="Other training data would give another vector.",
    cure="Extract it from more pairs.",
    weight=Weight.DOUBTFUL,
)
made_elsewhere = code(
    "vector-made-elsewhere",
    signal="The vector was made with another model or template, which the claim accepts.",
    meaning="The direction may mean something else here.",
    cure="Extract it with this model.",
    weight=Weight.ANOTHER,
)
other_thinking = code(
    "other-thinking",
    signal="The vector was made with another `thinking` than the claim is measured with.",
    meaning="Steering can differ widely between the two.",
    cure="Measure with the same `thinking`, or extract the vector again.",
)
overwhelming = code(
    "overwhelming-dose",
    signal="What is added is many times the norm of what stands there.",
    meaning="The model reads the vector and little of its prompt.",
    cure="Deploy a smaller multiplier.",
    weight=Weight.MEANINGLESS,
)


def of_training_data(found: Found) -> Iterator[Finding]:
    yield from (_named(found.measured.of, one) for one in _overlaps(found))


def _overlaps(found: Found) -> Iterator[Finding]:
    record, sample = found.subject.intervention.metadata, found.measured.sample
    asked = found.asked_texts
    if asked:
        yield from map(
            overlap,
            leaks(record, asked, sample.describe().hash, unit=sample.called if sample.called == "prompts" else "items"),
        )
    for texts in [one.texts for one in found.measured.reads if one.texts] or ([] if asked else [sample.units]):
        yield from map(overlap, text_leaks(record, texts))


def of_other_data(found: Found) -> Iterator[Finding]:
    """Findings about the claim's other data, except those that its own data have too."""
    own = [] if found.measured.of else [*_overlaps(found), *found.measured.sample.findings]
    for name, sample in found.measured.also.items():
        said = (*_overlaps(replace(found, measured=found.measured.but(sample=sample))), *sample.findings)
        yield from (_named(name, one) for one in said if one not in own)


def of_the_vector(found: Found) -> Iterator[Finding]:
    yield from _how_made(found.subject, asks=bool(found.asked_texts))
    yield from map(made_elsewhere, mismatch_warnings(found.ask.model, found.subject.intervention))


def _how_made(subject: Subject, *, asks: bool) -> Iterator[Finding]:
    record = subject.intervention.metadata
    if text := letter_imbalance(record.get("label_balance") or {}):
        yield letters(text)
    usual = record.get("positions")
    if asks and usual and usual != subject.positions:
        yield other_positions(
            f"the method {record.get('method')} is applied at positions '{usual}' where it comes from; this claim steers "
            f"'{subject.positions}'"
        )
    if asks and (text := unreliable(record)):
        yield unreliable_vector(text)


def of_items(subject: Subject, sample: Sample[Items]) -> list[Finding]:
    """Findings about items and a vector before anything is measured."""
    questions = [item.question for item in sample.units]
    known = leaks(subject.intervention.metadata, questions, sample.units.hash)
    return [*map(overlap, known), *_how_made(subject, asks=True), *sample.findings]


_OVERWHELMING = 10


def of_the_dose(found: Found) -> Iterator[Finding]:
    doses = found.judgement.receipt.doses
    sizes = {dose.layer: dose.relative_dose if dose.displacement is None else dose.displacement for dose in doses}
    large = {layer: size for layer, size in sizes.items() if size is not None and size >= _OVERWHELMING}
    if not large:
        return
    layer = max(large, key=lambda one: large[one])
    yield overwhelming(
        f"the change at layer {layer} is {number(large[layer])} times the norm of what stands there, so the model reads the vector and little of "
        "its prompt",
        "deploy a smaller multiplier",
    )


# --- how the data were asked ---

at_chance = code(
    "reads-at-chance",
    signal="The unsteered model reads the questions or texts worse than tokens drawn at random.",
    meaning="It may be the wrong model, tokenizer or language.",
    cure="Take the model's own weights and tokenizer, and data in a language that it reads.",
    weight=Weight.ANOTHER,
)
control_tokens = code(
    "control-tokens",
    signal="Questions hold control tokens of the tokenizer.",
    meaning="The model reads them as marks of turns and not as text.",
    cure="Give the question alone, without a chat template's marks.",
    weight=Weight.MEANINGLESS,
)
template_note = code(
    "template-note",
    signal="The chat template does not take a prompt as it was given.",
    meaning="What the model sees differs from what the claim says.",
    cure="Read `asked` in the report.",
)


unreached_texts = code(
    "unreached-texts",
    signal="Steering begins after every scored token of some texts.",
    meaning="These texts cannot change, and each counts as unchanged, so the cost is flattered.",
    cure="Take longer texts.",
    weight=Weight.DOUBTFUL,
)


def of_reading(found: Found) -> Iterator[Finding]:
    for one in found.measured.reads:
        if few := len(unreached(one.asked)):
            yield unreached_texts(
                f"steering reaches no scored token of {few} of these {len(one.asked)} texts, since they are too short, and each counts as unchanged",
                "take longer texts",
            )
        if one.reading is not None:
            yield from (_named(one.of, at_chance(text)) for text in one.reading.warnings)
        # A pass or no verdict is withheld for that; a fail stays, and its reader is told.
        if found.judgement.verdict is Verdict.FAIL and (said := not_read(one, found.claim.confidence)) is not None:
            yield said


def of_asking(found: Found) -> Iterator[Finding]:
    asked, model = found.asked_texts, found.ask.model
    if not asked:
        return
    # Of pairs and questions it is judged by what they are answered whether the model reads them.
    read = chance_warnings(model, asked) if found.measured.sample.called in ("items", "prompts") else []
    said = (*map(at_chance, read), *_of_control_tokens(model, asked))
    yield from (_named(found.measured.of, one) for one in said)
    record = found.measured.asked
    if record is not None:
        yield from map(template_note, record.notes)
        yield from _of_thinking(model, found.subject, record.thinking)


def _of_control_tokens(model: Model, asked: Sequence[str]) -> Iterator[Finding]:
    """That questions hold a special token, such as ``<|im_end|>``: rendered with a template before, or closing their turn themselves."""
    known = getattr(model.tokenizer, "added_tokens_decoder", {}).values()
    marks = sorted(str(token) for token in known if token.special and str(token).strip())
    holding = [question for question in asked if any(mark in question for mark in marks)]
    if holding:
        first = next(mark for mark in marks if mark in holding[0])
        yield control_tokens(
            f"{len(holding)} of these {len(asked)} questions hold control tokens of the tokenizer (such as {first!r}), which the model reads as "
            "marks of turns and not as text",
            "give the question alone, without a chat template's marks",
        )


def _of_thinking(model: Model, subject: Subject, thinking: str | None) -> Iterator[Finding]:
    made = subject.intervention.metadata.get("thinking")
    if made and thinking and made != thinking and _thinking_matters(model):
        yield other_thinking(
            f"the vector was made with thinking {made}, and this claim is measured with thinking {thinking}: steering can differ widely between "
            "the two"
        )


def _thinking_matters(model: Model) -> bool:
    return model.format.prompt("Is it?").text != model.format.prompt("Is it?", thinking_open=True).text


# --- the interval ---

low_min_n = code(
    "low-min-n",
    signal="`min_n` lets fewer units decide than is usual.",
    meaning="The bounds of a mean of so few units hold for normal values only.",
    cure="Measure more units.",
    weight=Weight.DOUBTFUL,
)
narrow = code(
    "narrower-than-rounding",
    signal="The interval is narrower than what rounding moves the statistic by.",
    meaning="In 16 bits the last digits of the bounds are noise.",
    cure="Measure in float32 for the last word.",
    weight=Weight.DOUBTFUL,
)
equal = code(
    "equal-values",
    signal="All values are equal, so the interval has no width.",
    meaning="Other values may exist and be missed by the sample.",
    cure="Measure more units, and look whether the measure can vary at all.",
    weight=Weight.DOUBTFUL,
)
one_decides = code(
    "one-unit-decides",
    signal="Without one of the units the verdict would be another one.",
    meaning="The verdict rests on single units.",
    cure="Look at these units, and measure more.",
    weight=Weight.DOUBTFUL,
)
skewed = code(
    "skewed-values",
    signal="The values are skewed, so that the verdict is wrong more often than stated.",
    meaning="Student's t assumes values without a long tail.",
    cure="Measure more units, or set `interval: transformed_t`.",
    weight=Weight.DOUBTFUL,
)
weak_promise = code(
    "weak-promise",
    signal="The promise can hardly fail.",
    meaning="Almost any vector would keep it.",
    cure="Promise what you need to know.",
    weight=Weight.MEANINGLESS,
)


def of_few_units(found: Found) -> Iterator[Finding]:
    judgement = found.judgement
    least, n, unit = judgement.min_n, judgement.found.n, judgement.unit
    if least is not None and n < least:
        yield below_floor(n, least, unit)
    elif not judgement.found.is_exact and n < MIN_N:
        yield low_min_n(
            f"min_n {least} lets n = {n} decide, where {MIN_N} is usual: the bounds of a mean of so few hold for normal values only"
        )


def below_floor(n: int, least: int, unit: str) -> Finding:
    """The finding that a verdict needs more units."""
    return few_units(
        f"n = {n} is below min_n {least}: so few {unit} say too little about how much they vary, so there is no verdict; measure at "
        f"least {least}{', or set min_n' if least == MIN_N else ''}"
    )


def of_rounding(found: Found) -> Iterator[Finding]:
    noise, measured = found.judgement.noise, found.measured
    if noise is None or not noise.interval_is_narrower:
        return
    dtype = found.ask.model.dtype
    yield narrow(
        f"the interval is narrower than the rounding: in {dtype} a score is known to {number(noise.score)} {noise.unit}, which "
        f"is {number(noise.statistic, measured.percent)} of {measured.statistic}; for the last word measure in float32 "
        "(--steer-dtype float32)"
    )


def of_weak_promises(found: Found) -> Iterator[Finding]:
    yield from map(weak_promise, found.claim.kind.weak_promises(found.claim))


def on_promised_side(found: Found) -> Json:
    """The share of units that keep the promise of a mean by themselves, as an entry of the evidence's details."""
    seen = _as_mean(found)
    if seen is None:
        return {}
    values, at, _ = seen
    keeps = values >= at if found.judgement.direction is Direction.AT_LEAST else values <= at
    share = Share().infer(keeps.astype(float), found.measured.entries.clusters, confidence=found.judgement.found.confidence)
    return {
        "on_promised_side": {
            "items": int(keeps.sum()),
            "of": len(values),
            "share": share.estimate,
            "interval": [share.low, share.high],
        }
    }


def of_single_values(found: Found) -> Iterator[Finding]:
    """Reasons to doubt the verdict of a mean: equal values, single units, skewness."""
    seen = _as_mean(found)
    if seen is None or found.judgement.verdict not in (Verdict.PASS, Verdict.FAIL):
        return
    values, at, estimator = seen
    if said := equal_values(found.judgement, values):
        yield from said
        return
    if not getattr(found.measured.estimator, "sequential", False):
        yield from _of_single_units(found, values, at, estimator)
    yield from _of_skewness(found.judgement, one_per_cluster(values, found.measured.entries.clusters))


def _as_mean(found: Found) -> AsMean:
    """Values and a threshold such that the claim holds if their mean keeps the threshold; None where the statistic is no mean."""
    judgement, measured = found.judgement, found.measured
    if judgement.at is None:
        return None
    return measured.estimator.as_mean(measured.values, judgement.at, judgement.direction)


def equal_values(judgement: Judgement, values: Array) -> list[Finding]:
    """The finding that all values of a verdict are equal; none if they differ."""
    if judgement.verdict not in (Verdict.PASS, Verdict.FAIL) or values.min() < values.max():
        return []
    most = 1 - (1 - judgement.found.confidence) ** (1 / judgement.n)
    return [
        equal(
            f"all {len(values)} values are equal, so the interval has no width; up to {most:.0%} of all {judgement.unit} could be others and "
            "be missed"
        )
    ]


_SEVERAL = 3  # more units than that, each of which decides, are a close verdict and no single weight
_MOST_REFITS = 300
_DOUBTFUL = 1.5  # times the stated error rate


def _of_single_units(found: Found, values: Array, at: float, estimator: Estimator) -> Iterator[Finding]:
    judgement, entries = found.judgement, found.measured.entries
    of_value = np.arange(len(values)) if entries.clusters is None else np.asarray(entries.clusters)
    units = np.unique(of_value)
    if len(units) < 3:
        return
    if len(units) > _MOST_REFITS or judgement.found.is_resampled:
        own = one_per_cluster(values, of_value.tolist())
        units = units[[int(own.argmin()), int(own.argmax())]]
    decisive = []
    for unit in units:
        rest = of_value != unit
        without = estimator.infer(
            values[rest],
            None if entries.clusters is None else of_value[rest].tolist(),
            confidence=judgement.found.confidence,
            direction=judgement.direction,
        )
        if judge(without, at, judgement.direction) is not judgement.verdict:
            decisive.append(int(unit))
    if not decisive:
        return
    other = f"it would not {judgement.verdict}"
    if len(decisive) > _SEVERAL:
        yield one_decides(
            f"the verdict is close: without any one of {len(decisive)} of the {judgement.n} {judgement.unit}, {other}"
        )
        return
    one = entries.called.removesuffix("s")
    one = one if entries.clusters is None else f"the cluster of {one}"
    named = [entries.names[int(np.flatnonzero(of_value == unit)[0])] for unit in decisive]
    yield one_decides(f"one of them decides: without {one} {' or '.join(named)}, {other}")


def _of_skewness(judgement: Judgement, values: Array) -> Iterator[Finding]:
    if not judgement.found.is_symmetric:
        return
    skewness, n = skewness_of(values - values.mean()), len(values)
    lower = (judgement.direction is Direction.AT_LEAST) == (judgement.verdict is Verdict.PASS)
    confidence = judgement.found.confidence
    rate, stated = error_rate_of_t(skewness if lower else -skewness, n, confidence), 1 - confidence
    if not is_clearly_skewed(skewness, n) or rate <= _DOUBTFUL * stated:
        return
    yield skewed(
        f"the values are skewed ({skewness:+.1f}): with n = {n}, a {judgement.verdict} that should be wrong in {stated:.2g} of cases is wrong "
        f"in about {rate:.2g}; measure more, or set interval: transformed_t"
    )


# --- the deployed multiplier ---

far_from_grid = code(
    "deployed-far-from-grid",
    signal="The deployed multiplier is ten times larger or smaller than those of the slope.",
    meaning="The slope says little about the deployed model.",
    cure="Choose multipliers around the deployed one.",
    weight=Weight.DOUBTFUL,
)
negative_multiplier = code(
    "negative-multiplier",
    signal="The model is deployed at a negative multiplier, and the claim is about the slope.",
    meaning="A rising slope lowers the behaviour of the deployed model.",
    cure="If the vector is meant to lower the behaviour, write `direction: lowers`.",
    weight=Weight.DOUBTFUL,
)

short_of_promise = code(
    "slope-short-at-deployed",
    signal="A slope passes, and the effect at the deployed multiplier is significantly below it per unit.",
    meaning="The curve flattens before the deployed multiplier.",
    cure="Deploy a smaller multiplier, or promise the effect there.",
    weight=Weight.DOUBTFUL,
)

_FAR = 10


def of_the_deployed_multiplier(found: Found) -> Iterator[Finding]:
    measured, subject, at = found.measured, found.ask.subject, found.details.get("deployed")
    if measured.curve is None or not measured.is_slope:
        return
    deployed, sizes = abs(subject.multiplier), sorted(abs(float(one)) for one in measured.curve.multipliers if one)
    if sizes and not _FAR * sizes[-1] >= deployed >= sizes[0] / _FAR:
        is_large = deployed > sizes[-1]
        side = (
            f"largest multiplier of the slope is {sizes[-1]:g}"
            if is_large
            else (f"smallest multiplier of the slope other than 0 is {sizes[0]:g}")
        )
        yield far_from_grid(
            f"the {side} and the deployed one is {subject.multiplier:g}, more than {_FAR} times as {'large' if is_large else 'small'}: the slope says "
            "little about it. Choose multipliers around the deployed one"
        )
    if not found.claim.kind.directed:
        return
    yield from _short_of_promise(found)
    if subject.direction == "lowers" or subject.multiplier > 0 or subject.intervention.strength != "linear" or not at:
        return
    moves = "does not provably move" if at["moves"] == "neither way" else f"moves {at['moves']}"
    yield negative_multiplier(
        f"deployed at the negative multiplier {at['multiplier']:g}, the model {moves} (mean effect {number(at['mean_effect'])}), while this claim "
        "is about the slope over the multipliers. If the vector is meant to lower the behaviour, write `direction: lowers`"
    )


def _short_of_promise(found: Found) -> Iterator[Finding]:
    """That a mean slope passes, and the effect at the deployed multiplier, per unit of it, is significantly below the promise."""
    at, promised, measured = found.details.get("deployed"), found.judgement.threshold, found.measured
    if not isinstance(measured.estimator, Mean) or found.judgement.verdict is not Verdict.PASS or promised is None or not at:
        return
    sides = [bound / at["multiplier"] for bound in at["interval"] if bound is not None]
    lowers = at["direction"] == "lowers" and at["multiplier"] > 0
    if len(sides) < 2 or (-min(sides) if lowers else max(sides)) >= promised:
        return
    yield short_of_promise(
        f"at the deployed multiplier {at['multiplier']:g} the mean effect is {number(at['mean_effect'])}, which is proven to be less than the "
        f"promised {number(promised)} per unit of the multiplier: the slope does not reach that far"
    )


# --- replies ---

one_text = code(
    "one-text-for-all-prompts",
    signal="All steered replies are one and the same longer text.",
    meaning="The model does not answer its prompts any more.",
    cure="Deploy a smaller multiplier.",
    weight=Weight.MEANINGLESS,
)
unchanged = code(
    "replies-unchanged",
    signal="Every steered reply is that of the unsteered model, token by token.",
    meaning="What is judged is the unsteered model.",
    cure="Deploy a larger multiplier.",
    weight=Weight.MEANINGLESS,
)
judge_sees_one = code(
    "judge-says-the-same",
    signal="The judge says the same of all replies, unsteered and steered.",
    meaning="It may not tell replies apart; a misspelt word does the same.",
    cure="Try the judge on replies that it should accept and on others that it should reject.",
    weight=Weight.MEANINGLESS,
)


_LONG = 8  # tokens: a shorter text, such as "Yes.", may be the answer to several questions


def of_replies(found: Found) -> Iterator[Finding]:
    written = found.measured.written
    if written is not None:
        yield from _of_one_text(written)
        yield from _of_unchanged(written)
    known = [one.outcome for side in found.measured.rulings for one in side if one.is_known]
    if len(set(known)) == 1:
        yield judge_sees_one(
            f"the judge calls all {len(known)} replies that it judged {known[0]}, unsteered and steered: steering makes no difference to it. Look "
            "whether the judge can tell replies apart (a misspelt word does the same)"
        )


def _of_one_text(written: Written) -> Iterator[Finding]:
    """A longer text that is the reply to every prompt was not read from any of them."""
    for side in written.sides[1:]:
        if len({one.tokens for one in side.last}) == 1 and len(side.last[0].tokens) >= _LONG:
            yield one_text(
                f"at multiplier {side.multiplier:g} all {len(side.last)} replies are one text of {len(side.last[0].tokens)} tokens, whatever the "
                "prompt: the model does not answer its prompts any more"
            )


def _of_unchanged(written: Written) -> Iterator[Finding]:
    base, *others = written.sides
    tokens = [one.tokens for one in base.last]
    same = [side.multiplier for side in others if [one.tokens for one in side.last] == tokens]
    if base.multiplier == 0 and same:
        yield unchanged(
            f"at multiplier {same[0]:g} every reply is that of the unsteered model, token by token: steering changes nothing here"
        )


FINDERS: list[Finder] = [
    of_training_data,
    of_other_data,
    of_the_vector,
    of_the_dose,
    of_asking,
    of_reading,
    of_few_units,
    of_rounding,
    of_weak_promises,
    of_single_values,
    of_the_deployed_multiplier,
    of_replies,
]
"""Every general finder."""


_SHOWN = 50  # characters


def leaks(record: Mapping[str, object], questions: Sequence[str], data_hash: str, *, unit: str = "items") -> list[str]:
    """Warnings about test items whose question is in the training data.

    Args:
        record: the metadata of the vector. questions: or inputs, one per item. data_hash: of all items. unit: what they are.
    """
    if not record.get("item_hashes") and record.get("data_hash") == data_hash:
        return [_asked(Known(same=len(questions)), len(questions), "questions", unit)]
    known, seen = known_in(questions, record), str(record.get("seen", "questions"))
    found = []
    if known.asked:
        found.append(_asked(known, len(questions), seen, unit))
    if known.near:
        found.append(
            f"{known.near} of these {len(questions)} {unit} nearly repeat one of the {seen} that the vector was extracted from"
            f"{'' if known.within else _such_as(known)}: test it on others"
        )
    return found + _not_comparable(record, unit)


def text_leaks(record: Mapping[str, object], texts: Sequence[TextLike]) -> list[str]:
    """Warnings about neutral texts that are in the training data, so that what steering costs is judged on what it was made of.

    Args:
        record: the metadata of the vector.
    """
    if not texts:
        return []
    known = known_in(map(content_of, texts), record)
    found = []
    if known.asked or known.near:
        part = f", {known.near} of them nearly" if known.near else ""
        found.append(
            f"{known.asked + known.near} of these {len(texts)} texts repeat {record.get('seen', 'questions')} that the vector was extracted "
            f"from{part}{_such_as(known)}, so its cost is judged on what it was made of: take other neutral texts"
        )
    answers = answers_in(map(content_of, texts), record)
    if answers:
        such = _such_as(Known(example=answers[0]))
        found.append(
            f"{len(answers)} of these {len(texts)} texts are answers that the vector was extracted from{such}, so its cost is judged on what it was "
            "made of: take other neutral texts"
        )
    return found + _not_comparable(record, "texts")


def _asked(known: Known, n: int, seen: str, unit: str) -> str:
    what = "ask a question" if seen == "questions" else "ask what is in the texts"
    some = "" if known.within == known.asked else f"{known.within} of them "
    part = f", {some}in another form or among other words{_such_as(known)}" if known.within else ""
    return f"{known.asked} of these {n} {unit} {what} that the vector was extracted from{part}: test it on questions that it did not see"


def _such_as(known: Known) -> str:
    if known.example is None:
        return ""
    shown = " ".join(known.example.split())
    cut = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return f" (such as {cut!r})"


def _not_comparable(record: Mapping[str, object], unit: str) -> list[str]:
    if is_comparable(record):
        return []
    return [
        f"whether the vector was extracted from these {unit} cannot be compared: its file keeps its training data in another form than this "
        "version does. Extract it again, or look for yourself"
    ]
