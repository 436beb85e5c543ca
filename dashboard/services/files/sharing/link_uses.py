"""Counting the uses of links, and never letting more downloads run than a link has uses left.

What a use is, is decided by :class:`Coverage`. A download of a link with limited uses is a row of its own
while it runs, so that downloads at the same time, also in several processes, are counted together with what
was sent before: one more is refused if it could complete more copies than the link has uses left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError, TooMany
from dashboard.models.sharing import FileLink, LinkDownload
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.files.sharing.coverage import Coverage
from dashboard.services.permissions import Actor, Role

if TYPE_CHECKING:
    from sqlalchemy.engine import CursorResult

log = logging.getLogger(__name__)

REPORT_SECONDS = 10.0
"""How often a running download says how far it is, and finds out whether its link was revoked."""
LEASE_SECONDS = 120.0
"""Without a report for so long, a download has died with its process. The server gives up on clients that do
not read much earlier."""
BROKEN_COPIES = 4
"""What was sent in downloads that broke counts as a use when it amounts to so many times the file: otherwise
a client could read all but the last byte again and again."""
BUSY_RETRY_SECONDS = 15.0
NOBODY = "(link)"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who opens a link: the username, empty for somebody who is not signed in, and the address."""

    username: str = ""
    address: str = ""


class LinkUses:
    """Counts what is sent through links. Thread-safe, also between processes."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def begin(
        self, link_id: int, recipient: Recipient, *, start: int, end: int, size: int, content: str
    ) -> Delivery:
        """Before the first byte of a response with a body: the bytes from ``start`` up to ``end`` of a file
        of ``size`` bytes. ``content`` is the file's ETag or version.

        Raises kind ``gone`` if the link is revoked, expired or used up, and ``throttled`` if downloads that
        are under way may need its last use.
        """
        part = _Part(link_id, start, max(end, start + 1), max(size, 1), f"{size} {content}")
        now = time.time()
        with self._database.write() as session:
            link = session.get(FileLink, link_id)
            if link is None or not is_open(link, now):
                raise gone(link)
            if link.max_uses is None:
                return Delivery(self, part, recipient, None, is_empty=size == 0)
            _count_abandoned(session, link, now)
            refuse_used_up(link)
            _refuse_too_many(session, link, part)
            row = LinkDownload(
                link_id=link_id, content=part.content, start=part.start, end=part.end, seen_at=now
            )
            session.add(row)
            session.flush()
            return Delivery(self, part, recipient, row.id, is_empty=size == 0)

    def report(self, part: _Part, download_id: int | None, sent: int) -> None:
        """Note how much was sent. Raises kind ``gone`` if the link was revoked meanwhile."""
        if download_id is None:
            with self._database.read() as session:
                link = session.get(FileLink, part.link_id)
                if link is None or link.revoked_at is not None:
                    raise gone(link)
            return
        with self._database.write() as session:
            # Revoking deletes the row.
            noted = update(LinkDownload).where(LinkDownload.id == download_id)
            result: CursorResult[Any] = session.execute(  # type: ignore[assignment]
                noted.values(sent=sent, seen_at=time.time())
            )
            if not result.rowcount:
                raise gone(session.get(FileLink, part.link_id))

    def finish(self, part: _Part, download_id: int | None, sent: int, recipient: Recipient) -> None:
        """Count what a download has sent. Called once, when it has ended or broken."""
        with self._database.write() as session:
            if download_id is not None:
                row = session.get(LinkDownload, download_id)
                if row is None:
                    return
                session.delete(row)
            link = session.get(FileLink, part.link_id)
            if link is None or not sent:
                return
            first = link.uses == 0
            _count(link, part.content, part.start, part.start + sent, part.size)
            link.last_used_at = time.time()
            link.last_address = recipient.address[:64]
            if first and link.uses:
                actor = Actor(recipient.username or NOBODY, Role.VIEWER, "web", recipient.address)
                self._audit.record(session, actor, "link.first_use", f"link {link.id}", key=link.key)


@dataclass(frozen=True, slots=True)
class _Part:
    link_id: int
    start: int
    end: int
    size: int
    content: str


class Delivery:
    """One download through a link, used by one thread at a time. :meth:`close` it, whatever happens."""

    def __init__(
        self, uses: LinkUses, part: _Part, recipient: Recipient, download_id: int | None, *, is_empty: bool
    ) -> None:
        self._uses = uses
        self._part = part
        self._recipient = recipient
        self._download_id = download_id
        self._is_empty = is_empty
        self._sent = 0
        self._reported = time.monotonic()
        self._closed = False

    @property
    def is_limited(self) -> bool:
        """Whether :meth:`confirm` must be called before the last byte."""
        return self._download_id is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time to :meth:`report`."""
        return time.monotonic() - self._reported >= REPORT_SECONDS

    def report(self) -> None:
        """Note how much was sent. Raises kind ``gone`` if the link was revoked: then the connection must be
        cut."""
        self._reported = time.monotonic()
        self._uses.report(self._part, self._download_id, self._sent)

    def confirm(self) -> None:
        """Note that everything was sent, before the last byte is: a process that dies with it in its hands
        has sent it. Raises as :meth:`report` does."""
        self._reported = time.monotonic()
        self._uses.report(self._part, self._download_id, self._part.end - self._part.start)

    def advance(self, count: int) -> None:
        """These many more bytes were handed to the network."""
        self._sent += count

    def close(self, *, complete: bool = False) -> None:
        """Count what was sent. ``complete``: nothing is left to be sent. Idempotent; raises nothing."""
        if self._closed:
            return
        self._closed = True
        if complete and self._is_empty:
            self._sent = 1
        try:
            self._uses.finish(self._part, self._download_id, self._sent, self._recipient)
        except StowageError as error:
            # What was reported counts when the lease ends.
            log.error("A use of link %d could not be counted yet: %s", self._part.link_id, error.reason)

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, counted as they are taken. Closes itself; close the iterator if it is not used
        up."""
        complete = False
        try:
            for chunk in chunks:
                if self.is_limited and self._sent + len(chunk) >= self._part.end - self._part.start:
                    self.confirm()
                elif self.is_due:
                    self.report()
                yield chunk
                self.advance(len(chunk))
            complete = True
        finally:
            self.close(complete=complete)


def is_open(link: FileLink, now: float) -> bool:
    """Whether a link is neither revoked nor expired."""
    return link.revoked_at is None and link.expires_at > now


def gone(link: FileLink | None) -> StowageError:
    """The error for a link that is over."""
    if link is None or link.revoked_at is not None:
        reason = "This link was revoked."
    else:
        reason = "This link has expired."
    return StowageError(
        Kind.GONE, reason, operation="open link", remedy="Ask the person who sent it for a new one."
    )


def refuse_used_up(link: FileLink) -> None:
    """Raise kind ``gone`` if a link has no use left."""
    if link.max_uses is not None and link.uses >= link.max_uses:
        times = "once" if link.max_uses == 1 else f"{link.max_uses:,} times"
        raise StowageError(
            Kind.GONE,
            f"This link could be used {times}, and it was.",
            operation="open link",
            remedy="Ask the person who sent it for a new one.",
        )


def end_downloads(session: Session, link_id: int) -> None:
    """Cut off the downloads of a link, within ``REPORT_SECONDS``."""
    session.execute(delete(LinkDownload).where(LinkDownload.link_id == link_id))


def _refuse_too_many(session: Session, link: FileLink, part: _Part) -> None:
    planned, others = _coverage(link, part.content).add(part.start, part.end), 0
    for row in session.scalars(select(LinkDownload).where(LinkDownload.link_id == link.id)):
        if row.content == part.content:
            planned = planned.add(row.start, row.end)
        else:
            others += 1
    if link.uses + planned.copies(part.size) + others > (link.max_uses or 0):
        raise TooMany(
            "This link is being used right now, and it has no use left for another download.",
            operation="open link",
            remedy="Try again in a moment: if that download breaks, the use is free again.",
            retry_after=BUSY_RETRY_SECONDS,
        )


def _count_abandoned(session: Session, link: FileLink, now: float) -> None:
    """Count what downloads had sent whose process died."""
    dead = select(LinkDownload).where(
        LinkDownload.link_id == link.id, LinkDownload.seen_at < now - LEASE_SECONDS
    )
    for row in session.scalars(dead).all():
        if row.sent:
            size = int(row.content.partition(" ")[0])
            _count(link, row.content, row.start, row.start + row.sent, max(size, 1))
        session.delete(row)
    session.flush()


def _coverage(link: FileLink, content: str) -> Coverage:
    """What was sent of this content; what was sent of an earlier one cannot be completed any more."""
    return Coverage.from_stored(link.sent) if link.content == content else Coverage()


def _count(link: FileLink, content: str, start: int, end: int, size: int) -> None:
    coverage = _coverage(link, content).add(start, end)
    copies = coverage.copies(size)
    if copies:
        coverage = coverage.without(copies)
    elif coverage.total() >= BROKEN_COPIES * size:
        copies, coverage = 1, Coverage()
    link.uses += copies
    link.sent, link.content = coverage.stored(), content
