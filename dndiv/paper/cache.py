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
from dndiv.paper.design import Parity, Training, Unit


def key(unit: Unit, checksums: Mapping[str, str] | None = None) -> str:
    """The key of a unit, 32 hexadecimal digits.

    checksums: of data sets by name, in place of those of the archives here.
    """
    kind = type(unit).__name__
    entries = {kind, unit.data, unit.setting, unit.optimizer}
    entries |= {name for arm in unit.arms for name in (arm.start, arm.technique)}
    parts = {"kind": kind, "unit": asdict(unit)}
    if isinstance(unit, Training):
        entries |= {*unit.records, unit.looks}
        parts["data"] = checksums[unit.data] if checksums else data.checksum(unit.data)
    if isinstance(unit, Training | Parity):
        parts["doses"] = [d and astuple(d) for d in compute.doses(unit, per_epoch=1)]
    parts["code"] = _code(kind, frozenset(entries))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _code(kind: str, entries: frozenset[str]) -> str:
    return code.digest([("dndiv.paper.compute", "rows")], entries)


def path(unit: Unit) -> Path:
    return files.RESULTS / "cache" / f"{key(unit)}.csv"


def holds(unit: Unit) -> bool:
    """Whether a unit is on disk as it was put there. One that is damaged is set aside."""
    file = path(unit)
    if not file.exists():
        return False
    try:
        if facts(unit)["sha256"] == _digest(file.read_bytes()):
            return True
    except (OSError, ValueError, KeyError):
        pass  # what says how the unit was made is damaged itself
    aside = file.with_suffix(".damaged")
    print(f"{file} is damaged: it is {aside.name} now, and computed again", file=sys.stderr)
    os.replace(file, aside)
    return False


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
    return json.loads(path(unit).with_suffix(".json").read_text())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
