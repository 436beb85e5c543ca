"""Vercel Blob as its own client knows it, in threads of this process.

There is no emulator and no reference of the protocol; this is made from what ``@vercel/blob`` 2.8 sends and
expects (``src/api.ts``, ``put``, ``head``, ``list``, ``copy``, ``del``, ``multipart``). The API is below
``/api/blob``; everything else is the network that delivers the bytes, which may be told to be a version late.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote

SUFFIX = "secretnotforuse0"
_LEAST_PART = 5 << 20


@dataclass
class Blob:
    """A stored blob."""

    data: bytes
    content_type: str
    max_age: int
    etag: str
    uploaded: str


@dataclass
class Store:
    """A store and its unfinished uploads."""

    access: str
    blobs: dict[str, Blob] = field(default_factory=dict)
    before: dict[str, Blob] = field(default_factory=dict)
    uploads: dict[str, dict[int, tuple[str, bytes]]] = field(default_factory=dict)
    suspended: bool = False


class VercelBlob:
    """A server for as long as a ``with`` block lasts."""

    def __enter__(self) -> Self:
        self.lock = threading.RLock()
        self.stores: dict[str, Store] = {}
        self.late = False
        """Whether replaced public blobs are delivered as they were before."""
        self.numbers = count(1)
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"vercel": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/api/blob"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_store(self, access: str = "public") -> str:
        """An empty store; returns its read-write token."""
        name = f"Store{next(self.numbers)}"
        self.stores[name] = Store(access)
        return f"vercel_blob_rw_{name}_{SUFFIX}"

    def forget(self, token: str) -> None:
        """Let go of what the store of this token holds."""
        store = self.store(token)
        for held in (store.blobs, store.before, store.uploads):
            held.clear()

    def store(self, token: str) -> Store:
        """The store of a token."""
        return self.stores[token.split("_")[3]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may break off."""


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


_MISSING = (404, "not_found", "The requested blob does not exist")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    vercel: VercelBlob

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output readable."""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        try:
            with self.vercel.lock:
                if path == "/api/blob" or path.startswith("/api/blob/"):
                    self._json(self._asked(path.removeprefix("/api/blob")))
                else:
                    self._deliver(unquote(path[1:], errors="strict"))
        except _Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message}
            self._send(refusal.status, json.dumps({"error": error}).encode(), {})
        self.wfile.flush()

    do_GET = do_PUT = do_POST = _serve

    def _asked(self, path: str) -> dict[str, Any]:
        if self.headers.get("x-api-version") != "12":
            raise _Refusal(400, "bad_request", "Unknown API version")
        store = self._store()
        match self.command, path:
            case "GET", "" if "url" in self.query:
                return self._described(self._name(self.query["url"]), store)
            case "GET", "":
                return self._listed(store)
            case "PUT", "" if "fromUrl" in self.query:
                source = store.blobs.get(self._name(self.query["fromUrl"]))
                if source is None:
                    raise _Refusal(*_MISSING)
                return self._made(store, source.data)
            case "PUT", "":
                return self._made(store, self.body)
            case "POST", "/delete":
                for url in json.loads(self.body)["urls"]:
                    store.blobs.pop(self._name(url), None)
                return {}
            case "POST", "/mpu":
                return self._multipart(store)
        raise _Refusal(404, "not_found", "No such request")

    def _store(self) -> Store:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        match = re.fullmatch(rf"vercel_blob_rw_(\w+?)_{SUFFIX}", token)
        if not match:
            raise _Refusal(403, "forbidden", "Access denied, please provide a valid token for this resource.")
        store = self.vercel.stores.get(match[1])
        if store is None:
            raise _Refusal(404, "store_not_found", "This store does not exist.")
        if store.suspended:
            raise _Refusal(403, "store_suspended", "This store has been suspended.")
        return store

    def _name(self, url: str) -> str:
        host = f"http://{self.headers['Host']}/"
        return unquote(url.removeprefix(host)) if url.startswith(host) else url

    def _described(self, name: str, store: Store) -> dict[str, Any]:
        blob = store.blobs.get(name)
        if blob is None:
            raise _Refusal(*_MISSING)
        url = f"http://{self.headers['Host']}/{quote(name, safe='/')}"
        return {
            "url": url,
            "downloadUrl": url + "?download=1",
            "pathname": name,
            "size": len(blob.data),
            "contentType": blob.content_type,
            "contentDisposition": f'inline; filename="{name.rpartition("/")[2]}"',
            "cacheControl": f"public, max-age={blob.max_age}",
            "uploadedAt": blob.uploaded,
            "etag": blob.etag,
        }

    def _listed(self, store: Store) -> dict[str, Any]:
        most = min(int(self.query.get("limit", "1000")), 1000)
        # In an order nobody may rely on.
        names = sorted(store.blobs, reverse=True)
        names = [name for name in names if name.startswith(self.query.get("prefix", ""))]
        begin = int(self.query.get("cursor", "0"))
        shown = names[begin : begin + most]
        more = len(names) > begin + most
        keys = ("url", "downloadUrl", "pathname", "size", "uploadedAt", "etag")
        blobs = [{key: self._described(name, store)[key] for key in keys} for name in shown]
        return {"blobs": blobs, "hasMore": more, **({"cursor": str(begin + most)} if more else {})}

    def _made(self, store: Store, data: bytes) -> dict[str, Any]:
        name = self._allowed(store)
        if name in store.blobs:
            store.before[name] = store.blobs[name]
        store.blobs[name] = Blob(
            data,
            self.headers.get("x-content-type", "text/plain"),
            int(self.headers.get("x-cache-control-max-age", "2592000")),
            f'"{hashlib.sha256(data).hexdigest()[:20]}{next(self.vercel.numbers)}"',
            datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        found = self._described(name, store)
        return {key: found[key] for key in found if key not in ("size", "uploadedAt", "cacheControl")}

    def _allowed(self, store: Store) -> str:
        """The name that may be written, or a refusal."""
        name, access = self.query["pathname"], self.headers.get("x-vercel-blob-access", "public")
        if access != store.access:
            message = f"Vercel Blob: Cannot use {access} access on a {store.access} store."
            raise _Refusal(400, "bad_request", message)
        if "//" in name or not name or len(name) > 950:
            raise _Refusal(400, "bad_request", 'pathname cannot contain "//"')
        if self.headers.get("x-add-random-suffix") == "1":
            name += "-" + secrets.token_hex(8)
        if name in store.blobs and self.headers.get("x-allow-overwrite") != "1":
            message = "This blob already exists, use `allowOverwrite: true` if you want to overwrite it."
            raise _Refusal(400, "bad_request", message)
        if int(self.headers.get("x-cache-control-max-age", "60")) < 60:
            raise _Refusal(400, "bad_request", "cacheControlMaxAge is too small")
        return name

    def _multipart(self, store: Store) -> dict[str, Any]:
        name, action = self.query["pathname"], self.headers["x-mpu-action"]
        if action == "create":
            self._allowed(store)
            upload = secrets.token_hex(8)
            store.uploads[upload] = {}
            return {"uploadId": upload, "key": f"{store.access}/{name}"}
        parts = store.uploads.get(self.headers["x-mpu-upload-id"])
        if parts is None or unquote(self.headers["x-mpu-key"]) != f"{store.access}/{name}":
            raise _Refusal(404, "not_found", "The upload does not exist")
        if action == "upload":
            etag = f'"{hashlib.md5(self.body).hexdigest()}"'
            parts[int(self.headers["x-mpu-part-number"])] = (etag, self.body)
            return {"etag": etag}
        named = [(part["partNumber"], part["etag"]) for part in json.loads(self.body)]
        if named != [(number, parts[number][0]) for number in sorted(parts)]:
            raise _Refusal(400, "bad_request", "Parts do not match")
        sizes = [len(parts[number][1]) for number in sorted(parts)]
        if any(size < _LEAST_PART or size != sizes[0] for size in sizes[:-1]):
            raise _Refusal(400, "bad_request", "Parts are too small or of different sizes")
        made = self._made(store, b"".join(parts[number][1] for number in sorted(parts)))
        del store.uploads[self.headers["x-mpu-upload-id"]]
        return made

    def _deliver(self, name: str) -> None:
        for store in self.vercel.stores.values():
            if name in store.blobs:
                break
        else:
            raise _Refusal(*_MISSING)
        if store.access == "private" and self._store() is not store:
            raise _Refusal(*_MISSING)
        late = self.vercel.late and not (store.access == "private" and self.query.get("cache") == "0")
        blob = store.before.get(name, store.blobs[name]) if late else store.blobs[name]
        headers = {"Content-Type": blob.content_type, "ETag": blob.etag}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span is None:
            return self._send(200, blob.data, headers)
        first, last = int(span[1]), min(int(span[2]), len(blob.data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(blob.data)}"
        return self._send(206, blob.data[first : last + 1], headers)

    def _json(self, found: Any) -> None:
        self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
