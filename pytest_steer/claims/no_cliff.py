"""``no_cliff``: perplexity and repetition stay within `budget` at the deployed multiplier and beyond it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Unpack

import numpy as np

from ..core.block import Block, Conversation, Intervals, Line
from ..data import DialogueLike, Dialogues, Sample, TextLike, Texts, as_dialogues, as_texts, sample_of
from ..errors import MeasurementError, SteerError
from ..evidence import Evidence
from ..measures import Array, Perplexity, perplexity_curves, reading_of_texts, relative_rise
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, largest_of
from ..steering import Intervention, SteeringVector
from . import show
from .cliff import Part, collapse_line, perplexity_part, repetition_part, repetition_replies, units_of
from .collapse import collapse
from .common import FromTurn, Interval, IntervalMethod, JudgedSpan, MaxNewTokens, Samples, Stride, Temperature, TopP, Window
from .holding import hold
from .judged import judged, judged_from, mean_of
from .kinds import claim
from .leaks import text_leaks
from .over_replies import (
    OverReplies,
    Written,
    asked_replies,
    cluster_details,
    drawing_of,
    how_written,
    reply_probes,
    reply_warnings,
    write_replies,
)
from .rulings import counts_lines
from .unread import withhold_unread


@claim("no_cliff", title="Steered, text does not collapse a step further", main="budget", directed=False)
@dataclass(frozen=True, kw_only=True)
class NoCliff:
    """Perplexity on the neutral texts and repetition of replies rise by at most `budget`, at `multiplier` and at (1 + `beyond`) times it.

    Perplexity rises relatively (the statistic of `ppl_delta_below`), the share of repeated 4-grams absolutely. A pass needs all four upper
    bounds within the budget, a fail one rise that is proven to exceed it. The strength at which text collapses is looked for and shown.

    Attributes:
        prompts: what the model is asked to reply to. texts: neutral texts.

    Raises:
        SteerError: settings of drawing that cannot be used.
    """

    subject: Subject
    prompts: Dialogues
    texts: Sequence[TextLike]
    budget: Annotated[
        float | None,
        Param(
            "The largest rise: of perplexity 0.2 means 20 %, of the share of repeated 4-grams 20 percentage points.",
            title="Largest rise",
            example=0.2,
            above=0,
            weak_from=1,
            weak="lets perplexity double; 20 % is written 0.2",
        ),
    ]
    beyond: Annotated[
        float,
        Param("How much further than the deployed multiplier is looked: 0.5 means at 1.5 times it.", example=0.5, above=0),
    ] = 0.5
    max_multiplier: Annotated[
        float,
        Param(
            "Up to how many deployed multipliers the strength at which text collapses is looked for.",
            title="Largest multiplier tried",
            example=4.0,
            at_least=1,
        ),
    ] = 8.0
    window: Window = None
    stride: Stride = None
    interval: Interval = "t"
    max_new_tokens: MaxNewTokens = 64
    samples: Samples = 1
    temperature: Temperature = None
    top_p: TopP = 1.0
    span: JudgedSpan = "answer"
    from_turn: FromTurn = 1
    context: Context = AS_GIVEN
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    cluster: str | None = None
    source: str = "texts"
    name: str = "no_cliff"

    def __post_init__(self) -> None:
        drawing_of(self)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two prompts or texts, or one that cannot be asked or scored.
            MeasurementError: all replies at the deployed multiplier are empty, or the model gives NaN or infinity there.
            SoundnessError: the hooks do not do what they say.
            SteerError: the intervention has one fixed strength.
        """
        subject = self.subject
        if subject.intervention.strength == "ignored":
            raise SteerError(
                f"no_cliff: {subject.intervention.method!r} has one fixed strength, so there is none beyond it. Claim what it costs: "
                "ppl_delta_below and stays_fluent"
            )
        deployed = float(subject.multiplier)
        grid = [deployed, (1 + self.beyond) * deployed]
        sample, of_texts = sample_of(as_dialogues(self.prompts), self.cluster), sample_of(as_texts(self.texts, self.source))
        soundness = check_before(model, subject)
        base, *curve = self._perplexities(model, of_texts, [0.0, *grid])
        written = self._written(model, sample, [0.0, *grid], may_be_empty=grid[1:])
        parts = [perplexity_part(of_texts, base, at, m, self._mean) for at, m in zip(curve, grid, strict=True)]
        parts += [repetition_part(model, written, side, self._mean) for side in written.sides[1:]]
        found = largest_of([one.found for one in parts])
        largest = max(parts, key=lambda one: one.found.estimate)
        evidence = judged(
            model,
            subject,
            found,
            reply_probes(written.sides[1]),
            threshold=self.budget,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda _: 0.0,
            check="no_cliff",
            name=self.name,
            statistic="largest rise of perplexity and repetition",
            percent=True,
            n=found.n,
            unit="texts and replies",
            data=of_texts.describe() | {"prompts": sample.describe()},
            soundness=soundness,
            asked=asked_replies(model, written, self.context),
            warnings=[
                *reply_warnings(subject, written, model),
                *map(str, of_texts.findings),
                *text_leaks(subject.intervention.metadata, of_texts.units),
            ],
            details={
                "largest": largest.name,
                "parts": [self._record(one) for one in parts],
                "from_turn": self.from_turn,
            }
            | cluster_details(written),
        )
        evidence.noise = None  # how far rounding moves a number of texts is not known
        evidence.items_needed = None
        evidence.replies = repetition_replies(model, written)
        evidence.units = units_of(
            parts,
            {
                "beyond": self.beyond,
                "window": self.window,
                "stride": self.stride,
                **how_written(self),
            },
        )
        evidence.details["reading"] = withhold_unread(evidence, reading_of_texts(model, base.per_text), of_texts.clusters)
        evidence.details["collapse"] = self._collapse(model, of_texts, sample, parts)
        evidence.details["noted"] = [line.strip() for line in collapse_line(evidence)]
        return evidence

    def _perplexities(self, model: Model, texts: Sample[Texts], multipliers: Sequence[float]) -> list[Perplexity]:
        found = perplexity_curves(
            model,
            texts.units,
            {"steered": self.subject.intervention},
            multipliers=multipliers,
            window=self.window,
            stride=self.stride,
            **self.subject.scope,
        )
        return found["steered"]

    def _written(
        self, model: Model, sample: Sample[Dialogues], multipliers: Sequence[float], *, may_be_empty: Sequence[float]
    ) -> Written:
        return write_replies(model, self, sample, multipliers, may_be_empty=may_be_empty)

    def _mean(self, values: Array, clusters: Sequence[int] | None) -> Inference:
        return mean_of(values, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    def _record(self, part: Part) -> dict[str, Any]:
        return {
            "what": part.what,
            "multiplier": part.multiplier,
            "estimate": part.found.estimate,
            "interval": list(bounds_of(part.found)),
            "n": part.found.n,
            "verdict": judged_from(part.found, self.budget, Direction.AT_MOST, self.min_n).value,
        }

    def _collapse(
        self, model: Model, texts: Sample[Texts], sample: Sample[Dialogues], parts: Sequence[Part]
    ) -> dict[str, Any] | None:
        """Where the text collapses; None as long as there is no budget."""
        budget = self.budget
        if budget is None:
            return None
        rises: dict[float, dict[str, float | None]] = {}
        for part in parts:
            rises.setdefault(part.multiplier, {})[part.what] = part.found.estimate
        known = {at: all(one is not None and one <= budget for one in own.values()) for at, own in rises.items()}

        def is_within(multiplier: float) -> bool:
            rises[multiplier] = self._rises(model, texts, sample, multiplier, budget)
            return all(one is not None and one <= budget for one in rises[multiplier].values())

        deployed = float(self.subject.multiplier)
        linear = self.subject.intervention.strength == "linear"
        cap = deployed * self.max_multiplier if linear else deployed
        found = collapse(is_within, known, cap)
        return {
            "within": found.within,
            "above": found.above,
            "cap": cap,
            "looked_at": [{"multiplier": at, **rises[at]} for at in sorted(rises, key=abs)],
        }

    def _rises(
        self, model: Model, texts: Sample[Texts], sample: Sample[Dialogues], multiplier: float, budget: float
    ) -> dict[str, float | None]:
        """The rises at a multiplier; None where the model gives NaN or infinity, or no replies. Replies are written only if they can matter."""
        try:
            base, steered = self._perplexities(model, texts, [0.0, multiplier])
            rise = relative_rise(steered, base)
            if rise > budget:
                return {"perplexity": rise if np.isfinite(rise) else None}
            written = self._written(model, sample, [0.0, multiplier], may_be_empty=[multiplier])
            return {
                "perplexity": rise,
                "repetition": repetition_part(model, written, written.sides[1], self._mean).found.estimate,
            }
        except MeasurementError:
            return {"perplexity": None}

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        return None if show.too_few(evidence) or evidence.withheld else "not enough evidence: measure more texts and prompts"

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        yield Intervals(
            [show.estimate_row(one, f"{one['what']} at {one['multiplier']:g}") for one in evidence.details["parts"]],
            "rise",
            promised=show.promised_in(evidence),
            percent=True,
            title="what rises",
            about="Perplexity relatively, repetition absolutely, at the deployed multiplier and beyond it.",
        )
        yield from (Line(line.strip()) for line in collapse_line(evidence))
        yield from counts_lines(evidence)

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        yield Conversation()


def assert_no_cliff(
    model: Model,
    vector: SteeringVector | Intervention | None,
    prompts: Iterable[DialogueLike],
    texts: Sequence[TextLike],
    *,
    budget: Promise,
    beyond: float = 0.5,
    max_multiplier: float = 8.0,
    window: int | None = None,
    stride: int | None = None,
    interval: IntervalMethod = "t",
    **shared: Unpack[OverReplies],
) -> Evidence:
    """Assert that perplexity on ``texts`` and repetition of replies to ``prompts`` stay within ``budget``, a step further too.

    Args:
        prompts: at least two texts, :class:`Dialogue` or contrast items, whose questions are asked.
        texts: neutral texts, at least two; see :func:`perplexity`.
        budget: the promise: the largest rise of perplexity (0.2 is 20 %) and of the share of repeated 4-grams (0.2 is 20 points).
        beyond: 0.5 looks at the deployed multiplier and at 1.5 times it.
        max_multiplier: up to how many deployed multipliers the strength at which text collapses is looked for.
        window / stride: see :func:`perplexity`.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("no_cliff", locals())
