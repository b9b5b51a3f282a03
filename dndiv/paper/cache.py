"""Computed units on disk, under a key of all that their rows depend on.

A key is the hash of a unit's specification, the numbers behind its names (coefficients, the data's
checksum) and the code that computes it: a killed run goes on where it stopped, nothing is computed
twice, and what was made by other code is not found.
"""

import hashlib
import json
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path

import pandas as pd

from dndiv.paper import code, compute, data, files, tables
from dndiv.paper.design import Parity, Training, Unit


def key(unit: Unit) -> str:
    """The key of a unit, 32 hexadecimal digits."""
    kind = type(unit).__name__
    entries = {kind, unit.data, unit.setting, unit.optimizer}
    entries |= {name for arm in unit.arms for name in (arm.start, arm.technique)}
    parts = {"kind": kind, "unit": asdict(unit)}
    if isinstance(unit, Training):
        entries |= {*unit.records, unit.looks}
        parts["data"] = data.checksum(unit.data)
    if isinstance(unit, Training | Parity):
        parts["doses"] = [d and astuple(d) for d in compute.doses(unit, per_epoch=1)]
    parts["code"] = _code(kind, frozenset(entries))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _code(kind: str, entries: frozenset[str]) -> str:
    return code.digest([("dndiv.paper.compute", "rows")], entries)


def path(unit: Unit) -> Path:
    return files.RESULTS / "cache" / f"{key(unit)}.csv"


def load(unit: Unit) -> pd.DataFrame:
    """The rows of a unit that is on disk."""
    return tables.load(path(unit))


def keep(unit: Unit, rows: pd.DataFrame, facts: dict) -> None:
    """Put a unit on disk: its rows last, so that a unit with rows is whole."""
    file = path(unit)
    text = json.dumps(facts, indent=1)
    files.atomically(file.with_suffix(".json"), lambda part: part.write_text(text))
    files.atomically(file, lambda part: rows.to_csv(part, index=False))


def facts(unit: Unit) -> dict:
    """What computing a unit took, and by what."""
    return json.loads(path(unit).with_suffix(".json").read_text())
