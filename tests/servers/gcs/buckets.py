"""What the Google Cloud Storage of the tests does besides storing: settings, permissions, many calls at once.

https://cloud.google.com/storage/docs/json_api/v1/buckets,
https://cloud.google.com/storage/docs/json_api/v1/objectAccessControls and
https://cloud.google.com/storage/docs/batch.
"""

from __future__ import annotations

import json
from email.parser import BytesParser
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.servers.gcs.rules import GoogleError, error_body, picked

_MOST_CALLS = 100
_CORS = {"origin", "method", "responseHeader", "maxAgeSeconds"}
_ACTIONS = {"Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"}
_UNIFORM = (
    "Cannot {verb} legacy ACL for an object when uniform bucket-level access is enabled. "
    "Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
)
_CLOSED = (
    "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access "
    "prevention is enforced."
)


class BucketRequests:
    """Mixed into the handler of the server."""

    google: Any
    command: str
    headers: Any
    inner: list[tuple[int, bytes]] | None = None
    """The answers of a batch so far, inside of one."""

    def _check_right(self, path: list[str]) -> None:
        if not self.email.startswith("reader@") or (self.command == "GET" and "acl" not in path[6:]):
            return
        right = {"DELETE": "storage.objects.delete", "PATCH": "storage.buckets.update"}.get(
            self.command, "storage.objects.create"
        )
        right = "storage.objects.getIamPolicy" if "acl" in path[6:] else right
        raise GoogleError(403, "forbidden", f"{self.email} does not have {right} access to the bucket.")

    # Buckets: get and patch

    def _settings(self, bucket: str) -> None:
        held = self.google.settings[bucket]
        if self.command == "PATCH":
            wanted = self.query.get("ifMetagenerationMatch", held["metageneration"])
            if wanted != held["metageneration"]:
                raise GoogleError.precondition()
            given = json.loads(self.body)
            _check_settings(given)
            held.update(given)
            held["metageneration"] = str(int(held["metageneration"]) + 1)
        elif self.command != "GET":
            raise GoogleError(404, "notFound", "Not Found")
        told = {**held, "versioning": {"enabled": bucket in self.google.older}}
        # Nothing that is empty is told.
        told = {name: value for name, value in told.items() if value not in ([], {}, {"rule": []})}
        self._json(picked(told, self.query.get("fields", "")))

    # Permissions of an object

    def _grants(self, bucket: str, name: bytes, entity: str = "") -> None:
        access = self.google.settings[bucket].get("iamConfiguration", {})
        if access.get("uniformBucketLevelAccess", {}).get("enabled"):
            verb = {"GET": "get", "POST": "insert"}.get(self.command, "delete")
            raise GoogleError(400, "invalid", _UNIFORM.format(verb=verb))
        held = self.google.grants.setdefault((bucket, name), {f"user-{self.email}": "OWNER"})
        if self.command == "GET" and not entity:
            items = [{"entity": who, "role": role, "kind": "x"} for who, role in held.items()]
            return self._json(picked({"items": items}, self.query.get("fields", "")))
        if self.command == "POST" and not entity:
            given = json.loads(self.body)
            if given["entity"].startswith("all") and access.get("publicAccessPrevention") == "enforced":
                raise GoogleError(412, "conditionNotMet", _CLOSED)
            held[given["entity"]] = given["role"]
            return self._json({"kind": "storage#objectAccessControl", **given})
        if self.command == "DELETE" and held.pop(entity, None):
            return self._send(204, b"", {})
        raise GoogleError(404, "notFound", f"The specified entity {entity} has no access.")

    # Batches

    def _batch(self) -> None:
        """Answers come in another order than the calls, as they may."""
        whole = BytesParser().parsebytes(
            b"content-type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + self.body
        )
        parts = whole.get_payload()
        if not whole.is_multipart() or not 0 < len(parts) <= _MOST_CALLS or len(self.body) >= 10 << 20:
            raise GoogleError(
                400, "badRequest", "The batch is malformed, or has more calls than are allowed."
            )
        answers = []
        for part in reversed(parts):
            if part.get_content_type() != "application/http":
                raise GoogleError(400, "badRequest", "Failed to parse batch request.")
            status, body = self._call(part.get_payload(decode=True))
            identity = part["Content-ID"].removeprefix("<")
            answers.append(
                f"Content-Type: application/http\r\nContent-ID: <response-{identity}\r\n\r\n"
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/json; charset=UTF-8\r\n\r\n{body.decode()}\r\n"
            )
        mark = "batch_aBcDeF0123_456-789="
        text = "".join(f"--{mark}\r\n{answer}" for answer in answers) + f"--{mark}--\r\n"
        self._send(200, text.encode(), {"Content-Type": f'multipart/mixed; boundary="{mark}"'})

    def _call(self, request: bytes) -> tuple[int, bytes]:
        line, _, rest = request.partition(b"\r\n")
        self.command, target, _ = line.decode().split(" ")
        path, _, query = target.partition("?")
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.body = rest.partition(b"\r\n\r\n")[2]
        self.inner = []
        try:
            if not path.startswith("/storage/v1/"):
                raise GoogleError(400, "badRequest", "Only calls of this interface can be batched.")
            if self.google.busy:
                self.google.busy -= 1
                raise GoogleError(429, "rateLimitExceeded", "The rate of requests is too high.")
            self._route([unquote(part, errors="strict") for part in path.split("/")[1:]])
        except GoogleError as refusal:
            self.inner.append((refusal.status, error_body(refusal)))
        finally:
            answered, self.inner = self.inner[0], None
        return answered


def _check_settings(given: dict[str, Any]) -> None:
    """Refuse what Google would not understand."""
    for rule in given.get("cors", ()):
        if set(rule) - _CORS or not all(isinstance(rule.get(name), list) for name in ("origin", "method")):
            raise GoogleError(400, "invalid", "Invalid argument.")
    for rule in given.get("lifecycle", {}).get("rule", ()):
        kind, condition = rule["action"]["type"], rule["condition"]
        aborts = kind == "AbortIncompleteMultipartUpload"
        if kind not in _ACTIONS or not condition:
            raise GoogleError(400, "invalid", "Invalid argument.")
        if aborts and set(condition) - {"age", "matchesPrefix", "matchesSuffix"}:
            raise GoogleError(400, "invalid", "This action does not allow these conditions.")
