"""Copying one object between any two backends, and comparing two objects.

An object is copied on the server if both ends allow it, otherwise in one request each way if it is small, or
as a bounded stream. All large transfers of a process share one memory budget, no matter who calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial

from dashboard.errors import Kind
from dashboard.storage.driver import (
    SMALL,
    CopiesWithin,
    Driver,
    ProvesByParts,
    Reading,
    Writing,
    stat_or_none,
)
from dashboard.storage.errors import Changed, Damaged, Exists, StorageError
from dashboard.storage.net.memory_budget import MemoryBudget
from dashboard.storage.net.rate_limits import transferring
from dashboard.storage.net.resuming import resumable
from dashboard.storage.object_powers import CopiesListed, ResumesWrites
from dashboard.storage.proving import (
    ETAG,
    ContentDigest,
    ReadCheck,
    UnprovenRead,
    copies_on_server,
    has_integrity_protection,
    listed_md5,
)
from dashboard.storage.types import EMPTY, Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrapping import unwrap_transparent

Stop = Callable[[], bool]
Timed = Callable[[str], AbstractContextManager[None]]
MakeCheck = Callable[[Reading], ReadCheck]
Prepare = Callable[[str, bytes, str], Written | None]

MEMORY_BYTES = 128 * 1024 * 1024
"""Memory that all transfers of this process may use at once."""
_STREAM_BYTES = 32 * 1024 * 1024
"""Memory that a stream uses: three parts of 8 MiB and what is being read."""


class Interrupted(Exception):
    """``stop`` returned True. What was being written has been discarded."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy: what was read, and the receipt of what was written.

    ``written.md5`` is the MD5 of the content. It may be empty only with ``need_md5`` off, and then
    ``written`` is proven.
    """

    info: ObjectInfo
    written: Written

    @property
    def proven(self) -> bool:
        """Whether the destination's own checksum equals ours."""
        return self.written.proven


MEMORY = MemoryBudget(MEMORY_BYTES)


def copy_object(
    source: Driver,
    destination: Driver,
    entry: Entry,
    *,
    to: str,
    create_only: bool = False,
    progress: Callable[[int], None],
    stop: Stop,
    need_md5: bool = True,
    metadata: Mapping[str, str] = EMPTY,
    before_write: Callable[[], None] = lambda: None,
    prove_read: bool = True,
    timed: Timed = lambda phase: nullcontext(),
    resume_since: float | None = None,
    prepare: Prepare | None = None,
) -> Copied:
    """Copy the listed object to the key ``to``, with its attributes.

    ``metadata`` is stored in addition to the object's own, unless the server copies by itself; small objects
    are not copied by the server then.
    ``before_write`` is called right before the request that makes the object visible; if it raises, nothing
    is written.

    ``progress`` is called with the bytes transferred so far; ``stop`` is called between chunks. Without
    ``need_md5`` a large object is not hashed if its parts prove it, and not even read if the server copies it
    and proves the copy. Set ``need_md5`` only to compare the MD5 with something else.

    ``resume_since``: an earlier call for this object, after this time (epoch seconds), may have been killed;
    what it sent of a large object is not sent again.

    ``prepare`` is called first for a small object under ``create_only``, with the key, the bytes and their
    MD5 if it is known. It returns the receipt, perhaps of a write that the caller finishes, or None.

    ``timed`` is entered with ``reading`` or ``writing`` for as long as that takes.

    An object is read twice if its bytes could change unnoticed on the connection and the backend has no
    checksum to compare them with; ``prove_read`` turns that off.

    Raises ``Changed`` if the source is no longer what was listed. Raises ``Damaged`` if the length or a
    checksum that the source vouches for differs (nothing is written then), or if what the destination stored
    differs (it is removed again). Raises ``Exists`` under ``create_only``, ``Interrupted``, and whatever the
    drivers raise. Idempotent.
    """
    _check(stop)
    job = _Job(
        source,
        destination,
        entry,
        to,
        create_only,
        need_md5,
        prove_read,
        progress,
        stop,
        metadata,
        before_write,
        timed,
        resume_since,
        prepare,
    )
    on_server = copies_on_server(source, destination, entry, marked=bool(metadata))
    copied = job.copy_on_server() if on_server else None
    if copied is None:
        try:
            copied = job.copy_through()
        except UnprovenRead as unproven:
            copied = job.retry_unproven(unproven.parts)
    progress(entry.size)
    return replace(copied, written=_confirm_receipt(destination, copied.written, stop))


def read_back(driver: Driver, key: str, *, stop: Stop, if_version: str | None = None) -> str:
    """Read an object from its backend and return the hex MD5 of what arrived."""
    md5 = hashlib.md5(usedforsecurity=False)
    with resumable(driver, driver.read(key, if_version=if_version)) as reading:
        _pump(reading, md5.update, stop)
    return md5.hexdigest()


def same_content(
    source: Driver, destination: Driver, entry: Entry, found: ObjectInfo, *, stop: Stop = lambda: False
) -> bool:
    """Whether the listed object and ``found``, the one at the destination, have the same bytes.

    Compares the checksums that the backends report if they are comparable; otherwise reads the objects whose
    checksum is not known.
    """
    if entry.size != found.size:
        return False
    if entry.etag and entry.etag == found.etag and ETAG.match(entry.etag):
        return True
    here = listed_md5(source, entry) if entry.etag and ETAG.match(entry.etag) else None
    if here is not None and found.md5 is not None:
        return here == found.md5
    if here is None and found.md5 is None:
        return _same_by_reading(source, destination, entry, found, stop)
    if here is None:
        digest = ContentDigest(entry.size, entry.etag)
        return _digest(source, entry.key, entry.etag, stop, digest).md5 == found.md5
    return read_back(destination, found.key, stop=stop, if_version=found.version) == here


def _same_by_reading(
    source: Driver, destination: Driver, entry: Entry, found: ObjectInfo, stop: Stop
) -> bool:
    """Neither side has an MD5: hash the source, also in the form of the other's ETag if it has one."""
    here = _digest(source, entry.key, entry.etag, stop, ContentDigest(entry.size, found.etag))
    if found.etag in here.etags():
        return True
    there = _digest(destination, found.key, found.version, stop, ContentDigest(found.size, entry.etag))
    return here.md5 == there.md5


def _digest(
    driver: Driver, key: str, version: str | None, stop: Stop, digest: ContentDigest
) -> ContentDigest:
    """Read the object through this digest."""
    with resumable(driver, driver.read(key, if_version=version)) as reading:
        _pump(reading, digest.update, stop)
    return digest


def _check(stop: Stop, size: int = 0) -> None:
    """Before ``size`` more bytes are transferred."""
    if stop():
        raise Interrupted
    transferring(size)


def _pump(reading: Reading, consume: Callable[[bytes], None], stop: Stop) -> None:
    left = reading.info.size
    for chunk in reading.chunks():
        _check(stop, len(chunk))
        left -= len(chunk)
        if left < 0:
            raise Damaged(reading.info.key, f"More of “{reading.info.key}” came than it has bytes.")
        consume(chunk)


# Not frozen: making a frozen object of so many fields takes three times as long, and each copy makes one.
@dataclass(slots=True, eq=False)
class _Job:
    """One copy, in one of three ways."""

    source: Driver
    destination: Driver
    entry: Entry
    to: str
    create_only: bool
    need_md5: bool
    prove_read: bool
    progress: Callable[[int], None]
    stop: Stop
    metadata: Mapping[str, str]
    before_write: Callable[[], None]
    timed: Timed
    resume_since: float | None
    prepare: Prepare | None

    def copy_on_server(self) -> Copied | None:
        """Copy without moving the bytes. Returns None if that is not possible or would not prove enough."""
        entry, destination, source = self.entry, self.destination, unwrap_transparent(self.source)
        if not isinstance(destination, CopiesWithin):
            return None
        if self.need_md5 and not (entry.etag and len(entry.etag) == 32):
            return None
        listed = isinstance(destination, CopiesListed)
        if self.create_only and not listed and stat_or_none(self.destination, self.to) is not None:
            raise Exists(self.to)
        self.before_write()
        try:
            with self.timed("writing"):
                if isinstance(destination, CopiesListed):
                    written = destination.copy_listed(source, entry, self.to, create_only=self.create_only)
                else:
                    written = destination.copy_from(source, entry.key, self.to, if_version=entry.etag)
        except StorageError as error:
            # A key may be allowed to read and to write, but not to copy.
            if error.kind not in (Kind.UNSUPPORTED, Kind.DENIED):
                raise
            return None
        if written.size != entry.size:
            raise Changed(entry.key)
        if not written.md5 and (self.need_md5 or not written.proven):
            written = replace(written, md5=self.hash_source())
        info = ObjectInfo(entry.key, entry.size, entry.modified, entry.etag, version=entry.etag)
        return Copied(info, written)

    def copy_through(self, expected: str = "", parts: tuple[int, ...] = ()) -> Copied:
        """Copy by moving the bytes. ``expected`` and ``parts`` as in ``ReadCheck``. Raises ``UnprovenRead``
        if one of them is needed, before anything is visible at the destination."""
        check = partial(ReadCheck, self.source, expected=expected, parts=parts, required=self.prove_read)
        if (
            not expected
            and self.prove_read
            and self.entry.etag is None
            and not has_integrity_protection(self.source)
        ):
            # There will be nothing to compare with: better not begin.
            raise UnprovenRead
        return self._copy_small(check) if self.entry.size <= SMALL else self._copy_stream(check)

    def retry_unproven(self, parts: tuple[int, ...]) -> Copied:
        """Copy again after a read that nothing proved: compare the parts if they are known, else read
        twice."""
        if parts:
            return self.copy_through(parts=parts)
        return self.copy_through(expected=self.hash_source())

    def hash_source(self) -> str:
        """Return the MD5 of what the source sends."""
        return read_back(self.source, self.entry.key, stop=self.stop, if_version=self.entry.etag)

    def _copy_small(self, make_check: MakeCheck) -> Copied:
        """Copy in one request each way."""
        _check(self.stop, self.entry.size)
        with MEMORY.reserve(3 * self.entry.size, partial(_check, self.stop)):
            with self.timed("reading"), self._open_source() as reading:
                check = make_check(reading)
                data = reading.read_all()
                info = reading.info
            check.update(data)
            if not check.matches():
                info = self._recheck_md5(info, check)
            _check(self.stop)
            self.before_write()
            with self.timed("writing"):
                early = self.prepare if self.create_only else None
                written = (early and early(self.to, data, check.md5)) or self.destination.put(
                    self.to, data, attributes=self._attributes(info), create_only=self.create_only
                )
            return Copied(info, written)

    def _copy_stream(self, make_check: MakeCheck) -> Copied:
        """Copy chunk by chunk."""
        with (
            MEMORY.reserve(_STREAM_BYTES, partial(_check, self.stop)),
            resumable(self.source, self._open_source()) as reading,
        ):
            info = reading.info
            check = make_check(reading)
            with self._open_destination(info) as writing:
                if not self.need_md5 and isinstance(writing, ProvesByParts):
                    writing.without_md5()
                check.share(writing, need_md5=self.need_md5)
                done = 0
                for chunk in self._timed_chunks(reading):
                    _check(self.stop, len(chunk))
                    check.update(chunk)
                    done += len(chunk)
                    if done > info.size:
                        raise Damaged(self.entry.key, f"More of “{self.entry.key}” came than it has bytes.")
                    with self.timed("writing"):
                        writing.write(chunk)
                    self.progress(done)
                if not check.matches():
                    info = self._recheck_md5(info, check)
                _check(self.stop)
                self.before_write()
                with self.timed("writing"):
                    written = writing.commit()
        if not written.md5 and not written.proven:
            written = replace(written, md5=check.md5 or self.hash_source())
        return Copied(info, written)

    def _open_destination(self, info: ObjectInfo) -> Writing:
        attributes, create_only = self._attributes(info), self.create_only
        since, destination = self.resume_since, self.destination
        if since is not None and isinstance(destination, ResumesWrites):
            return destination.resume_write(
                self.to, size=info.size, since=since, attributes=attributes, create_only=create_only
            )
        return destination.write(self.to, size=info.size, attributes=attributes, create_only=create_only)

    def _timed_chunks(self, reading: Reading) -> Iterator[bytes]:
        chunks = iter(reading.chunks())
        with self.timed("reading"):
            chunk = next(chunks, None)
        while chunk is not None:
            yield chunk
            with self.timed("reading"):
                chunk = next(chunks, None)

    def _attributes(self, info: ObjectInfo) -> Attributes:
        given = info.attributes
        return replace(given, metadata={**given.metadata, **self.metadata}) if self.metadata else given

    def _recheck_md5(self, info: ObjectInfo, check: ReadCheck) -> ObjectInfo:
        """Check whether the MD5 that did not match is one at all. An open read may take an ETag for an MD5
        although the object is encrypted with KMS; ``stat`` knows."""
        if check.expected and check.expected == info.md5 and listed_md5(self.source, self.entry) is None:
            if self.prove_read and not has_integrity_protection(self.source):
                raise UnprovenRead
            return replace(info, md5=None)
        raise Damaged(info.key, f"“{info.key}” was damaged on its way here: its checksum differs.")

    def _open_source(self) -> Reading:
        """Open the object as it was listed, or raise ``Changed``."""
        reading = self.source.read(self.entry.key, if_version=self.entry.etag)
        if reading.info.size != self.entry.size:
            reading.__exit__(None, None, None)
            raise Changed(self.entry.key)
        return reading


def _confirm_receipt(destination: Driver, written: Written, stop: Stop) -> Written:
    """Read an object back if the checksums of its receipt differ, because some servers' ETags look like MD5s
    and are not. An object that is really damaged is removed."""
    if written.stored_checksum is None or written.proven or not written.md5:
        return written
    found = read_back(destination, written.key, stop=stop)
    if found == written.md5:
        return replace(written, expected_checksum=written.md5, stored_checksum=found)
    with suppress(StorageError):
        if destination.stat(written.key).etag == written.etag:
            destination.delete(written.key)
    raise Damaged(
        written.key,
        f"“{written.key}” was damaged on its way to the destination: its checksum differs.",
        operation="write",
    )
