"""Uploads to the fake Google Cloud Storage: in one request, and resumable ones.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.servers.gcs.rules import GoogleError, check_checksums, split_multipart, with_content_type


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
        objects = self._get_bucket(bucket)
        if "upload_id" in self.query:
            return self._continue_upload()
        if self.command != "POST":
            raise GoogleError(404, "notFound", "Not Found")
        if self.query["uploadType"] == "multipart":
            given, data = split_multipart(self.headers.get("Content-Type", ""), self.body)
            given.setdefault("name", self.query.get("name"))
            self._check_create(objects, given["name"], self.query)
            check_checksums(given, data)
            return self._json(self.google.store(bucket, given, data))
        given = with_content_type(json.loads(self.body), self.headers.get("X-Upload-Content-Type", ""))
        given.setdefault("name", self.query.get("name"))
        self._check_create(objects, given["name"], self.query)
        upload = secrets.token_hex(16)
        self.google.sessions[upload] = UploadSession(bucket, given, self.query)
        query = urlencode({"uploadType": "resumable", "name": given["name"], "upload_id": upload})
        path = self.path.partition("?")[0]
        return self._send(200, b"", {"Location": f"{self.google.endpoint}{path}?{query}"})

    def _check_create(self, objects: dict[bytes, Any], name: str, query: dict[str, str]) -> None:
        if query.get("ifGenerationMatch") == "0" and name.encode() in objects:
            raise GoogleError.precondition()
        if not name or len(name.encode()) > 1024 or "\n" in name or "\r" in name:
            raise GoogleError(400, "invalid", "Disallowed unicode characters present in object name")

    def _continue_upload(self) -> None:
        session = self.google.sessions.get(self.query["upload_id"])
        if session is None:
            raise GoogleError(404, "notFound", "Not Found")
        if self.command == "DELETE":
            del self.google.sessions[self.query["upload_id"]]
            return self._send(499, b"", {})
        if session.done is None:
            self._receive(session)
        if session.done is not None:
            return self._json(session.done)
        received = len(session.data)
        return self._send(308, b"", {"Range": f"bytes=0-{received - 1}"} if received else {})

    def _receive(self, session: UploadSession) -> None:
        byte_range, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        if byte_range != "*":
            first, last = (int(number) for number in byte_range.split("-"))
            if first > len(session.data) or last - first + 1 != len(self.body):
                raise GoogleError(400, "invalid", "Invalid request. The Content-Range is off.")
            if total == "*" and len(self.body) % (256 << 10):
                raise GoogleError(400, "invalid", "Invalid request. Chunks are multiples of 256 KiB.")
            new_bytes = self.body[len(session.data) - first :]
            if self.google.accepted_bytes:
                new_bytes = new_bytes[: self.google.accepted_bytes.pop(0)]
            session.data += new_bytes
        if total == "*" or len(session.data) < int(total):
            return
        given = dict(session.resource)
        for entry in filter(None, self.headers.get("X-Goog-Hash", "").split(",")):
            name, _, value = entry.strip().partition("=")
            given[{"crc32c": "crc32c", "md5": "md5Hash"}[name]] = value
        data = bytes(session.data)
        self._check_create(self._get_bucket(session.bucket), given["name"], session.query)
        check_checksums(given, data)
        session.done = self.google.store(session.bucket, given, data)
        session.data.clear()
