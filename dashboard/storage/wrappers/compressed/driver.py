"""Objects that are stored smaller: those with chosen endings, as zstd frames any zstd program can unpack.

A compressed object's stored size says nothing of its content's, so listing and describing one reads the
first 32 bytes of it: one more request for each object with a chosen ending, several at a time. Objects that
were there before, or come from another program, are read as they are.
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
from dashboard.storage.object_powers import DeletesMany, HasTiers, HoldsTags, KeepsVersions, SignsUploads
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written
from dashboard.storage.wrappers.common.content_view import (
    content_entry,
    content_receipt,
    mark_token,
    unmark_token,
)
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
"""Content above this is stored as it is: the stored size cannot be told beforehand, and backends that take
uploads in parts need it for large ones."""
_PARALLEL_READS = 8
_MAX_PENDING = 64


class _CompressedBase(Wrapper):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, endings: frozenset[str]) -> None:
        super().__init__(inner)
        self._endings = endings

    def compresses(self, key: str) -> bool:
        """Whether objects of this name are compressed."""
        name = key.rpartition("/")[2].lower()
        return "*" in self._endings or ("." in name and name.rpartition(".")[2] in self._endings)


class _Copies(_CompressedBase):
    """Between places that compress the same endings a copy of the stored bytes is a copy of the object."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        same = isinstance(source, _CompressedBase) and source._endings == self._endings
        return same and self.inner.can_copy_from(_storage_of(source))

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. Raises ``Unsupported`` where only one of the two names is compressed."""
        assert isinstance(self.inner, CopiesWithin)
        compressed = self.compresses(key)
        if compressed != self.compresses(to):
            raise Unsupported("copy", "Under the other name it is stored in another form.")
        version = unmark_token(if_version, TOKEN_PREFIX) if compressed else if_version
        done = self.inner.copy_from(_storage_of(source), key, to, if_version=version)
        if not compressed:
            return done
        return replace(done, size=self.stat(to).size, md5="", etag=mark_token(done.etag, TOKEN_PREFIX))


class _DeletesUnchanged(_CompressedBase):
    """The version of the stored bytes is that of the content."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        self.inner.delete_unchanged(
            key, version.removeprefix(TOKEN_PREFIX) if self.compresses(key) else version
        )


class _ReadsRanges(_CompressedBase):
    """Parts of what is stored as it is; of what is compressed, everything up to the part is unpacked."""

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
        """Raise ``Damaged`` where the size that was taken for the content's is only what is left of it."""
        assert isinstance(self.inner, ReadsRanges)
        assert isinstance(reading, CompressedReading)
        if reading.has_recorded_size:
            return
        at = max(0, reading.stored.size - len(END))
        if self.inner.read_range(key, at, len(END), if_version=reading.stored.version) != END:
            raise Damaged(key, f"“{key}” is damaged: its end is missing.")


class _LinksToUncompressed(_CompressedBase):
    """Addresses of what is stored as it is."""

    def url(self, key: str) -> str:
        """See ``Links``."""
        return self._links("url", key).url(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``."""
        return self._links("temporary url", key).temporary_url(key, seconds=seconds)

    def _links(self, operation: str, key: str) -> Links:
        assert isinstance(self.inner, Links)
        if self.compresses(key):
            raise Unsupported(operation, f"“{key}” is stored compressed: its address would show that form.")
        return self.inner


class Compressed(_CompressedBase):
    """Compresses what has a chosen ending on the way in, and whatever is compressed on the way out."""

    forwards = CONTAINER_POWERS | {
        DeletesMany,
        HasTiers,
        HoldsTags,
        KeepsFolders,
        SetsVisibility,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CopiesWithin: _Copies,
            DeletesUnchanged: _DeletesUnchanged,
            ReadsRanges: _ReadsRanges,
            Links: _LinksToUncompressed,
        }
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            KeepsVersions: "Older states would be shown in the form they are stored in.",
            ReadsInParallel: "What is compressed is unpacked from its beginning.",
        }
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Around a driver, with the endings among its options."""
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
        """See ``Driver``. Without ``size`` only up to 8 MiB are compressed; with it, commits of another
        number of bytes raise ``Damaged``."""
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
        """See ``Driver``. What compression would not make smaller is stored as it is."""
        if not self.compresses(key):
            return self.inner.put(key, data, attributes=attributes, create_only=create_only)
        stored = Header(True, len(data)).encode() + compress(data) + END
        if len(stored) >= HEADER_BYTES + len(data) + len(END):
            stored = Header(False, len(data)).encode() + data + END
        written = self.inner.put(key, stored, attributes=attributes, create_only=create_only)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return content_receipt(written, len(data), md5, TOKEN_PREFIX)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``. Reads the object's beginning where its name has a chosen ending."""
        if not self.compresses(key):
            return self.inner.stat(key)
        with self.read(key) as reading:
            return reading.info

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Reads the beginnings of objects with chosen endings, eight at a time."""
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
                # Listed a moment too early: whoever copies it will be told that it changed.
                return self.inner.read_range(entry.key, 0, HEADER_BYTES)
        with self.inner.read(entry.key) as reading:
            return slice_chunks(reading.chunks(), 0, HEADER_BYTES)


def _storage_of(source: Driver) -> Driver:
    return unwrap_transparent(source.inner) if isinstance(source, _CompressedBase) else source


def _result_of(entry: Entry | Future[Entry | None]) -> Iterator[Entry]:
    found = entry.result() if isinstance(entry, Future) else entry
    if found is not None:
        yield found
