"""How requests of Azure's SDK reach the service, and how it fails, in neutral words."""

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

from dashboard.storage.drivers.azure.adapter import Adapter, known_trouble
from dashboard.storage.drivers.azure.errors import Scene, translate
from dashboard.storage.drivers.azure.place import Place
from dashboard.storage.net.answers import Unreadable, xml_root
from dashboard.storage.net.connecting import CONNECT_SECONDS
from dashboard.storage.net.failures import Failure
from dashboard.storage.net.retrying import at_most
from dashboard.storage.net.server import IDLE_SECONDS
from dashboard.storage.net.troubles import trouble_of

_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": CONNECT_SECONDS, "read_timeout": IDLE_SECONDS}

# It logs every request at INFO, addresses and all.
logging.getLogger("azure").setLevel(logging.WARNING)


def session_for(place: Place) -> requests.Session:
    """The connections of one place."""
    session = requests.Session()
    session.trust_env = False
    adapter = Adapter(place)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


class _Retries(LinearRetry):
    """The SDK's own, no more often than callers who come again themselves allow."""

    def configure_retries(self, request: Any) -> dict[str, Any]:
        """What is left of retries for one request."""
        settings: dict[str, Any] = super().configure_retries(request)
        for name in ("total", "status"):
            settings[name] = at_most(settings[name] + 1) - 1
        return settings


def client_options(place: Place, session: requests.Session) -> dict[str, Any]:
    """What every client of the SDK is made with: who signs in, over which connections, how patiently."""
    return {
        "credential": _credential(place),
        "transport": RequestsTransport(
            session=session, session_owner=False, use_env_settings=False, **_TIMEOUTS
        ),
        "retry_policy": _Retries(
            backoff=1, retry_total=3, retry_connect=1, retry_read=0, retry_status=3, random_jitter_range=1
        ),
        "permit_redirects": False,
        **_TIMEOUTS,
    }


def _credential(place: Place) -> AzureNamedKeyCredential | AzureSasCredential:
    if place.credential.account_key is not None:
        return AzureNamedKeyCredential(place.account, place.credential.account_key.reveal())
    assert place.credential.sas_token is not None
    return AzureSasCredential(place.credential.sas_token.reveal())


@contextmanager
def neutral(scene: Scene) -> Iterator[None]:
    """Every way the SDK fails, translated. Its text may hold a signature and travels only as the cause."""
    try:
        yield
    except HttpResponseError as error:
        raise translate(failure(error), scene) from error
    except (AzureError, requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
        raise translate(_on_the_wire(error), scene) from error


def failure(error: HttpResponseError) -> Failure:
    if not error.status_code or isinstance(error, DecodeError):
        return _on_the_wire(error)
    code = getattr(error, "error_code", None) or ""
    return _refused(error.status_code, str(getattr(code, "value", code)), str(error))


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an answer says that the SDK has not looked at.
    https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2"""
    code = headers.get("x-ms-error-code", "")
    if not code:
        with suppress(Unreadable):
            code = xml_root(body.removeprefix(b"\xef\xbb\xbf")).findtext("Code") or ""
    return _refused(status, code, body.decode(errors="replace"))


def _refused(status: int, code: str, text: str) -> Failure:
    if code == "AuthorizationFailure" and "failed to authenticate" in text:
        # Azurite's name for a signature that is wrong; in Azure the code means a firewall.
        code = "AuthenticationFailed"
    return Failure(status, code)


def _on_the_wire(error: Exception) -> Failure:
    unreadable = isinstance(error, DecodeError | DeserializationError)
    return Failure(trouble=known_trouble(error) or ("unreadable" if unreadable else trouble_of(error)))


def failed_part(part: Any) -> Failure | None:
    """The failure that one of the answers in an answer tells; None for success and for a blob that was gone
    before."""
    code = str(part.headers.get("x-ms-error-code", ""))
    if part.status_code < 300 or (part.status_code == 404 and code == "BlobNotFound"):
        return None
    return Failure(part.status_code, code)
