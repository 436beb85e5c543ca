"""Signed addresses: whoever holds one may read, or write, one object and nothing else.

https://cloud.google.com/storage/docs/authentication/signatures
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from urllib.parse import quote

from dashboard.storage.drivers.gcs.client import Client
from dashboard.storage.drivers.gcs.place import Place, check
from dashboard.storage.errors import Unsupported
from dashboard.storage.object_powers import SignedUpload
from dashboard.storage.paths import guess_content_type

LONGEST = 7 * 24 * 3600
"""Seconds a signed address can be good for."""


class LinksGcsObjects:
    """``Links`` and ``SignsUploads`` for a driver that has these parts."""

    _place: Place
    _client: Client

    def url(self, key: str) -> str:
        """See ``Links``. Only of use when the object is public."""
        return f"{self._place.endpoint}{self._public(key)}"

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``: a GET signed with the service account's key, good for at most seven days."""
        return self._signed("GET", key, min(max(seconds, 1), LONGEST), {})

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``. Type and size are signed, and Google refuses any other."""
        good_for = min(max(seconds, 1), LONGEST)
        kind = content_type or guess_content_type(key)
        headers = {"content-type": kind} if kind else {}
        if size is not None:
            headers["x-goog-content-length-range"] = f"{size},{size}"
        url = self._signed("PUT", key, good_for, headers)
        return SignedUpload("PUT", url, headers, time.time() + good_for)

    def _signed(self, method: str, key: str, seconds: int, headers: Mapping[str, str]) -> str:
        path, account = self._public(key), self._place.account
        if account is None:
            raise Unsupported("sign", "Only a service account key can sign addresses.")
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{moment[:8]}/auto/storage/goog4_request"
        signed = dict(sorted({**headers, "host": self._client.server.host}.items()))
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{account.email}/{scope}",
            "X-Goog-Date": moment,
            "X-Goog-Expires": str(seconds),
            "X-Goog-SignedHeaders": ";".join(signed),
        }
        spelt = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"{method}\n{path}\n{spelt}\n{lines}\n{';'.join(signed)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{moment}\n{scope}\n{digest}"
        signature = self._client.signature(text.encode(), self._client.scene("read", key)).hex()
        return f"{self._place.endpoint}{path}?{spelt}&X-Goog-Signature={signature}"

    def _public(self, key: str) -> str:
        full = self._place.prefix + key
        check(key, full)
        return f"/{self._place.bucket}/{quote(full, safe='/~')}"
