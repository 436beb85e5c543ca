"""Thumbnails at their address: made on demand, from any copy, and kept by browsers."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from dashboard.storage.types import Entry
from tests.web.files.conftest import HOME, SPARE, FilesConsole


def picture(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (400, 200), colour).save(made, "PNG")
    return made.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")).size


def test_a_thumbnail(served: FilesConsole) -> None:
    content, client = picture("red"), served.browser.client
    served.put(HOME, "red.png", content)
    digest = hashlib.sha256(content).hexdigest()
    number = served.catalogue(HOME, "red.png", len(content), sha256=digest)
    address = f"/api/v1/files/{number}/thumb/small"
    made = client.get(address)
    assert (made.status_code, size_of(made.data)) == (200, (150, 75))
    assert made.headers["Content-Type"] == "image/png"
    assert made.headers["Content-Security-Policy"].startswith("sandbox;")
    assert made.headers["Cache-Control"] == "private, no-cache"
    kept = client.get(f"{address}?v={digest[:12]}")
    assert kept.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    other = client.get(f"{address}?v={'0' * 12}")
    assert other.headers["Cache-Control"] == "private, no-cache"
    same = client.get(address, headers={"If-None-Match": made.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    part = client.get(address, headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.data) == (206, b"\x89PNG\r\n\x1a\n")
    assert size_of(client.get(f"/api/v1/files/{number}/thumb/40x40-crop").data) == (40, 40)


def test_a_thumbnail_of_a_file_whose_digest_is_not_known(served: FilesConsole) -> None:
    served.put(SPARE, "blue.png", picture("blue"))
    number = served.catalogue(HOME, "blue.png", 1)
    assert served.browser.client.get(f"/api/v1/files/{number}/thumb/small").status_code == 409
    number = served.catalogue(SPARE, "blue.png", 1)
    made = served.browser.client.get(f"/api/v1/files/{number}/thumb/small")
    assert (made.status_code, size_of(made.data)) == (200, (150, 75))


def test_a_digest_that_was_computed_is_kept_for_exactly_that_content(served: FilesConsole) -> None:
    content, catalogue = picture("blue"), served.console.services.catalogue
    served.put(HOME, "blue.png", content)
    info = served.console.services.backends.driver(HOME).stat("blue.png")
    backend_id = served.console.services.backends.get(HOME).id
    catalogue.observe(backend_id, [Entry("blue.png", info.size, info.modified, info.etag)])
    [file] = catalogue.find_many(HOME, ["blue.png"]).values()
    served.browser.client.get(f"/api/v1/files/{file.id}/thumb/small")
    assert catalogue.get(file.id).sha256 == hashlib.sha256(content).hexdigest()
    # Replaced while it was read: what was computed belongs to neither row.
    served.put(HOME, "other.png", content)
    catalogue.observe(backend_id, [Entry("other.png", len(content), 1.0, None)])
    [other] = catalogue.find_many(HOME, ["other.png"]).values()
    served.browser.client.get(f"/api/v1/files/{other.id}/thumb/small")
    assert catalogue.get(other.id).sha256 == ""


@pytest.mark.parametrize(
    ("content", "name", "status"),
    [
        (b"just text", "small", 422),
        (b"\x89PNG\r\n\x1a\n" + b"broken", "small", 422),
        (picture("green"), "enormous", 400),
        (picture("green"), "99999x1", 400),
    ],
)
def test_no_thumbnail(served: FilesConsole, content: bytes, name: str, status: int) -> None:
    key = hashlib.sha256(content + name.encode()).hexdigest()
    served.put(HOME, key, content)
    number = served.catalogue(HOME, key, len(content))
    refused = served.browser.client.get(f"/api/v1/files/{number}/thumb/{name}")
    assert refused.status_code == status
    assert refused.json["error"]["reason"]


def test_a_file_that_is_not_what_the_catalogue_says_has_no_thumbnail(served: FilesConsole) -> None:
    served.put(HOME, "changed.png", picture("black"))
    number = served.catalogue(HOME, "changed.png", 1, sha256="0" * 64)
    refused = served.browser.client.get(f"/api/v1/files/{number}/thumb/small")
    assert (refused.status_code, refused.json["error"]["kind"]) == (409, "conflict")
