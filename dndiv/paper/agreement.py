"""Whether a run says what the reference says, and whether the reference is what would be computed
now."""

import numpy as np
import pandas as pd

from dndiv.paper import experiments, files, report, tables
from dndiv.paper.claims import NOT_TESTED
from dndiv.paper.files import REFERENCE

CLOSE_TO = -9  # powers of ten: values of two processors of one kind differ by less
CLOSE = 10.0**CLOSE_TO


def agreement(preset: str) -> str:
    """How many tables and verdicts of a run are those of the reference, and what is not."""
    here, there = (files.results(p) / "tables" for p in (preset, REFERENCE))
    names = sorted({file.name for folder in (here, there) for file in folder.glob("*.parquet")})
    apart = {name: _apart(here / name, there / name) for name in names}
    agree = sum(distance is not None and distance <= CLOSE for distance in apart.values())
    ours, theirs = (_verdicts(p) for p in (preset, REFERENCE))
    same = sum(ours.get(key) == theirs.get(key) for key in ours | theirs)
    lines = [
        f"{'Your run agrees' if agree == len(names) and same == len(ours | theirs) else 'Compared'}"
        f" with the reference: {agree} of {len(names)} tables within 1e{CLOSE_TO}, "
        f"{same} of {len(ours | theirs)} verdicts."
    ]
    for name, distance in apart.items():
        if distance is None:
            lines.append(f"  {name.split('.')[0]}: other rows")
        elif distance > CLOSE:
            lines.append(f"  {name.split('.')[0]}: values differ by up to {distance:.2g}")
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            where = ", ".join(filter(None, key))
            lines.append(f"  {where}: {ours.get(key, '–')}, there {theirs.get(key, '–')}")
    if len(lines) > 1:
        lines += [f"  made otherwise: {text}" for text in _made_otherwise(preset)]
    return "\n".join(lines)


def _apart(one, other) -> float | None:
    """The largest difference of two tables' values; None where their rows are not the same."""
    if not (one.exists() and other.exists()):
        return None
    if one.read_bytes() == other.read_bytes():
        return 0.0
    first, second = tables.load(one), tables.load(other)
    if not first.drop(columns="value").equals(second.drop(columns="value")):
        return None
    return distance(first.value, second.value)


def distance(one: pd.Series, other: pd.Series) -> float:
    """The largest difference of two columns, relative where values are above 1; that of a number
    and none is infinite."""
    if not (one.isna() == other.isna()).all():
        return float("inf")
    scale = np.maximum(np.maximum(one.abs(), other.abs()), 1)
    return float(((one - other).abs() / scale).max(skipna=True)) if one.notna().any() else 0.0


def _verdicts(preset: str) -> dict[tuple, str]:
    results = report.read(files.results(preset) / "claims.json")
    tested = (r for r in results if r.verdict != NOT_TESTED)
    return {(r.claim, r.group, r.setting): r.said for r in tested}


def _facts(preset: str) -> dict:
    file = files.results(preset) / "provenance.json"
    return files.known(file)


def _made_otherwise(preset: str) -> list[str]:
    """Versions, processor and the like that differ from those of the reference."""
    ours, theirs = (_facts(p) for p in (preset, REFERENCE))

    def flat(facts):
        parts = (facts.get(name, {}) for name in ("versions", "machine", "arithmetic"))
        return {"device": facts.get("device"), **{k: v for part in parts for k, v in part.items()}}

    first, second = flat(ours), flat(theirs)
    return [
        f"{name} {first.get(name, '–')}, there {second.get(name, '–')}"
        for name in first | second
        if first.get(name) != second.get(name)
    ]


def standing() -> str:
    """Whether the reference is what `make reproduce` would compute now, by the keys of all units:
    of their specification, the data, and the code that computes them."""
    from dndiv.paper import reproduce

    facts = _facts(REFERENCE)
    known = {name: e["keys"] for name, e in facts["experiments"].items() if "keys" in e}
    if not known:
        return "Whether the reference is stale is not known: it holds no keys of its units."
    try:
        names = tuple(n for n in facts["data"] if n in experiments.PRESETS[facts["preset"]].data)
        now = reproduce.keys(facts["preset"], names, facts["data"])
    except ImportError as error:
        return f"Whether the reference is stale is not known: {error}."
    stale = [name for name in now | known if now.get(name) != known.get(name)]
    if not stale:
        return f"The reference is current: its {len(known)} experiments would come out alike now."
    return (
        f"The reference is stale: {', '.join(stale)} would be computed otherwise now. "
        "`make reproduce`, and then `make reference`, bring it up to the code."
    )
