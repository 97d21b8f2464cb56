"""Models that are not what they seem: refused where it can be known, a warning where it can only be suspected."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import builders
import plain
import pytest
import torch
from evidence import evidence_of

from pytest_steer import (
    ContrastItem,
    assert_ppl_delta_below,
    assert_steers,
    extract,
    load_model,
    perplexity,
    propensity_curve,
    read_items,
    read_texts,
    wrap_model,
)
from pytest_steer.core.errors import ModelError

VECTOR = builders.random_vector(1)
ITEMS = [ContrastItem(f"{n} " + builders.LONG + "\n(A) Slow\n(B) Quick", ("(A)",), ("(B)",), f"i{n}") for n in range(9)]


def saved(folder, hf, tokens=None):
    hf.save_pretrained(folder)
    (tokens or builders.tokenizer()).save_pretrained(folder)
    return folder


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_by_every_measure():
    """ "Yes" and "No" are its last tokens; what it is made of otherwise the model knows."""
    model = wrap_model(builders.random_hf("llama", vocab_size=262), builders.tokenizer(), "small")
    said = "belongs to another model"
    worded = [ContrastItem("Is it so?", ("Yes",), ("No",), "the worded one")]
    with pytest.raises(
        ModelError, match=rf"item the worded one: the tokenizer gives it token \d+ .*small has .*262 .*{said}"
    ):
        propensity_curve(model, worded, VECTOR)
    inside = [ContrastItem("Is it so? Yes", ("(A)",), ("(B)",), "inside")]
    for measure in (
        lambda: propensity_curve(model, inside, VECTOR),
        lambda: perplexity(model, ["Yes, it is."], VECTOR),
        lambda: extract.caa(model, inside * 2, layer=1),
    ):
        with pytest.raises(ModelError, match=said):
            measure()
    with pytest.raises(ModelError, match=said):  # none of its tokens for a first small forward
        propensity_curve(wrap_model(builders.random_hf("llama", vocab_size=20), builders.tokenizer(), "tiny"), ITEMS, VECTOR)


@pytest.mark.parametrize(
    ("spoilt", "refused"),
    [
        ("{{ message['content'][:20] }}", True),
        ("{{ message['content'][5:] }}", True),
        ("{{ message['content'] | lower }}", True),
        ("what to ask", True),
        ("{{ message['content'] | trim }}", False),
        ("{{ message['content'] | replace('\n', ' ') }}", False),
    ],
)
def test_a_template_that_drops_or_cuts_the_question(spoilt, refused):
    template = builders.CHATML.replace("{{ message['content'] }}", spoilt)
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(template), "spoilt")
    items = [ContrastItem("What to ask", ("Yes",), ("No",), "short"), ITEMS[0]]
    if not refused:
        propensity_curve(model, items, VECTOR, multipliers=[0, 1])
        return
    with pytest.raises(ModelError, match=r"item (short|i0): the chat template drops the question, or cuts it"):
        propensity_curve(model, items, VECTOR)


def test_a_question_that_stands_in_the_template_by_chance_is_not_there():
    template = builders.CHATML.replace("{{ message['content'] }}", "what to ask")
    model = wrap_model(builders.random_hf("llama"), builders.tokenizer(template), "spoilt")
    with pytest.raises(ModelError, match="item by chance: the chat template drops the question"):
        propensity_curve(model, [ContrastItem("what to ask", ("Yes",), ("No",), "by chance")], VECTOR)


# --- adapters ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("peft") is not None,
    reason="with peft installed the adapter is loaded, which the test below looks at",
)
def test_an_adapter_without_peft_is_refused(tmp_path):
    saved(tmp_path / "m", builders.random_hf("llama"))
    (tmp_path / "m" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds a PEFT adapter \(adapter_config.json\), and peft is not installed"):
        load_model(tmp_path / "m")
    (tmp_path / "m" / "config.json").unlink()
    with pytest.raises(ModelError, match="holds a PEFT adapter alone"):
        load_model(tmp_path / "m")


def test_an_adapter_is_loaded_with_peft_and_changes_the_model(tmp_path):
    peft = pytest.importorskip("peft")
    saved(tmp_path, builders.random_hf("llama"))
    base = load_model(tmp_path)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wanted = peft.get_peft_model(builders.random_hf("llama"), settings)
    wanted.save_pretrained(tmp_path)
    model, ids = load_model(tmp_path), torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, wanted(ids).logits)
        assert not torch.allclose(model.hf(ids).logits, base.hf(ids).logits)
    assert model.fingerprint != base.fingerprint
    propensity_curve(model, ITEMS, VECTOR, multipliers=[0, 1])


# --- what can only be suspected ------------------------------------------------------------------------------------------


def shuffled(tokens):
    """The same tokenizer, its words dealt out anew."""
    state = json.loads(tokens.backend_tokenizer.to_str())
    words = state["model"]["vocab"]
    plain_words = [word for word in words if not word.startswith("<")]
    dealt = dict(zip(plain_words, [words[word] for word in [*plain_words[7:], *plain_words[:7]]], strict=True))
    state["model"]["vocab"] = {**words, **dealt}
    return type(tokens)(
        tokenizer_object=type(tokens.backend_tokenizer).from_str(json.dumps(state)), chat_template=tokens.chat_template
    )


def test_a_tokenizer_with_shuffled_words_is_a_warning_of_claims_about_items_and_texts():
    right = load_model("builtin:tiny")
    wrong = wrap_model(right.hf, shuffled(right.tokenizer), "shuffled")
    vector = builders.random_vector(1, width=right.width)
    data = Path(__file__).parents[2] / "example_suites" / "builtin" / "data"
    items, texts = read_items(data / "quiz_test.json")[:12], read_texts(data / "neutral.txt")[:12]
    for model, warned in ((right, False), (wrong, True)):
        steers = evidence_of(assert_steers, model, vector, items, steerability=-50)
        costs = evidence_of(assert_ppl_delta_below, model, vector, texts, limit=0.5)
        for found in (steers, costs):
            assert any("worse than chance" in text for text in found.warnings) == warned
            assert ("worse than chance" in found.message) == warned
    # Against plain forwards: the geometric mean of the texts' perplexities.
    mean = sum(plain.nll(wrong.hf, wrong.tokenizer, text)[0] for text in texts) / len(texts)
    assert mean > math.log(right.vocabulary)
    (warning,) = [text for text in costs.warnings if "worse than chance" in text]
    assert f"perplexity {math.exp(mean):,.0f} (geometric mean), and {right.vocabulary:,} for" in warning
