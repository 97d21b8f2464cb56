"""Replies side by side, on the page and in Markdown: what each model says, how it is judged, what is left out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from msgspec import convert
from page_reports import HOSTILE, generates, replies_of, report_of
from test_page import Reader

from pytest_steer.core.evidence import Verdict
from pytest_steer.core.record import Replies, Reply
from pytest_steer.report import with_texts
from pytest_steer.report.formats.markdown_file import COMMENT, markdown_of, to_markdown
from pytest_steer.report.page import page_of
from pytest_steer.report.page.conversations import pair_of
from pytest_steer.report.replies import agreement_words, outcome_words

LONG = "word " * 300


def said(*records, **more):
    return Reader(page_of(report_of(records), **more))


# --- the page ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conversation():
    """One claim of 30 pairs of three turns."""
    record = generates("talks", 30, [f"Reply {n}." for n in range(7)], turns=3)
    return record, said(record)


def test_both_replies_stand_below_what_they_reply_to(conversation):
    record, read = conversation
    text = read.inside["article"]
    for pair in record["replies"]["of"][:20]:
        own = text[text.index(f"{pair['id']}, sample {pair['sample']}") :]
        places = []
        for turn in range(3):
            for words in (
                pair["prompt"][turn],
                f"base{pair['base']['turns'][turn]}",
                f"steered{pair['steered']['turns'][turn]}",
            ):
                places.append(own.index(words, places[-1] if places else 0))
        assert places == sorted(places)


def test_outcomes_are_counted_and_told(conversation):
    _, read = conversation
    text = read.inside["article"]
    counts = "outcomebasesteeredaccepted307rejected08undetermined07missing08whynot8thejudgegavenonumber,7loops"
    assert counts in re.sub(r"\s", "", text)
    assert "Cohen's kappa 0.312 [0.125, 0.5] on 40 labels" in text
    assert "steered undetermined: loops: its last 9 tokens" in text
    assert "steered missing: the judge gave no number" in text
    assert "steered rejected, score 3" in text
    assert "base accepted, score 8" in text
    assert len(read.of_class("rejected")) == 8
    for setting in (
        "judgechat grader",
        "judge: rubricReply 0.",
        "judge: scale1, 10",
        "the judge on steeredThe judge on 1: Reply 1.",
    ):
        assert setting in text


def test_the_worst_are_shown_and_the_others_counted(conversation):
    record, read = conversation
    text = read.inside["article"]
    assert "Side by side, the worst first: 20 of 30" in text
    assert "Left out here: the 10 pairs" in text
    assert len(read.of_class("pair")) == 20
    assert record["replies"]["of"][19]["prompt"][0] in text
    assert record["replies"]["of"][20]["prompt"][0] not in text


def first_pair(text: str):
    replies = convert(replies_of(1, [text]), Replies)
    return pair_of(replies, replies.of[0])


def test_a_long_reply_is_folded_at_a_word_and_whole():
    (_, sides), *_ = first_pair(LONG).turns
    for _, text in sides:
        assert not text.notes
        assert text.start + text.rest == LONG
        assert 200 < len(text.start) <= 420
        assert text.start.endswith(" ")
    unbroken = first_pair("w" * 900).turns[0][1][0][1]
    assert (len(unbroken.start), len(unbroken.rest)) == (420, 480)
    short = first_pair("w" * 500).turns[0][1][0][1]
    assert (len(short.start), short.rest) == (500, "")
    read = said(generates("long", 2, [LONG]))
    assert len(read.of_class("fold")) == 2 * 5  # the prompt, two replies and two words of the judge


def test_an_empty_reply_one_that_is_cut_and_one_that_was_left_out_are_told_apart():
    record = generates("odd", 5) | {"replies": replies_of(5, ["", "Some words.", "w" * 2000], turns=2)}
    text = said(record).inside["article"]
    assert text.count("(empty)") == 6  # of 20 replies whose three texts come in turn
    assert text.count("(cut at 64 tokens)") == 2  # one of each side, its last turn alone
    assert "(the report has no more of it)" in text
    assert "(left out of the report)" not in text
    record["replies"]["judge"]["rubric"] = "a rubric"
    record["replies"]["of"][3]["steered"]["why"] = "no number in 'Some secret'"
    bare = with_texts(record, "none")
    report = report_of([bare])
    text = said(bare).inside["article"]
    assert "missing: no number in '...'" in text
    for hidden in ("Some words.", "Some secret", "Prompt 1", "The judge on"):
        assert hidden not in text
        assert hidden not in to_markdown(report)
    assert text.count("(left out of the report)") == 5 * 3
    assert "(empty)" not in text
    assert "undetermined: loops" in text


def test_replies_that_nobody_judged_have_no_outcome():
    read = said(generates("unjudged", 4, judged=False))
    assert "A reply." in read.inside["article"]
    assert {attributes["class"] for _, attributes in read.of_class("outcome")} == {"outcome undetermined", "outcome "}
    assert "outcomebasesteeredundetermined01whynot1loops" in re.sub(r"\s", "", read.inside["article"])
    for word in ("kappa", "accepted", "the judge", "score 8"):
        assert word not in read.inside["article"]


def test_hostile_replies_make_no_element():
    report = report_of([generates("hostile", 13, HOSTILE, turns=2)])
    page = page_of(report)
    read, harmless = Reader(page), said(generates("plain", 13, [LONG, "x"], turns=2))
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in harmless.elements}
    assert not read.open
    for text in HOSTILE[:9]:
        assert text in read.inside["article"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", page)


def test_above_its_size_the_page_leaves_out_pairs_and_names_them():
    claims = [generates(name, 20, [LONG]) for name in ("one", "two")]
    whole = page_of(report_of(claims))
    cap = len(whole.encode()) - 40_000
    cut = page_of(report_of(claims), cap=cap)
    assert len(cut.encode()) <= cap
    text = Reader(cut).inside["main"]
    shown = {int(n) for n in re.findall(r"the worst first: (\d+) of 20", text)}
    assert len(shown) == 1
    (many,) = shown
    assert 0 < many < 20
    for name in ("one", "two"):
        assert f"suite: {name}: {20 - many} of its 20 worst pairs of replies" in text


@pytest.mark.parametrize(
    ("agreement", "words"),
    [
        (None, "no human labels"),
        ({"kappa": None, "interval": None, "n": 9}, "kappa is not defined on these 9 labels"),
        ({"kappa": 0.5, "interval": [0.25, 1.0], "n": 9}, "Cohen's kappa 0.5 [0.25, 1] on 9 labels"),
    ],
)
def test_agreement_that_is_not_known(agreement, words):
    assert agreement_words(convert(replies_of(1) | {"agreement": agreement}, Replies)) == words


def test_outcomes_in_words():
    reply = Reply(turns=("Yes.",), outcome=None, why=None, score=None, said=None, cut=False)
    assert outcome_words(replace(reply, outcome="rejected", score=3.0)) == "rejected, score 3"
    assert outcome_words(replace(reply, outcome="undetermined", why="loops")) == "undetermined: loops"
    assert outcome_words(reply) == ""


def test_the_replies_of_a_claim_that_was_measured():
    """No made-up record: what ``generates`` finds on a model whose replies are known stands on the page and in the Markdown."""
    from evidence import evidence_of
    from replying import BARE, MOVED, SILENT, STAYS, Listening, moving

    from pytest_steer import assert_generates

    linear, judge = moving(), Listening(missing=1)
    evidence = evidence_of(
        assert_generates, linear.model, linear.vector(), [*MOVED[:17], *STAYS[:12], *SILENT[:2]], share=0.9, judge=judge,
        max_new_tokens=1, context=BARE, include_first=True,
    )  # fmt: skip
    record = evidence.to_dict()
    text = said(record).inside["article"]
    text = re.sub(r"\s", "", text)
    assert "outcomebasesteeredaccepted016rejected2912undetermined22missing01whynot2empty2empty,1atimeout" in text
    ends, shown = "(cutat1tokens)", [pair["prompt"][0] for pair in record["replies"]["of"][:20]]
    assert len(shown) == 20
    assert text.count(ends) == 2 * sum(name not in SILENT for name in shown)
    for name in shown:
        replies = ("(empty)", "(empty)") if name in SILENT else (f"up{ends}", f"{'down' if name in MOVED else 'up'}{ends}")
        assert "user{}base{}steered{}".format(name, *replies) in text
    assert "listening" in text
    row = next(line for line in to_markdown(report_of([record])).splitlines() if "| listening |" in line)
    assert (
        "| 0 accepted, 29 rejected, 2 undetermined, 0 missing | 16 accepted, 12 rejected, 2 undetermined, 1 missing |" in row
    )


# --- Markdown ----------------------------------------------------------------------------------------------------------------

MARKS = "`x` ``` | <b>b</b> @team #12 https://evil.example **b** [l](http://e)\n# head\n- item\n</details>"


def html_of(report):
    cmarkgfm = pytest.importorskip("cmarkgfm", reason="the extra `test` has it")
    return cmarkgfm.github_flavored_markdown_to_html(to_markdown(report), cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE)


def test_a_broken_claim_shows_its_worst_replies_in_markdown():
    holding = [generates("holds", 4, verdict=Verdict.PASS), generates("xpass", 4, verdict=Verdict.PASS, xfail="a reason")]
    report = report_of([generates("talks", 12, ["First line.\nSecond line.", "Other."]), *holding])
    lines = [line.strip() for line in to_markdown(report).splitlines()]
    assert "<details><summary>Replies, the worst first (3 of 12)</summary>" in lines
    assert lines.count("| asked | base | steered |") == 1  # claims that hold show none
    assert "| **`q0, sample 0`** | **accepted, score 8** | **rejected, score 3** |" in lines
    assert "| Prompt 0, turn 0: First line.<br>Second line. | First line.<br>Second line. | Other. |" in lines
    row = "| `suite: talks` | chat grader | 12 accepted, 0 rejected, 0 undetermined, 0 missing | 3 accepted, 3 rejected, 3 undetermined, 3 missing | Cohen's kappa 0.312 \\[0.125, 0.5\\] on 40 labels |"
    assert row in lines
    assert any(line.startswith("| `suite: holds` | chat grader |") for line in lines)


def test_of_long_conversations_the_last_turns():
    text = to_markdown(report_of([generates("talks", 2, turns=5)]))
    assert "| *2 earlier turns* |" in text
    assert "turn 1" not in text
    assert "turn 4" in text


def test_github_renders_the_replies_as_tables_and_obeys_nothing():
    from test_markdown import Page

    html = html_of(report_of([generates("talks", 6, [MARKS, *HOSTILE[:9]], turns=2)]))
    page = Page(html)
    assert not {"b", "a", "img", "script", "h1", "iframe", "svg", "style", "link", "math"} & set(page.tags)
    assert page.cells.count(3) == 1 + 3 * 3  # the head; of three pairs their names, and two turns
    assert set(page.cells) == {3, 5, 7}
    assert not re.search(r"@\w|#\d|www\.|://", page.text)
    assert "# head" in page.text


def test_many_long_replies_leave_the_summary_below_its_limit():
    claims = [generates(f"claim-{n}", 9, ["\u00f6|" * 400], turns=3) for n in range(20)]
    text = markdown_of(report_of(claims), COMMENT)
    assert len(text.encode()) <= COMMENT
    assert "replies of 20 claims" in text.partition("Left out, because GitHub takes no more: ")[2]
