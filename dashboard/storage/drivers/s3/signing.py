"""Signatures of S3 requests (SigV4), written for speed: a small object takes longer to sign than to send.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. The body is not signed, as
Content-MD5 and ETags protect it. A test compares the signatures with botocore's, which takes four times as
long and writes all headers, with session tokens and customers' keys, into the debug log. Links are signed by
botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from dashboard.storage.drivers.s3.credentials.botocore_logs import without_botocore_logs
from dashboard.storage.drivers.s3.credentials.sign_in import AccessKey, SignIn
from dashboard.storage.types import Secret

_UNSIGNED = "UNSIGNED-PAYLOAD"
_NOT_SIGNED = frozenset({"expect", "transfer-encoding", "user-agent"})


class KeySource:
    """The keys of one driver, looked up when the first request is signed. Thread-safe."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._lock = threading.Lock()
        self._get_keys: Callable[[], AccessKey] | None = None

    def keys(self) -> AccessKey:
        """Return keys that are valid now, cached until they expire. Raises ``StorageError``."""
        if isinstance(self._sign_in, AccessKey):
            return self._sign_in
        if self._get_keys is None:
            # boto3 costs 20 MiB and 0.15 s of CPU, and an access key works without it.
            from dashboard.storage.drivers.s3.credentials.boto import shared_keys

            with self._lock:
                self._get_keys = self._get_keys or shared_keys(self._sign_in).keys
        return self._get_keys()


class Signer:
    """Signs requests to one server; ``keys`` is called for each. Thread-safe."""

    def __init__(self, keys: Callable[[], AccessKey], region: str, host: str) -> None:
        self._keys = keys
        self._region = region
        self._host = host
        self._derived: tuple[str, Secret, bytes] = ("", Secret(""), b"")

    def sign(
        self, method: str, target: str, headers: Mapping[str, str], *, now: datetime | None = None
    ) -> dict[str, str]:
        """Return the headers with those of the signature; all names are lowercase. ``target`` is escaped, and
        its query is sorted. Raises ``StorageError`` if there are no keys."""
        keys = self._keys()
        moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        everything = {
            **headers,
            "host": self._host,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-date": moment,
        }
        if token := keys.session_token.reveal():
            everything["x-amz-security-token"] = token
        names = sorted(everything.keys() - _NOT_SIGNED)
        listed = ";".join(names)
        lines = "".join(f"{name}:{' '.join(everything[name].split())}\n" for name in names)
        path, _, query = target.partition("?")
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{_UNSIGNED}"
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(
            self._signing_key(moment[:8], keys.secret_access_key),
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(),
            "sha256",
        ).hex()
        everything["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return everything

    def _signing_key(self, day: str, secret: Secret) -> bytes:
        known_day, known_secret, key = self._derived
        if known_day != day or known_secret != secret:
            key = f"AWS4{secret.reveal()}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = (day, secret, key)
        return key


def presign(
    keys: AccessKey, region: str, method: str, url: str, *, headers: Mapping[str, str], seconds: int
) -> str:
    """Return the URL of a request that needs no credentials for ``seconds``, and must have these headers.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    # Imported late because it loads slowly, and few programs create links.
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    token = keys.session_token.reveal() or None
    credentials = Credentials(keys.access_key_id, keys.secret_access_key.reveal(), token)
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    with without_botocore_logs():
        S3SigV4QueryAuth(credentials, "s3", region, expires=seconds).add_auth(request)
    return str(request.url)
