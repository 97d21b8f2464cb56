"""Human labels of replies, and how far a judge agrees with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from ...core.errors import DataError
from ...core.record import Agreement as AgreementRecord
from ...core.validation import shown
from ...data.formats import entries
from ...data.formats.entries import file_of
from ...stats.agreement import Kappa, cohen_kappa
from .kinds import Exchange, Judgement
from .rubric import conversation_of

WEAK_KAPPA = 0.4
"""Below this kappa a judge's verdicts are warned about: agreement is at most "fair" (Landis & Koch 1977, Biometrics 33:159)."""

Side = Literal["base", "steered"]
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NAMED = 3


@dataclass(frozen=True)
class Label:
    """What a person said of one reply.

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
        if self.id is not None and self.id != exchange.id:
            return False
        if self.prompt is not None and self.prompt not in (
            exchange.prompt[-1].strip(),
            conversation_of(exchange.prompt).strip(),
        ):
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
        warnings: what the reader of the claim has to know.
    """

    kappa: Kappa | None
    n: int
    warnings: tuple[str, ...]

    def record(self) -> AgreementRecord:
        """The agreement as the evidence has it."""
        found = self.kappa
        interval = None if found is None else (found.low, found.high)
        return AgreementRecord(kappa=None if found is None else found.estimate, interval=interval, n=self.n)


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
