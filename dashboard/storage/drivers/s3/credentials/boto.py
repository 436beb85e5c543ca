"""Credentials that boto3 finds and refreshes, and the identity they belong to.

Loaded when a backend first needs it. Requests to STS go through our HTTP client, so that addresses,
certificates and sizes are checked like those of every other request. Requests that botocore sends itself
(to instance and container metadata, SSO, and STS for web identities) go to addresses that depend only on this
machine's settings, never on a backend's options.
"""

from __future__ import annotations

import io
import os
import re
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError

from dashboard.storage.drivers.s3.credentials.botocore_logs import without_botocore_logs
from dashboard.storage.drivers.s3.credentials.errors import (
    STS,
    chain_error,
    no_credentials_error,
    service_error,
)
from dashboard.storage.drivers.s3.credentials.sign_in import (
    AccessKey,
    AssumedRole,
    MachineCredentials,
    SignIn,
    Sts,
)
from dashboard.storage.errors import StorageError
from dashboard.storage.net.failures import ErrorContext, RequestFailure
from dashboard.storage.net.http_client import HttpClient
from dashboard.storage.net.transport_errors import TransportError
from dashboard.storage.types import Secret

IDLE_SECONDS = 15.0
"""Timeout of a request to STS."""
RENEW_BEFORE_SECONDS = 15 * 60
"""How long before keys expire botocore begins to refresh them; until then they are cached here."""
_SESSION_NAME = "stowage"
_TEXT = re.compile(r"[\x21-\x7e]{1,16384}")
_ARN = re.compile(r"[\x21-\x7e]{1,2048}")


class RefreshableKeys:
    """Keys that botocore finds, and refreshes before they expire. Thread-safe: one thread refreshes them;
    the others wait only if theirs have expired."""

    def __init__(self, sign_in: MachineCredentials | AssumedRole) -> None:
        self._sign_in = sign_in
        self._sts = sign_in.sts if isinstance(sign_in, AssumedRole) else Sts("this machine's region")
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None
        self._last: AccessKey | None = None

    def keys(self) -> AccessKey:
        """Return keys that are valid now. After an error, the next call starts from scratch. Raises
        ``StorageError``."""
        last = self._last
        if last is not None and (last.expires is None or last.expires - time.time() > RENEW_BEFORE_SECONDS):
            return last
        try:
            with without_botocore_logs(), _translate_errors(self._sign_in, self._sts):
                credentials = self.credentials()
                self._last = last = _keys(credentials, credentials.get_frozen_credentials())
                return last
        except StorageError:
            self.reset()
            raise

    def reset(self) -> None:
        """Forget the keys, so that the next call looks them up again."""
        with self._lock:
            self._credentials = self._last = None
        if isinstance(self._sign_in, AssumedRole) and isinstance(self._sign_in.source, MachineCredentials):
            shared_keys(self._sign_in.source).reset()

    def credentials(self) -> Credentials:
        """Return botocore's credentials, found but not refreshed."""
        with self._lock:
            if self._credentials is None:
                self._credentials = _find_credentials(self._sign_in)
                if not isinstance(self._credentials, RefreshableCredentials):
                    # Not shared: they come from a file, which is cheap to read again and may change.
                    _in_use.pop(self._sign_in, None)
            return self._credentials


_in_use: weakref.WeakValueDictionary[SignIn, RefreshableKeys] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared_keys(sign_in: MachineCredentials | AssumedRole) -> RefreshableKeys:
    """Return the keys of this machine or of a role, shared by all drivers that sign in the same way. No
    network call."""
    with _lock:
        found = _in_use.get(sign_in)
        if found is None:
            found = _in_use[sign_in] = RefreshableKeys(sign_in)
        return found


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The account and user or role that keys belong to."""

    account: str
    arn: str


def get_caller_identity(keys: AccessKey, sts: Sts) -> CallerIdentity:
    """Ask STS whose keys these are. Raises ``StorageError``.
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""
    with without_botocore_logs(), _translate_errors(keys, sts):
        name, secret, token = _revealed(keys)
        client = _client(
            sts,
            "sts",
            aws_access_key_id=name,
            aws_secret_access_key=secret,
            aws_session_token=token or None,
        )
        identity = client.get_caller_identity()
        account, arn = str(identity["Account"]), str(identity["Arn"])
        if not account.isdigit() or not _ARN.fullmatch(arn):
            raise ValueError("no identity")
    return CallerIdentity(account, arn)


def _find_credentials(sign_in: MachineCredentials | AssumedRole) -> Credentials:
    if isinstance(sign_in, MachineCredentials):
        session = botocore.session.Session(profile=sign_in.profile or None)
        found = boto3.session.Session(botocore_session=_without_prompt(session)).get_credentials()
        if found is None:
            raise no_credentials_error(sign_in)
        return found
    source = sign_in.source
    if isinstance(source, MachineCredentials):
        source_credentials = shared_keys(source).credentials()
    else:
        source_credentials = Credentials(*_revealed(source))
    named = {"RoleSessionName": sign_in.session_name or _SESSION_NAME}
    if sign_in.external_id:
        named["ExternalId"] = sign_in.external_id
    fetcher = AssumeRoleCredentialFetcher(
        partial(_client, sign_in.sts), source_credentials, sign_in.role, extra_args=named
    )
    return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")


def _without_prompt(session: Any) -> Any:
    """Prevent botocore from prompting for an MFA code, as nobody watches this terminal."""

    def refuse(*_: object) -> NoReturn:
        raise EOFError("an MFA code is required")

    session.get_component("credential_provider").get_provider("assume-role")._prompter = refuse
    return session


def _revealed(keys: AccessKey) -> tuple[str, str, str]:
    return keys.access_key_id, keys.secret_access_key.reveal(), keys.session_token.reveal()


def _keys(credentials: Any, frozen: Any) -> AccessKey:
    texts = (frozen.access_key or "", frozen.secret_key or "", frozen.token or "-")
    if not all(_TEXT.fullmatch(text) for text in texts):
        raise ValueError("no keys")
    expires = getattr(credentials, "_expiry_time", None)
    return AccessKey(
        frozen.access_key,
        Secret(frozen.secret_key),
        Secret(frozen.token or ""),
        expires.timestamp() if expires is not None else None,
    )


# ---- STS


@cache
def _session() -> Any:
    """Return a session for clients that ignores this machine's profiles, whose settings could redirect
    or block requests."""
    nothing = (None, None, os.devnull, None)
    return botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nothing,
            "credentials_file": nothing,
        }
    )


def _client(sts: Sts, service: str, **keys: str | None) -> Any:
    """Return a botocore client that uses our HTTP client."""
    session: Any = boto3.session.Session(botocore_session=_session())
    no_settings: Any = {"ignore_configured_endpoint_urls": True}
    config = Config(retries={"total_max_attempts": 1}, **no_settings)
    with _lock:
        client = session.client(
            service, region_name=sts.region, endpoint_url=sts.endpoint or None, config=config, **keys
        )
    send = partial(_send, tls_verify=sts.tls_verify, authority=sts.ca_certificate)
    client.meta.events.register("before-send.sts", send)
    return client


class _Body(io.BytesIO):
    """A response body with the interface that botocore expects."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _send(request: Any, *, tls_verify: bool, authority: str, **_: object) -> AWSResponse:
    """Send a request in place of botocore's urllib3.
    https://docs.aws.amazon.com/boto3/latest/guide/events.html"""
    parts = urlsplit(request.url)
    server = HttpClient(f"{parts.scheme}://{parts.netloc}", tls_verify=tls_verify, authority=authority)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
        if name.lower() != "content-length"
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    try:
        response = server.request(
            request.method, parts.path or "/", headers=headers, body=body, idle=IDLE_SECONDS
        )
    except TransportError as error:
        raise STS.transport_error(error.code, ErrorContext("sign in", "", "", server.host)) from error
    finally:
        server.close()
    response_headers: Any = response.headers
    return AWSResponse(request.url, response.status, response_headers, _Body(response.body))


@contextmanager
def _translate_errors(sign_in: SignIn, sts: Sts) -> Iterator[None]:
    """Translate the exceptions of botocore."""
    try:
        yield
    except StorageError:
        raise
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        failure = RequestFailure(status, error.response.get("Error", {}).get("Code", ""))
        raise service_error(failure, error.operation_name, sign_in, sts) from error
    # botocore lets through whatever a credential process, a file or a malformed response raises.
    except (BotoCoreError, OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError) as error:
        provider = str(getattr(error, "kwargs", {}).get("provider", ""))
        raise chain_error([each.__name__ for each in type(error).__mro__], provider, sign_in) from error
