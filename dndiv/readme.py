"""The parts of the README that are made from results: between <!-- begin NAME --> and <!-- end NAME -->."""

import json
import re
from pathlib import Path

import yaml

from dndiv import claims
from dndiv.table import ROOT


def assumptions() -> str:
    """The assumptions as a Markdown table."""
    lines = ["| choice | here | why | if made otherwise |", "| --- | --- | --- | --- |"]
    for entry in yaml.safe_load((ROOT / "assumptions.yml").read_text("utf8")):
        lines.append(f"| {entry['choice']} | {entry['here']} | {entry['why']} | {entry['otherwise']} |")
    return "\n".join(lines)


def generated(text: str, folder: Path) -> str:
    """``text`` with its generated parts made anew from the results in ``folder``; an unknown part is refused."""
    results = json.loads((folder / "claims.json").read_text("utf8"))
    facts = json.loads((folder / "provenance.json").read_text("utf8"))
    parts = {"headline": claims.summary(results), "claims": claims.as_markdown(results), "times": _times(facts),
             "speed": (folder / "bench" / "table.md").read_text("utf8").strip(),
             "assumptions": assumptions()}

    def fill(match):
        name = match[1]
        if name not in parts:
            raise ValueError(f"README has an unknown generated part {name!r}; known: {', '.join(parts)}")
        return f"<!-- begin {name} -->\n{parts[name]}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (\S+) -->.*?<!-- end \1 -->", fill, text, flags=re.DOTALL)


def _times(facts: dict) -> str:
    """Run times and memory of the reference run, with the machine named."""
    machine, steps, studies = facts["machine"], facts["steps"], facts["experiments"].values()
    work = sum(e["unit_seconds"] for e in studies) / 60
    peak = max(e["peak_memory_mib"] for e in studies) / 1024
    lines = ["| step | time | peak memory of its largest process |", "| --- | --- | --- |"]
    if "setup" in steps:
        lines.append(f"| `make setup`: the environment | {steps['setup']['seconds'] / 60:.1f} min | – |")
    lines.append(f"| training, {sum(e['units'] for e in studies)} units | {steps['tables']['seconds'] / 60:.0f} min, for "
                 f"{work:.0f} min of single-threaded work by {machine['cores']} processes | {peak:.1f} GiB |")
    books = [s for name, s in steps.items() if name not in ("setup", "tables")]
    lines.append(f"| {len(books)} notebooks, two at a time | {sum(s['seconds'] for s in books) / 120:.1f} min | "
                 f"{max(s['peak_memory_mib'] for s in books) / 1024:.1f} GiB |")
    return "\n".join(lines) + (
        f"\n\nMeasured for the paper preset on {machine['cores']} cores of {machine['processor']} with "
        f"{machine.get('memory_gib', '?')} GiB, {facts['device'].upper()}, Python {facts['versions']['python']}, "
        f"torch {facts['versions']['torch']}.")
