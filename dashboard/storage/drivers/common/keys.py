"""Keys of objects: the names in their paths, where they are part of a bucket, and what their endings say."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from dashboard.errors import Kind
from dashboard.storage.errors import InvalidKey, StorageError
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry

LONGEST_NAME = 255
"""Bytes of a name on nearly every file system."""
# The module's own table and not the machine's: the same name is the same type everywhere.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **mimetypes.MimeTypes().types_map[False],
        **mimetypes.MimeTypes().types_map[True],
        ".avif": "image/avif",
        ".bz2": "application/x-bzip2",
        ".gz": "application/gzip",
        ".md": "text/markdown",
        ".svgz": "image/svg+xml",
        ".webp": "image/webp",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
        ".xz": "application/x-xz",
        ".zst": "application/zstd",
    }
)


def guessed_type(key: str) -> str | None:
    """The content type of a key by its ending, or None."""
    ending = os.path.splitext(key.rpartition("/")[2])[1].lower()
    return _TYPES.get(ending)


def split_key(key: str, place: str, reserved: Callable[[bytes], str]) -> list[bytes]:
    """The folders and the file name of a key, for places where a key is a path. Raises ``InvalidKey`` where
    such a ``place`` cannot hold it exactly; ``reserved`` says why a name is not to be had, or nothing."""
    raw = key_bytes(key)
    if not raw:
        raise InvalidKey(key, "The key is empty.")
    if b"\0" in raw:
        raise InvalidKey(key, "The key holds a NUL character, which no file name can.")
    names = raw.split(b"/")
    for name in names:
        if problem := _problem(name) or reserved(name):
            raise InvalidKey(key, f"{place} cannot hold “{key}” exactly: {problem}.")
    return names


def _problem(name: bytes) -> str:
    if not name:
        return "it begins or ends with “/” or holds “//”"
    if name in (b".", b".."):
        return f"“{name.decode()}” means a folder and is not a name"
    if len(name) > LONGEST_NAME:
        return f"a part between slashes is {len(name)} bytes long and file names end at {LONGEST_NAME}"
    return ""


def below(prefix: str, entries: Iterable[Entry], start_after: str = "") -> Iterator[Entry]:
    """The entries of a bucket by the keys they have for a driver that uses the part of it under ``prefix``:
    those after ``start_after``, and nothing that is not below it."""
    if not prefix and not start_after:
        yield from entries
        return
    after = key_bytes(start_after)
    for entry in entries:
        key = entry.key[len(prefix) :]
        if key and entry.key.startswith(prefix) and (not after or key_bytes(key) > after):
            yield Entry(key, entry.size, entry.modified, entry.etag)


def in_the_way(place: str, key: str, path: str) -> StorageError:
    """A ``place`` where keys are paths cannot hold both an object ``a`` and an object ``a/b``."""
    return StorageError(
        Kind.CONFLICT,
        f"“{key}” needs a folder “{path}”, but something else of that name is there."
        if path != key
        else f"“{key}” cannot be written: a folder, link or device of that name is there.",
        operation="write",
        subject=key,
        remedy=f"{place} cannot hold both a file and a folder of one name: rename or remove one of them.",
    )


def taken_away(what: str, key: str) -> StorageError:
    """What was there of an unfinished write is not there any more; ``what`` says what that is."""
    return StorageError(
        Kind.CONFLICT,
        f"The {what} of “{key}” was removed by someone else.",
        operation="write",
        subject=key,
        remedy="Try again.",
        retryable=True,
    )


def no_folder(root: str, what: str = "is a file or lies below one") -> StorageError:
    """The root folder of such a place cannot be one."""
    return StorageError(
        Kind.CONFLICT,
        f"“{root}” {what}.",
        operation="create bucket",
        subject=root,
        remedy="Choose another folder.",
    )
