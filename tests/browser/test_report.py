"""The report in a browser: at the width of a phone and of a desk, on paper, and by rules of WCAG.

`make test-browser` runs it. Without Chromium it fails and says so: nothing is skipped.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe

from dndiv.paper import page, pictures
from dndiv.paper.files import REFERENCE

WIDTHS = {"phone": (390, 844), "desk": (1280, 800)}
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "small", lambda png: png)  # it takes seconds, and changes colours
        path.write_text(page.html(page.content(REFERENCE)), "utf8")
    return path


@pytest.fixture(params=WIDTHS)
def shown(browser, file, request):
    """The page, offline; whatever it asks for, and every error, fails the test."""
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    tab, wrong = context.new_page(), []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("data:") else None)
    tab.goto(file.as_uri())
    yield tab
    context.close()
    assert wrong == [file.as_uri()]


def test_no_rule_of_wcag_is_violated(shown):
    found = Axe().run(shown, options=WCAG).response
    assert found["violations"] == [] and len(found["passes"]) > 15
    shown.evaluate("document.querySelector('img').removeAttribute('alt')")
    shown.evaluate("document.querySelector('.lead').style.color = '#bbb'")
    broken = {v["id"] for v in Axe().run(shown, options=WCAG).response["violations"]}
    assert broken == {"image-alt", "color-contrast"}  # the rules are at work


def test_the_findings_are_on_the_first_screen_and_nothing_runs_out_of_it(shown):
    width, height = shown.viewport_size.values()
    shown.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    items = shown.locator(".findings li")
    assert items.first.bounding_box()["y"] < height / 2
    if width > 1000:
        last = items.nth(4).bounding_box()  # the five lines; below them is how to read them
        assert last["y"] + last["height"] <= height
    for selector, least in (("#verdicts td", 12), (".findings li", 13), ("figcaption", 14)):
        size = shown.locator(selector).first.evaluate("e => getComputedStyle(e).fontSize")
        assert float(size.removesuffix("px")) >= least


def test_pictures_are_drawn_and_lie_within_the_page(shown):
    width = shown.viewport_size["width"]
    assert shown.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    boxes = shown.locator(".picture").evaluate_all("all => all.map(e => e.getBoundingClientRect())")
    assert boxes and all(b["left"] >= 0 and b["right"] <= width for b in boxes)


VISIBLE = """[...document.querySelectorAll("#verdict-table tbody tr")]
    .filter(row => row.getClientRects().length).map(row => row.textContent)"""


def test_verdicts_are_filtered_by_words_claim_and_verdict(shown):
    every = len(shown.evaluate(VISIBLE))

    def left(**values):
        for name, value in values.items():
            field = shown.locator(f"#filter [name={name}]")
            field.fill(value) if name == "words" else field.select_option(value)
        found = shown.evaluate(VISIBLE)
        assert shown.locator("#shown").inner_text() == f"{len(found)} of {every} shown"
        return found

    assert len(left()) == every > 100
    assert shown.get_by_role("combobox", name="Claim", exact=True).count() == 1
    found = left(words="narrow sgd")
    assert len(found) < every and all("narrow" in t and "SGD" in t for t in found)
    fewer = left(claim="early-40")
    assert 0 < len(fewer) < len(found) and all("early-40" in t for t in fewer)
    assert left(said="undecided") == []
    found = left(words="", claim="")
    assert found and all("undecided" in t for t in found)


def test_on_paper_all_rows_are_there_and_nothing_to_click(shown):
    every = len(shown.evaluate(VISIBLE))
    shown.locator("#words").fill("nothing is called so")
    assert shown.evaluate(VISIBLE) == []
    shown.emulate_media(media="print")
    assert len(shown.evaluate(VISIBLE)) == every
    assert not shown.locator("#filter").is_visible() and not shown.locator("nav").is_visible()
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator("details table").is_visible()
