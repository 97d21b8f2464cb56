"""Questions to the model, and bundles of them that share tokens."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..prompting.chat import common_prefix
from ..steering import Applied, Intervention
from .tokens import Ids


@dataclass(frozen=True)
class Probe:
    """One question to the model about one sequence.

    Attributes:
        ids: the sequence.
        steer_from: index of the first steered token; all from there on are steered.
        candidates: tokens whose raw logits are wanted as the next one after the sequence, or None.
        score_from: without candidates: the log-likelihoods of ``ids[score_from:]`` are wanted.
        name: for messages.
        margins: the greedy margins of ``ids[score_from:]`` are wanted instead of their log-likelihoods: the raw logit of each
            minus the largest one of all other tokens, above 0 if and only if greedy decoding chooses it. Margins move as little as
            logits do, so a rounding error can be told from a mistake; with chosen tokens it could not.
        ends: with ``margins``: tokens that end an answer. One more margin, the last, is that of their coming next: the largest
            logit of theirs minus the largest one of all others.
        diverges: the Kullback-Leibler divergences at the positions that predict ``ids[score_from:]`` are wanted instead, each over the
            whole vocabulary: how far the next token's distribution moves from the unsteered model's. So a forward holds that one too.
    """

    ids: Ids
    steer_from: int
    candidates: Ids | None = None
    score_from: int = 0
    name: str = "sequence"
    margins: bool = False
    ends: Ids | None = None
    diverges: bool = False

    @property
    def reads(self) -> range:
        """The positions whose logits answer the question."""
        last = len(self.ids) - 1
        if self.candidates is not None:
            return range(last, last + 1)
        return range(self.score_from - 1, last + (self.ends is not None))

    @property
    def question(self) -> tuple[object, ...]:
        """The question about the tokens. A score depends only on it, the tokens and the pair."""
        if self.margins:
            return ("margins", self.score_from, self.ends)
        if self.diverges:
            return ("divergence", self.score_from)
        return (self.candidates, self.score_from if self.candidates is None else None)

    @property
    def prompt_tokens(self) -> int:
        """How many tokens a condition on the prompt looks at: all before the answer. A text that is scored from its start is judged
        as a whole."""
        return len(self.ids) if self.candidates is not None or self.score_from <= 1 else self.score_from


@dataclass(frozen=True)
class Pair:
    """An intervention at one multiplier; without an intervention, or at 0, it is the unsteered model."""

    intervention: Intervention | None
    multiplier: float

    @property
    def acting(self) -> Intervention | None:
        """The intervention, or None where the model runs as if there were none."""
        idle = self.intervention is None or (self.multiplier == 0 and self.intervention.strength != "ignored")
        return None if idle else self.intervention

    @property
    def is_idle(self) -> bool:
        return self.acting is None

    @property
    def birth(self) -> int:
        """The first block whose input differs from the unsteered model's."""
        return 0 if self.intervention is None else self.intervention.first_changed + 1

    @property
    def applied(self) -> Applied | None:
        """The user's own context manager that steers, which has to be entered around whole forwards."""
        return None if self.acting is None else self.acting.applied

    @property
    def looks_at_rows(self) -> bool:
        """Whether other positions of the row matter to it, so that a row has to stay one row."""
        return self.acting is not None and self.acting.looks == "row"


def key_of(probe: Probe, pair: Pair) -> bytes:
    """Hash of everything except the model that the score of a probe under a pair depends on."""
    digest = hashlib.blake2b(array("q", probe.ids).tobytes(), digest_size=20)
    digest.update(repr(probe.question).encode())
    if pair.acting is not None:
        digest.update(repr((pair.acting.hash, pair.multiplier, probe.steer_from)).encode())
    return digest.digest()


@dataclass(frozen=True)
class Row:
    """A probe under a pair; ``key`` identifies its score."""

    probe: Probe
    pair: Pair
    key: bytes


@dataclass(frozen=True)
class Bundle:
    """Rows over sequences that begin alike and are steered from the same position on.

    Attributes:
        probes: distinct probes.
        pairs: distinct pairs; the unsteered model is one of them where answers are differences from it.
        rows: the scores that are wanted; not every combination of the two need be.
        stem: how many tokens all the sequences share.
    """

    probes: tuple[Probe, ...]
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    stem: int

    @property
    def ids(self) -> Ids:
        """Tokens of the first of its sequences."""
        return self.probes[0].ids

    @property
    def steer_from(self) -> int:
        return self.probes[0].steer_from

    @property
    def compared(self) -> tuple[Probe, ...]:
        """The probes whose unsteered row has to be in the forward too, since their answers are differences from it."""
        return tuple(dict.fromkeys(row.probe for row in self.rows if row.probe.diverges and not row.pair.applied))

    @property
    def entries(self) -> int:
        """How many whole rows it takes where nothing is shared."""
        return len(self.rows) + len(self.compared)

    @property
    def trunk(self) -> int:
        """How many tokens are the same for every probe and every pair."""
        return min(self.stem, self.steer_from)

    @property
    def tokens(self) -> int:
        """Tokens of all the sequences, shared ones counted once."""
        return self.stem + sum(len(probe.ids) - self.stem for probe in self.probes)

    @property
    def first_read(self) -> int:
        """The first position whose logits are wanted."""
        return min(probe.reads.start for probe in self.probes)

    def where(self, wanted: Callable[[Row], bool]) -> Bundle:
        """The bundle with some of its rows only."""
        return _bundle([row for row in self.rows if wanted(row)], self.stem)


def bundle_up(rows: Sequence[Row]) -> list[Bundle]:
    """Bundle neighbouring rows whose sequences differ only from where they are read on (the answers of one prompt).

    They have one scope, share all tokens before it, and at least half of their tokens. Sequences that differ earlier (items under
    one system prompt) share a prefix instead, see ``layout.group_by_prefix``.
    """
    bundles: list[Bundle] = []
    current: list[Row] = []
    stem = needed = 0
    for row in rows:
        own = max(row.probe.steer_from, row.probe.reads.start + 1)
        if current:
            shared = common_prefix(current[0].probe.ids[:stem], row.probe.ids)
            alike = row.probe.steer_from == current[0].probe.steer_from
            if alike and shared >= max(needed, own) and 2 * shared >= len(row.probe.ids):
                current.append(row)
                stem, needed = shared, max(needed, own)
                continue
            bundles.append(_bundle(current, stem))
        current, stem, needed = [row], len(row.probe.ids), own
    if current:
        bundles.append(_bundle(current, stem))
    return bundles


def _bundle(rows: list[Row], stem: int) -> Bundle:
    probes = tuple(dict.fromkeys(row.probe for row in rows))
    bundle = Bundle(probes, tuple(dict.fromkeys(row.pair for row in rows)), tuple(rows), stem)
    if not bundle.compared or any(pair.is_idle for pair in bundle.pairs):
        return bundle
    return replace(bundle, pairs=(Pair(None, 0.0), *bundle.pairs))
