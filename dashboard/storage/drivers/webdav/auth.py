"""Authentication with Basic (RFC 7617) or Digest (RFC 7616, MD5 and SHA-256 with ``auth``).

Basic sends the password with every request. Over TLS it is sent from the first request on. Without TLS, a
first request without credentials finds out what the server offers, and Digest is preferred.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from dashboard.storage.types import Secret

_MAX_CHALLENGE_LENGTH = 8192
"""Characters of a challenge that are parsed."""
_WORD = re.compile(r"([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,\"]+))?")
_ALGORITHMS = ("SHA-256", "MD5")
"""Supported algorithms, the strongest first."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """An authentication scheme that a server offers, with its parameters. Names are lowercase."""

    scheme: str
    values: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """Parse ``WWW-Authenticate`` headers, joined by commas (RFC 9110, 11.6.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for name, value in _WORD.findall(header[:_MAX_CHALLENGE_LENGTH]):
        if not value:
            found.append((name.lower(), {}))
        elif found:
            text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            found[-1][1].setdefault(name.lower(), text)
    return [Challenge(scheme, values) for scheme, values in found]


class Authenticator:
    """Creates the ``Authorization`` header of each request of one user. Thread-safe."""

    def __init__(self, username: str, password: Secret, *, tls: bool) -> None:
        self._username = username
        self._password = password
        self._lock = threading.Lock()
        self._digest: _Digest | None = None
        self._negotiated = tls

    def negotiate(self, fetch_challenges: Callable[[], str | None]) -> None:
        """Choose a scheme before the first request without TLS. ``fetch_challenges`` sends a request without
        credentials and returns the offered challenges, or None if it was not refused."""
        with self._lock:
            if not self._negotiated:
                offered = fetch_challenges()
                self._digest = self._strongest_challenge(offered) if offered is not None else None
                self._negotiated = True

    def headers(self, method: str, target: str) -> dict[str, str]:
        """Return the headers for a request; ``target`` is the request target as it is sent."""
        with self._lock:
            digest = self._digest
        if digest is not None:
            return {"authorization": digest.authorization(self._username, self._password, method, target)}
        pair = f"{self._username}:{self._password.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}

    @property
    def uses_nonce(self) -> bool:
        """Whether the credentials may expire because they use a nonce."""
        with self._lock:
            return self._digest is not None

    def handle_unauthorized(
        self, sent: Mapping[str, str], offered: str
    ) -> Literal["again", "wrong", "unknown"]:
        """Handle a 401 response to a request with the headers ``sent``: ``again`` to retry with the offered
        scheme, ``wrong`` for a wrong user name or password, ``unknown`` if no offered scheme is supported."""
        ways = challenges(offered)
        best = self._strongest_challenge(offered)
        used = sent.get("authorization", "")
        if best is None:
            return "wrong" if not ways or any(way.scheme == "basic" for way in ways) else "unknown"
        with self._lock:
            current = self._digest
            if current is not None and f'nonce="{current.nonce}"' not in used:
                # Another thread has already received a new nonce.
                return "again"
            basic = any(way.scheme == "basic" for way in ways)
            if used.startswith("Basic") and basic:
                return "wrong"
            if used.startswith("Digest") and not best.stale:
                return "wrong"
            self._digest = best
        return "again"

    def _strongest_challenge(self, offered: str) -> _Digest | None:
        known = [digest for way in challenges(offered) if (digest := _Digest.of(way)) is not None]
        return min(known, key=lambda digest: _ALGORITHMS.index(digest.algorithm), default=None)


class _Digest:
    """A nonce of the server and its use count."""

    def __init__(self, values: Mapping[str, str], algorithm: str) -> None:
        self.algorithm = algorithm
        self.nonce = values["nonce"]
        self.stale = values.get("stale", "").lower() == "true"
        self._realm = values["realm"]
        self._opaque = values.get("opaque")
        self._lock = threading.Lock()
        self._count = 0

    @classmethod
    def of(cls, way: Challenge) -> _Digest | None:
        """Build from a challenge; None if it is not supported."""
        algorithm = way.values.get("algorithm", "MD5").upper()
        qop = [option.strip().lower() for option in way.values.get("qop", "").split(",")]
        whole = way.scheme == "digest" and {"realm", "nonce"} <= way.values.keys()
        printable = all(value.isprintable() for value in way.values.values())
        if not whole or not printable or algorithm not in _ALGORITHMS or "auth" not in qop:
            return None
        return cls(way.values, algorithm)

    def authorization(self, username: str, password: Secret, method: str, target: str) -> str:
        """Return the header value (RFC 7616, section 3.4)."""
        with self._lock:
            self._count += 1
            count = f"{self._count:08x}"
        client = secrets.token_hex(16)
        who = self._hash(f"{username}:{self._realm}:{password.reveal()}")
        what = self._hash(f"{method}:{target}")
        response = self._hash(f"{who}:{self.nonce}:{count}:{client}:auth:{what}")
        parts = [
            f"username={_quoted(username)}"
            if username.isascii()
            else f"username*=UTF-8''{quote(username, safe='')}",
            f"realm={_quoted(self._realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(target)}",
            f"algorithm={self.algorithm}",
            "qop=auth",
            f"nc={count}",
            f"cnonce={_quoted(client)}",
            f"response={_quoted(response)}",
            *([f"opaque={_quoted(self._opaque)}"] if self._opaque is not None else []),
        ]
        return "Digest " + ", ".join(parts)

    def _hash(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogateescape")
        if self.algorithm == "MD5":
            return hashlib.md5(raw, usedforsecurity=False).hexdigest()
        return hashlib.sha256(raw).hexdigest()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
