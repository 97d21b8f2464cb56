"""Examples on which hooks are tried, drawn and shrunk by Hypothesis, and their rows as tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, configuration, currently_in_test_context, find, given, settings
from hypothesis import seed as fixed
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from ..model import Model, encode
from ..model.tokens import Ids, tokenize_prompt

Padding = Literal["left", "right"]
_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class HookExample:
    """One batch, steered once.

    Attributes:
        texts: what the user says in each row, at least two rows.
        multiplier: the strength.
        padding: the side on which shorter rows are padded.
        layer: the block at which the direction is tried instead of the declared one, or None.
        bare: the texts are tokenised as they are, without the chat template (short and cheap).
    """

    texts: tuple[str, ...]
    multiplier: float
    padding: Padding = "right"
    layer: int | None = None
    bare: bool = False


def hook_examples(
    *, multipliers: st.SearchStrategy[float], layers: Sequence[int | None] = (None,), texts: Sequence[str] = ()
) -> st.SearchStrategy[HookExample]:
    """Batches of two or three rows. Each part shrinks by itself: texts towards short ones, the layer towards the first.

    Args:
        texts: the user's own prompts, drawn as often as made-up ones.
    """
    made_up = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)
    text = made_up | st.sampled_from(list(texts)) if texts else made_up
    return st.builds(
        HookExample,
        texts=st.lists(text, min_size=2, max_size=3).map(tuple),
        multiplier=multipliers,
        padding=st.sampled_from(("right", "left")),
        layer=st.sampled_from(list(layers)),
    )


def strengths(meaning: str, deployed: float) -> st.SearchStrategy[float]:
    """Multipliers worth trying for a strength of this meaning. They shrink towards the deployed one.

    Strengths near 0 are left out, since rounding there hides the effect of a hook.
    """
    if meaning == "ignored":
        return st.just(deployed)
    if meaning == "interpolated":
        return st.just(deployed) | st.floats(0.125, 1, width=16)
    shares = st.sampled_from((1.0, -1.0, 0.5, 2.0)) | st.floats(0.125, 2, width=16) | st.floats(-2, -0.125, width=16)
    return shares.map(lambda share: share * deployed)


def visit(strategy: st.SearchStrategy[_Value], look: Callable[[_Value], None], *, examples: int, seed: int) -> None:
    """Call ``look`` on drawn values, the simplest one first. An error in ``look`` ends it."""
    _apart(lambda: draw(strategy, look, Phase.generate, examples=examples, seed=seed))


def draw(
    strategy: st.SearchStrategy[_Value], look: Callable[[_Value], None], *phases: Phase, examples: int, seed: int
) -> None:
    """Call ``look`` on the values that Hypothesis draws in these phases."""

    @fixed(seed)
    @own_settings(examples, *phases)  # type: ignore[untyped-decorator]
    @given(strategy)
    def drawn(value: Any) -> None:
        look(value)

    with keeping_nothing():
        drawn()


def smallest(
    strategy: st.SearchStrategy[_Value], fails: Callable[[_Value], bool], *, examples: int, seed: int
) -> _Value | None:
    """The simplest value found for which ``fails`` is true, or None if there is none."""
    own = own_settings(examples, Phase.generate, Phase.shrink)
    try:
        return _apart(lambda: find(strategy, fails, settings=own, random=Random(seed)))
    except NoSuchExample:
        return None


def _apart(work: Callable[[], _Result]) -> _Result:
    """Run work that draws examples. Inside a user's Hypothesis test it runs in another thread.

    Hypothesis refuses a test within a test, since their examples multiply. Here the number of inner ones is fixed.
    """
    with keeping_nothing():
        if not currently_in_test_context():
            return work()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()


@contextmanager
def keeping_nothing() -> Iterator[None]:
    """Let Hypothesis write no files in the body. The folder of the user's own tests stays theirs.

    Without a database it still keeps what it has learned about characters, and about numbers in the source of loaded modules.
    """
    home = vars(configuration)["__hypothesis_home_directory"]
    configuration.set_hypothesis_home_dir(Path(os.devnull, "hypothesis"))  # where no folder can be made
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(home)


def own_settings(examples: int, *phases: Phase) -> Any:
    """Settings that name every value, so that the user's profile has no effect and is not changed."""
    return settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        backend="hypothesis",
    )


_REPLY = " Yes, it is."


@dataclass(frozen=True)
class Line:
    """One row of a batch.

    Attributes:
        prompt: the tokens of the prompt.
        turn_end: how many of them belong to the user's turn or precede it.
        after: the tokens of a reply.
    """

    prompt: Ids
    turn_end: int
    after: Ids


def lines_of(model: Model, example: HookExample) -> tuple[Line, ...]:
    """The rows of an example, cut at the start to what the model has positions for."""
    return tuple(_line(model, text, example.bare) for text in example.texts)


def _line(model: Model, text: str, bare: bool) -> Line:
    after, _ = encode(model.tokenizer, _REPLY, special_tokens=False)
    after = after[: 1 if bare else 3]
    if bare:
        ids, _ = encode(model.tokenizer, text, special_tokens=True)
        turn_end = len(ids) - 2
    else:
        put = model.format.prompt(text)
        ids, turn_end = tokenize_prompt(model.tokenizer, put.turn, put.opening + "(", model.format.render is None)
        turn_end = min(turn_end, len(ids) - 1)
    cut = max(0, len(ids) + len(after) - model.max_positions) if model.max_positions else 0
    return Line(ids[cut:], max(1, turn_end - cut), after)
