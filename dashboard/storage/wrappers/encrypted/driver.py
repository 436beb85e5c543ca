"""Objects that are encrypted before they leave this machine: AES-256-GCM with a key of the backend's own.

What whoever runs the storage can still see: names, attributes, times, and sizes. What they cannot do
unnoticed: change, cut, reorder or mix pieces. An object put whole in the place of another, or of an older
version of itself, opens: the name is not bound in, so that the server can still copy and rename.
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
from dashboard.storage.object_powers import DeletesMany, HasTiers, HoldsTags, KeepsVersions, SignsUploads
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written
from dashboard.storage.wrappers.common.recoding import (
    entry_of_content,
    info_of_content,
    marked,
    receipt_of_content,
    unmarked,
    without_md5,
)
from dashboard.storage.wrappers.common.streams import WrappedReading, WrappedWriting
from dashboard.storage.wrappers.encrypted.aead import DoesNotOpen, ObjectCipher, fingerprint
from dashboard.storage.wrappers.encrypted.format import (
    HEADER,
    LARGEST,
    PIECE,
    SEALED_PIECE,
    Header,
    content_size,
    is_possible,
    pieces_of,
    stored_size,
)
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper, unwrap_transparent

MARK = "sealed-"


class _Key:
    """The backend's key and what tells it apart. Prints neither."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprint = fingerprint(key)

    def __repr__(self) -> str:
        return "***"

    def new(self) -> tuple[bytes, ObjectCipher]:
        """The header of a new object and the cipher for its pieces."""
        header = Header.new(self.fingerprint)
        return header.encode(), header.cipher(self._key)

    def of(self, data: bytes, stored: int, key: str) -> ObjectCipher:
        """The cipher of a stored object, by its header. Raises ``StorageError`` of kind ``DAMAGED``."""
        header = Header.parse(data)
        if header is None or not is_possible(stored):
            raise _foreign(
                key,
                f"“{key}” is not an encrypted object, or not a whole one.",
                "It may be from before encryption was switched on, or from another program: read it through "
                "a backend without encryption.",
            )
        if header.fingerprint != self.fingerprint:
            raise _foreign(
                key,
                f"“{key}” was encrypted with another key.",
                "Read it through a backend that has the key it was written with.",
            )
        return header.cipher(self._key)


class _OpenedPieces:
    """Turns stored bytes after the header, as they come, into content."""

    def __init__(self, cipher: ObjectCipher, key: str, size: int, *, first: int = 0) -> None:
        self._cipher = cipher
        self._key = key
        self._number = first
        self._last = pieces_of(size) - 1
        self._held = bytearray()

    def take(self, data: bytes | memoryview, *, end: bool = False) -> bytes:
        """The content of the pieces that are complete now; with ``end`` the rest is one too."""
        self._held += data
        whole = len(self._held) - len(self._held) % SEALED_PIECE
        stop = len(self._held) if end else whole
        with memoryview(self._held) as view:
            found = b"".join(
                self._open(view[at : min(at + SEALED_PIECE, stop)]) for at in range(0, stop, SEALED_PIECE)
            )
        del self._held[:stop]
        return found

    def _open(self, piece: memoryview) -> bytes:
        try:
            opened = self._cipher.open(self._number, piece, last=self._number == self._last)
        except DoesNotOpen as error:
            raise Damaged(
                self._key, f"“{self._key}” is damaged: piece {self._number:,} is not as it was written."
            ) from error
        self._number += 1
        return opened


class EncryptedReading(WrappedReading):
    """An open read of an encrypted object."""

    def __init__(self, inner: Reading, key: _Key) -> None:
        super().__init__(inner, info_of_content(inner.info, content_size(inner.info.size), MARK))
        self._key = key

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``. Nothing is handed out before it is proven to be what was written."""
        head = bytearray()
        pieces: _OpenedPieces | None = None
        for chunk in self._inner.chunks():
            data = memoryview(chunk)
            if pieces is None:
                missing = HEADER - len(head)
                head += data[:missing]
                data = data[missing:]
                if len(head) < HEADER:
                    continue
                pieces = self._pieces(bytes(head))
            if opened := pieces.take(data):
                yield opened
        if pieces is None:
            pieces = self._pieces(bytes(head))
        if opened := pieces.take(b"", end=True):
            yield opened

    def _pieces(self, head: bytes) -> _OpenedPieces:
        info = self._inner.info
        return _OpenedPieces(self._key.of(head, info.size, info.key), info.key, self.info.size)


class EncryptedWriting(WrappedWriting):
    """An open write of an encrypted object. Used by one thread."""

    def __init__(self, inner: Writing, key: _Key) -> None:
        super().__init__(inner)
        without_md5(inner)
        self._head, self._cipher = key.new()
        self._held = bytearray()
        self._number = 0
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._md5.update(chunk)
        self._size += len(chunk)
        if self._size > LARGEST:
            raise StorageError(
                Kind.UNSUPPORTED, "An encrypted object has at most 256 TiB.", operation="write"
            )
        self._held += chunk
        # The last piece is only known to be the last once no more comes, so one full piece stays behind.
        whole = max(0, len(self._held) - 1) // PIECE * PIECE
        if whole:
            with memoryview(self._held) as view:
                sealed = [self._seal(view[at : at + PIECE], last=False) for at in range(0, whole, PIECE)]
            del self._held[:whole]
            self._inner.write(self._take_head() + b"".join(sealed))

    def commit(self) -> Written:
        """See ``Writing``. The receipt speaks of the content."""
        self._inner.write(self._take_head() + self._seal(bytes(self._held), last=True))
        self._held.clear()
        return receipt_of_content(self._inner.commit(), self._size, self._md5.hexdigest(), MARK)

    def _seal(self, piece: bytes | memoryview, *, last: bool) -> bytes:
        sealed = self._cipher.seal(self._number, piece, last=last)
        self._number += 1
        return sealed

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        super().__exit__(kind, error, trace)


class _Sealing(Wrapper):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, key: bytes) -> None:
        super().__init__(inner)
        self._key = _Key(key)

    def _shares_key(self, other: Driver) -> bool:
        return isinstance(other, _Sealing) and other._key.fingerprint == self._key.fingerprint


class _Copies(_Sealing):
    """Between places with one key a copy of the stored bytes is a copy of the object."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return (
            isinstance(source, _Sealing)
            and self._shares_key(source)
            and self.inner.can_copy_from(unwrap_transparent(source.inner))
        )

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. The receipt has no MD5; its proof is of the stored bytes."""
        assert isinstance(self.inner, CopiesWithin)
        inner = unwrap_transparent(source.inner) if isinstance(source, _Sealing) else source
        done = self.inner.copy_from(inner, key, to, if_version=unmarked(if_version, MARK))
        return replace(done, size=content_size(done.size), md5="", etag=marked(done.etag, MARK))


class _DeletesUnchanged(_Sealing):
    """The version of the stored bytes is that of the content."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        self.inner.delete_unchanged(key, version.removeprefix(MARK))


class _ReadsPieces(_Sealing):
    """A part of the content is in a few pieces, which are found by counting."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``. Asks for the object's size and its header first."""
        assert isinstance(self.inner, ReadsRanges)
        check_range(start, length)
        info = self.inner.stat(key)
        version = info.version
        if if_version is not None and unmarked(if_version, MARK) != version:
            raise Changed(key)
        size = content_size(info.size)
        end = min(start + length, size)
        beyond = start >= end
        if beyond:
            if not length:
                return b""
            # Whether the content ends here, or was cut off, only its last piece can say.
            start, end = max(0, size - 1), size
        head = self.inner.read_range(key, 0, HEADER, if_version=version)
        cipher = self._key.of(head, info.size, key)
        first, last = start // PIECE, pieces_of(end) - 1
        at = HEADER + first * SEALED_PIECE
        sealed = self.inner.read_range(key, at, (last - first + 1) * SEALED_PIECE, if_version=version)
        found = _OpenedPieces(cipher, key, size, first=first).take(sealed, end=True)
        return b"" if beyond else found[start - first * PIECE : end - first * PIECE]


class Encrypted(_Sealing):
    """Encrypts on the way in, decrypts and proves on the way out. Thread-safe."""

    authenticates = True
    forwards = CONTAINER_POWERS | {DeletesMany, HasTiers, HoldsTags, KeepsFolders}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {CopiesWithin: _Copies, DeletesUnchanged: _DeletesUnchanged, ReadsRanges: _ReadsPieces}
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ReadsInParallel: "Every part would ask for the size and the header again.",
            KeepsVersions: "Older states would be shown as the provider holds them, encrypted.",
            SignsUploads: "An upload straight from a browser would not be encrypted.",
            Links: "An address would lead to the encrypted bytes.",
            SetsVisibility: "Everybody could then read the encrypted bytes, which are of no use to them.",
        }
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Around a driver, with the key among its secrets."""
        return cls(inner, encryption_key(secrets[ENCRYPTION_KEY]))

    def read(self, key: str, *, if_version: str | None = None) -> EncryptedReading:
        """See ``Driver``. An object that was not encrypted with this key raises kind ``DAMAGED`` when it is
        read; so does one that is not as it was written."""
        return EncryptedReading(self.inner.read(key, if_version=unmarked(if_version, MARK)), self._key)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> EncryptedWriting:
        """See ``Driver``. Attributes are stored as they are."""
        stored = None if size is None else stored_size(size)
        writing = self.inner.write(key, size=stored, attributes=attributes, create_only=create_only)
        return EncryptedWriting(writing, self._key)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        head, cipher = self._key.new()
        view = memoryview(data)
        last = pieces_of(len(view)) - 1
        sealed = [cipher.seal(n, view[n * PIECE : (n + 1) * PIECE], last=n == last) for n in range(last + 1)]
        stored = b"".join((head, *sealed))
        written = self.inner.put(key, stored, attributes=attributes, create_only=create_only)
        md5 = hashlib.md5(view, usedforsecurity=False).hexdigest()
        return receipt_of_content(written, len(view), md5, MARK)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        info = self.inner.stat(key)
        return info_of_content(info, content_size(info.size), MARK)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Sizes are those of the content, worked out from the stored ones."""
        for entry in self.inner.list(prefix, start_after=start_after):
            yield entry_of_content(entry, content_size(entry.size), MARK)


def _foreign(key: str, reason: str, remedy: str) -> StorageError:
    # Trying again would bring the same bytes.
    return StorageError(Kind.DAMAGED, reason, operation="read", subject=key, remedy=remedy, retryable=False)
