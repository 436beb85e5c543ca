"""For wrappers whose stored bytes are not the content: receipts and tokens, said of the content again.

An ETag of stored bytes often looks like an MD5, and would be taken for the content's. So every token such a
wrapper hands out carries a mark, which is taken off on the way in.
"""

from __future__ import annotations

from dataclasses import replace

from dashboard.storage.driver import ProvesByParts, Writing
from dashboard.storage.types import Entry, ObjectInfo, Written


def mark_token(token: str | None, mark: str) -> str | None:
    """A token of the stored bytes, so that nobody compares it with one of the content."""
    return None if token is None else mark + token


def unmark_token(token: str | None, mark: str) -> str | None:
    """The wrapped driver's own token."""
    return None if token is None else token.removeprefix(mark)


def content_info(info: ObjectInfo, size: int, mark: str) -> ObjectInfo:
    """The stored object's description, told of its content of ``size`` bytes."""
    return replace(
        info, size=size, etag=mark_token(info.etag, mark), version=mark_token(info.version, mark), md5=None
    )


def content_entry(entry: Entry, size: int, mark: str) -> Entry:
    """As :func:`content_info`, for a listing."""
    return entry._replace(size=size, etag=mark_token(entry.etag, mark))


def content_receipt(written: Written, size: int, md5: str, mark: str) -> Written:
    """The receipt of the stored bytes, told of the content they were made of.

    When the backend proved that it holds those bytes, and they were made of this content in this process,
    the content is proven too, and its MD5 is what both sides say. A proof that failed stays one.
    """
    expected, stored = (md5, md5) if written.proven else (written.expected_checksum, written.stored_checksum)
    return Written(written.key, size, md5, mark_token(written.etag, mark), expected, stored)


def without_md5(writing: Writing) -> None:
    """Spare the MD5 of the stored bytes, which nobody will compare with anything."""
    if isinstance(writing, ProvesByParts):
        writing.without_md5()
