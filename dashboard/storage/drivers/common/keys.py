"""Keys of objects: the names in their paths, and those that begin with a prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry

MAX_NAME_BYTES = 255
"""The limit for a name on nearly every file system."""


def split_key(key: str, place: str, reserved: Callable[[bytes], str]) -> list[bytes]:
    """Return the folders and the file name of a key, for places where a key is a path. Raises ``InvalidKey``
    if such a ``place`` cannot store it exactly; ``reserved`` returns why a name is not available, or
    nothing."""
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
    if len(name) > MAX_NAME_BYTES:
        return f"a part between slashes is {len(name)} bytes long and file names end at {MAX_NAME_BYTES}"
    return ""


def entries_under(prefix: str, entries: Iterable[Entry], start_after: str = "") -> Iterator[Entry]:
    """Yield the entries of a bucket with the keys they have for a driver that uses only ``prefix``: those
    below it, and after ``start_after``."""
    if not prefix and not start_after:
        yield from entries
        return
    after = key_bytes(start_after)
    for entry in entries:
        key = entry.key[len(prefix) :]
        if key and entry.key.startswith(prefix) and (not after or key_bytes(key) > after):
            yield Entry(key, entry.size, entry.modified, entry.etag)
