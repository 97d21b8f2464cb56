"""How a vector and its baseline fare on the same items: effects at the deployed multipliers or at equal cost, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Items, Questions, TextLike
from ..errors import DataError, MeasurementError, SteerError
from ..measures import (
    Array,
    PropensityCurve,
    capability,
    chance_warnings,
    effects_at,
    multipliers_at_cost,
    perplexity,
    propensity_curve,
    relative_rise,
)
from ..measures.likelihood import prompt_cost
from ..measures.subject import Subject, describe_model
from ..model import Model
from ..model.noise import eps_of
from ..prompting import Context
from ..soundness import check_before
from .baselines import Baseline, vectors_of


@dataclass(frozen=True, eq=False)
class Rival:
    """One way to move the items.

    Attributes:
        name: ``vector`` for the claim's own.
        effects: float64 [n_items], propensity this way minus propensity of the plain model under test.
        multiplier: None without steering.
        cost: relative rise of perplexity on the neutral texts; None if it was not measured.
        about: what the evidence says of it: a hash, the prompt, the model.
        accuracy: share of the questions that are answered right; None without questions.
    """

    name: str
    effects: Array
    multiplier: float | None
    cost: float | None
    about: dict[str, Any]
    accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """The claim's vector and its rivals on the same items.

    Attributes:
        unsteered: float64 [n_items], propensities of the plain model under test.
        notes: warnings for the evidence.
        accuracy: of the plain model under test on the questions, or None.
        over_budget: why the claim's vector cannot be compared at the budget, or None.
    """

    own: Rival
    rivals: tuple[Rival, ...]
    unsteered: Array
    notes: tuple[str, ...] = ()
    accuracy: float | None = None
    over_budget: str | None = None


def measure_rivals(
    model: Model,
    subject: Subject,
    baseline: Baseline,
    items: Items,
    texts: Sequence[TextLike],
    *,
    context: Context,
    budget: float | None,
    max_multiplier: float,
    seed: int,
    questions: Questions | None = None,
) -> Measured:
    """Effects and costs of the claim's vector and of its baseline.

    Args:
        texts: neutral texts for the costs, or none.
        budget: measure vectors where perplexity on the texts has risen by so much, rather than at their deployed multipliers.

    Raises:
        SteerError: the baseline cannot stand in for the vector. SoundnessError: the hooks of another vector do not do what they say, so that
            it would be beaten too easily. DataError, VectorError, MeasurementError: see ``effects_at``.
    """
    steered = {"vector": subject}
    if has_strength(baseline):
        rivals_of = vectors_of(baseline, subject, seed)
        if baseline.kind == "vector":  # the others are applied as the claim's own vector is, whose hooks are checked
            for one in rivals_of.values():
                check_before(model, one)
        steered |= rivals_of
    found = {name: (one, float(one.multiplier)) for name, one in steered.items()}
    costs: dict[str, float] = {}
    notes = _repeated(baseline, len(steered) - 1)
    over = None
    if budget is not None:
        at = multipliers_at_cost(
            model, texts, steered, budget=budget, max_multiplier=max_multiplier, allow_mismatch=subject.allow_mismatch
        )
        found = {name: (one, at[name].multiplier) for name, one in steered.items()}
        costs = {name: at[name].cost for name in steered}
        notes += _off_budget({name: at[name].reached for name in steered}, costs, budget)
        if costs["vector"] > budget:
            over = f"the vector exceeds the budget at every multiplier tried ({costs['vector']:+.1%} against {budget:+.1%})"
    effects, unsteered = effects_at(model, items, found, context=context, allow_mismatch=subject.allow_mismatch)
    rivals = [Rival(name, effects[name], found[name][1], costs.get(name), _about(one)) for name, one in steered.items()]
    if texts and budget is None:
        rivals = list(_with_costs(model, rivals, steered, texts, subject.effect_sign))
    own, *others = rivals
    if baseline.kind == "prompt":
        others = [_prompt(model, baseline, items, unsteered, texts, context, subject.effect_sign)]
    elif baseline.checkpoint is not None:
        others = [_checkpoint(model, baseline, items, unsteered, texts, context)]
        notes += chance_warnings(
            baseline.checkpoint, [item.question for item in items]
        )  # a broken one is beaten by anything
    if budget is not None and not has_strength(baseline):
        notes += _fixed(others, budget)
    plain = None
    if questions is not None:
        plain = float(capability(model, questions, multipliers=[0.0]).accuracy[0])
        own, *others = _with_accuracy(model, [own, *others], steered, baseline, questions, subject.effect_sign)
    return Measured(own, tuple(others), unsteered, tuple(notes), plain, over)


def _repeated(baseline: Baseline, count: int) -> list[str]:
    """A warning if vectors of the baseline are the same: few training pairs have few ways to shuffle their labels.

    Args:
        count: of the rivals that are left.
    """
    if (given := len(baseline.vectors)) <= count or baseline.kind != "shuffled":
        return []
    return [
        f"{given - count} of the {given} shuffled vectors repeat another one, which leaves {count}: few training pairs have few ways to "
        "shuffle their labels. Train on more pairs, or hold the vector against `random`"
    ]


def has_strength(baseline: Baseline) -> bool:
    """Whether the baseline has a multiplier that can be chosen for its cost."""
    return baseline.kind not in ("prompt", "model", "adapter")


def not_told_apart(found: Measured, differences: Sequence[Array], room: float) -> str | None:
    """The first rival whose differences, of every item, are no larger than what rounding moves one by; None if there is none.

    Args:
        differences: of each rival [n_items], what the vector does more than the margin.
    """
    each = zip(found.rivals, differences, strict=True)
    return next((rival.name for rival, own in each if float(abs(own).max()) <= room), None)


def unmoved(found: Measured, worst: int) -> list[str]:
    """A warning if the baseline that the claim is judged by does nothing to any item: anything beats it.

    Args:
        worst: its place among the rivals.
    """
    rival = found.rivals[worst]
    if rival.effects.any():
        return []
    what = "the prompt" if "prompt" in rival.about else "the baseline"
    return [f"{what} moves none of these items at all: to do more than that is to do anything. Does it reach the model?"]


def wrong_way(found: Measured, worst: int, sign: int) -> list[str]:
    """A warning if the baseline, or the vector that beats it, moves the items the wrong way.

    Args:
        worst: the place of the rival that the claim is judged by. sign: of the effects that the behaviour's direction asks for.
    """
    own, rival = (float(sign * one.effects.mean()) for one in (found.own, found.rivals[worst]))
    if own > 0 and (rival >= 0 or len(found.rivals) > 1):
        return []
    who = "the baseline moves" if own > 0 else "the vector and its baseline move"
    effects = f"{sign * rival:.3g}" if own > 0 else f"{sign * own:.3g} and {sign * rival:.3g}"
    return [f"{who} these items the wrong way (mean effect {effects}): to do more than that says less than to do something"]


def too_few_to_beat(count: int, confidence: float) -> list[str]:
    """A warning if a vector that is drawn like its rivals is the best of all more often than the claim may be wrong.

    Of ``count`` rivals and one more that is exchangeable with them, each is the best with a probability of 1 / (count + 1).
    """
    chance, allowed = 1 / (count + 1), 1 - confidence
    if chance <= allowed * (1 + 1e-9):
        return []
    drawn = "one direction" if count == 1 else f"{count} directions"
    return [
        f"the baseline is {drawn}: a vector that is drawn like them is the best in {chance:.0%} of cases, and a pass should be wrong in at most "
        f"{allowed:.0%}. Take {min(999, math.ceil(1 / allowed - 1e-9) - 1)}"
    ]


def _about(subject: Subject) -> dict[str, Any]:
    change = subject.intervention
    return {"hash": change.hash, "method": change.method}


def _with_costs(
    model: Model, rivals: Sequence[Rival], steered: Mapping[str, Subject], texts: Sequence[TextLike], sign: int
) -> Iterator[Rival]:
    """Costs of the claim's vector and of the rival of the largest effect: nineteen would cost more than the claim."""
    strongest = _strongest(rivals, sign)
    base = perplexity(model, texts)
    for rival in rivals:
        if rival is not rivals[0] and rival is not strongest:
            yield rival
            continue
        one = steered[rival.name]
        costed = perplexity(model, texts, one.vector, multiplier=one.multiplier, **one.scope)
        yield replace(rival, cost=relative_rise(costed, base))


def _strongest(rivals: Sequence[Rival], sign: int) -> Rival | None:
    return max(rivals[1:], key=lambda one: sign * float(one.effects.mean()), default=None)


def _with_accuracy(
    model: Model,
    rivals: Sequence[Rival],
    steered: Mapping[str, Subject],
    baseline: Baseline,
    questions: Questions,
    sign: int,
) -> list[Rival]:
    """The share of right answers of the claim's vector and of the strongest rival. Under a prompt, each question follows it."""
    strongest, found = _strongest(rivals, sign), []
    for rival in rivals:
        if rival is not rivals[0] and rival is not strongest:
            found.append(rival)
            continue
        if rival.name in steered:
            one = steered[rival.name]
            seen = capability(model, questions, one.vector, multipliers=[rival.multiplier or one.multiplier], **one.scope)
        elif baseline.checkpoint is not None:
            seen = capability(baseline.checkpoint, questions, multipliers=[0.0])
        else:
            asked = [replace(one, question=f"{rival.about['prompt']}\n\n{one.question}") for one in questions]
            seen = capability(model, Questions(asked, questions.source), multipliers=[0.0])
        found.append(replace(rival, accuracy=float(seen.accuracy[0])))
    return found


def _off_budget(reached: Mapping[str, str], costs: Mapping[str, float], budget: float) -> list[str]:
    found = [name for name, how in reached.items() if how != "cost"]
    if not found:
        return []
    named = ", ".join(f"{name} {costs[name]:+.1%}" for name in found[:3]) + (", ..." if len(found) > 3 else "")
    return [f"not all cost the budget of {budget:.1%}: {named} at the nearest multiplier tried"]


def _fixed(rivals: Sequence[Rival], budget: float) -> list[str]:
    over = [one for one in rivals if one.cost is None or one.cost > budget]
    if not over:
        return []
    cost = "is not known" if over[0].cost is None else f"of {over[0].cost:+.1%} exceeds"
    return [
        f"the baseline has no multiplier, and its cost {cost}{'' if over[0].cost is None else f' the budget of {budget:.1%}'}"
    ]


def _prompt(
    model: Model,
    baseline: Baseline,
    items: Items,
    unsteered: Array,
    texts: Sequence[TextLike],
    context: Context,
    sign: int,
) -> Rival:
    """The best of the prompts: of several, the one of the largest mean effect on the training items."""
    tried = None
    best = 0
    if len(baseline.prompts) > 1:
        assert baseline.chosen_on is not None  # see `check_choice`
        plain = _plain(model, baseline.chosen_on, context).values[:, 0]
        tried = [
            float((_plain(model, baseline.chosen_on, _behind(context, text)).values[:, 0] - plain).mean())
            for text in baseline.prompts
        ]
        best = int(np.argmax(sign * np.array(tried)))
    text = baseline.prompts[best]
    effects = _plain(model, items, _behind(context, text)).values[:, 0] - unsteered
    cost = float(np.expm1(prompt_cost(model, texts, text).mean())) if texts else None
    return Rival("prompt", effects, None, cost, {"prompt": text, "tried": tried})


def _behind(context: Context, prompt: str) -> Context:
    return Context(system=prompt).over(context)


def _plain(model: Model, items: Items, context: Context) -> PropensityCurve:
    return propensity_curve(model, items, None, multipliers=[0.0], context=context)


def _checkpoint(
    model: Model, baseline: Baseline, items: Items, unsteered: Array, texts: Sequence[TextLike], context: Context
) -> Rival:
    """Another model, unsteered.

    Raises:
        SteerError: it splits answers of several tokens in another way, so that log-likelihoods per token do not compare, or it is the
            model under test itself.
    """
    other = baseline.checkpoint
    assert other is not None
    here = _plain(model, items, context)
    try:
        there = _plain(other, items, context)
    except (DataError, MeasurementError) as error:
        raise type(error)(f"the baseline {baseline.kind!r}, {other.id}: {error}") from None
    alike = [one.ids for one in here.probes] == [one.ids for one in there.probes]
    single = all(probe.candidates is not None for curve in (here, there) for probe in curve.probes)
    if not alike and not single and context.answers != "sum":
        raise SteerError(
            f"the baseline {other.id} has another tokenizer or chat template than {model.id}, and answers of several tokens are scored per "
            "token, so the two do not compare: write `answers: sum`, which scores whole answers"
        )
    rounding = 64 * eps_of(model.dtype) * max(1.0, float(abs(here.values).max()))
    if float(abs(there.values - here.values).max()) <= rounding:
        raise SteerError(
            f"the baseline {baseline.kind!r} scores every item as {model.id} does, so there is nothing to beat. Is it the model under "
            "test itself, or an adapter that was not trained?"
        )
    cost = None
    if texts:
        try:
            own, others = perplexity(model, texts), perplexity(other, texts)
            cost = relative_rise(others, own) if np.array_equal(own.tokens, others.tokens) else None
        except MeasurementError:
            cost = None
    about = {"model": describe_model(other), "same_tokens": alike}
    return Rival(baseline.kind, there.values[:, 0] - unsteered, None, cost, about)
