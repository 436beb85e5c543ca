"""Signatures of S3 requests, written for speed: a small object costs more in signing than in sending.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. What the body holds is not
signed; Content-MD5 and ETags vouch for it. A test compares every signature with botocore's own, which takes
four times as long and writes all headers, so session tokens and customers' keys, into the debug log. Links,
which are made one at a time, are botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from dashboard.storage.drivers.s3.place import Place

_UNSIGNED = "UNSIGNED-PAYLOAD"
_NOT_SIGNED = frozenset({"expect", "transfer-encoding", "user-agent"})
_OURS: ContextVar[bool] = ContextVar("handles Stowage's secrets", default=False)


class Signer:
    """Signs requests to one place. Thread-safe."""

    def __init__(self, place: Place, host: str) -> None:
        self._place = place
        self._host = host
        self._key: tuple[str, bytes] = ("", b"")

    def signed(
        self, method: str, target: str, headers: Mapping[str, str], *, now: datetime | None = None
    ) -> dict[str, str]:
        """The headers, in small letters, with those that sign. ``target`` as it is sent: escaped, and its
        query sorted."""
        moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        everything = {
            **headers,
            "host": self._host,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-date": moment,
        }
        if token := self._place.session_token.reveal():
            everything["x-amz-security-token"] = token
        names = sorted(everything.keys() - _NOT_SIGNED)
        listed = ";".join(names)
        lines = "".join(f"{name}:{' '.join(everything[name].split())}\n" for name in names)
        path, _, query = target.partition("?")
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{_UNSIGNED}"
        scope = f"{moment[:8]}/{self._place.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(
            self._key_of(moment[:8]), f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256"
        ).hex()
        everything["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._place.access_key_id}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return everything

    def _key_of(self, day: str) -> bytes:
        known, key = self._key
        if known != day:
            key = f"AWS4{self._place.secret_access_key.reveal()}".encode()
            for part in (day, self._place.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (day, key)
        return key


def presigned(place: Place, method: str, url: str, headers: Mapping[str, str], seconds: int) -> str:
    """The address of a request that needs no credentials for so long; it must be sent with these headers.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    # Slow to load, and few programs make links.
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    token = place.session_token.reveal() or None
    keys = Credentials(place.access_key_id, place.secret_access_key.reveal(), token)
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    with unlogged(("botocore.auth",)):
        S3SigV4QueryAuth(keys, "s3", place.region, expires=seconds).add_auth(request)
    return str(request.url)


@contextmanager
def unlogged(names: Iterable[str]) -> Iterator[None]:
    """Keep what these loggers of botocore say for debugging inside the block, in this thread, out of every
    log: tokens and keys are in it."""
    for name in names:
        logging.getLogger(name).addFilter(_may_be_logged)
    before = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(before)


def _may_be_logged(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _OURS.get()
