"""The connections, retries and errors of Azure's SDK."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, DecodeError, DeserializationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import LinearRetry
from urllib3.exceptions import HTTPError

from dashboard.storage.drivers.azure.adapter import Adapter, error_code_of
from dashboard.storage.drivers.azure.config import AzureConfig
from dashboard.storage.drivers.azure.errors import ErrorContext, translate
from dashboard.storage.net.connecting import CONNECT_SECONDS
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http_client import IDLE_SECONDS
from dashboard.storage.net.parsing import MalformedResponse, parse_xml
from dashboard.storage.net.retries import allowed_attempts
from dashboard.storage.net.transport_errors import classify_error

_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": CONNECT_SECONDS, "read_timeout": IDLE_SECONDS}

# At INFO it logs every request with its URL, which may contain a signature.
logging.getLogger("azure").setLevel(logging.WARNING)


def session_for(config: AzureConfig) -> requests.Session:
    """Create the connections of one client."""
    session = requests.Session()
    session.trust_env = False
    adapter = Adapter(config)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


class _Retries(LinearRetry):
    """The SDK's retries, limited for callers that retry themselves."""

    def configure_retries(self, request: Any) -> dict[str, Any]:
        """The number of retries for one request."""
        settings: dict[str, Any] = super().configure_retries(request)
        for name in ("total", "status"):
            settings[name] = allowed_attempts(settings[name] + 1) - 1
        return settings


def client_options(config: AzureConfig, session: requests.Session) -> dict[str, Any]:
    """The options of every client of the SDK: credential, connections, retries and timeouts."""
    return {
        "credential": _credential(config),
        "transport": RequestsTransport(
            session=session, session_owner=False, use_env_settings=False, **_TIMEOUTS
        ),
        "retry_policy": _Retries(
            backoff=1, retry_total=3, retry_connect=1, retry_read=0, retry_status=3, random_jitter_range=1
        ),
        "permit_redirects": False,
        **_TIMEOUTS,
    }


def _credential(config: AzureConfig) -> AzureNamedKeyCredential | AzureSasCredential:
    if config.credential.account_key is not None:
        return AzureNamedKeyCredential(config.account, config.credential.account_key.reveal())
    assert config.credential.sas_token is not None
    return AzureSasCredential(config.credential.sas_token.reveal())


@contextmanager
def translate_errors(context: ErrorContext) -> Iterator[None]:
    """Translate every exception of the SDK. Its message may contain a signature and stays in the cause."""
    try:
        yield
    except HttpResponseError as error:
        raise translate(to_failure(error), context) from error
    except (AzureError, requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
        raise translate(_transport_failure(error), context) from error


def to_failure(error: HttpResponseError) -> RequestFailure:
    if not error.status_code or isinstance(error, DecodeError):
        return _transport_failure(error)
    code = getattr(error, "error_code", None) or ""
    return _to_failure(error.status_code, str(getattr(code, "value", code)), str(error))


def parse_failure(status: int, headers: Mapping[str, str], body: bytes) -> RequestFailure:
    """Parse an error response that the SDK has not parsed.
    https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2"""
    code = headers.get("x-ms-error-code", "")
    if not code:
        with suppress(MalformedResponse):
            code = parse_xml(body.removeprefix(b"\xef\xbb\xbf")).findtext("Code") or ""
    return _to_failure(status, code, body.decode(errors="replace"))


def _to_failure(status: int, code: str, text: str) -> RequestFailure:
    if code == "AuthorizationFailure" and "failed to authenticate" in text:
        # Azurite's code for a wrong signature; in Azure it means a firewall.
        code = "AuthenticationFailed"
    return RequestFailure(status, code)


def _transport_failure(error: Exception) -> RequestFailure:
    unreadable = isinstance(error, DecodeError | DeserializationError)
    return RequestFailure(
        transport_code=error_code_of(error) or ("unreadable" if unreadable else classify_error(error))
    )


def parse_part_failure(part: Any) -> RequestFailure | None:
    """Parse one response of a batch; None for success and for a blob that did not exist."""
    code = str(part.headers.get("x-ms-error-code", ""))
    if part.status_code < 300 or (part.status_code == 404 and code == "BlobNotFound"):
        return None
    return RequestFailure(part.status_code, code)
