"""What the paper's run would wait for on many cores: a cluster whose workers only sleep.

A unit sleeps as many seconds as it took, and gives its rows. Scheduler, messages, checks and the
keeping of results are real; cores are threads of a few processes.
"""

import heapq
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dndiv.paper import cache, cluster, data, experiments, files, notebooks, run
from dndiv.paper.design import Unit

CORES = (2, 10, 100, 1000)
ASLEEP = 1000  # cores that sleep
PROCESSES = 4  # that hold the workers' threads
TABLE = "scale.md"


def units(preset: str) -> tuple[list[Unit], tuple[str, ...]]:
    """The units of a preset in the order in which they are given out, and the data sets.
    RuntimeError where some have not been computed."""
    names, _ = data.resolve(experiments.PRESETS[preset].data)
    found = experiments.queue(preset, names)
    if not all(map(cache.holds, found)):
        raise RuntimeError(f"units of {preset} are missing; run `make reproduce PRESET={preset}`")
    return found, tuple(names)


def makespan(seconds: Iterable[float], cores: int) -> float:
    """Seconds until units are computed that go, in their order, to the core that is first free."""
    free = [0.0] * cores
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def asleep(unit: Unit, device: str, wanted: dict) -> tuple:
    """In place of ``cluster.compute``: what is on disk, after as many seconds as it took."""
    cluster.admit(unit, wanted)
    found = unit, cache.load(unit), cache.facts(unit)
    time.sleep(found[-1]["seconds"])
    return found


def slept(todo: Sequence[Unit], cores: int, processes: int = PROCESSES) -> dict[str, float]:
    """What a cluster of sleeping workers takes: seconds, processor seconds of the scheduler and of
    the client, which keeps results, and messages and bytes between scheduler and all others."""
    from distributed import Client

    with _cluster(cores, processes) as (address, scheduler), Client(address) as client:
        client.wait_for_workers(processes, timeout=120)
        client.run(lambda: __import__("dndiv.bench.scale"))
        given = cluster.results(address, todo, "cpu", asleep)
        next(given)
        busy, worked, started = _busy(scheduler), time.process_time(), time.monotonic()
        for unit, rows, facts in given:
            cache.keep(unit, rows, facts)
        took = {
            "seconds": time.monotonic() - started,
            "client": time.process_time() - worked,
            "scheduler": _busy(scheduler) - busy,
        }
        sent = [client.run_on_scheduler(_sent), *client.run(_sent_back).values()]
    return took | {"messages": sum(n for n, _ in sent), "bytes": sum(b for _, b in sent)}


@contextmanager
def _cluster(cores: int, processes: int) -> Iterator[tuple[str, int]]:
    """The address and process of a scheduler of its own, with workers."""
    # profiles of many sleeping threads take longer than all else
    here = os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    here |= {"PYTHONPATH": str(files.ROOT), "DNDIV_RESULTS": str(files.RESULTS)}
    with tempfile.TemporaryDirectory() as folder:
        options = {"cwd": folder, "env": here, "stderr": subprocess.DEVNULL}

        def start(role, *words):
            dask = [sys.executable, "-m", f"distributed.cli.dask_{role}", "--no-dashboard"]
            return subprocess.Popen([*dask, *words], **options)

        told = os.path.join(folder, "scheduler.json")
        words = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", told)
        started = [start("scheduler", *words)]
        try:
            words = ("--no-nanny", "--memory-limit", "0", "--nthreads", str(cores // processes))
            started += [start("worker", "--scheduler-file", told, *words) for _ in range(processes)]
            while not (known := files.known(Path(told))):
                if started[0].poll() is not None:
                    raise RuntimeError("the scheduler has not started")
                time.sleep(0.1)
            yield known["address"], started[0].pid
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def _busy(process: int) -> float:
    import psutil  # Dask's own

    spent = psutil.Process(process).cpu_times()
    return spent.user + spent.system


def _sent(dask_scheduler) -> tuple[int, int]:
    streams = [dask_scheduler.stream_comms, dask_scheduler.client_comms]
    return _counted(stream for each in streams for stream in each.values())


def _sent_back(dask_worker) -> tuple[int, int]:
    return _counted([dask_worker.batched_stream])


def _counted(streams) -> tuple[int, int]:
    every = list(streams)
    return sum(s.message_count for s in every), sum(s.byte_count for s in every)


def measure(preset: str = "paper", cores: Sequence[int] = CORES, threads: int = ASLEEP) -> dict:
    """What units took, what they would by cores, and what some of them, asleep, take; the rows'
    bytes; and seconds of loading the data and of assembling all tables."""
    todo, names = units(preset)
    seconds = [cache.facts(unit)["seconds"] for unit in todo]
    found = {
        "seconds": seconds,
        "row_bytes": sum(len(pickle.dumps((u, cache.load(u), cache.facts(u)))) for u in todo),
        "computed": {n: makespan(seconds, n) for n in cores},
        "asleep": threads,
        "slept": slept(todo, threads),
    }
    for what, work in (
        ("assembly", lambda: [run.assembled(t, preset, names) for t in experiments.table_names()]),
        ("loading", lambda: [data.load(name) for name in names]),
    ):
        started = time.monotonic()
        work()
        found[what] = time.monotonic() - started
    return found


def as_markdown(found: dict, facts: dict) -> str:
    """What was measured, and what a run on many cores waits for. facts: its provenance."""
    seconds, slept, most = found["seconds"], found["slept"], max(found["computed"])
    table = [("cores", "units' seconds laid out", "with units that sleep"), ("---:",) * 3]
    for cores, computed in found["computed"].items():
        asleep = f"{slept['seconds']:,.0f} s" if cores == found["asleep"] else "–"
        table.append((f"{cores:,}", f"{computed:,.0f} s", asleep))
    books = {path.stem for path in notebooks.sources()}
    steps = {
        "the longest unit": max(seconds),
        "the client, which keeps what comes": slept["client"],
        "the scheduler": slept["scheduler"],
        "the assembly of tables": found["assembly"],
        "the loading of data, in every worker": found["loading"],
        "the longest notebook": max(s["seconds"] for n, s in facts["steps"].items() if n in books),
        "all units, were they as long as each other": sum(seconds) / most,
    }
    ranked = sorted(steps.items(), key=lambda step: -step[1])
    per = {name: slept[name] / len(seconds) for name in slept}
    return "\n".join(
        [f"| {' | '.join(row)} |" for row in table]
        + [
            "",
            f"{len(seconds):,} units take {sum(seconds):,.0f} s. What a run waits for on {most:,} "
            f"cores, the longest first: {', '.join(f'{w} ({took:,.1f} s)' for w, took in ranked)}. "
            f"On {sum(seconds) / max(seconds):,.0f} cores or more none is faster than the longest "
            "unit: there, blocks of seeds would have to be smaller. Scheduler and client keep all "
            f"cores at work where units take {most * max(per['client'], per['scheduler']):,.1f} s "
            f"or more in the mean (here {sum(seconds) / len(seconds):,.1f} s): a unit costs the "
            f"scheduler {1000 * per['scheduler']:.1f} ms and the client "
            f"{1000 * per['client']:.1f} ms, {per['messages']:.1f} messages of "
            f"{slept['bytes'] / slept['messages'] / 1024:.1f} KiB to and from the scheduler, and "
            f"{found['row_bytes'] / len(seconds) / 1024:.0f} KiB of rows to the client.",
        ]
    )


def main() -> str:
    """Measure into results/paper/scale.md, and return what it says."""
    folder = files.results("paper")
    facts = files.stored(folder / "provenance.json")  # before anything is measured in vain
    text = as_markdown(measure(), facts)
    files.atomically(folder / TABLE, lambda part: part.write_text(text + "\n", "utf8"))
    return text
