"""Google Cloud Storage as its public documentation describes it, in threads of this process.

No emulator in a package registry speaks enough of it, so this one is written from
https://cloud.google.com/storage/docs/json_api/v1 (objects, buckets, resumable uploads, rewrites, errors),
https://cloud.google.com/storage/docs/authentication/signatures (signed links) and
https://developers.google.com/identity/protocols/oauth2/service-account (tokens). Signatures are checked with
``cryptography``, checksums are compared, and every precondition is kept.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.gcs.buckets import BucketRequests
from tests.servers.gcs.rules import (
    GRANT,
    GoogleError,
    error_body,
    is_signed_request,
    make_resource,
    merge_patch,
    select_fields,
    verify_assertion,
)
from tests.servers.gcs.uploads import UploadRequests, UploadSession

PROJECT = "stowage-tests-1"
_numbers = count(1)


@dataclass(frozen=True)
class BucketObject:
    """An object and its content."""

    resource: dict[str, Any]
    data: bytes


class GoogleStorage:
    """A server for as long as a ``with`` block lasts. ``writer`` may do everything, ``reader`` only read."""

    def __enter__(self) -> Self:
        self.lock = threading.RLock()
        self.buckets: dict[str, dict[bytes, BucketObject]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        """The resource of each bucket."""
        self.grants: dict[tuple[str, bytes], dict[str, str]] = {}
        """The access control lists of objects: role by entity."""
        self.older: dict[str, dict[tuple[bytes, str], BucketObject]] = {}
        """Older generations, in buckets with versioning."""
        self.sessions: dict[str, UploadSession] = {}
        self.tokens: dict[str, str] = {}
        self.generations = count(int(time.time() * 1_000_000))
        self.accepted_bytes: list[int] = []
        """How many bytes of each of the next chunks are accepted; all of them if empty."""
        self.throttled_calls = 0
        """How many of the next calls in batches are rejected with 429."""
        self.rewrite_step = 4 << 20
        self.requests: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"google": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.accounts: dict[str, rsa.RSAPublicKey] = {}
        self.writer, self.reader = self.new_key("writer"), self.new_key("reader")
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_key(self, name: str) -> str:
        """Create a service account. Returns its key as the JSON file that the console offers."""
        # Short, because parsing a key of the usual length takes a tenth of a second.
        private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        email = f"{name}@{PROJECT}.iam.gserviceaccount.com"
        self.accounts[email] = private.public_key()
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key_file = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": secrets.token_hex(20),
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "1" * 21,
            "token_uri": f"{self.endpoint}/token",
            "universe_domain": "googleapis.com",
        }
        return json.dumps(key_file, indent=2) + "\n"

    def new_bucket(self, *, versioned: bool = False, **access: Any) -> str:
        """Create a bucket with a new name; ``access`` is its ``iamConfiguration``."""
        name = f"bucket-{next(_numbers)}"
        self.add_bucket(name, {"iamConfiguration": access})
        if versioned:
            self.older[name] = {}
        return name

    def add_bucket(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Create a bucket."""
        self.buckets[name] = {}
        self.settings[name] = {"kind": "storage#bucket", **given, "name": name, "metageneration": "1"}
        return self.settings[name]

    def forget(self, bucket: str) -> None:
        """Let go of what a bucket of :meth:`new_bucket` holds, and of every unfinished upload."""
        self.buckets[bucket].clear()
        self.older.get(bucket, {}).clear()
        self.sessions.clear()

    def archive(self, bucket: str, name: bytes) -> None:
        """Remove the current generation; with versioning it becomes an older one."""
        stored = self.buckets[bucket].pop(name, None)
        if stored is not None and bucket in self.older:
            resource = {**stored.resource, "timeDeleted": stored.resource["updated"]}
            self.older[bucket][name, resource["generation"]] = BucketObject(resource, stored.data)

    def store(self, bucket: str, given: dict[str, Any], data: bytes, *, composite: bool = False) -> Any:
        """Write an object, replacing the current one."""
        generation = str(next(self.generations))
        resource = make_resource(bucket, given, data, generation, composite=composite)
        name = resource["name"].encode()
        self.archive(bucket, name)
        self.grants.pop((bucket, name), None)
        self.buckets[bucket][name] = BucketObject(resource, data)
        return resource

    def corrupt(self, bucket: str, name: str) -> None:
        """Damage the content of an object so that it no longer matches its checksums."""
        stored = self.buckets[bucket][name.encode()]
        data = bytes([stored.data[0] ^ 1]) + stored.data[1:]
        self.buckets[bucket][name.encode()] = BucketObject(stored.resource, data)

    def incomplete_uploads(self) -> int:
        """Count the resumable uploads that are neither finished nor aborted."""
        return sum(session.done is None for session in self.sessions.values())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Handler(BucketRequests, UploadRequests, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    google: GoogleStorage

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        self.google.requests.append((self.command, self.path))
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        try:
            with self.google.lock:
                self._route([unquote(part, errors="strict") for part in path.split("/")[1:]])
        except GoogleError as failure:
            self._send(failure.status, error_body(failure), {})
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    def _route(self, path: list[str]) -> None:
        command = self.command
        if path == ["token"] and command == "POST":
            return self._token()
        if path[:1] not in (["storage"], ["download"], ["upload"], ["batch"]):
            return self._signed_request(path)
        self.email = self.google.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "")
        if not self.email:
            raise GoogleError(401, "authError", "Invalid Credentials")
        if path == ["batch", "storage", "v1"] and command == "POST":
            return self._batch()
        self._check_permission(path)
        match path:
            case ["storage", "v1", "b"] if command == "POST":
                self._create_bucket()
            case ["storage", "v1", "b", bucket]:
                self._get_bucket(bucket)
                self._settings(bucket)
            case ["storage", "v1", "b", bucket, "o", name, "acl", *entity]:
                self._get_object(bucket, name)
                self._acl(bucket, name.encode(), *entity)
            case ["storage", "v1", "b", bucket, "o"] if command == "GET":
                self._list(bucket)
            case ["storage", "v1", "b", bucket, "o", name, "rewriteTo", "b", other, "o", to]:
                self._rewrite(bucket, name, other, to)
            case ["storage", "v1", "b", bucket, "o", name] if command == "GET":
                self._json(self._get_object(bucket, name).resource)
            case ["download", "storage", "v1", "b", bucket, "o", name] if self.query.get("alt") == "media":
                self._media(self._get_object(bucket, name))
            case ["storage", "v1", "b", bucket, "o", name] if command == "DELETE":
                self._get_object(bucket, name)
                self.google.archive(bucket, name.encode())
                self._send(204, b"", {})
            case ["storage", "v1", "b", bucket, "o", name] if command == "PATCH":
                self._patch(self._get_object(bucket, name))
            case ["upload", "storage", "v1", "b", bucket, "o"]:
                self._upload(bucket)
            case _:
                raise GoogleError(404, "notFound", "Not Found")
        return None

    def _token(self) -> None:
        form = dict(parse_qsl(self.body.decode()))
        try:
            if form.get("grant_type") != GRANT:
                raise GoogleError(400, "unsupported_grant_type", "Invalid grant_type")
            email = verify_assertion(form.get("assertion", ""), self.google.accounts)
        except GoogleError as failure:
            body = {"error": failure.reason, "error_description": failure.message}
            return self._send(failure.status, json.dumps(body).encode(), _JSON)
        token = "ya29." + secrets.token_urlsafe(24)
        self.google.tokens[token] = email
        return self._json({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _get_bucket(self, name: str) -> dict[bytes, BucketObject]:
        try:
            return self.google.buckets[name]
        except KeyError:
            raise GoogleError(404, "notFound", "The specified bucket does not exist.") from None

    def _get_object(self, bucket: str, name: str, condition: str = "ifGenerationMatch") -> BucketObject:
        stored = self._get_bucket(bucket).get(name.encode())
        requested = self.query.get("generation", self.query.get("sourceGeneration"))
        stored = self.google.older.get(bucket, {}).get((name.encode(), requested or ""), stored)
        if stored is None or (requested is not None and stored.resource["generation"] != requested):
            raise GoogleError(404, "notFound", f"No such object: {bucket}/{name}")
        if self.query.get(condition, stored.resource["generation"]) != stored.resource["generation"]:
            raise GoogleError.precondition()
        return stored

    def _patch(self, stored: BucketObject) -> None:
        """A merge patch (RFC 7396) of what can be changed; the generation stays."""
        current, given = stored.resource, json.loads(self.body)
        if self.query.get("ifMetagenerationMatch", current["metageneration"]) != current["metageneration"]:
            raise GoogleError.precondition()
        merge_patch(current, given)
        current["metageneration"] = str(int(current["metageneration"]) + 1)
        self._json(current)

    def _create_bucket(self) -> None:
        given = json.loads(self.body)
        if self.query.get("project") != PROJECT:
            raise GoogleError(400, "invalid", "Unknown project id: " + self.query.get("project", ""))
        if given["name"] in self.google.buckets:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise GoogleError(409, "conflict", message)
        self._json(self.google.add_bucket(given["name"], given))

    def _list(self, bucket: str) -> None:
        prefix, start = self.query.get("prefix", "").encode(), self.query.get("startOffset", "").encode()
        after = bytes.fromhex(self.query.get("pageToken", ""))
        names = sorted(self._get_bucket(bucket))
        names = [n for n in names if n.startswith(prefix) and n >= start and (not after or n > after)]
        most = min(int(self.query.get("maxResults", "1000")), 1000)
        page: dict[str, Any] = {"kind": "storage#objects"}
        if self.query.get("versions") == "true":
            older = self.google.older.get(bucket, {})
            kept = [*older.values(), *self.google.buckets[bucket].values()]
            states = [entry.resource for entry in kept if entry.resource["name"].encode().startswith(prefix)]
            states.sort(key=lambda entry: (entry["name"].encode(), int(entry["generation"])))
            page["items"] = states
        elif names:
            page["items"] = [self.google.buckets[bucket][name].resource for name in names[:most]]
        if len(names) > most:
            page["nextPageToken"] = names[most - 1].hex()
        self._json(select_fields(page, self.query.get("fields", "")))

    def _media(self, stored: BucketObject) -> None:
        resource, data = stored.resource, stored.data
        headers = {
            "Content-Type": resource.get("contentType", "application/octet-stream"),
            "Cache-Control": resource.get("cacheControl", "private, max-age=0"),
            "X-Goog-Generation": resource["generation"],
            "X-Goog-Stored-Content-Length": resource["size"],
            "X-Goog-Hash": f"crc32c={resource['crc32c']}",
        }
        if resource.get("contentEncoding") == "gzip" and "gzip" not in self.headers.get(
            "Accept-Encoding", ""
        ):
            data = gzip.decompress(data)
        byte_range = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if byte_range is None:
            return self._send(200, data, headers)
        first, last = int(byte_range[1]), min(int(byte_range[2]), len(data) - 1)
        if first > last:
            raise GoogleError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._send(206, data[first : last + 1], headers)

    def _rewrite(self, bucket: str, name: str, other: str, to: str) -> None:
        source = self._get_object(bucket, name, "ifSourceGenerationMatch")
        target = self._get_bucket(other).get(to.encode())
        requested = self.query.get("ifGenerationMatch")
        if requested is not None and (target is None or target.resource["generation"] != requested):
            raise GoogleError.precondition()
        size = len(source.data)
        so_far = int(self.query.get("rewriteToken", "at 0").removeprefix("at ")) + self.google.rewrite_step
        done = str(min(so_far, size))
        progress = {"kind": "storage#rewriteResponse", "objectSize": str(size), "totalBytesRewritten": done}
        if so_far < size:
            return self._json(progress | {"done": False, "rewriteToken": f"at {so_far}"})
        given = json.loads(self.body) if self.body else source.resource
        resource = self.google.store(
            other, {**given, "name": to}, source.data, composite="md5Hash" not in source.resource
        )
        return self._json(progress | {"done": True, "resource": resource})

    def _signed_request(self, path: list[str]) -> None:
        bucket, name = path[0], "/".join(path[1:])
        is_public = "allUsers" in self.google.grants.get((bucket, name.encode()), {})
        signed = self.command, self.path, self.headers, self.query
        if (self.command != "GET" or not is_public) and not is_signed_request(*signed, self.google.accounts):
            return self._send(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", {})
        if self.command == "PUT":
            allowed = self.headers.get("x-goog-content-length-range", "0,999999999")
            minimum, maximum = map(int, allowed.split(","))
            if not minimum <= len(self.body) <= maximum:
                return self._send(400, b"<Error><Code>EntityTooLarge</Code></Error>", {})
            given = {"name": name, "contentType": self.headers.get("Content-Type", "")}
            self.google.store(bucket, given, self.body)
            return self._send(200, b"", {})
        stored = self.google.buckets.get(bucket, {}).get(name.encode())
        if stored is None:
            return self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
        return self._media(stored)

    def _json(self, document: Any) -> None:
        self._send(200, json.dumps(document).encode(), _JSON)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self.batch_responses is not None:
            self.batch_responses.append((status, body))
            return
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


_JSON = {"Content-Type": "application/json; charset=UTF-8"}
