"""File servers with folders and renaming: what SFTP and FTP have in common.

Each driver implements :class:`Session`, one connection that speaks its protocol. Paths are bytes (the key in
UTF-8 below the session's root), so that names on the server and keys map one to one.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from dashboard.errors import Kind
from dashboard.storage.drivers.common import keys, path_errors
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_bytes, key_text

TEMPORARY = b".stowage-tmp"
"""Prefix of the names of unfinished writes. No key may contain a name with this prefix."""

_BACKUP = b"old"
"""Prefix of the last part of a backup's name; in other temporary names that part is hexadecimal."""


class Missing(Exception):
    """The file or one of its folders does not exist. Never leaves a driver."""


class AlreadyExists(Exception):
    """The name is already in use. Never leaves a driver."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """The metadata of one name. ``modified`` is in seconds since the epoch. ``identity`` is the server's
    identifier of the file, such as an inode number; empty if it has none."""

    kind: Literal["file", "folder", "other"]
    size: int = 0
    modified: float | None = None
    identity: str = ""

    @property
    def version(self) -> str:
        """Changes with the content, as far as the server's metadata shows it."""
        return f"{self.identity}-{self.modified or 0:.6f}-{self.size:x}"


class FileWriter(Protocol):
    """A file being written, under a temporary name."""

    def write(self, chunk: bytes) -> None:
        """Send the next bytes."""
        ...

    def finish(self) -> FileStat:
        """Flush everything to the server's disk, if the protocol can, and return the file's metadata."""
        ...

    def abort(self) -> None:
        """Stop writing; the file may remain. Never raises. Idempotent, also after ``finish``."""
        ...


class FileReader(Protocol):
    """A file being read."""

    longer: bool
    """Whether the server had more bytes than were requested. False if the protocol cannot tell."""

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield up to ``size`` bytes of content, fewer if the file ends earlier."""
        ...

    def close(self) -> None:
        """Stop reading. Never raises. Idempotent."""
        ...


Listing = Generator[tuple[bytes, FileStat], None, None]


class Session(Protocol):
    """One connection, used by one thread at a time. Its calls raise ``StorageError``, and ``Missing`` or
    ``AlreadyExists`` where documented. After a lost connection it is ``broken``."""

    broken: bool
    root: bytes
    """The absolute path of the root folder on the server, without a trailing slash unless it is ``/``."""

    def is_alive(self, idle: float) -> bool: ...

    def close(self) -> None: ...

    def supports_create_only(self) -> bool:
        """Whether :meth:`link` works."""
        ...

    def stat(self, path: bytes) -> FileStat | None:
        """Return the metadata of a path without following a link, or None if nothing exists there."""
        ...

    def realpath(self, path: bytes) -> bytes:
        """Resolve symbolic links, if the protocol can. Raises ``Missing``."""
        ...

    def list_folder(self, path: bytes) -> Listing:
        """Yield the entries of a folder. Raises ``Missing``. May be closed early: the session is then usable
        or ``broken``."""
        ...

    def open_reader(self, path: bytes, start: int) -> FileReader:
        """Open a file for reading from byte ``start``. Raises ``Missing``."""
        ...

    def open_writer(self, path: bytes, target: bytes) -> FileWriter:
        """Create a file for writing. Errors name ``target``, its later name. Raises ``Missing`` if the folder
        does not exist."""
        ...

    def set_modified(self, path: bytes, modified: float) -> None:
        """Set the modification time (seconds since the epoch), if the server supports it."""
        ...

    def rename(self, path: bytes, to: bytes) -> None:
        """Rename a file, replacing an existing one. Raises ``Missing``."""
        ...

    def link(self, path: bytes, to: bytes) -> None:
        """Create a hard link, never replacing anything. Raises ``AlreadyExists`` and ``Missing``."""
        ...

    def remove(self, path: bytes) -> None:
        """Remove a file. Raises ``Missing``."""
        ...

    def make_folder(self, path: bytes) -> None:
        """Create a folder. Raises ``AlreadyExists``, and ``Missing`` if its parent does not exist."""
        ...

    def remove_folder(self, path: bytes) -> bool:
        """Remove a folder if it is empty. Returns whether it was removed."""
        ...


def split_key(key: str) -> list[bytes]:
    """Split a key into its folders and file name. Raises ``InvalidKey`` if no file can have exactly this
    path."""
    return keys.split_key(key, "A file server", _reserved)


def _reserved(name: bytes) -> str:
    mine = name.startswith(TEMPORARY)
    return f"names that begin with “{TEMPORARY.decode()}” are unfinished writes of Stowage" if mine else ""


def is_name(raw: bytes) -> bool:
    """Whether a name in a listing can be part of a key."""
    return raw not in (b"", b".", b"..") and not raw.startswith(TEMPORARY) and not {0, 47} & set(raw)


def mentions_any(text: str, words: Iterable[str], path: bytes) -> bool:
    """Whether a server's message contains one of these lowercase words, apart from the names in ``path``,
    which messages repeat: “quota.txt: no such file” does not mention a quota."""
    message, names = text.lower(), path.decode("latin-1").lower().split("/")
    words = tuple(words)
    for name in names:
        if any(word in name for word in words):
            message = message.replace(name, "")
            message = message.replace(name.encode("latin-1").decode("utf-8", "replace"), "")
    return any(word in message for word in words)


def join(folder: bytes, *names: bytes) -> bytes:
    """Return the path of a name below a folder."""
    return b"/".join([folder.rstrip(b"/"), *names]) if names else folder


def key_digest(key: str) -> bytes:
    """Return the part of temporary names that identifies the key."""
    return hashlib.sha256(key_bytes(key)).hexdigest()[:32].encode()


def temporary_name(key: str) -> bytes:
    """Return a new name for an unfinished write: the key's digest, the start time in ms, random digits."""
    began = int(time.time() * 1000)
    return b"%s.%s.%x.%s" % (TEMPORARY, key_digest(key), began, secrets.token_hex(6).encode())


def is_leftover(name: bytes, digests: Iterable[bytes], since: float) -> bool:
    """Whether this is an unfinished write to one of the keys (by digest), started at or after ``since``."""
    parts = name.split(b".")
    if not name.startswith(TEMPORARY + b".") or len(parts) != 5 or parts[2] not in digests:
        return False
    try:
        return int(parts[3], 16) >= int(since * 1000)
    except ValueError:
        return False


def is_backup_name(name: bytes) -> bool:
    """Whether a leftover is the backup of the file that an unfinished write was going to replace."""
    return name.split(b".")[4].startswith(_BACKUP)


def rename_with_backup(rename: Callable[[bytes, bytes], object], path: bytes, to: bytes) -> bytes:
    """Rename ``path`` to the existing name ``to`` on a server whose rename never replaces a file: rename the
    old file to a backup first, and back if that fails. Returns the backup's path, which the caller removes.
    The backup is named after the write, so that a sweep restores it after a kill."""
    backup = path.rpartition(b".")[0] + b".%s%s" % (_BACKUP, secrets.token_hex(6).encode())
    rename(to, backup)
    try:
        rename(path, to)
    except BaseException:
        rename(backup, to)
        raise
    return backup


path_conflict_error = partial(path_errors.path_conflict_error, "A server")


def invalid_listing_error(folder: bytes, name: bytes) -> StorageError:
    """The error for a listed name that no file can have. Skipping it could skip a file."""
    display_name = key_text(folder) or "the root folder"
    return StorageError(
        Kind.UNSUPPORTED,
        f"The server lists “{key_text(name[:60])}” in “{display_name}”, which is a path and not a name.",
        operation="list",
        subject=display_name,
        remedy="Ask the server's administrator; the content behind that name cannot be read.",
    )
