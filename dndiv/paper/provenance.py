"""What ran where: versions, machine, commit."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dndiv.paper.files import ROOT, atomically, known, locked

try:
    import resource
except ImportError:  # Windows keeps no such account
    resource = None

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "seaborn",
    "papermill",
    "anyinit",
    "mnist1d",
)


@cache
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


def commit() -> str:
    """The checkout's commit, with "+changes" where files differ from it; "unknown" outside a
    checkout, also where the files lie inside a repository of something else."""
    of_ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(ROOT), *words],
            env=of_ours, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    try:
        if not Path(git("rev-parse", "--show-toplevel").strip()).samefile(ROOT):
            return "unknown"
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "HEAD").strip() + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def peak_memory(children: bool = False) -> int:
    """MiB at most of this process so far, or of the largest of it and its children.

    Windows, which keeps no such account, has 0.
    """
    if not resource:
        return 0
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)[: 1 + children]
    peak = max(resource.getrusage(who).ru_maxrss for who in whose)
    return peak // (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, else KiB


def union(spans: Iterable[Sequence[float]]) -> list[list[float]]:
    """Intervals [start, end] as disjoint ones, in their order."""
    found: list[list[float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return found


def record(folder: Path, facts: dict, step: str = "", seconds: float = 0.0) -> None:
    """Put ``facts`` into ``folder``/provenance.json, and the wall time and peak memory of a
    ``step``, if there is one."""
    file = folder / "provenance.json"
    with locked(folder / ".provenance.lock"):  # notebooks are executed side by side
        before = known(file)
        steps = before["steps"] if isinstance(before.get("steps"), dict) else {}
        if step:
            memory = peak_memory(children=True)
            steps[step] = {"seconds": round(seconds, 1), "peak_memory_mib": memory}
        atomically(
            file,
            lambda part: part.write_text(
                json.dumps(before | facts | {"steps": steps}, indent=1) + "\n", "utf8"
            ),
        )
