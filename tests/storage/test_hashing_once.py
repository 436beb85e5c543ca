"""Copies of objects that were uploaded in parts hash their bytes once, and prove as much as with two."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from dashboard.storage import proving
from dashboard.storage.drivers.common import multipart
from dashboard.storage.drivers.local import writing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3 import upload
from dashboard.storage.errors import Damaged
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.copies import LARGE, MIB, Make, OnAnotherServer, content, copy, in_parts

DATA = LARGE[: 20 * MIB + 3]


class Hashlib:
    """``hashlib`` that counts the bytes of each module that uses it."""

    def __init__(self, hashed: Counter[str], module: str) -> None:
        self._hashed = hashed
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(hashlib, name)

    def md5(self, data: bytes = b"", *, usedforsecurity: bool) -> Any:
        counted = _Counted(self._hashed, self._module)
        counted.update(data)
        return counted


class _Counted:
    def __init__(self, hashed: Counter[str], module: str) -> None:
        self._hashed, self._module = hashed, module
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._md5, name)

    def update(self, data: bytes) -> None:
        # Beside the content, the MD5s of the parts are hashed.
        self._hashed[self._module] += len(data) if len(data) > 16 * 1024 else 0
        self._md5.update(data)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    found: Counter[str] = Counter()
    for module in (proving, multipart, writing, upload):
        monkeypatch.setattr(module, "hashlib", Hashlib(found, module.__name__.rpartition(".")[2]))
    return found


def test_to_a_disk_the_checksum_of_the_read_is_the_receipts(
    make: Make, local: LocalDriver, seaweedfs: SeaweedFS, hashed: Counter[str]
) -> None:
    source = make()
    entry = in_parts(seaweedfs, source, "a", DATA, 8 * MIB)
    copied = copy(source, local, entry, need_md5=False)
    assert copied.proven
    assert copied.written.expected_checksum == entry.etag
    assert copied.written.md5 == ""
    assert content(local, "a") == DATA
    assert abs(hashed.total() - len(DATA)) < MIB
    assert hashed["writing"] == 0


def test_to_a_disk_the_md5_is_there_if_it_is_needed(
    make: Make, local: LocalDriver, seaweedfs: SeaweedFS
) -> None:
    source = make()
    entry = in_parts(seaweedfs, source, "a", DATA, 8 * MIB)
    assert copy(source, local, entry, need_md5=True).written.md5 == hashlib.md5(DATA).hexdigest()
    # Stored in one request: the source vouches for the MD5, which serves both.
    source.put("b", DATA)
    (entry,) = source.list("b")
    assert copy(source, local, entry, need_md5=True).written.md5 == hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize("need_md5", [False, True])
def test_between_buckets_the_parts_that_are_sent_prove_the_read(
    make: Make, seaweedfs: SeaweedFS, hashed: Counter[str], *, need_md5: bool
) -> None:
    source, destination = make(), make()
    entry = in_parts(seaweedfs, source, "a", DATA, 8 * MIB)
    copied = copy(OnAnotherServer(source), destination, entry, need_md5=need_md5)  # type: ignore[arg-type]
    assert copied.proven
    assert copied.written.etag == entry.etag
    assert content(destination, "a") == DATA
    assert hashed["proving"] == 0
    assert hashed["upload"] == len(DATA)
    assert copied.written.md5 == (hashlib.md5(DATA).hexdigest() if need_md5 else "")


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("at", [100, len(DATA) - 1], ids=["first", "last"])
def test_between_buckets_a_bit_that_flips_is_noticed_before_the_object_appears(
    make: Make, fault_proxy: FaultProxy, seaweedfs: SeaweedFS, at: int, times: int | None
) -> None:
    source, destination = make(fault_proxy.endpoint), make()
    entry = in_parts(seaweedfs, source, "a", DATA, 8 * MIB)
    fault_proxy.flip(at, key="/a", times=times)
    if times is None:
        with pytest.raises(Damaged):
            copy(OnAnotherServer(source), destination, entry)  # type: ignore[arg-type]
        assert list(destination.list()) == []
    else:
        copy(OnAnotherServer(source), destination, entry)  # type: ignore[arg-type]
        assert content(destination, "a") == DATA
    left = seaweedfs.client().list_multipart_uploads(Bucket=destination._config.bucket).get("Uploads")
    assert not left


def test_parts_of_another_size_are_hashed_for_themselves(
    make: Make, seaweedfs: SeaweedFS, hashed: Counter[str]
) -> None:
    source, destination = make(), make()
    entry = in_parts(seaweedfs, source, "a", DATA, 6 * MIB)
    copied = copy(OnAnotherServer(source), destination, entry, need_md5=False)  # type: ignore[arg-type]
    assert copied.proven
    assert copied.written.etag != entry.etag
    assert hashed["proving"] > len(DATA) - MIB
