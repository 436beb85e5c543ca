"""The only file that knows obstore: whole objects in and out of S3, for keys it keeps exactly.

Synchronous calls, to be made from threads: its asynchronous ones abort at interpreter exit now and then.
It never learns a key of the customer's own (SSE-C), which its configuration would show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from dashboard.storage.drivers._s3_errors import Failure, about_encryption
from dashboard.storage.drivers._s3_place import CONNECT_SECONDS, IDLE_SECONDS, OVERALL_SECONDS, Place
from dashboard.storage.wire import trouble_in

if TYPE_CHECKING:
    from obstore import GetResult

CHUNK = 1024 * 1024


class ObstoreError(Exception):
    """A failed call in neutral words. The vendor's exception is the cause."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code or failure.trouble or str(failure.status))
        self.failure = failure


Store = S3Store
"""An open client; callers name its type without knowing the vendor."""


def open_store(place: Place) -> Store:
    """A store for the place's bucket. No network call.

    obstore fills what it is not told from ``AWS_*`` variables, so the endpoint is given under both its
    names and credentials come from a callback: nothing around the process can redirect or replace them,
    and the store's ``config`` holds no secret.
    """

    def credentials() -> dict[str, Any]:
        return {
            "access_key_id": place.access_key_id,
            "secret_access_key": place.secret_access_key.reveal(),
            "token": place.session_token.reveal() or None,
            "expires_at": None,
        }

    url = place.endpoint if place.path_style else place.bucket_url
    client: dict[str, Any] = {
        "allow_http": not place.tls,
        "allow_invalid_certificates": not place.tls_verify,
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=IDLE_SECONDS),
        "timeout": timedelta(seconds=OVERALL_SECONDS),
        "user_agent": "stowage",
    }
    if place.ca_certificate:
        client["root_certificate"] = place.ca_certificate
    options: dict[str, Any] = {}
    if place.sse:
        options["server_side_encryption"] = place.sse
        if place.sse_kms_key_id:
            options["sse_kms_key_id"] = place.sse_kms_key_id
    return S3Store(
        place.bucket,
        endpoint=url,
        aws_endpoint_url_s3=url,
        region=place.region,
        virtual_hosted_style_request=not place.path_style,
        disable_bulk_delete=True,
        skip_signature=False,
        conditional_put="etag",
        credential_provider=credentials,  # type: ignore[arg-type]  # a callable is what it documents
        client_options=client,  # type: ignore[arg-type]
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=120)},
        **options,
    )


class Got:
    """An open GET: what the answer said, and its body, to be consumed once."""

    def __init__(self, result: GetResult, key: str) -> None:
        self._result: GetResult | None = result
        self._key = key
        meta = result.meta
        self.size: int = meta["size"]
        self.modified: float = meta["last_modified"].timestamp()
        self.etag: str = meta["e_tag"] or ""
        self.attributes: Mapping[str, str] = result.attributes

    def whole(self) -> bytes:
        """The body in one piece."""
        with _neutral(self._key):
            return bytes(self._open.bytes())

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of about ``CHUNK`` bytes."""
        with _neutral(self._key):
            stream = iter(self._open.stream(CHUNK))
        while True:
            with _neutral(self._key):
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    def close(self) -> None:
        """Let go of the connection."""
        self._result = None

    @property
    def _open(self) -> GetResult:
        if self._result is None:
            raise ValueError("read after close")
        return self._result


def get(store: S3Store, key: str, etag: str | None) -> Got:
    """Open an object; with an ``etag``, only that version."""
    with _neutral(key):
        if etag is None:
            return Got(obstore.get(store, key), key)
        return Got(obstore.get(store, key, options={"if_match": f'"{etag}"'}), key)


def put(store: S3Store, key: str, data: bytes, attributes: Mapping[str, str], *, create_only: bool) -> str:
    """Write an object in one request and return its ETag, quotes and all."""
    mode: Literal["create", "overwrite"] = "create" if create_only else "overwrite"
    with _neutral(key):
        done = obstore.put(store, key, data, attributes=dict(attributes), mode=mode, use_multipart=False)
        return done["e_tag"] or ""


def delete(store: S3Store, key: str) -> None:
    """Remove an object."""
    with _neutral(key):
        obstore.delete(store, key)


_TELLING = 7
"""Letters of the shortest phrase that would be misunderstood."""
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,400})</Message>")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (FileNotFoundError, 404),
    (AlreadyExistsError, 412),
    (PreconditionError, 412),
    (NotModifiedError, 304),
    (PermissionDeniedError, 403),
    (UnauthenticatedError, 401),
)


@contextmanager
def _neutral(key: str) -> Iterator[None]:
    """Every way obstore fails, as ``ObstoreError``. Its own text is 1-5 kB of debug output."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise ObstoreError(_failure(error, key)) from error
    except BaseException as error:
        # A panic in Rust arrives as a BaseException of a module that cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise ObstoreError(Failure(trouble="other")) from error


def _failure(error: Exception, key: str) -> Failure:
    # A long key may spell anything, "timed out" included; the URL holds it escaped.
    text = str(error).replace(key, "") if len(key) >= _TELLING else str(error)
    status = _first(_STATUS, text)
    code = _first(_CODE, text)
    if status or code:
        sealed = about_encryption(_first(_MESSAGE, text))
        return Failure(int(status or 400), code, _first(_REGION, text), sealed=sealed)
    for kind, number in _STATUS_OF:
        if isinstance(error, kind):
            return Failure(number)
    return Failure(trouble=trouble_in(text))


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""
