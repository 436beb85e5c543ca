"""Names that people and programs give their uploads, made into keys that every backend can keep."""

from __future__ import annotations

import posixpath
import re
import secrets
import time
import unicodedata

from dashboard.errors import InvalidInput

MAX_NAME_BYTES = 200
"""Of the 255 that file systems allow: what makes a name unique is added to it."""
MAX_FOLDER_BYTES = 700
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*]')


def clean_name(text: str) -> str:
    """Return the last part of a client's file name, without what file systems or pages could misunderstand:
    control characters, characters that change the direction of text, Windows' own names. Never empty."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", text)[-1])
    name = _FORBIDDEN.sub("_", _UNPRINTABLE.sub("", name)).strip(" ").rstrip(".")
    name = name.lstrip(".") if name.strip(".") else ""
    if not name:
        return "file"
    if _RESERVED.match(name):
        name = f"_{name}"
    stem, ending = split_ending(name)
    return _shorten(stem, MAX_NAME_BYTES - len(ending.encode())) + ending


def clean_folder(text: str) -> str:
    """Return the path of a folder without slashes at its ends; empty for the top. Raises ``InvalidInput``."""
    parts = [part for part in unicodedata.normalize("NFC", text).split("/") if part]
    folder = "/".join(parts)
    bad = any(part in (".", "..") or part != part.strip() for part in parts)
    if bad or "\\" in folder or _UNPRINTABLE.search(folder) or len(folder.encode()) > MAX_FOLDER_BYTES:
        raise InvalidInput(
            "folder",
            "This folder cannot be used.",
            remedy="Use names separated by slashes, without “.”, “..” and backslashes, of at most "
            f"{MAX_FOLDER_BYTES} bytes.",
        )
    return folder


def join_key(folder: str, name: str, *, dated: float | None = None) -> str:
    """Return the key of a name in a folder; ``dated``: in the subfolder of this time's day (UTC)."""
    day = time.strftime("%Y/%m/%d", time.gmtime(dated)) if dated is not None else ""
    return posixpath.join(folder, day, name)


def unique_name(name: str) -> str:
    """Return the name with 64 random bits before its ending, which nobody else has."""
    stem, ending = split_ending(name)
    return f"{stem}-{secrets.token_hex(8)}{ending}"


def numbered(key: str, number: int) -> str:
    """Return ``photo (2).jpg`` for ``photo.jpg``."""
    folder, name = posixpath.split(key)
    stem, ending = split_ending(name)
    return posixpath.join(folder, f"{stem} ({number}){ending}")


def split_ending(name: str) -> tuple[str, str]:
    """Return the name and its ending with the dot; of ``a.tar.gz`` that is ``.tar.gz``. An ending that is too
    long to be one belongs to the name."""
    stem, ending = posixpath.splitext(name)
    if stem.lower().endswith(".tar") and ending:
        stem, ending = stem[:-4], stem[-4:] + ending
    return (stem, ending) if stem and len(ending) <= 20 else (name, "")


def _shorten(text: str, most: int) -> str:
    return text.encode()[: max(1, most)].decode(errors="ignore")
