"""Where things are kept, and how a file is put there."""

import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout
RESULTS = Path(os.environ.get("DNDIV_RESULTS") or ROOT / "results").expanduser()
COEFFICIENTS = ROOT / "coefficients.yml"
CLAIMS = ROOT / "claims.yml"
ASSUMPTIONS = ROOT / "assumptions.yml"
REFERENCE = "reference"  # no preset: the committed results of the last full run


def atomically(file: Path, save: Callable[[Path], object]) -> None:
    """``save(part)``, then move the part into place: whoever looks sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        save(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
