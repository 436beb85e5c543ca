"""One client at work, in a process of its own so that its CPU time and memory are only its own."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import psutil

from bench.peers import Client, Ftplib, Ours, Paramiko, PlainFiles
from bench.sites import SPAWN, Site
from bench.web_peers import THREADS, AzureBlob, Boto3, GoogleByHand, Obstore, VercelByHand, WebDavByHand

PEERS: dict[str, tuple[Callable[[Site], Client], ...]] = {
    "local": (PlainFiles,),
    "s3": (Boto3, Obstore),
    "azure": (AzureBlob,),
    "gcs": (GoogleByHand,),
    "sftp": (Paramiko,),
    "ftp": (Ftplib,),
    "webdav": (WebDavByHand,),
    "vercel_blob": (VercelByHand,),
}
"""Beside each driver. The last one also makes the keys that are listed."""

CASES = ("put small", "get small", "put large", "get large", "list")
SMALL = 16 * 1024
A_FOLDER = 1000
"""Keys of one folder where many are listed."""


@dataclass(frozen=True)
class Load:
    """How much there is to do; ``large`` is bytes of the one large object, ``keys`` are to be listed."""

    objects: int
    large: int
    keys: int
    seed: int = 20261121

    def small(self) -> list[bytes]:
        """The same incompressible objects every time."""
        return [random.Random(self.seed + number).randbytes(SMALL) for number in range(self.objects)]

    def one_large(self) -> bytes:
        """The same incompressible object every time."""
        source = random.Random(self.seed)
        return b"".join(source.randbytes(1 << 20) for _ in range(self.large >> 20))


@dataclass(frozen=True)
class Timed:
    """One run. ``wall`` and ``cpu`` (of the client) in seconds, ``size`` in bytes.

    ``growth`` is how many bytes of resident memory came in after the first thousand keys of a listing.
    """

    wall: float
    cpu: float
    objects: int
    size: int
    growth: int = 0


class ClientError(RuntimeError):
    """A client failed, or did something other than its case."""


def clients_of(driver: str) -> tuple[Callable[[Site], Client], ...]:
    """Ours and its peers."""
    return (Ours, *PEERS[driver])


class Worker:
    """A client in a fresh process that is signed in and warm. Use as a context manager."""

    def __init__(self, make: Callable[[Site], Client], site: Site, load: Load) -> None:
        self._pipe, there = SPAWN.Pipe()
        self._child = SPAWN.Process(target=_serve, args=(there, make, site, load), daemon=True)
        self._child.start()
        there.close()
        self._receive()

    def do(self, case: str, folder: str) -> Timed:
        """Time one case in a folder. Raises :class:`ClientError`."""
        self._pipe.send((case, folder))
        return self._receive()

    def prepare(self, folder: str) -> None:
        """Make a folder where folders have to be made."""
        self._pipe.send(("prepare", folder))
        self._receive()

    def check(self, folder: str) -> None:
        """Read what another client put into a folder. Raises :class:`ClientError` if it differs."""
        self._pipe.send(("check", folder))
        self._receive()

    def fill(self) -> None:
        """Make the keys that are listed."""
        self._pipe.send(("fill", "keys"))
        self._receive()

    def _receive(self) -> Timed:
        try:
            reply = self._pipe.recv()
        except EOFError:
            raise ClientError("a client's process ended by itself") from None
        if isinstance(reply, str):
            raise ClientError(reply)
        timed: Timed = reply
        return timed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._child.join(30)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()


def _serve(pipe: Connection, make: Callable[[Site], Client], site: Site, load: Load) -> None:
    client = make(site)
    with ThreadPoolExecutor(THREADS) as pool:
        work = _Work(client, pool, load)
        try:
            case, folder = "warm", f"warm-{client.name.strip('()')}"
            while True:
                try:
                    reply: Timed | str = work.do(case, folder)
                except Exception:  # noqa: BLE001  # whatever it is, the session has to hear it
                    reply = f"{client.name}, {case}:\n{traceback.format_exc()}"
                pipe.send(reply)
                case, folder = pipe.recv()
        except EOFError:
            client.close()


class _Work:
    """The cases, against one client."""

    def __init__(self, client: Client, pool: ThreadPoolExecutor, load: Load) -> None:
        self._client = client
        self._pool = pool
        self._load = load
        self._small: list[bytes] = []
        self._large = b""

    def do(self, case: str, folder: str) -> Timed:
        cases = {
            "warm": self._warm,
            "prepare": self._prepare,
            "check": self._check,
            "fill": self._fill,
            "put small": self._put_small,
            "get small": self._get_small,
            "put large": self._put_large,
            "get large": self._get_large,
            "list": self._list,
        }
        return cases[case](folder)

    def _warm(self, folder: str) -> Timed:
        """Every thread connected and every library loaded."""
        client, together = self._client, threading.Barrier(THREADS)
        client.prepare(folder)

        def once(number: int) -> None:
            together.wait(60)
            client.put(f"{folder}/{number}", b"warm")
            client.get(f"{folder}/{number}")

        list(self._pool.map(once, range(THREADS)))
        return _timed(lambda: (len(list(client.list(f"{folder}/"))), 0))

    def _prepare(self, folder: str) -> Timed:
        self._client.prepare(folder)
        self._small = self._small or self._load.small()
        self._large = self._large or self._load.one_large()
        return Timed(0, 0, 0, 0)

    def _check(self, folder: str) -> Timed:
        for key, data in self._named(folder):
            if self._client.get(key) != data:
                raise ClientError(f"{key} does not hold what was put there")
        if self._client.get_large(f"{folder}/large") != len(self._large):
            raise ClientError("the large object has another size")
        return Timed(0, 0, 0, 0)

    def _fill(self, folder: str) -> Timed:
        count = self._load.keys
        for start in range(0, count, A_FOLDER):
            self._client.prepare(f"{folder}/{start // A_FOLDER:04d}")

        def put(number: int) -> None:
            self._client.put(f"{folder}/{number // A_FOLDER:04d}/object-{number:07d}", b"%d" % number)

        for _ in self._pool.map(put, range(count)):
            pass
        return Timed(0, 0, count, 0)

    def _named(self, folder: str) -> Iterator[tuple[str, bytes]]:
        return ((f"{folder}/object-{number:06d}", data) for number, data in enumerate(self._small))

    def _put_small(self, folder: str) -> Timed:
        work = list(self._named(folder))

        def all_of_it() -> tuple[int, int]:
            for _ in self._pool.map(lambda each: self._client.put(*each), work):
                pass
            return len(work), sum(map(len, self._small))

        return _timed(all_of_it)

    def _get_small(self, folder: str) -> Timed:
        keys = [key for key, _ in self._named(folder)]

        def all_of_it() -> tuple[int, int]:
            return len(keys), sum(self._pool.map(lambda key: len(self._client.get(key)), keys))

        return _expect(_timed(all_of_it), len(keys), len(keys) * SMALL)

    def _put_large(self, folder: str) -> Timed:
        def all_of_it() -> tuple[int, int]:
            self._client.put_large(f"{folder}/large", self._large)
            return 1, len(self._large)

        return _timed(all_of_it)

    def _get_large(self, folder: str) -> Timed:
        timed = _timed(lambda: (1, self._client.get_large(f"{folder}/large")))
        return _expect(timed, 1, len(self._large))

    def _list(self, folder: str) -> Timed:
        process = psutil.Process()
        first = most = 0

        def all_of_it() -> tuple[int, int]:
            nonlocal first, most
            count = size = 0
            for _, bytes_of in self._client.list(f"{folder}/"):
                count += 1
                size += bytes_of
                if not count % 1000:
                    most = max(most, process.memory_info().rss)
                    first = first or most
            return count, size

        timed = _timed(all_of_it)
        keys = self._load.keys
        _expect(timed, keys, sum(len(str(number)) for number in range(keys)))
        return Timed(timed.wall, timed.cpu, timed.objects, timed.size, most - first)


def _timed(work: Callable[[], tuple[int, int]]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    objects, size = work()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, objects, size)


def _expect(timed: Timed, objects: int, size: int) -> Timed:
    if (timed.objects, timed.size) != (objects, size):
        raise ClientError(
            f"{timed.objects:,} objects of {timed.size:,} bytes came, not {objects:,} of {size:,}"
        )
    return timed
