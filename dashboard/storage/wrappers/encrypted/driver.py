"""Encryption of objects before they leave this machine: AES-256-GCM with the backend's own key.

The storage provider can still see names, attributes, times and sizes. It cannot change, cut off, reorder or
mix segments without detection. It can replace an object with another complete one, or with an older version
of it, because keys are not authenticated, so that the server can still copy and rename.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

from dashboard.errors import Kind
from dashboard.storage.checks.wrappers import ENCRYPTION_KEY, encryption_key
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
from dashboard.storage.errors import Changed, Damaged, StorageError
from dashboard.storage.net.ranges import check_range
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
    content_info,
    content_receipt,
    mark_token,
    unmark_token,
    without_md5,
)
from dashboard.storage.wrappers.common.stored_powers import stored_powers
from dashboard.storage.wrappers.common.streams import WrappedReading, WrappedWriting
from dashboard.storage.wrappers.encrypted.aead import DecryptionError, ObjectCipher, fingerprint
from dashboard.storage.wrappers.encrypted.format import (
    ENCRYPTED_SEGMENT_BYTES,
    HEADER_BYTES,
    MAX_CONTENT_BYTES,
    SEGMENT_BYTES,
    Header,
    content_size,
    is_valid_stored_size,
    segment_count,
    stored_size,
)
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper, unwrap_transparent

TOKEN_PREFIX = "sealed-"


class _Key:
    """The backend's key and its fingerprint. Its ``repr`` shows neither."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprint = fingerprint(key)

    def __repr__(self) -> str:
        return "***"

    def new_object(self) -> tuple[bytes, ObjectCipher]:
        """Return the header of a new object and the cipher for its segments."""
        header = Header.new(self.fingerprint)
        return header.encode(), header.cipher(self._key)

    def cipher_for(self, data: bytes, stored: int, key: str) -> ObjectCipher:
        """Return the cipher of a stored object, by its header. Raises kind ``DAMAGED``."""
        header = Header.parse(data)
        if header is None or not is_valid_stored_size(stored):
            raise _not_ours_error(
                key,
                f"“{key}” is not an encrypted object, or not a complete one.",
                "It may have been stored before encryption was switched on, or by another program: read it "
                "through a backend without encryption.",
            )
        if header.fingerprint != self.fingerprint:
            raise _not_ours_error(
                key,
                f"“{key}” was encrypted with another key.",
                "Read it through a backend with the key it was encrypted with.",
            )
        return header.cipher(self._key)


class _SegmentDecryptor:
    """Decrypts the stored bytes after the header, in chunks of any size."""

    def __init__(self, cipher: ObjectCipher, key: str, size: int, *, first: int = 0) -> None:
        self._cipher = cipher
        self._key = key
        self._number = first
        self._last = segment_count(size) - 1
        self._buffer = bytearray()

    def update(self, data: bytes | memoryview, *, end: bool = False) -> bytes:
        """Return the content of the segments that are complete now. With ``end`` the rest is the last one."""
        self._buffer += data
        complete = len(self._buffer) - len(self._buffer) % ENCRYPTED_SEGMENT_BYTES
        stop = len(self._buffer) if end else complete
        with memoryview(self._buffer) as view:
            content = b"".join(
                self._decrypt(view[at : min(at + ENCRYPTED_SEGMENT_BYTES, stop)])
                for at in range(0, stop, ENCRYPTED_SEGMENT_BYTES)
            )
        del self._buffer[:stop]
        return content

    def _decrypt(self, segment: memoryview) -> bytes:
        try:
            content = self._cipher.decrypt(self._number, segment, last=self._number == self._last)
        except DecryptionError as error:
            raise Damaged(
                self._key, f"“{self._key}” is damaged: segment {self._number:,} is not what was written."
            ) from error
        self._number += 1
        return content


class EncryptedReading(WrappedReading):
    """An open read of an encrypted object."""

    def __init__(self, inner: Reading, key: _Key) -> None:
        super().__init__(inner, content_info(inner.info, content_size(inner.info.size), TOKEN_PREFIX))
        self._key = key

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``. Returns only bytes that are verified."""
        head = bytearray()
        decryptor: _SegmentDecryptor | None = None
        for chunk in self._inner.chunks():
            data = memoryview(chunk)
            if decryptor is None:
                missing = HEADER_BYTES - len(head)
                head += data[:missing]
                data = data[missing:]
                if len(head) < HEADER_BYTES:
                    continue
                decryptor = self._decryptor(bytes(head))
            if content := decryptor.update(data):
                yield content
        if decryptor is None:
            decryptor = self._decryptor(bytes(head))
        if content := decryptor.update(b"", end=True):
            yield content

    def _decryptor(self, head: bytes) -> _SegmentDecryptor:
        info = self._inner.info
        return _SegmentDecryptor(self._key.cipher_for(head, info.size, info.key), info.key, self.info.size)


class EncryptedWriting(WrappedWriting):
    """An open write of an encrypted object. Used by one thread."""

    def __init__(self, inner: Writing, key: _Key) -> None:
        super().__init__(inner)
        without_md5(inner)
        self._header_bytes, self._cipher = key.new_object()
        self._buffer = bytearray()
        self._number = 0
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._md5.update(chunk)
        self._size += len(chunk)
        if self._size > MAX_CONTENT_BYTES:
            raise StorageError(
                Kind.UNSUPPORTED, "An encrypted object has at most 256 TiB.", operation="write"
            )
        self._buffer += chunk
        # Whether a segment is the last is only known at the commit, so one full segment stays in the buffer.
        complete = max(0, len(self._buffer) - 1) // SEGMENT_BYTES * SEGMENT_BYTES
        if complete:
            with memoryview(self._buffer) as view:
                encrypted = [
                    self._encrypt(view[at : at + SEGMENT_BYTES], last=False)
                    for at in range(0, complete, SEGMENT_BYTES)
                ]
            del self._buffer[:complete]
            self._inner.write(self._header_once() + b"".join(encrypted))

    def commit(self) -> Written:
        """See ``Writing``. The receipt is that of the content."""
        self._inner.write(self._header_once() + self._encrypt(bytes(self._buffer), last=True))
        self._buffer.clear()
        return content_receipt(self._inner.commit(), self._size, self._md5.hexdigest(), TOKEN_PREFIX)

    def _encrypt(self, segment: bytes | memoryview, *, last: bool) -> bytes:
        encrypted = self._cipher.encrypt(self._number, segment, last=last)
        self._number += 1
        return encrypted

    def _header_once(self) -> bytes:
        head, self._header_bytes = self._header_bytes, b""
        return head

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._buffer.clear()
        super().__exit__(kind, error, trace)


class _EncryptedBase(Wrapper):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, key: bytes) -> None:
        super().__init__(inner)
        self._key = _Key(key)


class _Copies(_EncryptedBase):
    """``CopiesWithin`` between wrappers with the same key: copies the stored bytes."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return (
            isinstance(source, _EncryptedBase)
            and source._key.fingerprint == self._key.fingerprint
            and self.inner.can_copy_from(unwrap_transparent(source.inner))
        )

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. The receipt has no MD5; its proof is of the stored bytes."""
        assert isinstance(self.inner, CopiesWithin)
        inner = unwrap_transparent(source.inner) if isinstance(source, _EncryptedBase) else source
        written = self.inner.copy_from(inner, key, to, if_version=unmark_token(if_version, TOKEN_PREFIX))
        return replace(
            written, size=content_size(written.size), md5="", etag=mark_token(written.etag, TOKEN_PREFIX)
        )


class _DeletesUnchanged(_EncryptedBase):
    """``DeletesUnchanged``: the version is that of the stored bytes."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        self.inner.delete_unchanged(key, version.removeprefix(TOKEN_PREFIX))


class _ReadsRanges(_EncryptedBase):
    """``ReadsRanges``: decrypts the segments that contain the range."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``. Requests the object's size and header first."""
        assert isinstance(self.inner, ReadsRanges)
        check_range(start, length)
        info = self.inner.stat(key)
        version = info.version
        if if_version is not None and unmark_token(if_version, TOKEN_PREFIX) != version:
            raise Changed(key)
        size = content_size(info.size)
        end = min(start + length, size)
        beyond = start >= end
        if beyond:
            if not length:
                return b""
            # Only the last segment shows whether the content ends here or was cut off.
            start, end = max(0, size - 1), size
        head = self.inner.read_range(key, 0, HEADER_BYTES, if_version=version)
        cipher = self._key.cipher_for(head, info.size, key)
        first, last = start // SEGMENT_BYTES, segment_count(end) - 1
        offset = HEADER_BYTES + first * ENCRYPTED_SEGMENT_BYTES
        encrypted = self.inner.read_range(
            key, offset, (last - first + 1) * ENCRYPTED_SEGMENT_BYTES, if_version=version
        )
        content = _SegmentDecryptor(cipher, key, size, first=first).update(encrypted, end=True)
        return b"" if beyond else content[start - first * SEGMENT_BYTES : end - first * SEGMENT_BYTES]


class Encrypted(_EncryptedBase):
    """Encrypts writes; decrypts and verifies reads. Thread-safe."""

    authenticates = True
    forwards = CONTAINER_POWERS | {DeletesMany, HasTiers, HoldsTags, KeepsFolders}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CopiesWithin: _Copies,
            DeletesUnchanged: _DeletesUnchanged,
            ReadsRanges: _ReadsRanges,
            **stored_powers(TOKEN_PREFIX),
        }
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ResumesWrites: "The same content is encrypted differently each time.",
            WritesInGroups: "Receipts are of the encrypted bytes.",
            CopiesListed: "A listing has the checksums of the encrypted bytes.",
            MovesWithin: "An object is encrypted for its key.",
            ReadsInParallel: "Every part would request the size and the header again.",
            KeepsVersions: "Older versions would be returned encrypted.",
            SignsParts: "Parts straight from a browser would not be encrypted.",
            SignsUploads: "An upload straight from a browser would not be encrypted.",
            Links: "A URL would return encrypted bytes.",
            SetsVisibility: "Public access would return encrypted bytes.",
        }
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build the wrapper, with the key from the secrets."""
        return cls(inner, encryption_key(secrets[ENCRYPTION_KEY]))

    def read(self, key: str, *, if_version: str | None = None) -> EncryptedReading:
        """See ``Driver``. An object that is damaged or was not encrypted with this key raises kind
        ``DAMAGED`` when it is read."""
        return EncryptedReading(
            self.inner.read(key, if_version=unmark_token(if_version, TOKEN_PREFIX)), self._key
        )

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> EncryptedWriting:
        """See ``Driver``. Attributes are stored unencrypted."""
        stored = None if size is None else stored_size(size)
        writing = self.inner.write(key, size=stored, attributes=attributes, create_only=create_only)
        return EncryptedWriting(writing, self._key)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        head, cipher = self._key.new_object()
        view = memoryview(data)
        last = segment_count(len(view)) - 1
        encrypted = [
            cipher.encrypt(n, view[n * SEGMENT_BYTES : (n + 1) * SEGMENT_BYTES], last=n == last)
            for n in range(last + 1)
        ]
        stored = b"".join((head, *encrypted))
        written = self.inner.put(key, stored, attributes=attributes, create_only=create_only)
        md5 = hashlib.md5(view, usedforsecurity=False).hexdigest()
        return content_receipt(written, len(view), md5, TOKEN_PREFIX)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        info = self.inner.stat(key)
        return content_info(info, content_size(info.size), TOKEN_PREFIX)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Sizes are those of the content, computed from the stored sizes."""
        for entry in self.inner.list(prefix, start_after=start_after):
            yield content_entry(entry, content_size(entry.size), TOKEN_PREFIX)


def _not_ours_error(key: str, reason: str, remedy: str) -> StorageError:
    # Not retryable, because a retry would return the same bytes.
    return StorageError(Kind.DAMAGED, reason, operation="read", subject=key, remedy=remedy, retryable=False)
