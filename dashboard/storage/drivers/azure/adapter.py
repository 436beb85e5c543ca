"""A transport that sends the requests of Azure's SDK over our own connections and limits every response.

The SDK alone reads, decompresses and parses responses of any size. Here every response is read into memory up
to a limit and checked before the SDK sees it. Only the content of a blob is long, and the SDK requests it in
ranges of at most 8 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ProtocolError

from dashboard.storage.drivers.azure.config import AzureConfig
from dashboard.storage.errors import Damaged
from dashboard.storage.net.http1 import TransportError
from dashboard.storage.net.http_client import IDLE_SECONDS, HttpClient, Response, read_error_body, read_whole
from dashboard.storage.net.parsing import MalformedResponse, check_xml_size
from dashboard.storage.net.ranges import range_from_response

_MAX_BLOCK_ELEMENTS = 200_000
"""XML elements in a list of blocks; a blob has up to 50,000 blocks."""
_MAX_BATCH_BYTES = 1024 * 1024
_MAX_BATCH_PARTS = 2000
_REQUEST_SENT = frozenset(
    {"reset", "cut", "unreadable", "endless", "two_lengths", "redirect", "plain", "other"}
)
_RANGE = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})")
_HOP_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})


class Adapter(BaseAdapter):
    """An adapter for a session of requests. Thread-safe; only sends to one server."""

    def __init__(self, config: AzureConfig) -> None:
        super().__init__()
        # Normalized like requests does: host names outside ASCII are encoded, for example.
        endpoint = requests.Request("GET", config.endpoint).prepare().url or ""
        self._origin = _origin(endpoint)
        self._server = HttpClient(endpoint, tls_verify=config.tls_verify, authority=config.ca_certificate)

    def send(  # noqa: PLR0917 - requests calls it so
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """See ``BaseAdapter``. Raises the exceptions of requests, with the code as ``transport_code``."""
        url, method = request.url or "", request.method or ""
        if _origin(url) != self._origin:
            raise requests.exceptions.InvalidURL("a request to another server")
        headers = {name.lower(): _to_text(value) for name, value in request.headers.items()}
        forwarded = {name: value for name, value in headers.items() if name not in _HOP_HEADERS}
        query = parse_qs(urlsplit(url).query)
        idle = timeout[1] if isinstance(timeout, tuple) and timeout[1] else IDLE_SECONDS
        try:
            streaming = self._server.open(
                method,
                request.path_url,
                headers=forwarded,
                body=_to_bytes(request.body) or None,
                idle=float(idle),
            )
            if streaming.status >= 400:
                response = read_error_body(streaming)
            elif method == "GET" and not {"comp", "restype"} & query.keys():
                response = read_whole(streaming, encoded=True)
                _check_content_range(response, headers.get("x-ms-range") or headers.get("range", ""))
            else:
                response = read_whole(streaming)
                _check_document(response, query.get("comp", [""])[0])
        except TransportError as error:
            raise _to_requests_error(error.code) from error
        except MalformedResponse as error:
            raise _to_requests_error("unreadable") from error
        return _to_response(request, response)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._server.close()


class _BufferedBody:
    """A body in memory, with the interface that the SDK reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.enforce_content_length = True

    def stream(self, amt: int = 0, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body."""
        yield self._body

    def close(self) -> None:
        """Nothing is open."""

    release_conn = close


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _check_content_range(response: Response, range_header: str) -> None:
    """Raise :class:`TransportError` for another part of a blob than was requested: the SDK does not check."""
    requested = _RANGE.fullmatch(range_header)
    if response.status != 206 or requested is None:
        return
    start, last = int(requested[1]), int(requested[2])
    total = response.headers.get("content-range", "").rpartition("/")[2]
    if not response.body and total.isdecimal() and start >= int(total):
        # Azurite's response to a range past the end.
        return
    try:
        range_from_response(
            206, response.headers, iter([response.body]), key="", start=start, length=last - start + 1
        )
    except Damaged as error:
        raise TransportError("cut") from error


def _check_document(response: Response, document_type: str) -> None:
    """Raise ``MalformedResponse`` if parsing the document would use too much memory."""
    if document_type == "list":
        return
    if document_type == "batch":
        if len(response.body) > _MAX_BATCH_BYTES or response.body.count(b"\n--") > _MAX_BATCH_PARTS:
            raise MalformedResponse("the response is too long")
    else:
        check_xml_size(response.body, _MAX_BLOCK_ELEMENTS if document_type == "blocklist" else None)


def _to_response(request: requests.PreparedRequest, response: Response) -> requests.Response:
    result = requests.Response()
    result.status_code = response.status
    result.headers = CaseInsensitiveDict(response.headers)
    result.reason = HTTPStatus(response.status).phrase if response.status in _PHRASES else ""
    result.request = request
    result.url = request.url or ""
    result.encoding = "utf-8"
    result.raw = _BufferedBody(response.body)
    internals: Any = result
    internals._content = response.body
    internals._content_consumed = True
    return result


_PHRASES = frozenset(map(int, HTTPStatus))


def _to_requests_error(code: str) -> requests.RequestException:
    """The exception that makes the SDK retry only requests that cannot have reached the server."""
    error: Any
    if code in ("timeout", "slow"):
        error = requests.ReadTimeout(code)
    elif code in _REQUEST_SENT:
        error = requests.ConnectionError(ProtocolError(code))
    else:
        error = requests.ConnectionError(code)
    error.transport_code = code
    return error  # type: ignore[no-any-return]


def error_code_of(error: BaseException | None) -> str:
    """The name of what went wrong with a request of this adapter, empty where nothing of it is known."""
    while error is not None:
        if isinstance(error, TransportError):
            return error.code
        code = getattr(error, "transport_code", "")
        if isinstance(code, str) and code:
            return code
        error = getattr(error, "inner_exception", None) or error.__cause__
    return ""


def _to_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    read = getattr(body, "read", None)
    return bytes(read()) if read is not None else b"".join(body)


def _to_text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
