"""Options of the local driver, and which folders it may use."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.checks.folders import is_within, paths_overlap
from dashboard.storage.options import Option, OptionType, Preset

LOCAL_OPTIONS = (
    Option(
        name="root",
        label="Folder",
        type=OptionType.PATH,
        required=True,
        place=True,
        placeholder="/srv/files",
        hint="An absolute path on the machine Stowage runs on. Everything below it is this backend.",
    ),
    Option(
        name="mounted",
        label="Only while a share is mounted there",
        type=OptionType.BOOLEAN,
        advanced=True,
        default="false",
        hint="Nothing is read or written while the folder lies on the system's own disk, as it does when the "
        "share is not mounted.",
    ),
    Option(
        name="public_url",
        label="Public address",
        advanced=True,
        placeholder="https://example.com/media/",
        hint="Where a web server shows this folder, if one does. Links to files begin with it.",
    ),
)

_NOT_FOR_FILES = ("/dev", "/proc", "/sys")


def check_local(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Normalize local options. Raises ``InvalidInput``. ``forbidden_roots`` are files and folders of the
    console itself: a root may be neither one of them, nor inside, nor above one."""
    return {
        **values,
        "root": _root(values["root"], forbidden_roots),
        "public_url": _public_url(values["public_url"]),
    }


def _public_url(text: str) -> str:
    """Return an http(s) URL or an absolute path on the same site, with a slash at its end; or empty."""
    if not text:
        return ""
    field = "public_url"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidInput(field, "The public address is not a URL.") from None
    if "?" in text or "#" in text or " " in text or "\\" in text or parts.username is not None:
        raise InvalidInput(field, "The public address must be a plain address that ends after the path.")
    on_this_site = not parts.scheme and not parts.netloc and text.startswith("/")
    if not on_this_site and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise InvalidInput(
            field,
            "The public address must begin with https://, http:// or “/”.",
            remedy="Write it as a browser would open it, such as https://example.com/media/.",
        )
    return text.rstrip("/") + "/"


def _root(text: str, forbidden_roots: Sequence[str]) -> str:
    field = "root"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "The folder's name is not valid text.") from None
    if any(ord(c) < 32 for c in text):
        raise InvalidInput(field, "The folder's name holds control characters.")
    if not text.startswith("/"):
        raise InvalidInput(
            field, f"“{text}” is not an absolute path.", remedy="Write the whole path, beginning with “/”."
        )
    if ".." in text.split("/"):
        raise InvalidInput(field, "The path holds “..”.", remedy="Write the path without it.")
    root = "/" + os.path.normpath(text).lstrip("/")
    try:
        real = os.path.realpath(root)
    except OSError as error:
        # Python 3.11 lets go of what /proc refuses to tell.
        raise InvalidInput(field, f"“{root}” cannot be read: {error.strerror}.") from None
    if real == "/":
        raise InvalidInput(
            field,
            "The whole file system cannot be a backend.",
            remedy="Choose a folder made for these files.",
        )
    for system in _NOT_FOR_FILES:
        if is_within(real, system):
            raise InvalidInput(
                field, f"“{system}” belongs to the operating system and holds no files to keep."
            )
    for forbidden in forbidden_roots:
        other = os.path.realpath(forbidden)
        if paths_overlap(real, other):
            raise InvalidInput(
                field,
                f"“{root}” holds Stowage's own database or key.",
                remedy="Choose a folder that does not contain them.",
            )
    _refuse_a_file(field, root)
    return root


def _refuse_a_file(field: str, root: str) -> None:
    """Refuse a file. A missing folder may be created later; a file in its place never works."""
    try:
        mode = os.stat(root).st_mode
    except OSError:
        return
    if not stat.S_ISDIR(mode):
        raise InvalidInput(field, f"“{root}” is not a folder.")
