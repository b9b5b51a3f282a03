"""The report, as a page and on paper: what it says, from what, and whether all can read it."""

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import pytest

from dndiv.paper import article, books, commands, files, page, pictures, report
from dndiv.paper.claims import TOGETHER
from dndiv.paper.files import REFERENCE

VOID = {"meta", "img", "br", "input", "source", "hr"}


class Tree(HTMLParser):
    """The elements of a page in order: (tag, attributes, text in it so far)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open, f"not closed: {[tag for tag, _, _ in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def all(self, *tags):
        return [(a, " ".join("".join(t).split())) for tag, a, t in self.found if tag in tags]


@pytest.fixture(scope="module")
def said():
    return page.content(REFERENCE)


@pytest.fixture(scope="module")
def html(said):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "small", lambda png: png)  # the colours are tested by themselves
        return page.html(said)


@pytest.fixture(scope="module")
def tree(html):
    return Tree(html)


def test_the_page_needs_nothing_beside_it(tree, html):
    for tag, attributes, _ in tree.found:
        assert tag not in ("link", "iframe", "base")
        assert attributes.get("src", "data:").startswith("data:")
        if tag == "a":
            assert attributes["href"].startswith(("#", "https://"))
    assert "url(" not in html.split("</style>")[0] and "@import" not in html


def test_headings_tables_pictures_and_names_are_as_a_reader_s_software_needs_them(tree):
    levels = [int(tag[1]) for tag, _, _ in tree.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    ids = Counter(a["id"] for _, a, _ in tree.found if "id" in a)
    assert max(ids.values()) == 1
    assert {a["href"][1:] for a, _ in tree.all("a") if a["href"].startswith("#")} <= set(ids)
    assert tree.all("html")[0][0]["lang"] == "en" and len(tree.all("main")) == 1
    assert all(len(a["alt"]) > 20 for a, _ in tree.all("img"))
    assert len({a["alt"] for a, _ in tree.all("img")}) == len(tree.all("img"))
    captioned = [t for t in tree.all("table") if t[0].get("role") or "Fact" in t[1]]
    assert len(tree.all("caption")) >= len(captioned) == 4
    assert all("scope" in a for a, text in tree.all("th") if "style" not in a and text not in HEADS)
    assert all(a.get("name") for a, _ in tree.all("input", "select"))
    assert len(tree.all("label")) == len(tree.all("input", "select"))


HEADS = {"claim", "setting", "from", "to"}  # of the Markdown table of changes


def test_every_picture_verdict_assumption_and_change_is_there(tree, said):
    drawn = {f.stem for f in (files.results(REFERENCE) / "figures").glob("*.png")}
    drawn = {name for name in drawn if not name.endswith(".narrow")}
    assert {a["id"] for a, _ in tree.all("figure")} == {f"fig-{page.slug(n)}" for n in drawn}
    assert all(text for _, text in tree.all("figcaption"))
    entries = json.loads((files.results(REFERENCE) / "claims.json").read_text("utf8"))
    assert sum("data-said" in a for a, _ in tree.all("tr")) == len(entries)
    text = " ".join(t for _, t in tree.all("main"))
    for entry in said["assumptions"]:
        assert " ".join(entry["otherwise"].split()) in text.replace("\N{NO-BREAK SPACE}", " ")
    changed = (files.results(REFERENCE) / "verdicts_changed.md").read_text("utf8")
    [(_, shown)] = tree.all("details")
    for line in changed.splitlines():
        if line.startswith("| ") and "---" not in line:
            assert " ".join(cell.strip() for cell in line.strip("|").split("|")) in shown


def test_the_answer_is_what_comes_first(tree):
    first = tree.all("section")[0]
    readme = (files.ROOT / "README.md").read_text("utf8")
    [lines] = re.findall("<!-- begin lines -->\n(.*)\n<!-- end lines -->", readme, re.DOTALL)
    lines = re.sub(r"\[([^]]*)\]\(http[^)]*\)", r"\1", lines)
    plain = re.sub(r"[*`]|^ ", "", lines, flags=re.MULTILINE).replace(" %", "\N{NO-BREAK SPACE}%")
    assert first[0]["id"] == "findings"
    assert all(" ".join(line.split()) in first[1] for line in plain.splitlines() if line)


def test_a_mean_that_few_settings_make_stands_beside_the_median_of_all(said):
    results = report.read(files.results(REFERENCE) / "claims.json")
    claimed = {claim["name"]: claim["joint"] for claim in said["claims"]}
    relayed = [r for r in results if r.claim == "finding-relayed" and r.setting != TOGETHER]
    low, high = sorted(r.estimate for r in relayed)[11:13]  # of 24
    [(_, shown, _)] = claimed["finding-relayed"]
    assert shown.endswith(f"the median setting {report.percent((low + high) / 2)}")
    assert not any("median" in shown for _, shown, _ in claimed["early-help"])


@pytest.fixture
def changed(results):
    """The reference as a run of the quick preset, to be changed."""
    there = files.results(REFERENCE)
    (results / "quick" / "figures").mkdir(parents=True)
    for name in ("claims.json", "provenance.json"):
        shutil.copy(there / name, results / "quick")
    (results / "quick" / "tables").symlink_to(there / "tables")
    shutil.copy(there / "figures" / "init_welch.png", results / "quick" / "figures")
    return results / "quick"


def test_what_changes_in_the_results_changes_in_the_words(changed):
    before = page.content("quick")
    entries = json.loads((changed / "claims.json").read_text("utf8"))
    first = next(
        e for e in entries if e["claim"] == "finding-tuned-40" and e["verdict"] == "reproduced"
    )
    for entry in (first, entries[0]):
        entry |= {"verdict": "the opposite", "estimate": -0.987}
    (changed / "claims.json").write_text(json.dumps(entries))
    facts = json.loads((changed / "provenance.json").read_text("utf8"))
    facts["versions"]["torch"] = "9.8.7"
    (changed / "provenance.json").write_text(json.dumps(facts | {"notice": "ONLY <b>DIGITS"}))
    shutil.copy(changed / "figures" / "init_welch.png", changed / "figures" / "brand_new.png")
    after = page.content("quick")
    text = page.html(after)
    assert "; the others -13.5 % to " in before["findings"] and not before["notice"]
    assert "; the others -98.7 % to " in after["findings"]
    assert all(t in text for t in ("-98.7\N{NO-BREAK SPACE}%", "9.8.7", "ONLY &lt;b&gt;DIGITS"))
    assert not before["differences"] and "the opposite, registered" in after["differences"][0]
    assert [s.title for s in after["sections"] if s.pictures][-1] == "Other pictures"
    assert 'id="fig-brand_new"' in text and 'id="changes"' not in text


def test_a_layout_for_narrow_screens_is_taken_where_there_is_one(changed):
    wide = (changed / "figures" / "init_welch.png").read_bytes()
    for name in ("init_welch.narrow.png", "wide_alone.png"):
        (changed / "figures" / name).write_bytes(wide)
    text = page.html(page.content("quick"))
    assert text.count("<source") == 1 and text.count("<figure") == 2


def test_digits_that_stand_in_are_no_answer(changed):
    entries = json.loads((changed / "claims.json").read_text("utf8"))
    for entry in entries:
        entry |= {"verdict": "not tested", "reason": "embedded digits", "carried_by": None}
    (changed / "claims.json").write_text(json.dumps(entries))
    facts = json.loads((changed / "provenance.json").read_text("utf8"))
    (changed / "provenance.json").write_text(json.dumps(facts | {"data": {"Digits": "0"}}))
    assert "decide no claim" in page.content("quick")["notice"]
    said = page.content("quick")["findings"]
    assert "`early-40`, 12 settings: not tested in 12" in said and "The 40 %" not in said


def test_no_result_is_written_into_the_templates():
    """But for the 95 % of intervals there is no share, estimate or count in their prose."""
    for name, start in (("report.html", "<body>"), ("report.typ", "= What came out")):
        text = (page.TEMPLATES / name).read_text("utf8").partition(start)[2]
        prose = re.sub(r"<script>.*?</script>|\{[{%].*?[}%]\}|doi [\d./_-]+", "", text, flags=re.S)
        assert not re.findall(r"[+−-]?\d[\d.,]* ?%(?!\))", prose.replace("95 %", ""))
        assert not re.findall(r"\bin \d+\b|\b\d+ of \d+\b", prose)


def luminance(color):
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_words_stand_out_from_what_is_behind_them():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)  # the formula of WCAG 2
    root = re.search(r":root \{(.*?)\}", (page.TEMPLATES / "report.html").read_text("utf8"))[1]
    colors = dict(re.findall(r"--(\w+): (#\w{6})", root))
    pairs = [*page.COLORS.values()]
    pairs += [(colors[w], behind) for w in ("ink", "soft", "accent")
              for behind in ("#ffffff", colors["wash"], "#eef1f4")]  # fmt: skip
    assert min(contrast(*pair) for pair in pairs) >= 4.5
    assert {*page.claims.VERDICTS, page.OFF} == set(page.COLORS)


# ------------------------------------------------------------------------------------- on paper
def test_the_article_has_twelve_pages_at_most_and_names_what_it_leaves_out(said):
    assert article.pdf(said).startswith(b"%PDF")
    assert 3 <= len(article.pages(said, ppi=20)) <= article.PAGES
    long = "* " + "More words than there is room for. " * 150
    many = [books.Section(f"9{k}_x", "Long", answer=long) for k in range(12)]
    claims = [said["claims"][0] | {"notebook": s.name} for s in many]
    fuller = said | {"sections": said["sections"] + many, "claims": said["claims"] + claims}
    assert len(article.pages(fuller, ppi=20)) <= article.PAGES


def test_markdown_is_taken_apart_as_it_is_shown():
    text = "* **Bold:** and `code`\n  goes on, *so*\n* 2 * 3 = 6, [-1 %]\n\nlast"
    assert article.segments(text) == [
        [["strong", "Bold:"], ["text", " and "], ["raw", "code"], ["text", " goes on, "],
         ["emph", "so"]],
        [["text", "2 * 3 = 6, [-1\N{NO-BREAK SPACE}%]"]],
        [["text", "last"]],
    ]  # fmt: skip
    linked = [["text", "by "], ["link", "A & B", "https://x.org/1"], ["text", " [2]"]]
    assert article.segments("by [A & B](https://x.org/1) [2]") == [linked]
    table = "| a | **b** |\n| --- | --- |\n| 1 |  |\n"
    assert article.cells(table) == [
        [[["text", "a"]], [["strong", "b"]]],
        [[["text", "1"]], [["text", ""]]],
    ]
    assert article.cells("") == []


def test_formulas_become_plain_characters():
    assert page.without_formulas(r"about $\sqrt{2/(\pi d)}$, $n = d$") == "about √(2/(π d)), n = d"
    assert page.without_formulas("costs 5 $ and 6") == "costs 5 $ and 6"


def test_links_that_lead_nowhere_from_a_lone_page_are_words():
    convert = page.markdown()
    assert "<a" not in convert("see [the log](../CHANGELOG.md)")
    assert 'href="https://x.org"' in convert("[x](https://x.org)")
    assert "<script" not in convert("<script>1</script>")


def test_a_report_without_a_run_says_how_to_make_one(results, capsys):
    assert commands.main(["report", "--preset", "quick"]) == 1
    assert "make them with `make reproduce PRESET=quick`" in capsys.readouterr().err


# ------------------------------------------------------------------------- what notebooks say
def notebook(*cells):
    return json.dumps({"cells": [{"metadata": {}, "outputs": [], **cell} for cell in cells]})


def code_cell(source, said="", tags=()):
    outputs = [{"data": {"text/markdown": said}}] if said else []
    return {"cell_type": "code", "source": source, "outputs": outputs, "metadata": {"tags": tags}}


def text_cell(source):
    return {"cell_type": "markdown", "source": source}


@pytest.fixture
def book(results, tmp_path, monkeypatch):
    monkeypatch.setattr(books.notebooks, "FOLDER", tmp_path / "books")
    (tmp_path / "books").mkdir()
    (results / "smoke" / "figures").mkdir(parents=True)
    for name in ("one", "two_a", "two_b", "three"):
        (results / "smoke" / "figures" / f"{name}.png").touch()

    def write(executed, *cells):
        folder = results / "smoke" / "notebooks" if executed else tmp_path / "books"
        folder.mkdir(exist_ok=True)
        (folder / "01_x.ipynb").write_text(notebook(*cells), "utf8")
        return books.sections("smoke")

    return write


def cells(answer="", caption=""):
    return [
        text_cell("# A title\n\n**Question.** Is it\nso?\n\nMore."),
        code_cell("from dndiv.paper import figures\nfrom dndiv.paper.figures import early"),
        text_cell("## In short"),
        code_cell("Markdown(x)", answer),
        text_cell("## First"),
        code_cell('figures.save(early.forest(x), "one", t, PRESET)'),
        code_cell("Markdown(y)", caption),
        text_cell("Not this.\n\n## Second"),
        code_cell('for n in "ab":\n    figures.save(f(n), f"two_{n}", t, PRESET)', tags=["report"]),
        text_cell("Below.\n## Next"),
    ]


def test_captions_and_alternatives_are_what_notebooks_and_functions_say(book):
    source, other = book(False, *cells())
    assert (source.title, source.question, source.answer) == ("A title", "Is it so?", "")
    one, *two = source.pictures
    drawn = "Effects with intervals, a row per cell, a panel per comparison, on a common ratio "
    assert one.alternative == f"First: {drawn}axis." and one.caption == "Not this."
    assert [p.name for p in two] == ["two_a", "two_b"] and two[0].caption == "Below."
    assert two[0].alternative != two[1].alternative
    assert books.representative(source) == two[0] and [p.name for p in other.pictures] == ["three"]
    executed, _ = book(True, *cells("**Yes.**", "So it is."))
    assert executed.answer == "**Yes.**" and executed.pictures[0].caption == "So it is."


def test_pictures_become_smaller_and_stay_what_they_are():
    import io

    from PIL import Image, ImageChops

    buffer = io.BytesIO()
    channels = [Image.effect_noise((300, 200), 8) for _ in "RGB"]
    Image.merge("RGB", channels).save(buffer, "PNG")
    png = buffer.getvalue()
    small = pictures.small(png)
    one, other = (Image.open(io.BytesIO(b)).convert("RGB") for b in (png, small))
    assert len(small) < 0.9 * len(png)
    assert pictures.size(small) == one.size == pictures.size(png) == (300, 200)
    assert max(high for _, high in ImageChops.difference(one, other).getextrema()) < 64
    assert pictures.small(small) == small
