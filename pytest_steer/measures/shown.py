"""Items as the model sees them: their tokens, where steering begins, and what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model import Model, Probe
from ..prompting import Context
from .asking import AskedText
from .propensity import PropensityCurve

SEPARATOR = "·"
STEERED, SCORED = "<steered from here>", "<scored from here>"


def shown_probe(model: Model, probe: Probe) -> dict[str, Any]:
    """What is asked about one sequence, as plain data.

    Returns:
        ``tokens``: the text of each token. ``first_steered`` and ``first_scored``: indices of tokens; that of the token to come is
        the number of tokens. ``candidates``: texts of the tokens whose logits are compared as the next one; None if the sequence
        holds the scored tokens itself.
    """
    candidates = None if probe.candidates is None else [_text(model, token) for token in probe.candidates]
    return {
        "tokens": [_text(model, token) for token in probe.ids],
        "first_steered": probe.steer_from,
        "first_scored": len(probe.ids) if probe.candidates is not None else probe.score_from,
        "candidates": candidates,
    }


def shown_line(shown: dict[str, Any], most: int | None = None) -> str:
    """A sequence of :func:`shown_probe` in one line, its steered and its scored part marked.

    Args:
        most: how many tokens at the end are printed, and as many more as are needed to show where steering begins; None for all.
    """
    tokens, steered, scored = shown["tokens"], shown["first_steered"], shown["first_scored"]
    start = 0 if most is None else max(0, min(len(tokens) - most, steered - 2, scored - 2))
    parts = ["..."] if start else []
    for index in range(start, len(tokens) + 1):
        if index == steered:
            parts.append(STEERED)
        if index == scored:
            parts.append(SCORED)
        if index < len(tokens):
            parts.append(tokens[index].replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t"))
    if shown["candidates"] is not None:
        parts.append(" or ".join(repr(text) for text in shown["candidates"]))
    return SEPARATOR.join(parts)


def marked_token(model: Model, probe: Probe, at: int, before: int = 12) -> str:
    """One token of a sequence in its place: a few tokens before it, then the token in quotation marks."""
    start = max(0, at - before)
    text = model.tokenizer.decode(list(probe.ids[start:at]), clean_up_tokenization_spaces=False)
    shown = " ".join(f"{'...' if start else ''}{text}".split())
    return f"{shown} >> {_text(model, probe.ids[at])!r}"


def asked_record(model: Model, curve: PropensityCurve, context: Context) -> dict[str, Any]:
    """How the items of a curve were asked and read, for the evidence.

    Returns:
        ``template`` (its name, or that there is none), ``thinking`` (``closed``, ``open``, or None without a chat template), ``date`` (that a template gets; None without one), ``answers`` (``label``, ``token``, ``mean`` or ``sum``),
        ``lengths`` (how many items have answers of different numbers of tokens, and the mean numbers), ``notes`` of the chat template,
        and ``first_item``: one entry of :func:`shown_probe` for each of its sequences.
    """
    several = [asked for asked in curve.asked if asked.probes[0].candidates is None]
    different = [asked for asked in several if len(set(asked.lengths)) > 1]
    lettered = all(item.is_lettered for item in curve.items)
    return {
        "template": context.setting(model.format).form.name,
        "thinking": curve.asked[0].thinking,
        "date": None if curve.asked[0].thinking is None else (context.date or model.format.date),
        "answers": context.answers if several else ("label" if lettered else "token"),
        "lengths": {
            "items": len(curve.items),
            "different": len(different),
            "matching": _mean([n for asked in curve.asked for n in asked.lengths[: asked.split]]),
            "not_matching": _mean([n for asked in curve.asked for n in asked.lengths[asked.split :]]),
        },
        "notes": list(dict.fromkeys(note for asked in curve.asked for note in asked.notes)),
        "first_item": [shown_probe(model, probe) for probe in curve.asked[0].probes],
    }


def asked_as_text(model: Model, probe: Probe) -> dict[str, Any]:
    """The same of tasks, which have no chat template: their first sequence as the model sees it."""
    return {
        "template": None,
        "thinking": None,
        "date": None,
        "answers": None,
        "lengths": None,
        "notes": [],
        "first_item": [shown_probe(model, probe)],
    }


def asked_texts(model: Model, asked: Sequence[AskedText]) -> dict[str, Any]:
    """The same of texts: plain ones are read as they are, completions by the chat template."""
    completions = [one for one in asked if one.is_completion]
    if not completions:
        return asked_as_text(model, asked[0].probes[0])
    thinking = completions[0].thinking
    return asked_as_text(model, asked[0].probes[0]) | {
        "template": model.format.name,
        "thinking": thinking,
        "date": None if thinking is None else model.format.date,
        "notes": list(dict.fromkeys(note for one in completions for note in one.notes)),
    }


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


def _text(model: Model, token: int) -> str:
    return str(model.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
