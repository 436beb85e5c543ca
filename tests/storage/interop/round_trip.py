"""A round trip of odd names through a driver: what is taken comes back, the rest is refused with a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from dashboard.errors import Kind
from dashboard.storage.driver import Driver, ReadsRanges
from dashboard.storage.errors import NotFound, StorageError
from tests.storage.objects import get, keys_of, stream


def content_for(name: str) -> bytes:
    """A content of its own for each name."""
    raw = name.encode("utf-8", "surrogateescape")
    return hashlib.sha256(raw).digest() * (1 + len(raw) % 40) + raw


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def round_trip(driver: Driver, names: Iterable[str], threads: int = 8) -> dict[str, str]:
    """Put, list, look, read, read a part, replace and delete all names; why each refused one was refused.

    Fails with a list of everything that went wrong."""
    names = list(names)
    wrong: list[str] = []
    refused: dict[str, str] = {}

    def put(name: str) -> None:
        try:
            driver.put(name, content_for(name))
        except StorageError as error:
            refused[name] = error.reason
            if error.kind is not Kind.INVALID_KEY or not error.reason:
                wrong.append(f"put {name!a}: {error.kind.value}: {error}")

    def check(name: str) -> None:
        data = content_for(name)
        try:
            if sha256(get(driver, name)) != sha256(data):
                wrong.append(f"read {name!a}: other content")
            if driver.stat(name).size != len(data):
                wrong.append(f"stat {name!a}: another size")
            if isinstance(driver, ReadsRanges) and driver.read_range(name, 7, 20) != data[7:27]:
                wrong.append(f"range {name!a}: other content")
        except StorageError as error:
            wrong.append(f"read {name!a}: {error.kind.value}: {error}")

    def replace(name: str) -> None:
        try:
            stream(driver, name, b"second")
            if get(driver, name) != b"second":
                wrong.append(f"replace {name!a}: other content")
            driver.delete(name)
            driver.stat(name)
            wrong.append(f"delete {name!a}: still there")
        except NotFound as error:
            if error.operation != "stat":
                wrong.append(f"replace {name!a}: {error}")
        except StorageError as error:
            wrong.append(f"replace {name!a}: {error.kind.value}: {error}")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, names))
        taken = [name for name in names if name not in refused]
        listed = keys_of(driver)
        wrong += [f"not listed: {name!a}" for name in sorted(set(taken) - set(listed))]
        wrong += [f"nobody put: {name!a}" for name in sorted(set(listed) - set(taken))]
        list(pool.map(check, taken))
        list(pool.map(replace, taken))
    wrong += [f"left over: {name!a}" for name in keys_of(driver)]
    assert not wrong, f"{len(wrong)} things went wrong:\n" + "\n".join(wrong)
    return refused
