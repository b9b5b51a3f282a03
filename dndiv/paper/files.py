"""Where things are kept, and how a file is put there."""

import os
import platform
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
CLAIMS = ROOT / "claims.yml"
ASSUMPTIONS = ROOT / "assumptions.yml"
REFERENCE = "reference"  # no preset: the committed results of the last full run


def results(preset: str) -> Path:
    """Where the results of a preset are; the reference is the checkout's, whatever is set."""
    return ROOT / "results" / REFERENCE if preset == REFERENCE else RESULTS / preset


def place(file: Path) -> Path:
    """``file``, ready to be written: its folder is there, and in a results folder, which may be a
    stranger's, no symbolic link is followed out of it. A link in the place of the file goes.

    Raises ValueError where the folder of the file is elsewhere, by a link.
    """
    for root in (RESULTS, ROOT / "results"):
        real = file.parent.resolve()
        if file.is_relative_to(root) and not real.is_relative_to(root.resolve()):
            raise ValueError(
                f"{file.parent} is a symbolic link out of {root}, to {real}: nothing is written "
                "there. Delete the link; to keep results elsewhere, set DNDIV_RESULTS"
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        file.unlink()
    return file


def atomically(file: Path, save: Callable[[Path], object]) -> None:
    """``save(part)``, then move the part into place: whoever looks sees the whole file or none."""
    part = place(file.with_name(f"{file.name}.{platform.node()}.{os.getpid()}.part"))
    try:
        save(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the parts that killed writers of this machine have left in a folder, or below it."""
    for part in folder.rglob(f"*.{platform.node()}.*.part"):
        pid = part.name.split(".")[-2]
        if pid.isdigit() and not _lives(int(pid)):
            part.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    """Whether a process runs that may be writing; this one is not, when it sweeps."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return pid != os.getpid()
