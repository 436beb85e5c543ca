"""Purging URLs at a content delivery network.

CloudFront: https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html.
Cloudflare: https://developers.cloudflare.com/api/resources/cache/methods/purge/ with an API token.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.http1 import TransportError
from dashboard.storage.net.http_client import HttpClient, read_error_body, read_whole
from dashboard.storage.net.parsing import MalformedResponse, parse_json_object
from dashboard.storage.types import Secret

CLOUDFRONT = "https://cloudfront.amazonaws.com"
CLOUDFLARE = "https://api.cloudflare.com"
_IDLE = 15.0


class CdnApi(Protocol):
    """The purge API of a CDN. Thread-safe."""

    batch_size: int
    """The most URLs that one request may contain."""

    def purge(self, urls: Sequence[str]) -> None:
        """Purge these URLs, at most ``batch_size``. Raises ``StorageError``."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class _ApiClient:
    """One service's API over HTTPS: bounded, without redirects. Its responses are never shown."""

    def __init__(self, endpoint: str, service: str) -> None:
        self.endpoint = endpoint
        self._service = service
        self._server = HttpClient(endpoint)

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return the body of a 2xx response. Raises ``StorageError``."""
        try:
            opened = self._server.open("POST", path, headers=headers, body=body, idle=_IDLE)
            response = read_whole(opened) if 200 <= opened.status < 300 else read_error_body(opened)
        except TransportError as error:
            reason = f"{self._service} does not respond."
            raise _purge_error(Kind.UNREACHABLE, reason, "Check its status page.") from error
        if 200 <= response.status < 300:
            return response.body
        if response.status in (401, 403):
            reason = f"{self._service} rejects the credentials for purging."
            raise _purge_error(Kind.BAD_CREDENTIALS, reason, "Check the key or token and its permissions.")
        if response.status == 404:
            reason = f"{self._service} has no such distribution or zone."
            raise _purge_error(Kind.NOT_FOUND, reason, "Check the distribution or zone ID.")
        if response.status == 429 or b"TooManyInvalidations" in response.body:
            reason = f"{self._service} is limiting the rate of purges."
            raise _purge_error(
                Kind.THROTTLED, reason, "URLs that are not purged expire at the CDN by themselves."
            )
        reason = f"{self._service} responded with status {response.status}."
        raise _purge_error(Kind.UNREACHABLE, reason, "Check its status page, and the ID and key here.")

    def close(self) -> None:
        self._server.close()


class CloudFront:
    """Invalidations of one distribution."""

    batch_size = 1000

    def __init__(self, distribution: str, key_id: str, secret: Secret, *, endpoint: str = CLOUDFRONT) -> None:
        self._path = f"/2020-05-31/distribution/{distribution}/invalidation"
        self._key_id = key_id
        self._secret = secret
        self._client = _ApiClient(endpoint, "CloudFront")

    def purge(self, urls: Sequence[str]) -> None:
        """See ``CdnApi``."""
        # A random reference, because CloudFront ignores a repeated one.
        paths = "".join(f"<Path>{escape(urlsplit(url).path)}</Path>" for url in urls)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">'
            f"<Paths><Quantity>{len(urls)}</Quantity><Items>{paths}</Items></Paths>"
            f"<CallerReference>stowage-{secrets.token_hex(12)}</CallerReference></InvalidationBatch>"
        ).encode()
        self._client.post(self._path, self._signed(body), body)

    def close(self) -> None:
        """See ``CdnApi``."""
        self._client.close()

    def _signed(self, body: bytes) -> dict[str, str]:
        """Return the signed headers. CloudFront is global; its signatures are for us-east-1."""
        # Imported late: it loads slowly, and few programs purge.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        headers = {"content-type": "text/xml"}
        request = AWSRequest("POST", self._client.endpoint + self._path, headers=headers, data=body)
        keys = Credentials(self._key_id, self._secret.reveal())
        SigV4Auth(keys, "cloudfront", "us-east-1").add_auth(request)
        return dict(request.headers)


class Cloudflare:
    """Purges of single files of one zone."""

    batch_size = 30

    def __init__(self, zone: str, token: Secret, *, endpoint: str = CLOUDFLARE) -> None:
        self._path = f"/client/v4/zones/{zone}/purge_cache"
        self._token = token
        self._client = _ApiClient(endpoint, "Cloudflare")

    def purge(self, urls: Sequence[str]) -> None:
        """See ``CdnApi``."""
        headers = {
            "authorization": f"Bearer {self._token.reveal()}",
            "content-type": "application/json",
        }
        body = json.dumps({"files": list(urls)}).encode()
        try:
            reply = parse_json_object(self._client.post(self._path, headers, body))
        except MalformedResponse:
            reply = {}
        if reply.get("success") is not True:
            reason = "Cloudflare did not confirm the purge."
            raise _purge_error(Kind.UNREACHABLE, reason, "Check its status page, and the zone ID here.")

    def close(self) -> None:
        """See ``CdnApi``."""
        self._client.close()


def _purge_error(kind: Kind, reason: str, remedy: str) -> StorageError:
    return StorageError(kind, reason, operation="purge", remedy=remedy)
