"""The content of an object as programs use it: bytes, an open read, and whatever can be stored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Protocol, Self, cast

from dashboard.storage.driver import Reading
from dashboard.storage.errors import Unsupported
from dashboard.storage.types import Attributes, ObjectInfo, Written

Content = bytes | str | IO[bytes] | Iterable[bytes] | Iterable[str]
"""What can be stored: bytes, text (as UTF-8), an open binary file, read from its current position, or an
iterable of bytes or texts."""

_CHUNK = 1024 * 1024


class StoredBytes(bytes):
    """The content of an object. ``bytes`` in every way, except that comparing it with text raises
    ``TypeError``, where ``bytes`` would say that they differ."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            raise TypeError("This is bytes, not text: compare it with bytes, or read it with get_text().")
        return bytes.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (bytes(self),)


def chunks_of(content: IO[bytes] | Iterable[bytes] | Iterable[str]) -> Iterator[bytes]:
    """Yield the content of an open file or an iterable, text as UTF-8. Raises ``TypeError`` for anything
    else."""
    read = getattr(content, "read", None)
    if read is not None:
        while chunk := read(_CHUNK):
            yield _as_bytes(chunk)
    elif isinstance(content, Iterable):
        for each in content:
            yield _as_bytes(each)
    else:
        raise TypeError(f"A {type(content).__name__} cannot be stored: give bytes, text or an open file.")


def received_content(file: object) -> IO[bytes]:
    """Return the open file inside what a web framework has received, or the file itself."""
    # FastAPI's own read() is a coroutine; the file inside is an ordinary one.
    inner = getattr(file, "file", None) or getattr(file, "stream", None) or file
    return cast(IO[bytes], inner)


def received_name(file: object) -> str:
    """Return the client's name of a received file, as it is; empty if it has none."""
    for part in ("filename", "name"):
        name = getattr(file, part, None)
        if isinstance(name, str | os.PathLike) and os.fspath(name):
            return os.fsdecode(name)
    return ""


class _Puts(Protocol):
    def put(
        self,
        key: str,
        content: bytes | str | IO[bytes],
        *,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Written: ...


def put_unique(backend: _Puts, key: str, content: bytes | str | IO[bytes], attributes: Attributes) -> None:
    """Store under a key that nobody else has. Raises ``Exists`` if somebody does, as far as the server can
    refuse that; ``Unsupported`` if it cannot, and said so only after a file was read that cannot be read
    again."""
    start = content.tell() if not isinstance(content, bytes | str) and content.seekable() else None
    try:
        backend.put(key, content, attributes=attributes, create_only=True)
    except Unsupported:
        # The server has no such call; 64 random bits are unique enough.
        if not isinstance(content, bytes | str):
            if start is None:
                raise
            content.seek(start)
        backend.put(key, content, attributes=attributes)


def _as_bytes(chunk: object) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"A {type(chunk).__name__} cannot be stored: give bytes or text.")


class OpenRead:
    """An open read, see ``Reading``; it can also be iterated over, or read like a file. Consumed once, in one
    of these ways, by one thread."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._chunks: Iterator[bytes] | None = None
        self._rest = b""

    @property
    def info(self) -> ObjectInfo:
        """The object that is being read."""
        return self._reading.info

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        return self._reading.chunks()

    def read_all(self) -> bytes:
        """See ``Reading``."""
        return self._reading.read_all()

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end; everything that is left if it is negative.
        Raises ``Damaged`` and ``Changed`` like ``chunks``."""
        if self._chunks is None:
            self._chunks = self._reading.chunks()
        parts, missing = [self._rest], size - len(self._rest)
        while size < 0 or missing > 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            missing -= len(chunk)
        found = b"".join(parts)
        if size < 0:
            self._rest = b""
            return found
        self._rest = found[size:]
        return found[:size]

    def __iter__(self) -> Iterator[bytes]:
        return self._reading.chunks()

    def __enter__(self) -> Self:
        self._reading.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.__exit__(kind, error, trace)
