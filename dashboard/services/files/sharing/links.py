"""Links: addresses that open one file for people without an account, for a while.

A link is 128 random bits, of which only the SHA-256 is stored. It gives no more than its creator has: the
account, its permission and the file's backend are checked again whenever it is opened.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.models.catalogue import files
from dashboard.models.console import User
from dashboard.models.sharing import FileLink
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.queries import get_row
from dashboard.services.database import Database, clamp_integer
from dashboard.services.files.sharing.link_rules import (
    account_id,
    check_creator,
    check_limits,
    check_recipient,
    check_user,
    parse_network,
)
from dashboard.services.files.sharing.link_uses import (
    LinkUses,
    Recipient,
    end_downloads,
    gone,
    is_open,
    refuse_used_up,
)
from dashboard.services.people import throttle
from dashboard.services.permissions import Actor, Permission

MAX_LINKS = 1_000
"""Links of one person that are open at the same time."""
KEEP_SECONDS = 90 * 86_400.0
"""For which links that are over stay in the list."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


class LinkState(StrEnum):
    """Whether a link can be used."""

    OPEN = "open"
    EXPIRED = "expired"
    USED_UP = "used up"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link as shown. Times in seconds since the epoch; ``backend`` is empty if it was removed;
    ``max_uses`` None: any number. The token is not known any more."""

    id: int
    backend: str
    key: str
    created_by: str
    created_at: float
    expires_at: float
    max_uses: int | None
    uses: int
    user: str
    network: str
    last_used_at: float | None
    last_address: str
    revoked_at: float | None

    @property
    def state(self) -> LinkState:
        """What it is now."""
        if self.revoked_at is not None:
            return LinkState.REVOKED
        if self.max_uses is not None and self.uses >= self.max_uses:
            return LinkState.USED_UP
        return LinkState.OPEN if self.expires_at > time.time() else LinkState.EXPIRED

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was just created. ``path`` is the part of its URL after the host, and its secret: shown
    once, stored nowhere."""

    info: LinkInfo
    path: str


@dataclass(frozen=True, slots=True)
class SharedFile:
    """What a link opens, once everything was checked. ``is_limited``: whether its uses are counted down;
    ``is_personal``: whether only one user may open it."""

    link_id: int
    backend: str
    key: str
    is_limited: bool
    is_personal: bool


class Links:
    """Creates, lists, revokes and opens links. Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self.uses = LinkUses(database, audit)

    def create(
        self,
        actor: Actor,
        backend: str,
        key: str,
        *,
        seconds: int,
        uses: int | None = None,
        user: str = "",
        network: str = "",
    ) -> NewLink:
        """Create a link to a file that exists. ``uses``: complete downloads after which it is over.
        ``user``: the only username that may use it; ``network``: the only address, or network as
        ``192.0.2.0/24``.

        Raises ``InvalidInput`` naming the field, ``NotFound``, ``FORBIDDEN``, and kind ``conflict`` for
        somebody with too many open links.
        """
        actor.require(Permission.READ_FILES)
        check_limits(seconds, uses)
        user, network = user.strip().lower(), parse_network(network)
        driver = self._backends.driver(backend)
        driver.check_key(key)
        found = driver.stat(key)
        token = secrets.token_urlsafe(16)
        now = time.time()
        with self._database.write() as session:
            row = get_row(session, backend)
            user_id = account_id(session, actor)
            check_user(session, actor, user)
            _refuse_too_many(session, user_id, now)
            file_id, sha256 = self._file(row.id, key)
            link = FileLink(
                token_hash=_digest(token),
                backend_id=row.id,
                key=key,
                file_id=file_id,
                etag=found.etag or "",
                sha256=sha256,
                created_by=actor.name[:64],
                user_id=user_id,
                created_at=now,
                expires_at=now + seconds,
                max_uses=uses,
                username=user,
                network=network,
            )
            session.add(link)
            session.flush()
            limits = {"seconds": seconds, "uses": uses, "user": user, "network": network}
            detail = {name: str(value) for name, value in limits.items() if value}
            self._audit.record(
                session, actor, "link.create", f"link {link.id}", backend=backend, key=key, **detail
            )
            return NewLink(_info(link, backend), f"/d/{token}")

    def list(
        self, actor: Actor, *, before_id: int | None = None, limit: int = 50, only_open: bool = False
    ) -> tuple[LinkInfo, ...]:
        """The newest links of the actor, of everybody for an administrator, or those older than
        ``before_id``."""
        actor.require(Permission.READ_FILES)
        query = select(FileLink, Backend.name).outerjoin(Backend, Backend.id == FileLink.backend_id)
        query = query.order_by(FileLink.id.desc()).limit(max(1, min(limit, 500)))
        if before_id is not None:
            query = query.where(FileLink.id < clamp_integer(before_id))
        if only_open:
            query = query.where(_still_open(time.time()))
        with self._database.read() as session:
            rows = session.execute(query.where(_visible_to(session, actor)))
            return tuple(_info(link, name or "") for link, name in rows)

    def get(self, actor: Actor, link_id: int) -> LinkInfo:
        """One link that the actor may see. Raises ``NOT_FOUND``."""
        actor.require(Permission.READ_FILES)
        with self._database.read() as session:
            link = _get(session, actor, link_id)
            return _info(link, _backend_name(session, link.backend_id))

    def revoke(self, actor: Actor, link_id: int) -> LinkInfo:
        """End a link; downloads that are under way are cut off within seconds. Idempotent. Raises
        ``NOT_FOUND`` for a link that the actor may not see."""
        actor.require(Permission.READ_FILES)
        with self._database.write() as session:
            link = _get(session, actor, link_id)
            if link.revoked_at is None:
                link.revoked_at = time.time()
                end_downloads(session, link.id)
                self._audit.record(session, actor, "link.revoke", f"link {link.id}", key=link.key)
            return _info(link, _backend_name(session, link.backend_id))

    def open(self, token: str, recipient: Recipient) -> SharedFile:
        """Check everything about a link, now. Nothing is counted: see ``uses``.

        Raises kind ``not_found`` for an unknown link, ``gone`` for one that is revoked, expired or used up,
        ``forbidden`` for somebody else, another network, or a creator who may no longer share the file;
        ``throttled`` after too many unknown links; :class:`SignInRequired`.
        """
        with self._database.read() as session:
            throttle.refuse_link_guesses(session, recipient.address)
            link = session.scalar(select(FileLink).where(FileLink.token_hash == _digest(token)))
            if link is not None and _TOKEN.fullmatch(token):
                return self._open(session, link, recipient)
        with self._database.write() as session:
            throttle.count_link_guess(session, recipient.address)
        raise StowageError(
            Kind.NOT_FOUND,
            "There is no such link.",
            operation="open link",
            remedy="Check that its address is complete, or ask for a new one.",
        )

    def _open(self, session: Session, link: FileLink, recipient: Recipient) -> SharedFile:
        if not is_open(link, time.time()):
            raise gone(link)
        refuse_used_up(link)
        check_creator(session, link)
        check_recipient(link, recipient)
        backend_id, key = self._place(link)
        name = _backend_name(session, backend_id)
        if not name:
            raise StowageError(
                Kind.GONE,
                "The place where this file was stored is no longer connected.",
                operation="open link",
                remedy="Ask the person who sent the link.",
            )
        return SharedFile(link.id, name, key, link.max_uses is not None, bool(link.username))

    def _place(self, link: FileLink) -> tuple[int | None, str]:
        """Where the file is now: it may have been moved or renamed since."""
        if link.file_id is not None:
            with self._database.work_read() as connection:
                query = select(files.c.backend_id, files.c.key).where(files.c.id == link.file_id)
                if found := connection.execute(query).one_or_none():
                    return found.backend_id, found.key
        return link.backend_id, link.key

    def _file(self, backend_id: int, key: str) -> tuple[int | None, str]:
        with self._database.work_read() as connection:
            query = select(files.c.id, files.c.sha256).where(
                files.c.backend_id == backend_id, files.c.key == key
            )
            found = connection.execute(query).one_or_none()
            return (found.id, found.sha256) if found else (None, "")


def _refuse_too_many(session: Session, user_id: int | None, now: float) -> None:
    session.execute(delete(FileLink).where(_is_over(now - KEEP_SECONDS)))
    mine = select(func.count()).where(FileLink.user_id.is_not_distinct_from(user_id), _still_open(now))
    if (session.scalar(mine) or 0) >= MAX_LINKS:
        raise StowageError(
            Kind.CONFLICT,
            f"You have {MAX_LINKS:,} open links already.",
            operation="create link",
            remedy="Revoke some of them first.",
        )


def _still_open(now: float) -> ColumnElement[bool]:
    unused = or_(FileLink.max_uses.is_(None), FileLink.uses < FileLink.max_uses)
    return and_(FileLink.revoked_at.is_(None), FileLink.expires_at > now, unused)


def _is_over(since: float) -> ColumnElement[bool]:
    return or_(FileLink.revoked_at < since, FileLink.expires_at < since)


def _visible_to(session: Session, actor: Actor) -> ColumnElement[bool]:
    if actor.may(Permission.USERS):
        return FileLink.id > 0
    mine = session.scalar(select(User.id).where(User.username == actor.name))
    return FileLink.user_id == (mine or 0)


def _get(session: Session, actor: Actor, link_id: int) -> FileLink:
    link = session.scalar(select(FileLink).where(FileLink.id == link_id, _visible_to(session, actor)))
    if link is None:
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no link {link_id}.",
            operation="link",
            remedy="The list of links shows them all.",
        )
    return link


def _backend_name(session: Session, backend_id: int | None) -> str:
    if backend_id is None:
        return ""
    return session.scalar(select(Backend.name).where(Backend.id == backend_id)) or ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _info(link: FileLink, backend: str) -> LinkInfo:
    return LinkInfo(
        id=link.id,
        backend=backend,
        key=link.key,
        created_by=link.created_by,
        created_at=link.created_at,
        expires_at=link.expires_at,
        max_uses=link.max_uses,
        uses=link.uses,
        user=link.username,
        network=link.network,
        last_used_at=link.last_used_at,
        last_address=link.last_address,
        revoked_at=link.revoked_at,
    )
