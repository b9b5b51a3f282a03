"""What the notebooks say of themselves, for the report: questions, answers, and what is below their
pictures.

Nothing is listed by hand. A notebook's words are those of its executed copy, where a run has left
one, and otherwise of its source, which has no outputs. A picture's caption is what the notebook
says next; its alternative text is what the function that draws it says of itself.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dndiv.paper import code, files, notebooks, pictures

CHOSEN = "report"  # tags the cell of the picture that stands for its notebook, in the PDF


@dataclass(frozen=True)
class Picture:
    """A picture in results/<preset>/figures. Texts are Markdown, but for the alternative one."""

    name: str
    heading: str
    caption: str
    alternative: str
    chosen: bool = False


@dataclass
class Section:
    """A notebook: its name, title, question, the answer early on, if it is known, and pictures."""

    name: str
    title: str
    question: str = ""
    answer: str = ""
    pictures: list[Picture] = field(default_factory=list)


def sections(preset: str) -> list[Section]:
    """A section per notebook, and one more for pictures that no notebook draws, if any."""
    folder = files.results(preset) / "figures"
    there = {file.stem for file in folder.glob("*.png") if "." not in file.stem}
    found = [_section(source, preset, there) for source in notebooks.sources()]
    if rest := sorted(there - {p.name for s in found for p in s.pictures}):
        others = [Picture(n, n.replace("_", " "), "", n.replace("_", " ")) for n in rest]
        found.append(Section("", "Other pictures", pictures=others))
    return found


def representative(section: Section) -> Picture | None:
    """The picture that stands for a notebook: the chosen one, or the first."""
    return next((p for p in section.pictures if p.chosen), next(iter(section.pictures), None))


def _section(source: Path, preset: str, there: set[str]) -> Section:
    copy = notebooks.executed(source, preset)
    cells = json.loads((copy if copy.is_file() else source).read_text("utf8"))["cells"]
    words = [notebooks.words(cell) for cell in cells]
    section = Section(source.stem, *_opening(words[0]), answer=notebooks.answer(cells))
    imports = _imports(cells)
    heading = ""
    for k, cell in enumerate(cells):
        if titles := re.findall(r"^##+ (.*)", words[k], flags=re.MULTILINE):
            heading = titles[-1]
        if cell["cell_type"] != "code" or "figures.save(" not in (text := "".join(cell["source"])):
            continue
        tree = ast.parse(text)
        drawn = " ".join(_described(imports, tree))
        caption = _caption(cells[k + 1 :], words[k + 1 :]) or drawn
        chosen = CHOSEN in cell["metadata"].get("tags", ())
        names = list(_saved(tree, there))
        for name in names:
            which = f" ({name.replace('_', ' ')})" * (len(names) > 1)
            alternative = f"{heading.rstrip('.?')}{which}: {drawn or 'a picture'}"
            if not which and drawn.startswith(heading):
                alternative = drawn
            section.pictures.append(Picture(name, heading, caption, alternative, chosen))
    return section


def _caption(cells: list[dict], words: list[str]) -> str:
    """The first that is said after a picture, before the next one and the next heading."""
    for cell, said in zip(cells, words):
        if said:
            return re.split(r"^#", said, flags=re.MULTILINE)[0].strip()
        if "figures.save(" in "".join(cell["source"]):
            break
    return ""


def _opening(text: str) -> tuple[str, str]:
    """Title and question of a notebook, by its first cell."""
    question = re.search(r"\*\*Question\.\*\*(.*?)(\n\n|$)", text, flags=re.DOTALL)
    title = text.splitlines()[0].removeprefix("# ")
    return title, " ".join(question[1].split()) if question else ""


def _imports(cells: list[dict]) -> str:
    """The statements of a notebook that import."""
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    nodes = ast.walk(ast.parse("\n".join(texts)))
    return "\n".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))


def _saved(tree: ast.AST, there: set[str]) -> Iterator[str]:
    """The pictures that a cell keeps, of those that are there: a name may hold what is not known
    before it is executed."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "figures.save":
            name = call.args[1]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            texts = [re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in parts]
            pattern = "".join(texts)
            yield from sorted(n for n in there if re.fullmatch(pattern, n))


def _described(imports: str, tree: ast.AST) -> Iterator[str]:
    """What the drawing functions that a cell calls say of their pictures, without their
    arguments."""
    cell = ast.Module([*ast.parse(imports).body, *tree.body], [])
    for module, name in dict.fromkeys(code.mentioned(cell)):
        if not module.startswith("dndiv.paper.figures."):
            continue
        text = files.ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf8")
        for node in ast.parse(text).body:
            draws = isinstance(node, ast.FunctionDef) and node.returns
            if draws and node.name == name and ast.unparse(node.returns).endswith("Figure"):
                yield pictures.described(ast.get_docstring(node))
