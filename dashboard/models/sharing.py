"""Tables of the main database about access to files: API tokens, links, upload policies, saved searches.

Times are seconds since the epoch. Of a token or a link only the SHA-256 is stored.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.backends import Backend
from dashboard.models.base import Model
from dashboard.models.console import User
from dashboard.models.work import KeyText


class ApiToken(Model):
    """A bearer token of a program. ``ending`` are its last four characters. ``scopes``: values of
    ``services.permissions.Permission``; it may never do more than its user."""

    __tablename__ = "api_tokens"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    ending: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    last_address: Mapped[str] = mapped_column(String(64), default="")
    revoked_at: Mapped[float | None]


class FileLink(Model):
    """A time-limited address of one file. ``max_uses`` null: any number. Only ``username`` and ``network``,
    if set, may use it. ``backend_id`` is null once the backend was removed; ``file_id``, a row of the
    catalogue, says where the file is after it was moved. ``user_id`` is the account that created the link,
    null for the command line. ``etag`` and ``sha256`` say which content was shared, if known.

    ``sent``: how often each part of the content was sent since the last counted use, as
    ``[start, end, times]``; ``content`` says which content that was.
    """

    __tablename__ = "file_links"
    __table_args__ = (
        Index("ix_file_links_user_id", "user_id", "expires_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    backend_id: Mapped[int | None] = mapped_column(ForeignKey(Backend.id, ondelete="SET NULL"), index=True)
    key: Mapped[str] = mapped_column(KeyText)
    file_id: Mapped[int | None]
    etag: Mapped[str] = mapped_column(default="")
    sha256: Mapped[str] = mapped_column(String(64), default="")
    created_by: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int | None]
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    max_uses: Mapped[int | None]
    uses: Mapped[int] = mapped_column(default=0)
    sent: Mapped[list[Any]] = mapped_column(JSON, default=list)
    content: Mapped[str] = mapped_column(default="")
    username: Mapped[str] = mapped_column(String(64), default="")
    network: Mapped[str] = mapped_column(String(64), default="")
    last_used_at: Mapped[float | None]
    last_address: Mapped[str] = mapped_column(String(64), default="")
    revoked_at: Mapped[float | None]


class LinkDownload(Model):
    """A download that is under way through a link whose uses are limited. ``start`` and ``end`` are the bytes
    that it may send, ``sent`` how many of them it has sent; ``seen_at``: when it last said so."""

    __tablename__ = "link_downloads"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("file_links.id", ondelete="CASCADE"), index=True)
    content: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    sent: Mapped[int] = mapped_column(default=0)
    seen_at: Mapped[float]


class ZipSelection(Model):
    """Files that somebody is about to download as one zip: ``files`` are keys, ``folders`` prefixes. Only the
    SHA-256 of its token is stored."""

    __tablename__ = "zip_selections"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    username: Mapped[str] = mapped_column(String(64))
    backend_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="CASCADE"), index=True)
    files: Mapped[list[str]] = mapped_column(JSON)
    folders: Mapped[list[str]] = mapped_column(JSON)
    expires_at: Mapped[float] = mapped_column(index=True)


class UploadPolicyRow(Model):
    """A named upload policy: the fields of ``media.policy.UploadPolicy``."""

    __tablename__ = "upload_policies"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_by: Mapped[str] = mapped_column(String(64))
    updated_at: Mapped[float]


class SavedSearch(Model):
    """Filters of the Files page that a person has saved."""

    __tablename__ = "saved_searches"
    __table_args__ = (UniqueConstraint("username", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(63))
    filters: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[float]
