"""Rules for keys, and the headers that carry attributes and user metadata."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header

from dashboard.storage.errors import InvalidKey
from dashboard.storage.types import Attributes

MAX_KEY_BYTES = 1024
"""Bytes of UTF-8. https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

HEADERS = {
    "content-type": "content_type",
    "cache-control": "cache_control",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
}


_CHANGED = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]")


def is_path_safe(key: str) -> bool:
    """Whether all servers and browsers keep this key as it is. Some change or refuse other keys."""
    return (
        bool(key)
        and key == key.strip()
        and key[0] != "/"
        and key[-1] != "/"
        and "//" not in key
        and {".", ".."}.isdisjoint(key.split("/"))
        and not _CHANGED.search(key)
    )


def normalize_key(key: str) -> str:
    """Return the key that a server which treats keys as paths would store, often the same one."""
    path = posixpath.normpath(key).strip("/")
    return path + "/" if key.endswith("/") else path


def check_key(key: str, full_key: str) -> None:
    """Raise ``InvalidKey`` for a key that S3 does not allow."""
    if not key:
        raise InvalidKey(key, "A key is at least one character long.")
    try:
        length = len(full_key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(key, "The key is not valid text, and S3 keys are UTF-8.") from error
    if length > MAX_KEY_BYTES:
        raise InvalidKey(key, f"The key is {length} bytes long; S3 allows {MAX_KEY_BYTES}.")


def to_headers(attributes: Attributes | None) -> dict[str, str]:
    """Return request headers. User metadata that is not ASCII is encoded by RFC 2047, as S3 itself does."""
    if attributes is None:
        return {}
    headers = {}
    for header, name in HEADERS.items():
        if value := getattr(attributes, name):
            headers[header] = _encode_value(value)
    for name, value in attributes.metadata.items():
        headers[f"x-amz-meta-{name.lower()}"] = _encode_value(value)
    return headers


def from_headers(headers: Mapping[str, str]) -> Attributes:
    """Parse what :func:`to_headers` wrote from response headers with lowercase names."""
    metadata = {
        name.removeprefix("x-amz-meta-"): decode_value(value)
        for name, value in headers.items()
        if name.startswith("x-amz-meta-")
    }
    known = {name: decode_value(headers[header]) for header, name in HEADERS.items() if header in headers}
    return Attributes(**known, metadata=metadata)


def _encode_value(value: str) -> str:
    return value if value.isascii() else Header(value, "utf-8", maxlinelen=100_000).encode()


def decode_value(value: str) -> str:
    """Decode a header's value from raw UTF-8 or RFC 2047."""
    # HTTP clients decode headers as Latin-1, but some servers send UTF-8.
    with suppress(UnicodeEncodeError, UnicodeDecodeError):
        value = value.encode("latin-1").decode()
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value
