"""Archives that are missing, corrupt or truncated, the source setting, and the embedded digits.

No network and no real archive is needed: torchvision's classes are pointed at a small data set in
their own format.
"""

import contextlib
import gzip
import hashlib
import http.server
import os
import pathlib
import platform
import resource
import shutil
import struct
import subprocess
import threading
import time

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
    theirs = torchvision.datasets.MNIST(tmp_path / "kept", train=True, download=True)  # unpacks
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
        data.DataError, match=f"DNDIV_DATA_SOURCE={source} does not give t10k-labels-idx1-ubyte.gz"
    ):
        data.resolve(("MNIST",))
    assert not [name for name in leftovers(tmp_path) if "t10k-labels" in name]


@pytest.mark.parametrize("trouble", ["no folder", "a file", "full"])
def test_a_folder_that_cannot_be_written_is_named_and_no_digits_stand_in(
    source, tmp_path, monkeypatch, trouble
):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [(source / "MNIST/raw").as_uri()])
    (tmp_path / "file").write_text("")
    places = {"no folder": "/proc/none", "a file": tmp_path / "file", "full": tmp_path / "kept"}
    monkeypatch.setenv("DNDIV_DATA", str(places[trouble]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if trouble == "full":  # no file can have more than 100 bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(data.DataError, match="cannot be kept in .*set DNDIV_DATA") as error:
            data.resolve(("MNIST",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not isinstance(error.value, data.DataUnavailable)
    assert str(places[trouble]) in str(error.value)


def test_verified_archives_in_a_folder_that_is_read_only_are_used(source, tmp_path, monkeypatch):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    data.fetch("MNIST")
    for name in ("open", "mkdir", "write_bytes", "touch"):  # as root may write, this is stopped
        was = getattr(pathlib.Path, name)

        def only_reads(path, *words, was=was, name=name, **more):
            if name != "open" or "r" not in (words or ("r",))[0]:
                raise OSError(30, "Read-only file system", str(path))
            return was(path, *words, **more)

        monkeypatch.setattr(pathlib.Path, name, only_reads)
    assert data.resolve(("MNIST",)) == (("MNIST",), "") and len(data.load("MNIST").x_train) == 50


# ------------------------------------------------------------------------------------ mirrors
@pytest.fixture
def mirrors(source, monkeypatch):
    """Two mirrors on this machine: the first answers as it is told to, the second as it should."""
    asked, raw = [], source / "MNIST" / "raw"
    answers = {
        "html": lambda out, content: out.write(b"<html>Please log in</html>"),
        "cut": lambda out, content: out.write(content[:-20]),
        "empty": lambda out, content: None,
        "slow": lambda out, content: drip(out, content),
        "endless": lambda out, content: flood(out),
        "right": lambda out, content: out.write(content),
    }

    def drip(out, content):
        for k in range(200):
            out.write(content[k : k + 1])
            out.flush()
            time.sleep(0.05)

    def flood(out):
        for _ in range(100):
            out.write(bytes(100_000))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            way, name = self.path.strip("/").split("/")
            asked.append((way, name))
            if way == "mute":  # a header that never ends
                for _ in range(200):
                    self.wfile.write(b"H")
                    self.wfile.flush()
                    time.sleep(0.05)
                return
            self.send_response(200)
            content = (raw / name).read_bytes()
            if way == "cut":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            answers[way](self.wfile, content)

        def log_message(self, *words):
            pass

        def handle(self):
            with contextlib.suppress(OSError):  # who asked has gone
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(data, "TIMEOUT", 0.3)
    monkeypatch.setattr(data, "LIMIT", 1_000_000)

    def use(*ways):
        there = [f"http://127.0.0.1:{server.server_port}/{way}" for way in ways]
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", there)
        return asked

    yield use
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("way", ["html", "cut", "empty", "slow", "endless", "mute"])
def test_after_a_mirror_that_answers_with_something_else_the_next_is_asked(mirrors, way):
    asked = mirrors(way, "right")
    began = time.monotonic()
    assert data.resolve(("MNIST",)) == (("MNIST",), "")
    assert {w for w, _ in asked} == {way, "right"} and time.monotonic() - began < 4


def test_where_every_mirror_answers_with_something_else_the_user_can_do_something(mirrors, source):
    mirrors("html", "empty")
    with pytest.raises(data.DataError, match="log-in page.*take train-images-idx3-ubyte.gz") as e:
        data.resolve(("MNIST",))
    name, md5 = torchvision.datasets.MNIST.resources[0]
    for part in (md5, "(26 bytes)", "(0 bytes)", str(data.folder() / "MNIST" / "raw")):
        assert part in str(e.value)
    (data.folder() / "MNIST").mkdir(parents=True, exist_ok=True)  # the remedy, carried out
    shutil.copytree(source / "MNIST" / "raw", data.folder() / "MNIST/raw", dirs_exist_ok=True)
    assert data.resolve(("MNIST",)) == (("MNIST",), "")


def test_what_a_killed_writer_has_left_is_removed_and_what_a_living_one_writes_is_not(
    source, tmp_path, monkeypatch
):
    monkeypatch.setenv("DNDIV_DATA_SOURCE", str(source))
    raw = tmp_path / "kept" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    killed = subprocess.Popen(["true"])
    killed.wait()
    lives = os.getppid()
    parts = [raw / f"x.gz.{platform.node()}.{pid}.part" for pid in (killed.pid, lives)]
    for part in parts:
        part.write_text("half")
    data.fetch("MNIST")
    assert [part.exists() for part in parts] == [False, True]


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


def test_the_checksum_of_what_every_machine_has_is_made_once_for_the_versions(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DNDIV_DATA", str(tmp_path))
    made, asked = data.EMBEDDED["Digits"](), []
    monkeypatch.setitem(data.EMBEDDED, "Digits", lambda: asked.append(1) or made)

    def of():
        return data.checksum.__wrapped__("Digits")

    parts = b"".join(x.numpy().tobytes() for pair in made[:2] for x in pair)
    expected = hashlib.sha256(parts).hexdigest()
    assert [of() for _ in range(3)] == [expected] * 3 and len(asked) == 1
    [kept] = (tmp_path / "Digits").iterdir()
    for damage in ("", "half", "x" * 64):
        kept.write_text(damage)
        assert of() == expected == kept.read_text()
    version = data.metadata.version
    monkeypatch.setattr(data.metadata, "version", lambda part: f"{version(part)}.1")
    assert of() == expected and len(asked) == 5
    monkeypatch.setenv("DNDIV_DATA", str(kept))  # no folder: nothing is kept, nothing is lost
    assert of() == of() == expected and len(asked) == 7


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
