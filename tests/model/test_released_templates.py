"""Chat templates and vocabularies of released models, where their folder is there: no refusal, the first scored token steered, values of
plain forwards over what transformers renders.

The folder (``templates/*.jinja`` and ``tokenizers/ggml-vocab-*.gguf``) is not part of the project. It is looked for in
``$PYTEST_STEER_CHAT_DATA`` and beside the checkout. What each template writes before a reply is not written down here; it is read off
transformers' own rendering of the whole conversation.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import plain
import plain_chat
import pytest
import torch
import transformers

from pytest_steer import ContrastItem, SteeringVector, propensity_curve, wrap_model
from pytest_steer.model import steered

FOLDER = Path(os.environ.get("PYTEST_STEER_CHAT_DATA") or Path(__file__).parents[2].parent / "shared" / "data" / "chat")
TEMPLATES = sorted(path.stem for path in FOLDER.glob("templates/*.jinja"))
VOCABULARIES = sorted(path.stem.removeprefix("ggml-vocab-") for path in FOLDER.glob("tokenizers/*.gguf"))

SCOPES = ("all", "after_prompt", "last")
GRID = (-1.0, 0.0, 1.0)
ITEMS = (
    ContrastItem("Is it so?\n(A) Yes\n(B) No", ("(A)",), ("(B)",), "lettered"),
    ContrastItem("Is it so?", (" Yes",), (" No",), "yes or no"),
    ContrastItem("Do you?", ("surely, I do",), ("no way at all",), "worded"),
    ContrastItem("When is it?", ("now", "Yes, soon"), ("some other day",), "several right answers"),
)
WIDTH = 16
MARKERS = re.compile(
    r"<\|[^|<>{}'\"]+\|>|<｜[^｜<>{}'\"]+｜>|\[/?[A-Z_]{3,}\]|</?(?:think|start_of_turn|end_of_turn|user|assistant|system)>|<SPECIAL_\d+>"
)

# Every trait of these templates has a template of ours, with which test_chat_templates.py tests the same every day.
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not (TEMPLATES and VOCABULARIES),
        reason=f"no chat templates and vocabularies of released models in {FOLDER.name}/: set PYTEST_STEER_CHAT_DATA to their folder",
    ),
    pytest.mark.parametrize("vocabulary", VOCABULARIES),
    pytest.mark.parametrize("template", TEMPLATES),
]


@pytest.fixture(autouse=True)
def _day(monkeypatch):
    plain_chat.fix_the_day(monkeypatch)


@cache
def _vocabulary(name):
    """A tokenizer with the markers of all templates, which are one token each on the models that they belong to."""
    # Not AutoTokenizer: to choose a class it reads the file a second way, which takes ten times as long, for the same tokens.
    found = transformers.PreTrainedTokenizerFast.from_pretrained(FOLDER / "tokenizers", gguf_file=f"ggml-vocab-{name}.gguf")
    markers = {marker for source in _sources().values() for marker in MARKERS.findall(source)}
    found.add_special_tokens({"additional_special_tokens": sorted(markers)})
    return found


@cache
def _sources():
    return {name: (FOLDER / "templates" / f"{name}.jinja").read_text(encoding="utf-8") for name in TEMPLATES}


@cache
def _hf(size):
    """A tiny random Llama; one for all templates of a vocabulary, since it has room for all their markers."""
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=8192,
    )  # fmt: skip
    torch.manual_seed(0)
    hf = transformers.LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for weights in hf.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.3)
    hf.generation_config.eos_token_id, hf.generation_config.pad_token_id = None, 0
    return hf


def _model(template, vocabulary):
    tokenizer = _vocabulary(vocabulary)
    tokenizer.chat_template = _sources()[template]
    return wrap_model(_hf(len(tokenizer)), tokenizer, template), tokenizer


VECTOR = SteeringVector({0: torch.linspace(-1, 1, WIDTH)})


def _rendered(tokenizer, question, **more):
    """transformers' own rendering; of the forms that templates take, the first that this one takes."""
    reply, opened = more.pop("reply", None), more.pop("opened", False)
    for parts in (False, True):
        for given in ({}, {"tools": []}):
            said = [{"role": "user", "content": question}] + [{"role": "assistant", "content": reply}] * (reply is not None)
            if parts:
                said = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in said]
            try:
                text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=opened, **given, **more)
            except Exception:  # templates raise what they like
                continue
            if question in text and (reply is None or reply in text):
                return text
    raise AssertionError("transformers cannot render this conversation")


def _reply(tokenizer, question, answer):
    """The whole conversation up to the end of its reply, out of any block of thought."""
    closed = ""
    for more in ({}, {"enable_thinking": False}):
        whole = _rendered(tokenizer, question, reply=answer, **more)
        prompt = whole[: whole.index(answer, whole.rindex(question) + len(question))]
        if not prompt.rstrip().endswith("<think>"):
            break
        closed = "</think>"
    else:
        prompt = prompt.rstrip() + closed
    turn = _rendered(tokenizer, question, **more)
    end = len(turn) if prompt.startswith(turn) else _part(prompt, turn, tokenizer)
    return plain_chat.Reply(prompt + answer, len(prompt), end, bare=not prompt[end:].strip(" "))


def _part(one, other, tokenizer):
    """Where two texts part, before the marker in which they do."""
    end = next(i for i in range(len(one)) if one[: i + 1] != other[: i + 1])
    spans = tokenizer(one, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return next(start for start, stop in spans if stop > end)


def _answers(tokenizer, item):
    lettered = item.matching[0].startswith("(")
    sides = []
    for side in (item.matching, item.not_matching):
        found = []
        for answer in side:
            reply = _reply(tokenizer, item.question, answer.strip())
            text = reply.text[:-1] if lettered else reply.text
            found.append(plain_chat.scored(tokenizer, replace(reply, text=text), skip=lettered))
        sides.append(found)
    every = [answer for side in sides for answer in side]
    if lettered:
        differ = next(i for i in range(min(len(a.ids) for a in every)) if len({a.ids[i] for a in every}) > 1)
        sides = [[plain_chat.Scored(a.ids[: differ + 1], differ, a.turn) for a in side] for side in sides]
        every = [answer for side in sides for answer in side]
    return sides, all(a.first == len(a.ids) - 1 and a.ids[: a.first] == every[0].ids[: every[0].first] for a in every)


def test_values_are_plain_forwards_over_the_templates_own_rendering(template, vocabulary):
    model, tokenizer = _model(template, vocabulary)
    scored = [_answers(tokenizer, item) for item in ITEMS]
    for scope in SCOPES:
        got = propensity_curve(model, ITEMS, VECTOR, multipliers=GRID, positions=scope).values
        for item, values, (sides, single) in zip(ITEMS, got, scored, strict=True):
            want = [plain_chat.propensity(model.hf, sides, single, VECTOR.directions, m, scope) for m in GRID]
            np.testing.assert_allclose(values, want, rtol=0, atol=1e-4, err_msg=f"{item.id}, {scope}")
            late = plain_chat.propensity(model.hf, sides, single, VECTOR.directions, 1.0, scope, late=True)
            assert abs(values[2] - late) > 1e-4, (item.id, scope)


def test_cached_generation_is_full_recomputation(template, vocabulary):
    model, tokenizer = _model(template, vocabulary)
    question = "Tell me more."
    prompt = _rendered(tokenizer, question, opened=True)
    ids = plain.ids_of(tokenizer, prompt, special=False)
    turn = _rendered(tokenizer, question)
    end = len(turn) if prompt.startswith(turn) else _part(prompt, turn, tokenizer)
    reply = _rendered(tokenizer, question, reply="surely")
    if not reply.startswith(prompt[:end]):  # the generation prompt is written unasked
        end = _part(prompt, reply, tokenizer)
    begins = plain_chat.scored(tokenizer, plain_chat.Reply(prompt + "x", len(prompt), end)).turn
    for scope, start in (("all", 1), ("after_prompt", min(begins, len(ids) - 1)), ("last", len(ids) - 1)):
        want = plain.greedy(model.hf, ids, 2, VECTOR.directions, 1.0, start, keep=1)
        with steered(model, VECTOR, positions=scope), torch.no_grad():
            out = model.hf.generate(input_ids=torch.tensor([ids]), max_new_tokens=2, do_sample=False, use_cache=True)
        assert out[0, len(ids) :].tolist() == want, scope
