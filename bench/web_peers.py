"""The peers that speak HTTP. See :mod:`bench.peers`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

import urllib3

from bench.peers import BLOCK, Counting, Row
from bench.sites import Site

THREADS = 16


class Boto3:
    """AWS's SDK."""

    name = "boto3"
    note = "`put_object`, `get_object`, `upload_fileobj`, `download_fileobj` and the paginator, all defaults"

    def __init__(self, site: Site) -> None:
        import boto3
        from botocore.config import Config

        self._bucket = site.options["bucket"]
        self._s3 = boto3.client(
            "s3",
            endpoint_url=site.options["endpoint"],
            region_name=site.options["region"],
            aws_access_key_id=site.options["access_key_id"],
            aws_secret_access_key=site.secrets["secret_access_key"],
            # Its default of 10 connections would warn of the 11th thread and drop it.
            config=Config(max_pool_connections=THREADS, s3={"addressing_style": "path"}),
        )

    def prepare(self, folder: str) -> None:
        """Buckets have none."""

    def put(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        found: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return found

    def put_large(self, key: str, data: bytes) -> None:
        self._s3.upload_fileobj(io.BytesIO(data), self._bucket, key)

    def get_large(self, key: str) -> int:
        sink = Counting()
        self._s3.download_fileobj(self._bucket, key, sink)
        return sink.arrived

    def list(self, prefix: str) -> Iterator[Row]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for each in page.get("Contents", ()):
                yield each["Key"], each["Size"]

    def close(self) -> None:
        self._s3.close()


class Obstore:
    """The library under our driver's transfers, bare."""

    name = "obstore"
    note = "`put`, `get`, `open_writer` and `list` of `S3Store`, all defaults: no digests, no attributes"

    def __init__(self, site: Site) -> None:
        from obstore.store import S3Store

        self._store = S3Store(
            site.options["bucket"],
            endpoint=site.options["endpoint"],
            region=site.options["region"],
            access_key_id=site.options["access_key_id"],
            secret_access_key=site.secrets["secret_access_key"],
            client_options={"allow_http": True},
        )

    def prepare(self, folder: str) -> None:
        """Buckets have none."""

    def put(self, key: str, data: bytes) -> None:
        import obstore

        obstore.put(self._store, key, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store, key).bytes())

    def put_large(self, key: str, data: bytes) -> None:
        import obstore

        source = io.BytesIO(data)
        with obstore.open_writer(self._store, key) as writer:
            while block := source.read(BLOCK):
                writer.write(block)

    def get_large(self, key: str) -> int:
        import obstore

        return sum(map(len, obstore.get(self._store, key).stream(min_chunk_size=BLOCK)))

    def list(self, prefix: str) -> Iterator[Row]:
        import obstore

        for chunk in obstore.list(self._store, prefix, chunk_size=1000):
            for each in chunk:
                yield each["path"], each["size"]

    def close(self) -> None:
        """It has no such call."""


class AzureBlob:
    """Microsoft's SDK."""

    name = "azure-storage-blob"
    note = (
        "`upload_blob`, `download_blob` and `list_blobs` of `ContainerClient`, `max_concurrency=4` for "
        "the large object"
    )

    def __init__(self, site: Site) -> None:
        from azure.storage.blob import ContainerClient

        account = {"account_name": site.options["account"], "account_key": site.secrets["credential"]}
        self._container = ContainerClient(
            site.options["endpoint"], site.options["container"], credential=account
        )

    def prepare(self, folder: str) -> None:
        """Containers have none."""

    def put(self, key: str, data: bytes) -> None:
        self._container.upload_blob(key, data, overwrite=True)

    def get(self, key: str) -> bytes:
        found: bytes = self._container.download_blob(key).readall()
        return found

    def put_large(self, key: str, data: bytes) -> None:
        self._container.upload_blob(
            key, io.BytesIO(data), length=len(data), overwrite=True, max_concurrency=4
        )

    def get_large(self, key: str) -> int:
        return sum(map(len, self._container.download_blob(key, max_concurrency=4).chunks()))

    def list(self, prefix: str) -> Iterator[Row]:
        for each in self._container.list_blobs(name_starts_with=prefix):
            yield each.name, each.size

    def close(self) -> None:
        self._container.close()


class _ByHand:
    """Requests over a pool of urllib3 with a connection for each thread."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._pool = urllib3.PoolManager(maxsize=THREADS, headers=headers)

    def _ask(self, method: str, url: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._pool.request(method, url, body=body, headers={**self._pool.headers, **more})
        if answer.status >= 300:
            raise RuntimeError(f"{method} {urlsplit(url).path}: {answer.status}")
        return answer

    def _stream(self, url: str) -> int:
        answer = self._pool.request("GET", url, headers=self._pool.headers, preload_content=False)
        try:
            return sum(map(len, answer.stream(BLOCK)))
        finally:
            answer.release_conn()

    def prepare(self, folder: str) -> None:
        """The place has none."""

    def close(self) -> None:
        self._pool.clear()


class GoogleByHand(_ByHand):
    """The JSON API."""

    name = "urllib3"
    note = (
        "the JSON API by hand: multipart uploads, one resumable piece for the large object, signed in by "
        "google-auth (`google-cloud-storage` is not among the bench's requirements)"
    )

    def __init__(self, site: Site) -> None:
        from google.auth.transport.requests import Request
        from google.oauth2.service_account import Credentials

        scopes = ["https://www.googleapis.com/auth/devstorage.full_control"]
        account = Credentials.from_service_account_info(json.loads(site.secrets["credential"]), scopes=scopes)
        account.refresh(Request())
        super().__init__({"authorization": f"Bearer {account.token}"})
        self._api = site.options["endpoint"]
        self._objects = f"storage/v1/b/{site.options['bucket']}/o"

    def put(self, key: str, data: bytes) -> None:
        query = urlencode({"uploadType": "multipart"})
        kind = "application/octet-stream"
        head = json.dumps({"name": key, "contentType": kind})
        mark = "bench-boundary-5b1ea2"
        body = (
            f"--{mark}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{head}\r\n"
            f"--{mark}\r\ncontent-type: {kind}\r\n\r\n"
        ).encode()
        self._ask(
            "POST",
            f"{self._api}/upload/{self._objects}?{query}",
            b"".join((body, data, f"\r\n--{mark}--".encode())),
            content_type=f"multipart/related; boundary={mark}",
        )

    def get(self, key: str) -> bytes:
        return self._ask("GET", self._media(key)).data

    def put_large(self, key: str, data: bytes) -> None:
        query = urlencode({"uploadType": "resumable", "name": key})
        begin = {"content_type": "application/json", "x_upload_content_type": "application/octet-stream"}
        url = f"{self._api}/upload/{self._objects}?{query}"
        place = self._ask("POST", url, b"{}", **begin).headers["location"]
        self._ask(
            "PUT",
            place,
            io.BytesIO(data),
            content_range=f"bytes 0-{len(data) - 1}/{len(data)}",
            content_length=str(len(data)),
        )

    def get_large(self, key: str) -> int:
        return self._stream(self._media(key))

    def list(self, prefix: str) -> Iterator[Row]:
        query = {"prefix": prefix, "maxResults": "1000", "fields": "nextPageToken,items(name,size,updated)"}
        while True:
            page = self._ask("GET", f"{self._api}/{self._objects}?{urlencode(query)}").json()
            for each in page.get("items", ()):
                yield each["name"], int(each["size"])
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    def _media(self, key: str) -> str:
        return f"{self._api}/download/{self._objects}/{quote(key, safe='')}?alt=media"


class WebDavByHand(_ByHand):
    """WebDAV is HTTP with some verbs."""

    name = "urllib3"
    note = "`PUT` straight to the name, `GET`, and a `PROPFIND` of depth 1 for each folder"

    def __init__(self, site: Site) -> None:
        pair = f"{site.options['username']}:{site.secrets['password']}"
        super().__init__(dict(urllib3.make_headers(basic_auth=pair)))
        self._root = f"{site.options['endpoint']}/{site.options['prefix']}"
        self._path = urlsplit(self._root).path

    def prepare(self, folder: str) -> None:
        so_far = self._root
        for name in folder.split("/"):
            so_far += f"/{name}"
            answer = self._pool.request("MKCOL", so_far, headers=self._pool.headers)
            if answer.status not in (201, 405):
                raise RuntimeError(f"MKCOL {so_far}: {answer.status}")

    def put(self, key: str, data: bytes) -> None:
        self._ask("PUT", f"{self._root}/{key}", data)

    def get(self, key: str) -> bytes:
        return self._ask("GET", f"{self._root}/{key}").data

    def put_large(self, key: str, data: bytes) -> None:
        self._ask("PUT", f"{self._root}/{key}", io.BytesIO(data), content_length=str(len(data)))

    def get_large(self, key: str) -> int:
        return self._stream(f"{self._root}/{key}")

    def list(self, prefix: str) -> Iterator[Row]:
        answer = self._ask("PROPFIND", f"{self._root}/{prefix}", depth="1")
        for each in ElementTree.fromstring(answer.data).iterfind("{DAV:}response"):
            path = unquote(urlsplit(each.findtext("{DAV:}href") or "").path)
            key = path.removeprefix(f"{self._path}/")
            if key == prefix:
                continue
            if key.endswith("/"):
                yield from self.list(key)
            else:
                yield key, int(each.findtext(".//{DAV:}getcontentlength") or 0)


class VercelByHand(_ByHand):
    """There is no SDK for Python."""

    name = "urllib3"
    note = "the requests of `@vercel/blob` by hand, all in one `PUT`, read from the public address"

    def __init__(self, site: Site) -> None:
        token = {"authorization": f"Bearer {site.secrets['token']}", "x-api-version": "12"}
        super().__init__(token)
        self._api = site.options["endpoint"]
        parts = urlsplit(self._api)
        self._blobs = f"{parts.scheme}://{parts.netloc}"

    def put(self, key: str, data: bytes) -> None:
        query = urlencode({"pathname": key})
        headers = {"x_vercel_blob_access": "public", "x_allow_overwrite": "1"}
        self._ask("PUT", f"{self._api}?{query}", data, **headers)

    put_large = put

    def get(self, key: str) -> bytes:
        return self._ask("GET", f"{self._blobs}/{quote(key)}").data

    def get_large(self, key: str) -> int:
        return self._stream(f"{self._blobs}/{quote(key)}")

    def list(self, prefix: str) -> Iterator[Row]:
        query = {"prefix": prefix, "limit": "1000"}
        while True:
            page = self._ask("GET", f"{self._api}?{urlencode(query)}").json()
            for each in page["blobs"]:
                yield each["pathname"], each["size"]
            if not page["hasMore"]:
                return
            query["cursor"] = page["cursor"]
