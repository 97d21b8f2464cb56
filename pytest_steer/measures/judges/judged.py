"""Replies judged by a judge, each by itself, in a blind and balanced order; and its agreement with human labels."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError, MeasurementError, SteerError, warn_caller
from ...core.evidence import Json
from ...core.run_context import current_run, report_progress
from ...core.validation import shown
from ...data.formats import entries
from ...data.formats.entries import file_of
from ...model.gguf import cache_folder
from ...model.memo import DiskMemo
from ...stats.agreement import Kappa, cohen_kappa
from .kinds import Exchange, Judge, Judgement, conversation_of

_MOST_MISSING = 20  # of this many replies, one may have no judgement
_REASONS = 3


def judged(judge: Judge, exchanges: Sequence[Exchange], *, seed: int, cache: DiskMemo | None = None) -> list[Judgement]:
    """Judge replies.

    The judge sees each prompt and reply once, in an order that is random and balanced over which reply to a prompt comes first
    (:func:`blind_order`). It gets no ids. Equal replies to equal prompts share one judgement.

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
    keys = _keys(record, copies) if cache is not None else {}
    known = _read(cache, keys) if cache is not None else {}
    asked = [one for one in dict.fromkeys(order) if one not in known]
    missing: Counter[str] = Counter()
    for one, found in _answers(judge, asked):
        known[one] = found
        if found.missing is None:
            if cache is not None:
                cache.write_bytes({keys[one]: json.dumps(asdict(found)).encode()})
            continue
        missing[found.missing] += copies[one]
        if missing.total() * _MOST_MISSING > len(exchanges):
            raise MeasurementError(_too_many(record, missing, sum(copies[one] for one in known), len(exchanges)))
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


def _too_many(record: Json, missing: Counter[str], asked: int, n: int) -> str:
    """The error's words: how many are missing, of how many, and why."""
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


_FORMAT = "judgement-1"  # of a kept judgement and its key


def folder_of(judge: Judge) -> DiskMemo | None:
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


def _read(cache: DiskMemo, keys: Mapping[Exchange, bytes]) -> dict[Exchange, Judgement]:
    """The judgements that are kept."""
    there = cache.read_bytes(keys.values())
    return {one: Judgement(**json.loads(there[key])) for one, key in keys.items() if key in there}


def _keys(record: Json, exchanges: Iterable[Exchange]) -> dict[Exchange, bytes]:
    try:
        contents = {one: json.dumps([_FORMAT, record, one.prompt, one.reply], sort_keys=True).encode() for one in exchanges}
    except TypeError as error:
        raise SteerError(
            f"the record of the judge {record.get('judge', '')!r} is no plain data, as JSON holds it ({error})"
        ) from None
    return {one: hashlib.sha256(content).digest() for one, content in contents.items()}


WEAK_KAPPA = 0.4
"""Below this kappa a judge's verdicts are warned about: agreement is at most "fair" (Landis & Koch 1977, Biometrics 33:159)."""

Side = Literal["base", "steered"]
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NAMED = 3


@dataclass(frozen=True)
class Label:
    """A person's judgement of one reply.

    Attributes:
        where: its place in the file.
        accepted: whether the person accepts the reply.
        id / prompt: the prompt, by the id of its item or by its text; one of them is None.
        reply: the text of the reply. A label without one is of whatever the model writes.
        side / sample: of a label without a text, which reply to the prompt it is.
    """

    where: str
    accepted: bool
    id: str | None = None
    prompt: str | None = None
    reply: str | None = None
    side: Side | None = None
    sample: int = 0

    def is_of(self, rated: Rated) -> bool:
        """Whether this is a label of that reply."""
        exchange = rated.exchange
        prompts = {exchange.prompt[-1].strip(), conversation_of(exchange.prompt).strip()}
        if self.id not in (None, exchange.id) or not (self.prompt is None or self.prompt in prompts):
            return False
        if self.reply is not None:
            return self.reply == exchange.reply.strip()
        return (self.side, self.sample) == (rated.side, rated.sample)


@dataclass(frozen=True)
class Rated:
    """A reply with the judge's judgement, and which of the replies to its prompt it is."""

    exchange: Exchange
    judgement: Judgement
    side: Side
    sample: int = 0


@dataclass(frozen=True)
class Agreement:
    """How far a judge agrees with human labels.

    Attributes:
        kappa: None if it is not defined: no reply has both, or both accept all or none of them.
        n: replies that have a label and a judgement.
        warnings: for the reader of the claim.
    """

    kappa: Kappa | None
    n: int
    warnings: tuple[str, ...]

    def record(self) -> Json:
        """As it stands in the evidence."""
        found = self.kappa
        interval = None if found is None else [found.low, found.high]
        return {"kappa": None if found is None else found.estimate, "interval": interval, "n": self.n}


def read_labels(path: str | PathLike[str]) -> list[Label]:
    """Read human labels from a file of any data format, such as JSON Lines or CSV.

    Each entry has ``prompt`` or ``id``, ``reply`` or ``side`` (``base`` or ``steered``, with ``sample`` from 0 on where there are
    several), and ``accepted``. Other keys are left aside.

    Raises:
        DataError: the file cannot be read, holds no labels, or one of them is wrong.
    """
    file = file_of(path)
    labels = []
    for where, entry in entries(file):
        try:
            labels.append(_label(where, entry))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not labels:
        raise DataError(f"{file}: the file holds no labels")
    return labels


def _label(where: str, entry: Any) -> Label:
    if not isinstance(entry, Mapping):
        raise DataError(f"a label is an object with prompt, reply and accepted, not {shown(entry)}")
    given = {key: value for key, value in entry.items() if value is not None and value != ""}
    for one, other in (("prompt", "id"), ("reply", "side")):
        if (one in given) == (other in given):
            raise DataError(
                f"a label has either {one!r} or {other!r}, and this one has {'both' if one in given else 'neither'}"
            )
    accepted = given.get("accepted")
    if isinstance(accepted, (str, int)) and not isinstance(accepted, bool):
        accepted = _WORDS.get(str(accepted).strip().lower())
    if not isinstance(accepted, bool):
        raise DataError(f"'accepted' is true or false, not {shown(entry.get('accepted'))}")
    side, sample = given.get("side"), given.get("sample", 0)
    if side not in (None, "base", "steered"):
        raise DataError(f"'side' is base or steered, not {shown(side)}")
    if not str(sample).isdecimal() or isinstance(sample, bool):
        raise DataError(f"'sample' is a whole number from 0 on, not {shown(sample)}")
    texts = {key: str(given[key]).strip() for key in ("id", "prompt", "reply") if key in given}
    return Label(where, accepted, side=side, sample=int(sample), **texts)


def agreement(labels: Sequence[Label], rated: Iterable[Rated], *, source: str, confidence: float = 0.95) -> Agreement:
    """Cohen's kappa of a judge and a person, over the replies that have a label and a judgement.

    Args:
        rated: all replies of a claim, base and steered.
        source: the file of the labels, for warnings.
        confidence: of each bound. Replies in one dialogue are a cluster, whatever the model said in the turns before.

    Raises:
        DataError: one reply has labels that contradict each other, or one label is of replies to several dialogues.
    """
    used: dict[str, tuple[str, str]] = {}
    people: list[bool] = []
    judge: list[bool] = []
    dialogues: list[tuple[str, str]] = []
    for one in rated:
        own = [label for label in labels if label.is_of(one)]
        for label in own:
            if used.setdefault(label.where, _dialogue(one)) != _dialogue(one):
                raise DataError(
                    f"{source}: {label.where} is of replies to several dialogues, since its prompt {shown(label.prompt or label.id)} ends "
                    "them all: name one by `id`, or write its whole conversation"
                )
        if len({label.accepted for label in own}) > 1:
            for_it, against = (next(one.where for one in own if one.accepted is answer) for answer in (True, False))
            raise DataError(
                f"{source}: {for_it} accepts a reply that {against} does not: {shown(one.exchange.reply)}. Keep one of them"
            )
        if own and one.judgement.accepted is not None:
            people.append(own[0].accepted)
            judge.append(one.judgement.accepted)
            dialogues.append(_dialogue(one))
    kappa = cohen_kappa(people, judge, clusters=dialogues, confidence=confidence)
    strays = [label.where for label in labels if label.where not in used]
    return Agreement(kappa, len(people), tuple(_warnings(kappa, people, judge, strays, len(labels), source)))


def _dialogue(rated: Rated) -> tuple[str, str]:
    return rated.exchange.id, rated.exchange.prompt[0]


def _warnings(
    kappa: Kappa | None, people: Sequence[bool], judge: Sequence[bool], strays: Sequence[str], n: int, source: str
) -> Iterable[str]:
    if strays:
        more = len(strays) - _NAMED
        named = ", ".join(strays[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield f"{len(strays)} of the {n} labels in {source} match no reply of this run ({named}): the replies have changed, or a prompt or id has"
    if kappa is None and people:
        does = "accept" if people[0] else "reject"
        yield f"the judge and the labels in {source} {does} all {len(people)} replies, so their agreement beyond chance is not defined: label replies of both sorts"
    if kappa is not None and kappa.estimate < WEAK_KAPPA:
        apart = sum(one != other for one, other in zip(people, judge, strict=True))
        yield (
            f"the judge hardly agrees with the labels in {source}: Cohen's kappa is {kappa.estimate:.2f} [{kappa.low:.2f}, {kappa.high:.2f}] "
            f"over {kappa.n} replies ({apart} are judged differently), and below {WEAK_KAPPA} its verdicts mean little. Change the rubric or the judge"
        )
