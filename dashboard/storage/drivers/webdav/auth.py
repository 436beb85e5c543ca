"""How a WebDAV server is told who asks: Basic (RFC 7617) or Digest (RFC 7616, MD5 and SHA-256 with ``auth``).

Basic sends the password with every request. Over TLS it is sent from the first one. Without TLS the server is
asked first what it takes, without a word of who asks, and Digest is chosen where it is offered.
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
"""Characters of a challenge that are looked at."""
_WORD = re.compile(r"([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,\"]+))?")
_ALGORITHMS = ("SHA-256", "MD5")
"""Those we know, the better one first."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to sign in that a server offers, with its parameters; names in small letters."""

    scheme: str
    values: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """What a ``WWW-Authenticate`` offers (RFC 9110, 11.6.1); several headers joined by commas are one."""
    found: list[tuple[str, dict[str, str]]] = []
    for name, value in _WORD.findall(header[:_MAX_CHALLENGE_LENGTH]):
        if not value:
            found.append((name.lower(), {}))
        elif found:
            text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            found[-1][1].setdefault(name.lower(), text)
    return [Challenge(scheme, values) for scheme, values in found]


class Authenticator:
    """The ``Authorization`` of every request of one user. Thread-safe."""

    def __init__(self, username: str, password: Secret, *, tls: bool) -> None:
        self._username = username
        self._password = password
        self._lock = threading.Lock()
        self._digest: _Digest | None = None
        self._negotiated = tls

    def negotiate(self, ask: Callable[[], str | None]) -> None:
        """Before the first request without TLS: ``ask`` sends one without credentials and returns what was
        offered, None where it was not refused."""
        with self._lock:
            if not self._negotiated:
                offered = ask()
                self._digest = self._strongest_challenge(offered) if offered is not None else None
                self._negotiated = True

    def headers(self, method: str, target: str) -> dict[str, str]:
        """For one request; ``target`` as it is sent."""
        with self._lock:
            digest = self._digest
        if digest is not None:
            return {"authorization": digest.authorization(self._username, self._password, method, target)}
        pair = f"{self._username}:{self._password.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}

    @property
    def uses_nonce(self) -> bool:
        """Whether what is sent is only good for a time."""
        with self._lock:
            return self._digest is not None

    def handle_unauthorized(
        self, sent: Mapping[str, str], offered: str
    ) -> Literal["again", "wrong", "unknown"]:
        """What a 401 to these headers means: try again in the way that was offered, wrong name or password,
        or that the server takes none of our ways."""
        ways = challenges(offered)
        best = self._strongest_challenge(offered)
        used = sent.get("authorization", "")
        if best is None:
            return "wrong" if not ways or any(way.scheme == "basic" for way in ways) else "unknown"
        with self._lock:
            current = self._digest
            if current is not None and f'nonce="{current.nonce}"' not in used:
                # Somebody else has learnt the new one meanwhile.
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
    """One nonce of a server, and how often it was used."""

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
        """From a challenge that we can answer."""
        algorithm = way.values.get("algorithm", "MD5").upper()
        qop = [each.strip().lower() for each in way.values.get("qop", "").split(",")]
        whole = way.scheme == "digest" and {"realm", "nonce"} <= way.values.keys()
        printable = all(value.isprintable() for value in way.values.values())
        if not whole or not printable or algorithm not in _ALGORITHMS or "auth" not in qop:
            return None
        return cls(way.values, algorithm)

    def authorization(self, username: str, password: Secret, method: str, target: str) -> str:
        """RFC 7616, section 3.4."""
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
