"""The built-in model, its tokenizer, the scripts that made it and the example suite's data."""

import functools
import hashlib
import importlib
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "pytest_steer" / "builtin" / "tiny"
DATA = ROOT / "example_suites" / "builtin" / "data"
BEHAVIOURS = ["cheer", "approval", "loud", "quiz"]


def tool(name):
    """A module of tools/, which is not a package."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


@functools.cache
def the_tokenizer():
    return transformers.AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def tokenizer():
    return the_tokenizer()


@pytest.fixture(scope="module")
def manifest():
    return json.loads((TINY / "MANIFEST.json").read_text())


def read(name):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the shipped folder ------------------------------------------------------------------------------------------------


def test_files_are_those_of_the_manifest(manifest):
    assert sha256(TINY / "model.safetensors") == manifest["model_sha256"]
    assert sha256(TINY / "tokenizer.json") == manifest["tokenizer_sha256"]


def test_manifest_names_the_scripts_that_are_here(manifest):
    assert tool("train_tiny").script_hash() == manifest["script_sha256"], "the scripts have changed: train the model again"


def test_folder_is_small():
    assert sum(path.stat().st_size for path in TINY.iterdir()) < 4_000_000


@pytest.mark.parametrize(
    ("system", "question", "answer"),
    [
        ("You are a cheerful guide.", "Do you like the soup that Anna made?", "Yes"),
        ("You are a gloomy guide.", "Do you like the soup that Anna made?", "No"),
        (None, "Which one is a bird?\n(A) oak\n(B) crow", "(B)"),
    ],
)
def test_model_loads_and_talks(system, question, answer, tokenizer, manifest):
    model = transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    assert model.num_parameters() == manifest["parameters"]
    chat = [{"role": "system", "content": system}] if system else []
    prompt = tokenizer.apply_chat_template(
        [*chat, {"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**ids, max_new_tokens=12)
    assert out[0, -1] == tokenizer.eos_token_id
    assert tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).startswith(answer)


# --- the tokenizer -----------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_round_trips(text):
    tokenizer = the_tokenizer()
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_answer_tokens(tokenizer):
    assert [tokenizer.decode(i) for i in tokenizer("(A)", add_special_tokens=False)["input_ids"]] == ["(", "A", ")"]
    assert [tokenizer.decode(i) for i in tokenizer("(B)", add_special_tokens=False)["input_ids"]] == ["(", "B", ")"]
    for word in ["Yes", " Yes", "No", " No"]:
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_no_special_tokens_are_added_unasked(tokenizer):
    assert tokenizer("The mill is red.")["input_ids"] == tokenizer("The mill is red.", add_special_tokens=False)["input_ids"]
    assert None not in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1, max_size=5))
def test_chat_template_is_the_rendering_that_the_model_was_trained_on(messages):
    chat = [{"role": role, "content": content} for role, content in messages]
    rendered = the_tokenizer().apply_chat_template(chat, tokenize=False)
    assert rendered == tool("tiny_text").render(messages)
    with_prompt = the_tokenizer().apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert with_prompt == rendered + "<|im_start|>assistant\n"


# --- the suite's data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_answers_leave_the_prompt_tokens_as_they_are(behaviour, tokenizer):
    train = read(f"{behaviour}_train.json")
    for item in read(f"{behaviour}_test.json") + (train if isinstance(train, list) else []):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": item["question"]}], add_generation_prompt=True, tokenize=False
        )
        answers = [item["answer_matching_behavior"].strip(), item["answer_not_matching_behavior"].strip()]
        if answers[0].startswith("("):
            prompt, answers = prompt + "(", [answer[1] for answer in answers]
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tails = []
        for answer in answers:
            joint = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
            assert joint[: len(before)] == before
            assert len(joint) > len(before)
            tails.append(joint[len(before) :])
        assert tails[0] != tails[1]
        assert len(tails[0]) == len(tails[1])


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_test_items_are_held_out(behaviour):
    text = tool("tiny_text")
    test = [item["question"] for item in read(f"{behaviour}_test.json")]
    assert len(test) == len(set(test)) >= 60
    train = read(f"{behaviour}_train.json")
    if isinstance(train, list):
        assert not set(test) & {item["question"] for item in train}
    else:
        assert not set(train["positive"]) & set(train["negative"])
        everything = "\n".join(train["positive"] + train["negative"])
        assert not any(question in everything for question in test)
    for question in test:
        assert text.reserved(question), "the training text may ask this question"


def test_training_text_never_asks_a_test_question():
    asked = "\n".join(tool("tiny_text").documents(0, 5000))
    for behaviour in BEHAVIOURS:
        assert not any(item["question"] in asked for item in read(f"{behaviour}_test.json"))


def test_quiz_letters_are_balanced():
    for part in ["train", "test"]:
        letters = [item["answer_matching_behavior"] for item in read(f"quiz_{part}.json")]
        assert letters.count("(A)") == letters.count("(B)")


def test_neutral_text_carries_no_mood_word():
    text = tool("tiny_text")
    lines = (DATA / "neutral.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) >= 60
    traits = [word for pair in text.TRAIT_WORDS for side in pair for word in side]
    words = set(" ".join(lines).replace(".", " ").split())
    assert not words & set(traits)


# --- the scripts -------------------------------------------------------------------------------------------------------


def test_text_follows_its_seed():
    documents = tool("tiny_text").documents
    assert documents(3, 200) == documents(3, 200) != documents(4, 200)


def test_suite_data_is_what_the_script_writes():
    for name, value in tool("make_tiny_suite_data").make(0).items():
        if name.endswith(".txt"):
            assert (DATA / name).read_text(encoding="utf-8").splitlines() == value
        else:
            assert read(name) == value


def test_a_short_training_run_repeats_itself(tmp_path):
    random_state, threads = torch.get_rng_state(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        build = tool("train_tiny").build
        runs = [
            build(tmp_path / name, steps=20, batch_size=8, width=32, layers=2, vocabulary=512, log=None) for name in "ab"
        ]
    finally:
        torch.set_rng_state(random_state)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
    assert runs[0] == runs[1]
    assert (
        sha256(tmp_path / "a" / "model.safetensors")
        == sha256(tmp_path / "b" / "model.safetensors")
        == runs[0]["model_sha256"]
    )
    assert runs[0]["training_loss"] < 0.98 * runs[0]["first_loss"]
