"""What a table is, and how it is kept. What draws or judges starts from here, without torch.

A table is tidy: one value a row, with data, setting, optimizer, arm, seed, layer, epoch and measure
beside it. ``arm`` and ``layer`` are the texts of an ``Arm`` and of a ``Place``.
"""

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow
from pyarrow import parquet

from dndiv.checks import choose
from dndiv.paper import files
from dndiv.paper.design import PRESETS, table_names
from dndiv.paper.files import REFERENCE, atomically


def table(name: str, preset: str, device: str = "auto", jobs: int | None = None) -> pd.DataFrame:
    """A table of the committed reference, or of a preset: computed where it is not on disk.

    Args:
        name: one in ``table_names()``. preset: a name in ``PRESETS``, or "reference".
        device: "auto", "cpu" or "cuda". jobs: processes; by default DNDIV_JOBS, or one per core.
    """
    choose("table", name, table_names())
    choose("preset", preset, (*PRESETS, REFERENCE))
    if preset == REFERENCE:
        return read(name, preset)
    from dndiv.paper import run  # needs torch

    return run.table(name, preset, device, jobs)


def path(name: str, preset: str) -> Path:
    """Where a run of a preset leaves a table."""
    return files.results(preset) / "tables" / f"{name}.parquet"


def read(name: str, preset: str) -> pd.DataFrame:
    """The table that a run of a preset, or the committed reference, has left.

    FileNotFoundError says how to make it.
    """
    file = path(name, preset)
    if not file.is_file():
        made = f"make it with `make reproduce PRESET={preset}`"
        remedy = "check it out again" if preset == REFERENCE else made
        raise FileNotFoundError(f"there is no table {file}; {remedy}")
    try:
        return load(file)
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


def load(file: Path) -> pd.DataFrame:
    """A table, or a unit's rows from a CSV file, its values to the last bit."""
    if file.suffix == ".parquet":
        return parquet.read_table(file, page_checksum_verification=True).to_pandas()
    table = pd.read_csv(file, dtype={"layer": str, "value": str}, keep_default_na=False)
    # pandas' own parser may be off by one bit
    values = [float(v) if v else float("nan") for v in table["value"]]
    return table.assign(value=values)
