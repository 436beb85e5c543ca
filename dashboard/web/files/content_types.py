"""Under which type, and how, user's bytes may reach a browser: never so that they run as ours."""

from __future__ import annotations

import re

from dashboard.storage.paths import guess_content_type
from dashboard.storage.types import Attributes

OCTETS = "application/octet-stream"
IMAGES = frozenset(
    f"image/{kind}"
    for kind in ("apng", "avif", "bmp", "gif", "heic", "heif", "jpeg", "png", "tiff", "webp", "x-icon")
)
_HARMLESS_TEXT = frozenset(
    f"text/{kind}"
    for kind in ("calendar", "csv", "markdown", "plain", "tab-separated-values", "vcard", "vtt")
)
_HARMLESS = frozenset(
    {
        "application/epub+zip",
        "application/gzip",
        "application/json",
        "application/msword",
        "application/rtf",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-tar",
        "application/x-xz",
        "application/zip",
        "application/zstd",
    }
)
_TYPE = re.compile(
    r"([a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126})[ \t]*(?:;(.*))?\Z", re.DOTALL
)
_CHARSET = re.compile(r"[ \t]*charset[ \t]*=[ \t]*\"?([A-Za-z0-9_-]{1,40})\"?[ \t]*\Z", re.IGNORECASE)
_VIDEO = re.compile(r"(audio|video)/[a-z0-9.+-]+\Z")
_OFFICE = re.compile(r"application/vnd\.[a-z0-9.-]+\Z")
_FONT = re.compile(r"font/[a-z0-9-]+\Z")

POLICY = (
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
)
"""The Content-Security-Policy of every file: even if a browser renders one, it has an origin of its own and
runs nothing."""


def content_type(key: str, attributes: Attributes) -> tuple[str, bool]:
    """Return the Content-Type of a file, and whether a browser may show it inline.

    Types that a browser could run or apply as a page, script or style become ``application/octet-stream``: a
    page that is made to load one gets nothing that works.
    """
    stored = (attributes.content_type or "").strip().lower()
    match = _TYPE.match(stored)
    if match is None or match[1] == OCTETS:
        guessed = guess_content_type(key)
        match = _TYPE.match(guessed) if guessed else None
    if match is None:
        return OCTETS, False
    kind = match[1]
    if kind in IMAGES or kind == "application/pdf" or (_VIDEO.match(kind) and "+xml" not in kind):
        return kind, True
    if kind in _HARMLESS_TEXT:
        charset = _CHARSET.match(match[2] or "")
        return f"{kind}; charset={charset[1]}" if charset else kind, False
    if kind in _HARMLESS or _OFFICE.match(kind) or _FONT.match(kind):
        return kind, False
    return OCTETS, False


def file_name(key: str) -> str:
    """The last part of a key, under which a file is saved."""
    return key.rstrip("/").rpartition("/")[2]
