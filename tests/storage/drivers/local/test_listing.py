"""The local driver: listings in order, in bounded memory."""

from __future__ import annotations

import os
import random
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.storage.drivers.common import walking
from dashboard.storage.drivers.local import listing as local_listing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.paths import key_bytes
from tests.storage.drivers.local.disk import get, keys_of, open_descriptors


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def test_listing_agrees_with_sorted_keys_for_any_tree(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random trees of awkward names, with runs so short that everything is spilled and merged."""
    monkeypatch.setattr(walking, "RUN_LENGTH", 3)
    monkeypatch.setattr(walking, "_BLOCK", 7)
    rng = random.Random(20261121)
    names = ["a", "a-", "a.", "a0", "A", "b", "\n", " ", "é", "\udcff", "😀", "\ufffd", "~", "ab", "aa"]
    keys: set[str] = set()
    folders: set[str] = set()
    while len(keys) < 250:
        parts = [rng.choice(names) for _ in range(rng.randint(1, 5))]
        above = {"/".join(parts[:i]) for i in range(1, len(parts))}
        key = "/".join(parts)
        if key in folders or above & keys:
            continue
        folders |= above
        keys.add(key)
        driver.put(key, b"x")
    ordered = sorted(keys, key=key_bytes)
    assert keys_of(driver) == ordered
    probes = [rng.choice(ordered) for _ in range(25)]
    cuts = [key[: rng.randint(0, len(key))] for key in probes]
    for prefix in ["", "a", "a/", *cuts]:
        for after in ["", rng.choice(ordered), rng.choice(cuts), rng.choice(cuts) + "/"]:
            expected = [k for k in ordered if k.startswith(prefix) and key_bytes(k) > key_bytes(after)]
            assert keys_of(driver, prefix, after) == expected


def test_listing_a_large_folder_keeps_memory_and_descriptors(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "RUN_LENGTH", 1000)
    monkeypatch.setattr(walking, "_BLOCK", 8192)
    folder = root / "large"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY)
    for number in range(20_000):
        os.close(os.open(f"object-with-a-longish-name-{number:07}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    before = open_descriptors()
    tracemalloc.start()
    try:
        count, last, widest = 0, "", 0
        for entry in driver.list():
            assert entry.key > last
            last = entry.key
            count += 1
            if count % 5_000 == 0:
                widest = max(widest, open_descriptors())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert widest <= before + 1
    assert peak < 2 << 20
    assert open_descriptors() == before


def test_pruned_folders_are_not_even_opened(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a/x", "b/c/x", "b/d/x", "e/x"):
        driver.put(key, b"x")
    opened: list[bytes] = []
    rows = local_listing._rows

    def watched(tree: object, path: bytes, *rest: object) -> object:
        opened.append(path)
        return rows(tree, path, *rest)

    monkeypatch.setattr(local_listing, "_rows", watched)
    assert keys_of(driver, "b/d") == ["b/d/x"]
    assert opened == [b"b/", b"b/d/"]
    opened.clear()
    assert keys_of(driver, after="b/d") == ["b/d/x", "e/x"]
    assert opened == [b"", b"b/", b"b/d/", b"e/"]


def test_a_very_deep_tree_needs_two_descriptors(driver: LocalDriver) -> None:
    key = "/".join(["d"] * 300)
    driver.put(key, b"deep")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 8, hard))
    try:
        assert keys_of(driver) == [key]
        assert get(driver, key) == b"deep"
        driver.delete(key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert keys_of(driver) == []


def test_what_vanishes_while_it_is_listed_is_left_out(driver: LocalDriver, root: Path) -> None:
    for key in ("a/1", "b/1", "c/1"):
        driver.put(key, b"x")
    listing = driver.list()
    assert next(listing).key == "a/1"
    driver.delete("b/1")
    assert [entry.key for entry in listing] == ["c/1"]


def test_a_listing_that_is_dropped_midway_frees_everything(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "RUN_LENGTH", 2)
    for number in range(10):
        driver.put(f"{number}", b"")
    before = open_descriptors()
    listing = driver.list()
    next(listing)
    assert open_descriptors() == before + 1
    listing.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before
