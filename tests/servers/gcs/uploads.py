"""Uploads to the Google Cloud Storage of the tests: in one request, and resumable ones.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.servers.gcs.rules import GoogleError, checksums, parted, typed


@dataclass
class UploadSession:
    """A resumable upload."""

    bucket: str
    resource: dict[str, Any]
    query: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: dict[str, Any] | None = None


class UploadRequests:
    """Mixed into the handler of the server."""

    google: Any

    def _upload(self, bucket: str) -> None:
        objects = self._bucket(bucket)
        if "upload_id" in self.query:
            return self._piece()
        if self.command != "POST":
            raise GoogleError(404, "notFound", "Not Found")
        if self.query["uploadType"] == "multipart":
            given, data = parted(self.headers.get("Content-Type", ""), self.body)
            given.setdefault("name", self.query.get("name"))
            self._check_create(objects, given["name"], self.query)
            checksums(given, data)
            return self._json(self.google.store(bucket, given, data))
        given = typed(json.loads(self.body), self.headers.get("X-Upload-Content-Type", ""))
        given.setdefault("name", self.query.get("name"))
        self._check_create(objects, given["name"], self.query)
        upload = secrets.token_hex(16)
        self.google.sessions[upload] = UploadSession(bucket, given, self.query)
        query = urlencode({"uploadType": "resumable", "name": given["name"], "upload_id": upload})
        place = self.path.partition("?")[0]
        return self._send(200, b"", {"Location": f"{self.google.endpoint}{place}?{query}"})

    def _check_create(self, objects: dict[bytes, Any], name: str, query: dict[str, str]) -> None:
        if query.get("ifGenerationMatch") == "0" and name.encode() in objects:
            raise GoogleError.precondition()
        if not name or len(name.encode()) > 1024 or "\n" in name or "\r" in name:
            raise GoogleError(400, "invalid", "Disallowed unicode characters present in object name")

    def _piece(self) -> None:
        session = self.google.sessions.get(self.query["upload_id"])
        if session is None:
            raise GoogleError(404, "notFound", "Not Found")
        if self.command == "DELETE":
            del self.google.sessions[self.query["upload_id"]]
            return self._send(499, b"", {})
        if session.done is None:
            self._take(session)
        if session.done is not None:
            return self._json(session.done)
        held = len(session.data)
        return self._send(308, b"", {"Range": f"bytes=0-{held - 1}"} if held else {})

    def _take(self, session: UploadSession) -> None:
        span, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        if span != "*":
            first, last = (int(number) for number in span.split("-"))
            if first > len(session.data) or last - first + 1 != len(self.body):
                raise GoogleError(400, "invalid", "Invalid request. The Content-Range is off.")
            if total == "*" and len(self.body) % (256 << 10):
                raise GoogleError(400, "invalid", "Invalid request. Pieces are multiples of 256 KiB.")
            fresh = self.body[len(session.data) - first :]
            if self.google.takes:
                fresh = fresh[: self.google.takes.pop(0)]
            session.data += fresh
        if total == "*" or len(session.data) < int(total):
            return
        given = dict(session.resource)
        for each in filter(None, self.headers.get("X-Goog-Hash", "").split(",")):
            name, _, value = each.strip().partition("=")
            given[{"crc32c": "crc32c", "md5": "md5Hash"}[name]] = value
        data = bytes(session.data)
        self._check_create(self._bucket(session.bucket), given["name"], session.query)
        checksums(given, data)
        session.done = self.google.store(session.bucket, given, data)
        session.data.clear()
