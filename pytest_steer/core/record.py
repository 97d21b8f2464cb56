"""The records of a JSON report, one frozen class each. The report's JSON Schema is made from them, and reports are read back into them.

A key is documented where its class is: the line of an attribute in a docstring is its description in the schema. Keys that
:data:`LEFT_OUT` marks are missing from a report where there is nothing to say; all others are there, perhaps as null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, dataclass_transform

from msgspec import Meta, convert

from .block import LEFT_OUT as LEFT_OUT
from .block import Json as Json

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Bounds = tuple[float | None, float | None]
Positions = Literal["all", "after_prompt", "last"]
VerdictName = Literal["pass", "fail", "inconclusive", "error"]
DirectionName = Literal["at_least", "at_most"]
Thinking = Literal["closed", "open"]
UnitsKind = Literal["mean", "share", "change"]
Moved = Literal["up", "down", "neither way"]
Reached = Literal["cost", "most", "least", "fixed"]

SCHEMA_NAME: Final = "pytest-steer/report/2"
"""Raise the number when the shape of a report changes."""

UNBOUNDED: Bounds = (None, None)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Record:
    """Makes each subclass a frozen dataclass, whose fields are keywords."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


# --- what was measured on what ---


class Model(Record):
    """A model under test.

    Attributes:
        id: the name that it was loaded by
        fingerprint: hash of its weights in bfloat16, equal across precisions
        architecture: its class in transformers
        threads: CPU threads of torch
        template: hash of the chat template
        template_name: the start of the chat template's hash, or that there is none
        hooks: hooks of others that were on it
        unexpected: weights of its files that were left out
    """

    id: str
    fingerprint: str
    architecture: str = ""
    layers: Count
    width: Count
    dtype: str
    device: str
    threads: Positive | None = None
    template: str = ""
    template_name: str = ""
    hooks: tuple[str, ...] = field(default=(), metadata=LEFT_OUT)
    unexpected: tuple[str, ...] = field(default=(), metadata=LEFT_OUT)


class Vector(Record):
    """The intervention of a claim.

    Attributes:
        method: how it was made
        operation: what is done with the direction: added, projected out, ...
        site: where in a block it acts
        strength: what its multiplier means
        layer: the decoder blocks whose output is changed
        norm: of the lowest layer; null if it is no vector
        relative_dose: norm at the deployed multiplier over the median hidden norm at steered positions
        displacement: median over steered positions of the norm of the change, divided by that of the unsteered hidden state
        n: how many items or texts it was made from
        data_hash: hash of these
        source: of a vector that another program wrote: its format, how its layers and its norm were taken
    """

    hash: str
    method: str
    operation: str = ""
    site: str = ""
    strength: str = ""
    layer: Count | tuple[Count, ...]
    positions: Positions
    include_first: bool = False
    norm: float | None
    relative_dose: float | None
    displacement: float | None = None
    n: int | None = None
    data_hash: str | None = None
    source: Mapping[str, str] | None = None


class LeftOut(Record):
    """Texts that a rule left out.

    Attributes:
        rule: in words
        of: how many there were before
    """

    rule: str
    n: Count
    of: Count
    ids: tuple[str, ...]

    @property
    def line(self) -> str:
        """The record in one line."""
        return f"{self.n} of {self.of} left out, {self.rule}"


class Data(Record):
    """What a claim was measured on.

    Attributes:
        hash: of the contents in order
        source: the file, or a name
        chosen: how these texts were chosen from more
        left_out: texts that rules left out
        prompts: of a claim about both texts and replies, the prompts
    """

    hash: str
    n: Count
    source: str = ""
    chosen: str | None = field(default=None, metadata=LEFT_OUT)
    left_out: tuple[LeftOut, ...] = field(default=(), metadata=LEFT_OUT)
    prompts: Data | None = field(default=None, metadata=LEFT_OUT)


class Units(Record):
    """What an estimate is made of, by content, so that two runs can be paired.

    Attributes:
        kind: share: values are 0 or 1; change: -1, 0 or 1
        unit: items, texts, tasks, questions
        ids: hashes of the units' content
        names: their ids, for messages
        values: their mean is the estimate; of several parts the largest or the smallest mean is
        clusters: of each unit, where some belong together
        parts: of each unit, the behaviour or setting that it belongs to, where there are several
        how: what else the values depend on; where one differs, two runs are not compared by value
    """

    kind: UnitsKind
    unit: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[float, ...]
    clusters: tuple[int, ...] | None
    parts: tuple[str, ...] | None
    how: Json


class Item(Record):
    """A contrast item and what was measured of it.

    Attributes:
        propensity: one per multiplier
        label: of its matching answer
        matching_likelihood: promotes and suppresses: mean token log-likelihood of the matching answer, one per multiplier
        not_matching_likelihood: the same of the answer that does not match
        difference: beats: by how much the vector does more than the rival that came nearest
    """

    id: str
    propensity: tuple[float, ...]
    slope: float
    matching_likelihood: tuple[float, ...] | None = field(default=None, metadata=LEFT_OUT)
    not_matching_likelihood: tuple[float, ...] | None = field(default=None, metadata=LEFT_OUT)
    difference: float | None = field(default=None, metadata=LEFT_OUT)
    label: str | None = None
    question: str | None = None
    matching: tuple[str, ...] = ()
    not_matching: tuple[str, ...] = ()


class Stratum(Record):
    """Items whose matching answer has one label.

    Attributes:
        label: "A", "Yes", or both: "A, Yes"
        steerability: mean slope of these items
        anti_steerable_share: share of these items that move the wrong way: slope <= 0, or >= 0 if they are meant to fall
        matching_change: promotes and suppresses: mean change of the matching answers' log-likelihood
        not_matching_change: the same of the answers that do not match
    """

    label: str
    n: Count
    steerability: float
    anti_steerable_share: float
    matching_change: float | None = field(default=None, metadata=LEFT_OUT)
    not_matching_change: float | None = field(default=None, metadata=LEFT_OUT)


# --- how it was measured, and how well ---


class Lengths(Record):
    """Scored tokens of the answers of the items.

    Attributes:
        different: items whose answers have different numbers of scored tokens
        matching: mean number of the matching answers
        not_matching: mean number of the answers that do not match
    """

    items: int
    different: int
    matching: float
    not_matching: float


class ShownSequence(Record):
    """A sequence as the model sees it.

    Attributes:
        tokens: the text of each
        first_steered: index of the first steered token
        first_scored: index of the first scored token; of one to come, the number of tokens
        candidates: tokens whose logits are compared as the next one; null if the sequence holds the scored tokens itself
    """

    tokens: tuple[str, ...]
    first_steered: int
    first_scored: int
    candidates: tuple[str, ...] | None


class Asked(Record):
    """How the data were put to the model and read.

    Attributes:
        template: name of the chat template under which the items were asked, or that there is none; null for texts and tasks
        thinking: closed: the reply stands where the chat template puts one without thought; open: right after the generation prompt; null: no chat template
        date: the day that a chat template gets when it asks for today's; null without one
        answers: label: labels in brackets, at the first token that differs; token: the logit of one token; mean, sum: of token log-likelihoods; null: texts and tasks
        notes: what the chat template made necessary
        first_item: the sequences of the first item (one per answer, or one for all answers of one token) as the model sees them
    """

    template: str | None = None
    thinking: Thinking | None
    date: str | None
    answers: Literal["label", "token", "mean", "sum"] | None
    lengths: Lengths | None
    notes: tuple[str, ...]
    first_item: tuple[ShownSequence, ...]


class Dose(Record):
    """The dose at one layer, at the deployed multiplier.

    Attributes:
        layer: decoder block whose output is changed
        norm: Euclidean norm of the steering vector there; null if the intervention is not a vector
        median_hidden_norm: median norm of the unsteered hidden states at steered positions, at the block's output or the intervention's site
        relative_dose: |multiplier| * norm / median_hidden_norm; null without a vector
        displacement: median over steered positions of the norm of the change, divided by the norm of what is unsteered there; null for a condition on whole rows, and where it is not declared what is done
    """

    layer: Count
    norm: float | None
    median_hidden_norm: float
    relative_dose: float | None
    displacement: float | None = None


class Receipt(Record):
    """The steered tokens and the dose of one intervention.

    Attributes:
        operation: what was done with the direction: added, projected out, ...
        sequences: how many token sequences were asked about
        steered_tokens: steered tokens in all of them, at one multiplier
        path: all ways in which the forwards ran, in the order of their first use, between semicolons
        ways: how many scores were computed in each way, since the model was loaded
        doses: one per layer
    """

    operation: str = ""
    sequences: Count
    steered_tokens: Count
    path: str
    ways: Mapping[str, Positive]
    doses: tuple[Dose, ...]


class BrokenProperty(Record):
    """A property of hooks that does not hold.

    Attributes:
        promise: what the property says
        example: the smallest one that was found: texts, multiplier, padding, layer
    """

    property: str
    promise: str
    message: str
    example: Json


class Soundness(Record):
    """What was checked of the hooks.

    Attributes:
        sound: whether no property is broken; null if none could be looked at
        holds: properties that hold
        skipped: properties that were not looked at, and why
        examples: batches that were tried
    """

    sound: bool | None
    holds: tuple[str, ...]
    skipped: Mapping[str, str]
    broken: tuple[BrokenProperty, ...]
    examples: Count
    forwards: Count
    seconds: Amount


class Noise(Record):
    """How well single scores are known in the model's numbers, and what that does to the statistic.

    Attributes:
        score: the floor: the larger of the next two
        between_batches: the largest difference of a score between two shapes of a plain batch
        rounding: distance between neighbouring numbers of the model's type
        statistic: what the floor moves the statistic of one item or text by; of a share, the share of items whose sign it leaves open
    """

    score: Amount
    between_batches: Amount
    rounding: Amount
    unit: Literal["logits", "nats"]
    statistic: Amount
    interval_is_narrower: bool


# --- what the model wrote ---


class Reply(Record):
    """One reply.

    Attributes:
        turns: the reply to each turn; the last one is judged
        outcome: undetermined: empty, stalls, loops, or its block of thought is not closed; missing: the judge gave no judgement; null: the claim has no judge
        why: the reason for undetermined and missing
        score: the judge's number
        said: the judge's words
        cut: it ends at max_new_tokens
    """

    turns: tuple[str, ...]
    outcome: Literal["accepted", "rejected", "undetermined", "missing"] | None
    why: str | None
    score: float | None
    said: str | None
    cut: bool


class ReplyPair(Record):
    """The unsteered and the steered reply to one prompt.

    Attributes:
        id: of the prompt
        prompt: the user's turns
    """

    id: str
    prompt: tuple[str, ...]
    sample: Count
    base: Reply
    steered: Reply


class ReplyCounts(Record):
    """The numbers of replies of one side, by outcome."""

    accepted: Count
    rejected: Count
    undetermined: Count
    missing: Count


class CountsBySide(Record):
    """The numbers of replies of each side, by outcome."""

    base: ReplyCounts
    steered: ReplyCounts


class Agreement(Record):
    """Agreement of the judge with human labels.

    Attributes:
        kappa: Cohen's
    """

    kappa: float | None
    interval: tuple[float, float] | None
    n: Count


class Replies(Record):
    """What the model wrote.

    Attributes:
        span: what of each reply is judged
        max_characters: characters that are kept of each text
        drawing: how tokens are chosen: max_new_tokens, samples, temperature, top_p, seed
        judge: all that determines the judgements; null without a judge
        of: one entry per prompt and sample, the worst first
    """

    span: Literal["answer", "thought", "both"]
    max_characters: int
    drawing: Json
    judge: Json | None
    agreement: Agreement | None
    counts: CountsBySide
    of: tuple[ReplyPair, ...]


# --- what a claim says in a comparison of methods ---


@dataclass(frozen=True)
class Strength:
    """What a method does to a behaviour at one strength.

    Attributes:
        effect: mean over items of the propensity there minus the unsteered one; null if it was not measured
        interval: its bounds, each one-sided
        wrong_way: share of items whose effect is below 0 (Braun et al. 2025)
        cost: relative rise of perplexity on neutral texts; null without texts
        reached: of a strength that was searched for: cost: the wanted cost; most: the largest strength tried costs less; least: even the smallest costs more; fixed: the method has one strength
        pne: perplexity-normalised effect (von Rütte et al. 2024); null without texts
        kl: mean divergence of the next token's distribution on neutral texts, in nats
        accuracy_lost: share of multiple-choice questions that steering loses; null where no capability_delta_below measured it
        effect_standardised: effect in standard deviations of the unsteered propensities
    """

    multiplier: float
    effect: float | None = None
    interval: Bounds = UNBOUNDED
    wrong_way: float | None = None
    cost: float | None = None
    reached: Reached | None = None
    pne: float | None = None
    kl: float | None = None
    accuracy_lost: float | None = None
    accuracy_lost_interval: Bounds = UNBOUNDED
    effect_standardised: float | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class SideChanges:
    """Changes of the log-likelihood of each side's answers at the deployed strength, as promotes and suppresses measure them.

    Attributes:
        matching_change: mean over items, in nats per token
        not_matching_change: the same of the answers that do not match
        promoted: rise on the scale of Pres et al. 2024, on which behaviours compare; null where it is not defined
        suppressed: fall on that scale
    """

    matching_change: float
    matching_interval: Bounds
    not_matching_change: float
    not_matching_interval: Bounds
    promoted: float | None = None
    suppressed: float | None = None


class ComparedTask(Record):
    """How often the right answer was given to the items of a task, in one setting of the prompt.

    Attributes:
        first_token: share of items; null where the setting was left out
        exact: share of items
    """

    steered: bool
    n_shots: Count
    shuffled: bool
    n: Count
    first_token: float | None
    exact: float | None


class MovedBehaviour(Record):
    """What a vector does to a behaviour.

    Attributes:
        name: of the behaviour
        estimate: mean slope, or effect per unit of the multiplier
        effect: at the deployed multiplier
    """

    name: str = field(default="", metadata=LEFT_OUT)
    estimate: float
    interval: Bounds
    effect: float


class LeftAlone(MovedBehaviour):
    """What a vector does to a behaviour that it is to leave alone."""

    verdict: Literal["pass", "fail", "inconclusive"]


class RootMeanSquares(Record):
    """Root mean squares over the behaviours that a vector is to leave alone.

    Attributes:
        effect: of the effects at the deployed multiplier
        chosen: of the changes of the share of items whose matching answer is likelier
    """

    effect: Amount
    chosen: Share


class Entanglement(Record):
    """What a vector does to other behaviours.

    Attributes:
        band: within which a behaviour counts as left alone
        own: the same of the vector's own behaviour
    """

    by: Literal["slope", "effect"]
    band: Annotated[float, Meta(gt=0)] | None
    behaviours: Annotated[tuple[LeftAlone, ...], Meta(min_length=1)]
    own: MovedBehaviour | None
    entanglement: RootMeanSquares


class Compared(Record):
    """What a claim says in a comparison of methods.

    Attributes:
        n: items
        spread: standard deviation of the items' unsteered propensities
        deployed: at the deployed strength
        at_cost: where perplexity has risen by the budget
        steerability: mean slope of the items' propensity curves
        anti_steerable_share: share of items with a slope <= 0
        budget: rise of perplexity that may be spent
        rank: of several claims that say the same thing, the one with the least is asked
    """

    n: Count | None = field(default=None, metadata=LEFT_OUT)
    spread: float | None = field(default=None, metadata=LEFT_OUT)
    deployed: Strength | None = field(default=None, metadata=LEFT_OUT)
    at_cost: Strength | None = field(default=None, metadata=LEFT_OUT)
    steerability: float | None = field(default=None, metadata=LEFT_OUT)
    steerability_interval: Bounds | None = field(default=None, metadata=LEFT_OUT)
    anti_steerable_share: float | None = field(default=None, metadata=LEFT_OUT)
    sides: SideChanges | None = field(default=None, metadata=LEFT_OUT)
    budget: float | None = field(default=None, metadata=LEFT_OUT)
    tasks: tuple[ComparedTask, ...] | None = field(default=None, metadata=LEFT_OUT)
    entanglement: Entanglement | None = field(default=None, metadata=LEFT_OUT)
    rank: int = 0


# --- entries of ``details`` that claims of many kinds have ---


class DeployedEffect(Record):
    """``deployed``: what the deployed multiplier does to the items.

    Attributes:
        moves: which way the mean effect is proven to be
        direction: what the deployed model is meant to do
    """

    multiplier: float
    mean_effect: float
    interval: Bounds
    moves: Moved
    direction: Literal["raises", "lowers"]


class CurveNumbers(Record):
    """What a claim about items says of its curve besides its verdict.

    Attributes:
        steerability: mean slope as it is
        anti_steerable_share: of items that move the wrong way
        explained: label to the share of the slopes' variance that it explains
    """

    steerability: float
    anti_steerable_share: float
    curvature: float | None
    monotonicity: float
    explained: Mapping[str, float]


class ReadByModel(Record):
    """``reading``: how the unsteered model reads the texts or questions.

    Attributes:
        loss: nats per token
        chance: the loss of a guess
        is_better: it is proven to read them better than chance
        texts: how many they are
    """

    loss: float
    interval: Bounds
    chance: float
    is_better: bool
    texts: int


class PromisedSide(Record):
    """``on_promised_side``: units that keep the promise of a mean by themselves.

    Attributes:
        interval: of the share, exact
    """

    items: int
    of: int
    share: float
    interval: Bounds


# --- a claim ---


class ThresholdSet(Record):
    """Where a threshold that is written as a mapping comes from.

    Attributes:
        date: the day on which it was set
        file: what it was set on, a report or data
        sha256: of that file
        measured: the day on which the run of that report began; null for data
        seen: how many of the units judged now are in it
        of: how many units are judged now
        before_data: true if none of them is in it and no date speaks against it, false if some are or a date does; null where that is not known
    """

    date: str | None
    file: str | None
    sha256: str | None
    measured: str | None
    seen: Count | None
    of: Count | None
    before_data: bool | None


class Holm(Record):
    """Holm's adjustment over the claims that are judged together.

    Attributes:
        claims: how many these are
        verdict_alone: the verdict that the claim has by itself
    """

    claims: Count
    p_pass_adjusted: float
    p_fail_adjusted: float
    verdict_alone: VerdictName


class Noted(Record):
    """A finding: what the reader should know beside the verdict. docs/reference.md lists the codes.

    Attributes:
        cure: what to do; may be empty
    """

    code: str
    text: str
    cure: str


class Silenced(Noted):
    """A finding that the claim silences.

    Attributes:
        reason: why
    """

    reason: str


class Counterexample(Record):
    """A context that breaks the promise, proven on items that the search did not see.

    Attributes:
        context: its axes that are not as given
        reproduce: the command that measures it again
    """

    context: Json
    estimate: float
    reproduce: str


class ClaimRecord(Record):
    """What one claim measured and how it was judged.

    Attributes:
        id: the pytest node id
        check: the claim's kind; empty if the claim names none that is known
        matrix: the claim's choice on each axis of its file's matrix, axis to name; null without a matrix
        compared: what the claim says in a comparison of methods; null if nothing
        statistic: what the estimate is, in words
        interval: [low, high], each a one-sided bound at the confidence; null where unbounded or absent
        threshold: what is promised; null where the promise has no threshold yet, and the claim is inconclusive
        promise: the parameter of the claim that the threshold comes from
        threshold_set: where a threshold that is written as a mapping comes from
        n: independent units that the estimate rests on
        unit: what they are
        min_n: with fewer units than this the verdict is inconclusive; null where there is no floor
        percent: estimate, interval and threshold are shown in per cent
        items_needed: units that would decide an inconclusive claim if the estimate were the truth
        units: what the estimate is made of, by which two runs are paired; null where they cannot be
        unpaired: why the values of two runs cannot be paired
        p_pass: one-sided p-value that the claim holds; small means proven
        p_fail: one-sided p-value that it does not
        multiplier: the deployed one
        details: further numbers of the claim's kind
        asked: how items were asked and read; null where nothing is asked (hooks_are_sound) or nothing was measured
        replies: what the model wrote; null where it wrote nothing
        soundness: what was checked of the hooks; null if the check was switched off or the claim was not reached
        noise: how well single scores are known; null if nothing was judged
        findings: what the reader should know beside the verdict, the most important first
        silenced: findings that the claim silences, each with the reason
        withheld: why the verdict was taken back, or null; the claim is then inconclusive
        error: why there is no result
        xfail: why the claim is known to fail
        xfail_expires: last day on which a known failure is excused; null where it has none. After that day xfail is null
        rerun: the command that runs the claim again
        headline: what was found, with its numbers and its promise
        reason: what the verdict rests on, and why it is this one
        promised: the side of the threshold
        blocks: what else the claim shows
        message: what the terminal shows
        multipliers: the grid, of a claim about items
        curve: mean propensity, one per multiplier
        curve_interval: [low, high] of the mean propensity at each multiplier by Student's t, each a one-sided bound at the confidence
        is_comparison: the claim compares with the baseline of its run itself
        is_strict: the statistic has to exceed its threshold
        counterexample: of holds_in_contexts: a context that breaks the promise, proven on items that the search did not see; null if none was proven
    """

    id: str
    suite: str
    check: str
    name: str
    matrix: Mapping[str, str] | None = None
    compared: Compared | None = None
    verdict: VerdictName
    statistic: str = ""
    estimate: float | None
    interval: Bounds
    interval_method: str = ""
    confidence: Annotated[float, Meta(gt=0, lt=1)]
    threshold: float | None
    promise: str | None = None
    threshold_set: ThresholdSet | None = None
    direction: DirectionName = "at_least"
    n: Count
    unit: str = "items"
    min_n: int | None = None
    percent: bool = False
    items_needed: Positive | None = None
    units: Units | None = None
    unpaired: str | None = None
    p_pass: float | None = None
    p_fail: float | None = None
    seconds: Amount
    multiplier: float | None = None
    model: Model | None = None
    vector: Vector | None
    data: Data | None
    details: Json = field(default_factory=dict)
    strata: tuple[Stratum, ...] = ()
    receipt: Receipt | None = None
    soundness: Soundness | None = None
    asked: Asked | None = None
    replies: Replies | None = None
    noise: Noise | None = None
    findings: tuple[Noted, ...] = ()
    silenced: tuple[Silenced, ...] = ()
    withheld: Noted | None = None
    error: str | None = None
    xfail: str | None = None
    xfail_expires: str | None = None
    rerun: str | None = None
    holm: Holm | None = None
    headline: str = ""
    reason: str = ""
    promised: Literal["at least", "at most", "more than"] = "at least"
    blocks: tuple[Json, ...] = ()
    message: str
    multipliers: tuple[float, ...] | None = field(default=None, metadata=LEFT_OUT)
    curve: tuple[float, ...] | None = field(default=None, metadata=LEFT_OUT)
    curve_interval: tuple[Bounds, ...] | None = field(default=None, metadata=LEFT_OUT)
    items: tuple[Item, ...] | None = field(default=None, metadata=LEFT_OUT)
    counterexample: Counterexample | None = field(default=None, metadata=LEFT_OUT)
    is_comparison: bool = field(default=False, metadata=LEFT_OUT)
    is_strict: bool = False


# --- the report ---


class Commit(Record):
    """A git commit.

    Attributes:
        dirty: tracked files were changed after it; null if git did not say in time
    """

    id: Annotated[str, Meta(pattern="^[0-9a-f]{40,64}$")]
    dirty: bool | None


class Provenance(Record):
    """Where the numbers of a report come from.

    Attributes:
        model: the model under test, or the first of several
        template: hash of its chat template
        threads: CPU threads of torch where it was measured
        versions: of Python, pytest-steer and the libraries that decide numbers
        scoring: version of the scoring: reports of two versions are not compared
        options: the --steer-* options that decide what is measured and how it is judged, by name
        commit: of the repository that holds the suites; null if there is none
        started: ISO 8601, UTC
        interrupted: the run was ended from outside, as by Ctrl-C
        not_run: claims of claim files that were selected and not measured; null if not known, as with xdist
        partial: written while the run went on: claims that were not finished yet are missing
    """

    model: Model | None
    models: tuple[Model, ...] = ()
    template: str | None
    threads: Positive | None = None
    versions: Mapping[str, str]
    scoring: Positive
    seed: Count
    profile: str
    options: Json = field(default_factory=dict)
    commit: Commit | None = None
    started: str
    seconds: Amount
    interrupted: bool = False
    not_run: Count | None = 0
    partial: bool = False


@dataclass(frozen=True)
class Row:
    """One method on one behaviour.

    Attributes:
        n: items
        spread: standard deviation of the items' unsteered propensities, the unit of what is standardised
        deployed: at the method's own strength
        at_cost: where perplexity has risen by the wanted share
        steerability: mean slope of the items' propensity curves; null without a slope
        anti_steerable_share: share of items with a slope <= 0 (Tan et al. 2024); null without a slope
        sides: each side by itself, where a claim measured that
        steerability_standardised: steerability in standard deviations of the unsteered propensities
    """

    behaviour: str
    method: str
    n: Annotated[int, Meta(ge=2)]
    spread: float | None
    deployed: Strength
    at_cost: Strength | None = None
    steerability: float | None = None
    steerability_interval: Bounds = UNBOUNDED
    anti_steerable_share: float | None = None
    sides: SideChanges | None = None
    steerability_standardised: float | None = None

    def standardised(self, value: float | None) -> float | None:
        """A difference of propensities in standard deviations of the unsteered propensities (Glass's delta; Glass 1976)."""
        return None if value is None or not self.spread else value / self.spread

    def whole(self) -> Row:
        """The row with what is standardised, as a report has it."""
        deployed, at_cost = (
            None if one is None else replace(one, effect_standardised=self.standardised(one.effect))
            for one in (self.deployed, self.at_cost)
        )
        assert deployed is not None
        steerability = self.standardised(self.steerability)
        return replace(self, deployed=deployed, at_cost=at_cost, steerability_standardised=steerability)


@dataclass(frozen=True)
class TaskRow:
    """How often one method gives the right answer to the items of a task, in one setting.

    Attributes:
        setting: zero-shot, 5-shot, 5-shot shuffled
        first_token: share of items
        exact: share of items
        at_cost: at the strength of equal cost, rather than the deployed one
    """

    behaviour: str
    method: str
    setting: str
    n: Positive
    first_token: Share
    exact: Share
    at_cost: bool = False


class EntanglementRow(Entanglement):
    """What a vector of a matrix does to other behaviours, by a leaves_alone claim.

    Attributes:
        claim: its name without the combination
        vector: the combination
    """

    suite: str
    claim: str
    vector: str


class Comparison(Record):
    """What the claims of a matrix say side by side; see docs/comparing.md.

    Attributes:
        rows: methods on behaviours
        tasks: accuracies
        entanglement: what vectors do to other behaviours, a row per leaves_alone claim
    """

    rows: tuple[Row, ...]
    tasks: tuple[TaskRow, ...]
    entanglement: tuple[EntanglementRow, ...] = ()


class BaselineSource(Record):
    """Where an earlier report comes from.

    Attributes:
        date: when the earlier run began, ISO 8601, UTC
        model: the id of its model
    """

    path: str
    sha256: str
    date: str
    model: str | None
    commit: Commit | None


class Judged(Record):
    """How a claim was judged in one of two runs."""

    verdict: VerdictName
    estimate: float | None
    interval: Bounds
    threshold: float | None


class Flipped(Record):
    """A unit that changed to the other side of the promise."""

    id: str
    question: str | None
    before: float
    after: float


class Flips(Record):
    """How many units changed to the other side of the promise.

    Attributes:
        lost: to the bad side
        gained: to the good side
    """

    lost: int = 0
    gained: int = 0


class OtherUnits(Record):
    """Units that one run has and the other one has not.

    Attributes:
        changed: units of the same name or question, with other content
    """

    new: int = 0
    gone: int = 0
    changed: int = 0


Outcome = Literal["held", "broken", "worse", "better", "unchanged", "newly_holding", "new", "gone", "not_comparable"]


class AgainstClaim(Record):
    """One claim of this run compared with the same claim of an earlier one.

    Attributes:
        outcome: broken: it held and does not now; worse: another fall of the verdict, or a loss beyond the tolerance is proven; unchanged: it did not hold before and does not now
        difference: after minus before, over the units that both runs have
        interval: of the difference, each end a one-sided bound at the confidence; null where no interval is possible
        tolerance: that counted: the one asked for, or what rounding moves one unit by
        n: independent units that both runs have
        flipped: units that changed to the other side of the promise, lost ones first, the most moved first; at most 20
        reasons: what differs, and why there is no interval
    """

    id: str
    name: str
    statistic: str
    outcome: Outcome
    before: Judged | None
    after: Judged | None
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    tolerance: float
    n: Count
    percent: bool
    flipped: tuple[Flipped, ...]
    flips: Flips
    items: OtherUnits
    reasons: tuple[str, ...]
    message: str


class Against(Record):
    """A run compared with an earlier one (--steer-baseline); see docs/baseline.md.

    Attributes:
        notes: what differs between the two runs, and claims that are left out
        not_run: claims of the earlier run that this one did not select
    """

    baseline: BaselineSource | None
    tolerance: Amount
    notes: tuple[str, ...]
    not_run: Count
    claims: tuple[AgainstClaim, ...]


class Report(Record):
    """All that a run measured.

    Attributes:
        comparison: what the claims of a matrix say side by side
        against: this run compared with an earlier one
    """

    schema: Literal["pytest-steer/report/2"]
    provenance: Provenance
    claims: tuple[ClaimRecord, ...]
    comparison: Comparison | None = None
    against: Against | None = None


def record_of(claim: Json) -> ClaimRecord:
    """A claim's plain record, valid under the schema, with its types. Keys that no record has are left out."""
    return convert(claim, ClaimRecord)


def typed(report: Json) -> Report:
    """A plain report, valid under the schema, with its types."""
    return convert(report, Report)
