"""Listings, read page by page in constant memory.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from dashboard.storage.drivers.s3.client import ATTEMPTS, S3Client, strip_quotes
from dashboard.storage.drivers.s3.errors import ERRORS, ErrorContext
from dashboard.storage.errors import Damaged
from dashboard.storage.inspection.folder_listing import bucket_page
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.net.parsing import (
    MalformedResponse,
    PaginationGuard,
    WrongProtocol,
    parse_entry,
    parse_xml,
)
from dashboard.storage.net.retries import retry_parsing
from dashboard.storage.object_powers import SentPart
from dashboard.storage.types import Entry

T = TypeVar("T")
PAGE_SIZE = 1000
MAX_PART_NUMBER = 10_000
_TOKEN = "continuation-token"
_MARKS = frozenset({_TOKEN, "key-marker"})
# Without references such as &amp;, which only a parser resolves.
_NEXT = re.compile(rb"<NextContinuationToken>([\x21-\x25\x27-\x3b\x3d\x3f-\x7e]+)</")


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An incomplete multipart upload. ``initiated``: seconds since 1970."""

    key: str
    upload_id: str
    initiated: float


@dataclass(frozen=True, slots=True)
class _Page:
    entries: list[Entry]
    token: str
    folders: list[str]
    """Only with a delimiter."""


def entries(
    client: S3Client, context: ErrorContext, prefix: str, *, start_after: str = "", page: int = PAGE_SIZE
) -> Iterator[Entry]:
    """Yield every object whose key begins with a prefix; keys are full keys in the bucket.

    Fetches the next page while the caller works on this one. Retries a malformed page; raises
    ``StorageError`` unless the server says explicitly that the listing is complete.
    """
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page), "prefix": prefix}
    if start_after:
        query["start-after"] = start_after
    pages = PaginationGuard()
    with ThreadPoolExecutor(1, thread_name_prefix="s3-list") as executor:
        body = _result_or_none(lambda: client.send("GET", context, query=query).body)
        while True:
            guess = _peek_token(body or b"")
            if guess:
                next_page = _prefetch(executor, client, context, _next_query(query, guess))
            found = fetch_page(client, context, query, _parse_page, body)
            with translate_listing_errors(context):
                pages.check_page([entry.key for entry in found.entries], found.token)
            # rclone ignores a leading slash of the prefix, and lists everything.
            yield from (entry for entry in found.entries if entry.key.startswith(prefix))
            if not found.token:
                return
            query = _next_query(query, found.token)
            if found.token != guess:
                next_page = _prefetch(executor, client, context, query)
            body = _result_or_none(next_page.result)


def list_folder(client: S3Client, base: str, prefix: str, *, cursor: str, limit: int) -> FolderListing:
    """Return a page of a folder; see ``ListsFolders``. ``base`` is a prefix of all keys that is not shown.

    The cursor is the server's own: not all list in key order. Asks for further pages only while there is
    nothing to return, as some servers send empty ones.
    """
    full, context = base + prefix, client.context("list")
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(min(limit, PAGE_SIZE))}
    query |= {"prefix": full, "delimiter": "/"} | ({_TOKEN: cursor} if cursor else {})
    pages = PaginationGuard()
    while True:
        found = fetch_page(client, context, query, _parse_page)
        with translate_listing_errors(context):
            pages.check_page([], found.token)
        # rclone ignores a leading slash of the prefix, and lists everything.
        entries = [entry for entry in found.entries if entry.key.startswith(full)]
        folders = [folder for folder in found.folders if folder.startswith(full)]
        if entries or folders or not found.token:
            return bucket_page(base, entries, folders, found.token)
        query = _next_query(query, found.token)


def incomplete_uploads(client: S3Client, context: ErrorContext, prefix: str) -> Iterator[MultipartUpload]:
    """Yield every incomplete multipart upload under a prefix.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html"""
    query = {"uploads": "", "encoding-type": "url", "max-uploads": str(PAGE_SIZE), "prefix": prefix}
    pages = PaginationGuard()
    while True:
        found, key, upload = fetch_page(client, context, query, _parse_uploads)
        with translate_listing_errors(context):
            pages.check_page(
                [each.key for each in found],
                f"{key}\0{upload}" if key else "",
                first="\0".join((found[0].key, found[0].upload_id)) if found else "",
            )
        yield from found
        if not key:
            return
        query = {**query, "key-marker": key, "upload-id-marker": upload}


def uploaded_parts(client: S3Client, context: ErrorContext, key: str, upload_id: str) -> Iterator[SentPart]:
    """Yield the parts of an incomplete multipart upload in ascending order.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html"""
    query = {"uploadId": upload_id, "max-parts": str(PAGE_SIZE)}
    after = 0
    while True:
        parts, marker = fetch_page(client, context, query, _parse_parts, key=key)
        with translate_listing_errors(context):
            numbers = [after, *(part.number for part in parts)]
            # A server that ignores the marker would send the same page for ever.
            if numbers != sorted(numbers) or (parts and parts[0].number == after):
                raise MalformedResponse("the parts are not in ascending order")
        yield from parts
        if not marker:
            return
        after = numbers[-1]
        query = {**query, "part-number-marker": marker}


def _parse_parts(body: bytes) -> tuple[list[SentPart], str]:
    """Parse a page into parts and the marker of the next page, empty on the last one."""
    # moto calls it a response.
    root, more = _parse_root(body, "ListPartsResult", "ListPartsResponse")
    found = []
    for each in root.iterfind("Part"):
        number, size = each.findtext("PartNumber") or "", each.findtext("Size") or ""
        if not (number.isascii() and number.isdigit() and size.isascii() and size.isdigit()):
            raise MalformedResponse("a part has no number or no size")
        if not 1 <= int(number) <= MAX_PART_NUMBER:
            raise MalformedResponse("a part has a number that none can have")
        found.append(SentPart(int(number), int(size), strip_quotes(each.findtext("ETag")) or ""))
    marker = (root.findtext("NextPartNumberMarker") or "") if more else ""
    require_marker(more, marker)
    if marker and not found:
        raise MalformedResponse("more parts follow, but the page has none")
    return found, marker


def _parse_uploads(body: bytes) -> tuple[list[MultipartUpload], str, str]:
    """Parse a page into uploads and the markers of the next page, empty on the last one."""
    root, more = _parse_root(body, "ListMultipartUploadsResult")
    decode = key_decoder(root)
    found = [
        MultipartUpload(
            decode(each.findtext("Key") or ""),
            each.findtext("UploadId") or "",
            parse_time(each.findtext("Initiated")) or 0.0,
        )
        for each in root.iterfind("Upload")
    ]
    key = decode(root.findtext("NextKeyMarker") or "") if more else ""
    require_marker(more, key)
    return found, key, root.findtext("NextUploadIdMarker") or ""


def fetch_page(
    client: S3Client,
    context: ErrorContext,
    query: Mapping[str, str],
    read: Callable[[bytes], T],
    body: bytes | None = None,
    *,
    key: str = "",
) -> T:
    """Fetch a page of a listing, unless its ``body`` is given, and parse it with ``read``, which raises
    ``MalformedResponse`` if it is malformed. Such a page is fetched again, up to ``ATTEMPTS`` times. ``key``:
    for a listing of something of one object."""

    def fetch() -> bytes:
        return client.send("GET", context, key=key, query=query).body

    with translate_listing_errors(context):
        try:
            return retry_parsing(fetch, read, ATTEMPTS, body)
        except WrongProtocol as error:
            if query.keys() & _MARKS:
                raise
            raise ERRORS.transport_error("unreadable", context) from error


@contextmanager
def translate_listing_errors(context: ErrorContext) -> Iterator[None]:
    """Translate errors in a page into the error of an incomplete listing."""
    try:
        yield
    except MalformedResponse as error:
        raise ERRORS.incomplete_listing_error(context, error) from error


def _next_query(query: dict[str, str], token: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != "start-after"} | {_TOKEN: token}


def _prefetch(
    executor: Executor, client: S3Client, context: ErrorContext, query: dict[str, str]
) -> Future[bytes]:
    """Start to fetch a page in another thread."""
    started = threading.Event()

    def fetch() -> bytes:
        started.set()
        return client.send("GET", context, query=query).body

    next_page = executor.submit(fetch)
    # Otherwise the caller's parsing would hold the interpreter lock and delay the request by milliseconds.
    started.wait()
    return next_page


def _result_or_none(page: Callable[[], bytes]) -> bytes | None:
    """Return the page, or None if the connection failed before its end."""
    try:
        return page()
    except Damaged:
        return None


def _peek_token(body: bytes) -> str:
    """Find the likely token of the next page without parsing, so that it can be fetched early."""
    found = _NEXT.search(body)
    return found[1].decode() if found and b"<IsTruncated>true</IsTruncated>" in body else ""


def _parse_page(body: bytes) -> _Page:
    root, more = _parse_root(body, "ListBucketResult")
    decode = key_decoder(root)
    found = []
    for each in root.iterfind("Contents"):
        # One pass over the children is three times as fast as a ``findtext`` for each field.
        fields = {child.tag: child.text or "" for child in each}
        key, modified = decode(fields.get("Key", "")), parse_time(fields.get("LastModified"))
        found.append(parse_entry(key, fields.get("Size"), modified, strip_quotes(fields.get("ETag"))))
    token = (root.findtext("NextContinuationToken") or "") if more else ""
    require_marker(more, token)
    folders = [decode(each.findtext("Prefix") or "") for each in root.iterfind("CommonPrefixes")]
    return _Page(found, token, folders)


def _parse_root(body: bytes, *tags: str) -> tuple[ElementTree.Element, bool]:
    """Return the root of a page, and whether more pages follow. Raises ``MalformedResponse``."""
    root = parse_xml(body)
    if root.tag not in tags:
        raise WrongProtocol("the response is not a listing")
    return root, is_truncated(root)


def is_truncated(root: ElementTree.Element) -> bool:
    """Whether more pages follow. Raises ``MalformedResponse`` unless the page says ``true`` or ``false``."""
    text = (root.findtext("IsTruncated") or "").strip()
    if text not in ("true", "false"):
        raise MalformedResponse("a page does not say whether more follows")
    return text == "true"


def require_marker(more: bool, marker: str) -> None:
    """Raise ``MalformedResponse`` if more pages follow, but the marker of the next one is missing."""
    if more and not marker:
        raise MalformedResponse("more pages follow, but the marker of the next one is missing")


def key_decoder(root: ElementTree.Element) -> Callable[[str], str]:
    """Return the function that decodes the keys of this page."""
    # Servers that ignore encoding-type do not encode keys, so percent signs stand for themselves.
    return unquote_plus if root.findtext("EncodingType") == "url" else str


def parse_time(text: str | None) -> float | None:
    """Parse an ISO 8601 time into seconds since 1970. Returns None if it is not one."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
