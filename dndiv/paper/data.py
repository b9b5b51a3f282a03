"""Data sets as in-memory tensors: MNIST and Fashion-MNIST, and those that every machine has.

MNIST and Fashion-MNIST come through torchvision's own classes, archive names and MD5 sums. An
archive is looked for, in this order, in ``DNDIV_DATA`` (where they are kept; by default ``data/``
of the checkout), then in ``DNDIV_DATA_SOURCE`` (a folder or URL that holds ``MNIST/raw/*.gz`` or
``MNIST/*.gz``), and, where no source is set, at torchvision's mirrors. Without a network,
scikit-learn's embedded digits stand in and say so.

MNIST-1D (Greydanus & Kobak 2024) is made by its package from a fixed seed: series of 40 points that
small networks find hard.

An image is flattened, and scaled by the scalar mean and standard deviation of the training set.
"""

import gzip
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from dndiv.checks import choose
from dndiv.paper.files import ROOT, atomically
from dndiv.paper.names import ARCHIVED, DATA, DATA_SETS, SERIES

TIMEOUT = 20  # seconds that a mirror may stay silent


class DataError(RuntimeError):
    """An archive is corrupt, or is not where the user's setting says; the message says which and
    what to do."""


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
        parts = [x.numpy().tobytes() for pair in EMBEDDED[name]()[:2] for x in pair]
    else:
        parts = [archive.read_bytes() for archive in fetch(name)]
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
    dataset = _torchvision_class(name)
    raw = folder() / name / "raw"
    archives = []
    for filename, md5 in dataset.resources:
        archive = raw / filename
        if archive.exists():
            _verify(archive, md5, f"delete {archive}, it is then fetched again")
        else:
            _obtain(dataset, name, filename, md5, archive)
        archives.append(archive)
    return archives


def _torchvision_class(name):
    from torchvision import datasets  # slow to import, and not needed for the digits

    return getattr(datasets, name)


def _obtain(dataset, name, filename, md5, archive):
    source = os.environ.get("DNDIV_DATA_SOURCE")
    below = (f"{name}/raw/{filename}", f"{name}/{filename}")
    if source and "://" not in source:
        places = [Path(source).expanduser() / part for part in below]
    elif source:
        places = [f"{source.rstrip('/')}/{part}" for part in below]
    else:
        places = [mirror.rstrip("/") + "/" + filename for mirror in dataset.mirrors]
    failures = []
    for place in places:

        def save(part):
            if isinstance(place, Path):
                shutil.copyfile(place, part)
            else:
                with urllib.request.urlopen(place, timeout=TIMEOUT) as reply:
                    with open(part, "wb") as out:
                        shutil.copyfileobj(reply, out)
            _verify(part, md5, f"replace {place} by the published archive", said=place)

        try:
            return atomically(archive, save)  # in place only when verified
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            said = getattr(error, "strerror", None) or error
            failures.append(f"{place} ({error.__class__.__name__}: {said})")
    tried = "; ".join(failures)
    if source:
        raise DataError(
            f"{name}: {filename} is not in DNDIV_DATA_SOURCE={source}: tried {tried}. Expected MD5 "
            f"{md5}. Correct the setting, or unset it to download from the mirrors."
        )
    raise DataUnavailable(f"{name} cannot be downloaded: {filename}, tried {tried}")


def _verify(path: Path, md5: str, remedy: str, said=None):
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{said or path} is corrupt or truncated: expected MD5 {md5}, found {found} "
            f"({path.stat().st_size:,} bytes). Remedy: {remedy}."
        )


def _archived(name):
    for archive in fetch(name):
        # torchvision reads the unpacked files without a check, so they are held against the
        # verified archive
        unpacked, content = archive.with_suffix(""), gzip.decompress(archive.read_bytes())
        if not unpacked.exists() or unpacked.read_bytes() != content:
            atomically(unpacked, lambda part: part.write_bytes(content))
    train, test = (_torchvision_class(name)(folder(), train=flag) for flag in (True, False))
    return (train.data, train.targets), (test.data, test.targets), train.classes


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
