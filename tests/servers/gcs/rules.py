"""What Google checks and how it words things: tokens, signed links, checksums, resources, errors."""

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
    """An error answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    @classmethod
    def precondition(cls) -> GoogleError:
        return cls(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def error_body(refusal: GoogleError) -> bytes:
    each = {"message": refusal.message, "domain": "global", "reason": refusal.reason}
    error = {"code": refusal.status, "message": refusal.message, "errors": [each]}
    return json.dumps({"error": error}).encode()


def checked_claims(assertion: str, accounts: Mapping[str, rsa.RSAPublicKey]) -> str:
    """Who signed this assertion, or a refusal in the words of Google's token server."""
    try:
        header, claims, signature = (_unpadded(part) for part in assertion.split("."))
        head, said = json.loads(header), json.loads(claims)
    except ValueError:
        raise GoogleError(400, "invalid_grant", "Invalid JWT") from None
    if head.get("alg") != "RS256" or said.get("aud") != AUDIENCE or not said.get("scope"):
        raise GoogleError(400, "invalid_grant", "Invalid JWT")
    email = said["iss"]
    if email not in accounts:
        raise GoogleError(400, "invalid_grant", "Invalid grant: account not found")
    if said["exp"] - said["iat"] > 3600 or not said["iat"] - 300 <= time.time() < said["exp"]:
        raise GoogleError(
            400,
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )
    if not _signed(accounts[email], signature, assertion.rpartition(".")[0].encode()):
        raise GoogleError(400, "invalid_grant", "Invalid JWT Signature.")
    return str(email)


def checked_link(
    method: str,
    target: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    accounts: Mapping[str, rsa.RSAPublicKey],
) -> bool:
    """Whether this request is signed and not expired (V4 signing process)."""
    try:
        path, _, text = target.partition("?")
        spelt, _, signature = text.rpartition("&X-Goog-Signature=")
        email, date, *scope = query["X-Goog-Credential"].split("/")
        moment, seconds = query["X-Goog-Date"], int(query["X-Goog-Expires"])
        began = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
        if scope != ["auto", "storage", "goog4_request"] or not 0 < seconds <= 604800:
            return False
        if moment[:8] != date or not began - 900 <= time.time() < began + seconds:
            return False
        canonical = "&".join(
            f"{name}={quote(value, safe='~')}"
            for name, value in sorted(query.items())
            if name != "X-Goog-Signature"
        )
        names = query["X-Goog-SignedHeaders"].split(";")
        if spelt != canonical or "host" not in names or names != sorted(names):
            return False
        # Headers of Google's own must be signed where they are sent.
        if any(name.lower().startswith("x-goog-") and name.lower() not in names for name in headers):
            return False
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        request = f"{method}\n{path}\n{canonical}\n{lines}\n{';'.join(names)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{moment}\n{date}/auto/storage/goog4_request\n{digest}"
        return _signed(accounts[email], bytes.fromhex(signature), text.encode())
    except (KeyError, ValueError):
        return False


def _signed(key: rsa.RSAPublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def md5_text(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc_text(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def checksums(given: Mapping[str, Any], data: bytes) -> None:
    """Refuse what is not what was announced."""
    for name, shown, found in (
        ("md5Hash", "MD5 hash", md5_text(data)),
        ("crc32c", "CRC32C", crc_text(data)),
    ):
        if given.get(name, found) != found:
            message = f'Provided {shown} "{given[name]}" doesn\'t match calculated {shown} "{found}".'
            raise GoogleError(400, "invalid", message)


def parted(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related body (RFC 2387)."""
    match = re.fullmatch(r'multipart/related; boundary="?([0-9A-Za-z\'_.=-]{1,70})"?', content_type)
    if not match:
        raise GoogleError(400, "badContent", "Unsupported content with type: " + content_type)
    mark = b"--" + match.group(1).encode()
    body = body.removesuffix(b"\r\n")
    if not body.startswith(mark + b"\r\n") or not body.endswith(b"\r\n" + mark + b"--"):
        raise GoogleError(400, "invalid", "Malformed multipart body.")
    inner = body[len(mark) + 2 : -len(mark) - 4]
    first, _, second = inner.partition(b"\r\n" + mark + b"\r\n")
    kind, _, resource = first.partition(b"\r\n\r\n")
    if b"application/json" not in kind:
        raise GoogleError(400, "invalid", "Malformed multipart body.")
    header, _, data = second.partition(b"\r\n\r\n")
    return typed(json.loads(resource), header.decode().partition(":")[2].strip()), data


def typed(given: dict[str, Any], content_type: str) -> dict[str, Any]:
    """Which of two content types wins is not documented, so a client must not say two."""
    if given.setdefault("contentType", content_type or "application/octet-stream") != content_type:
        raise GoogleError(400, "invalid", "Two content types.")
    return given


def resource_of(
    bucket: str, given: Mapping[str, Any], data: bytes, generation: str, *, composite: bool
) -> dict[str, Any]:
    """https://cloud.google.com/storage/docs/json_api/v1/objects#resource"""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    made = {
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
        made["md5Hash"] = md5_text(data)
    else:
        made["componentCount"] = 2
    return made | {name: given[name] for name in _EDITABLE if name in given}


def picked(page: dict[str, Any], fields: str) -> dict[str, Any]:
    """A partial answer: top-level names, and ``items(...)``."""
    if not fields:
        return page
    inner = re.search(r"items\(([^)]*)\)", fields)
    names = set(re.sub(r"\([^)]*\)", "", fields).split(","))
    found = {name: value for name, value in page.items() if name in names}
    if inner and "items" in found:
        wanted = set(inner.group(1).split(","))
        found["items"] = [{n: v for n, v in item.items() if n in wanted} for item in found["items"]]
    return found
