"""Listings of Azure's, page by page, read without the SDK: it takes a page that breaks off for the last one.

https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from urllib.parse import unquote
from xml.etree import ElementTree

from dashboard.storage.net.answers import Foreign, Unreadable, entry_in, xml_root
from dashboard.storage.types import Entry


def page_in(body: bytes) -> tuple[list[tuple[Entry, bool]], str]:
    """What a page holds, each with whether it is a folder of an account that has some, and what names the
    next page. Raises ``Unreadable``."""
    root = xml_root(body.removeprefix(b"\xef\xbb\xbf"))
    blobs = root.find("Blobs")
    if root.tag != "EnumerationResults" or blobs is None:
        raise Foreign("the answer is no listing")
    markers = root.findall("NextMarker")
    if len(markers) != 1:
        raise Unreadable("a page does not say whether more follows")
    return [_row(each) for each in blobs.iterfind("Blob")], markers[0].text or ""


def _row(each: ElementTree.Element) -> tuple[Entry, bool]:
    fields = {child.tag: child for child in each}
    name = fields.get("Name")
    told = {child.tag: child.text or "" for child in fields.get("Properties", ())}
    text = "" if name is None else name.text or ""
    # What XML cannot hold comes percent-encoded, and says so.
    key = unquote(text) if name is not None and name.get("Encoded") == "true" else text
    try:
        modified = parsedate_to_datetime(told["Last-Modified"]).timestamp()
    except (KeyError, ValueError, TypeError) as error:
        raise Unreadable("a row makes no sense") from error
    entry = entry_in(key, told.get("Content-Length"), modified, told.get("Etag", "").strip('"'))
    metadata = fields.get("Metadata")
    folder = metadata is not None and metadata.findtext("hdi_isfolder") == "true"
    return entry, folder
