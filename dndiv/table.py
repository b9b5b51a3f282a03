"""What a table is, and where it is kept. Everything that draws or judges starts from here, without torch.

A table is tidy: one value a row, with data, setting, optimizer, arm, seed, layer, epoch and measure beside it
(layer is empty where a value belongs to the whole network).
"""

import bz2
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("DNDIV_RESULTS") or ROOT / "results").expanduser()
COEFFICIENTS = ROOT / "coefficients.yml"
REFERENCE = "reference"  # no preset: the committed results of the last full run of the paper preset

COLUMNS = ["data", "setting", "optimizer", "arm", "seed", "layer", "epoch", "measure", "value"]
CELL = ["data", "setting", "optimizer"]  # what stays the same within a comparison
ARCHIVED = ("MNIST", "FashionMNIST")
TITLES = {"MNIST": "MNIST", "FashionMNIST": "Fashion-MNIST", "Digits": "Digits (embedded)", "XOR": "XOR", "Parity3": "3-bit parity"}
DATA_SETS = (*ARCHIVED, "Digits")
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}
SETTINGS = {  # hidden layers; declared before any result, all reported
    "shallow": (16,),       # one hidden layer: the setting of the paper's introduction
    "tiny": (4, 4, 4),      # the narrowest: fan-in 4, where rows are far from orthogonal by chance
    "narrow": (8, 8, 8, 8, 8),
}

PIXELS = 784  # of MNIST and Fashion-MNIST


def hidden_layers(setting: str) -> tuple[int, ...]:
    """The hidden layers of a setting: a name in ``SETTINGS``, or "5×8" for five of 8. ValueError for anything else."""
    if setting in SETTINGS:
        return SETTINGS[setting]
    depth, _, width = setting.partition("×")
    if not (depth.isdecimal() and width.isdecimal() and int(depth) and int(width)):
        raise ValueError(f"unknown setting {setting!r}; choose one of {', '.join(SETTINGS)}, or depth×width as in 5×8")
    return (int(width),) * int(depth)


def technique(arm: str) -> str:
    """The technique of an arm "initialization+technique:schedule", empty where it has none."""
    return arm.partition("+")[2].partition(":")[0]


def path(experiment: str, preset: str) -> Path:
    """Where a run of a preset leaves the table of an experiment."""
    return RESULTS / preset / "tables" / f"{experiment}.csv.bz2"


def read(experiment: str, preset: str) -> pd.DataFrame:
    """The table that a run of a preset, or the committed reference, has left; FileNotFoundError says how to make it."""
    file = path(experiment, preset)
    if not file.exists():
        raise FileNotFoundError(f"there is no table {file}; make it with `make reproduce"
                                f"{'' if preset == REFERENCE else ' PRESET=' + preset}`")
    return load(file)


def write(table: pd.DataFrame, experiment: str, preset: str) -> None:
    """Keep a table where ``read`` finds it, with the same bytes for the same values."""
    packed = bz2.compress(table.to_csv(index=False).encode())  # as small as xz in a fifth of the time; no time or file name in it
    atomically(path(experiment, preset), lambda part: part.write_bytes(packed))


def load(file: Path) -> pd.DataFrame:
    """A table from a CSV file, its values to the last bit."""
    table = pd.read_csv(file, dtype={"layer": str, "value": str}, keep_default_na=False)
    values = [float(v) if v else float("nan") for v in table["value"]]  # pandas' own parser may be off by one bit
    return table.assign(value=values)


def atomically(file: Path, save: Callable[[Path], object]) -> None:
    """``save(part)``, then move the part into place: whoever looks sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        save(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
