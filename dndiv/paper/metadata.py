"""codecheck.yml: the manifest of what the reference holds, each file with what it is."""

import inspect

import yaml

from dndiv.paper import books, experiments, files
from dndiv.paper.files import REFERENCE

FILE = files.ROOT / "codecheck.yml"
HEAD = """\
# Written by `make report` from the committed reference. A codechecker adds codechecker, report,
# repository and check_time; see docs/checklists.md.
---
"""
PAPER = {
    "title": "Dynamic Neural Diversification: Path to Computationally Sustainable Neural Networks",
    "authors": [{"name": n} for n in ("A. Kovalenko", "P. Kordík", "M. Friedjungová")],
    "reference": "https://doi.org/10.1007/978-3-030-86340-1_19",
}


def codecheck() -> str:
    """The text of codecheck.yml, by the files that the reference has."""
    folder = files.results(REFERENCE)
    pictures = {p.name: p.alternative for s in books.sections(REFERENCE) for p in s.pictures}
    found = {"claims.json": "Every verdict, with its estimate and interval."}
    for file in sorted((folder / "tables").iterdir()):
        name = file.name.split(".")[0]
        experiment = experiments.EXPERIMENTS[experiments.source(name)[0]]
        said = " ".join((inspect.getdoc(experiment) or name).split("\n\n")[0].split())
        found[f"tables/{file.name}"] = said
    for name, said in pictures.items():
        found[f"figures/{name}.png"] = said
    below = folder.relative_to(folder.parents[1]).as_posix()
    manifest = [{"file": f"{below}/{name}", "comment": said} for name, said in found.items()]
    facts = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": PAPER,
        "manifest": manifest,
    }
    return HEAD + yaml.safe_dump(facts, allow_unicode=True, sort_keys=False, width=100)


def write() -> None:
    """Bring codecheck.yml up to the reference."""
    text = codecheck()
    files.atomically(FILE, lambda part: part.write_text(text, "utf8"))
