"""The page in a real browser: no script of others runs, nothing is asked of a network, it can be read and used by everybody."""

from __future__ import annotations

import shutil

import pytest
from page_reports import against, change_of, generates, report_of, shared_page, slopes, steers

from pytest_steer.core.evidence import Verdict
from pytest_steer.report.page import page_of

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'pytest-steer[test]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox", "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"
# Claims that are not on the screen are not laid out otherwise.
LAY_OUT = "document.querySelectorAll('.claim').forEach(one => one.style.contentVisibility = 'visible')"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pages under test: of hostile texts, and with every part that a page can have."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {"hostile": shared_page("hostile"), "plain": shared_page("plain"), "full": page_of(full())}
    for name, page in pages.items():
        (folder / f"{name}.html").write_bytes(page.encode("utf-8", "backslashreplace"))
    return folder


def full():
    """A report with a comparison, a map, a baseline, effect against cost, long names and many claims."""
    names = [f"claim-{n}-with-a-name-that-is-rather-long-and-goes-on-{'x' * n}" for n in range(6)]
    verdicts = [Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE]
    claims = [
        steers(
            name, slopes(12, n), verdict=verdicts[n % 3], suite=f"suite{n % 2}", warnings=["a warning of some words " * 4]
        )
        for n, name in enumerate(names)
    ]
    strength = {
        "multiplier": 1.0, "effect": 0.5, "interval": [0.25, 0.75], "wrong_way": 0.125, "cost": 0.01, "reached": None,
        "effect_standardised": 0.5, "pne": None,
    }  # fmt: skip
    rows = [
        {
            "behaviour": behaviour, "method": method, "n": 60, "spread": 1.0, "sides": None, "deployed": strength, "at_cost": strength,
            "steerability": 0.5, "steerability_interval": [0.25, 0.75], "anti_steerable_share": 0.125,
        }
        for behaviour in ("mood", "manners") for method in ("caa", "mean_difference", "a_method_with_a_long_name")
    ]  # fmt: skip
    own = {"estimate": 0.5, "interval": [0.25, 0.75], "effect": 0.5}
    maps = [
        {
            "suite": "suite", "claim": "leaves_alone", "vector": f"vector-with-a-long-name-{n}", "by": "slope", "band": 0.25,
            "behaviours": [{"name": f"behaviour {k}", "verdict": "pass"} | own | {"estimate": 0.1 * (k - n)} for k in range(9)],
            "own": {"name": "mood"} | own, "entanglement": {"effect": 0.5, "chosen": 0.1},
        }
        for n in range(4)
    ]  # fmt: skip
    flip = {"id": "1", "question": "Is it? " * 30, "before": 0.5, "after": -0.5}
    outcomes = ("worse", "held", "broken", "better", "new", "not_comparable")
    changes = [
        change_of(record["id"], outcome, flips={"lost": 1}, flipped=[flip], reasons=["why"], message="as it was said")
        for record, outcome in zip(claims, outcomes, strict=True)
    ]
    long = ["A rather long reply of several words. " * 30, "A short one.\n\nOf two paragraphs.", "", "w" * 700]
    claims.append(generates("talks", 4, long, turns=3, suite="suite0"))
    return report_of(claims) | {
        "comparison": {"rows": rows, "tasks": [], "entanglement": maps},
        "against": against(*changes),
    }


@pytest.fixture
def visit(browser, files):
    """Opens a page in a fresh window; everything that goes wrong in it is in ``.faults``, every request in ``.requests``."""
    windows = []

    def open_page(name, width=1200, scheme="light", height=900, hash="", **more):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        windows.append(context)
        page = context.new_page()
        page.faults, page.requests = [], []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("dialog", lambda dialog: (page.faults.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto((files / f"{name}.html").as_uri() + hash)
        return page

    yield open_page
    for context in windows:
        context.close()


# --- nothing is obeyed -------------------------------------------------------------------------------------------------------


HASHES = ("#<img src=x onerror=window.hit=1>", "#%E0%A4%A", "#javascript:window.hit=1")


def test_no_script_runs_and_nothing_is_requested(visit, files):
    page = visit("hostile")
    page.evaluate(OPEN)
    page.evaluate(LAY_OUT)
    page.locator("[name=text]").fill("<img src=x onerror=window.hit=1>")
    page.locator("[name=suite]").select_option(index=2)
    page.locator("button[type=reset]").click()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(200)
    own = (files / "hostile.html").as_uri()
    # The same page opened with addresses that would like to be obeyed: a window for each, since a hash alone loads nothing anew.
    for one in (page, *(visit("hostile", hash=hash) for hash in HASHES)):
        assert one.evaluate("window.hit") is None
        assert [url for url in one.requests if url.partition("#")[0] != own and url != "data:,"] == []
        assert one.faults == []
        assert one.url.partition("#")[0] == own
        assert one.locator("img, iframe, object, embed, base, form[action]").count() == 0
        assert one.locator("script").count() == 1


def test_the_policy_stops_what_would_get_in(visit):
    """The test above could fail: an element that somebody did get into the page does not run, and the browser says why."""
    page = visit("plain")
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x onerror=\"window.hit = 1\">')"
    )
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 2'}))")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None
    assert any("Content Security Policy" in fault for fault in page.faults)


# --- it can be read ----------------------------------------------------------------------------------------------------------

OVERFLOWING = """() => {
  const wide = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > wide ? ['the page: ' + document.documentElement.scrollWidth] : [];
  for (const one of document.body.querySelectorAll('*')) {
    if (one.closest('.vh, .skip') || one.closest('svg') && one.tagName !== 'svg') continue;
    const box = one.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const scroller = one.parentElement.closest('.scroll, pre');
    if (!scroller && (box.right > wide + 1 || box.left < -1)) found.push(`${one.tagName}.${one.className}: ${box.left} to ${box.right}`);
  }
  return found.slice(0, 9);
}"""
# The boxes of all lines of text: no two may share more than a pixel or two.
OVERLAPPING = """() => {
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest('svg, script, .vh, .skip, option') || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const clip = parent.closest('.scroll, pre');
    const edge = clip ? clip.getBoundingClientRect().right : Infinity;
    for (const box of range.getClientRects()) {
      if (box.width > 1 && box.left < edge) lines.push([box.top + scrollY, box.bottom + scrollY, box.left, Math.min(box.right, edge), node]);
    }
  }
  for (const box of document.querySelectorAll('.drawing svg, .strip svg, .fields input, .fields select, .fields button')) {
    const at = box.getBoundingClientRect();
    if (box.checkVisibility() && !box.closest('.figures.wide')) lines.push([at.top + scrollY, at.bottom + scrollY, at.left, at.right, box]);
  }
  lines.sort((a, b) => a[0] - b[0]);
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    for (let j = i + 1; j < lines.length && lines[j][0] < lines[i][1]; j++) {
      const [a, b] = [lines[i], lines[j]];
      if (a[4] === b[4] || a[4].contains(b[4]) || b[4].contains(a[4])) continue;
      const down = Math.min(a[1], b[1]) - b[0], across = Math.min(a[3], b[3]) - Math.max(a[2], b[2]);
      if (down > 5 && across > 2) found.push(`${a[4].textContent.slice(0, 40)} | ${b[4].textContent.slice(0, 40)}: ${down} x ${across}`);
    }
  }
  return found.slice(0, 9);
}"""


# Nothing but colours depends on the scheme.
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_nothing_overflows_or_overlaps(visit, name, scheme):
    page = visit(name, 360, scheme)
    page.evaluate(LAY_OUT)
    for opened in (False, True):
        if opened:
            page.evaluate(OPEN)
        for width in (360, 1280, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            assert (width, page.evaluate(OVERFLOWING)) == (width, [])
            assert (width, page.evaluate(OVERLAPPING)) == (width, [])


CUT_CHOICES = """() => [...document.querySelectorAll('.fields select, .fields input')].flatMap(select => {
  const style = getComputedStyle(select), canvas = document.createElement('canvas').getContext('2d');
  canvas.font = style.font;
  const texts = select.options ? [...select.options].map(option => option.text) : [select.placeholder];
  const longest = Math.max(...texts.map(text => canvas.measureText(text).width));
  const room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return longest > room ? [`${select.name}: ${longest} in ${room}`] : [];
})"""


@pytest.mark.parametrize("name", ["full", "plain"])
def test_no_choice_is_cut(visit, name):
    page = visit(name, 1280)
    for width in (1280, 1000, 700, 360):
        page.set_viewport_size({"width": width, "height": 900})
        assert (width, page.evaluate(CUT_CHOICES)) == (width, [])


def test_overlaps_and_overflows_would_be_found(visit):
    page = visit("plain", 360)
    page.evaluate("document.querySelector('.lead').style.marginTop = '-30px'")
    assert page.evaluate(OVERLAPPING) != []
    page.evaluate("document.querySelector('h1').style.width = '500px'")
    assert page.evaluate(OVERFLOWING) != []


# For axe the claims of one verdict are all the same; the one with replies is not.
ONE_OF_EACH = """() => {
  const seen = new Set();
  for (const claim of document.querySelectorAll('.claim')) {
    const kind = claim.className + Boolean(claim.querySelector('.replies'));
    if (seen.has(kind)) claim.remove(); else seen.add(kind);
  }
}"""


@pytest.mark.parametrize(
    ("width", "scheme", "rules"),
    [
        (360, "light", None),
        (1600, "dark", ["color-contrast"]),  # of all rules the one that looks at colours
        pytest.param(360, "dark", None, marks=pytest.mark.nightly),
        pytest.param(1600, "light", None, marks=pytest.mark.nightly),
        pytest.param(1600, "dark", None, marks=pytest.mark.nightly),
    ],
)
def test_axe_finds_nothing_serious(visit, width, scheme, rules):
    page = visit("full", width, scheme)
    page.evaluate(ONE_OF_EACH)
    page.evaluate(OPEN)
    page.evaluate(LAY_OUT)
    # What holds is not told in full: that took as long as the checks.
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = axe.Axe().run(page, options=options).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []


def test_figures_follow_the_scheme(visit):
    colours = {}
    for scheme in ("light", "dark"):
        page = visit("plain", scheme=scheme)
        page.evaluate(OPEN)
        colours[scheme] = page.evaluate(
            "[...document.querySelectorAll('.drawing svg *')].flatMap(one => [getComputedStyle(one).fill, getComputedStyle(one).stroke])"
        )
    changed = {pair for pair in zip(colours["light"], colours["dark"], strict=True) if pair[0] != pair[1]}
    assert ("rgb(11, 92, 173)", "rgb(125, 183, 245)") in changed
    assert ("rgb(179, 38, 30)", "rgb(255, 143, 133)") in changed
    kept = {one for one in colours["dark"] if one in colours["light"]}
    assert kept <= {"none", "rgb(0, 0, 0)", "rgba(0, 0, 0, 0)"}  # the last two: of elements that are not painted


# --- it can be used ----------------------------------------------------------------------------------------------------------


def shown(page):
    return page.locator(".claim:visible h3").all_text_contents()


def test_filters(visit):
    page = visit("plain")
    assert shown(page) == ["breaks", "unread", "open", "unexpected", "known", "holds"]
    assert page.locator(".status").inner_text() == "All 6 claims are shown."
    page.get_by_label("broken").check()
    assert shown(page) == ["breaks"]
    page.get_by_label("held 1").check()
    assert shown(page) == ["breaks", "holds"]
    assert page.locator(".status").inner_text() == "2 of 6 claims are shown."
    page.locator("button[type=reset]").click()
    sync_api.expect(page.locator(".claim[hidden]")).to_have_count(0)
    page.locator("[name=suite]").select_option("second")
    assert shown(page) == ["open", "known"]
    page.locator("[name=text]").fill("INCONCLUSIVE open")
    sync_api.expect(page.locator(".claim:not([hidden])")).to_have_count(1)
    assert shown(page) == ["open"]


def test_sorts(visit):
    page = visit("plain")
    page.locator("[name=order]").select_option("name")
    assert shown(page) == ["breaks", "holds", "known", "open", "unexpected", "unread"]
    page.locator("[name=order]").select_option("place")
    assert shown(page) == ["holds", "breaks", "open", "known", "unexpected", "unread"]
    page.locator("[name=order]").select_option("importance")
    assert shown(page)[:2] == ["breaks", "unread"]


def test_the_keyboard_reaches_everything(visit):
    page = visit("plain")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.name || document.activeElement.className || document.activeElement.tagName"
            )
        )
    for wanted in ("skip", "verdict", "text", "suite", "kind", "order", "open", "SUMMARY"):
        assert wanted in reached, reached
    page.locator("[name=verdict][value=broken]").focus()
    page.keyboard.press("Space")
    assert shown(page) == ["breaks"]
    page.locator(".claim:visible .whole > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator(".claim:visible .body").first.is_visible()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # focus is seen
    page.locator("[name=order]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("[name=order]").input_value() == "place"


def test_a_link_opens_its_claim_whatever_is_filtered(visit):
    page = visit("plain")
    anchor = page.locator(".claim.held").get_attribute("id")
    linked = visit("plain", hash=f"#{anchor}")
    assert linked.locator(f"#{anchor} .body").is_visible()
    assert linked.locator(".body:visible").count() == 1
    page.get_by_label("broken").check()
    assert not page.locator(f"#{anchor}").is_visible()
    page.evaluate(f"location.hash = '{anchor}'")
    sync_api.expect(page.locator(f"#{anchor} .whole[open]")).to_have_count(1)
    assert page.locator(f"#{anchor} .body").is_visible()
    sync_api.expect(page.locator(f"#{anchor}")).to_be_in_viewport()


def test_open_all_and_close_all(visit):
    page = visit("plain")
    page.locator("button[name=open]").click()
    assert page.evaluate("[...document.querySelectorAll('.whole')].every(one => one.open)")
    page.get_by_role("button", name="Close all").click()
    assert not page.evaluate("[...document.querySelectorAll('.whole')].some(one => one.open)")


def test_without_scripts_it_is_all_there(visit):
    page = visit("plain", java_script_enabled=False)
    assert page.locator(".claim").count() == 6
    assert not page.locator(".controls").is_visible()
    page.locator(".claim.broken summary").first.click()
    assert page.locator(".claim.broken .figures").is_visible()


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.nightly), "dark"])
def test_on_paper_it_is_unfolded_and_black_on_white(visit, scheme):
    page = visit("plain", scheme=scheme)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".controls").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.locator(".body:visible").count() == 6
    assert page.locator(".items ol:visible").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator(".body:visible").count() == 0
    assert len(page.pdf()) > 50_000  # which the browser makes without an error
    assert page.faults == []


# --- it is quick -------------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_sixty_claims_of_two_thousand_items(browser, tmp_path):
    """Below 15 MB, and drawn within two seconds of its opening."""
    claims = [steers(f"claim-{n}", slopes(2000, n), texts=[f"Is it {'so ' * 30}{n}?"], suite=f"s{n % 5}") for n in range(60)]
    file = tmp_path / "large.html"
    file.write_text(page_of(report_of(claims)), encoding="utf-8")
    assert file.stat().st_size < 15_000_000
    page = browser.new_page()
    times = []
    for _ in range(3):
        page.goto(file.as_uri())
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
        times.append(page.evaluate("performance.now()"))
    assert min(times) < 2000
    assert page.locator(".claim").count() == 60
    page.close()
