"""Translates sizes, receipts and version tokens of stored bytes into those of the original content.

For wrappers that change the stored bytes. The ETag of stored bytes often looks like an MD5 and could be
mistaken for the content's. So tokens from such a wrapper get a prefix, which is removed from tokens passed
in.
"""

from __future__ import annotations

from dataclasses import replace

from dashboard.storage.driver import ProvesByParts, Writing
from dashboard.storage.types import Entry, ObjectInfo, Written


def mark_token(token: str | None, mark: str) -> str | None:
    """Prefix a token of the stored bytes, so that it is not compared with one of the content."""
    return None if token is None else mark + token


def unmark_token(token: str | None, mark: str) -> str | None:
    """Return the wrapped driver's token."""
    return None if token is None else token.removeprefix(mark)


def content_info(info: ObjectInfo, size: int, mark: str) -> ObjectInfo:
    """Return the info of the content, of ``size`` bytes, from that of the stored object."""
    return replace(
        info, size=size, etag=mark_token(info.etag, mark), version=mark_token(info.version, mark), md5=None
    )


def content_entry(entry: Entry, size: int, mark: str) -> Entry:
    """Like :func:`content_info`, for a listing."""
    return entry._replace(size=size, etag=mark_token(entry.etag, mark))


def content_receipt(written: Written, size: int, md5: str, mark: str) -> Written:
    """Return the receipt of the content from that of the stored bytes.

    If the backend proved that it stores those bytes, which this process made from this content, the content
    is proven too, and both checksums are its MD5. A failed proof remains failed.
    """
    expected, stored = (md5, md5) if written.proven else (written.expected_checksum, written.stored_checksum)
    return Written(written.key, size, md5, mark_token(written.etag, mark), expected, stored)


def without_md5(writing: Writing) -> None:
    """Skip the MD5 of the stored bytes, because it is never compared."""
    if isinstance(writing, ProvesByParts):
        writing.without_md5()
