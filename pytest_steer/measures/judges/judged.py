"""Replies judged by a judge: each by itself, in an order that is blind and balanced, and none without a judgement unseen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from ...core.errors import MeasurementError, SteerError, warn_caller
from ...core.run_context import current_run, report_progress
from ...model.loading import cache_folder
from ...model.memo import DiskMemo
from .kinds import Exchange, Judge, Judgement

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
            report_progress(f"{count} of {len(asked)} replies judged")
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


def blind_order(groups: Sequence[Hashable], seed: int) -> list[int]:
    """An order of replies in which nothing tells which side a reply is from.

    The replies to one prompt are a group. Groups of one size are taken two by two: one has its replies in a random order, the other
    in the reverse of that order. So whichever two places within a group are compared, such as base and steered, each comes first in
    half of the groups, up to one. The groups are then mixed at random, and each keeps the order of its own replies.

    Args:
        groups: the group of each reply.
        seed: the order depends on it and on ``groups`` alone.

    Returns:
        Indices of ``groups``, each once.
    """
    rng = np.random.default_rng([seed, 0x6A756467])
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    by_size: dict[int, list[Hashable]] = {}
    for group, own in members.items():
        by_size.setdefault(len(own), []).append(group)
    order: dict[Hashable, list[int]] = {}
    for size, alike in by_size.items():
        permutation = rng.permutation(size)
        for at, chosen in enumerate(rng.permutation(len(alike))):
            permutation = permutation[::-1] if at % 2 else rng.permutation(size)
            order[alike[chosen]] = [members[alike[chosen]][place] for place in permutation]
    following = {group: iter(own) for group, own in order.items()}
    return [next(following[groups[at]]) for at in rng.permutation(len(groups))]


_FORMAT = "judgement-1"  # what is kept, and what its key is made of


class Remembered(Protocol):
    """Where judgements are kept: bytes by a key."""

    def read_bytes(self, keys: Iterable[bytes], /) -> dict[bytes, bytes]: ...

    def write_bytes(self, entries: Mapping[bytes, bytes], /) -> None: ...


def folder_of(judge: Judge) -> Remembered | None:
    """Where a judge's judgements are kept.

    A judge with a field ``cache`` is remembered in the run's folder (``--steer-cache``) unless that is false; where it is true and the
    run has no folder, in the user's cache. A judge without such a field is asked again.
    """
    wanted = getattr(judge, "cache", False)
    if wanted is False:
        return None
    folder = current_run().cache
    if folder is None and wanted is True:
        folder = cache_folder() / "judgements"
    if folder is None:
        return None
    found = DiskMemo(folder)
    for note in found.told():
        warn_caller(note)
    return found


def read(cache: Remembered | None, record: Mapping[str, Any], exchanges: Sequence[Exchange]) -> dict[Exchange, Judgement]:
    """The judgements that are there."""
    if cache is None:
        return {}
    keys = {_key(record, one): one for one in exchanges}
    there = cache.read_bytes(keys)
    return {keys[key]: Judgement(**json.loads(value)) for key, value in there.items()}


def write(cache: Remembered | None, record: Mapping[str, Any], exchange: Exchange, judgement: Judgement) -> None:
    """Keep a judgement."""
    if cache is not None:
        cache.write_bytes({_key(record, exchange): json.dumps(asdict(judgement)).encode()})


def _key(record: Mapping[str, Any], exchange: Exchange) -> bytes:
    try:
        content = json.dumps([_FORMAT, record, exchange.prompt, exchange.reply], sort_keys=True)
    except TypeError as error:
        raise SteerError(
            f"the record of the judge {record.get('judge', '')!r} is no plain data, as JSON holds it ({error})"
        ) from None
    return hashlib.sha256(content.encode()).digest()
