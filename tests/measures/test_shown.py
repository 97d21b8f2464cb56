"""Items as the model sees them, as plain data and in one line."""

from __future__ import annotations

from dataclasses import replace

import builders
import pytest

from pytest_steer import Context, propensity_curve
from pytest_steer.core.record import Asked, Lengths
from pytest_steer.measures import asked_as_text, asked_record, shown_line, shown_probe
from pytest_steer.model import Probe

MODEL, VECTOR = builders.random_model("llama"), builders.random_vector(1)
IDS = tuple(MODEL.tokenizer("a\nYes b\tc", add_special_tokens=False)["input_ids"])


def test_tokens_and_marks():
    shown = shown_probe(MODEL, Probe(IDS, 2, score_from=4))
    assert shown.tokens == ("a", "\n", "Yes", " ", "b", "\t", "c")
    assert (shown.first_steered, shown.first_scored, shown.candidates) == (2, 4, None)
    assert shown_line(shown) == r"a·\n·<steered from here>·Yes· ·<scored from here>·b·\t·c"


def test_a_token_to_come():
    yes, no = (MODEL.tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "No"))
    shown = shown_probe(MODEL, Probe(IDS, 6, (yes, no)))
    assert (shown.first_scored, shown.candidates) == (7, ("Yes", "No"))
    assert shown_line(shown).endswith("<steered from here>·c·<scored from here>·'Yes' or 'No'")


@pytest.mark.parametrize(("most", "start"), [(None, "a·"), (100, "a·"), (2, r"...·\t·c·'"), (0, r"...·b·")])
def test_a_long_sequence_is_cut_in_front_of_what_matters(most, start):
    shown = replace(shown_probe(MODEL, Probe(IDS, 6, score_from=6)), candidates=("x",), first_scored=7)
    line = shown_line(shown, most)
    assert line.startswith("..." if most in (0, 2) else "a")
    assert "<steered from here>" in line
    assert "<scored from here>" in line


@pytest.mark.parametrize(
    ("items", "answers", "want"),
    [(builders.LETTERED, "sum", "label"), (builders.WORDED, "mean", "mean"), (builders.WORDED, "sum", "sum")],
)
def test_how_a_curve_was_asked(items, answers, want):
    context = Context(answers=answers, thinking="open")
    curve = propensity_curve(MODEL, items, VECTOR, multipliers=[0, 1], context=context)
    record = asked_record(MODEL, curve, context)
    assert (record.answers, record.thinking) == (want, "open")
    if want == "label":
        assert record.lengths == Lengths(items=3, different=0, matching=1, not_matching=1)
        assert record.first_item[0].candidates == ("A", "B")
    else:
        # surely / no way at all; Yes / never; now, Yes / some day: in bytes, but for Yes and No.
        matching, other = [len("surely"), 1, len("now"), 1], [len("no way at all"), len("never"), len("some day")]
        means = (pytest.approx(sum(matching) / 4), pytest.approx(sum(other) / 3))
        assert record.lengths == Lengths(items=3, different=3, matching=means[0], not_matching=means[1])
        assert ["".join(one.tokens[one.first_scored :]) for one in record.first_item] == ["surely", "no way at all"]


def test_texts_have_their_first_sequence_alone():
    probe = Probe(IDS, 1, score_from=1)
    first = (shown_probe(MODEL, probe),)
    assert asked_as_text(MODEL, probe) == Asked(
        template=None, thinking=None, date=None, answers=None, lengths=None, notes=(), first_item=first
    )


def test_notes_of_the_template_are_said_once():
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}<|im_start|>{{ m['content'] }}<|im_end|>"
        "{% endfor %}"
    )
    context = Context(system="Sing.", template=template)
    curve = propensity_curve(MODEL, builders.WORDED, VECTOR, multipliers=[0, 1], context=context)
    (note,) = asked_record(MODEL, curve, context).notes
    assert note.startswith("the chat template has no place for a system prompt")
    assert "".join(shown_probe(MODEL, curve.probes[0]).tokens).startswith("<|im_start|>Sing.\n\nDo you?")
