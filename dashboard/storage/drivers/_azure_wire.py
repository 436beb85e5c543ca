"""How requests of Azure's SDK reach the service, and how it fails, in neutral words."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import LinearRetry
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from dashboard.storage.connecting import trust
from dashboard.storage.connections import Pool, SecurePool
from dashboard.storage.drivers._azure_errors import Failure, Scene, translate
from dashboard.storage.drivers._azure_place import CONNECT_SECONDS, IDLE_SECONDS, Place
from dashboard.storage.wire import trouble_in

_POOL = 64
_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": CONNECT_SECONDS, "read_timeout": IDLE_SECONDS}

# It logs every request at INFO, addresses and all.
logging.getLogger("azure").setLevel(logging.WARNING)


class _Adapter(HTTPAdapter):
    """Connections that keep to the address policy and to this backend's certificates."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=_POOL, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """See ``HTTPAdapter``."""
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}

    def cert_verify(self, *arguments: Any, **options: Any) -> None:
        """The context has decided about certificates already."""

    def build_connection_pool_key_attributes(self, *arguments: Any, **options: Any) -> Any:
        """As ``HTTPAdapter`` makes them, without its own ideas about certificates."""
        host, pool = super().build_connection_pool_key_attributes(*arguments, **options)
        for name in ("cert_reqs", "ca_certs", "ca_cert_dir"):
            pool.pop(name, None)
        return host, pool


def session_for(place: Place) -> requests.Session:
    """The connections of one place."""
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(trust(tls_verify=place.tls_verify, authority=place.ca_certificate))
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def client_options(place: Place, session: requests.Session) -> dict[str, Any]:
    """What every client of the SDK is made with: who signs in, over which connections, how patiently."""
    return {
        "credential": _credential(place),
        "transport": RequestsTransport(
            session=session, session_owner=False, use_env_settings=False, **_TIMEOUTS
        ),
        "retry_policy": LinearRetry(
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
    if not error.status_code:
        return _on_the_wire(error)
    code = getattr(error, "error_code", None) or ""
    named = str(getattr(code, "value", code))
    if named == "AuthorizationFailure" and "failed to authenticate" in str(error):
        # Azurite's name for a signature that is wrong; in Azure the code means a firewall.
        named = "AuthenticationFailed"
    return Failure(error.status_code, named)


def _on_the_wire(error: Exception) -> Failure:
    return Failure(trouble=trouble_in(f"{type(error).__name__} {error!r} {error}"))


def failed_part(part: Any) -> Failure | None:
    """The failure that one of the answers in an answer tells; None for success and for a blob that was gone
    before."""
    code = str(part.headers.get("x-ms-error-code", ""))
    if part.status_code < 300 or (part.status_code == 404 and code == "BlobNotFound"):
        return None
    return Failure(part.status_code, code)
