"""Function vectors: the sum of the outputs, at the last token of few-shot prompts, of the heads that carry a task."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

import torch

from ..core.errors import DataError, ModelError, warn_caller
from ..core.parameters import Param, properties_of
from ..core.run_context import report_progress
from ..core.validation import check_values
from ..data import TaskItem
from ..model import Model, Probe, block_outputs, check_layers, engine_of, tokenize_task
from ..model.activations import Patch, Patcher
from ..model.sites import layers_with_heads, n_heads, output_projection
from ..model.tokens import Ids, check_texts
from ..steering import SteeringVector
from .contrast import record_of_tasks
from .kinds import method


@method("fv", takes="demonstrations")
def fv(
    model: Model,
    tasks: Sequence[TaskItem],
    *,
    layer: int | None = None,
    heads: Annotated[int, Param("How many attention heads a function vector (fv) is made of.", at_least=1)] = 10,
    n_shots: Annotated[int, Param("How many demonstrations each prompt of method fv has.", at_least=1)] = 10,
    prompts: Annotated[int, Param("Over how many prompts method fv averages the outputs of the heads.", at_least=1)] = 100,
    shuffled_prompts: Annotated[
        int, Param("Over how many shuffled prompts method fv averages the effect of a head.", at_least=1)
    ] = 25,
    only_correct: Annotated[
        bool,
        Param(
            "true: method fv keeps only the queries that the model answers right in context, as Todd et al. (2023) do.",
            example=True,
        ),
    ] = False,
    begin_token: Annotated[
        bool,
        Param(
            "true: every prompt of method fv begins with the tokenizer's begin-of-text token, as in Todd et al. (2023); false leaves it to the "
            "tokenizer.",
            example=True,
        ),
    ] = False,
    seed: int = 0,
) -> SteeringVector:
    """A function vector (FV; Todd et al. 2023, arXiv 2310.15213, section 2.3).

    1. a_lj: the mean output of head j of block l at the last token of few-shot prompts of the task.
    2. Causal indirect effect of a head: on few-shot prompts whose outputs are shuffled among the demonstrations, the
       rise in the probability of the right answer's first token when the head's output at the last token is replaced by a_lj;
       averaged over the prompts.
    3. The vector is the sum over the heads with the largest effect of their a_lj as the output projection writes it into
       the residual stream (its columns for that head, without its bias; the paper's code adds the bias once per head).

    Where only some blocks have attention (hybrid models), the heads are theirs; blocks may have heads of different number and width.

    The paper keeps only queries that the model answers right in context, and begins every prompt with the token that begins a text:
    ``only_correct`` and ``begin_token``. Without them all queries count, and that token is there if the tokenizer puts it there.

    It is added to the output of one block at the last token: use ``positions="last"``. The paper averages the effects over
    several tasks to choose one set of heads; here they are those of the task itself. The first token of an answer is that of
    the answer with a space before it.

    Args:
        tasks: pairs; each prompt draws its demonstrations and one query from them, all different.
        layer: the block to whose output it is added; without it about a third of the depth, as in the paper.
        heads: how many (10 for GPT-J with 448 heads, 20 for Llama-2-7B with 1024 in the paper).
        n_shots / prompts / shuffled_prompts: demonstrations per prompt, and prompts for 1. and 2.; the paper's numbers.
        only_correct: of the ``prompts`` of 1., keep those whose answer's first token is the model's likeliest next one, and ask the queries of
            these in 2.
        begin_token: begin every prompt with the tokenizer's begin-of-text token, unless it is there.

    Raises:
        SteerError: a setting is out of range.
        DataError: fewer pairs than a prompt needs, or the model answers none of the prompts right (``only_correct``).
        VectorError: a layer the model does not have.
        ModelError: the heads' outputs were not found, or the tokenizer has no token that begins a text (``begin_token``).

    Warns:
        SteerWarning: no head raises the right answer's probability: the task is not one that the model does in context.
    """
    settings = {"heads": heads, "n_shots": n_shots, "prompts": prompts, "shuffled_prompts": shuffled_prompts}
    settings |= {"only_correct": only_correct, "begin_token": begin_token}
    check_values("fv", settings, properties_of(fv))
    if len(tasks) < n_shots + 1:
        raise DataError(
            f"a prompt of {n_shots} demonstrations and a query needs {n_shots + 1} pairs, but there are {len(tasks)}"
        )
    (at,) = check_layers(model, max(0, round(model.n_layers / 3)) if layer is None else layer)
    draw = random.Random(seed)
    begin = _begin_of(model) if begin_token else None
    drawn = [_drawn(tasks, n_shots, draw, shuffle=False) for _ in range(prompts)]
    asked = [_prompt(model, *one, begin) for one in drawn]
    queries: list[TaskItem] | None = None
    if only_correct:
        kept = _answered_right(model, asked)
        if not kept:
            raise DataError(
                f"{model.id} answers none of {prompts} prompts of {n_shots} demonstrations right, so only_correct leaves nothing: it does not "
                "do this task in context"
            )
        asked, queries = [asked[index] for index in kept], [drawn[index][1] for index in kept]
    right = [ids for ids, _ in asked]
    shuffled = [
        _prompt(model, *_drawn(tasks, n_shots, draw, shuffle=True, queries=queries), begin) for _ in range(shuffled_prompts)
    ]
    means = _mean_heads(model, right)
    effects = engine_of(model).remembered_tensors(
        ("indirect effects", right, shuffled), lambda: _indirect_effects(model, means, shuffled)
    )
    ranked = [(float(effect), int(block), head) for block, own in effects.items() for head, effect in enumerate(own)]
    ranked.sort(key=lambda entry: -entry[0])
    chosen = ranked[:heads]
    if not ranked[0][0] > 1e-6:  # float32 rounding
        warn_caller(
            f"no head of {model.id} raises the probability of the right answers of this task, so its function vector is likely to do nothing"
        )
    total = sum(_written(model, block, head, means[block][head]) for _, block, head in chosen)
    assert isinstance(total, torch.Tensor)
    named = [{"layer": block, "head": head, "effect": effect} for effect, block, head in chosen]
    record = record_of_tasks(model, tasks) | {
        "method": "fv", "positions": "last", "heads": named, "shots": n_shots, "prompts": prompts, "shuffled_prompts": shuffled_prompts,
        "only_correct": only_correct, "answered_right": len(right) if only_correct else None, "begin_token": begin_token, "seed": seed,
    }  # fmt: skip
    return SteeringVector({at: total.float()}, record)


def _begin_of(model: Model) -> int:
    token = model.tokenizer.bos_token_id
    if token is None:
        raise ModelError(f"{model.id}: its tokenizer has no token that begins a text: leave begin_token out")
    return int(token)


def _answered_right(model: Model, prompts: Sequence[tuple[Ids, int]]) -> list[int]:
    """The prompts after which the first token of the right answer is the likeliest one."""
    probes = [
        Probe((*ids, token), 0, score_from=len(ids), name=f"prompt {index}", margins=True)
        for index, (ids, token) in enumerate(prompts)
    ]
    scores = engine_of(model).run(probes, None, [0.0])
    return [index for index, (margins,) in enumerate(scores) if margins[0] > 0]


def _drawn(
    tasks: Sequence[TaskItem], n_shots: int, draw: random.Random, *, shuffle: bool, queries: Sequence[TaskItem] | None = None
) -> tuple[list[TaskItem], TaskItem]:
    """Demonstrations and a query, of ``queries`` if they are given; with the demonstrations' outputs shuffled among them if asked."""
    if queries is None:
        *shown, query = draw.sample(list(tasks), n_shots + 1)
    else:
        query = draw.choice(list(queries))
        shown = draw.sample([item for item in tasks if item is not query], n_shots)
    if shuffle:
        outputs = [item.output for item in shown]
        draw.shuffle(outputs)
        shown = [TaskItem(item.input, output) for item, output in zip(shown, outputs, strict=True)]
    return shown, query


def _prompt(model: Model, shown: Sequence[TaskItem], query: TaskItem, begin: int | None) -> tuple[Ids, int]:
    """Tokens of the prompt, which begins with ``begin``, and the first token of the right answer."""
    check_texts(model, (text for pair in (*shown, query) for text in (pair.input, pair.output)), "a prompt of the task")
    tokens = tokenize_task(model.tokenizer, shown, query)
    before = () if begin is None or tokens.prompt[:1] == (begin,) else (begin,)
    return (*before, *tokens.prompt), tokens.scored[0]


def _mean_heads(model: Model, prompts: Sequence[Ids]) -> dict[int, torch.Tensor]:
    """For each layer with attention float64 [heads, head width], the mean over the prompts' last tokens."""
    layers = layers_with_heads(model)
    kept = block_outputs(model, prompts, layers, lambda _, hidden: hidden[-1], "heads", ("last",))
    return {layer: torch.stack(kept[layer]).double().mean(0).view(n_heads(model, layer), -1) for layer in layers}


def _indirect_effects(
    model: Model, means: dict[int, torch.Tensor], prompts: Sequence[tuple[Ids, int]]
) -> dict[str, torch.Tensor]:
    """For each layer (as text) float64 [heads]: mean over prompts of P(right answer | head replaced) - P(right answer)."""
    patches = [
        Patch(layer, head * len(value), (head + 1) * len(value), value)
        for layer, own in means.items()
        for head, value in enumerate(own)
    ]
    patcher = Patcher(model, patches)
    total = torch.zeros(len(patches), dtype=torch.float64)
    for done, (ids, token) in enumerate(sorted(prompts, key=lambda prompt: -len(prompt[0])), 1):
        base, patched = patcher.run(ids, token)
        total += patched.exp() - torch.tensor(base, dtype=torch.float64).exp()
        report_progress(f"indirect effects of {len(patches)} heads: {done} of {len(prompts)} prompts")
    parts = torch.split(total / len(prompts), [len(own) for own in means.values()])
    return dict(zip(map(str, means), parts, strict=True))


def _written(model: Model, layer: int, head: int, output: torch.Tensor) -> torch.Tensor:
    """What the output projection writes for one head alone, float64 [width], without its bias."""
    projection, width = output_projection(model, layer)
    size = len(output)
    alone = torch.zeros(2, width, dtype=next(projection.parameters()).dtype, device=model.device)
    alone[1, head * size : (head + 1) * size] = output.to(alone)
    with torch.inference_mode():
        both: torch.Tensor = projection(alone[None])[0].double().cpu()
    return both[1] - both[0]
