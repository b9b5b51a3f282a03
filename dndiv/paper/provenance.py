"""What ran where: versions, machine, commit."""

import fcntl
import json
import os
import platform
import resource
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dndiv.paper.files import ROOT, atomically

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "seaborn",
    "papermill",
)


def versions() -> dict[str, str]:
    """Python's version and those of the packages that bear on results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # tables can be computed where notebooks cannot be run
            pass
    return found


def machine() -> dict[str, str | int]:
    """Processor, cores that this process may use, and memory."""
    try:
        with open("/proc/cpuinfo", encoding="utf8") as lines:
            processor = next(
                line.split(":")[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    facts = {"system": platform.system(), "processor": processor, "cores": os.cpu_count() or 1}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        )
    return facts


def peak_memory(who: int = resource.RUSAGE_SELF) -> int:
    """The most memory that this process, or the largest of its children, has held, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(who).ru_maxrss // unit


def commit() -> str:
    """The checkout's commit, with "+changes" where files differ from it; "unknown" outside a
    checkout."""

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "HEAD").strip() + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def record(folder: Path, facts: dict, step: str, seconds: float) -> None:
    """Put ``facts`` into ``folder``/provenance.json, and the wall time and peak memory of
    ``step``."""
    file = folder / "provenance.json"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".provenance.lock", "w") as lock:  # notebooks are executed side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(file.read_text("utf8")) if file.exists() else {}
        steps = known.get("steps", {})
        peak = max(map(peak_memory, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        steps[step] = {"seconds": round(seconds, 1), "peak_memory_mib": peak}
        atomically(
            file,
            lambda part: part.write_text(
                json.dumps(known | facts | {"steps": steps}, indent=1) + "\n", "utf8"
            ),
        )
