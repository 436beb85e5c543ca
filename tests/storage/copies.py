"""Objects, and places to copy them between."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.storage.copying import Copied, copy_object
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.types import Attributes, Entry
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of

MIB = 1024 * 1024
SMALL = content_of(5000)
MIDDLE = content_of(2 * MIB)
LARGE = content_of(20 * MIB + 3)
HELD = Attributes(content_type="a/b", metadata={"x": "y"})
Make = Callable[..., S3Driver]


def fill(driver: Driver, key: str, data: bytes) -> Entry:
    """Write an object and return it as listed."""
    with driver.write(key, size=len(data), attributes=HELD) as writing:
        writing.write(data)
        writing.commit()
    return next(iter(driver.list(key)))


def copy(
    source: Driver,
    destination: Driver,
    entry: Entry,
    *,
    to: str = "",
    create_only: bool = True,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
    need_md5: bool = True,
    prove_read: bool = True,
) -> Copied:
    return copy_object(
        source,
        destination,
        entry,
        to=to or entry.key,
        create_only=create_only,
        progress=progress,
        stop=stop,
        need_md5=need_md5,
        prove_read=prove_read,
    )


def content(driver: Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return b"".join(reading.chunks())


class OnAnotherServer:
    """A driver that shares no server with any other: what it wraps never copies by itself."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> object:
        return getattr(self._driver, name)


def in_parts(seaweedfs: SeaweedFS, place: S3Driver, key: str, data: bytes, *sizes: int) -> Entry:
    """Upload in parts of these sizes, the last of which is used again and again."""
    s3, where = seaweedfs.client(), {"Bucket": place._config.bucket, "Key": f"{place._config.prefix}{key}"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    parts: list[dict[str, object]] = []
    at = 0
    while at < len(data):
        size = sizes[min(len(parts), len(sizes) - 1)]
        number = len(parts) + 1
        sent = s3.upload_part(**where, PartNumber=number, Body=data[at : at + size])  # type: ignore[arg-type]
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        at += size
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})  # type: ignore[arg-type]
    return next(iter(place.list(key)))
