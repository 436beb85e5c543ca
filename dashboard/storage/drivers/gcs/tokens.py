"""Access tokens for a service account key or for the identity of this machine.

Only this file uses google-auth.
Tokens for a key are requested over our own connections, as Google describes it for clients without a library
(https://developers.google.com/identity/protocols/oauth2/service-account#httprest), because the refresh of
google-auth may contact other servers. The identity of this machine is only available through google-auth,
which asks the metadata server. An administrator chose that, and only Google receives the token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import google.auth
import urllib3.exceptions
from google.auth import crypt, jwt, transport
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.exceptions import TransportError as GoogleTransportError

from dashboard.storage.drivers.gcs.config import GcsConfig
from dashboard.storage.drivers.gcs.errors import code_of
from dashboard.storage.drivers.gcs.options import ServiceAccount
from dashboard.storage.net.connecting import CONNECT_SECONDS
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http1 import TransportError
from dashboard.storage.net.http_client import HttpClient
from dashboard.storage.net.parsing import MalformedResponse, parse_json_object

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_AUDIENCE = "https://oauth2.googleapis.com/token"
"""The name of Google's token server in a claim, even if requests go to another address."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_REFRESH_MARGIN_SECONDS = 300.0
"""A token is replaced this long before it expires."""
_IDLE_SECONDS = 20.0
_MAX_RESPONSE_BYTES = 256 * 1024
"""Of a response about the identity of this machine."""

# At DEBUG it logs requests and responses, tokens included.
logging.getLogger("google.auth").setLevel(logging.WARNING)


class AuthError(Exception):
    """No token could be obtained; ``failure`` says why. The vendor's exception is the cause."""

    def __init__(self, failure: RequestFailure) -> None:
        super().__init__(failure.code or failure.transport_code)
        self.failure = failure


class Tokens(Protocol):
    """A source of access tokens. Thread-safe."""

    def token(self) -> str:
        """Return a token that is valid for some minutes. Raises :class:`AuthError`."""
        ...

    def invalidate(self, token: str) -> None:
        """Google rejected this token: do not return it again."""
        ...

    def close(self) -> None:
        """Close the connections. Idempotent."""
        ...


def tokens_for(config: GcsConfig) -> Tokens:
    """Choose the source of tokens. No network call."""
    return AmbientTokens() if config.account is None else ServiceAccountTokens(config.account, config)


class ServiceAccountTokens:
    """Tokens and signatures of a service account key."""

    def __init__(self, account: ServiceAccount, config: GcsConfig) -> None:
        self._account = account
        parts = urlsplit(account.token_uri)
        self._path = parts.path
        origin = f"{parts.scheme}://{parts.netloc}"
        # The options about certificates are for the endpoint, not for Google's own servers.
        is_own_endpoint = origin == config.endpoint
        self._server = HttpClient(
            origin,
            tls_verify=config.tls_verify if is_own_endpoint else True,
            authority=config.ca_certificate if is_own_endpoint else "",
        )
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._signer: crypt.RSASigner | None = None

    def token(self) -> str:
        """See ``Tokens``."""
        with self._lock:
            if not self._token or time.monotonic() >= self._expires_at:
                self._token, seconds = self._fetch_token()
                self._expires_at = time.monotonic() + seconds - min(_REFRESH_MARGIN_SECONDS, seconds / 2)
            return self._token

    def invalidate(self, token: str) -> None:
        """See ``Tokens``."""
        with self._lock:
            if self._token == token:
                self._token = ""

    def sign(self, text: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256. Raises :class:`AuthError` if the key cannot be read."""
        signature: bytes = self._load_signer().sign(text)
        return signature

    def close(self) -> None:
        """See ``Tokens``."""
        self._server.close()

    def _load_signer(self) -> crypt.RSASigner:
        # Parsing a key takes longer than a hundred signatures.
        if self._signer is None:
            key = self._account.private_key.reveal()
            try:
                self._signer = crypt.RSASigner.from_string(  # type: ignore[no-untyped-call]
                    key, self._account.key_id or None
                )
            except (ValueError, TypeError) as error:
                raise AuthError(RequestFailure(400, "broken_key")) from error
        return self._signer

    def _fetch_token(self) -> tuple[str, float]:
        """Request a token. Returns it and its lifetime in seconds."""
        now = int(time.time())
        claims = {
            "iss": self._account.email,
            "scope": SCOPE,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + 3600,
        }
        assertion = jwt.encode(self._load_signer(), claims).decode()  # type: ignore[no-untyped-call]
        body = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            response = self._server.request(
                "POST", self._path, headers=headers, body=body, idle=_IDLE_SECONDS
            )
        except TransportError as error:
            raise AuthError(RequestFailure(transport_code=error.code, host=self._server.host)) from error
        document = _parse_json(response.body)
        token, seconds = document.get("access_token"), document.get("expires_in")
        if response.status == 200 and isinstance(token, str) and isinstance(seconds, int):
            return token, float(seconds)
        host = self._server.host
        if response.status in (400, 401, 403):
            reason, message = str(document.get("error", "")), str(document.get("error_description", ""))
            raise AuthError(
                RequestFailure(
                    response.status, code_of(response.status, reason or "invalid_grant", message), host=host
                )
            )
        if response.status == 429 or response.status >= 500:
            raise AuthError(RequestFailure(response.status, host=host))
        raise AuthError(RequestFailure(transport_code="unreadable", host=host))


class _TransportResponse(transport.Response):
    """A response that has been read, up to a limit."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._data = response.read(_MAX_RESPONSE_BYTES, decode_content=False)
        response.close()

    @property
    def status(self) -> int:
        """See ``Response``."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """See ``Response``."""
        return self._response.headers

    @property
    def data(self) -> bytes:
        """See ``Response``."""
        return self._data


class _TransportRequest(transport.Request):
    """The transport of google-auth: its own reads and decompresses without limit."""

    def __init__(self, http: urllib3.PoolManager) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> _TransportResponse:
        """See ``Request``."""
        sent = {**(headers or {}), "accept-encoding": "identity"}
        timeouts: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        try:
            return _TransportResponse(
                self._http.request(
                    method, url, body=body, headers=sent, preload_content=False, **timeouts, **more
                )
            )
        except urllib3.exceptions.HTTPError as error:
            raise GoogleTransportError(error) from error  # type: ignore[no-untyped-call]


class AmbientTokens:
    """Tokens of the identity that Google gave this machine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._http = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=_IDLE_SECONDS)
        )
        self._credentials: google.auth.credentials.Credentials | None = None

    def token(self) -> str:
        """See ``Tokens``."""
        with self._lock:
            request = _TransportRequest(self._http)
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[SCOPE], request=request)
                if not self._credentials.valid:
                    self._credentials.refresh(request)  # type: ignore[no-untyped-call]
            except DefaultCredentialsError as error:
                raise AuthError(RequestFailure(401, "no_identity")) from error
            # The library does not validate responses.
            except (GoogleAuthError, ValueError, KeyError, TypeError) as error:
                raise AuthError(RequestFailure(401, "identity_refused")) from error
            return str(self._credentials.token)

    def invalidate(self, token: str) -> None:
        """See ``Tokens``."""
        with self._lock:
            if self._credentials is not None and self._credentials.token == token:
                self._credentials = None

    def close(self) -> None:
        """See ``Tokens``."""
        self._http.clear()


def _parse_json(body: bytes) -> dict[str, object]:
    try:
        return parse_json_object(body)
    except MalformedResponse:
        return {}
