"""Stowage as a file system of fsspec, through fsspec itself."""

from __future__ import annotations

import gc
import importlib
import pickle
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy
import pytest
from dask.base import tokenize
from fsspec.registry import get_filesystem_class, register_implementation

from dashboard.storage import Storage
from dashboard.storage.driver import SMALL
from dashboard.storage.integrations.fsspec import StowageFileSystem
from tests.storage.objects import content_of

ROOT = Path(__file__).resolve().parents[3]
register_implementation("stowage", StowageFileSystem, clobber=True)


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    storage = Storage()
    storage.configure("media", request.param, **({"root": str(tmp_path)} if request.param == "local" else {}))
    storage.configure("other", "memory")
    return storage


@pytest.fixture
def fs(storage: Storage) -> StowageFileSystem:
    made: StowageFileSystem = fsspec.filesystem("stowage", storage=storage)
    return made


def test_the_package_announces_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["stowage"].partition(":")
    assert getattr(importlib.import_module(module), name) is StowageFileSystem
    assert get_filesystem_class("stowage") is StowageFileSystem


def test_files_are_written_read_and_seen(storage: Storage, fs: StowageFileSystem) -> None:
    data = content_of(SMALL + 100_000)
    with fs.open("stowage://media/a/big.bin", "wb") as file:
        file.write(data[:1000])
        file.write(data[1000:])
    assert storage.get("a/big.bin") == data
    with fs.open("media/a/big.bin") as file:
        file.seek(SMALL)
        assert file.read(100) == data[SMALL : SMALL + 100]
        file.seek(-5, 2)
        assert file.read() == data[-5:]
    assert fs.cat_file("media/a/big.bin", start=10, end=20) == data[10:20]
    fs.pipe("media/a/small.txt", b"one\ntwo\n")
    with fsspec.open("stowage://media/a/small.txt", "rt", storage=storage) as text:
        assert text.read() == "one\ntwo\n"
    with fs.open("media/empty", "wb"):
        pass
    assert fs.size("media/empty") == 0
    assert abs((fs.modified("media/empty") - datetime.now(UTC)).total_seconds()) < 60


def test_looking_around(fs: StowageFileSystem) -> None:
    for path in ("media/top", "media/a/one", "media/a/b/two"):
        fs.pipe(path, b"x")
    assert sorted(fs.ls("", detail=False)) == ["media", "other"]
    assert sorted(fs.ls("stowage://media/", detail=False)) == ["media/a", "media/top"]
    assert fs.ls("media/top", detail=False) == ["media/top"]
    assert {each["name"]: each["type"] for each in fs.ls("media/a")} == {
        "media/a/b": "directory",
        "media/a/one": "file",
    }
    assert fs.find("media") == ["media/a/b/two", "media/a/one", "media/top"]
    assert fs.find("media/top") == ["media/top"]
    assert fs.glob("media/**/t*") == ["media/a/b/two", "media/top"]
    assert [path for path, _, _ in fs.walk("media")] == ["media", "media/a", "media/a/b"]
    assert fs.isdir("media/a")
    assert fs.isfile("media/top")
    assert not fs.exists("media/nothing")
    for call in (fs.info, fs.ls, fs.open, fs.cat_file):
        with pytest.raises(FileNotFoundError):
            call("media/nothing")


def test_copying_moving_and_removing(storage: Storage, fs: StowageFileSystem) -> None:
    fs.pipe({"media/a/one": b"1", "media/a/b/two": b"2"})
    fs.cp("media/a/one", "media/copy")
    fs.cp("media/a", "other/a", recursive=True)
    assert fs.cat("other/a/one") == b"1"
    assert fs.cat("other/a/b/two") == b"2"
    fs.mv("media/copy", "media/moved")
    assert fs.exists("media/moved")
    assert not fs.exists("media/copy")
    with pytest.raises(IsADirectoryError):
        fs.rm("media/a")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("media/a")
    fs.rm("media/a", recursive=True)
    assert not fs.exists("media/a")
    fs.rm("media/moved")
    with pytest.raises(FileNotFoundError):
        fs.rm("media/moved")
    assert [entry.key for entry in storage.list()] == []


def test_directories(fs: StowageFileSystem) -> None:
    fs.mkdir("media/new")
    assert fs.isdir("media/new")
    with pytest.raises(FileExistsError):
        fs.mkdir("media/new")
    fs.makedirs("media/new", exist_ok=True)
    fs.makedirs("media/deep/er")
    fs.rmdir("media/new")
    assert not fs.exists("media/new")


def break_off(opened: Any, half: object) -> None:
    with opened as file:
        file.write(half)
        raise ZeroDivisionError


def write_and_fail(fs: StowageFileSystem) -> None:
    fs.pipe("media/b", b"1")
    raise ZeroDivisionError


def test_a_file_that_is_broken_off_is_not_kept(storage: Storage, fs: StowageFileSystem) -> None:
    fs.pipe("media/kept", b"old")
    for mode, half in (("wb", b"half" * 3_000_000), ("wb", b"half"), ("w", "half")):
        with pytest.raises(ZeroDivisionError):
            break_off(fs.open("media/kept", mode), half)
    forgotten = fs.open("media/kept", "wb")
    forgotten.write(b"half" * 3_000_000)
    del forgotten
    gc.collect()
    assert storage.get("kept") == b"old"
    assert [entry.key for entry in storage.list()] == ["kept"]


def test_a_transaction_is_kept_or_dropped_as_a_whole(storage: Storage, fs: StowageFileSystem) -> None:
    with fs.transaction:
        fs.pipe("media/a", b"1")
        assert not storage.exists("a")
    assert storage.get("a") == b"1"
    with pytest.raises(ZeroDivisionError), fs.transaction:
        write_and_fail(fs)
    assert not storage.exists("b")


def test_create_only_and_append(storage: Storage, fs: StowageFileSystem) -> None:
    with fs.open("media/a", "xb") as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), fs.open("media/a", "xb") as file:
        file.write(b"second")
    assert storage.get("a") == b"first"
    with pytest.raises(NotImplementedError):
        fs.open("media/a", "ab")


def test_a_file_replaced_under_a_read_is_noticed(storage: Storage, fs: StowageFileSystem) -> None:
    storage.put("a", content_of(20_000_000))
    with fs.open("media/a", block_size=1000, cache_type="none") as file:
        file.read(10)
        storage.put("a", b"shorter")
        with pytest.raises(OSError, match="changed"):
            file.read(10)


def test_what_cannot_be_done_is_an_os_error(fs: StowageFileSystem) -> None:
    fs.pipe("media/a", b"x")
    with pytest.raises(OSError, match=r"\.") as caught:
        fs.sign("media/a")
    assert caught.value.__cause__ is not None
    with pytest.raises(OSError, match="nowhere"):
        fs.cat("nowhere/a")


def test_one_from_a_file_travels_to_other_processes(tmp_path: Path) -> None:
    config = tmp_path / "storage.toml"
    config.write_text(f'[backends.media]\ndriver = "local"\nroot = "{tmp_path}"\n')
    fs = StowageFileSystem(config=str(config))
    fs.pipe("media/a", b"x")
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat("media/a") == b"x"
    with pytest.raises(ValueError, match="storage"):
        StowageFileSystem()


def test_a_directory_stays_when_its_last_file_goes(fs: StowageFileSystem, storage: Storage) -> None:
    fs.mkdir("media/made")
    fs.pipe("media/made/one", b"1")
    fs.rm("media/made/one")
    assert fs.isdir("media/made")
    fs.rm_file("media/nowhere/never")
    assert not fs.exists("media/nowhere")


@pytest.mark.parametrize("asynchronous", [False, True])
# zarr asks for asynchronous=True, and goes on without.
@pytest.mark.filterwarnings("ignore:.*asynchronous=True")
def test_zarr_keeps_arrays_here(storage: Storage, asynchronous: bool) -> None:
    # Not at the top: every worker of the tests imports this module, and zarr takes a second.
    zarr = importlib.import_module("zarr")
    fs = StowageFileSystem(storage=storage, asynchronous=asynchronous)
    store = zarr.storage.FsspecStore(fs, path="media/array")
    numbers = numpy.arange(10_000).reshape(100, 100)
    zarr.create_array(store, data=numbers, chunks=(50, 50))
    found = zarr.open_array(store, mode="r")
    assert numpy.array_equal(found[:], numbers)
    assert storage.exists("array/c/1/1")


def test_dask_names_results_after_the_backends(tmp_path: Path) -> None:
    def made(folder: str, secret: str) -> Storage:
        storage = Storage()
        storage.configure("media", "local", root=str(tmp_path / folder))
        storage.configure(
            "bucket",
            "aws",
            region="eu-central-1",
            bucket="bucket",
            access_key_id="AKI",
            secret_access_key=secret,
        )
        return storage

    assert tokenize(made("a", "one"), ensure_deterministic=True) == tokenize(made("a", "two"))
    assert tokenize(made("a", "one")) != tokenize(made("b", "one"))
    in_memory = Storage()
    in_memory.configure("media", "memory")
    other = Storage()
    other.configure("media", "memory")
    assert tokenize(in_memory, ensure_deterministic=True) == tokenize(in_memory)
    assert tokenize(in_memory) != tokenize(other)
