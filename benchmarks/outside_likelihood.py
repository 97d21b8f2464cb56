"""What steering does to answers, beside the code of Pres et al., CAA and Tan et al."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from outside_case import EVERYWHERE, MULTIPLIERS, Case, Row, cell, source

from pytest_steer import propensity_curve
from pytest_steer.measures import answer_likelihoods, normalised_changes
from pytest_steer.measures.at_cost import matching_probability


def pres(case: Case, root: Path) -> Iterator[Row]:
    """Pres et al. 2024: likelihoods of continuations, and the metric over quartiles."""
    own = answer_likelihoods(case.model, case.items, case.vector, multipliers=[0.0, *MULTIPLIERS], **EVERYWHERE)
    # The matching answers come first, then the others, as in their files.
    probes = [*own.probes[0::2], *own.probes[1::2]]
    tokenizer = case.model.tokenizer
    texts = [tokenizer.decode(probe.ids, clean_up_tokenization_spaces=False) for probe in probes]
    assert [tuple(ids) for ids in tokenizer(texts)["input_ids"]] == [probe.ids for probe in probes]
    width = max(len(probe.ids) for probe in probes)
    known = {probe.ids: probe.score_from for probe in probes}

    def mask_tokens(tokens: torch.Tensor) -> torch.Tensor:
        # Theirs finds Llama 2's [/INST] by its number; their README says to adapt it to other tokenizers.
        rows = [tuple(row.tolist()) for row in tokens]
        starts = [
            next(width - len(ids) + first for ids, first in known.items() if row[width - len(ids) :] == ids) for row in rows
        ]
        return torch.arange(width)[None] >= torch.tensor(starts)[:, None]

    theirs = source(root / "steer_wrk/experiments/calc_steer.py", mask_tokens=mask_tokens, print=lambda *_: None)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    likelihoods = {}
    with tempfile.NamedTemporaryFile(suffix=".pt") as file, torch.no_grad(), _tuples(case):
        torch.save(case.direction, file.name)
        for multiplier in own.multipliers.tolist():
            found = theirs["get_steer_like"](case.model.hf, tokenizer, texts, file.name, case.layer, multiplier)
            likelihoods[multiplier] = torch.tensor(found, dtype=torch.float64)
    tokens = torch.tensor([len(probe.ids) - probe.score_from for probe in probes])
    metric, half = cell(root / "steer_wrk/src/gen_visuals.ipynb", "calc_steer_metric"), len(probes) // 2
    for multiplier in MULTIPLIERS:
        # Theirs is the sum over the continuation, over all tokens of the padded row; ours is over the continuation's own tokens.
        base, steered = (likelihoods[one] * (width - 1) / tokens for one in (0.0, multiplier))
        change, at = steered - base, f"{multiplier:g}"
        matching, other = own.changes(multiplier)
        yield Row(
            "`promotes`: mean change of the matching",
            "`get_steer_like`",
            at,
            float(change[:half].mean()),
            float(matching.mean()),
        )
        yield Row(
            "`suppresses`: mean change of the others",
            "`get_steer_like`",
            at,
            float(change[half:].mean()),
            float(other.mean()),
        )
        column, zero = own.column(multiplier), own.column(0.0)
        pairs = [(side[:, zero], side[:, column]) for side in (own.matching, own.not_matching)]
        normalised = normalised_changes(*pairs)
        assert normalised is not None
        for name, scores in (
            ("on the same likelihoods", metric(base, steered)),
            ("as their code has it", metric(likelihoods[0.0], likelihoods[multiplier])),
        ):
            for quarter in (0, 3):
                label = f"normalised, {'first quarter' if not quarter else 'all'}, {name}"
                yield Row(f"promoted {label}", "`calc_steer_metric`", at, scores[quarter][0], normalised.promoted[quarter])
                yield Row(
                    f"suppressed {label}", "`calc_steer_metric`", at, scores[quarter][1], normalised.suppressed[quarter]
                )


@contextlib.contextmanager
def _tuples(case: Case) -> Iterator[None]:
    """The steered block returns a tuple, as in the transformers of that time; the next block takes what it is now."""
    block, after = case.model.blocks[case.layer], case.model.blocks[case.layer + 1]
    handles = [
        block.register_forward_hook(lambda _module, _inputs, output: (output, None)),
        after.register_forward_pre_hook(lambda _module, inputs: (inputs[0][0], *inputs[1:])),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def caa(case: Case, root: Path) -> Iterator[Row]:
    """Panickssery et al. 2023: the probability of the matching letter, with the functions as the steering-vectors tests keep them."""
    theirs = source(root / "steering-vectors/tests/_original_caa/helpers.py")
    curve = propensity_curve(
        case.model, case.lettered, case.vector, multipliers=[0.0, *MULTIPLIERS], positions="after_prompt"
    )
    for column, multiplier in enumerate(curve.multipliers.tolist()):
        shares = []
        for probe in curve.probes:

            def add(
                _module: Any, _inputs: Any, output: torch.Tensor, probe: Any = probe, dose: float = multiplier
            ) -> torch.Tensor:
                places = torch.arange(output.shape[1])[None]
                added = theirs["add_vector_after_position"](
                    matrix=output.clone(),
                    vector=dose * case.direction,
                    position_ids=places,
                    after=probe.steer_from - 1,
                    do_projection=False,
                )
                assert isinstance(added, torch.Tensor)
                return added

            handle = case.model.blocks[case.layer].register_forward_hook(add)
            with torch.no_grad():
                logits = case.model.hf(input_ids=torch.tensor([probe.ids]), use_cache=False).logits
            handle.remove()
            matching, other = theirs["get_a_b_probs"](logits, *probe.candidates)
            shares.append(matching / (matching + other))
        ours = matching_probability(curve.values[:, column])
        yield Row(
            "P(matching) against the other letter",
            "`get_a_b_probs`, `add_vector_after_position`",
            f"{multiplier:g}",
            float(np.mean(shares)),
            ours,
        )


def tan(case: Case, root: Path) -> Iterator[Row]:
    """Tan et al. 2024: propensities and steerability, whole, with the hooks of the package steering-vectors."""
    import steering_vectors

    sys.path.insert(0, str(root / "steering-bench"))
    core = {
        name: importlib.import_module(f"steering_bench.{name}")
        for name in ("core.pipeline", "core.hook", "core.evaluate", "core.types", "metric", "core.propensity")
    }
    types_, grid = core["core.types"], np.array([-1.5, -1, -0.5, 0, 0.5, 1, 1.5])
    vector = steering_vectors.SteeringVector({case.layer: case.direction}, "decoder_block")

    class WithoutSpace(core["core.pipeline"].Pipeline):  # type: ignore[misc]
        """Theirs writes a space before the reply, which a template that ends its header with a line break has not."""

        def build_full_prompt(self, completion: Any) -> str:
            return str(self.build_generation_prompt(completion) + completion.response)

    def formatter(prompt: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": prompt}]

    curve = propensity_curve(case.model, case.lettered, case.vector, multipliers=grid.tolist(), positions="last")
    ways = (
        ("letter only", WithoutSpace, ")"),
        ("with the bracket after the letter", WithoutSpace, ""),
        ("as their code has it", core["core.pipeline"].Pipeline, ""),
    )
    for name, pipeline_class, cut in ways:
        examples = [
            types_.Example(
                *(
                    types_.Completion(item.question, side[0].strip().removesuffix(cut or "\0"))
                    for side in (item.matching, item.not_matching)
                )
            )
            for item in case.lettered
        ]
        found = core["core.evaluate"].evaluate_propensities_on_dataset(
            pipeline_class(case.model.hf, case.model.tokenizer, formatter),
            core["core.hook"].SteeringHook(vector, layer=case.layer),
            examples,
            core["core.propensity"].LogProbDifference(),
            grid,
            show_progress=False,
        )
        slopes = core["metric"].get_steerability_slope(grid, found)
        code = "`evaluate_propensities_on_dataset`"
        yield Row(f"mean propensity, {name}", code, "1", float(found[:, 5].mean()), float(curve.values[:, 5].mean()))
        yield Row(
            f"`steers`: steerability, {name}",
            "`get_steerability_slope`",
            "-1.5 to 1.5",
            float(slopes.mean()),
            float(curve.slopes.mean()),
        )
        yield Row(
            f"share with a slope of at most 0, {name}",
            "`get_steerability_slope`",
            "-1.5 to 1.5",
            float((slopes <= 0).mean()),
            float((curve.slopes <= 0).mean()),
        )
