"""Signed URLs: anyone with one can read, or write, one object and nothing else.

https://cloud.google.com/storage/docs/authentication/signatures
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from urllib.parse import quote

from dashboard.storage.drivers.gcs.client import GcsClient
from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.errors import Unsupported
from dashboard.storage.object_powers import SignedUpload
from dashboard.storage.paths import guess_content_type

MAX_SECONDS = 7 * 24 * 3600
"""The longest lifetime of a signed URL."""


class GcsLinksMixin:
    """``Links`` and ``SignsUploads`` for a driver that has these parts."""

    _config: GcsConfig
    _client: GcsClient

    def url(self, key: str) -> str:
        """See ``Links``. Works only if the object is public."""
        return f"{self._config.endpoint}{self._public_path(key)}"

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``. A GET signed with the service account's key, valid for at most seven days."""
        return self._sign("GET", key, min(max(seconds, 1), MAX_SECONDS), {})

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``. Google accepts only the signed type and size."""
        lifetime = min(max(seconds, 1), MAX_SECONDS)
        mime_type = content_type or guess_content_type(key)
        headers = {"content-type": mime_type} if mime_type else {}
        if size is not None:
            headers["x-goog-content-length-range"] = f"{size},{size}"
        url = self._sign("PUT", key, lifetime, headers)
        return SignedUpload("PUT", url, headers, time.time() + lifetime)

    def _sign(self, method: str, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        path, account = self._public_path(key), self._config.account
        if account is None:
            raise Unsupported("sign", "Only a service account key can sign links.")
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{timestamp[:8]}/auto/storage/goog4_request"
        signed = dict(sorted({**headers, "host": self._client.server.host}.items()))
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{account.email}/{scope}",
            "X-Goog-Date": timestamp,
            "X-Goog-Expires": str(seconds),
            "X-Goog-SignedHeaders": ";".join(signed),
        }
        query_string = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"{method}\n{path}\n{query_string}\n{lines}\n{';'.join(signed)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{timestamp}\n{scope}\n{digest}"
        signature = self._client.signature(text.encode(), self._client.context("read", key)).hex()
        return f"{self._config.endpoint}{path}?{query_string}&X-Goog-Signature={signature}"

    def _public_path(self, key: str) -> str:
        full_key = self._config.prefix + key
        check_key(key, full_key)
        return f"/{self._config.bucket}/{quote(full_key, safe='/~')}"
