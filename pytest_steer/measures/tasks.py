"""Accuracy of tasks done in context: would greedy decoding write the right output?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import ModelError, SteerError
from ..data import TaskItem, Tasks, as_tasks
from ..data.tasks import draw_demonstrations
from ..model import Model, Probe, answer_ends, engine_of, tokenize_task
from ..model.arguments import checks_arguments
from ..model.tokens import Ids, check_texts
from ..steering import Intervention, Positions, SteeringVector
from .asking import LAST, Array, Scope
from .propensity import Flags, Name, Vector, check_multipliers, fitting


@dataclass(frozen=True, eq=False)
class TaskAccuracy:
    """Greedy decoding of the queries of a task, compared with the right outputs.

    Attributes:
        margins: for each task float64 [tokens of the output + 1]: how far the logit of each token of the right output, with those
            before it given, is ahead of the largest other one; and at last how far what ends an answer is ahead of all
            other tokens after the output. Above 0 where greedy decoding goes that way.
        tasks: the queries, in order.
        probes: one for each query.
    """

    margins: tuple[Array, ...]
    tasks: Tasks
    probes: tuple[Probe, ...] = field(repr=False, default=())

    @cached_property
    def first_token(self) -> Flags:
        """bool [n_tasks]: the likeliest next token is the first one of the right output. A tie is not right."""
        return np.array([bool(margins[0] > 0) for margins in self.margins])

    @cached_property
    def exact(self) -> Flags:
        """bool [n_tasks]: greedy decoding writes the tokens of the right output and ends there. A tie is not right."""
        return np.array([bool((margins > 0).all()) for margins in self.margins])

    @property
    def first_token_accuracy(self) -> float:
        """Share of tasks whose first token is right (the measure of Todd et al. 2023, arXiv 2310.15213)."""
        return float(self.first_token.mean())

    @property
    def exact_accuracy(self) -> float:
        """Share of tasks whose whole answer is right."""
        return float(self.exact.mean())


@checks_arguments
def task_accuracy(
    model: Model,
    tasks: Sequence[TaskItem],
    vector: SteeringVector | Intervention | None = None,
    *,
    multiplier: float = 1.0,
    positions: Positions = "last",
    include_first: bool = False,
    n_shots: int = 0,
    demonstrations: Sequence[TaskItem] | None = None,
    shuffled: bool = False,
    seed: int = 0,
    allow_mismatch: tuple[str, ...] = (),
) -> TaskAccuracy:
    """Accuracy on a task in context, by the first token and by the whole answer.

    The prompt is that of Todd et al. (2023, arXiv 2310.15213), "Q: input", "A:", after ``n_shots`` demonstrations of this form; no chat
    template. An answer is right by its first token if that is the likeliest next one, and exact if every token of it is the
    likeliest one and what follows ends it: a token that begins with a line break (spaces before it or not) or an end-of-text token.
    That is what free greedy decoding writes up to the first line break, as long as it spells the output in the tokenizer's own
    tokens; no text is generated.

    Args:
        tasks: the queries with their right outputs.
        vector: a steering vector (added), or any intervention; None for the unsteered model.
        positions: ``last`` (as function vectors are applied): from the last token before the answer on; ``after_prompt``: from
            the line of the open "A:" on; ``all``. Tokens of the answer are steered in every scope.
        include_first: steer the first position too where the scope reaches it.
        n_shots: how many demonstrations; 0 is zero-shot.
        demonstrations: what they are drawn from; by default the other tasks. Those with the input of the query are passed over.
        shuffled: shuffle the outputs of each prompt's demonstrations, so that (where possible) none keeps its own. The field
            shuffles them at random to take the task out of a prompt and leave its form (Todd et al. 2023, section 2.3).
        seed: of the draws. Those of one query do not depend on the other queries or the order of the pairs.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no tasks; too few demonstrations; an output that changes the tokens of its prompt; a prompt longer than the model
            allows.
        SteerError: n_shots is no number, or shuffled and fewer than two.
        ModelError: the model has no token that could end an answer.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.
    """
    return task_accuracies(
        model,
        tasks,
        {0: (vector, multiplier)},
        Scope(positions, include_first, allow_mismatch),
        n_shots=n_shots,
        demonstrations=demonstrations,
        shuffled=shuffled,
        seed=seed,
    )[0]


@checks_arguments
def task_accuracies(
    model: Model,
    tasks: Sequence[TaskItem],
    vectors: Mapping[Name, tuple[Vector, float]],
    scope: Scope = LAST,
    *,
    n_shots: int = 0,
    demonstrations: Sequence[TaskItem] | None = None,
    shuffled: bool = False,
    seed: int = 0,
) -> dict[Name, TaskAccuracy]:
    """The accuracies under several interventions, each by itself at its multiplier; None is the unsteered model.

    All of them see the same prompts, and share one pass over each. Arguments and errors are those of :func:`task_accuracy`.

    Returns:
        {name: accuracy}, in the order of ``vectors``.
    """
    check_shots(n_shots, shuffled)
    queries = as_tasks(tasks)
    pool = queries if demonstrations is None else as_tasks(demonstrations, "demonstrations")
    pairs = []
    for vector, multiplier in vectors.values():
        (strength,) = check_multipliers([multiplier])
        pairs.append((fitting(model, vector, scope, [strength], "multiplier"), strength))
    ends = answer_ends(model)
    if not ends:
        raise ModelError(f"{model.id}: no token of it begins a line or ends a text, so no answer could ever end")
    probes = []
    for index, query in enumerate(queries):
        shown = draw_demonstrations(query, pool, n_shots, shuffled=shuffled, seed=seed)
        probes.append(task_probe(model, shown, query, scope, ends, f"task {index} ({query.input!r})"))
    scores = engine_of(model).run_pairs(probes, pairs)
    return {
        name: TaskAccuracy(tuple(per_probe[column] for per_probe in scores), queries, tuple(probes))
        for column, name in enumerate(vectors)
    }


def task_probe(model: Model, shown: Sequence[TaskItem], query: TaskItem, scope: Scope, ends: Ids, name: str) -> Probe:
    """The probe of one query after its demonstrations."""
    check_texts(model, (text for pair in (*shown, query) for text in (pair.input, pair.output)), name)
    tokens = tokenize_task(model.tokenizer, shown, query)
    prompt = len(tokens.prompt)
    start = scope.first_steered(turn_end=tokens.turn_end, prompt_end=prompt)
    return Probe(tokens.ids, start, score_from=prompt, name=name, margins=True, ends=ends)


def check_shots(n_shots: int, shuffled: bool) -> None:
    """Refuse numbers of demonstrations that mean nothing.

    Raises:
        SteerError: not a whole number from 0 on, or shuffled and fewer than two.
    """
    if isinstance(n_shots, bool) or not isinstance(n_shots, int) or n_shots < 0:
        raise SteerError(f"n_shots is the number of demonstrations, a whole number from 0 on, not {n_shots!r}")
    if shuffled and n_shots < 2:
        raise SteerError(
            f"shuffled deals the outputs of the demonstrations out among them, so it needs n_shots of at least 2, not {n_shots}"
        )
