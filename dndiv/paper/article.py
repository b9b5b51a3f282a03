"""results/<preset>/report.pdf: the same results in the manner of a ReScience C article.

Typst sets it, with the fonts that it brings along; what is said comes to it as JSON. Notebooks come
in the order of the claims that they examine; where they would take more than ``PAGES`` pages, the
last are left to report.html.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path

from dndiv.paper import books, files, pictures

PAGES = 12
PLAIN = (
    *("title", "preset", "notice", "claims", "differences", "fragile", "footnote", "assumptions"),
    *("provenance", "times"),
)
MARKS = {"**": "strong", "*": "emph", "`": "raw"}  # of Markdown, and what Typst calls it


def pdf(said: dict) -> bytes:
    """The article, from what ``page.content`` gives."""
    return _set(said, format="pdf", pdf_standards="ua-1")


def pages(said: dict, ppi: int = 80) -> list[bytes]:
    """Its pages, as PNG."""
    made = _set(said, format="png", ppi=ppi)
    return made if isinstance(made, list) else [made]


def segments(text: str) -> list[list[list[str]]]:
    """Markdown as lines of pieces, each with what it is: strong, emph, raw, text, or a link, whose
    address comes last."""
    pattern = re.compile(r"(\*\*|\*|`)(?=\S)(.+?)(?<=\S)\1|\[([^]]+)\]\((https?:[^)]+)\)")

    def line(words):
        pieces, at = [], 0
        for match in pattern.finditer(words):
            marked = [MARKS[match[1]], match[2]] if match[1] else ["link", match[3], match[4]]
            pieces += [["text", words[at : match.start()]], marked]
            at = match.end()
        return [piece for piece in [*pieces, ["text", words[at:]]] if piece[1]]

    # what goes on in the next line is one line
    joined = re.sub(r"\n(?!\s*([*-] |\||$))\s*", " ", text.strip(), flags=re.MULTILINE)
    lines = (re.sub(r"^\s*[*-] ", "", words).strip() for words in joined.splitlines())
    return [line(words.replace(" %", "\N{NO-BREAK SPACE}%")) for words in lines if words]


def cells(table: str) -> list[list[list[list[str]]]]:
    """The rows of a Markdown table, the first its head: of each cell its pieces."""
    rows = [line.strip().strip("|").split(" | ") for line in table.splitlines() if line]
    return [
        [next(iter(segments(cell)), [["text", ""]]) for cell in row]
        for k, row in enumerate(rows)
        if k != 1  # the rule below the head
    ]


def _parts(said: dict) -> list[dict]:
    """The notebooks of claims, in the order of these: title, answer, picture."""
    order = list(dict.fromkeys(c["notebook"] for c in said["claims"] if c["notebook"]))
    known = {s.name: s for s in said["sections"]}
    found = []
    for section in (known[name] for name in order if name in known):
        picture = books.representative(section)
        found.append(
            {
                "title": section.title,
                "question": section.question,
                # a table stands on the first page
                "answer": [] if "\n|" in section.answer else segments(section.answer),
                "file": picture and f"{picture.name}.png",
                "alternative": picture and picture.alternative,
            }
        )
    return found


def _set(said: dict, **options):
    """What Typst makes of it, with as many notebooks as there is room for."""
    try:
        import typst
    except ImportError as error:
        raise RuntimeError("report.pdf is set by Typst: pip install typst") from error
    from dndiv.paper import page

    parts = _parts(said)
    facts = {name: said[name] for name in PLAIN}
    facts |= {name: segments(said[name]) for name in ("findings", "coverage")}
    above, _, table = said["starts"].partition("\n\n")
    facts |= {"above_starts": segments(above), "starts": cells(table)}
    facts |= {"parts": parts, "pictures": sum(len(s.pictures) for s in said["sections"])}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "said.json").write_text(json.dumps(facts), "utf8")
        for file in filter(None, (part["file"] for part in parts)):
            picture = files.content(said["folder"] / "figures" / file)
            (folder / file).write_bytes(pictures.small(picture))
        source = shutil.copy(page.TEMPLATES / "report.typ", folder)
        for shown in range(len(parts), -1, -1):
            how = {"root": name, "ignore_system_fonts": True, "sys_inputs": {"shown": str(shown)}}
            [count] = json.loads(typst.query(source, "<pages>", field="value", **how))
            if count <= PAGES or not shown:
                return typst.compile(source, **how, **options)
