"""Requests to one container through Azure's SDK.

Writes return the MD5 that the service computed, reads the one that is stored with the blob.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.core.rest import HttpRequest
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    ContainerClient,
    ContentSettings,
    StandardBlobTier,
    generate_blob_sas,
)

from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.azure.config import (
    AzureConfig,
    decode_metadata,
    encode_metadata,
    header_value_or_none,
)
from dashboard.storage.drivers.azure.errors import ERRORS, ErrorContext, translate
from dashboard.storage.drivers.azure.service import AzureService
from dashboard.storage.drivers.azure.wire import (
    client_options,
    parse_failure,
    parse_part_failure,
    session_for,
    to_failure,
    translate_errors,
)
from dashboard.storage.drivers.common.multipart import DEFAULT_PART_BYTES
from dashboard.storage.errors import Unsupported
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http_client import IDLE_SECONDS
from dashboard.storage.net.parsing import MalformedResponse, WrongProtocol, parse_entry, parse_xml
from dashboard.storage.net.ranges import check_length
from dashboard.storage.net.retries import paginate, retry
from dashboard.storage.types import Attributes, Entry, ObjectInfo

ATTEMPTS = 4
_PAGE_SIZE = 1000
_PAGE_SIZE_WITH_METADATA = 500
_QUICK_SECONDS = 15.0
ATTRIBUTES = ("content_type", "cache_control", "content_disposition", "content_encoding", "content_language")


class AzureClient:
    """A client for one container. Thread-safe; connects on first use."""

    def __init__(self, config: AzureConfig) -> None:
        self.config = config
        self._folders: bool | None = None
        self._session = session_for(config)
        self._container = ContainerClient(
            config.endpoint,
            config.container,
            max_single_get_size=SMALL,
            max_chunk_get_size=SMALL,
            max_single_put_size=DEFAULT_PART_BYTES,
            **client_options(config, self._session),
        )
        self.service = AzureService(config, self._session)

    def context(self, operation: str, key: str = "") -> ErrorContext:
        """The context of an error message. ``key`` is without the configured prefix."""
        return ErrorContext(operation, key, self.config.container, self.config.host, self.config.account)

    def put(
        self, key: str, data: bytes, md5: bytes, attributes: Attributes | None, *, create_only: bool
    ) -> tuple[str, str | None]:
        """Write in one request. Returns the ETag and the hex MD5 that the service computed, if any.
        https://learn.microsoft.com/rest/api/storageservices/put-blob"""
        with translate_errors(self.context("write", key)):
            response = self.blob(key).upload_blob(
                data,
                length=len(data),
                overwrite=not create_only,
                validate_content=True,
                content_settings=_content_settings(attributes, md5),
                metadata=encode_metadata(attributes.metadata) if attributes else None,
                **self._tier(),
            )
        stored = response.get("content_md5")
        return _strip_quotes(response["etag"]), bytes(stored).hex() if stored else None

    def stage(self, key: str, block: str, data: memoryview, md5: bytes) -> str | None:
        """Upload a block; the service rejects it if the MD5 differs. Returns the hex MD5 it computed, if any.
        https://learn.microsoft.com/rest/api/storageservices/put-block"""
        with translate_errors(self.context("write", key)):
            # The SDK would compute the MD5 again.
            checked = {"Content-MD5": base64.b64encode(md5).decode()}
            response = self.blob(key).stage_block(block, bytes(data), length=len(data), headers=checked)
        stored = response.get("content_md5")
        return bytes(stored).hex() if stored else None

    def commit(
        self,
        key: str,
        blocks: list[str],
        md5: bytes | None,
        attributes: Attributes | None,
        *,
        create_only: bool,
    ) -> str:
        """Create the blob from its blocks. Returns the ETag.
        https://learn.microsoft.com/rest/api/storageservices/put-block-list"""
        condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if create_only else {}
        with translate_errors(self.context("write", key)):
            response = self.blob(key).commit_block_list(
                [BlobBlock(block) for block in blocks],
                content_settings=_content_settings(attributes, md5),
                metadata=encode_metadata(attributes.metadata) if attributes else None,
                **self._tier(),
                **condition,
            )
        return _strip_quotes(str(response["etag"]))

    def committed(self, key: str) -> list[tuple[str, int]]:
        """List the blocks of a blob: names and sizes in bytes."""
        with translate_errors(self.context("stat", key)):
            blocks, _ = self.blob(key).get_block_list("committed")
        return [(block.id, block.size) for block in blocks]

    def head(self, key: str, operation: str = "stat") -> ObjectInfo:
        """Describe a blob. Raises ``NotFound``."""
        with translate_errors(self.context(operation, key)):
            return _to_info(key, self.blob(key).get_blob_properties())

    def open(self, key: str, etag: str | None) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Open a blob. Fetches the first 8 MiB at once and the others while the caller reads, all of one
        version. Raises ``Changed`` and ``NotFound``."""
        context = self.context("read", key)
        with translate_errors(context):
            stream = self.blob(key).download_blob(max_concurrency=1, decompress=False, **_if_match(etag))
            sdk_chunks = stream.chunks()

        def chunks() -> Iterator[bytes]:
            while True:
                with translate_errors(context):
                    chunk = next(sdk_chunks, None)
                if chunk is None:
                    return
                yield chunk

        return _to_info(key, stream.properties), chunks()

    def part(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        """Read a range of one version. Raises ``RangeNotSatisfiable``, ``Changed`` and ``NotFound``.
        https://learn.microsoft.com/rest/api/storageservices/specifying-the-range-header-for-blob-service-operations"""
        with translate_errors(self.context("read", key)):
            stream = self.blob(key).download_blob(
                offset=start, length=length, max_concurrency=1, decompress=False, **_if_match(etag)
            )
            return check_length(key, stream.readall(), stream.size)

    def list(self, prefix: str, start_after: str) -> Iterator[Entry]:
        """List blobs by full key, page by page.
        https://learn.microsoft.com/rest/api/storageservices/list-blobs"""
        # An account with a hierarchical namespace lists folders too; only their metadata marks them.
        folders, context = self._has_folders(), self.context("list")
        query = {"maxresults": str(_PAGE_SIZE_WITH_METADATA), "include": "metadata"} if folders else {}
        query = {"maxresults": str(_PAGE_SIZE)} | query | ({"prefix": prefix} if prefix else {})
        query |= {"startFrom": start_after} if start_after else {}

        def fetch(marker: str) -> bytes:
            page = query | ({"marker": marker} if marker else {})
            return retry(lambda: self._list_page(page, context), ATTEMPTS)

        failed = partial(ERRORS.incomplete_listing_error, context)
        for entry, folder in paginate(fetch, parse_page, lambda row: (row[0].key, ""), failed, ATTEMPTS):
            if not folder:
                yield entry

    def check_access(self, operation: str, *, patient: bool = True) -> None:
        """List one blob: the cheapest request that a SAS token for a container allows. Raises
        ``StorageError``. Without ``patient``, fails early and does not retry."""
        context, idle = self.context(operation), IDLE_SECONDS if patient else _QUICK_SECONDS
        body = retry(
            lambda: self._list_page({"maxresults": "1"}, context, idle=idle), ATTEMPTS if patient else 1
        )
        try:
            parse_page(body)
        except MalformedResponse as error:
            # A web page at this address answers every request with 200.
            raise ERRORS.transport_error("unreadable", context) from error

    def _list_page(
        self, query: Mapping[str, str], context: ErrorContext, *, idle: float = IDLE_SECONDS
    ) -> bytes:
        """Fetch a page of a listing once. Returns the unparsed XML."""
        query_string = urlencode({"restype": "container", "comp": "list", **query}, quote_via=quote)
        request = HttpRequest(
            "GET",
            f"{self._container.url.partition('?')[0]}?{query_string}",
            headers={"x-ms-version": self._container.api_version, "accept": "application/xml"},
        )
        with translate_errors(context):
            result = self._container._pipeline.run(request, stream=True, retry_total=0, read_timeout=idle)
            response = result.http_response
            body = bytes(response.read())
        if response.status_code != 200:
            raise translate(parse_failure(response.status_code, response.headers, body), context)
        return body

    def delete(self, key: str, *, if_etag: str | None = None) -> None:
        """Delete a blob and its snapshots. Raises ``NotFound``, and ``Changed`` if the ETag is not
        ``if_etag``."""
        with translate_errors(self.context("delete", key)):
            self.blob(key).delete_blob(delete_snapshots="include", **_if_match(if_etag))

    def delete_batch(self, keys: Sequence[str]) -> tuple[RequestFailure | None, ...]:
        """Delete at most 256 blobs and their snapshots with one request. Returns the failure of each, None
        for a deleted blob. Azure does not promise the order.
        https://learn.microsoft.com/rest/api/storageservices/blob-batch"""
        names = [self.config.prefix + key for key in keys]
        with translate_errors(self.context("delete")):
            parts = self._container.delete_blobs(
                *names, delete_snapshots="include", raise_on_any_failure=False
            )
            return tuple(map(parse_part_failure, parts))

    def create_container(self) -> None:
        """Create the container. Succeeds if it exists."""
        with translate_errors(self.context("create bucket")):
            try:
                self._container.create_container()
            except ResourceExistsError as error:
                if to_failure(error).code != "ContainerAlreadyExists":
                    raise

    def start_copy(self, source: AzureClient, key: str, etag: str, to: str) -> str:
        """Start a copy on the server within the account. Returns ``success`` or ``pending``.
        https://learn.microsoft.com/rest/api/storageservices/copy-blob"""
        with translate_errors(self.context("copy", key)):
            response = self.blob(to).start_copy_from_url(
                source.blob(key).url,
                source_etag=f'"{etag}"',
                source_match_condition=MatchConditions.IfNotModified,
                **self._tier(),
            )
        return str(response["copy_status"])

    def copy_status(self, key: str) -> str:
        """The status of the copy to this key."""
        with translate_errors(self.context("copy", key)):
            return str(self.blob(key).get_blob_properties().copy.status)

    def blob_url(self, key: str) -> str:
        """The URL of a blob, without credentials."""
        return str(self.blob(key).url.partition("?")[0])

    def sas_url(self, key: str, permission: str, seconds: int) -> str:
        """The URL of a blob with a token for this blob only, valid for ``seconds``.
        https://learn.microsoft.com/rest/api/storageservices/create-service-sas"""
        account_key = self.config.credential.account_key
        if account_key is None:
            raise Unsupported("sign", "Only the account's key can sign links, and this is a SAS token.")
        token = generate_blob_sas(
            self.config.account,
            self.config.container,
            self.config.prefix + key,
            account_key=account_key.reveal(),
            permission=permission,
            expiry=datetime.fromtimestamp(time.time() + seconds, UTC),
            protocol="https" if self.config.tls else None,
        )
        return f"{self.blob_url(key)}?{token}"

    def tags(self, key: str) -> dict[str, str]:
        """The index tags of a blob. https://learn.microsoft.com/rest/api/storageservices/get-blob-tags"""
        with translate_errors(self.context("tags", key)):
            return dict(self.blob(key).get_blob_tags())

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the index tags. https://learn.microsoft.com/rest/api/storageservices/set-blob-tags"""
        with translate_errors(self.context("tags", key)):
            self.blob(key).set_blob_tags(dict(tags))

    def tier(self, key: str) -> str:
        """The access tier of a blob; empty if the account has none."""
        with translate_errors(self.context("stat", key)):
            return str(self.blob(key).get_blob_properties().blob_tier or "")

    def set_tier(self, key: str, tier: str) -> None:
        """Change the access tier. https://learn.microsoft.com/rest/api/storageservices/set-blob-tier"""
        with translate_errors(self.context("tier", key)):
            self.blob(key).set_standard_blob_tier(StandardBlobTier(tier))

    def _has_folders(self) -> bool:
        """Whether the account has a hierarchical namespace. Asks once; if the token may not ask, assumes not.
        https://learn.microsoft.com/rest/api/storageservices/get-account-information"""
        if self._folders is None:
            try:
                self._folders = bool(self._container.get_account_information().get("is_hns_enabled"))
            except HttpResponseError:
                self._folders = False
            except AzureError:
                return False
        return self._folders

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._session.close()

    def blob(self, key: str) -> BlobClient:
        """The SDK's client for one blob."""
        return self._container.get_blob_client(self.config.prefix + key)

    def _tier(self) -> dict[str, Any]:
        tier = self.config.access_tier
        return {"standard_blob_tier": StandardBlobTier(tier)} if tier else {}


def _content_settings(attributes: Attributes | None, md5: bytes | None) -> ContentSettings:
    named = {name: header_value_or_none(attributes, name) for name in ATTRIBUTES}
    return ContentSettings(**named, content_md5=bytearray(md5) if md5 else None)


def _to_info(key: str, properties: Any) -> ObjectInfo:
    settings = properties.content_settings
    etag = _strip_quotes(properties.etag)
    return ObjectInfo(
        key=key,
        size=properties.size,
        modified=properties.last_modified.timestamp(),
        etag=etag,
        version=etag,
        md5=bytes(settings.content_md5).hex() if settings.content_md5 else None,
        attributes=Attributes(
            **{name: getattr(settings, name) or None for name in ATTRIBUTES},
            metadata=decode_metadata(properties.metadata or {}),
        ),
    )


def _if_match(etag: str | None) -> dict[str, Any]:
    """The SDK's condition that the blob has this ETag."""
    if etag is None:
        return {}
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def _strip_quotes(etag: str) -> str:
    return etag.strip('"')


def parse_page(body: bytes) -> tuple[list[tuple[Entry, bool]], str]:
    """Parse a page of a listing: its rows, whether each is a folder, and the marker of the next page, empty
    on the last one. Raises ``MalformedResponse``. The SDK would treat a truncated page as the last one."""
    root = parse_xml(body.removeprefix(b"\xef\xbb\xbf"))
    blobs = root.find("Blobs")
    if root.tag != "EnumerationResults" or blobs is None:
        raise WrongProtocol("the response is not a listing")
    markers = root.findall("NextMarker")
    if len(markers) != 1:
        raise MalformedResponse("a page does not say whether more follows")
    return [_parse_row(element) for element in blobs.iterfind("Blob")], markers[0].text or ""


def _parse_row(element: ElementTree.Element) -> tuple[Entry, bool]:
    fields = {child.tag: child for child in element}
    name = fields.get("Name")
    properties = {child.tag: child.text or "" for child in fields.get("Properties", ())}
    text = "" if name is None else name.text or ""
    # Azure percent-encodes names that XML cannot hold, and marks them.
    key = unquote(text) if name is not None and name.get("Encoded") == "true" else text
    try:
        modified = parsedate_to_datetime(properties["Last-Modified"]).timestamp()
    except (KeyError, ValueError, TypeError) as error:
        raise MalformedResponse("a row is invalid") from error
    entry = parse_entry(
        key, properties.get("Content-Length"), modified, properties.get("Etag", "").strip('"')
    )
    metadata = fields.get("Metadata")
    folder = metadata is not None and metadata.findtext("hdi_isfolder") == "true"
    return entry, folder
