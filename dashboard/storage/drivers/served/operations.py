"""Files on a server that knows folders and renaming: what SFTP and FTP have in common.

A driver brings a :class:`Session`, one connection that speaks its protocol. Paths are bytes (a key in
UTF-8 below the session's root), so that every name a server may have is one key and the reverse.
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
"""How names of unfinished writes begin; no key has a part that does."""

_BACKUP = b"old"
"""How the last part of a temporary name begins for a file that went aside; others are hexadecimal."""


class Missing(Exception):
    """There is nothing of that name, or a folder on the way is missing. Never leaves a driver."""


class AlreadyExists(Exception):
    """Something of that name is there already. Never leaves a driver."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What a server says of one name. ``modified`` in seconds since the epoch; ``identity`` is a mark
    of this very file where the server gives one."""

    kind: Literal["file", "folder", "other"]
    size: int = 0
    modified: float | None = None
    identity: str = ""

    @property
    def version(self) -> str:
        """Changes with the content, as well as the server lets us tell."""
        return f"{self.identity}-{self.modified or 0:.6f}-{self.size:x}"


class FileWriter(Protocol):
    """A file being written, under a temporary name."""

    def write(self, chunk: bytes) -> None:
        """Hand over the next bytes."""
        ...

    def finish(self) -> FileStat:
        """Bring everything to the server's disk, as far as it lets us, and describe the file."""
        ...

    def abort(self) -> None:
        """Stop; the file may stay. Never raises; idempotent, also after ``finish``."""
        ...


class FileReader(Protocol):
    """A file being read."""

    longer: bool
    """Whether, at the end, the server had more than was asked for. Some cannot tell, and say no."""

    def chunks(self, size: int) -> Iterator[bytes]:
        """The content up to ``size`` bytes, fewer if it ends earlier."""
        ...

    def close(self) -> None:
        """Stop. Never raises; idempotent."""
        ...


Listing = Generator[tuple[bytes, FileStat], None, None]


class Session(Protocol):
    """One connection, used by one thread at a time. Its calls raise ``StorageError``, and ``Missing`` or
    ``AlreadyExists`` where that is said. After a lost line it is ``broken``."""

    broken: bool
    root: bytes
    """The root folder in the server's words; no slash at its end unless it is all."""

    def is_alive(self, idle: float) -> bool: ...

    def close(self) -> None: ...

    def supports_create_only(self) -> bool:
        """Whether :meth:`link` works."""
        ...

    def stat(self, path: bytes) -> FileStat | None:
        """What is there, itself and not what a link points to; None where nothing is."""
        ...

    def realpath(self, path: bytes) -> bytes:
        """The path without symbolic links, where the server resolves them. ``Missing``."""
        ...

    def list_folder(self, path: bytes) -> Listing:
        """Names in a folder. ``Missing``. Closed before its end, the session is still of use or broken."""
        ...

    def open_reader(self, path: bytes, start: int) -> FileReader:
        """Open a file to be read from this byte on. ``Missing``."""
        ...

    def open_writer(self, path: bytes, target: bytes) -> FileWriter:
        """Open a new file, which errors call by the name it will get. ``Missing`` where its folder is
        missing."""
        ...

    def set_modified(self, path: bytes, modified: float) -> None:
        """Set the time of a file, where the server lets us."""
        ...

    def rename(self, path: bytes, to: bytes) -> None:
        """Give a file its name, replacing a file of that name. ``Missing``."""
        ...

    def link(self, path: bytes, to: bytes) -> None:
        """Give a file a second name only where nothing is. ``AlreadyExists``, ``Missing``."""
        ...

    def remove(self, path: bytes) -> None:
        """Remove a file. ``Missing``."""
        ...

    def make_folder(self, path: bytes) -> None:
        """``AlreadyExists`` where anything is there, ``Missing`` where the folder above is missing."""
        ...

    def remove_folder(self, path: bytes) -> bool:
        """Remove an empty folder; whether it was."""
        ...


def split_key(key: str) -> list[bytes]:
    """The folders and the file name of a key. Raises ``InvalidKey`` where a server cannot hold it exactly."""
    return keys.split_key(key, "A file server", _reserved)


def _reserved(name: bytes) -> str:
    mine = name.startswith(TEMPORARY)
    return f"names that begin with “{TEMPORARY.decode()}” are unfinished writes of Stowage" if mine else ""


def is_name(raw: bytes) -> bool:
    """Whether a name in a listing can be part of a key."""
    return raw not in (b"", b".", b"..") and not raw.startswith(TEMPORARY) and not {0, 47} & set(raw)


def mentions_any(text: str, words: Iterable[str], asked: bytes) -> bool:
    """Whether a server's sentence holds one of these words, which are in small letters: as a word of its own
    and not in a name it repeats, such as “quota.txt: no such file”."""
    said, names = text.lower(), asked.decode("latin-1").lower().split("/")
    words = tuple(words)
    for name in names:
        if any(word in name for word in words):
            said = said.replace(name, "").replace(name.encode("latin-1").decode("utf-8", "replace"), "")
    return any(word in said for word in words)


def join(folder: bytes, *names: bytes) -> bytes:
    """A path below a folder."""
    return b"/".join([folder.rstrip(b"/"), *names]) if names else folder


def key_digest(key: str) -> bytes:
    """What the names of unfinished writes to a key hold."""
    return hashlib.sha256(key_bytes(key)).hexdigest()[:32].encode()


def temporary_name(key: str) -> bytes:
    """A new name for an unfinished write: the key's mark, when it began in ms, and chance."""
    began = int(time.time() * 1000)
    return b"%s.%s.%x.%s" % (TEMPORARY, key_digest(key), began, secrets.token_hex(6).encode())


def is_leftover(name: bytes, marks: Iterable[bytes], since: float) -> bool:
    """Whether this is the unfinished write to a key with one of these marks, begun since then."""
    parts = name.split(b".")
    if not name.startswith(TEMPORARY + b".") or len(parts) != 5 or parts[2] not in marks:
        return False
    try:
        return int(parts[3], 16) >= int(since * 1000)
    except ValueError:
        return False


def is_backup_name(name: bytes) -> bool:
    """Whether a name that was left behind is that of the file which an unfinished write was to replace."""
    return name.split(b".")[4].startswith(_BACKUP)


def rename_with_backup(rename: Callable[[bytes, bytes], object], path: bytes, to: bytes) -> bytes:
    """Give an unfinished write a name that is taken, on a server whose renaming replaces nothing: what has
    the name goes aside first, and comes back if that fails. Returns where it is now, for it to be removed.
    It is named after the write, so that a sweep finds it, and gives it its name back, after a kill."""
    aside = path.rpartition(b".")[0] + b".%s%s" % (_BACKUP, secrets.token_hex(6).encode())
    rename(to, aside)
    try:
        rename(path, to)
    except BaseException:
        rename(aside, to)
        raise
    return aside


path_conflict_error = partial(path_errors.path_conflict_error, "A server")


def invalid_listing_error(folder: bytes, name: bytes) -> StorageError:
    """A server lists what cannot be the name of a file: to leave it out would be to leave out a file."""
    display_name = key_text(folder) or "the root folder"
    return StorageError(
        Kind.UNSUPPORTED,
        f"The server lists “{key_text(name[:60])}” in “{display_name}”, which is a path and not a name.",
        operation="list",
        subject=display_name,
        remedy="Ask whoever runs the server; what is behind that name cannot be reached.",
    )
