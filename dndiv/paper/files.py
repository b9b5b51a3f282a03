"""Where things are kept, and how a file is put there."""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has another lock
    import msvcrt

    fcntl = None

ROOT = Path(__file__).resolve().parents[2]  # the checkout
# A folder that a setting names is the same for every process that is started from here on: a
# notebook runs in another one.
for _setting in ("DNDIV_RESULTS", "DNDIV_DATA", "DNDIV_DATA_SOURCE"):
    if (_given := os.environ.get(_setting)) and "://" not in _given:
        os.environ[_setting] = str(Path(_given).expanduser().absolute())
RESULTS = Path(os.environ.get("DNDIV_RESULTS") or ROOT / "results")
NOTEBOOKS = ROOT / "notebooks"
COEFFICIENTS = ROOT / "coefficients.yml"
RATES = ROOT / "rates.yml"
CLAIMS = ROOT / "claims.yml"
ASSUMPTIONS = ROOT / "assumptions.yml"
REFERENCE = "reference"  # no preset: the committed results of the last full run
COSTS = ROOT / "results" / REFERENCE / "bench" / "costs.csv"  # of techniques, by `make bench`


def results(preset: str) -> Path:
    """Where the results of a preset are; the reference is the checkout's, whatever is set."""
    return ROOT / "results" / REFERENCE if preset == REFERENCE else RESULTS / preset


def within(folder: Path) -> Path:
    """A folder to which no link of a results folder, perhaps a stranger's, leads. ValueError
    names the link.
    """
    for root in (RESULTS, ROOT / "results"):
        inner = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
        for link in (root.joinpath(*inner[: k + 1]) for k in range(len(inner))):
            if link.is_symlink():
                raise ValueError(
                    f"{link} is a symbolic link, to {link.resolve()}: nothing is written there. "
                    "Delete the link; to keep results elsewhere, set DNDIV_RESULTS"
                )
    return folder


def place(file: Path) -> Path:
    """``file``, ready to be written: its folder is there, and ``within`` the results. A link or
    pipe in its own place goes."""
    within(file.parent).mkdir(parents=True, exist_ok=True)
    if file.is_symlink() or file.is_fifo():
        file.unlink()
    return file


def genuine(folder: Path) -> Path:
    """A folder that holds files and folders alone: of links, what is elsewhere would be copied."""
    for part in (folder, *folder.rglob("*")):
        if part.is_symlink() or not (part.is_file() or part.is_dir()):
            raise ValueError(f"{part} is a link, pipe or device, and is not copied. Delete it")
    return folder


def content(file: Path) -> bytes:
    """What is in a file. OSError where it is none, as a pipe would be waited for without end."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    return file.read_bytes()


def stored(file: Path, kind: type = dict) -> Any:
    """What a JSON file of a run holds. ValueError names one that is damaged."""
    try:
        found = json.loads(content(file))
        if not isinstance(found, kind):
            raise ValueError(f"it holds no {kind.__name__}")
        return found
    except ValueError as error:
        raise ValueError(damaged(file, error)) from error


def damaged(file: Path, error: Exception) -> str:
    """What is said of a damaged file of a run, or of the reference, with the remedy."""
    ours = file.is_relative_to(results(REFERENCE))
    remedy = "check it out again" if ours else "delete it, and `make reproduce` makes it again"
    return f"{file} is damaged ({error}); {remedy}"


def known(file: Path) -> dict:
    """What a JSON file of ours holds; nothing where it is missing or damaged."""
    try:
        return stored(file)
    except (OSError, ValueError):
        return {}


def atomically(file: Path, save: Callable[[Path], object]) -> None:
    """``save(part)``, then move the part into place: whoever looks sees the whole file or none."""
    part = place(file.with_name(f"{file.name}.{platform.node()}.{os.getpid()}.part"))
    try:
        save(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(file: Path, waits: str = "") -> Iterator[None]:
    """While no other process is in here with this file; ``waits`` is said where one is. A process
    that is killed lets go of it."""
    with open(place(file), "a") as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waits:
                    say(waits)
                fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # until it is closed
        yield


def alone(folder: Path) -> AbstractContextManager[None]:
    """While no other process makes what is in a folder of results."""
    return locked(folder / ".lock", f"another run makes what is in {folder}: waiting for its end")


def sweep(folder: Path) -> None:
    """Remove the parts that killed writers of this machine have left in a folder, or below it."""
    for part in within(folder).rglob(f"*.{platform.node()}.*.part"):
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


def say(text: str) -> None:
    """To the terminal, at once; what is written to stdout stays what is asked for."""
    print(text, file=sys.stderr, flush=True)
