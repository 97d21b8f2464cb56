"""A second implementation, as plain as can be, that the package's fast one is held against.

Written from the definitions, not from the package: one prompt at a time, a batch of one, one hook written out by hand, no
padding, no cache, nothing shared. Uses torch, numpy and the transformers model only.

Blocks are found by class name, from a list; a class that is not in it has them at ``model.layers`` or fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_LAYERS = "model.layers"
BLOCKS = {
    **dict.fromkeys(
        ("BartForCausalLM", "BigBirdPegasusForCausalLM", "BlenderbotForCausalLM", "BlenderbotSmallForCausalLM", "MarianForCausalLM",
         "MBartForCausalLM", "MvpForCausalLM", "OPTForCausalLM", "PegasusForCausalLM", "PLBartForCausalLM", "TrOCRForCausalLM",
         "WhisperForCausalLM"),
        "model.decoder.layers",
    ),
    **dict.fromkeys(
        ("BloomForCausalLM", "CodeGenForCausalLM", "CTRLLMHeadModel", "FalconForCausalLM", "GPT2LMHeadModel",
         "GPTBigCodeForCausalLM", "GPTJForCausalLM", "GPTNeoForCausalLM", "OpenAIGPTLMHeadModel"),
        "transformer.h",
    ),
    **dict.fromkeys(
        ("FuyuForCausalLM", "Gemma3ForConditionalGeneration", "Gemma4ForConditionalGeneration",
         "Gemma4UnifiedForConditionalGeneration", "MossTranscribeDiarizeForConditionalGeneration"),
        "model.language_model.layers",
    ),
    **dict.fromkeys(("BertLMHeadModel", "BertGenerationDecoder", "BigBirdForCausalLM", "MegatronBertForCausalLM"), "bert.encoder.layer"),
    **dict.fromkeys(
        ("CamembertForCausalLM", "RobertaForCausalLM", "XLMRobertaForCausalLM", "XLMRobertaXLForCausalLM", "XmodForCausalLM"),
        "roberta.encoder.layer",
    ),
    **dict.fromkeys(("FalconMambaForCausalLM", "MambaForCausalLM", "Mamba2ForCausalLM"), "backbone.layers"),
    **dict.fromkeys(("DbrxForCausalLM", "MptForCausalLM"), "transformer.blocks"),
    "BioGptForCausalLM": "biogpt.layers",
    "CpmAntForCausalLM": "cpmant.encoder.layers",
    "Data2VecTextForCausalLM": "data2vec_text.encoder.layer",
    "ElectraForCausalLM": "electra.encoder.layer",
    "ErnieForCausalLM": "ernie.encoder.layer",
    "GitForCausalLM": "git.encoder.layer",
    "GPTNeoXForCausalLM": "gpt_neox.layers",
    "GPTNeoXJapaneseForCausalLM": "gpt_neox_japanese.layers",
    "RemBertForCausalLM": "rembert.encoder.layer",
    "RobertaPreLayerNormForCausalLM": "roberta_prelayernorm.encoder.layer",
    "RoCBertForCausalLM": "roc_bert.encoder.layer",
    "RoFormerForCausalLM": "roformer.encoder.layer",
    "RwkvForCausalLM": "rwkv.blocks",
    "xLSTMForCausalLM": "backbone.blocks",
}  # fmt: skip


def blocks_of(hf: Any) -> Any:
    return hf.get_submodule(BLOCKS.get(type(hf).__name__, _LAYERS))


# --- text ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rendered:
    turn: str
    prompt: str
    matching: tuple[str, ...]
    not_matching: tuple[str, ...]
    chat: bool


def render(tokenizer: Any, item: Any, system: str | None = None) -> Rendered:
    """CONTRACT: the template's own rendering of the conversation with a reply, up to the reply (and "(" of a lettered one); without a
    template "Question: ..." followed by "\\n\\nAnswer: ("."""
    answers = [*item.matching, *item.not_matching]
    lettered = all(len(a.strip()) == 3 and a.strip()[0] == "(" and a.strip()[2] == ")" for a in answers)
    chat = bool(tokenizer.chat_template)
    if chat:
        messages = [{"role": "user", "content": item.question}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        turn = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        said = answers[0].strip()
        whole = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": said}], tokenize=False)
        prompt = whole[: whole.rindex(said)]
    else:
        turn = (system + "\n\n" if system else "") + "Question: " + item.question
        prompt = turn + "\n\nAnswer: "

    def answer(text: str) -> str:
        return text.strip()[1] if lettered else text.strip()

    if lettered:
        prompt += "("
    return Rendered(turn, prompt, tuple(map(answer, item.matching)), tuple(map(answer, item.not_matching)), chat)


def ids_of(tokenizer: Any, text: str, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special)["input_ids"])


# --- one forward ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def logits(
    hf: Any,
    ids: list[int],
    directions: dict[int, Any] | None = None,
    m: float = 0.0,
    start: int = 0,
    keep: int | None = None,
) -> Any:
    """Logits [tokens, vocabulary] of one sequence, float32, with m * direction added from token ``start`` on; of the last ``keep`` tokens
    alone where a vocabulary is large."""

    def hook_for(direction: Any) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, (tuple, list)) else output
            changed = hidden.clone()
            changed[0, start:] = hidden[0, start:] + m * direction
            if isinstance(output, list):
                return [changed, *output[1:]]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    handles = [blocks_of(hf)[layer].register_forward_hook(hook_for(d)) for layer, d in (directions or {}).items()]
    try:
        kept = {} if keep is None else {"logits_to_keep": keep}
        return hf(input_ids=torch.tensor([ids]), use_cache=False, **kept).logits[0].float()
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def outputs(hf: Any, ids: list[int]) -> list[Any]:
    """Output [tokens, width] of every block for one sequence."""
    found = []

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, (tuple, list)) else output)[0].clone().float())

    handles = [block.register_forward_hook(hook) for block in blocks_of(hf)]
    try:
        hf(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def greedy(
    hf: Any, ids: list[int], n: int, directions: dict[int, Any], m: float, start: int, keep: int | None = None
) -> list[int]:
    """n greedy tokens, each from a whole forward over everything so far."""
    all_ids = list(ids)
    for _ in range(n):
        all_ids.append(int(logits(hf, all_ids, directions, m, start, keep=keep)[-1].argmax()))
    return all_ids[len(ids) :]


# --- scores --------------------------------------------------------------------------------------------------------------


def scores(hf: Any, probe: Any, directions: dict[int, Any], m: float) -> np.ndarray:
    """What a probe asks for: logits of its candidates after the last token, margins of an answer's tokens (each largest other logit
    looked for by itself) and of what ends it, or the log-likelihoods of its tokens."""
    rows, ids = logits(hf, list(probe.ids), directions, m, probe.steer_from).double(), probe.ids
    if probe.candidates is not None:
        return rows[-1][list(probe.candidates)].numpy()
    places = range(probe.score_from, len(ids))
    if not probe.margins:
        return np.array([float(rows[at - 1].log_softmax(0)[ids[at]]) for at in places])
    found = []
    for row, right in [*((rows[at - 1].tolist(), (ids[at],)) for at in places), (rows[-1].tolist(), probe.ends)]:
        if right is not None:
            found.append(max(row[token] for token in right) - max(x for token, x in enumerate(row) if token not in right))
    return np.array(found)


def start_of(scope: str, turn_tokens: int, prompt_tokens: int, include_first: bool = False) -> int:
    """The first steered token: ``all`` every one, ``after_prompt`` from the first after the user's turn, ``last`` from the
    last before the answer; the first token of all only with ``include_first``."""
    if scope == "all":
        start = 0
    elif scope == "after_prompt":
        start = turn_tokens
    else:
        start = prompt_tokens - 1
    if start == 0 and not include_first:
        start = 1
    return start


def mean_loglikelihood(rows: Any, ids: list[int], first: int) -> float:
    """Mean log-likelihood of ids[first:] given what stands before each."""
    found = []
    for position in range(first, len(ids)):
        row = rows[position - 1].double()
        found.append(float(row[ids[position]]) - float(torch.logsumexp(row, 0)))
    return sum(found) / len(found)


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def answer_ids(tokenizer: Any, text: Rendered, answer: str) -> tuple[list[int], int]:
    """Tokens of the prompt with an answer, and which of them is the first to hold a character of the answer."""
    found = tokenizer(text.prompt + answer, add_special_tokens=not text.chat, return_offsets_mapping=True)
    ends = [end for _, end in found["offset_mapping"]]
    return list(found["input_ids"]), next(i for i, end in enumerate(ends) if end > len(text.prompt))


def answer_sides(tokenizer: Any, item: Any, system: str | None = None) -> tuple[list[list[tuple[list[int], int]]], int]:
    """For each side the tokens of its answers with their prompt, and where each answer begins; and how many tokens the turn has."""
    text = render(tokenizer, item, system)
    turn_tokens = len(ids_of(tokenizer, text.turn, special=not text.chat))
    sides = [[answer_ids(tokenizer, text, a) for a in side] for side in (text.matching, text.not_matching)]
    every = [ids for side in sides for ids, _ in side]
    if text.prompt.endswith("("):  # letters
        differ = next(i for i in range(min(map(len, every))) if len({ids[i] for ids in every}) > 1)
        sides = [[(ids[: differ + 1], differ) for ids, _ in side] for side in sides]
    return sides, turn_tokens


def likelihoods(
    hf: Any, tokenizer: Any, item: Any, directions: dict[int, Any], m: float, scope: str, summed: bool = False
) -> list[float]:
    """For each side the mean (or sum) of the log-likelihoods of its answer's tokens; alternatives as in :func:`propensity`."""
    sides, turn_tokens = answer_sides(tokenizer, item)
    totals = []
    for side in sides:
        values = []
        for ids, first in side:
            start = start_of(scope, min(turn_tokens, first - 1), first)
            mean = mean_loglikelihood(logits(hf, ids, directions, m, start), ids, first)
            values.append(mean * (len(ids) - first) if summed else mean)
        totals.append(log_sum_exp(values))
    return totals


def propensity(
    hf: Any,
    tokenizer: Any,
    item: Any,
    directions: dict[int, Any],
    m: float,
    scope: str,
    include_first: bool = False,
    system: str | None = None,
    summed: bool = False,
) -> float:
    """Logit of the matching answer minus that of the other; letters at the first token that differs; for answers of several tokens
    the difference of the mean token log-likelihoods (or of their sums); alternatives count as the log of their summed exponentials."""
    sides, turn_tokens = answer_sides(tokenizer, item, system)
    single = all(first == len(ids) - 1 and ids[:first] == sides[0][0][0][:first] for side in sides for ids, first in side)
    totals = []
    for side in sides:
        values = []
        for ids, first in side:
            start = start_of(scope, min(turn_tokens, first - 1), first, include_first)
            if single:
                values.append(float(logits(hf, ids[:first], directions, m, start)[-1][ids[-1]]))
            else:
                mean = mean_loglikelihood(logits(hf, ids, directions, m, start), ids, first)
                values.append(mean * (len(ids) - first) if summed else mean)
        totals.append(log_sum_exp(values))
    return totals[0] - totals[1]


def curve(hf: Any, tokenizer: Any, items: Any, directions: Any, grid: Any, scope: str, **more: Any) -> np.ndarray:
    return np.array([[propensity(hf, tokenizer, item, directions, m, scope, **more) for m in grid] for item in items])


def slopes(values: np.ndarray, grid: Any) -> np.ndarray:
    return np.array([np.polyfit(np.asarray(grid, float), row, 1)[0] for row in values])


def nll(hf: Any, tokenizer: Any, text: str, directions: Any = None, m: float = 0.0, start: int = 1) -> tuple[float, int]:
    """Mean negative log-likelihood of every token but the first, and their number."""
    ids = ids_of(tokenizer, text, special=True)
    return -mean_loglikelihood(logits(hf, ids, directions, m, start), ids, 1), len(ids) - 1


def perplexity(per_text: list[tuple[float, int]]) -> float:
    total = sum(value * n for value, n in per_text)
    return math.exp(total / sum(n for _, n in per_text))


# --- vectors -------------------------------------------------------------------------------------------------------------


def caa(hf: Any, tokenizer: Any, items: Any, layer: int) -> Any:
    """Mean over items of the residual at the answer letter: with the matching answer minus with the other one."""
    differences = []
    for item in items:
        text = render(tokenizer, item)
        one = outputs(hf, ids_of(tokenizer, text.prompt + text.matching[0], not text.chat))[layer][-1]
        other = outputs(hf, ids_of(tokenizer, text.prompt + text.not_matching[0], not text.chat))[layer][-1]
        differences.append(one.double() - other.double())
    return sum(differences) / len(differences)


def mean_difference(
    hf: Any, tokenizer: Any, positive: list[str], negative: list[str], layer: int, readout: str = "mean"
) -> Any:
    """Mean over texts of the mean over tokens but the first, positive minus negative."""

    def mean_of(texts: list[str]) -> Any:
        found = []
        for text in texts:
            hidden = outputs(hf, ids_of(tokenizer, text, special=True))[layer].double()
            found.append(hidden[1:].mean(0) if readout == "mean" else hidden[-1])
        return sum(found) / len(found)

    return mean_of(positive) - mean_of(negative)
