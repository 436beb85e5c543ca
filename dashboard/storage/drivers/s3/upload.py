"""Writes: small ones in one request, large ones in parts, never visible before they are whole.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html. Every part is sent
with its checksum, and what an exception leaves half written is dropped.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.client import SignedClient, failure_in, parsed, unquoted
from dashboard.storage.drivers.s3.errors import ERRORS, Scene, translate
from dashboard.storage.drivers.s3.keys import to_headers
from dashboard.storage.errors import Damaged, StorageError, Unsupported
from dashboard.storage.types import Attributes, ObjectInfo, Written

MOST_PARTS = 10_000
PART = 8 * 1024 * 1024
"""Also the most that is written in one request: the driver protocol's ``SMALL``."""
UNKNOWN_PART = 16 * 1024 * 1024
"""Part size when nobody knows how much will come: good for 160 GB in equal parts, which R2 insists on."""
AT_ONCE = 2
"""Parts of one write on their way; with the one being filled, three in memory."""
_THREADS = 12
_MIB = 1024 * 1024
SEALED = "x-amz-server-side-encryption-customer-algorithm"
"""The header by which a server says that it used the customer's key."""


def part_size(size: int | None) -> int:
    """Bytes per part, whole MiB, for an object of ``size`` bytes."""
    if size is None:
        return UNKNOWN_PART
    least = -(-size // MOST_PARTS)
    return max(PART, -(-least // _MIB) * _MIB)


class _Buffers:
    """Part buffers used again and again: freed blocks of this size stay with the thread that freed
    them, and thirty threads would hoard several hundred MiB."""

    _MOST = 12

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """A buffer of that size, its content arbitrary."""
        with self._lock:
            if size == PART and self._free:
                return self._free.pop()
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Back, when nobody reads it any more."""
        with self._lock:
            if len(buffer) == PART and len(self._free) < self._MOST:
                self._free.append(buffer)


_buffers = _Buffers()


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part: what the server calls it, and the digest of what was sent."""

    number: int
    etag: str
    digest: bytes


class Uploads:
    """Uploads in parts to one place. Thread-safe; all writes share a few threads."""

    def __init__(self, client: SignedClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def begin(self, scene: Scene, full: str, attributes: Attributes | None) -> str:
        """Start an upload and return its id."""
        headers = {**to_headers(attributes), **self._client.place.write_headers()}
        answer = self._client.send("POST", scene, key=full, query={"uploads": ""}, headers=headers)
        upload_id: str | None = parsed(answer.body, scene).findtext("UploadId")
        if not upload_id:
            raise ERRORS.trouble("unreadable", scene)
        return upload_id

    def submit(self, scene: Scene, full: str, upload_id: str, number: int, data: memoryview) -> Future[Part]:
        """Send a part from another thread."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3-part")
            # How patient the caller wants it holds for this thread too.
            run = copy_context().run
            return self._threads.submit(run, self.send_part, scene, full, upload_id, number, data)

    def complete(
        self, scene: Scene, full: str, upload_id: str, parts: list[Part], *, if_absent: bool
    ) -> str | None:
        """Make the parts one object and return its ETag."""
        root = ElementTree.Element("CompleteMultipartUpload")
        for part in parts:
            item = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(item, "PartNumber").text = str(part.number)
            ElementTree.SubElement(item, "ETag").text = f'"{part.etag}"'
        headers = {"content-type": "application/xml", **self._client.place.key_headers()}
        if if_absent:
            headers["if-none-match"] = "*"
        answer = self._client.send(
            "POST",
            scene,
            key=full,
            query={"uploadId": upload_id},
            headers=headers,
            body=ElementTree.tostring(root),
        )
        document = parsed(answer.body, scene)
        if document.tag == "Error":
            # The server commits to status 200 before it knows how it ends.
            raise translate(failure_in(500, answer.body), scene)
        return unquoted(document.findtext("ETag"))

    def drop(self, scene: Scene, full: str, upload_id: str) -> None:
        """Throw an upload away. Idempotent."""
        with suppress(StorageError):
            self._client.send("DELETE", scene, key=full, query={"uploadId": upload_id}, attempts=2, idle=10.0)

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None

    def send_part(self, scene: Scene, full: str, upload_id: str, number: int, data: memoryview) -> Part:
        """Send a part. Raises ``Unsupported`` when the server does not use the customer's key for it."""
        place = self._client.place
        md5 = hashlib.md5(data, usedforsecurity=False)
        answer = self._client.send(
            "PUT",
            scene,
            key=full,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={"content-md5": base64.b64encode(md5.digest()).decode(), **place.key_headers()},
            body=[data],
            length=len(data),
        )
        if place.own_key and SEALED not in answer.headers:
            raise Unsupported(
                "write", f"{self._client.host} stores objects without the key of your own (SSE-C)."
            )
        etag = answer.etag or md5.hexdigest()
        encrypted = answer.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        if etag != md5.hexdigest() and len(etag) == 32 and not encrypted and place.etags_are_md5:
            raise Damaged(
                scene.key, f"Part {number} of “{scene.key}” was damaged on its way.", operation="write"
            )
        return Part(number, etag, md5.digest())


@dataclass(frozen=True, slots=True)
class Head:
    """What HEAD says. ``opaque``: encrypted so that the ETag tells nothing of the content."""

    info: ObjectInfo
    opaque: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What a write needs to know of its driver."""

    uploads: Uploads
    scene: Scene
    full: str
    attributes: Attributes | None
    put: Callable[[bytes], Written]
    head: Callable[[], Head]
    before: Callable[[], object]
    """Called before an upload begins; raises when the key cannot be held."""
    guard: Callable[[], AbstractContextManager[bool]]
    """Around completion: yields whether to ask the server to refuse a taken key."""


class S3Writing:
    """An open write, see ``Writing``. Used by one thread."""

    def __init__(self, target: Target, size: int | None) -> None:
        self._target = target
        self._part = part_size(size)
        self._size_known = size or 0
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffer = _buffers.take(self._part)
        self._filled = 0
        self._upload_id = ""
        self._numbers = 0
        self._flying: deque[tuple[Future[Part], bytearray]] = deque()
        self._parts: list[Part] = []

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if self._md5 is not None:
            self._md5.update(chunk)
        self._size += len(chunk)
        view = memoryview(chunk)
        while view:
            if self._filled == self._part:
                self._send()
            taken = view[: self._part - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            view = view[len(taken) :]

    def without_md5(self) -> None:
        """See ``ProvesByParts``."""
        if self._size == 0 and self._size_known > self._part:
            self._md5 = None

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        target = self._target
        if not self._upload_id:
            return target.put(bytes(memoryview(self._buffer)[: self._filled]))
        if self._filled:
            self._send()
        while self._flying:
            self._land()
        digests = b"".join(part.digest for part in self._parts)
        expected = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._parts)}"
        with target.guard() as if_absent:
            self._complete(expected, if_absent)
        self._upload_id = ""
        return self._receipt(expected)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._flying:
            _buffers.give(self._buffer)
        if not self._upload_id:
            return
        flights = [flight for flight, _ in self._flying]
        for flight in flights:
            flight.cancel()
        # A part that lands after the upload was dropped would bring it back to life.
        wait(flights, timeout=1.0)
        self._target.uploads.drop(self._target.scene, self._target.full, self._upload_id)
        self._upload_id = ""

    def _send(self) -> None:
        target = self._target
        if not self._upload_id:
            target.before()
            self._upload_id = target.uploads.begin(target.scene, target.full, target.attributes)
        while len(self._flying) >= AT_ONCE or (self._flying and self._flying[0][0].done()):
            self._land()
        self._numbers += 1
        if self._numbers > MOST_PARTS:
            raise Unsupported(
                "write", f"“{target.scene.key}” is longer than announced and has too many parts."
            )
        flight = target.uploads.submit(
            target.scene,
            target.full,
            self._upload_id,
            self._numbers,
            memoryview(self._buffer)[: self._filled],
        )
        self._flying.append((flight, self._buffer))
        self._buffer, self._filled = _buffers.take(self._part), 0

    def _land(self) -> None:
        flight, buffer = self._flying.popleft()
        self._parts.append(flight.result())
        _buffers.give(buffer)

    def _complete(self, expected: str, if_absent: bool) -> None:
        target = self._target
        try:
            target.uploads.complete(
                target.scene, target.full, self._upload_id, self._parts, if_absent=if_absent
            )
        except StorageError as error:
            # When only the answer was lost, the object is there; asking again would say "no such upload".
            if not self._is_there(expected, error):
                raise

    def _is_there(self, expected: str, error: StorageError) -> bool:
        if error.kind not in (Kind.NOT_FOUND, Kind.UNREACHABLE, Kind.TIMEOUT):
            return False
        try:
            found = self._target.head().info
            wanted = self._target.attributes
            # Somebody else may have written the same content, but not with the same metadata.
            same = dict(found.attributes.metadata) == dict(wanted.metadata if wanted else {})
            return found.etag == expected and same
        except StorageError:
            return False

    def _receipt(self, expected: str) -> Written:
        target = self._target
        head = target.head()
        info = head.info
        if info.size != self._size:
            raise Damaged(
                info.key,
                f"“{info.key}” has {info.size:,} bytes at the destination, but {self._size:,} were sent.",
                operation="write",
            )
        comparable = info.etag and info.etag.endswith(f"-{len(self._parts)}") and not head.opaque
        return Written(
            key=info.key,
            size=self._size,
            md5=self._md5.hexdigest() if self._md5 is not None else "",
            etag=info.etag,
            expected_checksum=expected,
            stored_checksum=info.etag if comparable else None,
        )
