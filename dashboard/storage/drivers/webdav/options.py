"""The options of the WebDAV driver, checked without a network call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import TLS_OPTIONS, certificates, folder, server_url
from dashboard.storage.options import Option, OptionType, Preset, SecretForm

WEBDAV_OPTIONS = (
    Option(
        "endpoint",
        "WebDAV address",
        OptionType.URL,
        required=True,
        placeholder="https://dav.example.com/files/",
        guards_secret=True,
        hint="The complete address with its path, as you would enter it in a file manager.",
    ),
    Option("username", "User name", required=True),
    Option("password", "Password", OptionType.SECRET, required=True, form=SecretForm.PASSWORD),
    Option(
        "prefix",
        "Folder",
        place=True,
        placeholder="media/",
        hint="Below the address; blank for everything there. Stowage then sees and writes only this folder.",
    ),
    *TLS_OPTIONS,
)


def check_webdav(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Normalise WebDAV options. Raises ``InvalidInput`` naming the option."""
    checked = dict(values)
    checked["endpoint"] = _address(values["endpoint"])
    if ":" in values["username"]:
        # RFC 7617, section 2: the colon ends the name.
        raise InvalidInput("username", "A user name for WebDAV cannot contain “:”.")
    checked["prefix"] = folder(values["prefix"])
    checked["ca_certificate"] = certificates(values["ca_certificate"])
    return checked


def _address(text: str) -> str:
    """Return server and path without a trailing slash, every part of the path percent-encoded once."""
    field = "endpoint"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidInput(
            field, "The address is not a URL.", remedy="Write https://host/path or http://host:port/path."
        ) from None
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise InvalidInput(field, "The address must end after the path.", remedy="Remove “?” or “#”.")
    server = server_url(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
    try:
        segments = [unquote(part, errors="strict") for part in parts.path.split("/") if part]
    except UnicodeDecodeError:
        raise InvalidInput(field, "The percent-encoding in the address is not valid text.") from None
    for segment in segments:
        if segment in (".", "..") or "/" in segment or any(ord(c) < 32 or ord(c) == 127 for c in segment):
            raise InvalidInput(field, "The path of the address contains “.”, “..” or control characters.")
    return "/".join([server, *(quote(segment, safe="~") for segment in segments)])
