"""What the HTTP services of this project's drivers say when they are honest, and their broken listings.

Each has one object, ``KEY`` with ``CONTENT``, and listings of as many pages as a test wants.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import google_crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dashboard.storage.driver import Driver
from dashboard.storage.drivers.azure.driver import AzureDriver
from dashboard.storage.drivers.gcs.driver import GcsDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.drivers.vercel_blob.driver import VercelBlobDriver
from dashboard.storage.types import Secret
from tests.servers.azurite import ACCOUNT
from tests.servers.hostile.http import Request, ScriptedResponse
from tests.servers.vercel_blob import SUFFIX

KEY, CONTENT = "a", b"What the object holds."
MD5 = hashlib.md5(CONTENT)
ISO = "2026-11-21T09:30:05.000Z"
HTTP_DATE = "Sat, 21 Nov 2026 09:30:05 GMT"
LONG, SHORT = 8_000_000, 1_900_000
"""Elements in an answer that is mostly structure: more bytes than an answer may have, and fewer."""

Pages = Mapping[str, Callable[[], ScriptedResponse]]


class Dialect(Protocol):
    """One service."""

    name: str
    ordered: bool
    """Whether its listings are promised in order."""
    without_body: frozenset[str]
    """What is answered with a head alone, see ``about``."""
    empty: frozenset[str]
    """What is answered with a body of no bytes."""

    def driver(self, endpoint: str) -> Driver:
        """The driver that speaks to it."""
        ...

    def about(self, request: Request) -> str:
        """What is asked for: ``listing``, ``stat``, ``content``, ``receipt``, or something before."""
        ...

    def answer(self, request: Request) -> ScriptedResponse:
        """The honest answer, to a listing with the only page."""
        ...

    def token(self, request: Request) -> str:
        """Which page of a listing is asked for; empty for the first."""
        ...

    def page(self, keys: Sequence[str], token: str, *, size: str = "1") -> ScriptedResponse:
        """A page of a listing; with a token more pages follow."""
        ...

    def broken(self) -> Pages:
        """Pages that only this service can break in this way, by the name of the lie."""
        ...


# S3. https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html


class S3Dialect:
    """See ``Dialect``."""

    name = "s3"
    ordered = True
    without_body = frozenset({"stat"})
    empty = frozenset({"receipt"})

    def driver(self, endpoint: str) -> Driver:
        options = {"endpoint": endpoint, "bucket": "bucket", "access_key_id": "KEY"}
        return S3Driver.from_options(options, {"secret_access_key": Secret("secret")})

    def about(self, request: Request) -> str:
        if "list-type" in request.query:
            return "listing"
        return {"HEAD": "stat", "GET": "content"}.get(request.method, "receipt")

    def answer(self, request: Request) -> ScriptedResponse:
        if "list-type" in request.query:
            return self.page([KEY], "")
        if request.method == "PUT":
            return ScriptedResponse(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
        headers = {"ETag": f'"{MD5.hexdigest()}"', "Last-Modified": HTTP_DATE}
        if request.method == "HEAD":
            return ScriptedResponse(headers=headers, length=len(CONTENT))
        return ScriptedResponse(headers=headers, body=CONTENT)

    def token(self, request: Request) -> str:
        return request.query.get("continuation-token", "")

    def page(self, keys: Sequence[str], token: str, *, size: str = "1") -> ScriptedResponse:
        more = f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
        if token:
            more += f"<NextContinuationToken>{token}</NextContinuationToken>"
        return self._page(keys, more, size)

    def broken(self) -> Pages:
        return {
            "more follows, but not from where": lambda: self._page(["x"], "<IsTruncated>true</IsTruncated>"),
            "not said whether more follows": lambda: self._page(["x"], ""),
            "a damaged word for whether more follows": lambda: self._page(
                ["x"], "<IsTruncated>tru</IsTruncated>"
            ),
            "an error with status 200": lambda: _xml("<Error><Code>InternalError</Code></Error>"),
            "the answer to another question": lambda: _xml(
                "<ListBucketsResult><IsTruncated>false</IsTruncated></ListBucketsResult>"
            ),
            **_swollen(b"<ListBucketResult><IsTruncated>false</IsTruncated>...</ListBucketResult>", b"<a/>"),
        }

    def _page(self, keys: Sequence[str], more: str, size: str = "1") -> ScriptedResponse:
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{ISO}</LastModified>"
            f'<ETag>"{MD5.hexdigest()}"</ETag><Size>{size}</Size></Contents>'
            for key in keys
        )
        return _xml(f"<ListBucketResult><Name>bucket</Name>{more}{contents}</ListBucketResult>")


def _xml(text: str) -> ScriptedResponse:
    body = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()
    return ScriptedResponse(headers={"Content-Type": "application/xml"}, body=body)


def _json(found: Any) -> ScriptedResponse:
    return ScriptedResponse(headers={"Content-Type": "application/json"}, body=json.dumps(found).encode())


def _swollen(around: bytes, element: bytes) -> Pages:
    """A last page that is mostly structure."""
    return {
        "mostly structure": lambda: ScriptedResponse(body=around.replace(b"...", element * LONG)),
        "mostly structure, in few bytes": lambda: ScriptedResponse(
            body=around.replace(b"...", element * SHORT)
        ),
    }


# Google Cloud Storage. https://cloud.google.com/storage/docs/json_api/v1/objects/list


class GcsDialect:
    """See ``Dialect``."""

    name = "gcs"
    ordered = True
    without_body = empty = frozenset()

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        self._pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def driver(self, endpoint: str) -> Driver:
        account = {
            "type": "service_account",
            "project_id": "stowage-tests-1",
            "private_key_id": "1",
            "private_key": self._pem,
            "client_email": "liar@stowage-tests-1.iam.gserviceaccount.com",
            "token_uri": f"{endpoint}/token",
        }
        options = {"bucket": "bucket", "endpoint": endpoint}
        return GcsDriver.from_options(options, {"credential": Secret(json.dumps(account))})

    def about(self, request: Request) -> str:
        if request.path == "/token":
            return "token"
        if request.method == "POST":
            return "receipt"
        if request.path.startswith("/download/"):
            return "content"
        return "listing" if request.path.endswith("/o") else "stat"

    def answer(self, request: Request) -> ScriptedResponse:
        match self.about(request):
            case "token":
                return _json({"access_token": "t", "expires_in": 3600})
            case "receipt":
                return _json(self._item(KEY))
            case "content":
                return ScriptedResponse(body=CONTENT)
            case "listing":
                return self.page([KEY], "")
        return _json(self._item(KEY))

    def token(self, request: Request) -> str:
        return request.query.get("pageToken", "")

    def page(self, keys: Sequence[str], token: str, *, size: str = "1") -> ScriptedResponse:
        page: dict[str, Any] = {"kind": "storage#objects"}
        page |= {"items": [{**self._item(key), "size": size} for key in keys]} if keys else {}
        return _json(page | ({"nextPageToken": token} if token else {}))

    def broken(self) -> Pages:
        items = [self._item("x")]
        return {
            "not said whether more follows": lambda: _json({"items": items}),
            "a damaged word for whether more follows": lambda: _json(
                {"kind": "storage#objects", "items": items, "nextPageToken": 17}
            ),
            "an error with status 200": lambda: _json({"error": {"code": 500, "message": "No."}}),
            "the answer to another question": lambda: _json({"kind": "storage#buckets", "items": []}),
            **_swollen(b'{"kind":"storage#objects","items":[],"x":[...[]]}', b"[],"),
        }

    def _item(self, key: str) -> dict[str, Any]:
        return {
            "name": key,
            "size": str(len(CONTENT)),
            "updated": ISO,
            "generation": "1",
            "md5Hash": base64.b64encode(MD5.digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.Checksum(CONTENT).digest()).decode(),
        }


# Vercel Blob, as its client @vercel/blob 2.8 reads it.


class VercelDialect:
    """See ``Dialect``."""

    name = "vercel_blob"
    ordered = False
    without_body = empty = frozenset()

    def __init__(self) -> None:
        self._endpoint = ""

    def driver(self, endpoint: str) -> Driver:
        self._endpoint = endpoint
        token = Secret(f"vercel_blob_rw_liar_{SUFFIX}")
        return VercelBlobDriver.from_options({"endpoint": f"{endpoint}/api/blob"}, {"token": token})

    def about(self, request: Request) -> str:
        if request.method != "GET":
            return "receipt"
        if request.path != "/api/blob":
            return "content"
        return "stat" if "url" in request.query else "listing"

    def answer(self, request: Request) -> ScriptedResponse:
        match self.about(request):
            case "receipt":
                return _json(self._blob(dict(request.query).get("pathname", KEY)))
            case "content":
                return ScriptedResponse(headers={"ETag": '"e"'}, body=CONTENT)
            case "listing":
                return self.page([KEY], "")
        return _json(self._blob(KEY))

    def token(self, request: Request) -> str:
        return request.query.get("cursor", "")

    def page(self, keys: Sequence[str], token: str, *, size: str = "1") -> ScriptedResponse:
        blobs = [{**self._blob(key), "size": int(size)} for key in keys]
        return _json({"blobs": blobs, "hasMore": bool(token)} | ({"cursor": token} if token else {}))

    def broken(self) -> Pages:
        blobs = [self._blob("x")]
        return {
            "more follows, but not from where": lambda: _json({"blobs": blobs, "hasMore": True}),
            "not said whether more follows": lambda: _json({"blobs": blobs}),
            "a damaged word for whether more follows": lambda: _json({"blobs": blobs, "hasMore": 0}),
            "an error with status 200": lambda: _json({"error": {"code": "unknown_error", "message": "No."}}),
            "the answer to another question": lambda: _json({"folders": [], "hasMore": False}),
            **_swollen(b'{"blobs":[],"hasMore":false,"x":[...[]]}', b"[],"),
        }

    def _blob(self, key: str) -> dict[str, Any]:
        return {
            "pathname": key,
            "url": f"{self._endpoint}/{key}",
            "size": len(CONTENT),
            "uploadedAt": ISO,
            "etag": '"e"',
        }


# Azure. https://learn.microsoft.com/rest/api/storageservices/list-blobs


class AzureDialect:
    """See ``Dialect``."""

    name = "azure"
    ordered = True
    without_body = frozenset({"stat"})
    empty = frozenset({"receipt"})

    def driver(self, endpoint: str) -> Driver:
        options = {"account": ACCOUNT, "container": "container", "endpoint": f"{endpoint}/{ACCOUNT}"}
        key = base64.b64encode(bytes(64)).decode()
        return AzureDriver.from_options(options, {"credential": Secret(key)})

    def about(self, request: Request) -> str:
        if request.query.get("comp") == "list":
            return "listing"
        if request.query.get("comp") == "properties":
            return "account"
        return {"HEAD": "stat", "GET": "content"}.get(request.method, "receipt")

    def answer(self, request: Request) -> ScriptedResponse:
        headers = {
            "ETag": '"0x1"',
            "Last-Modified": HTTP_DATE,
            "x-ms-version": "2025-01-05",
            "x-ms-blob-type": "BlockBlob",
        }
        match self.about(request):
            case "listing":
                return self.page([KEY], "")
            case "account":
                return ScriptedResponse(
                    headers={"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2"}
                )
            case "stat":
                return ScriptedResponse(headers=headers, length=len(CONTENT))
            case "content":
                end = len(CONTENT) - 1
                spans = {"Content-Range": f"bytes 0-{end}/{len(CONTENT)}", "Content-Type": "text/plain"}
                return ScriptedResponse(206, headers | spans, CONTENT)
        md5 = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        return ScriptedResponse(201, headers | {"Content-MD5": md5})

    def token(self, request: Request) -> str:
        return request.query.get("marker", "")

    def page(self, keys: Sequence[str], token: str, *, size: str = "1") -> ScriptedResponse:
        return self._page(keys, f"<NextMarker>{token}</NextMarker>", size)

    def broken(self) -> Pages:
        return {
            "not said whether more follows": lambda: self._page(["x"], ""),
            "an error with status 200": lambda: _xml("<Error><Code>InternalError</Code></Error>"),
            "the answer to another question": lambda: _xml(
                "<ContainerResults><NextMarker /><Blobs /></ContainerResults>"
            ),
            **_swollen(b"<EnumerationResults><Blobs /><NextMarker />...</EnumerationResults>", b"<a/>"),
        }

    def _page(self, keys: Sequence[str], more: str, size: str = "1") -> ScriptedResponse:
        blobs = "".join(
            f"<Blob><Name>{key}</Name><Properties><Last-Modified>{HTTP_DATE}</Last-Modified>"
            f"<Etag>0x1</Etag><Content-Length>{size}</Content-Length><BlobType>BlockBlob</BlobType>"
            "</Properties></Blob>"
            for key in keys
        )
        return _xml(f"<EnumerationResults><Blobs>{blobs}</Blobs>{more}</EnumerationResults>")
