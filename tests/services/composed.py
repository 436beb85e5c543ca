"""All services on real files, and helpers to put objects into backends and compare them."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dashboard.app import open_services
from dashboard.migration.types import Progress, State
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.servers.processes import wait_until
from tests.servers.s3 import KeyPair
from tests.services.console import ADMIN


@contextmanager
def composed(instance: Path, *, clamav: str | None = None) -> Iterator[Services]:
    """All services of an instance; opening it again is a restart. ``clamav``: the address of a scanner."""
    services = open_services(Settings.from_env({}, instance=instance, clamav=clamav))
    try:
        yield services
    finally:
        services.close()


@contextmanager
def running(services: Services) -> Iterator[list[int]]:
    """A runner in a thread; the list holds its exit code once it has ended."""
    stop, code = threading.Event(), list[int]()
    thread = threading.Thread(target=lambda: code.append(services.runner.run_forever(stop)))
    thread.start()
    try:
        yield code
    finally:
        stop.set()
        thread.join()


def add_local(services: Services, name: str, root: Path) -> Path:
    """A local backend on a folder that is made."""
    root.mkdir(parents=True, exist_ok=True)
    services.backends.add(ADMIN, Draft(name, "local", {"root": str(root)}, {}))
    return root


def add_s3(
    services: Services, name: str, endpoint: str, bucket: str, identity: KeyPair, **options: str
) -> None:
    """An S3 backend."""
    services.backends.add(
        ADMIN,
        Draft(
            name,
            "s3",
            {"endpoint": endpoint, "bucket": bucket, "access_key_id": identity.access_key, **options},
            {"secret_access_key": Secret(identity.secret_key)},
        ),
    )


def fill(root: Path, sizes: Mapping[str, int], seed: int = 1) -> None:
    """Files of these sizes with seeded content."""
    noise = random.Random(seed)
    for name, size in sizes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(size))


def digests(services: Services, name: str) -> dict[str, str]:
    """Key to SHA-256 of everything a backend lists."""
    driver = services.backends.driver(name, label="test")
    found = {}
    for entry in driver.list():
        digest = hashlib.sha256()
        with driver.read(entry.key) as reading:
            for chunk in reading.chunks():
                digest.update(chunk)
        found[entry.key] = digest.hexdigest()
    return found


def await_state(services: Services, number: int, *states: State, seconds: float = 60.0) -> Progress:
    """Wait until a migration is in one of these states."""
    wait_until(
        lambda: services.migrations.progress(number).state in states,
        seconds=seconds,
        what=f"migration {number} {' or '.join(states)}",
    )
    return services.migrations.progress(number)
