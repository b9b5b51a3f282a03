"""Where things are kept, and how a file is put there."""

import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout
# A folder that a setting names is the same for every process that is started from here on: a
# notebook runs in another one.
for _setting in ("DNDIV_RESULTS", "DNDIV_DATA", "DNDIV_DATA_SOURCE"):
    if (_given := os.environ.get(_setting)) and "://" not in _given:
        os.environ[_setting] = str(Path(_given).expanduser().absolute())
RESULTS = Path(os.environ.get("DNDIV_RESULTS") or ROOT / "results")
COEFFICIENTS = ROOT / "coefficients.yml"
RATES = ROOT / "rates.yml"
CLAIMS = ROOT / "claims.yml"
ASSUMPTIONS = ROOT / "assumptions.yml"
REFERENCE = "reference"  # no preset: the committed results of the last full run


def results(preset: str) -> Path:
    """Where the results of a preset are; the reference is the checkout's, whatever is set."""
    return ROOT / "results" / REFERENCE if preset == REFERENCE else RESULTS / preset


def atomically(file: Path, save: Callable[[Path], object]) -> None:
    """``save(part)``, then move the part into place: whoever looks sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        save(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
