"""Data sets as in-memory tensors: MNIST and Fashion-MNIST, and those that every machine has.

MNIST and Fashion-MNIST have torchvision's archive names, MD5 sums and mirrors. An archive is
looked for, in this order, in ``DNDIV_DATA`` (where they are kept; by default ``data/``
of the checkout), then in ``DNDIV_DATA_SOURCE`` (a folder or URL that holds ``MNIST/raw/*.gz`` or
``MNIST/*.gz``), and, where no source is set, at torchvision's mirrors. Without a network,
scikit-learn's embedded digits stand in and say so. A folder that cannot be written, and mirrors
that answer with something else, are errors: they are not the want of a network.

MNIST-1D (Greydanus & Kobak 2024) is made by its package from a fixed seed: series of 40 points that
small networks find hard.

An image is flattened, and scaled by the scalar mean and standard deviation of the training set.
"""

import gzip
import hashlib
import http.client
import os
import re
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from dndiv.checks import choose
from dndiv.paper.files import ROOT, atomically, sweep
from dndiv.paper.names import ARCHIVED, DATA, DATA_SETS, SERIES

TIMEOUT = 20  # seconds that a mirror may stay silent
RATE = 10_000  # bytes a second that it must give from then on, in the mean
LIMIT = 64 * 2**20  # bytes of an archive at most; the largest that there is has 26 MB


class DataError(RuntimeError):
    """An archive is corrupt, cannot be kept, or is not where the user's setting says; the message
    says which and what to do."""


class DataUnavailable(DataError):
    """No archive here, no source set, and no mirror can be reached."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    x_train, x_test: float32 [images, pixels], scaled; y_train, y_test: int64 [images]. x_held,
    y_held: training images that are held out, where some are.
    shape: (height, width) of an image; mean, std: the scaling.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    shape: tuple[int, int]
    classes: tuple[str, ...]
    mean: float
    std: float
    x_held: Tensor | None = None
    y_held: Tensor | None = None

    @property
    def title(self) -> str:
        return DATA[self.name]

    def to(self, device: str | torch.device) -> "Dataset":
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def folder() -> Path:
    """Where archives are kept: ``DNDIV_DATA``, or ``data/`` of the checkout."""
    return Path(os.environ.get("DNDIV_DATA") or ROOT / "data").expanduser()


@lru_cache(maxsize=2)  # a worker trains several units on the same data
def load(name: str) -> Dataset:
    """The data set ``name`` (one of ``names.DATA_SETS``), fetched if need be.

    Raises ValueError for an unknown name, DataUnavailable where the archives cannot be had,
    DataError where one is corrupt or not where ``DNDIV_DATA_SOURCE`` says.
    """
    choose("data set", name, DATA_SETS)
    train, test, classes = EMBEDDED.get(name, lambda: _archived(name))()
    (x_train, y_train), (x_test, y_test) = train, test
    scaled = [x.flatten(1).float() for x in (x_train, x_test)]
    mean = _mean(scaled[0], lambda part: part)
    std = _mean(scaled[0], lambda part: (part - mean).square()) ** 0.5
    for x in scaled:
        x.sub_(mean).div_(std)
    return Dataset(
        name, scaled[0], y_train.long(), scaled[1], y_test.long(),
        shape=tuple(x_train.shape[1:]), classes=tuple(classes), mean=mean, std=std,
    )  # fmt: skip


@cache
def checksum(name: str) -> str:
    """SHA-256 of a data set: of its verified archives, one after the other; of one that is on every
    machine, of its inputs and labels."""
    if name in EMBEDDED:
        return _of_embedded(name)
    return _sha256(archive.read_bytes() for archive in fetch(name))


def _of_embedded(name: str) -> str:
    """The same of one that is on every machine: made once for the versions of what makes it, for
    that takes seconds, and every command asks."""
    versions = "-".join(f"{part}-{metadata.version(part)}" for part in MAKERS)
    kept = folder() / name / f"{versions}.sha256"
    with suppress(OSError):
        if re.fullmatch("[0-9a-f]{64}", text := kept.read_text(errors="replace")):
            return text
    made = EMBEDDED[name]()
    found = _sha256(x.numpy().tobytes() for pair in made[:2] for x in pair)
    with suppress(OSError):  # a folder that cannot be written does no harm
        atomically(kept, lambda part: part.write_text(found))
    return found


def _sha256(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _mean(x: Tensor, function: Callable[[Tensor], Tensor]) -> float:
    """The mean of ``function`` in float64, in parts: at once it would copy the whole."""
    return sum(function(part.double()).sum().item() for part in x.split(1000)) / x.numel()


def resolve(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The data sets that can be had in place of ``names``, and a notice (empty if all could be
    had).

    Fetches what is missing. A data set that is unavailable is replaced by the embedded digits,
    once; a corrupt archive is an error.
    """
    had, reasons = [], []
    for name in names:
        try:
            if name in ARCHIVED:
                fetch(name)
        except DataUnavailable as error:
            reasons.append(str(error))
            name = "Digits"
        if name not in had:
            had.append(name)
    if not reasons:
        return tuple(had), ""
    return tuple(had), (
        f"EMBEDDED DIGITS IN USE: {'; '.join(reasons)}. The embedded digits stand in; claims about "
        "these data sets are not tested. Remedy: set DNDIV_DATA_SOURCE to a folder or URL with the "
        "archives, or connect to a network, and run again."
    )


def fetch(name: str) -> list[Path]:
    """The verified archives of ``name`` in ``folder()``, copied or downloaded if they are not
    there."""
    raw = folder() / name / "raw"
    try:
        return [_kept(name, raw / filename, md5) for filename, md5 in _published(name).resources]
    except OSError as error:
        raise DataError(
            f"{name}: archives cannot be kept in {raw} ({error}). Remedy: make room or give leave "
            "there, or set DNDIV_DATA to a folder with both."
        ) from error


def _published(name):
    """torchvision's class: ``resources`` (names and MD5 sums), ``mirrors``, ``classes``."""
    from torchvision import datasets  # slow to import, and not needed for the digits

    return getattr(datasets, name)


def _kept(name: str, archive: Path, md5: str) -> Path:
    """An archive that is verified, fetched if it is not there. OSError: it cannot be kept."""
    if archive.exists():
        if wrong := _differs(archive.read_bytes(), md5):
            raise DataError(
                f"{archive} is corrupt or truncated: {wrong}. Remedy: delete it, it is then "
                "fetched again."
            )
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(archive.parent, os.W_OK):  # before anything is downloaded in vain
        raise PermissionError("it is read-only")
    sweep(archive.parent)
    content = _obtain(name, archive.name, md5)
    atomically(archive, lambda part: part.write_bytes(content))
    return archive


def _differs(content: bytes, md5: str) -> str:
    """What is wrong with the content of an archive; empty if nothing is."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return "" if found == md5 else f"expected MD5 {md5}, found {found} ({len(content):,} bytes)"


def _obtain(name: str, filename: str, md5: str) -> bytes:
    """The content of an archive, from the first place that has it as published."""
    source = os.environ.get("DNDIV_DATA_SOURCE")
    if source:
        below = (f"{name}/raw/{filename}", f"{name}/{filename}")
        places = [f"{source.rstrip('/')}/{part}" for part in below]
    else:
        places = [mirror.rstrip("/") + "/" + filename for mirror in _published(name).mirrors]
    failures, answered = [], False
    for place in places:
        try:
            content = _download(place) if "://" in place else Path(place).read_bytes()
            if not (wrong := _differs(content, md5)):
                return content
            answered = True
            failures.append(f"{place} (corrupt or truncated: {wrong})")
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
            said = getattr(error, "strerror", None) or error
            failures.append(f"{place} ({error.__class__.__name__}: {said})")
    tried = f"{filename}, of MD5 {md5}: tried {'; '.join(failures)}"
    if source:
        raise DataError(
            f"{name}: DNDIV_DATA_SOURCE={source} does not give {tried}. Remedy: put the published "
            "archive there, correct the setting, or unset it to download from the mirrors."
        )
    if answered:
        raise DataError(
            f"{name}: the mirrors answer, and not with {tried}. Remedy: where the network has a "
            f"log-in page, log in; or take {filename} from elsewhere, and put it into "
            f"{folder() / name / 'raw'}."
        )
    raise DataUnavailable(f"{name} cannot be downloaded: {tried}")


def _download(url: str) -> bytes:
    """What a URL gives. OSError where it gives nothing, too much, or next to nothing a second."""
    replies: list = []

    def ask():
        try:
            replies.append(urllib.request.urlopen(url, timeout=TIMEOUT))
        except Exception as error:
            replies.append(error)

    # a time-out of urllib's is for each of the bytes of a header; a daemon is not waited for
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(2 * TIMEOUT)
    [reply] = replies or [TimeoutError(f"no answer within {2 * TIMEOUT} s")]
    if isinstance(reply, Exception):
        raise reply
    content, began = bytearray(), time.monotonic()
    with reply:
        while part := reply.read1(2**20):
            content += part
            seconds = time.monotonic() - began
            if len(content) > LIMIT:
                raise OSError(f"more than {LIMIT:,} bytes")
            if len(content) < RATE * (seconds - TIMEOUT):
                raise TimeoutError(f"{len(content):,} bytes in {seconds:.0f} s are too few")
    return bytes(content)


def _archived(name):
    train_x, train_y, test_x, test_y = (_array(archive) for archive in fetch(name))
    return (train_x, train_y), (test_x, test_y), _published(name).classes


def _array(archive: Path) -> Tensor:
    """The bytes of an archive in the IDX format: uint8, in the shape that its header says."""
    content = bytearray(gzip.decompress(archive.read_bytes()))
    start = 4 + 4 * content[3]  # the fourth byte is the number of dimensions
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(shape)


def _digits():
    """scikit-learn's 1,797 images of 8×8, in a fixed stratified split of 1,437 and 360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    parts = train_test_split(
        torch.from_numpy(bunch.images).float(),
        torch.from_numpy(bunch.target).long(),
        test_size=360,
        stratify=bunch.target,
        random_state=0,
    )
    x_train, x_test, y_train, y_test = parts
    return (x_train, y_train), (x_test, y_test), [str(c) for c in bunch.target_names]


def _series():
    """4,000 and 1,000 series [1, 40] of ten classes, made with the package's own settings."""
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    (x_train, y_train), (x_test, y_test) = (
        (
            torch.from_numpy(made[f"x{part}"]).float().unsqueeze(1),
            torch.from_numpy(made[f"y{part}"]),
        )
        for part in ("", "_test")
    )
    return (x_train, y_train), (x_test, y_test), [str(c) for c in range(10)]


EMBEDDED = {"Digits": _digits, SERIES: _series}
MAKERS = ("mnist1d", "scikit-learn", "scipy", "numpy")  # what they come from
