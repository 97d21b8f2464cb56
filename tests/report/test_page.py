"""The page as text: what stands in it, that nothing in it is obeyed, and that it keeps its size."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from page_reports import HOSTILE, against, broken_off, change_of, items_of, mixed, report_of, shared_page, slopes, steers

from pytest_steer.against.held_against import held_against
from pytest_steer.core.block import Curve, Distribution, Estimate, Intervals, Series, block_record
from pytest_steer.core.evidence import Verdict
from pytest_steer.core.evidence import plain as as_json
from pytest_steer.core.record import BaselineSource, Commit, typed
from pytest_steer.report.page import page_of
from pytest_steer.report.page.figures import draw
from pytest_steer.report.page.figures.distribution import binned

VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """The page as a browser reads it: its elements, and the text of each element with an id."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self.inside: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for tag, name in self.open:
            self.inside[tag] = self.inside.get(tag, "") + data
            if name is not None:
                self.texts[name] = self.texts.get(name, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name):
        return [(tag, attributes) for tag, attributes in self.elements if name in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def hostile() -> tuple[str, Reader]:
    return shared_page("hostile"), Reader(shared_page("hostile"))


@pytest.fixture(scope="module")
def plain() -> tuple[str, Reader]:
    return shared_page("plain"), Reader(shared_page("plain"))


# --- nothing is obeyed -------------------------------------------------------------------------------------------------------


def test_texts_make_no_element(hostile, plain):
    """The page of hostile texts has the kinds of elements that the page of harmless ones has, and one script."""
    assert {tag for tag, _ in hostile[1].elements} == {tag for tag, _ in plain[1].elements}
    assert len(hostile[1].all("script")) == len(hostile[1].all("style")) == 1
    assert not hostile[1].open  # every element is closed, in its order
    for text in HOSTILE[:9]:
        assert text in hostile[1].inside["body"]


def test_texts_make_no_attribute(hostile):
    for tag, attributes in hostile[1].elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcdoc", "action")], (
            tag
        )
        for name in ("href", "xlink:href", "content"):
            value = attributes.get(name)
            assert value is None or tag == "meta" or value.startswith("#") or value == "data:,"
    assert [meta["http-equiv"] for meta in hostile[1].all("meta") if "http-equiv" in meta] == ["Content-Security-Policy"]


def test_controls_are_written_out(hostile):
    page = hostile[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", page)
    for written in (r"\u202eright to left\u202c", r"\x1b[31mred\x1b[0m", r"\x00 \x9b2J", r"half \ud83d of"):
        assert written in hostile[1].inside["body"]
    assert "\U0001f600" in page


def test_the_policy_allows_the_own_script_and_style_and_no_request(hostile, plain):
    for page, read in (hostile, plain):
        policy = next(meta["content"] for meta in read.all("meta") if "http-equiv" in meta)
        for tag, kind in (("script", "script-src"), ("style", "style-src")):
            text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
            wanted = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{kind} 'sha256-{wanted}'" in policy
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy


def test_no_address_of_elsewhere_is_in_it(plain):
    assert not re.findall(r"https?:|//\w+\.", plain[0])


def test_a_pretended_figure_text_stays_a_text():
    figure = draw(Intervals([Estimate(text, 1.0) for text in HOSTILE[:6]], HOSTILE[1], [0.5], title="t"))
    read = Reader(figure.svg)
    assert {tag for tag, _ in read.elements} <= {"svg", "g", "path", "line", "text", "rect", "defs", "clippath"}
    assert "<img src=x onerror='window.hit = 1'>" in read.inside["svg"]  # what is drawn, the title of the axis
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)


# --- what stands in it -------------------------------------------------------------------------------------------------------


def test_verdicts_are_counted_and_the_most_important_stands_first(plain):
    read = plain[1]
    order = [attributes["data-verdict"] for _, attributes in read.of_class("claim")]
    assert order == ["broken", "error", "inconclusive", "unexpected", "known", "held"]
    assert read.inside["h1"] == "1 of 6 claims held"
    tiles = [attributes["class"].split()[1] for tag, attributes in read.of_class("tile")]
    assert tiles == order
    # Never by colour alone: each claim says its verdict.
    for words in ("broken", "could not be measured", "inconclusive", "xpass", "known to fail"):
        assert words in read.inside["summary"]


def test_each_claim_says_its_numbers(plain):
    report, read = mixed(), plain[1]
    anchors = {attributes["data-name"]: attributes["id"] for _, attributes in read.of_class("claim")}
    for record in report["claims"]:
        said = read.texts[anchors[record["name"]]]
        assert record["message"] in said
        if record["verdict"] == "error":
            assert record["error"] in said
            continue
        low, high = record["interval"]
        assert (
            f"steerability {record['estimate']:.3g} [{low:.3g}, {high:.3g}], promised at least {record['threshold']:.6g}"
            in said
        )
        for value in ("a" * 64, "b" * 64, "f" * 64, record["rerun"], "dose25.0% of the median hidden norm"):
            assert value in said
        share = record["details"]["anti_steerable_share"]
        assert f"{share:.0%} of 40 items are anti-steerable" in said
        wrong = sum(item["slope"] <= 0 for item in record["items"])
        assert not wrong or f"{wrong} of them anti-steerable" in str(read.elements)
        worst = sorted(record["items"], key=lambda item: item["slope"])
        places = [said.index(f"slope {item['slope']:.3g}") for item in worst[:5]]
        assert places == sorted(places)
        for at, mean, (below, above) in zip(record["multipliers"], record["curve"], record["curve_interval"], strict=True):
            assert f"{at:g}{mean:.3g}[{below:.3g}, {above:.3g}]" in said


def test_a_report_without_claims():
    assert "No claim was measured" in page_of(report_of([]))


def test_interrupted_runs_say_so():
    report = report_of([steers("one", slopes(9))])
    report["provenance"] |= {"interrupted": True, "not_run": 7}
    said = Reader(page_of(report)).inside["header"]
    assert "The run was interrupted." in said
    assert "7 claims were not run." in said


def test_options_are_a_list_to_read():
    options = {
        "model": "builtin:tiny", "seed": 0, "allow-unexpected": [], "holm": False, "cache": None,
        "context": {"system": "Be brief.", "history": [["a", "b"], ["c", None]]},
    }  # fmt: skip
    report = report_of([])
    report["provenance"]["options"] = options
    said = Reader(page_of(report)).texts["run"]
    for line in (
        "--steer-modelbuiltin:tiny", "--steer-allow-unexpectednot given", "--steer-holmno", "--steer-cachenot given",
        "--steer-contextsystem Be brief., history ((a, b), (c, none))",
    ):  # fmt: skip
        assert line in said
    assert not set('{}[]"') & set(said)
    assert "--steer-seed" not in said  # which the page says above


def test_warnings_are_counted_where_a_claim_is_folded():
    claims = [
        steers("none", slopes(9)),
        steers("one", slopes(9), warnings=["w"]),
        steers("two", slopes(9), warnings=["v", "w"]),
    ]
    read = Reader(page_of(report_of(claims)))
    said = {
        attributes["data-name"]: read.texts[attributes["id"]].partition("Worst items")[0]
        for _, attributes in read.of_class("claim")
    }
    assert "warning" not in said["none"]
    assert "⚠︎ 1 warning\n" in said["one"]
    assert "⚠︎ 2 warnings\n" in said["two"]
    assert len(read.of_class("warned")) == 2


def test_links_to_claims_stay_good():
    """A claim's anchor does not depend on what else is in the report, and no two are the same."""

    def anchors(report):
        return {attributes["data-place"]: attributes["id"] for _, attributes in Reader(page_of(report)).of_class("claim")}

    one, other = steers("one", slopes(9)), steers("other", slopes(9))
    alone, both = anchors(report_of([one])), anchors(report_of([other, one]))
    assert both["1"] == alone["0"]
    twice = anchors(report_of([one, one, steers("javascript:alert(1)\" id='x", slopes(9))]))
    assert len(set(twice.values())) == 3
    assert all(re.fullmatch(r"claim-[a-z0-9-]+", anchor) for anchor in twice.values())


def test_texts_that_a_report_leaves_out_are_not_missed():
    from pytest_steer.report import with_texts

    record = json.loads(json.dumps(steers("one", slopes(9))).replace("Is it?", "secret words"))
    record["asked"]["notes"] = []
    assert "secret words" in page_of(report_of([record]))
    page = page_of(report_of([with_texts(record, "none")]))
    assert "secret words" not in page
    assert "slope" in page


def test_the_difference_to_an_earlier_report():
    record = steers("one", slopes(9))
    flip = {"id": "3", "question": HOSTILE[0], "before": 0.5, "after": -0.5}
    worse = change_of(record["id"], flipped=[flip], message="it got worse")
    gone = change_of("suite.steer.yaml::vanished", "gone", after=None, difference=None, interval=None, n=0, items={})
    read = Reader(page_of(report_of([record]) | {"against": against(worse, gone)}))
    assert "1 worse, 1 gone" in read.texts["since"]
    assert "suite.steer.yaml::vanishedgonepass 0.75 [0.5, 1]-" in read.texts["since"]
    assert "c" * 64 in read.texts["since"]
    (_, attributes), *_ = read.of_class("claim")
    own = read.texts[attributes["id"]]
    for said in ("since the baseline: worse, -0.5 [-0.75, -0.25]", "it got worse", "1 new, 2 changed", HOSTILE[0]):
        assert said in own
    assert f"3{HOSTILE[0]}0.5 → -0.5" in own
    assert "Items that flipped: 1 of 1" in read.texts["since"]
    assert f"3{HOSTILE[0]}0.5 → -0.5{record['id']}" in read.texts["since"]
    assert len(read.all("script")) == 1


def test_many_items_that_flipped_are_shortened_and_counted():
    record = steers("one", slopes(9))
    flipped = [{"id": f"q{at}", "question": f"Is {at} \n so {'x' * 300}?", "before": 0.5, "after": -0.5} for at in range(30)]
    entry = change_of(record["id"], before=None, after=None, difference=None, interval=None, flipped=flipped, items={})
    read = Reader(page_of(report_of([record]) | {"against": against(entry, baseline=None)}))
    assert "Items that flipped: 20 of 30" in read.texts["since"]
    assert "The others stand at their claims." in read.texts["since"]
    (_, attributes), *_ = read.of_class("claim")
    for text, last in ((read.texts["since"], 19), (read.texts[attributes["id"]], 29)):
        assert f"q{last}Is {last} so {'x' * (160 - len(f'Is {last} so …'))}…0.5 → -0.5" in text
        assert f"q{last + 1}Is" not in text


def test_what_two_runs_differ_in_is_said_in_the_words_of_the_comparison():
    """The page of what ``held_against`` really makes: every outcome, reason and note stands on it."""
    old = report_of([steers("one", slopes(9)), steers("two", slopes(9), verdict=Verdict.FAIL), steers("left", slopes(9))])
    new = report_of([steers("one", slopes(9, 1), verdict=Verdict.FAIL), steers("two", slopes(9)), steers("more", slopes(9))])
    new["provenance"]["versions"] |= {"torch": "0.0.1"}
    commit = Commit(id="c" * 40, dirty=True)
    baseline = BaselineSource(path="old.json", sha256="e" * 64, date="2026-01-05", model=None, commit=commit)
    found = as_json(held_against(typed(old), typed(new), 0.05, baseline=baseline))
    read = Reader(page_of(new | {"against": found}))
    said = read.texts["since"]
    for entry in found["claims"]:
        assert f"{entry['id']}{entry['outcome'].replace('_', ' ')}" in said
    assert {entry["outcome"] for entry in found["claims"]} >= {"gone", "new"}
    assert all(note in said for note in found["notes"])
    assert f"{'c' * 40} and changes that are not committed" in said
    told = {entry["id"]: entry for entry in found["claims"]}
    for _, attributes in read.of_class("claim"):
        name = f"suite.steer.yaml::{attributes['data-name']}"
        assert all(reason in read.texts[attributes["id"]] for reason in told[name]["reasons"])


# --- claims decide their figures ---------------------------------------------------------------------------------------------


def with_blocks(name, *blocks):
    return steers(name, slopes(9), check="made_up") | {"blocks": as_json([block_record(one) for one in blocks])}


def test_the_figures_of_another_packages_claim():
    mine = Intervals([Estimate("a row", 0.5)], "mine", title="Mine alone")
    read = Reader(page_of(report_of([with_blocks("one", mine)])))
    assert "Mine alone" in read.inside["figure"]
    assert "Propensity curve" not in read.inside["figure"]


def test_figures_that_fail_are_a_warning_and_the_rest_is_written():
    broken = Curve([Series("no points", [])], "y", title="Broken")
    page = page_of(report_of([with_blocks("one", broken), steers("two", slopes(9))]))
    assert "its figures cannot be drawn:" in page
    assert "Propensity curve" in page


@pytest.mark.parametrize("direction", ["below", "above"])
def test_bins_hold_every_value_once_and_none_stands_on_both_sides_of_0(direction):
    values = [0.0, 0.0, 1e-300, -1e-300, 0.1, 0.3, -0.25, 2.0, -2.0, *slopes(50)]
    bins = binned(values, zero_below=direction == "below")
    assert sum(one["n"] for one in bins) == len(values)
    assert all(one["high"] <= 0 or one["low"] >= 0 for one in bins)
    wrong = sum(value <= 0 for value in values) if direction == "below" else sum(value < 0 for value in values)
    assert sum(one["n"] for one in bins if one["high"] <= 0) == wrong
    assert len({round(one["high"] - one["low"], 9) for one in bins}) == 1
    assert len(bins) <= 50


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [0.7], [-3.0, -3.0], [1e-9, 2e-9]])
def test_bins_of_few_values(values):
    assert sum(one["n"] for one in binned(values, zero_below=True)) == len(values)
    assert draw(Distribution(values, "x", wrong="below", title="t")).svg.startswith("<svg ")


# --- its size ----------------------------------------------------------------------------------------------------------------


def test_above_its_size_it_names_what_it_leaves_out():
    names = ["first", "second", "third"]
    claims = [steers(name, slopes(60, seed), texts=["word " * 60]) for seed, name in enumerate(names)]
    whole = page_of(report_of(claims))
    cap = len(whole.encode()) - 30_000
    cut = page_of(report_of(claims), cap=cap)
    assert len(cut.encode()) <= cap
    read, full = Reader(cut), Reader(whole)
    assert "Left out to keep the page below" not in full.inside["main"]
    shown = re.findall(r"Worst items: (\d+) of 60", read.inside["main"])
    assert len(set(shown)) == 1  # of each claim the same number
    assert 0 < int(shown[0]) < 30
    assert f"Left out to keep the page below {cap:,} bytes" in read.inside["main"]
    for name in names:
        assert f"suite: {name}: {30 - int(shown[0])} of its 30 worst items" in read.inside["main"]
    assert f"Left out here: {60 - int(shown[0])} that come after these" in read.inside["main"]


def test_where_that_is_not_enough_the_figures_of_the_least_important_go_too():
    claims = [steers("holds", slopes(20)), steers("breaks", slopes(20, 1), verdict=Verdict.FAIL)]
    bare = len(re.sub(r"<li>.*?</li>", "", page_of(report_of(claims)), flags=re.DOTALL).encode())
    cut = page_of(report_of(claims), cap=bare - 9_000)
    assert len(cut.encode()) <= bare - 9_000
    read = Reader(cut)
    said = {attributes["data-name"]: read.texts[attributes["id"]] for _, attributes in read.of_class("claim")}
    assert "Propensity curve" in said["breaks"]
    assert "Propensity curve" not in said["holds"]
    assert "Figures are left out of 1 claim" in read.inside["main"]
    assert "suite: holds" in read.inside["main"].partition("Figures are left out")[2]


def test_the_best_of_many_items_are_left_out_and_named():
    read = Reader(page_of(report_of([steers("many", slopes(450))])))
    assert "Worst items: 30 of 450" in read.inside["main"]
    assert "Left out here: 420 that come after these" in read.inside["main"]


def test_a_text_without_end_is_cut():
    page = page_of(report_of([steers("long", slopes(9), texts=["endless " * 100_000])]))
    assert "more characters]" in page
    assert len(page) < 600_000


def test_items_of_a_report_from_elsewhere_need_only_what_the_schema_asks():
    record = steers("one", slopes(9))
    record["items"] = [{key: item[key] for key in ("id", "propensity", "slope")} for item in items_of(slopes(9))]
    for key in (
        "strata",
        "asked",
        "receipt",
        "noise",
        "soundness",
        "rerun",
        "xfail",
        "holm",
        "compared",
        "matrix",
        "curve_interval",
    ):
        del record[key]
    read = Reader(
        page_of({"schema": "pytest-steer/report/2", "provenance": report_of([])["provenance"], "claims": [record]})
    )
    assert "Worst items: 9 of 9" in read.inside["main"]


def test_an_error_shows_no_number():
    read = Reader(page_of(report_of([broken_off("one", "the file is not there")])))
    assert "the file is not there" in read.inside["article"]
    assert "promised" not in read.inside["article"]
    assert not read.all("svg")


def test_a_claim_without_a_threshold_promises_nothing():
    record = steers("open", slopes(40, 2), verdict=Verdict.INCONCLUSIVE, threshold=None, promise="steerability")
    read = Reader(page_of(report_of([record])))
    assert "no threshold yet" in read.inside["article"]
    assert "promised" not in read.inside["article"]
    assert "Propensity curve" in read.inside["article"]


def test_a_pass_at_the_edge_is_drawn():
    """Everything in one place: no width to draw on."""
    record = steers("flat", [1.0] * 9, interval=(1.0, 1.0), threshold=1.0, verdict=Verdict.PASS)
    assert "<svg" in page_of(report_of([record]))


def test_what_belongs_to_a_verdict_stands_beside_it():
    """Not only in the open claim: texts that the model does not read, and a low confidence."""
    record = steers("unread", slopes(9))
    record["withheld"] = {"code": "unread-data", "text": "not read", "cure": ""}
    page = page_of(report_of([record, steers("read", slopes(9))]))
    assert page.count('<span class="marks">model does not read the texts</span>') == 1
