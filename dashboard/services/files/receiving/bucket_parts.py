"""What an upload that goes directly to a bucket has there: parts, then for a moment an object, then nothing.

The parts belong to a key of their own in a folder that every listing leaves out and nothing reads. The runner
makes them an object there, reads that into the quarantine of this machine, and deletes it; from then on it is
an upload like every other. See docs/decisions/050-direct-uploads-are-read-back.md.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.fallback_drivers import DIRECT_UPLOADS
from dashboard.services.files.receiving.quarantine import Appending
from dashboard.services.files.receiving.upload_rows import UploadInfo
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound, StorageError, Unsupported
from dashboard.storage.object_powers import KeepsVersions, SentPart, SignedUpload, SignsParts
from dashboard.storage.powers import PARTS, unsupported_error
from dashboard.storage.wrappers.fallback.hiding_waiting import UPLOADS
from dashboard.storage.wrapping import Wrapper, unwrap_transparent

log = logging.getLogger(__name__)

DIRECT = "direct"
"""The method of these uploads, and the name of what is known about them in ``details``."""
PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 5000
"""Of the 10,000 that S3 allows: their list has to fit into one request."""
URL_SECONDS = 900
"""For how long the address of a part works."""
_MIB = 1024 * 1024


class _Bucket(Driver, SignsParts, Protocol):
    """A driver that signs parts."""


class Stopped(Exception):
    """``stop`` returned True while the object was read."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Into which parts a file is cut: all of ``part_size`` bytes, the last one of what is left."""

    size: int
    part_size: int

    @property
    def count(self) -> int:
        """The number of parts."""
        return -(-self.size // self.part_size)

    def size_of(self, number: int) -> int:
        """The bytes of one part; the first is 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


def plan_parts(size: int) -> PartPlan:
    """Cut a file of ``size`` bytes into parts."""
    least = -(-size // MAX_PARTS)
    return PartPlan(size, PART_BYTES if least <= PART_BYTES else -(-least // _MIB) * _MIB)


def plan_of(upload: UploadInfo) -> PartPlan:
    """The parts of a direct upload."""
    return PartPlan(upload.size or 0, int(about(upload)["part_size"]))


def about(upload: UploadInfo) -> Mapping[str, Any]:
    """What is known about a direct upload; empty for others."""
    found: Mapping[str, Any] = upload.details.get(DIRECT) or {}
    return found


def is_in_bucket(upload: UploadInfo) -> bool:
    """Whether the bytes of an upload are at its backend and not here."""
    return upload.method == DIRECT and not about(upload).get("fetched")


def digest_of(parts: Iterable[SentPart]) -> str:
    """What tells one set of parts from another. The same part listed twice counts once."""
    lines = "".join(f"{part.number} {part.size} {part.etag}\n" for part in _distinct(parts))
    return hashlib.sha256(lines.encode()).hexdigest()


class BucketParts:
    """Thread-safe. Every method may raise what drivers raise."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def refuse_unless_possible(self, backend: str, *, ask: bool = True) -> None:
        """Raise ``Unsupported`` with the reason if files cannot go directly to a backend. ``ask``: ask the
        bucket, too."""
        driver = self._driver(backend)
        # Signing refuses for reasons of its own, such as keys that browsers must not have.
        driver.part_url(f"{UPLOADS}probe", "probe", 1, seconds=1)
        if ask and _keeps_versions(driver):
            raise StowageError(
                Kind.UNSUPPORTED,
                "The bucket keeps older versions, so what is not checked yet would stay in it.",
                operation="upload",
                subject=backend,
                remedy="Upload through the console.",
            )

    def origin(self, backend: str) -> str:
        """Scheme, host and port that browsers send parts to; empty if they cannot. No network call."""
        try:
            self.refuse_unless_possible(backend, ask=False)
            driver = self._driver(backend)
            url = driver.part_url(f"{UPLOADS}probe", "probe", 1, seconds=1).url
        except StowageError:
            return ""
        return "/".join(url.split("/", 3)[:3])

    def begin(self, upload: UploadInfo) -> str:
        """Begin the upload in the bucket and return its id there."""
        return self._of(upload).begin_parts(_key(upload))

    def url(self, upload: UploadInfo, number: int) -> SignedUpload:
        """The request for one part, which takes exactly its number of bytes. No network call."""
        size = plan_of(upload).size_of(number)
        driver = self._of(upload)
        return driver.part_url(_key(upload), _id(upload), number, seconds=URL_SECONDS, size=size)

    def sent(self, upload: UploadInfo) -> tuple[SentPart, ...]:
        """The parts that the bucket has, of those that belong to the file. Raises ``NotFound`` if it does not
        know the upload."""
        count = plan_of(upload).count
        return tuple(
            part for part in self._of(upload).sent_parts(_key(upload), _id(upload)) if part.number <= count
        )

    def fetch(self, upload: UploadInfo, lock: Appending, stop: Callable[[], bool]) -> None:
        """Make the parts an object, read it into the quarantine and delete it. Idempotent: after a kill it
        begins again with what there is.

        Raises ``CONFLICT`` if the bucket does not have what was announced, and :class:`Stopped`.
        """
        driver, key = self._of(upload), _key(upload)
        self._complete(upload)
        try:
            found = driver.stat(key)
        except NotFound as error:
            raise gone_error() from error
        if found.size != upload.size:
            raise _other_size_error(found.size, upload.size or 0)
        lock.truncate(0)
        with driver.read(key, if_version=found.version) as reading:
            for chunk in reading.chunks():
                if stop():
                    raise Stopped
                if lock.offset + len(chunk) > found.size:
                    raise _other_size_error(lock.offset + len(chunk), found.size)
                lock.write(chunk)
        if lock.offset != found.size:
            raise _other_size_error(lock.offset, found.size)
        lock.sync()

    def abort(self, upload: UploadInfo) -> None:
        """Discard the parts, without insisting: the sweep does that."""
        try:
            if _id(upload):
                self._of(upload).abort_parts(_key(upload), _id(upload))
        except StowageError as error:
            log.warning("The parts of upload %s are not aborted yet: %s", upload.id, error)

    def clean(self, upload: UploadInfo) -> bool:
        """Remove all that is left of an upload in the bucket. Idempotent. Returns False if that has to be
        tried again later."""
        name = self._backends.name_of(upload.backend_id)
        if name is None:
            log.warning("The backend of upload %s is gone; parts may be left in its bucket", upload.id)
            return True
        key = _key(upload)
        try:
            driver = self._driver(name)
            if _id(upload):
                driver.abort_parts(key, _id(upload))
            _sweep_unknown(driver, upload)
            driver.delete(key)
            return not _id(upload) or not _is_known(driver, key, _id(upload))
        except Unsupported as error:
            log.warning("Parts of upload %s may be left in “%s”: %s", upload.id, name, error)
            return True
        except StowageError as error:
            log.warning("What upload %s left in “%s” is not removed yet: %s", upload.id, name, error)
            return False

    def _complete(self, upload: UploadInfo) -> None:
        try:
            parts = self.sent(upload)
        except NotFound:
            # Complete already, or gone; the caller looks.
            return
        listed, count = len({part.number for part in parts}), plan_of(upload).count
        if listed < count:
            # As of a server that is completing it for a process that was killed meanwhile: to be tried again.
            raise StowageError(
                Kind.CHANGED,
                f"The bucket lists {listed:,} of the {count:,} parts of this upload.",
                operation="upload",
                remedy="It is tried again.",
            )
        if digest_of(parts) != about(upload).get("parts"):
            raise StowageError(
                Kind.CONFLICT,
                "Parts of this upload were sent again after it was finished.",
                operation="upload",
                remedy="Upload the file again.",
            )
        pairs = [(part.number, part.etag) for part in _distinct(parts)]
        self._of(upload).finish_parts(_key(upload), _id(upload), pairs)

    def _of(self, upload: UploadInfo) -> _Bucket:
        name = self._backends.name_of(upload.backend_id)
        if name is None:
            raise gone_error()
        return self._driver(name)

    def _driver(self, backend: str) -> _Bucket:
        """The bucket itself, without what is around it. Raises ``Unsupported`` if bytes from elsewhere would
        not be what is stored here."""
        driver = self._backends.driver(backend, label=DIRECT_UPLOADS)
        if not isinstance(driver, SignsParts):
            raise unsupported_error(driver, PARTS, "upload")
        bucket = unwrap_transparent(driver)
        if isinstance(bucket, Wrapper) or not isinstance(bucket, SignsParts):
            raise Unsupported(
                "upload", "Files of this backend are not stored as they are sent, but compressed."
            )
        return bucket


def _distinct(parts: Iterable[SentPart]) -> tuple[SentPart, ...]:
    # A request that its client gave up, and repeated, may still arrive after the upload was finished. Some
    # servers then list the part twice; the content is the same.
    return tuple(dict.fromkeys(parts))


def gone_error() -> StowageError:
    """For an upload that its bucket does not know."""
    return StowageError(
        Kind.CONFLICT,
        "The bucket no longer has the parts of this upload.",
        operation="upload",
        remedy="Upload the file again.",
    )


def _other_size_error(found: int, announced: int) -> StowageError:
    return StowageError(
        Kind.CONFLICT,
        f"The bucket has {found:,} bytes of this upload, and {announced:,} were announced.",
        operation="upload",
        remedy="Upload the file again.",
    )


def _keeps_versions(driver: Driver) -> bool:
    """Whether the bucket says so. Not every server can be asked, and not everybody may."""
    try:
        return isinstance(driver, KeepsVersions) and driver.keeps_versions()
    except StorageError as error:
        if error.kind in (Kind.DENIED, Kind.UNSUPPORTED):
            return False
        raise


def _sweep_unknown(driver: Driver, upload: UploadInfo) -> None:
    """Abort what was begun by a request whose response was lost. Not every key may list what is begun, and it
    has to only if nothing else is known."""
    try:
        driver.sweep([_key(upload)], since=upload.created_at)
    except StorageError as error:
        if error.kind is not Kind.DENIED or not _id(upload):
            raise


def _is_known(driver: SignsParts, key: str, upload_id: str) -> bool:
    try:
        driver.sent_parts(key, upload_id)
    except NotFound:
        return False
    return True


def _key(upload: UploadInfo) -> str:
    return f"{UPLOADS}{upload.id}"


def _id(upload: UploadInfo) -> str:
    return str(about(upload).get("upload_id") or "")
