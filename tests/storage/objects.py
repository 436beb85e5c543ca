"""What the contract suite says in one word."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from dashboard.storage.driver import Driver
from dashboard.storage.errors import InvalidKey, Unsupported


@functools.lru_cache(maxsize=16)
def content_of(size: int, seed: int = 7) -> bytes:
    """Always the same bytes, kept once: all modules of the tests are in memory together."""
    return random.Random(seed).randbytes(size)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def get(driver: Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return b"".join(reading.chunks())


def stream(driver: Driver, key: str, data: bytes, *, create_only: bool = False) -> None:
    with driver.write(key, size=len(data), create_only=create_only) as writing:
        writing.write(data)
        writing.commit()


def break_off(driver: Driver, key: str) -> None:
    with driver.write(key) as writing:
        writing.write(b"half")
        raise ZeroDivisionError


def refusal(driver: Driver, key: str) -> InvalidKey | None:
    try:
        driver.check_key(key)
    except InvalidKey as error:
        return error
    return None


def keys_of(driver: Driver, prefix: str = "", start_after: str = "") -> list[str]:
    """As listed, or sorted where the driver promises no order."""
    keys = [entry.key for entry in driver.list(prefix, start_after=start_after)]
    return keys if driver.ordered else sorted(keys)


def leftovers(root: Path) -> list[str]:
    """The names of the unfinished writes on a file server, below its folder ``root``."""
    return [path.name for path in root.rglob(".stowage-tmp*")]


REFUSED = "raises Unsupported"
"""The property of a test report that says why a driver does not do what the test is about."""


class Refused(Exception):
    """Ends a test that has seen all there is to see, and passed: ``Unsupported``, with this reason."""


def unsupported(call: Callable[[], object]) -> NoReturn:
    """It raises ``Unsupported`` and says why; the rest of the test would be about what is not there."""
    with pytest.raises(Unsupported) as caught:
        call()
    assert caught.value.operation
    assert len(caught.value.reason) > 10
    assert caught.value.reason.endswith(".")
    raise Refused(caught.value.reason)
