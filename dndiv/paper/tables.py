"""What a table is, and how it is kept. What draws or judges starts from here, without torch.

A table is tidy: one value a row, with data, setting, optimizer, arm, seed, layer, epoch and measure
beside it. ``arm`` and ``layer`` are the texts of an ``Arm`` and of a ``Place``.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from pyarrow import compute, parquet

from dndiv.checks import choose
from dndiv.paper import files
from dndiv.paper.experiments import PRESETS, table_names
from dndiv.paper.files import REFERENCE, atomically

# set by `make reproduce` for its notebooks: the preset whose tables and verdicts are current
CURRENT = "DNDIV_CURRENT"


def table(
    name: str,
    preset: str,
    device: str = "auto",
    jobs: int | None = None,
    measures: Sequence[str] | None = None,
) -> pd.DataFrame:
    """A table of the committed reference, or of a preset: computed where it is not on disk.

    Args:
        name: one in ``table_names()``. preset: a name in ``PRESETS``, or "reference".
        device: "auto", "cpu" or "cuda". jobs: processes; by default DNDIV_JOBS, or one per core.
        measures: whose rows are wanted, with the numbers that they have in the table; all of them,
            by default.
    """
    choose("table", name, table_names())
    choose("preset", preset, (*PRESETS, REFERENCE))
    if current(preset):
        if notice := files.known(files.results(preset) / "provenance.json").get("notice"):
            print(notice, file=sys.stderr)
        return read(name, preset, measures)
    from dndiv.paper import run  # needs torch

    found = run.table(name, preset, device, jobs)
    return found if measures is None else found[found.measure.isin(measures)]


def current(preset: str) -> bool:
    """Whether what a preset has on disk is known to be what would be made now."""
    return preset in (REFERENCE, os.environ.get(CURRENT))


def path(name: str, preset: str) -> Path:
    """Where a run of a preset leaves a table."""
    return files.results(preset) / "tables" / f"{name}.parquet"


def read(name: str, preset: str, measures: Sequence[str] | None = None) -> pd.DataFrame:
    """The table that a run of a preset, or the committed reference, has left; see ``table``.

    FileNotFoundError says how to make it.
    """
    file = path(name, preset)
    if not file.is_file():
        made = f"make it with `make reproduce PRESET={preset}`"
        remedy = "check it out again" if preset == REFERENCE else made
        raise FileNotFoundError(f"there is no table {file}; {remedy}")
    try:
        return load(file, measures)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"the table {files.damaged(file, error)}") from error


def digest(preset: str) -> str:
    """SHA-256 of all tables that a run has left, by their names."""
    found = hashlib.sha256()
    for file in filter(Path.is_file, sorted(path("", preset).parent.glob("*.parquet"))):
        found.update(f"{file.name}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def write(table: pd.DataFrame, name: str, preset: str) -> None:
    """Keep a table where ``read`` finds it, with the same bytes for the same values."""
    rows = pyarrow.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    # smaller than CSV by bz2, and read in a twentieth of the time; damage is noticed by checksums
    options = {"compression": "zstd", "compression_level": 19, "write_page_checksum": True}
    numbers = ("seed", "epoch", "value")  # in other columns the same texts recur
    options["use_dictionary"] = [name for name in table if name not in numbers]
    atomically(path(name, preset), lambda part: parquet.write_table(rows, part, **options))


def load(file: Path, measures: Sequence[str] | None = None) -> pd.DataFrame:
    """A table, of it the rows of some measures, or a unit's rows from a CSV file; values to the
    last bit."""
    if file.suffix == ".parquet":
        kept = parquet.read_schema(file)
        texts = [column.name for column in kept if column.type == pyarrow.large_string()]
        # texts are the last to be made: the same few recur, and most rows may not be wanted
        rows = parquet.read_table(file, read_dictionary=texts, page_checksum_verification=True)
        if measures is None:
            return rows.cast(kept).to_pandas()
        wanted = compute.is_in(rows["measure"], pyarrow.array(measures))
        return rows.filter(wanted).cast(kept).to_pandas().set_axis(np.flatnonzero(wanted))
    table = pd.read_csv(file, dtype={"layer": str, "value": str}, keep_default_na=False)
    # pandas' own parser may be off by one bit
    values = [float(v) if v else float("nan") for v in table["value"]]
    return table.assign(value=values)
