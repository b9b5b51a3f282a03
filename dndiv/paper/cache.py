"""Computed units on disk, under a key of all that their rows depend on.

A key is the hash of a unit's specification, the numbers behind its names (coefficients, the data's
checksum) and the code that computes it: a killed run goes on where it stopped, nothing is computed
twice, and what was made by other code is not found. A unit's rows have a digest, and are not
believed without it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path

import pandas as pd

from dndiv.paper import code, compute, data, files, tables
from dndiv.paper.design import Common, Convolution, Parity, Training, Unit

# What these give has its own place in a key: how it is fetched or read does not count.
GIVEN = {("dndiv.paper.data", "fetch"), ("dndiv.paper.registered", "coefficient")}


def key(unit: Unit, checksums: Mapping[str, str] | None = None) -> str:
    """The key of a unit, 32 hexadecimal digits.

    checksums: of data sets by name, in place of those of the data here.
    """
    text = json.dumps(parts(unit, checksums), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def parts(unit: Unit, checksums: Mapping[str, str] | None = None) -> dict:
    """What a unit's rows depend on."""
    kind = type(unit).__name__
    entries = {kind, unit.data, unit.setting.partition(" ")[0], unit.optimizer}
    entries |= {name for arm in unit.arms for name in (arm.start, arm.technique)}
    found = {"kind": kind, "unit": asdict(unit)}
    if isinstance(unit, Training):
        entries |= {*unit.records, unit.looks}
    if isinstance(unit, Training | Convolution | Common):
        found["data"] = (checksums or {}).get(unit.data) or data.checksum(unit.data)
    if isinstance(unit, Training | Parity):
        found["doses"] = [d and astuple(d) for d in compute.doses(unit, per_epoch=1)]
        found["dropout"] = compute.dropout(unit)
    return found | {"code": _code(kind, frozenset(entries))}


@cache
def _code(kind: str, entries: frozenset[str]) -> str:
    return code.digest([("dndiv.paper.compute", "rows")], entries, GIVEN)


def path(unit: Unit) -> Path:
    return files.RESULTS / "cache" / f"{key(unit)}.csv"


def state(unit: Unit) -> str:
    """Of a unit on disk: "current", as it was put there; "damaged"; or "missing"."""
    file = path(unit)
    if not os.path.lexists(file):
        return "missing"
    try:
        whole = facts(unit)["sha256"] == _digest(files.content(file))
    except (OSError, KeyError):  # what says how the unit was made may be damaged itself
        whole = False
    return "current" if whole else "damaged"


def holds(unit: Unit) -> bool:
    """Whether a unit is on disk as it was put there. One that is damaged is set aside."""
    found = state(unit)
    if found == "damaged":
        file = path(unit)
        aside = files.place(file.with_suffix(".damaged"))
        os.replace(file, aside)
        print(f"{file} is damaged: it is {aside.name} now, and computed again", file=sys.stderr)
    return found == "current"


def load(unit: Unit) -> pd.DataFrame:
    """The rows of a unit that is on disk."""
    return tables.load(path(unit))


def keep(unit: Unit, rows: pd.DataFrame, facts: dict) -> None:
    """Put a unit on disk: its rows last, so that a unit with rows is whole."""
    file, content = path(unit), rows.to_csv(index=False).encode()
    text = json.dumps(facts | {"sha256": _digest(content)}, indent=1)
    files.atomically(file.with_suffix(".json"), lambda part: part.write_text(text))
    files.atomically(file, lambda part: part.write_bytes(content))


def facts(unit: Unit) -> dict:
    """What computing a unit took, by what, and the digest of its rows."""
    return files.known(path(unit).with_suffix(".json"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
