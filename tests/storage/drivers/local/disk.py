"""What the tests of the local driver share."""

from __future__ import annotations

import os

from dashboard.storage.drivers.local.driver import LocalDriver

TMP = ".stowage-tmp"


def keys_of(driver: LocalDriver, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in driver.list(prefix, start_after=after)]


def get(driver: LocalDriver, key: str) -> bytes:
    with driver.read(key) as reading:
        return reading.read_all()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
