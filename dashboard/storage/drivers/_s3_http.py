"""Signed S3 requests over our own connections: exact keys, no redirects, bounded time.

Every request of the driver goes through here.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import urllib3
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from dashboard.errors import Kind
from dashboard.storage.connecting import AddressCheck
from dashboard.storage.drivers._s3_errors import Failure, Scene, about_encryption, translate
from dashboard.storage.drivers._s3_place import CONNECT_SECONDS, IDLE_SECONDS, Place
from dashboard.storage.drivers._s3_signing import Signer
from dashboard.storage.errors import StorageError
from dashboard.storage.types import EMPTY
from dashboard.storage.wire import patiently, trouble_in

ATTEMPTS = 4
LONGEST_LINK = 7 * 24 * 3600
"""Seconds a signed address can be good for."""
_LONGEST_XML = 32 * 1024 * 1024

Body = bytes | Iterable[bytes | memoryview]


class _LinkSigner(S3SigV4QueryAuth):  # type: ignore[misc, unused-ignore]  # botocore has no types of its own
    """Signs addresses as botocore does, whose own method writes them into the debug log."""

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = datetime.now(UTC).strftime(SIGV4_TIMESTAMP)
        itself: Any = self
        itself._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        itself._inject_signature_to_request(request, self.signature(text, request))


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read whole. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str | None:
        """The ETag without its quotes."""
        return unquoted(self.headers.get("etag"))


def unquoted(etag: str | None) -> str | None:
    """An ETag without its quotes, None when there is none."""
    return (etag or "").strip('"') or None


def digest_header(body: bytes) -> dict[str, str]:
    """The header that lets the server notice a damaged body; requests with a document must have it."""
    return {"content-md5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}


def parse(body: bytes) -> ElementTree.Element:
    """The root of an S3 answer, its namespace stripped from every tag. Raises ``ParseError``.

    Document types are refused, so no entity can be declared, let alone expanded.
    """
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ElementTree.ParseError("a document type in an S3 answer")
    parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314 - no entities, see above
    parser.feed(re.sub(rb"\sxmlns=(\"[^\"]*\"|'[^']*')", b"", body, count=1))
    return parser.close()


class _Unchecked(urllib3.connection.HTTPSConnection):
    """A person said not to check certificates; urllib3 need not warn of it with every request."""

    @property
    def is_verified(self) -> bool:
        return True

    @is_verified.setter
    def is_verified(self, value: bool) -> None:
        """What the handshake found is of no interest."""


class _UncheckedPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Unchecked


class SignedClient:
    """The requests of one place. Thread-safe; connects on first use."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.software = ""
        """What the server last called itself."""
        self._lock = threading.Lock()
        self._open_pool: urllib3.HTTPConnectionPool | None = None
        host, port = place.server
        self.address = AddressCheck(host, port)
        self.host = host if port == (443 if place.tls else 80) else f"{host}:{port}"
        self._signer = Signer(place, self.host)
        self._path = place.bucket_url.partition("://")[2].partition("/")[1:]

    def scene(self, operation: str, key: str = "") -> Scene:
        """For an error's sentence; ``key`` as the caller of the driver knows it."""
        place = self.place
        return Scene(operation, key, place.bucket, self.host, place.region, bool(place.own_key))

    def send(
        self,
        method: str,
        scene: Scene,
        *,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        length: int | None = None,
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Answer:
        """One request, its answer read whole; tried again on 5xx and a broken connection.

        ``key`` is the full key in the bucket. A body that is not ``bytes`` needs its ``length`` and
        must bear iterating twice. Raises the translated ``StorageError``.
        """

        def once() -> Answer:
            response = self.open(
                method, scene, key=key, query=query, headers=headers, body=body, length=length, idle=idle
            )
            return self._read_whole(response, scene)

        return patiently(once, attempts)

    def open(
        self,
        method: str,
        scene: Scene,
        *,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        length: int | None = None,
        idle: float = IDLE_SECONDS,
    ) -> urllib3.BaseHTTPResponse:
        """One request, once; the caller reads and releases a successful answer. Raises ``StorageError``."""
        self.address.hold()
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if length is not None:
            sent["content-length"] = str(length)
        elif body or method in ("PUT", "POST"):
            assert isinstance(body, bytes)
            sent["content-length"] = str(len(body))
        target, signed = self._signed(method, key, query or {}, sent)
        # urllib3 sends any buffer; its annotations name only bytes and text.
        payload: Any = body or None
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=payload,
                headers=signed,
                redirect=False,
                retries=False,
                timeout=Timeout(connect=CONNECT_SECONDS, read=idle),
                preload_content=False,
                decode_content=False,
                assert_same_host=False,
            )
        except (HTTPError, OSError) as error:
            raise translate(_on_the_wire(error), scene) from error
        self.software = response.headers.get("server", self.software)
        if response.status >= 300:
            raise translate(self._failure(response), scene)
        return response

    def close(self) -> None:
        """Free the connections. Idempotent."""
        with self._lock:
            if self._open_pool is not None:
                self._open_pool.close()
                self._open_pool = None

    @property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        with self._lock:
            if self._open_pool is None:
                host, port = self.place.server
                if self.place.tls:
                    pool = urllib3.HTTPSConnectionPool if self.place.tls_verify else _UncheckedPool
                    self._open_pool = pool(host, port, maxsize=64, block=False, ssl_context=trust(self.place))
                else:
                    self._open_pool = urllib3.HTTPConnectionPool(host, port, maxsize=64, block=False)
            return self._open_pool

    def _signed(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Request target and headers."""
        target = self._target(key, query)
        signed = self._signer.signed(method, target, headers)
        signed.setdefault("accept-encoding", "identity")
        signed["user-agent"] = "stowage"
        return target, signed

    def presigned(
        self, full: str, seconds: int, *, method: str = "GET", headers: Mapping[str, str] = EMPTY
    ) -> str:
        """The address of a request that needs no credentials until it expires, only the same headers.
        https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
        url = self._origin + self._target(full, {})
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        _LinkSigner(self._credentials(), "s3", self.place.region, expires=seconds).add_auth(request)
        return str(request.url)

    def _target(self, key: str, query: Mapping[str, str]) -> str:
        path = "".join(self._path)
        target = f"{path}/{quote(key, safe='/~')}" if key else path or "/"
        if query:
            pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in query.items())
            target += "?" + "&".join(f"{name}={value}" for name, value in pairs)
        return target

    @property
    def _origin(self) -> str:
        return f"{self.place.endpoint.partition('://')[0]}://{self.host}"

    def _credentials(self) -> Credentials:
        place = self.place
        return Credentials(
            place.access_key_id, place.secret_access_key.reveal(), place.session_token.reveal() or None
        )

    def _read_whole(self, response: urllib3.BaseHTTPResponse, scene: Scene) -> Answer:
        try:
            body = response.read(_LONGEST_XML + 1)
            if len(body) > _LONGEST_XML:
                raise StorageError(
                    Kind.UNREACHABLE, f"{self.host} sent an endless answer.", operation=scene.operation
                )
            response.drain_conn()
        except (HTTPError, OSError) as error:
            raise translate(_on_the_wire(error), scene) from error
        finally:
            response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, body)

    def _failure(self, response: urllib3.BaseHTTPResponse) -> Failure:
        try:
            body = response.read(64 * 1024)
        except (HTTPError, OSError):
            body = b""
        finally:
            response.close()
        region = response.headers.get("x-amz-bucket-region", "")
        return failure_in(response.status, body, region)


def failure_in(status: int, body: bytes, region: str = "") -> Failure:
    """The neutral words of an S3 error document.
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses"""
    try:
        root = parse(body)
    except ElementTree.ParseError:
        return Failure(status, "", region)
    code, sealed = root.findtext("Code") or "", about_encryption(root.findtext("Message") or "")
    return Failure(status, code, region or root.findtext("Region") or "", sealed=sealed)


def read_error(error: Exception, scene: Scene) -> StorageError:
    """The error for a connection that failed while a body was read."""
    return translate(_on_the_wire(error), scene)


def _on_the_wire(error: Exception) -> Failure:
    return Failure(trouble=trouble_in(f"{type(error).__name__} {error!r} {error}"))


def trust(place: Place) -> ssl.SSLContext:
    """Public authorities plus the pasted one; no checks at all only when a person said so."""
    context = ssl.create_default_context()
    if place.ca_certificate:
        context.load_verify_locations(cadata=place.ca_certificate)
    if not place.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
