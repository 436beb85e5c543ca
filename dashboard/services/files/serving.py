"""Serving files: computes a plan as a value, without knowing the web framework; see ``Plan``.

The named backend is asked first, then the fallback order, but only if the file is missing or its backend is
unavailable, and then only a copy that is provably the same is served. See docs/serving.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.queries import get_row
from dashboard.services.database import Database
from dashboard.services.files.conditions import Conditions, Decision, EntityTag, Outcome, decide
from dashboard.services.files.copies import ContinuedSource, Copy, OpenFile, Place, Prefetched, Source
from dashboard.services.files.fallback_reads import FallbackReads
from dashboard.services.files.proof import (
    CataloguedContent,
    Digests,
    KnownContent,
    has_strong_versions,
    merged,
    same_by_digests,
    same_without_reading,
    tag_of,
    with_digests_of,
)
from dashboard.services.files.turns import OPENINGS, Turns
from dashboard.services.text import printable
from dashboard.storage.driver import Links
from dashboard.storage.errors import Changed, InvalidKey, NotFound, StorageError
from dashboard.storage.object_powers import HasFile
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.fallback.waiting_writes import is_unavailable

log = logging.getLogger(__name__)

ACTIVE = "-"
"""Stands for the active backend; no backend can have this name."""
MAX_KEY_BYTES = 4096
FIRST_BYTES = 256 * 1024
"""Read before the response begins: that an object cannot be read is still a status then."""
MAX_COMPARED_BYTES = 1 << 30
MAX_DOWNLOADED_TO_COMPARE = 64 << 20
"""Size up to which a copy is read to compare it: on this machine, and elsewhere."""
SEARCH_SECONDS = 20.0
"""After which no further backend is asked."""
REDIRECT_SECONDS = 300
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Representation:
    """What is sent, or would be. ``backend`` serves it, or is empty; ``fallback`` if it is not the one asked
    for."""

    key: str
    backend: str
    fallback: bool
    size: int
    tag: EntityTag | None
    modified: float | None
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Plan:
    """How to respond to a request for a file. With a ``url`` redirect there, otherwise send what ``decision``
    says: ``body``, or only headers if it is None. Whoever gets a plan closes it, or hands its body to
    somebody who does.
    """

    decision: Decision
    file: Representation
    body: OpenFile | Source | None = None
    url: str = ""

    def close(self) -> None:
        """Free what the body holds. Idempotent."""
        if self.body is not None:
            self.body.close()


class Serving:
    """Thread-safe."""

    def __init__(self, database: Database, backends: Backends) -> None:
        self.fallback_reads = FallbackReads(database)
        self._database = database
        self._backends = backends
        self._catalogue = CataloguedContent(database)
        self._digests = Digests()
        self._openings = Turns(OPENINGS)

    def plan_by_id(self, file_id: int, conditions: Conditions, *, direct: bool = False) -> Plan:
        """Like :meth:`plan`, for a file of the catalogue."""
        found = self._catalogue.location_of(file_id)
        name = self._backends.name_of(found[0]) if found is not None else None
        if found is None or name is None:
            raise StowageError(Kind.NOT_FOUND, f"There is no file {file_id}.", operation="read")
        return self.plan(name, found[1], conditions, direct=direct)

    def digest_of(self, file_id: int) -> tuple[str, str]:
        """Return the SHA-256 that the catalogue knows of a file, or an empty text, and its key."""
        found = self._catalogue.location_of(file_id)
        known = self._catalogue.of(*found) if found is not None else None
        if found is None or known is None:
            raise StowageError(Kind.NOT_FOUND, f"There is no file {file_id}.", operation="read")
        return known.sha256, found[1]

    def plan(self, backend: str, key: str, conditions: Conditions, *, direct: bool = False) -> Plan:
        """Decide how to respond. ``backend``: a name, or ``ACTIVE``. ``direct``: redirect to a signed URL if
        the backend has them.

        Reads at most the first bytes of the content, except to compare a copy. Raises ``StowageError``:
        ``NOT_FOUND``; ``CONFLICT`` if only copies were found that are not provably the same; ``UNREACHABLE``
        if the file's backend is unavailable and nothing else has it; ``INVALID_KEY``; ``THROTTLED``. Its
        sentences name backends and the key, and repeat nothing that a server said.
        """
        if not key or len(key_bytes(key)) > MAX_KEY_BYTES:
            raise _missing(key)
        order = self._order(backend)
        with self._openings.turn(order[0].id):
            for _ in range(_ATTEMPTS - 1):
                with suppress(Changed):
                    return self._plan(order, key, conditions, direct=direct)
            try:
                return self._plan(order, key, conditions, direct=direct)
            except Changed as error:
                raise _refusal(order[0], key, error) from error

    def _plan(self, order: Sequence[Place], key: str, conditions: Conditions, *, direct: bool) -> Plan:
        search = _Search(self, order, key)
        copy = search.find()
        is_fallback = copy.place.id != order[0].id
        if is_fallback:
            self.fallback_reads.note(order[0].id, copy.place.id)
        file = search.representation(copy)
        decision = decide(conditions, file.tag, file.modified, file.size)
        if decision.outcome not in (Outcome.COMPLETE, Outcome.PART) or conditions.method == "HEAD":
            return Plan(decision, file)
        if direct and (url := _signed_url(copy)):
            return Plan(decision, file, url=url)
        body, served = self._open(search, copy, decision)
        file = replace(file, backend=served.place.name, fallback=served.place.id != order[0].id)
        return Plan(decision, file, body)

    def _open(self, search: _Search, copy: Copy, decision: Decision) -> tuple[OpenFile | Source | None, Copy]:
        """Return the body, and the copy that its first bytes came from."""
        if not decision.length:
            return None, copy
        try:
            if not copy.place.shared:
                reading = copy.driver.read(copy.info.key, if_version=copy.info.version)
                if isinstance(reading, HasFile):
                    return OpenFile(reading, decision.start, decision.length), copy
                reading.__exit__(None, None, None)
        except Changed:
            raise
        except StorageError as error:
            raise _refusal(copy.place, copy.info.key, error) from error
        source = ContinuedSource(
            copy,
            decision.start,
            decision.length,
            search.same_elsewhere(copy),
            lambda other: self.fallback_reads.note(copy.place.id, other.place.id),
        )
        try:
            first = source.read(FIRST_BYTES)
        except Changed:
            source.close()
            raise
        except StorageError as error:
            source.close()
            raise _refusal(source.copy.place, copy.info.key, error) from error
        return Prefetched(first, source), source.copy

    def _order(self, name: str) -> list[Place]:
        """The named or active backend, then the fallback order."""
        with self._database.read() as session:
            if name == ACTIVE:
                home = session.scalar(select(Backend).where(Backend.active.is_(True)))
                if home is None:
                    raise StowageError(
                        Kind.NOT_FOUND,
                        "No backend is active.",
                        operation="read",
                        remedy="Make one the active backend, or name one in the address.",
                    )
            else:
                home = get_row(session, name)
            query = select(Backend).where(Backend.fallback_position.is_not(None), Backend.id != home.id)
            others = session.scalars(query.order_by(Backend.fallback_position))
            return [Place(row.id, row.name, row.options.get("mounted") == "true") for row in (home, *others)]

    def stat(self, place: Place, key: str) -> Copy:
        """The file as this backend has it. Raises ``StorageError``, or ``StowageError`` for a backend that
        cannot be used at all."""
        driver = self._backends.serving_driver(place.name)
        driver.check_key(key)
        info = driver.stat(key)
        return Copy(place, driver, info, merged(self._catalogue.of(place.id, key), info))

    def known(self, place: Place, key: str) -> KnownContent | None:
        """What the catalogue knows of a file."""
        return self._catalogue.of(place.id, key)

    def proven(self, known: KnownContent, copy: Copy) -> Copy | None:
        """Return the copy, and what is known of it then, if it is provably this content. May read it."""
        decided = same_without_reading(known, copy.content)
        if decided is None and self._may_compare(known, copy):
            sha256, md5 = self._digests.compute(copy.place.id, copy.driver, copy.info)
            decided = same_by_digests(known, sha256, md5)
            copy = replace(copy, content=replace(copy.content, sha256=sha256, md5=md5))
        return replace(copy, content=with_digests_of(known, copy.content)) if decided else None

    def _may_compare(self, known: KnownContent, copy: Copy) -> bool:
        size = copy.info.size
        if not known.provable or size > MAX_COMPARED_BYTES:
            return False
        if size <= MAX_DOWNLOADED_TO_COMPARE:
            return True
        with copy.driver.read(copy.info.key, if_version=copy.info.version) as reading:
            return isinstance(reading, HasFile)


class _Search:
    """The search for one file, for one request."""

    def __init__(self, serving: Serving, order: Sequence[Place], key: str) -> None:
        self._serving = serving
        self._home, *self._others = order
        self._key = key
        self._known: KnownContent | None = None
        self._deadline = time.monotonic() + SEARCH_SECONDS

    def find(self) -> Copy:
        """Return the copy to serve. Raises as ``Serving.plan`` does."""
        try:
            copy = self._serving.stat(self._home, self._key)
        except NotFound:
            unavailable = None
        except StorageError as error:
            if not is_unavailable(error):
                raise _refusal(self._home, self._key, error) from error
            unavailable = error
        else:
            self._known = copy.content
            return copy
        self._known = self._serving.known(self._home, self._key)
        if self._known is None and unavailable is None:
            return self._first_that_has_it()
        found = next(self._same(self._others), None)
        if found is not None:
            return found
        if unavailable is not None:
            raise _unavailable(self._home, self._key) from unavailable
        raise self._contradiction()

    def _first_that_has_it(self) -> Copy:
        """Nothing is known of this file, and the backend that was asked for does not have it."""
        for place in self._others:
            try:
                copy = self._stat_in_time(place)
            except (NotFound, InvalidKey):
                continue
            except StowageError as error:
                # It may have another file than the next one.
                raise _unavailable(place, self._key) from error
            self._known = copy.content
            return copy
        raise _missing(self._key)

    def _same(self, places: Sequence[Place]) -> Iterator[Copy]:
        """Yield the copies that are provably what is known."""
        known = self._known
        if known is None or not known.provable:
            return
        for place in places:
            with suppress(StowageError):
                found = self._serving.proven(known, self._stat_in_time(place))
                if found is not None:
                    yield found

    def same_elsewhere(self, current: Copy) -> Iterator[Copy]:
        """Yield the copies in other backends that are provably the same as this one."""
        for place in (self._home, *self._others):
            if place.id != current.place.id:
                # The response may have begun long ago.
                self._deadline = time.monotonic() + SEARCH_SECONDS
                yield from self._same([place])

    def _stat_in_time(self, place: Place) -> Copy:
        if time.monotonic() > self._deadline:
            raise StowageError(Kind.TIMEOUT, "Looking for a copy took too long.", operation="read")
        return self._serving.stat(place, self._key)

    def _contradiction(self) -> StowageError:
        """The catalogue knows the file, its backend does not have it."""
        for place in self._others:
            try:
                self._stat_in_time(place)
            except (NotFound, InvalidKey):
                continue
            except StowageError as error:
                return _unavailable(place, self._key, error)
            return StowageError(
                Kind.CONFLICT,
                f"“{printable(self._key)}” is no longer in “{self._home.name}”. “{place.name}” has a file of "
                "this name, but nothing proves that it is the same.",
                operation="read",
                subject=printable(self._key),
                remedy=f"Check which file is right. Ask for it in “{place.name}” to get the one there.",
            )
        return _missing(self._key)

    def representation(self, copy: Copy) -> Representation:
        """Describe a copy. Entity tag and time are those of the content that was asked for, whichever copy is
        read."""
        info, is_home, known = copy.info, copy.place.id == self._home.id, copy.content
        strong = has_strong_versions(copy.driver)
        return Representation(
            key=self._key,
            backend=copy.place.name,
            fallback=not is_home,
            size=info.size,
            tag=tag_of(known, info, copy.place.id, strong=strong),
            modified=known.modified,
            attributes=info.attributes,
        )


def _signed_url(copy: Copy) -> str:
    """A URL with which a browser gets the object from its provider, or “”."""
    if isinstance(copy.driver, Links):
        with suppress(StorageError):
            return copy.driver.temporary_url(copy.info.key, seconds=REDIRECT_SECONDS)
    return ""


def _missing(key: str) -> StowageError:
    shown = printable(key[:200])
    return StowageError(Kind.NOT_FOUND, f"There is no file “{shown}”.", operation="read", subject=shown)


def _unavailable(place: Place, key: str, cause: StowageError | None = None) -> StowageError:
    error = StowageError(
        Kind.UNREACHABLE,
        f"“{place.name}” cannot be reached now, and no other backend has a file that is provably the same.",
        operation="read",
        subject=printable(key),
        remedy="Try again in a minute.",
    )
    error.__cause__ = cause
    return error


def _refusal(place: Place, key: str, error: StorageError) -> StowageError:
    """A driver's error without what its server said."""
    log.info("“%s” in %s was not served: %s", printable(key), place.name, error.reason)
    reasons = {
        Kind.INVALID_KEY: f"“{place.name}” cannot hold a file of this name.",
        Kind.CHANGED: "The file is being replaced over and over.",
        Kind.DAMAGED: f"What “{place.name}” sent was incomplete or damaged.",
        Kind.NOT_FOUND: f"The file was deleted from “{place.name}” a moment ago.",
    }
    reason = reasons.get(error.kind, f"“{place.name}” does not let this console read the file.")
    remedy = "" if error.kind is Kind.INVALID_KEY else "Try again; if it fails twice, test the backend."
    return StowageError(
        Kind.UNREACHABLE if is_unavailable(error) else error.kind,
        f"“{place.name}” cannot be reached now." if is_unavailable(error) else reason,
        operation="read",
        subject=printable(key),
        remedy=remedy,
    )
