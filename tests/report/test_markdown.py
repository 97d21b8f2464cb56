"""The Markdown report: the verdict first, and whatever a text holds, GitHub shows it and obeys nothing of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from reports import with_records

from pytest_steer.claims.drawn import complete
from pytest_steer.core.evidence import Direction, Evidence, Verdict, error_evidence
from pytest_steer.core.finding import Finding
from pytest_steer.report import build_report
from pytest_steer.report.formats.markdown_file import COMMENT, MARKER, markdown_of, prose, to_markdown

HOSTILE = (
    "a|b `x` ``y`` <script>alert(1)</script> <img src=x> <!-- --> @team #123 GH-4 https://evil.example www.evil.example :smile: $x$ "
    "[l](http://e) ![i](x) \\| **b** _i_ ~~s~~ &amp; \u202e \x1b[31m\r\n```\n# head\n- item\n| a | b |\n</details>"
)
MODEL = {
    "id": "builtin:tiny", "fingerprint": "f" * 64, "layers": 6, "width": 96, "dtype": "float32", "device": "cpu",
    "template": "t", "template_name": "chat template t",
}  # fmt: skip
VECTOR = {"hash": "h", "method": "caa", "layer": 1, "positions": "all", "norm": 1.0, "relative_dose": 0.1}


def record(name: str, verdict: Verdict, message: str = "", **more) -> dict:
    known = {
        "statistic": "steerability", "estimate": 0.125, "interval": (0.0625, 0.25), "interval_method": "t", "threshold": 0.375, "n": 60,
        "suite": "s", "id": f"a.steer.yaml::{name}", "model": MODEL, "vector": VECTOR, "data": {"hash": "d", "n": 60, "source": "d.json"},
    }  # fmt: skip
    said = tuple(Finding("made-up", text) for text in more.pop("warnings", ()))
    evidence = complete(Evidence("steers", name, verdict, **with_records(known | more) | {"findings": said}))
    return evidence.but(message=message or evidence.message).to_dict()


def report_of(*claims: dict, **more) -> dict:
    return build_report(claims, seed=0, profile="ci", started=0.0) | more


def test_the_marker_is_the_first_line_and_the_verdict_the_next():
    text = to_markdown(report_of(record("good", Verdict.PASS), record("bad", Verdict.FAIL)))
    first, verdict = [line for line in text.splitlines() if line][:2]
    assert first == MARKER == "<!-- pytest-steer: summary -->"
    assert verdict == "## ❌ Broken: 1 of 2 steering claims"


def test_a_claim_without_a_threshold_is_said_to_have_none():
    seen = record("seen", Verdict.INCONCLUSIVE, threshold=None, promise="steerability")
    text = to_markdown(report_of(seen))
    assert "| no threshold yet |" in text
    assert "promised no" not in text
    assert r"**0.125** \[0.0625, 0.25\], no threshold yet; n = 60" in text


@pytest.mark.parametrize(
    ("claims", "more", "headline"),
    [
        ([record("a", Verdict.PASS), record("b", Verdict.PASS)], {}, "✅ All 2 steering claims hold"),
        ([record("a", Verdict.PASS)], {}, "✅ The one steering claim holds"),
        ([record("a", Verdict.PASS), record("b", Verdict.FAIL, xfail="r")], {}, "✅ 1 of 2 steering claims hold, 1 known to fail"),
        ([record("a", Verdict.PASS), record("b", Verdict.INCONCLUSIVE)], {}, "⚠️ Not shown to hold: 1 of 2 steering claims"),
        ([error_evidence("steers", "a", "no", xfail="r").to_dict()], {}, "⚠️ Not shown to hold: 1 of 1 steering claim"),
        ([], {}, "⚠️ No steering claim was measured"),
    ],
)  # fmt: skip
def test_the_headline(claims, more, headline):
    assert f"\n## {headline}\n" in to_markdown(report_of(*claims, **more))


def test_a_run_that_was_interrupted_is_no_run_in_which_all_holds():
    report = build_report([record("a", Verdict.PASS)], seed=0, profile="ci", started=0.0, interrupted=True, not_run=2)
    text = to_markdown(report)
    assert "## ⚠️ Not all was measured: 1 steering claim of this report holds" in text
    assert "**Not all was measured:** the run was interrupted; 2 selected claims were not run." in text


def test_what_is_broken_comes_first_with_its_numbers_and_why():
    claims = [
        record("good", Verdict.PASS),
        record("open", Verdict.INCONCLUSIVE, items_needed=300),
        error_evidence("steers", "odd", "the file is not there", id="a.steer.yaml::odd", suite="s").to_dict(),
        record("bad", Verdict.FAIL),
    ]
    lines = to_markdown(report_of(*claims)).splitlines()
    (bad,) = [line for line in lines if line.startswith("- `s: bad`")]
    assert bad == (
        "- `s: bad` (`steers`): steerability **0.125** \\[0.0625, 0.25\\], promised at least 0.375; n = 60 items, bounds by t at "
        "0.95 each side: the interval is on the bad side."
    )
    order = [
        lines.index(f"### {title}") for title in ("Broken", "Could not be measured", "Not enough evidence", "All claims")
    ]
    assert order == sorted(order)
    assert any(line.endswith("; about 300 items would decide (80 % power, if the estimate is the truth).") for line in lines)
    assert "- `s: odd` (`steers`): the file is not there" in lines
    assert "| pass | `s: good` | steerability | 0.125 | [0.0625, 0.25] | at least 0.375 | 60 |" in lines


def test_a_reason_is_shown_up_to_400_characters():
    claim = record("long", Verdict.FAIL) | {"reason": "r" * 399}
    assert f"; {'r' * 399}." in to_markdown(report_of(claim))
    text = to_markdown(report_of(claim | {"reason": "r" * 401}))
    assert f"; {'r' * 399}…." in text


def test_per_cent_and_at_most_are_shown_as_the_terminal_shows_them():
    claim = record("cost", Verdict.FAIL, percent=True, direction=Direction.AT_MOST)
    assert "**+12.5%** \\[+6.2%, +25.0%\\], promised at most +37.5%" in to_markdown(report_of(claim))


def against(**more) -> dict:
    claim = {
        "id": "a.steer.yaml::bad", "name": "bad", "statistic": "steerability", "flips": {}, "outcome": "worse", "before": {"verdict": "pass", "estimate": 0.5, "interval": [0.25, 0.75], "threshold": 0.0},
        "after": {"verdict": "pass", "estimate": 0.25, "interval": [0.125, 0.375], "threshold": 0.0}, "difference": -0.25, "interval": [-0.5, -0.125],
        "confidence": 0.95, "tolerance": 0.05, "n": 60, "percent": False, "items": {"new": 1, "gone": 0, "changed": 2},
        "flipped": [{"id": "q7", "question": "Why?", "before": 1.0, "after": -1.0}], "reasons": [], "message": "",
    }  # fmt: skip
    held = claim | {"id": "h", "outcome": "held", "flipped": [], "items": {"new": 0, "gone": 0, "changed": 0}}
    baseline = {"path": "old.json", "sha256": "ab" * 32, "date": "2026-01-02", "model": "builtin:tiny", "commit": None}
    return {"baseline": baseline, "tolerance": 0.05, "notes": [], "not_run": 2, "claims": [held, claim | more]}


def test_the_comparison_with_a_baseline_names_it_and_what_changed():
    text = to_markdown(report_of(record("bad", Verdict.PASS), against=against()))
    assert (
        "1 worse, 1 held, 2 of the baseline not run against `old.json` (sha256 `abababababab`, of 2026-01-02, on `builtin:tiny`)."
        in text
    )
    row = "| **worse** | `a.steer.yaml::bad` | pass 0.5 | pass 0.25 | -0.25 [-0.5, -0.125] | 60 | 1 | items: 1 new, 2 changed |"
    assert row in text.splitlines()
    assert "- `a.steer.yaml::bad`: item `q7`, 1 → -1: Why?" in text.splitlines()
    assert "`h`" not in text  # held: counted, and in the table of all claims if it is there


def test_a_claim_that_is_held_on_other_items_is_not_held_in_silence():
    text = to_markdown(report_of(record("bad", Verdict.PASS), against=against(outcome="held", reasons=["other dtype"])))
    assert "2 held" in text
    assert "| **held** | `a.steer.yaml::bad` |" in text
    assert "| other dtype; items: 1 new, 2 changed |" in text


def hostile_report() -> dict:
    broken = record(HOSTILE, Verdict.FAIL, HOSTILE + "\n  n = " + HOSTILE, warnings=[HOSTILE])
    broken["counterexample"] = {"context": {"system": HOSTILE}, "estimate": 0.0, "reproduce": HOSTILE}
    claims = [
        broken,
        record("c", Verdict.PASS, HOSTILE, xfail=HOSTILE),
        record("d", Verdict.FAIL, HOSTILE, xfail=HOSTILE),
        error_evidence("steers", "f", HOSTILE, id=f"{HOSTILE}::f", suite=HOSTILE).to_dict(),
    ]
    flip = {"id": HOSTILE, "question": HOSTILE, "before": 1.0, "after": -1.0}
    return report_of(*claims, against=against(id=HOSTILE, reasons=[HOSTILE], message=HOSTILE, flipped=[flip]))


class Page(HTMLParser):
    """The tags of a page, the text outside of code, and the number of cells of each row of a table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text, self.cells, self.in_code = "", [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.in_code += tag in ("code", "pre")
        if tag == "tr":
            self.cells.append(0)
        if tag in ("td", "th"):
            self.cells[-1] += 1

    def handle_endtag(self, tag):
        self.in_code -= tag in ("code", "pre")

    def handle_data(self, data):
        self.text += "" if self.in_code else data


def test_github_obeys_nothing_of_the_texts():
    """GitHub's own renderer, and what GitHub looks for in the text that comes out of it."""
    cmarkgfm = pytest.importorskip("cmarkgfm", reason="the extra `test` has it")
    html = cmarkgfm.github_flavored_markdown_to_html(to_markdown(hostile_report()), cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE)
    page = Page(html)
    ours = {"h2", "h3", "p", "ul", "li", "code", "pre", "strong", "span", "details", "summary"}
    assert set(page.tags) == ours | {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags.count("details") == html.count("</details>") == 6
    assert page.tags.count("h2") == 1
    assert page.cells == [8] * 2 + [7] * 5
    assert not re.search(r"@\w|#\d|GH-\d|www\.|://|:\w+:", page.text)
    assert "alert(1)" in page.text  # it is shown


def test_prose_is_no_html():
    assert prose("a<b> & c") == "a&lt;b&gt; &amp; c"


def test_no_line_of_a_text_begins_a_line_and_no_control_is_left():
    text = to_markdown(hostile_report())
    outside = re.sub(r"(?ms)^ *(`{3,})text\n.*?^ *\1$", "", text)
    assert not [line for line in outside.splitlines() if line.startswith(("# head", "- item", "```", "| a"))]
    assert not set("\u202e\x1b\r") & set(text)


@pytest.mark.parametrize("limit", [COMMENT, 1 << 18])
def test_a_long_summary_is_cut_and_says_what_it_left_out(limit):
    long = "line of the message\n" * 400
    claims = [record(f"claim-{at}-" + "ö|" * 90, Verdict.FAIL, long, warnings=["w" * 500]) for at in range(700)]
    text = markdown_of(report_of(*claims), limit)
    assert limit / 20 < len(text.encode()) <= limit
    assert "Left out, because GitHub takes no more: " in text
    assert "700 messages in full" in text or "680 of 700 messages in full" in text
    assert "## ❌ Broken: 700 of 700 steering claims" in text


def test_a_short_one_is_whole():
    assert "Left out" not in to_markdown(report_of(record("a", Verdict.FAIL)))
