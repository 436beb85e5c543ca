"""Listings, page by page: exact keys, in memory that does not grow.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from dashboard.storage.drivers._s3_errors import Failure, Scene, translate
from dashboard.storage.drivers._s3_http import SignedClient, parse, unquoted
from dashboard.storage.types import Entry

PAGE = 1000
_TOKEN = "continuation-token"
# Without references such as &amp;, which only a parser resolves.
_NEXT = re.compile(rb"<NextContinuationToken>([\x21-\x25\x27-\x3b\x3d\x3f-\x7e]+)</")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload in parts that nobody has completed."""

    key: str
    upload_id: str
    initiated: float


@dataclass(frozen=True, slots=True)
class _Page:
    entries: list[Entry]
    token: str


def entries(
    client: SignedClient, scene: Scene, prefix: str, *, start_after: str = "", page: int = PAGE
) -> Iterator[Entry]:
    """Every object under a plain string prefix; keys are full keys in the bucket.

    The next page is on its way while this one is read and the caller works on it.
    """
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page), "prefix": prefix}
    if start_after:
        query["start-after"] = start_after
    with ThreadPoolExecutor(1, thread_name_prefix="s3-list") as ahead:
        body = client.send("GET", scene, query=query).body
        while True:
            guess = _next_of(body)
            if guess:
                coming = _asked(ahead, client, scene, _after(query, guess))
            found = _read(body, scene)
            yield from found.entries
            if not found.token:
                return
            if found.token == query.get(_TOKEN):
                raise unreadable(scene)
            query = _after(query, found.token)
            if found.token != guess:
                coming = _asked(ahead, client, scene, query)
            body = coming.result()


def unfinished(client: SignedClient, scene: Scene, prefix: str) -> Iterator[Unfinished]:
    """Every upload in parts under a prefix that was begun and neither completed nor dropped.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html"""
    query = {"uploads": "", "encoding-type": "url", "max-uploads": str(PAGE), "prefix": prefix}
    while True:
        root = parsed(client.send("GET", scene, query=query).body, scene)
        decode = decoder(root)
        for each in root.iterfind("Upload"):
            yield Unfinished(
                decode(each.findtext("Key") or ""),
                each.findtext("UploadId") or "",
                seconds(each.findtext("Initiated")) or 0.0,
            )
        key_marker = decode(root.findtext("NextKeyMarker") or "")
        if root.findtext("IsTruncated") != "true" or not key_marker:
            return
        marks = {"key-marker": key_marker, "upload-id-marker": root.findtext("NextUploadIdMarker") or ""}
        if marks.items() <= query.items():
            raise unreadable(scene)
        query = {**query, **marks}


def _after(query: dict[str, str], token: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != "start-after"} | {_TOKEN: token}


def _asked(ahead: Executor, client: SignedClient, scene: Scene, query: dict[str, str]) -> Future[bytes]:
    """A page that is on its way on return."""
    begun = threading.Event()

    def fetch() -> bytes:
        begun.set()
        return client.send("GET", scene, query=query).body

    coming = ahead.submit(fetch)
    # Who went straight on to parse would hold the interpreter for milliseconds before the request is out.
    begun.wait()
    return coming


def _next_of(body: bytes) -> str:
    """What seems to be the next page's token: enough to ask for that page before this one is read."""
    found = _NEXT.search(body)
    return found[1].decode() if found and b"<IsTruncated>true</IsTruncated>" in body else ""


def _read(body: bytes, scene: Scene) -> _Page:
    root = parsed(body, scene)
    decode = decoder(root)
    found = []
    for each in root.iterfind("Contents"):
        # One pass over the children is three times as fast as a findtext for each.
        fields = {child.tag: child.text or "" for child in each}
        try:
            size = int(fields["Size"])
        except (KeyError, ValueError) as error:
            raise unreadable(scene) from error
        modified = seconds(fields.get("LastModified"))
        found.append(Entry(decode(fields.get("Key", "")), size, modified, unquoted(fields.get("ETag"))))
    more = root.findtext("IsTruncated") == "true"
    return _Page(found, (root.findtext("NextContinuationToken") or "") if more else "")


def parsed(body: bytes, scene: Scene) -> ElementTree.Element:
    """The root of an answer. Raises ``StorageError`` for what is no S3 answer."""
    try:
        return parse(body)
    except ElementTree.ParseError as error:
        raise unreadable(scene) from error


def unreadable(scene: Scene) -> Exception:
    """The error for an answer that makes no sense."""
    return translate(Failure(trouble="unreadable"), scene)


def decoder(root: ElementTree.Element) -> Callable[[str], str]:
    """How keys are written in this answer."""
    # Servers that ignore encoding-type send keys as they are, percent signs included.
    return unquote_plus if root.findtext("EncodingType") == "url" else str


def seconds(text: str | None) -> float | None:
    """An ISO 8601 time as seconds since the epoch, None where there is none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
