"""A text that is far too long is refused before all of it is tokenised."""

from __future__ import annotations

import builders
import pytest

from pytest_steer import ContrastItem, TaskItem, extract, generate, perplexity, propensity_curve, task_accuracy
from pytest_steer.core.errors import DataError
from pytest_steer.model.tokens import check_texts

LONG = "Is this a question, or is it not? " * 60_000  # 2 MB; the model takes 512 tokens
ITEM = ContrastItem(question=LONG, matching=("Yes",), not_matching=("No",))
ANSWER = ContrastItem(question="Is it?", matching=("Yes",), not_matching=(LONG,))
TASK = TaskItem(LONG, "cold")
SHORT = [TaskItem(word, word) for word in "abcdefghijkl"]


@pytest.mark.parametrize(
    "measure",
    [
        lambda model: extract.caa(model, [ITEM], layer=1),
        lambda model: extract.caa(model, [ANSWER], layer=1),
        lambda model: extract.mean_difference(model, [LONG], ["b c"], layer=1),
        lambda model: extract.icv(model, ([LONG, "a"], ["b", "c"])),
        lambda model: extract.fv(model, [TASK, *SHORT[:1]], n_shots=1, prompts=2),
        lambda model: propensity_curve(model, [ITEM], None),
        lambda model: perplexity(model, [LONG], None),
        lambda model: task_accuracy(model, [TASK], None),
        lambda model: generate(model, [LONG], builders.random_vector(1), multipliers=[0], max_new_tokens=1),
    ],
)
def test_it_is_refused_and_little_of_it_is_tokenised(measure, monkeypatch):
    model = builders.random_model("llama")
    seen = []
    kind = type(model.tokenizer)
    inner = kind.__call__

    def counted(self, text, *args, **more):
        seen.append(len(text))
        return inner(self, text, *args, **more)

    monkeypatch.setattr(kind, "__call__", counted)
    with pytest.raises(
        DataError, match=r"has 2\d{6} characters\. The first 4096 alone are \d+ tokens, but .* takes at most 512"
    ):
        measure(model)
    assert max(seen) <= 8 * 512


def test_what_fits_passes_however_many_characters_its_tokens_have():
    """One word of 5,000 characters is one token, and the model takes 512."""
    tokenizer = builders.word_tokenizer(("Yes", "No"))
    model = builders.wrap_model(builders.random_hf("llama"), tokenizer)
    check_texts(model, ["Yes " * 500, "x" * 200_000, " " * 5000 + "Yes"], "text")
    with pytest.raises(DataError, match="The first 32768 alone are"):
        check_texts(model, [" " * 6000 + "Yes " * 9000], "text")
