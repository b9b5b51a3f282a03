"""Units on the workers of a Dask cluster, at ``DNDIV_CLUSTER=tcp://…`` or ``tls://…``.

A worker computes a unit only if it is the same unit there: its key is made of the worker's own code
and data, and must be the one of here, as must Python and the packages. Otherwise the worker is
named, and nothing of it is kept.

Whoever reaches a scheduler at ``tcp://`` may run code on its workers and here: there is no
authentication. With ``tls://`` there is, by the certificates that Dask's own settings name
(``DASK_DISTRIBUTED__COMM__TLS__CA_FILE``, ``…__CLIENT__CERT`` and ``…__CLIENT__KEY``).
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue

from dndiv.paper import cache, files, provenance
from dndiv.paper.design import Unit

OPEN = "a scheduler at tcp:// has no authentication: a trusted network alone, or tls://"

# In the threads of one worker: Python 3.11 cannot parse in two at once, MNIST-1D is drawn from a
# global generator, and data are read once
_ALONE = threading.Lock()


class ClusterError(RuntimeError):
    """There is no scheduler, no worker, or one that would compute something else."""


def results(
    address: str, todo: Sequence[Unit], device: str, work: Callable | None = None
) -> Iterator:
    """Where the units are computed, then their results in any order, as ``run._run`` gives them.

    work: what workers do in place of ``compute``. A unit of a lost worker is computed by another.
    Where there is no worker, or no word of the scheduler, for a minute, or for
    ``DNDIV_CLUSTER_WAIT`` seconds, it is an error.
    """
    patience = _patience()
    client = _client(address, patience)
    try:
        yield from _results(client, address, todo, device, patience, work or compute)
    finally:
        with suppress(OSError):  # a scheduler that is gone is not waited for
            client.close(timeout=min(10, patience))


def _results(client, address, todo, device, patience, work) -> Iterator:
    from distributed import KilledWorker

    def ask(question, *words, **more):
        try:
            return question(*words, **more)
        except (OSError, CancelledError) as error:  # a silent one times out, which is an OSError
            raise ClusterError(
                f"the scheduler at DNDIV_CLUSTER={address} is lost ({type(error).__name__}); start "
                "it and its workers again, and run the same command again: what is finished is kept"
            ) from error

    def count():
        return len(ask(client.sync, client.scheduler.ncores, callback_timeout=patience))

    pause = min(1, patience / 10)
    seen = time.monotonic()  # when there was a worker
    while not (workers := count()):
        _give_up(address, seen, patience)
        time.sleep(pause)
    yield f"{device}, {workers} workers of {address}"
    wanted = [(unit, device, terms(unit)) for unit in todo]
    done: SimpleQueue = SimpleQueue()  # asking for every pending one would take their square
    pending = set(client.map(work, *zip(*wanted), pure=False))
    for future in pending:
        future.add_done_callback(done.put)
    before, seen = workers, time.monotonic()
    asked = seen  # for workers
    while pending:
        with suppress(Empty):
            future = done.get(timeout=pause)
            try:  # an error of the unit itself is no silence of the scheduler
                failed = future.status == "error"
                found = future.result() if failed else ask(future.result, timeout=patience)
            except KilledWorker as error:
                raise ClusterError(f"workers die of a unit, for want of memory? {error}") from error
            pending.remove(future)
            yield found
        if time.monotonic() - asked < pause:
            continue
        workers, asked = count(), time.monotonic()
        if workers != before:
            files.say(f"{workers} workers of {address}")
            before = workers
        if workers:
            seen = asked
        elif done.empty():
            _give_up(address, seen, patience)


def terms(unit: Unit) -> dict:
    """What must be the same where a unit is computed: its parts, and the versions."""
    said = {"unit": "specification", "doses": "coefficients"}
    parts = {said.get(part, part): value for part, value in cache.parts(unit).items()}
    return parts | provenance.versions()


def compute(unit: Unit, device: str, wanted: dict) -> tuple:
    """A unit on a worker."""
    from dndiv.paper import run

    admit(unit, wanted)
    return run._run(unit, device)


def admit(unit: Unit, wanted: dict) -> None:
    """ClusterError names the worker that this is where another unit would be computed on it."""
    from distributed import get_worker

    worker = get_worker().address
    try:
        with _ALONE:
            here = terms(unit)
    except (OSError, RuntimeError, ValueError) as error:  # as without archives there
        raise ClusterError(f"the worker {worker} cannot compute: {error}") from None
    if others := [_other(n, here, wanted) for n in wanted | here if wanted.get(n) != here.get(n)]:
        raise ClusterError(
            f"the worker {worker} is refused, it has {', '.join(others)}: give it this checkout, "
            "this environment and these archives, start it again, and run the same command again"
        )


def _other(name: str, here: dict, wanted: dict) -> str:
    if name in ("code", "data", "coefficients", "specification"):
        return f"other {name}"
    return f"{name} {here.get(name)} in place of {wanted.get(name)}"


def _client(address: str, patience: float):
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            f"DNDIV_CLUSTER={address} needs Dask: pip install distributed"
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # errors are said here
    try:
        return Client(address, timeout=min(10, patience))
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"there is no Dask scheduler at DNDIV_CLUSTER={address} ({error}); start one with "
            f"`dask scheduler`, and workers with `dask worker` where this package is installed "
            f"({OPEN})"
        ) from error


def _patience() -> float:
    """Seconds to wait for a worker."""
    text = os.environ.get("DNDIV_CLUSTER_WAIT", "60")
    if not text.isdigit() or not int(text):
        raise ValueError(f"DNDIV_CLUSTER_WAIT must be whole seconds from 1, not {text!r}")
    return int(text)


def _give_up(address: str, seen: float, patience: float) -> None:
    if time.monotonic() - seen > patience:
        raise ClusterError(
            f"the scheduler at DNDIV_CLUSTER={address} has had no worker for {patience:.0f} s; "
            f"start some with `dask worker {address}` where this package is installed, and run "
            "the same command again: what is finished is kept"
        )
