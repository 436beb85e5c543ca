"""The fake Google Cloud Storage, apart from objects: bucket settings, access control lists, batches.

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

from tests.servers.gcs.rules import GoogleError, error_body, select_fields

_MAX_CALLS = 100
_CORS = {"origin", "method", "responseHeader", "maxAgeSeconds"}
_ACTIONS = {"Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"}
_UNIFORM = (
    "Cannot {verb} legacy ACL for an object when uniform bucket-level access is enabled. "
    "Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
)
_PUBLIC_ACCESS_PREVENTED = (
    "The member bindings allUsers and allAuthenticatedUsers are not allowed since public access "
    "prevention is enforced."
)


class BucketRequests:
    """Mixed into the handler of the server."""

    google: Any
    command: str
    headers: Any
    batch_responses: list[tuple[int, bytes]] | None = None
    """The responses of the current batch so far; None outside a batch."""

    def _check_permission(self, path: list[str]) -> None:
        if not self.email.startswith("reader@") or (self.command == "GET" and "acl" not in path[6:]):
            return
        permission = {"DELETE": "storage.objects.delete", "PATCH": "storage.buckets.update"}.get(
            self.command, "storage.objects.create"
        )
        permission = "storage.objects.getIamPolicy" if "acl" in path[6:] else permission
        raise GoogleError(403, "forbidden", f"{self.email} does not have {permission} access to the bucket.")

    # Buckets: get and patch

    def _settings(self, bucket: str) -> None:
        current = self.google.settings[bucket]
        if self.command == "PATCH":
            expected = self.query.get("ifMetagenerationMatch", current["metageneration"])
            if expected != current["metageneration"]:
                raise GoogleError.precondition()
            given = json.loads(self.body)
            _check_settings(given)
            current.update(given)
            current["metageneration"] = str(int(current["metageneration"]) + 1)
        elif self.command != "GET":
            raise GoogleError(404, "notFound", "Not Found")
        resource = {**current, "versioning": {"enabled": bucket in self.google.older}}
        # Google omits empty fields.
        resource = {name: value for name, value in resource.items() if value not in ([], {}, {"rule": []})}
        self._json(select_fields(resource, self.query.get("fields", "")))

    # Permissions of an object

    def _acl(self, bucket: str, name: bytes, entity: str = "") -> None:
        access = self.google.settings[bucket].get("iamConfiguration", {})
        if access.get("uniformBucketLevelAccess", {}).get("enabled"):
            verb = {"GET": "get", "POST": "insert"}.get(self.command, "delete")
            raise GoogleError(400, "invalid", _UNIFORM.format(verb=verb))
        roles = self.google.grants.setdefault((bucket, name), {f"user-{self.email}": "OWNER"})
        if self.command == "GET" and not entity:
            items = [{"entity": who, "role": role, "kind": "x"} for who, role in roles.items()]
            return self._json(select_fields({"items": items}, self.query.get("fields", "")))
        if self.command == "POST" and not entity:
            given = json.loads(self.body)
            if given["entity"].startswith("all") and access.get("publicAccessPrevention") == "enforced":
                raise GoogleError(412, "conditionNotMet", _PUBLIC_ACCESS_PREVENTED)
            roles[given["entity"]] = given["role"]
            return self._json({"kind": "storage#objectAccessControl", **given})
        if self.command == "DELETE" and roles.pop(entity, None):
            return self._send(204, b"", {})
        raise GoogleError(404, "notFound", f"The specified entity {entity} has no access.")

    # Batches

    def _batch(self) -> None:
        """Respond in another order than the calls, which Google may do."""
        message = BytesParser().parsebytes(
            b"content-type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + self.body
        )
        parts = message.get_payload()
        if not message.is_multipart() or not 0 < len(parts) <= _MAX_CALLS or len(self.body) >= 10 << 20:
            raise GoogleError(
                400, "badRequest", "The batch is malformed, or has more calls than are allowed."
            )
        responses = []
        for part in reversed(parts):
            if part.get_content_type() != "application/http":
                raise GoogleError(400, "badRequest", "Failed to parse batch request.")
            status, body = self._call(part.get_payload(decode=True))
            content_id = part["Content-ID"].removeprefix("<")
            responses.append(
                f"Content-Type: application/http\r\nContent-ID: <response-{content_id}\r\n\r\n"
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/json; charset=UTF-8\r\n\r\n{body.decode()}\r\n"
            )
        boundary = "batch_aBcDeF0123_456-789="
        text = "".join(f"--{boundary}\r\n{response}" for response in responses) + f"--{boundary}--\r\n"
        self._send(200, text.encode(), {"Content-Type": f'multipart/mixed; boundary="{boundary}"'})

    def _call(self, request: bytes) -> tuple[int, bytes]:
        request_line, _, remainder = request.partition(b"\r\n")
        self.command, target, _ = request_line.decode().split(" ")
        path, _, query = target.partition("?")
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.body = remainder.partition(b"\r\n\r\n")[2]
        self.batch_responses = []
        try:
            if not path.startswith("/storage/v1/"):
                raise GoogleError(400, "badRequest", "Only calls of this interface can be batched.")
            if self.google.throttled_calls:
                self.google.throttled_calls -= 1
                raise GoogleError(429, "rateLimitExceeded", "The rate of requests is too high.")
            self._route([unquote(part, errors="strict") for part in path.split("/")[1:]])
        except GoogleError as failure:
            self.batch_responses.append((failure.status, error_body(failure)))
        finally:
            response, self.batch_responses = self.batch_responses[0], None
        return response


def _check_settings(given: dict[str, Any]) -> None:
    """Reject settings that Google would reject."""
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
