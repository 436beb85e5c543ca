"""What is known of a file's content, and whether a copy elsewhere is provably the same.

Names, sizes and times prove nothing. What does: the SHA-256 or MD5 that the catalogue knows, and a checksum
for which the copy's own backend vouches; else reading the copy and computing it.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from sqlalchemy import select

from dashboard.models.catalogue import files
from dashboard.services.database import Database
from dashboard.services.files.conditions import EntityTag
from dashboard.storage.driver import DeletesUnchanged, Driver
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrapping import Wrapper

MAX_DIGESTS = 4096
_CHECKSUM = re.compile(r"[0-9a-f]{32}(-[0-9]{1,5})?")
"""ETags of object stores: the MD5 of the content, or of the MD5s of its parts."""
_TIME_TOLERANCE = 0.001


@dataclass(frozen=True, slots=True)
class KnownContent:
    """The content of a file as far as it is known. ``size`` in bytes; digests in hexadecimal digits, empty if
    unknown. ``etag``: as the backend reported it."""

    size: int
    sha256: str = ""
    md5: str = ""
    etag: str = ""
    modified: float | None = None

    @property
    def provable(self) -> bool:
        """Whether anything but its size is known."""
        return bool(self.sha256 or self.md5 or _CHECKSUM.fullmatch(self.etag))


class CataloguedContent:
    """What the catalogue knows of single files. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, backend_id: int, key: str) -> KnownContent | None:
        """Return what is known of a file, or None if it is not in the catalogue."""
        query = select(files.c.size, files.c.sha256, files.c.md5, files.c.etag, files.c.modified)
        with self._database.work_read() as connection:
            row = connection.execute(
                query.where(files.c.backend_id == backend_id, files.c.key == key)
            ).one_or_none()
        return KnownContent(*row) if row is not None else None

    def location_of(self, file_id: int) -> tuple[int, str] | None:
        """Return the backend's id and the key of a file, or None if there is no such file."""
        with self._database.work_read() as connection:
            query = select(files.c.backend_id, files.c.key).where(files.c.id == file_id)
            row = connection.execute(query).one_or_none()
        return (row[0], row[1]) if row is not None else None


def merged(row: KnownContent | None, info: ObjectInfo) -> KnownContent:
    """Return what is known of an object that its backend just described, with the catalogue's digests if its
    row is still about this content."""
    known = KnownContent(info.size, md5=info.md5 or "", etag=info.etag or "", modified=info.modified)
    if row is None or not _is_current(row, info):
        return known
    return replace(known, sha256=row.sha256, md5=known.md5 or row.md5)


def _is_current(row: KnownContent, info: ObjectInfo) -> bool:
    if row.size != info.size or not info.settled:
        return False
    if row.md5 and info.md5:
        return row.md5 == info.md5
    if row.etag and info.etag:
        return row.etag == info.etag
    if row.modified is None or info.modified is None:
        return False
    return abs(row.modified - info.modified) < _TIME_TOLERANCE


def same_without_reading(known: KnownContent, copy: KnownContent) -> bool | None:
    """Whether a copy has this content; None if only reading it could tell."""
    if known.size != copy.size:
        return False
    if known.sha256 and copy.sha256:
        return known.sha256 == copy.sha256
    if known.md5 and copy.md5:
        return known.md5 == copy.md5
    if known.etag == copy.etag and _CHECKSUM.fullmatch(known.etag):
        return True
    return None


def same_by_digests(known: KnownContent, sha256: str, md5: str) -> bool:
    """Whether computed digests are those of the known content."""
    if known.sha256:
        return known.sha256 == sha256
    return (known.md5 or known.etag) == md5


def with_digests_of(known: KnownContent, copy: KnownContent) -> KnownContent:
    """Return what is known of a content, by a copy that is the same."""
    if known.md5 or known.sha256:
        return known
    return replace(known, sha256=copy.sha256, md5=copy.md5)


def tag_of(known: KnownContent, info: ObjectInfo, backend_id: int, *, strong: bool) -> EntityTag | None:
    """Return the entity tag of an object: of its content where that is known, so that every provably same
    copy has it too, otherwise of its version in this one backend.

    ``strong``: whether the backend's versions differ after every change. None without any version.
    """
    if known.md5 or known.sha256:
        return EntityTag(f"md5-{known.md5}" if known.md5 else f"sha256-{known.sha256}")
    token = info.version or info.etag
    if token is None:
        return None
    # Digested, because tokens name inodes and times, and with the backend, because another one may use the
    # same token for other content.
    digest = hashlib.sha256(f"{backend_id}\0{token}".encode("utf-8", "surrogateescape")).hexdigest()
    return EntityTag(f"v-{digest[:32]}", weak=not (strong and info.settled))


def has_strong_versions(driver: Driver) -> bool:
    """Whether versions differ after every change of content; see ``DeletesUnchanged``."""
    while not isinstance(driver, DeletesUnchanged):
        if not isinstance(driver, Wrapper):
            return False
        driver = driver.inner
    return True


class Digests:
    """SHA-256 and MD5 of copies that were read to compare them; the newest ``MAX_DIGESTS``. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, str, str], tuple[str, str]] = OrderedDict()

    def compute(self, backend_id: int, driver: Driver, info: ObjectInfo) -> tuple[str, str]:
        """Return both, reading the object unless this version of it was read before. Raises
        ``StorageError``."""
        place = (backend_id, info.key, info.version or "")
        with self._lock:
            if info.version and info.settled and (found := self._known.get(place)):
                return found
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with driver.read(info.key, if_version=info.version) as reading:
            for chunk in reading.chunks():
                sha256.update(chunk)
                md5.update(chunk)
        with self._lock:
            self._known[place] = sha256.hexdigest(), md5.hexdigest()
            if len(self._known) > MAX_DIGESTS:
                self._known.popitem(last=False)
            return self._known[place]
