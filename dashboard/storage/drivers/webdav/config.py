"""Configuration of the WebDAV driver, valid keys, and the names of unfinished writes."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from dashboard.storage.drivers.common.keys import split_key
from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes, key_text
from dashboard.storage.types import Secret

_TEMPORARY = re.compile(r"\.?stowage-tmp-(?P<key>[0-9a-f]{24})-(?P<began>[0-9a-f]{8,})-[0-9a-f]{12}.*\Z")


@dataclass(frozen=True, slots=True)
class WebDavConfig:
    """A folder on a WebDAV server, with credentials. Its repr contains no secret."""

    server: str
    """``scheme://host[:port]``"""
    root: tuple[str, ...]
    """The decoded path of the folder, without empty parts."""
    username: str
    password: Secret
    tls_verify: bool = True
    ca_certificate: str = ""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options."""
        parts = urlsplit(options["endpoint"])
        path = [unquote(part) for part in parts.path.split("/")] + options.get("prefix", "").split("/")
        return cls(
            server=f"{parts.scheme}://{parts.netloc}",
            root=tuple(part for part in path if part),
            username=options["username"],
            password=secrets["password"],
            tls_verify=options.get("tls_verify", "true") != "false",
            ca_certificate=options.get("ca_certificate", ""),
        )

    @property
    def tls(self) -> bool:
        """Whether the connection uses TLS."""
        return self.server.startswith("https:")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.server)
        return parts.hostname or "", parts.port or (443 if self.tls else 80)

    @property
    def host(self) -> str:
        """Host and port as in the address, for messages and the ``Host`` header."""
        return urlsplit(self.server).netloc

    @property
    def display_name(self) -> str:
        """The folder for messages, without the scheme."""
        return f"{self.host}/{'/'.join(self.root)}"

    @property
    def is_nextcloud(self) -> bool:
        """Whether the address belongs to Nextcloud or ownCloud. They store a PUT atomically, and keep
        versions and shares of a file that is replaced by a PUT but not by a MOVE."""
        return any(pair == ("remote.php", "dav") for pair in zip(self.root, self.root[1:], strict=False)) or (
            "remote.php" in self.root and "webdav" in self.root
        )

    def path(self, key: str) -> str:
        """Return the request path of a key, or of a folder, which ends in a slash or is empty.

        Everything but letters, digits and ``-._~`` is percent-encoded (RFC 3986, section 2.3).
        """
        return self.path_above(len(self.root)) + quote(key_bytes(key), safe="/~")

    def path_above(self, depth: int) -> str:
        """Return the request path of the first ``depth`` parts of the root folder."""
        return "".join(f"/{quote(part, safe='~')}" for part in self.root[:depth]) + "/"


def check_key(key: str) -> None:
    """Raise ``InvalidKey`` for a key that cannot be the path of a file on a WebDAV server."""
    if any(ord(c) < 32 or ord(c) == 127 for c in key):
        raise InvalidKey(key, "The key contains control characters, which WebDAV servers lose or refuse.")
    split_key(key, "WebDAV", _reserved_reason)


def _reserved_reason(name: bytes) -> str:
    return "it is the name of an unfinished write of Stowage" if is_temporary(key_text(name)) else ""


def is_temporary(name: str) -> bool:
    """Whether this is the name of an unfinished write."""
    return _TEMPORARY.match(name) is not None


def new_temporary(key: str) -> str:
    """Return a temporary key next to ``key``, so that a MOVE is a rename. It does not start with a dot,
    because some servers never list such names and a sweep would not find leftovers."""
    folder, slash, _ = key.rpartition("/")
    began = f"{int(time.time() * 1000):x}"
    return f"{folder}{slash}stowage-tmp-{_digest(key)}-{began}-{secrets.token_hex(6)}"


def is_temporary_for(name: str, keys: frozenset[str], since: float) -> bool:
    """Whether this temporary name belongs to a write to one of the keys (by digest) that started at or after
    ``since``."""
    found = _TEMPORARY.match(name)
    return found is not None and found["key"] in keys and int(found["began"], 16) >= int(since * 1000)


def key_digests(keys: list[str]) -> frozenset[str]:
    """Return the digests that identify these keys in temporary names."""
    return frozenset(_digest(key) for key in keys)


def _digest(key: str) -> str:
    return hashlib.sha256(key_bytes(key)).hexdigest()[:24]
