"""Archives that are missing, corrupt or truncated, the source setting, and the embedded digits.

No network and no real archive is needed: torchvision's classes are pointed at a small data set in
their own format.
"""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch
import torchvision

from dndiv.paper import data


def idx(array):
    """The IDX format of the MNIST archives: magic number, dimensions, bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder of small archives with the names of MNIST's, known to torchvision by their MD5."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "source" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part, n in (("train", 50), ("t10k", 20)):
        arrays = {
            "images-idx3": rng.integers(0, 256, (n, 28, 28), np.uint8),
            "labels-idx1": rng.integers(0, 10, n, np.uint8),
        }
        for kind, array in arrays.items():
            archive = raw / f"{part}-{kind}-ubyte.gz"
            archive.write_bytes(gzip.compress(idx(array)))
            resources.append((archive.name, hashlib.md5(archive.read_bytes()).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(
        torchvision.datasets.MNIST, "mirrors", [(tmp_path / "no-mirror").as_uri() + "/"]
    )
    monkeypatch.setenv("DNDIV_DATA", str(tmp_path / "kept"))
    monkeypatch.delenv("DNDIV_DATA_SOURCE", raising=False)
    data.load.cache_clear()
    yield tmp_path / "source"
    data.load.cache_clear()


def leftovers(tmp_path):
    return [p.name for p in (tmp_path / "kept").rglob("*") if p.is_file()]


@pytest.mark.parametrize("layout", ["MNIST/raw", "MNIST", "url"])
def test_archives_come_from_the_source_and_equal_what_torchvision_reads(
    source, tmp_path, monkeypatch, layout
):
    if layout == "MNIST":
        for archive in (source / "MNIST" / "raw").iterdir():
            archive.rename(source / "MNIST" / archive.name)
    monkeypatch.setenv("DNDIV_DATA_SOURCE", source.as_uri() if layout == "url" else str(source))
    ours = data.load("MNIST")
    theirs = torchvision.datasets.MNIST(tmp_path / "kept", train=True)
    pixels = theirs.data.double()
    assert (
        ours.x_train.shape == (50, 784)
        and ours.x_test.shape == (20, 784)
        and ours.shape == (28, 28)
    )
    assert ours.x_train.dtype == torch.float32 and torch.equal(ours.y_train, theirs.targets)
    expected = (pixels - pixels.mean()) / pixels.std(correction=0)
    torch.testing.assert_close(ours.x_train.double(), expected.flatten(1), rtol=1e-5, atol=1e-5)
    assert ours.x_train.mean().item() == pytest.approx(0, abs=1e-5)
    assert ours.mean == pytest.approx(pixels.mean().item())
    assert not [name for name in leftovers(tmp_path) if name.endswith(".part")]


def test_kept_archives_need_no_source(source, monkeypatch):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    data.fetch("MNIST")
    monkeypatch.setenv("DNDIV_DATA_SOURCE", "/nowhere")
    assert len(data.load("MNIST").x_train) == 50


@pytest.mark.parametrize("damage", ["corrupt", "truncated"])
@pytest.mark.parametrize("where", ["source", "kept"])
def test_a_damaged_archive_is_named_with_both_sums_and_the_remedy(
    source, tmp_path, monkeypatch, damage, where
):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    if where == "kept":
        data.fetch("MNIST")
    name, md5 = torchvision.datasets.MNIST.resources[0]
    archive = (
        source / "MNIST" / "raw" if where == "source" else tmp_path / "kept" / "MNIST" / "raw"
    ) / name
    content = archive.read_bytes()
    archive.write_bytes(
        content[:-100] if damage == "truncated" else content[:50] + b"?" + content[51:]
    )
    with pytest.raises(data.DataError) as error:
        data.load("MNIST")
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    for part in (str(archive), md5, found, "Remedy"):
        assert part in str(error.value)
    if where == "source":
        assert leftovers(tmp_path) == []
    with pytest.raises(data.DataError):  # a damaged archive is never passed over for the digits
        data.resolve(("MNIST",))


def test_an_archive_missing_from_the_source_is_an_error_with_the_setting(
    source, tmp_path, monkeypatch
):
    (source / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    with pytest.raises(
        data.DataError, match=f"t10k-labels-idx1-ubyte.gz is not in DNDIV_DATA_SOURCE={source}"
    ):
        data.resolve(("MNIST",))
    assert not [name for name in leftovers(tmp_path) if "t10k-labels" in name]


def test_a_damaged_unpacked_file_is_unpacked_again(source, tmp_path, monkeypatch):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    whole = data.load("MNIST")
    unpacked = tmp_path / "kept" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    unpacked.write_bytes(unpacked.read_bytes()[:-1] + b"?")
    data.load.cache_clear()
    assert torch.equal(data.load("MNIST").x_train, whole.x_train)


def test_the_checksum_is_of_the_archives_in_their_order(source, monkeypatch):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    data.checksum.cache_clear()
    archives = [
        (source / "MNIST" / "raw" / name).read_bytes()
        for name, _ in torchvision.datasets.MNIST.resources
    ]
    assert (
        data.checksum("MNIST")
        == hashlib.sha256(b"".join(archives)).hexdigest()
        != data.checksum("Digits")
    )
    data.checksum.cache_clear()


def test_without_network_and_source_the_digits_stand_in_once_and_say_so(source, monkeypatch):
    monkeypatch.setattr(
        torchvision.datasets.FashionMNIST, "mirrors", torchvision.datasets.MNIST.mirrors
    )
    names, notice = data.resolve(("MNIST", "FashionMNIST"))
    assert names == ("Digits",)
    for part in (
        "EMBEDDED DIGITS IN USE",
        "MNIST cannot be downloaded",
        "FashionMNIST cannot",
        "DNDIV_DATA_SOURCE",
    ):
        assert part in notice
    assert data.resolve(("Digits",)) == (("Digits",), "")


def test_the_digits_are_split_stratified_and_scaled():
    digits = data.load("Digits")
    assert (
        digits.x_train.shape == (1437, 64)
        and digits.x_test.shape == (360, 64)
        and digits.shape == (8, 8)
    )
    assert digits.y_test.bincount().min() >= 34
    assert digits.x_train.mean().item() == pytest.approx(0, abs=1e-5)
    assert digits.x_train.std().item() == pytest.approx(1, abs=1e-3)
    data.load.cache_clear()
    assert torch.equal(data.load("Digits").x_train, digits.x_train) and torch.equal(
        data.load("Digits").y_test, digits.y_test
    )


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'; choose one of MNIST, FashionMNIST, Digits"
    ):
        data.load("mnist")
