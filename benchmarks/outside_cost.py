"""What steering costs, beside the code of von Rütte et al., Arditi et al., two libraries, a page of documentation and tinyBenchmarks."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from outside_case import EVERYWHERE, MULTIPLIERS, N_QUESTIONS, N_TEXTS, Case, Row, source

from pytest_steer import perplexity, propensity_curve, read_questions
from pytest_steer.data import Completion, Question
from pytest_steer.data.formats.open_assistant import best_replies
from pytest_steer.measures import Scope, capability, kl_at_answers, kl_curve, relative_mean_rise
from pytest_steer.measures.at_cost import matching_probability, pne


def guidance(case: Case, root: Path) -> Iterator[Row]:
    """Von Rütte et al. 2024: perplexity of replies, its arithmetic mean, and the perplexity-normalised effect."""

    class TraceDict(contextlib.nullcontext[dict[str, Any]]):
        """Stands in for baukit's, which is in no registry: keeps the outputs of modules, which the perplexity does not need."""

        def __init__(self, model: Any, names: Sequence[str]) -> None:
            self.seen: dict[str, Any] = {}
            super().__init__(self.seen)
            modules = dict(model.named_modules())
            self.handles = [modules[name].register_forward_hook(self.keep(name)) for name in names]

        def keep(self, name: str) -> Callable[..., None]:
            return lambda _module, _inputs, output: self.seen.update({name: types.SimpleNamespace(output=output)})

        def __exit__(self, *_: object) -> None:
            for handle in self.handles:
                handle.remove()

    sys.modules["baukit"] = types.ModuleType("baukit")
    sys.modules["baukit"].TraceDict = TraceDict  # type: ignore[attr-defined]
    sys.path.insert(0, str(root / "concept-guidance"))
    activations = importlib.import_module("concept_guidance.activations")
    tokenizer = case.model.tokenizer
    # Their window of scored tokens is the last n - 1, n = tokens after the prompt + 2. With a template that writes nothing but the two turns,
    # and a user's turn of two tokens, that is every token but the first: how a plain text is scored here.
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = "{{ messages[0]['content'] }}{{ messages[1]['content'] }}"

    def split(text: str) -> dict[str, Any]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return {"prompt": tokenizer.decode(ids[:2]), "completion": tokenizer.decode(ids[2:]), "label": 1}

    def measured(messages: list[dict[str, Any]], multiplier: float, with_: Any) -> np.ndarray[Any, Any]:
        with case.steered(multiplier) as model:
            found = activations.compute_activations(
                model, with_, messages, max_assistant_tokens=-1, return_metrics=True, representation="hiddens"
            )
        return np.array(found[2]["ppl"])

    texts, grid = case.texts, (0.0, *MULTIPLIERS)
    ppls = [float(np.nanmean(measured([split(text) for text in texts], one, bare))) for one in grid]
    own = [perplexity(case.model, texts, case.vector, multiplier=one, **EVERYWHERE) for one in grid]
    for multiplier, theirs, ours in zip(grid, ppls, own, strict=True):
        yield Row("arithmetic mean of perplexities", "`compute_activations`", f"{multiplier:g}", theirs, ours.mean_of_texts)
    for multiplier, theirs, ours in zip(grid[1:], ppls[1:], own[1:], strict=True):
        yield Row(
            "`ppl_delta_below`, arithmetic: rise",
            "`compute_activations`",
            f"{multiplier:g}",
            theirs / ppls[0] - 1,
            relative_mean_rise(ours, own[0]),
        )
    replies = [Completion(item.question, item.matching[0]) for item in case.items]
    messages = [{"prompt": one.prompt, "completion": one.text, "label": 1} for one in replies]
    whole = perplexity(case.model, replies, case.vector, multiplier=1.0, **EVERYWHERE).mean_of_texts
    yield Row(
        "of replies, as their code has it",
        "`compute_activations`",
        "1",
        float(np.nanmean(measured(messages, 1.0, tokenizer))),
        whole,
    )
    # The same tokens: theirs leaves the first one of a reply out, and scores the two that ChatML writes after it.
    longer = [Completion(one.prompt, one.text + "<|im_end|>\n") for one in replies]
    ended = perplexity(case.model, longer[:1]).probes
    if tokenizer.decode(ended[0].ids).rstrip().endswith("<|im_end|>"):
        yield from _same_tokens(case, replies, float(np.nanmean(measured(messages, 1.0, tokenizer))))
    yield from _pne(case, root, grid, own)
    if case.name == "SmolLM2":
        yield from _chosen(root)


def _chosen(root: Path) -> Iterator[Row]:
    """Which replies of OpenAssistant are the best: theirs and ours on messages made up here."""
    import datasets

    reader = importlib.import_module("concept_guidance.data.open_assistant")
    generator, messages = np.random.default_rng(0), []
    for index in range(600):
        parent = None if index < 100 else int(generator.integers(0, index))
        reply = parent is not None and messages[parent]["role"] == "prompter"
        labels = {"name": ["spam", "quality"], "value": [0.0, float(generator.integers(0, 20)) / 20], "count": [3, 3]}
        messages.append(
            {
                "message_id": f"m{index}", "parent_id": None if parent is None else f"m{parent}", "text": f"text {index}",
                "role": "assistant" if reply else "prompter", "lang": "en" if index % 3 else "de", "deleted": index % 17 == 0,
                "labels": labels if index % 5 else None,
            }
        )  # fmt: skip
    reader.load_dataset = lambda _name, cache_dir=None: datasets.DatasetDict({"train": datasets.Dataset.from_list(messages)})
    theirs = {
        (one["prompt"], one["completion"])
        for one in reader.get_open_assistant_messages(max_messages=40)
        if one["label"] == 1
    }
    entries = [(str(index), message) for index, message in enumerate(messages)]
    ours = {(one.prompt, one.text) for one in best_replies(entries, best=20, first_turns=True)}  # type: ignore[union-attr]
    yield Row(
        "best replies of OpenAssistant: how many of theirs are ours",
        "`get_open_assistant_messages`",
        "",
        len(theirs),
        len(theirs & ours),
    )


def _same_tokens(case: Case, replies: Sequence[Completion], theirs: float) -> Iterator[Row]:
    """Theirs against ours over the tokens that theirs scores: plain log-softmax of a plain forward over our tokens."""
    probes = perplexity(case.model, replies).probes
    end, values = case.model.tokenizer("<|im_end|>\n", add_special_tokens=False)["input_ids"], []
    for probe in probes:
        ids = [*probe.ids, *end]
        scores = case.logits(ids, 1.0)[0, :-1].log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
        values.append(float((-scores[probe.score_from :].mean()).exp()))  # from the second token of the reply on
    yield Row("of replies, over the tokens that they score", "`compute_activations`", "1", theirs, float(np.mean(values)))


def _pne(case: Case, root: Path, grid: Sequence[float], own: Sequence[Any]) -> Iterator[Row]:
    import matplotlib

    matplotlib.use("Agg")
    theirs = source(root / "concept-guidance/scripts/evaluate.py")
    curve = propensity_curve(case.model, case.items, case.vector, multipliers=list(grid), **EVERYWHERE)
    effects = np.array([matching_probability(curve.values[:, column]) for column in range(len(grid))])
    _, axes = theirs["plot_pne"](
        np.array(grid), effects, np.array([one.mean_of_texts for one in own]), params=(0.0, 0.0, 0.0)
    )
    points = dict(axes.collections[0].get_offsets().tolist())
    for column, multiplier in enumerate(grid[1:], start=1):
        unsteered = curve.values[:, 0]
        ours = pne(curve.values[:, column] - unsteered, unsteered, relative_mean_rise(own[column], own[0]))
        yield Row(
            "PNE of the same effects and perplexities",
            "`plot_pne`",
            f"{multiplier:g}",
            points[multiplier],
            float(ours or 0.0),
        )


def kl(case: Case, root: Path) -> Iterator[Row]:
    """Arditi et al. 2024: the divergence from the unsteered model."""
    sys.path.insert(0, str(root / "refusal_direction"))
    module = importlib.import_module("pipeline.submodules.select_direction")
    divergences = kl_curve(case.model, case.texts, case.vector, multipliers=MULTIPLIERS, scope=Scope(**EVERYWHERE))
    at_answers = kl_at_answers(case.model, case.items, case.vector, multipliers=MULTIPLIERS, scope=Scope(**EVERYWHERE))
    for multiplier, text_kl, item_kl in zip(MULTIPLIERS, divergences, at_answers, strict=True):
        pairs = [(case.logits(probe.ids)[:, :-1], case.logits(probe.ids, multiplier)[:, :-1]) for probe in text_kl.probes]
        for name, epsilon in (("epsilon 0", {"epsilon": 0.0}), ("epsilon 1e-6, as it is", {})):
            theirs = float(np.mean([float(module.kl_div_fn(*pair, **epsilon)) for pair in pairs]))
            yield Row(f"`kl_below`, {name}", "`kl_div_fn`", f"{multiplier:g}", theirs, text_kl.value)
        last = [
            module.kl_div_fn(
                case.logits(probe.ids[:-1])[:, -1:], case.logits(probe.ids[:-1], multiplier)[:, -1:], epsilon=0.0
            )
            for probe in item_kl.probes
        ]
        yield Row(
            "`kl_below`, on: items (last position)",
            "`kl_div_fn`",
            f"{multiplier:g}",
            float(torch.stack(last).mean()),
            item_kl.value,
        )


def hf_evaluate(case: Case, root: Path) -> Iterator[Row]:
    """Hugging Face evaluate: perplexity of a model folder, the steered one baked in."""
    import evaluate

    if case.name == "Qwen2":
        return  # has no bias to bake the vector into
    metric = evaluate.load(str(root / "evaluate/measurements/perplexity/perplexity.py"))
    for multiplier in (0.0, *MULTIPLIERS):
        found = metric.compute(
            data=case.texts, model_id=case.baked(multiplier), add_start_token=False, batch_size=1, device="cpu"
        )
        own = perplexity(case.model, case.texts, case.vector, multiplier=multiplier, **EVERYWHERE)
        yield Row(
            "arithmetic mean of perplexities",
            "`perplexity` measurement",
            f"{multiplier:g}",
            float(found["mean_perplexity"]),
            own.mean_of_texts,
        )
        geometric = float(np.exp(np.log(found["perplexities"]).mean()))
        yield Row(
            "geometric mean of the same", "`perplexity` measurement", f"{multiplier:g}", geometric, own.of_the_mean_text
        )


def strided(case: Case, root: Path) -> Iterator[Row]:
    """The loop over windows of the transformers documentation."""
    page = (root / "transformers/docs/source/en/perplexity.md").read_text()
    loop = next(block for block in page.split("```python") if "stride = 512" in block).split("```")[0]
    text, window, stride = " ".join(case.texts), 64, 24
    loop = loop.replace("model.config.n_positions", str(window)).replace("stride = 512", f"stride = {stride}")
    # From the second window on all targets are predicted, but theirs counts one less.
    mended = loop.replace("num_valid_tokens - batch_size", "num_valid_tokens - batch_size * (begin_loc == 0)")
    ids = case.model.tokenizer(text, return_tensors="pt")
    for multiplier in (0.0, *MULTIPLIERS):
        own = perplexity(case.model, [text], case.vector, multiplier=multiplier, window=window, stride=stride, **EVERYWHERE)
        for name, code in (("its tokens counted right", mended), ("as it is", loop)):
            with case.steered(multiplier) as model:
                names: dict[str, Any] = {"model": model, "encodings": ids, "device": "cpu"}
                exec(code, names)
            yield Row(
                f"perplexity, window {window}, stride {stride}, {name}",
                "loop of the page",
                f"{multiplier:g}",
                float(names["ppl"]),
                own.value,
            )


def harness(case: Case, _root: Path) -> Iterator[Row]:
    """lm-evaluation-harness: a multiple-choice task as a whole, and perplexity in windows, on its own steered model."""
    import lm_eval
    from lm_eval.api.instance import Instance
    from lm_eval.models.hf_steered import SteeredModel

    questions = read_questions().part(N_QUESTIONS)
    block = next(
        name for name, module in case.model.hf.base_model.named_modules() if module is case.model.blocks[case.layer]
    )
    tokenizer, window = case.model.tokenizer, 48
    start = tokenizer.decode([tokenizer.bos_token_id or tokenizer.eos_token_id])
    long = [" ".join(case.texts[index : index + 4]) for index in range(0, N_TEXTS, 4)]
    tokens = [tokenizer(text)["input_ids"] for text in long]
    whole = [tokenizer.decode(ids[: len(ids) // window * window], clean_up_tokenization_spaces=False) for ids in tokens]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "questions.jsonl")
        file.write_text(
            "".join(json.dumps({"q": one.question, "c": list(one.choices), "a": one.answer}) + "\n" for one in questions)
        )
        task = {
            "task": "own", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test",
            "output_type": "multiple_choice", "doc_to_text": "Question: {{q}}\nAnswer:", "doc_to_target": "a", "doc_to_choice": "c",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }  # fmt: skip
        for multiplier in (0.0, *MULTIPLIERS):
            vector, at = Path(folder, "vector.pt"), f"{multiplier:g}"
            torch.save(
                {
                    block: {
                        "steering_vector": case.direction,
                        "steering_coefficient": multiplier,
                        "action": "add",
                        "bias": None,
                    }
                },
                vector,
            )
            model = SteeredModel(str(case.folder), str(vector), device="cpu", dtype="float32", batch_size=1)
            found = lm_eval.simple_evaluate(model=model, tasks=[dict(task)], bootstrap_iters=0, log_samples=True)
            samples = sorted(found["samples"]["own"], key=lambda one: one["doc_id"])
            own = capability(case.model, questions, case.vector, multipliers=[multiplier], **EVERYWHERE)
            ahead = []
            for one, question in zip(samples, questions, strict=True):
                scores = [score for score, _ in one["filtered_resps"]]
                right = scores.pop(question.answer)
                ahead.append(right - max(scores))
            code = "`multiple_choice` task"
            yield Row(
                "right option ahead of the best wrong one, mean", code, at, float(np.mean(ahead)), float(own.margins.mean())
            )
            yield Row(
                "`capability_delta_below`: accuracy",
                f"{code}, `acc`",
                at,
                float(found["results"]["own"]["acc,none"]),
                float(own.accuracy[0]),
            )
            model._max_length = window
            for name, given in (("whole windows", whole), ("a rest after the last one", long)):
                requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in given]
                rolled = model.loglikelihood_rolling(requests, disable_tqdm=True)
                cut = perplexity(
                    case.model,
                    [start + text for text in given],
                    case.vector,
                    multiplier=multiplier,
                    window=window + 1,
                    stride=window,
                    **EVERYWHERE,
                )
                yield Row(
                    f"perplexity in windows, {name}",
                    "`loglikelihood_rolling`",
                    at,
                    float(np.exp(-sum(rolled) / cut.tokens.sum())),
                    cut.value,
                )


def anchors(case: Case, root: Path) -> Iterator[Row]:
    """tinyBenchmarks: the weighted accuracy over anchor items, with weights drawn here (theirs come in a pickle, which is not opened)."""
    theirs = importlib.util.spec_from_file_location("tinyBenchmarks_", root / "tinyBenchmarks/tinyBenchmarks/__init__.py")
    assert theirs is not None
    assert theirs.loader is not None
    module = importlib.util.module_from_spec(theirs)
    theirs.loader.exec_module(module)
    generator, count = np.random.default_rng(0), N_QUESTIONS
    weights = generator.dirichlet(np.ones(count))
    given = read_questions().part(count)
    questions = [
        Question(one.question, one.choices, one.answer, id=one.id, weight=float(weight))
        for one, weight in zip(given, weights, strict=True)
    ]
    own = capability(case.model, questions, case.vector, multipliers=[0.0, 2.0], **EVERYWHERE)
    bench = {
        "seen_examples": list(range(count)), "examples_weights": {"own": weights}, "optimal_lambdas": {"own": 1.0},
        "irt_parameters": {"A": generator.normal(size=(1, 2, count + 1)), "B": generator.normal(size=(1, 1, count + 1))},
        "scenarios_position": {"own": list(range(count + 1))}, "subscenarios_position": {"own": {"own": list(range(count + 1))}},
    }  # fmt: skip
    module.pickle = types.SimpleNamespace(load=lambda _handle: {"mmlu": bench})
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("tinyBenchmarks.pkl").touch()
        for column, multiplier in enumerate(own.multipliers.tolist()):
            found = module.evaluate(own.right[:, column].astype(float), "mmlu")["own"]["irt"]
            yield Row(
                "weighted accuracy", "`evaluate`, its `irt`", f"{multiplier:g}", float(found), float(own.accuracy[column])
            )
