"""Google's checks and formats: tokens, signed links, checksums, resources, errors."""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
_EDITABLE = (
    "contentType",
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "metadata",
    "storageClass",
)


class GoogleError(Exception):
    """An error response."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    @classmethod
    def precondition(cls) -> GoogleError:
        return cls(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def error_body(failure: GoogleError) -> bytes:
    entry = {"message": failure.message, "domain": "global", "reason": failure.reason}
    error = {"code": failure.status, "message": failure.message, "errors": [entry]}
    return json.dumps({"error": error}).encode()


def verify_assertion(assertion: str, accounts: Mapping[str, rsa.RSAPublicKey]) -> str:
    """The account that signed an assertion. Raises the error of Google's token server."""
    try:
        header, claims, signature = (_decode_base64(part) for part in assertion.split("."))
        head, payload = json.loads(header), json.loads(claims)
    except ValueError:
        raise GoogleError(400, "invalid_grant", "Invalid JWT") from None
    if head.get("alg") != "RS256" or payload.get("aud") != AUDIENCE or not payload.get("scope"):
        raise GoogleError(400, "invalid_grant", "Invalid JWT")
    email = payload["iss"]
    if email not in accounts:
        raise GoogleError(400, "invalid_grant", "Invalid grant: account not found")
    if payload["exp"] - payload["iat"] > 3600 or not payload["iat"] - 300 <= time.time() < payload["exp"]:
        raise GoogleError(
            400,
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )
    if not _is_signed_by(accounts[email], signature, assertion.rpartition(".")[0].encode()):
        raise GoogleError(400, "invalid_grant", "Invalid JWT Signature.")
    return str(email)


def is_signed_request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    accounts: Mapping[str, rsa.RSAPublicKey],
) -> bool:
    """Whether this request is signed and not expired (V4 signing process)."""
    try:
        path, _, text = target.partition("?")
        query_string, _, signature = text.rpartition("&X-Goog-Signature=")
        email, date, *scope = query["X-Goog-Credential"].split("/")
        timestamp, seconds = query["X-Goog-Date"], int(query["X-Goog-Expires"])
        signed_at = calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
        if scope != ["auto", "storage", "goog4_request"] or not 0 < seconds <= 604800:
            return False
        if timestamp[:8] != date or not signed_at - 900 <= time.time() < signed_at + seconds:
            return False
        canonical = "&".join(
            f"{name}={quote(value, safe='~')}"
            for name, value in sorted(query.items())
            if name != "X-Goog-Signature"
        )
        names = query["X-Goog-SignedHeaders"].split(";")
        if query_string != canonical or "host" not in names or names != sorted(names):
            return False
        # All x-goog- headers that are sent must be signed.
        if any(name.lower().startswith("x-goog-") and name.lower() not in names for name in headers):
            return False
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        request = f"{method}\n{path}\n{canonical}\n{lines}\n{';'.join(names)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{timestamp}\n{date}/auto/storage/goog4_request\n{digest}"
        return _is_signed_by(accounts[email], bytes.fromhex(signature), text.encode())
    except (KeyError, ValueError):
        return False


def _is_signed_by(key: rsa.RSAPublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _decode_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def md5_text(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc_text(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def check_checksums(given: Mapping[str, Any], data: bytes) -> None:
    """Raise ``GoogleError`` if the content does not match the given checksums."""
    for name, label, actual in (
        ("md5Hash", "MD5 hash", md5_text(data)),
        ("crc32c", "CRC32C", crc_text(data)),
    ):
        if given.get(name, actual) != actual:
            message = f'Provided {label} "{given[name]}" doesn\'t match calculated {label} "{actual}".'
            raise GoogleError(400, "invalid", message)


def split_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related body (RFC 2387)."""
    match = re.fullmatch(r'multipart/related; boundary="?([0-9A-Za-z\'_.=-]{1,70})"?', content_type)
    if not match:
        raise GoogleError(400, "badContent", "Unsupported content with type: " + content_type)
    boundary = b"--" + match.group(1).encode()
    body = body.removesuffix(b"\r\n")
    if not body.startswith(boundary + b"\r\n") or not body.endswith(b"\r\n" + boundary + b"--"):
        raise GoogleError(400, "invalid", "Malformed multipart body.")
    inner = body[len(boundary) + 2 : -len(boundary) - 4]
    first, _, second = inner.partition(b"\r\n" + boundary + b"\r\n")
    kind, _, resource = first.partition(b"\r\n\r\n")
    if b"application/json" not in kind:
        raise GoogleError(400, "invalid", "Malformed multipart body.")
    header, _, data = second.partition(b"\r\n\r\n")
    return with_content_type(json.loads(resource), header.decode().partition(":")[2].strip()), data


def with_content_type(given: dict[str, Any], content_type: str) -> dict[str, Any]:
    """Set the content type. Google does not document which of two wins, so a client must not send two."""
    if given.setdefault("contentType", content_type or "application/octet-stream") != content_type:
        raise GoogleError(400, "invalid", "Two content types.")
    return given


def make_resource(
    bucket: str, given: Mapping[str, Any], data: bytes, generation: str, *, composite: bool
) -> dict[str, Any]:
    """https://cloud.google.com/storage/docs/json_api/v1/objects#resource"""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    resource = {
        "kind": "storage#object",
        "id": f"{bucket}/{given['name']}/{generation}",
        "name": given["name"],
        "bucket": bucket,
        "generation": generation,
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "size": str(len(data)),
        "crc32c": crc_text(data),
        "etag": base64.b64encode(generation.encode()).decode(),
        "timeCreated": now,
        "updated": now,
    }
    if not composite:
        resource["md5Hash"] = md5_text(data)
    else:
        resource["componentCount"] = 2
    return resource | {name: given[name] for name in _EDITABLE if name in given}


def merge_patch(resource: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Change what a client may change of an object: null removes a field, or a name of its metadata."""
    if unknown := given.keys() - set(_EDITABLE):
        raise GoogleError(400, "invalid", f"Cannot change {sorted(unknown)}")
    for name, value in given.items():
        if isinstance(value, dict):
            merged = {**resource.get(name, {}), **value}
            value = {key: text for key, text in merged.items() if text is not None} or None
        if value is None:
            resource.pop(name, None)
        else:
            resource[name] = value


def select_fields(page: dict[str, Any], fields: str) -> dict[str, Any]:
    """A partial response: top-level names, and ``items(...)``."""
    if not fields:
        return page
    inner = re.search(r"items\(([^)]*)\)", fields)
    names = set(re.sub(r"\([^)]*\)", "", fields).split(","))
    partial = {name: value for name, value in page.items() if name in names}
    if inner and "items" in partial:
        selected = set(inner.group(1).split(","))
        partial["items"] = [{n: v for n, v in item.items() if n in selected} for item in partial["items"]]
    return partial
