"""Items as the model sees them: their tokens, where steering begins, and what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.record import Asked, Lengths, ShownSequence
from ..model import Model, Probe
from ..prompting import Context
from .asking import AskedText
from .propensity import PropensityCurve

SEPARATOR = "·"
STEERED, SCORED = "<steered from here>", "<scored from here>"


def shown_probe(model: Model, probe: Probe) -> ShownSequence:
    """The sequence of a probe as the model sees it."""
    return ShownSequence(
        tokens=tuple(_text(model, token) for token in probe.ids),
        first_steered=probe.steer_from,
        first_scored=len(probe.ids) if probe.candidates is not None else probe.score_from,
        candidates=None if probe.candidates is None else tuple(_text(model, token) for token in probe.candidates),
    )


def shown_line(shown: ShownSequence, most: int | None = None) -> str:
    """A sequence of :func:`shown_probe` in one line, its steered and its scored part marked.

    Args:
        most: how many tokens at the end are printed, and as many more as are needed to show where steering begins; None for all.
    """
    tokens, steered, scored = shown.tokens, shown.first_steered, shown.first_scored
    start = 0 if most is None else max(0, min(len(tokens) - most, steered - 2, scored - 2))
    parts = ["..."] if start else []
    for index in range(start, len(tokens) + 1):
        if index == steered:
            parts.append(STEERED)
        if index == scored:
            parts.append(SCORED)
        if index < len(tokens):
            parts.append(tokens[index].replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t"))
    if shown.candidates is not None:
        parts.append(" or ".join(map(repr, shown.candidates)))
    return SEPARATOR.join(parts)


def marked_token(model: Model, probe: Probe, at: int, before: int = 12) -> str:
    """One token of a sequence in its place: a few tokens before it, then the token in quotation marks."""
    start = max(0, at - before)
    text = model.tokenizer.decode(list(probe.ids[start:at]), clean_up_tokenization_spaces=False)
    shown = " ".join(f"{'...' if start else ''}{text}".split())
    return f"{shown} >> {_text(model, probe.ids[at])!r}"


def asked_record(model: Model, curve: PropensityCurve, context: Context) -> Asked:
    """How the items of a curve were asked and read, for the evidence."""
    first, several = curve.asked[0], [asked for asked in curve.asked if asked.probes[0].candidates is None]
    lettered = all(item.is_lettered for item in curve.items)
    return Asked(
        template=context.setting(model.format).form.name,
        thinking=first.thinking,
        date=None if first.thinking is None else (context.date or model.format.date),
        answers=("sum" if context.answers == "sum" else "mean") if several else "label" if lettered else "token",
        lengths=Lengths(
            items=len(curve.items),
            different=sum(len(set(asked.lengths)) > 1 for asked in several),
            matching=_mean([n for asked in curve.asked for n in asked.lengths[: asked.split]]),
            not_matching=_mean([n for asked in curve.asked for n in asked.lengths[asked.split :]]),
        ),
        notes=tuple(dict.fromkeys(note for asked in curve.asked for note in asked.notes)),
        first_item=tuple(shown_probe(model, probe) for probe in first.probes),
    )


def asked_as_text(model: Model, probe: Probe) -> Asked:
    """How tasks were asked, which have no chat template, for the evidence."""
    return Asked(thinking=None, date=None, answers=None, lengths=None, notes=(), first_item=(shown_probe(model, probe),))


def asked_texts(model: Model, asked: Sequence[AskedText]) -> Asked:
    """How texts were asked, for the evidence: plain ones as they are, completions by the chat template."""
    record = asked_as_text(model, asked[0].probes[0])
    completions = [one for one in asked if one.is_completion]
    if not completions:
        return record
    thinking = completions[0].thinking
    return replace(
        record,
        template=model.format.name,
        thinking=thinking,
        date=None if thinking is None else model.format.date,
        notes=tuple(dict.fromkeys(note for one in completions for note in one.notes)),
    )


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


def _text(model: Model, token: int) -> str:
    return str(model.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
