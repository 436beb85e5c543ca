"""Files that web frameworks receive and send: an uploaded file is stored, a stored one is a response."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack
from typing import IO, Any, Protocol

from dashboard.storage.driver import Driver, Reading
from dashboard.storage.library.contents import put_unique, received_content, received_name
from dashboard.storage.paths import guess_content_type
from dashboard.storage.types import Attributes, Written

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Message = MutableMapping[str, Any]


class _Stores(Protocol):
    def put(
        self,
        key: str,
        content: bytes | str | IO[bytes],
        *,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Written: ...


class WebFiles:
    """Mixed into classes that have a ``driver``. Thread-safe as the driver is."""

    @property
    @abstractmethod
    def driver(self) -> Driver:
        """The driver that does the work."""

    def put_upload(self: _Stores, file: object, folder: str = "", *, content_type: str = "") -> str:
        """Store a file that a web framework has received (Flask, Django, FastAPI, or any open file with a
        name) under a unique name in ``folder``; returns its key. Atomic. The type is guessed from the name,
        because what a browser says about it is not checked. Nor is the content."""
        from dashboard.storage.naming import UniqueNames

        key = UniqueNames(folder).key_for(received_name(file) or "file")
        attributes = Attributes(content_type=content_type or guess_content_type(key))
        put_unique(self, key, received_content(file), attributes)
        return key

    def download_response(self, key: str, *, name: str = "") -> DownloadResponse:
        """Return an object as a download: an application for WSGI, which Flask accepts from a view, and for
        ASGI. Raises ``NotFound`` now, not when it is called."""
        return DownloadResponse(self.driver, key, name)


class DownloadResponse:
    """One object as a response, always as an attachment, so that a browser does not run it. Called once."""

    def __init__(self, driver: Driver, key: str, name: str) -> None:
        self._stack = ExitStack()
        self._reading: Reading = self._stack.enter_context(driver.read(key))
        self.headers: Mapping[str, str] = _headers(self._reading, name or key.rpartition("/")[2])

    def __call__(self, *arguments: Any) -> Any:
        """Answer a WSGI request with two arguments, an ASGI one with three."""
        return self._wsgi(*arguments) if len(arguments) == 2 else self._asgi(*arguments)

    def close(self) -> None:
        """Close the read. Idempotent; sending it does so too."""
        self._stack.close()

    def _wsgi(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(self.headers.items()))
        if environ.get("REQUEST_METHOD") == "HEAD":
            self.close()
            return ()
        return _Body(self._reading, self.close)

    async def _asgi(
        self, scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        # A program without an event loop need not load one.
        import asyncio

        try:
            headers = [
                (name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope.get("method") != "HEAD":
                chunks = self._reading.chunks()
                while chunk := await asyncio.to_thread(next, chunks, b""):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.close()


class _Body:
    """The iterable of a WSGI response, which the server closes."""

    def __init__(self, reading: Reading, close: Callable[[], None]) -> None:
        self._chunks = reading.chunks()
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _headers(reading: Reading, name: str) -> dict[str, str]:
    from dashboard.storage.naming import content_disposition

    info = reading.info
    headers = {
        "Content-Type": info.attributes.content_type or "application/octet-stream",
        "Content-Length": str(info.size),
        "Content-Disposition": content_disposition(name),
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if info.etag:
        headers["ETag"] = f'"{info.etag}"'
    # What a server stored may not break out of its header.
    return {each: "".join(c for c in value if " " <= c <= "~") for each, value in headers.items()}
