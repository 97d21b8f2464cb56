"""Replies judged by a judge: each by itself, in an order that is blind and balanced, and none without a judgement unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core import progress
from ...core.errors import MeasurementError, SteerError
from .kinds import Exchange, Judge, Judgement
from .order import blind_order
from .remembering import Remembered, folder_of, read, write

_MOST_MISSING = 20  # of so many replies, one may be without a judgement
_REASONS = 3


def judged(judge: Judge, exchanges: Sequence[Exchange], *, seed: int, cache: Remembered | None = None) -> list[Judgement]:
    """Judge replies.

    The judge sees each prompt and reply once, in an order that is random and balanced over which reply to a prompt comes first
    (:func:`~.order.blind_order`). It gets no ids. Equal replies to equal prompts share one judgement.

    Args:
        exchanges: base and steered replies together. Those to one prompt have the same ``id``.
        seed: of the order.
        cache: where judgements are looked up and kept, missing ones excepted. Without it, as the judge's ``cache`` and the run say.

    Returns:
        One judgement per exchange. The missing ones, at most 5 % of all, say why.

    Raises:
        MeasurementError: more than 5 % of the replies have no judgement. Once that is certain, the judge is not asked any more.
        SteerError: there are no replies, or the judge does not give one judgement per reply.
    """
    if not exchanges:
        raise SteerError("there are no replies to judge")
    copies = Counter(map(_content, exchanges))
    order = [_content(exchanges[at]) for at in blind_order([one.id for one in exchanges], seed)]
    cache = folder_of(judge) if cache is None else cache
    record = judge.record()
    known = read(cache, record, list(copies))
    asked = [one for one in dict.fromkeys(order) if one not in known]
    missing: Counter[str] = Counter()
    for one, found in _answers(judge, asked):
        known[one] = found
        if found.missing is None:
            write(cache, record, one, found)
            continue
        missing[found.missing] += copies[one]
        if missing.total() * _MOST_MISSING > len(exchanges):
            raise MeasurementError(_too_many(record, missing, copies, known, len(exchanges)))
    return [known[_content(one)] for one in exchanges]


def _content(exchange: Exchange) -> Exchange:
    """All that a judge sees."""
    return Exchange(tuple(exchange.prompt), exchange.reply)


def _answers(judge: Judge, asked: Sequence[Exchange]) -> Iterable[tuple[Exchange, Judgement]]:
    """Each exchange with its judgement, as they come."""
    if not asked:
        return
    what = f"{type(judge).__module__}: {type(judge).__qualname__}.judge()"
    answers, count = judge.judge(asked), 0
    if not isinstance(answers, Iterable):
        raise SteerError(f"{what} gave {type(answers).__name__}, not one Judgement per exchange")
    try:
        for count, found in enumerate(answers, 1):
            if count > len(asked):
                break
            if not isinstance(found, Judgement):
                raise SteerError(f"{what} gave {type(found).__name__} in the place of a Judgement")
            yield asked[count - 1], found
            progress.report(f"{count} of {len(asked)} replies judged")
    finally:
        if hasattr(answers, "close"):
            answers.close()
    if count != len(asked):
        raise SteerError(
            f"{what} gave {'more' if count > len(asked) else count} judgements for {len(asked)} exchanges: give one for each, in their order"
        )


def _too_many(
    record: Mapping[str, Any], missing: Counter[str], copies: Counter[Exchange], known: Mapping[Exchange, Judgement], n: int
) -> str:
    """The error's words: how many are missing, of how many, and why."""
    asked = sum(copies[one] for one in known)
    reasons = [f"{count} x {why}" for why, count in missing.most_common(_REASONS)]
    more = len(missing) - len(reasons)
    whole = f"of {n} replies" if asked == n else f"of the {asked} replies that it was given (of {n})"
    return (
        f"the judge {record.get('judge', '')!r} gave no judgement for {missing.total()} {whole}, and at most 5 % of all may be missing: "
        + "; ".join([*reasons, *([f"and {more} other reasons"] if more else [])])
    )
