"""Compression of objects with chosen endings, as zstd frames that any zstd program can decompress.

The size of the content does not follow from a compressed object's stored size. So listings and ``stat`` read
the first 32 bytes of every object with a chosen ending, several in parallel. Objects that were stored before,
or by another program, are read as they are.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Self

from dashboard.storage.checks.wrappers import COMPRESS, endings
from dashboard.storage.driver import (
    CopiesWithin,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    Links,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import Changed, Damaged, NotFound, Unsupported
from dashboard.storage.net.ranges import check_range, slice_chunks
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTiers,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    ResumesWrites,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written
from dashboard.storage.wrappers.common.content_view import (
    content_entry,
    content_receipt,
    mark_token,
    unmark_token,
)
from dashboard.storage.wrappers.common.stored_powers import stored_powers
from dashboard.storage.wrappers.compressed.format import END, HEADER_BYTES, Header
from dashboard.storage.wrappers.compressed.streams import (
    TOKEN_PREFIX,
    BufferingWriting,
    CompressedReading,
    CompressingWriting,
)
from dashboard.storage.wrappers.compressed.zstd import compress
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper, unwrap_transparent

MAX_COMPRESSED_BYTES = 64 * 1024**3
"""Larger contents are stored uncompressed, because the compressed size is not known before, and multipart
uploads of large objects need it."""
_PARALLEL_READS = 8
_MAX_PENDING = 64


class _CompressedBase(Wrapper):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, endings: frozenset[str]) -> None:
        super().__init__(inner)
        self._endings = endings

    def compresses(self, key: str) -> bool:
        """Whether objects with this key are compressed."""
        name = key.rpartition("/")[2].lower()
        return "*" in self._endings or ("." in name and name.rpartition(".")[2] in self._endings)


class _Copies(_CompressedBase):
    """``CopiesWithin`` between wrappers with the same endings: copies the stored bytes."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        same = isinstance(source, _CompressedBase) and source._endings == self._endings
        return same and self.inner.can_copy_from(_storage_of(source))

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. Raises ``Unsupported`` if only one of the two keys is compressed."""
        assert isinstance(self.inner, CopiesWithin)
        compressed = self.compresses(key)
        if compressed != self.compresses(to):
            raise Unsupported("copy", "Only one of the two keys is stored compressed.")
        version = unmark_token(if_version, TOKEN_PREFIX) if compressed else if_version
        written = self.inner.copy_from(_storage_of(source), key, to, if_version=version)
        if not compressed:
            return written
        return replace(written, size=self.stat(to).size, md5="", etag=mark_token(written.etag, TOKEN_PREFIX))


class _DeletesUnchanged(_CompressedBase):
    """``DeletesUnchanged``: the version is that of the stored bytes."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        self.inner.delete_unchanged(
            key, version.removeprefix(TOKEN_PREFIX) if self.compresses(key) else version
        )


class _ReadsRanges(_CompressedBase):
    """``ReadsRanges``: decompresses everything before the range if the object is compressed."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        if not self.compresses(key):
            return self.inner.read_range(key, start, length, if_version=if_version)
        check_range(start, length)
        with self.read(key, if_version=if_version) as reading:
            if length and start >= reading.info.size:
                self._check_end(key, reading)
                return b""
            return slice_chunks(reading.chunks(), start, length)

    def _check_end(self, key: str, reading: Reading) -> None:
        """Raise ``Damaged`` if the size followed from the stored size and the stored object was cut off."""
        assert isinstance(self.inner, ReadsRanges)
        assert isinstance(reading, CompressedReading)
        if reading.has_recorded_size:
            return
        offset = max(0, reading.stored.size - len(END))
        if self.inner.read_range(key, offset, len(END), if_version=reading.stored.version) != END:
            raise Damaged(key, f"“{key}” is damaged: its end is missing.")


class _LinksToUncompressed(_CompressedBase):
    """``Links`` of uncompressed objects."""

    def url(self, key: str) -> str:
        """See ``Links``."""
        return self._links("url", key).url(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``."""
        return self._links("temporary url", key).temporary_url(key, seconds=seconds)

    def _links(self, operation: str, key: str) -> Links:
        assert isinstance(self.inner, Links)
        if self.compresses(key):
            raise Unsupported(
                operation, f"“{key}” is stored compressed, so its URL would return compressed bytes."
            )
        return self.inner


class Compressed(_CompressedBase):
    """Compresses objects with the chosen endings, and decompresses objects that are compressed."""

    reads_ranges_from_start = True
    forwards = CONTAINER_POWERS | {
        DeletesMany,
        HasTiers,
        HoldsTags,
        KeepsFolders,
        SetsVisibility,
        SignsParts,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CopiesWithin: _Copies,
            DeletesUnchanged: _DeletesUnchanged,
            ReadsRanges: _ReadsRanges,
            Links: _LinksToUncompressed,
            **stored_powers(TOKEN_PREFIX),
        }
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ResumesWrites: "Compressed content has no parts of its own.",
            WritesInGroups: "Receipts are of the compressed bytes.",
            CopiesListed: "A listing has the checksums of the compressed bytes.",
            MovesWithin: "What is compressed depends on the key.",
            KeepsVersions: "Older versions would be returned compressed.",
            ReadsInParallel: "A compressed object is decompressed from its beginning.",
        }
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build the wrapper, with the endings from the options."""
        return cls(inner, endings(options[COMPRESS]))

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        if not self.compresses(key):
            return self.inner.read(key, if_version=if_version)
        reading = self.inner.read(key, if_version=unmark_token(if_version, TOKEN_PREFIX))
        try:
            return CompressedReading(reading)
        except BaseException:
            reading.__exit__(None, None, None)
            raise

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``. Without ``size`` only up to 8 MiB are compressed. With it, commits of another size
        raise ``Damaged``."""
        if not self.compresses(key):
            return self.inner.write(key, size=size, attributes=attributes, create_only=create_only)
        self.check_key(key)
        if size is None or size > MAX_COMPRESSED_BYTES:
            return BufferingWriting(
                partial(self.put, key, attributes=attributes, create_only=create_only),
                partial(self.inner.write, key, attributes=attributes, create_only=create_only),
            )
        writing = self.inner.write(key, attributes=attributes, create_only=create_only)
        return CompressingWriting(writing, key, size)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. Stored uncompressed if compression would not make it smaller."""
        if not self.compresses(key):
            return self.inner.put(key, data, attributes=attributes, create_only=create_only)
        stored = Header(True, len(data)).encode() + compress(data) + END
        if len(stored) >= HEADER_BYTES + len(data) + len(END):
            stored = Header(False, len(data)).encode() + data + END
        written = self.inner.put(key, stored, attributes=attributes, create_only=create_only)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return content_receipt(written, len(data), md5, TOKEN_PREFIX)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``. Reads the object's header if its key has a chosen ending."""
        if not self.compresses(key):
            return self.inner.stat(key)
        with self.read(key) as reading:
            return reading.info

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Reads the headers of objects with chosen endings, eight in parallel."""
        listing = self.inner.list(prefix, start_after=start_after)
        pending: deque[Entry | Future[Entry | None]] = deque()
        with ThreadPoolExecutor(_PARALLEL_READS, "compressed-list") as pool:
            try:
                for entry in listing:
                    pending.append(pool.submit(self._entry, entry) if self.compresses(entry.key) else entry)
                    if len(pending) > _MAX_PENDING:
                        yield from _result_of(pending.popleft())
                while pending:
                    yield from _result_of(pending.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _entry(self, entry: Entry) -> Entry | None:
        if entry.size < HEADER_BYTES:
            return content_entry(entry, entry.size, TOKEN_PREFIX)
        try:
            header = Header.parse(self._read_header(entry))
        except NotFound:
            return None
        return content_entry(entry, header.content_size(entry.size) if header else entry.size, TOKEN_PREFIX)

    def _read_header(self, entry: Entry) -> bytes:
        if isinstance(self.inner, ReadsRanges):
            try:
                return self.inner.read_range(entry.key, 0, HEADER_BYTES, if_version=entry.etag)
            except Changed:
                # It changed since it was listed. Copying it will fail with ``Changed``.
                return self.inner.read_range(entry.key, 0, HEADER_BYTES)
        with self.inner.read(entry.key) as reading:
            return slice_chunks(reading.chunks(), 0, HEADER_BYTES)


def _storage_of(source: Driver) -> Driver:
    return unwrap_transparent(source.inner) if isinstance(source, _CompressedBase) else source


def _result_of(entry: Entry | Future[Entry | None]) -> Iterator[Entry]:
    result = entry.result() if isinstance(entry, Future) else entry
    if result is not None:
        yield result
