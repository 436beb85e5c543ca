"""Writes to Azure: small ones in one request, large ones in blocks, never visible before they are whole.

https://learn.microsoft.com/rest/api/storageservices/put-block-list. The service checks the MD5 of each
block as it arrives. A block's name holds that MD5, so the list of blocks the service gives back for the
finished blob says of what it is made: that is the checksum of a large write. The MD5 of the whole is only
what we told the service to keep, and proves nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.azure.client import Client
from dashboard.storage.errors import Damaged, Unsupported
from dashboard.storage.types import Attributes, Written

MOST_BLOCKS = 50_000
UNKNOWN_BLOCK = 16 * 1024 * 1024
"""Block size when nobody knows how much will come: good for 800 GB."""
AT_ONCE = 2
_THREADS = 12
_MIB = 1024 * 1024


def block_size(size: int | None) -> int:
    """Bytes per block, whole MiB, for an object of ``size`` bytes."""
    if size is None:
        return UNKNOWN_BLOCK
    least = -(-size // MOST_BLOCKS)
    return max(SMALL, -(-least // _MIB) * _MIB)


@dataclass(frozen=True, slots=True)
class Block:
    """A block on the server: its name, the digest of what was sent and the one the service computed."""

    name: str
    size: int
    sent: bytes
    stored: str | None


class Blocks:
    """Block uploads of one place; all writes share a few threads. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, key: str, stem: str, number: int, data: memoryview) -> Future[Block]:
        """Send a block from another thread."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="azure-block")
            # How patient the caller wants it holds for this thread too.
            return self._threads.submit(copy_context().run, self._send, key, stem, number, data)

    def _send(self, key: str, stem: str, number: int, data: memoryview) -> Block:
        md5 = hashlib.md5(data, usedforsecurity=False)
        name = f"{stem}{number:05d}{md5.hexdigest()}"
        return Block(name, len(data), md5.digest(), self.client.stage(key, name, data, md5.digest()))

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None


class AzureWriting:
    """An open write, see ``Writing``. Used by one thread. Blocks that are never committed are dropped by
    the service after a week, and by the next write to the key."""

    def __init__(
        self,
        blocks: Blocks,
        key: str,
        *,
        size: int | None,
        attributes: Attributes | None,
        create_only: bool,
        put: Callable[[bytes], Written],
    ) -> None:
        self._blocks = blocks
        self._key = key
        self._attributes = attributes
        self._create_only = create_only
        self._put = put
        self._part = block_size(size)
        self._stem = secrets.token_hex(6)
        self._size_known = size or 0
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffer = bytearray()
        self._number = 0
        self._flying: deque[Future[Block]] = deque()
        self._done: list[Block] = []

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if self._md5 is not None:
            self._md5.update(chunk)
        self._size += len(chunk)
        view = memoryview(chunk)
        while view:
            if len(self._buffer) == self._part:
                self._send()
            taken = view[: self._part - len(self._buffer)]
            self._buffer += taken
            view = view[len(taken) :]

    def without_md5(self) -> None:
        """See ``ProvesByParts``."""
        if self._size == 0 and self._size_known > self._part:
            self._md5 = None

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if not self._number and len(self._buffer) <= SMALL:
            return self._put(bytes(self._buffer))
        if self._buffer:
            self._send()
        while self._flying:
            self._land()
        client, names = self._blocks.client, [block.name for block in self._done]
        digest = self._md5.digest() if self._md5 is not None else None
        etag = client.commit(self._key, names, digest, self._attributes, create_only=self._create_only)
        return self._receipt(etag)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for flight in self._flying:
            flight.cancel()
        wait(self._flying, timeout=1.0)
        self._flying.clear()

    def _send(self) -> None:
        while len(self._flying) >= AT_ONCE or (self._flying and self._flying[0].done()):
            self._land()
        self._number += 1
        if self._number > MOST_BLOCKS:
            raise Unsupported("write", f"“{self._key}” is longer than announced and has too many blocks.")
        data = memoryview(self._buffer)
        self._flying.append(self._blocks.submit(self._key, self._stem, self._number, data))
        self._buffer = bytearray()

    def _land(self) -> None:
        self._done.append(self._flying.popleft().result())

    def _receipt(self, etag: str) -> Written:
        held = self._blocks.client.committed(self._key)
        size = sum(size for _, size in held)
        if size != self._size:
            raise Damaged(
                self._key,
                f"“{self._key}” has {size:,} bytes at the destination, but {self._size:,} were sent.",
                operation="write",
            )
        stored = [bytes.fromhex(block.stored) for block in self._done if block.stored]
        same = [name for name, _ in held] == [block.name for block in self._done]
        told = same and len(stored) == len(self._done)
        return Written(
            key=self._key,
            size=self._size,
            md5=self._md5.hexdigest() if self._md5 is not None else "",
            etag=etag,
            expected_checksum=_checksum([block.sent for block in self._done]),
            stored_checksum=_checksum(stored) if told else None,
        )


def _checksum(digests: list[bytes]) -> str:
    """The MD5 of the blocks' MD5s and their number, in the form S3 has made usual."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"
