"""results/<preset>/report.html: one file that needs nothing beside it, made of results alone.

What it says is gathered by ``content``, which report.pdf (``article``) says as well.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd

from dndiv.paper import answer, books, claims, files, names, pictures, report, schema, tables
from dndiv.paper.claims import NOT_TESTED, OFF, TOGETHER, Result
from dndiv.paper.design import SETTINGS
from dndiv.paper.files import REFERENCE

TITLE = "Dynamic Neural Diversification"
TEMPLATES = Path(__file__).with_name("templates")
SIZES = ", ".join(f"*{name}* {len(of)}×{of[0]}" for name, of in SETTINGS.items())
LEGEND = f"""
* **How to read it:** networks have layers × units: {SIZES}; early accuracy is the mean test \
accuracy after epochs 1 to 5; estimates are relative changes, or rank correlations ρ, with 95 % \
intervals over seeds. *Reproduced*: the interval lies above what is of interest, and, where the \
paper gives a number, above zero and reaches that; *smaller*: it ends below that number; *by \
scale*: not shown to be above it once scale is held; *no practical effect*: too small either way; \
*the opposite*: as far the other way; *undecided*: the interval crosses one of these borders; \
*off*: left out by tuning, and not tested; †: one seed, whichever, decides."""
DIGITS = "Embedded digits in use: they decide no claim about MNIST or Fashion-MNIST."
# behind and of the words of a verdict; those by scale are hatched
COLORS = {
    "reproduced": ("#cfe6f7", "#0b3c5d"),
    "reproduced, smaller": ("#dff0ea", "#0d4a38"),
    "by construction": ("#e4e0f2", "#3a2f6b"),
    "no practical effect": ("#e6e6e6", "#333333"),
    "the opposite": ("#f9d9c8", "#6e2400"),
    "not reproduced": ("#fbe8c6", "#5c3d00"),
    "undecided": ("#ffffff", "#444444"),
    OFF: ("#f4f4f4", "#555555"),
    NOT_TESTED: ("#f4f4f4", "#555555"),
}


def make(preset: str) -> list[Path]:
    """Write report.html and report.pdf of a preset from what it has left; the files."""
    from dndiv.paper import article

    said = content(preset)
    folder = files.results(preset)
    page, paper = folder / "report.html", folder / "report.pdf"
    files.atomically(page, lambda part: part.write_text(html(said), "utf8"))
    files.atomically(paper, lambda part: part.write_bytes(article.pdf(said)))
    return [page, paper]


def content(preset: str) -> dict:
    """All that is said of the results of a preset, in Markdown, numbers and tables of text.

    FileNotFoundError where there is no finished run.
    """
    folder = files.results(preset)
    if not (folder / "claims.json").exists():
        which = "" if preset in ("paper", REFERENCE) else f" PRESET={preset}"
        raise FileNotFoundError(
            f"there are no verdicts in {folder}; make them with `make reproduce{which}`"
        )
    results = registered(report.read(folder / "claims.json"))
    facts = files.stored(folder / "provenance.json")
    images = {*facts.get("data", ())} - {names.SERIES}
    covered, changed = folder / "coverage.csv", folder / "verdicts_changed.md"
    enough = preset in ("paper", REFERENCE)
    return {
        "title": TITLE,
        "preset": preset,
        "folder": folder,
        "facts": facts,
        "notice": facts.get("notice") or DIGITS * (images == {"Digits"}),
        "findings": _findings(results, preset),
        "starts": _starts(results, preset),
        "claims": [_claim(name, results) for name in dict.fromkeys(r.claim for r in results)],
        "verdicts": [_verdict(r) for r in results],
        "differences": report.differences(results, enough),
        "fragile": sum(r.fragile for r in results),
        "footnote": report.FOOTNOTE,
        "sections": books.sections(preset),
        "assumptions": schema.assumptions(files.ASSUMPTIONS),
        "coverage": report.covers(pd.read_csv(covered)) if covered.is_file() else "",
        "changed": changed.read_text("utf8").partition("\n")[2] if changed.is_file() else "",
        "provenance": _provenance(facts),
        "times": _times(facts),
        "colors": COLORS,
    }


def registered(results: list[Result]) -> list[Result]:
    """Results as they are read, with what claims.yml registers of them now."""
    known = claims.load()

    def expected(r):
        return (known.get(r.claim, {}).get("expected") or {}).get(claims.key(r))

    return [replace(r, expected=expected(r)) for r in results]


def _findings(results: list[Result], preset: str) -> str:
    """The answer in five lines; of data that decide nothing, how many settings have which
    verdict."""
    if _decided(results):
        found = (tables.read(name, preset) for name in answer.LINES)
        return answer.lines(results, *found) + LEGEND
    every = dict.fromkeys(r.claim for r in results)
    return "\n".join(f"* {report.headline(results, name)}." for name in every) + LEGEND


def _starts(results: list[Result], preset: str) -> str:
    """Which start to use where, where anything is decided."""
    if not _decided(results):
        return ""
    return answer.starts(*(tables.read(name, preset) for name in answer.STARTS))


def _decided(results: list[Result]) -> bool:
    return any(r.claim == "early-40" and r.verdict != NOT_TESTED for r in results)


def _claim(name: str, results: list[Result]) -> dict:
    """A claim: its sentence, how many settings have which verdict, and all settings together."""
    found = [r for r in results if r.claim == name]
    joint = [r for r in found if r.setting == TOGETHER]
    counted = claims.counts([r for r in found if r.setting != TOGETHER])
    return {
        "name": name,
        "sentence": found[0].sentence,
        "published": report.percent(found[0].published) if found[0].published else "",
        "notebook": found[0].notebook or "",
        "counts": counted,
        "said": report.in_words(counted),
        "joint": [(_group(r), report.measured(vars(r)) + _middle(r, found), r.said) for r in joint],
    }


def _middle(joint: Result, found: list[Result]) -> str:
    """The median setting beside what is said of all together, which few large ones may make; not of
    techniques, which are off in some."""
    each = [r.estimate for r in found if r.setting != TOGETHER and r.group == joint.group]
    if joint.unit or None in each or any(r.reason == OFF for r in found):
        return ""
    return f", the median setting {report.percent(median(each))}"


def _group(r: Result) -> str:
    return names.title(r.group, names.STARTS | names.TECHNIQUES) if r.group else ""


def _verdict(r: Result) -> dict:
    alone = {label: report.measured(numbers) for label, numbers in (r.alone or {}).items()}
    return {
        "claim": r.claim,
        "where": ", ".join(filter(None, (_group(r), r.setting))) or "–",
        "measured": report.measured(vars(r)),
        "n": "–" if r.n is None else str(r.n),
        "alone": "; ".join(f"{label}: {text}" for label, text in alone.items()) or "–",
        "verdict": r.verdict if r.reason != OFF else OFF,
        "said": r.said,
        "scale": r.carried_by == "scale",
        "mark": report.MARK * r.fragile,
        "beside": "" if r.reason == OFF else report.reason(r),
    }


def _provenance(facts: dict) -> list[tuple[str, str]]:
    """What ran where, as pairs; numbers and lists as text."""
    found = {
        "preset": facts.get("preset"),
        "commit": facts.get("commit"),
        "device": facts.get("device"),
        **facts.get("machine", {}),
        **facts.get("arithmetic", {}),
        **facts.get("versions", {}),
        **{f"SHA-256 of {title}": digest for title, digest in facts.get("data", {}).items()},
    }
    return [(name.replace("_", " "), str(v)) for name, v in found.items() if v not in (None, "")]


def _times(facts: dict) -> list[tuple[str, str, str, str, str]]:
    """What took how long: rows of step, units, seconds, memory, and the time over that of the
    matrix products alone."""

    def row(name, entry, units, seconds, over="–"):
        return name, units, f"{seconds:,.1f}", f"{entry['peak_memory_mib']:,}", over

    trained = [
        row(name, e, str(e["units"]), e["unit_seconds"], report.over_products(e))
        for name, e in facts.get("experiments", {}).items()
    ]
    return trained + [row(n, e, "–", e["seconds"]) for n, e in facts.get("steps", {}).items()]


# --------------------------------------------------------------------------------------- HTML
def html(said: dict) -> str:
    """The page, from what ``content`` gives."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"markdown": markdown(), "slug": slug}
    folder = said["folder"] / "figures"

    def shown(name):
        """A picture, and, where there is one, its layout for narrow screens."""
        narrow = folder / f"{name}.narrow.png"
        wide = pictures.embedded(folder / f"{name}.png")
        return wide, pictures.embedded(narrow) if narrow.is_file() else None

    page = environment.get_template("report.html").render(said | {"shown": shown})
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", page)


def slug(text: str) -> str:
    """A text as a name in HTML: "no practical effect" → "no-practical-effect"."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def markdown() -> Callable[[str], str]:
    """Markdown to HTML. Of links those stay that lead out; a page that was sent to somebody has no
    files beside it."""
    import mistune
    from markupsafe import Markup

    class Renderer(mistune.HTMLRenderer):
        def link(self, text, url, title=None):
            return super().link(text, url, title) if url.startswith("http") else text

        def heading(self, text, level, **attributes):  # the page has headings of its own
            return f"<p><strong>{text}</strong></p>\n"

    convert = mistune.Markdown(
        Renderer(escape=True), plugins=[mistune.plugins.import_plugin("table")]
    )

    def html(text):
        # a wide table scrolls by itself, also by keys; and its heads say what they are heads of
        found = re.sub(r"<th(?=[ >])", '<th scope="col"', convert(without_formulas(text)))
        found = found.replace("<table>", '<div class="table" tabindex="0"><table>')
        return Markup(found.replace("</table>", "</table></div>"))

    return html


def without_formulas(text: str) -> str:
    """TeX between dollars in plain characters, as far as the notebooks use it."""
    words = {"pi": "π", "sim": "~", "le": "≤", "ge": "≥", "cdot": "·", "times": "×", "sum": "Σ"}

    def plain(match):
        formula = re.sub(r"\\(left|right|mathrm|text|,|;)\b ?", "", match[1])
        formula = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", formula)
        formula = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", formula)
        formula = re.sub(r"\\(\w+)", lambda m: words.get(m[1], m[1]), formula)
        return formula.translate(str.maketrans("", "", "{}\\"))

    return re.sub(r"\$([^$\n]+)\$", plain, text)
