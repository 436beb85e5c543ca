"""A backup of the console as one file: a gzipped tar with both databases and a manifest that proves them.

The manifest comes first, so that a reader knows what to expect before it unpacks anything. An archive may
come from anywhere: its names, sizes and checksums are checked while it is read, and nothing in it says where
it is unpacked to.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from dashboard import __version__
from dashboard.errors import Kind, StowageError

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST = 64 * 1024
DATABASES = ("stowage.db", "work.db")
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A database in an archive. ``size`` in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself. ``version``: of the Stowage that wrote it; ``key_id``: which key opens
    its secrets, empty if it has none; ``created_at`` in seconds since the epoch."""

    version: str
    created_at: float
    key_id: str
    files: tuple[ArchivedFile, ...]

    @property
    def total(self) -> int:
        """Bytes of all databases."""
        return sum(file.size for file in self.files)


def write_archive(
    folder: Path, target: Path, *, created_at: float, key_id: str, stop: Callable[[], bool]
) -> None:
    """Pack the databases of ``folder`` into ``target``, a new file that only its owner can read, and flush it
    to disk. ``stop`` is asked between chunks; if it is true, raises ``InterruptedError``."""
    files = tuple(_describe(folder / name, stop) for name in DATABASES)
    manifest = Manifest(__version__, created_at, key_id, files)
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        # Level 6 takes more than twice the time and saves a fiftieth.
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(_header(MANIFEST, len(text), created_at), io.BytesIO(text))
            for file in files:
                with (folder / file.name).open("rb") as content:
                    tar.addfile(_header(file.name, file.size, created_at), _Stoppable(content, stop))
        raw.flush()
        os.fsync(raw.fileno())


def verify_archive(archive: Path) -> Manifest:
    """Read a whole archive and compare it with its manifest. Raises ``StowageError``: ``NOT_FOUND``, and
    ``INVALID`` if it is damaged or no backup of Stowage."""
    return _read(archive, None)


def unpack_archive(archive: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, and check the databases themselves too. Files are readable by
    their owner only. Raises as :func:`verify_archive`, and ``FULL`` before anything is written."""
    manifest = _read(archive, folder)
    for file in manifest.files:
        _check_database(folder / file.name)
    return manifest


def sha256_of(path: Path, stop: Callable[[], bool] = lambda: False) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(_Stoppable(file, stop), "sha256").hexdigest()


class _Stoppable(io.RawIOBase):
    """A file that stops being read when somebody asks for it."""

    def __init__(self, file: IO[bytes], stop: Callable[[], bool]) -> None:
        self._file = file
        self._stop = stop

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        if self._stop():
            raise InterruptedError
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


def _describe(path: Path, stop: Callable[[], bool]) -> ArchivedFile:
    return ArchivedFile(path.name, path.stat().st_size, sha256_of(path, stop))


def _header(name: str, size: int, created_at: float) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(created_at)
    return header


def _read(archive: Path, folder: Path | None) -> Manifest:
    try:
        with gzip.open(archive, "rb") as stream:
            manifest = _read_manifest(stream)
            if folder is not None:
                _require_space(folder, manifest.total)
            for file in manifest.files:
                if _next_header(stream) != (file.name, file.size):
                    raise _damaged(f"“{file.name}” is not where its manifest says")
                _read_content(stream, file, folder)
            # To the end, because only there gzip compares its own checksum.
            if any(stream.read(tarfile.RECORDSIZE)) or stream.read(1):
                raise _damaged("there is data after its last file")
            return manifest
    except FileNotFoundError as error:
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no file “{archive}”.",
            operation="restore",
            remedy="Name the archive, as it was downloaded from where backups are stored.",
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _damaged("it cannot be unpacked") from error
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"“{archive}” could not be read or unpacked: {error.strerror}.",
            operation="restore",
            remedy="Check the file, the folder of the console, and the free space.",
        ) from error


def _next_header(stream: gzip.GzipFile) -> tuple[str, int]:
    """Name and size of the next file. Nothing but plain files is accepted: ``tarfile`` itself would read
    extended headers of any length into memory."""
    try:
        header = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise _damaged("a file in it has no header") from error
    if header.type != tarfile.REGTYPE or header.size < 0:
        raise _damaged(f"“{header.name}” in it is not a plain file")
    return header.name, header.size


def _read_manifest(stream: gzip.GzipFile) -> Manifest:
    name, size = _next_header(stream)
    if name != MANIFEST or size > MAX_MANIFEST:
        raise _damaged("it does not begin with a manifest")
    text = b"".join(_content(stream, size))
    try:
        return _manifest_from(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged("its manifest cannot be read") from error


def _content(stream: gzip.GzipFile, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise EOFError
        left -= len(chunk)
        yield chunk
    stream.read(-size % tarfile.BLOCKSIZE)


def _manifest_from(found: Mapping[str, Any]) -> Manifest:
    if found["format"] != FORMAT:
        raise StowageError(
            Kind.CONFLICT,
            "The archive was written by a newer version of Stowage.",
            operation="restore",
            remedy="Install that version or a newer one, and restore it there.",
        )
    files = tuple(ArchivedFile(str(f["name"]), int(f["size"]), str(f["sha256"])) for f in found["files"])
    if tuple(file.name for file in files) != DATABASES or any(file.size < 0 for file in files):
        raise ValueError
    return Manifest(str(found["version"])[:50], float(found["created_at"]), str(found["key_id"])[:50], files)


def _read_content(stream: gzip.GzipFile, file: ArchivedFile, folder: Path | None) -> None:
    digest = hashlib.sha256()
    with ExitStack() as stack:
        target = None
        if folder is not None:
            # A name of DATABASES, never one that the archive invented.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            target = stack.enter_context(os.fdopen(os.open(folder / file.name, flags, 0o600), "wb"))
        for chunk in _content(stream, file.size):
            digest.update(chunk)
            if target is not None:
                target.write(chunk)
        if target is not None:
            target.flush()
            os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise _damaged(f"“{file.name}” in it has another content than when it was written")


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StowageError(
            Kind.FULL,
            f"The databases need {size:,} bytes, and only {free:,} are free.",
            operation="restore",
            remedy="Free some space, or restore into another folder with --instance.",
        )


def _check_database(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise _damaged(f"“{path.name}” is not a database") from error
    if result != "ok":
        raise _damaged(f"“{path.name}” fails SQLite's integrity check")


def _damaged(why: str) -> StowageError:
    return StowageError(
        Kind.INVALID,
        f"The archive is damaged or no backup of Stowage: {why}.",
        operation="restore",
        remedy="Download it again, or take another backup.",
    )
