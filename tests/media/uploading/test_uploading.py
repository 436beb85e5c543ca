"""Uploads in a program of one's own: configuration, handler, and a real FastAPI application."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from dashboard.errors import InvalidInput
from dashboard.media.file_validator import FileRefused
from dashboard.media.pipeline import FileFacts
from dashboard.media.policy import OnConflict, Scan
from dashboard.media.sandbox import close_shared_sandbox
from dashboard.media.sizes import MB
from dashboard.media.uploading.async_handler import UploadHandler, UploadResult
from dashboard.media.uploading.fastapi_dependency import create_upload_dependency
from dashboard.media.uploading.upload_config import UploadConfig
from dashboard.storage import Storage


@pytest.fixture(scope="module", autouse=True)
def _one_sandbox() -> Iterator[None]:
    yield
    close_shared_sandbox()


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as storage:
        storage.configure("s3", "memory")
        yield storage


def jpeg(width: int = 400, height: int = 300) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "JPEG")
    return file.getvalue()


class ReceivedForm:
    """What FastAPI hands over."""

    def __init__(self, filename: str, content: bytes) -> None:
        self.filename, self.file = filename, io.BytesIO(content)


def test_a_configuration_is_a_policy() -> None:
    config = UploadConfig(20 * MB, {".jpg", "png"}, "uploads/documents", generate_thumbnails=True)
    policy = config.policy()
    assert (policy.max_size, policy.endings, policy.scan) == (20 * MB, (".jpg", ".png"), Scan.OFF)
    assert (policy.unique_names, policy.on_conflict) == (True, OnConflict.RENAME) or policy.unique_names
    assert UploadConfig(virus_scan=True).policy().scan is Scan.REQUIRED
    with pytest.raises(InvalidInput):
        UploadConfig(max_file_size=0)


def test_variables_of_other_programs_configure_uploads() -> None:
    config = UploadConfig.from_environment(
        {
            "MAX_UPLOAD_SIZE": "1048576",
            "SUPPORTED_IMAGE_TYPES": '["image/jpeg", ".PNG"]',
            "IMAGE_STORAGE_PATH": "images/",
            "ENABLE_IMAGE_PROCESSING": "True",
            "IMAGE_THUMBNAIL_SIZE": "(200, 100)",
        }
    )
    assert (config.max_file_size, config.allowed_extensions) == (1048576, (".jpeg", ".png"))
    assert (config.upload_path, config.policy().thumbnails) == ("images/", ("200x100",))
    assert UploadConfig.from_environment({"MAX_IMAGE_SIZE_MB": "5"}).max_file_size == 5 * MB
    for name in ("MAX_UPLOAD_SIZE", "ENABLE_IMAGE_PROCESSING", "IMAGE_THUMBNAIL_SIZE"):
        with pytest.raises(InvalidInput) as refused:
            UploadConfig.from_environment({name: "a lot"})
        assert refused.value.subject == name


def test_a_file_is_checked_stored_and_described(storage: Storage) -> None:
    config = UploadConfig(upload_path="in", organize_by_date=False, generate_thumbnails=True)
    handler = UploadHandler(config, storage=storage)
    result = asyncio.run(handler.process_file(ReceivedForm("C:\\fake\\My Photo.JPG", jpeg())))
    assert result.file_path.startswith("in/My-Photo-")
    assert storage.get(result.file_path) == jpeg()
    assert (result.metadata["width"], result.metadata["content_type"]) == (400, "image/jpeg")
    assert result.url is None
    assert set(result.thumbnails) == {"small", "medium", "large"}
    with Image.open(io.BytesIO(storage.get(result.thumbnails["small"]))) as small:
        assert small.size == (150, 112)
    assert storage.stat(result.file_path).attributes.metadata["sha256"] == result.metadata["sha256"]


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [("a.jpg", b"MZ" + bytes(200), 415), ("a.exe", b"x", 415), ("a.jpg", jpeg() + bytes(MB), 413)],
)
def test_a_file_that_is_refused_is_not_stored(
    storage: Storage, name: str, content: bytes, status: int
) -> None:
    handler = UploadHandler(UploadConfig(MB, [".jpg"]), storage=storage)
    with pytest.raises(FileRefused) as refused:
        asyncio.run(handler.process_file(ReceivedForm(name, content)))
    assert refused.value.refusal.status == status
    assert list(storage.list()) == []


def test_required_scans_fail_closed_without_a_scanner(storage: Storage) -> None:
    handler = UploadHandler(UploadConfig(virus_scan=True), storage=storage)
    with pytest.raises(FileRefused, match="scanner"):
        asyncio.run(handler.process_file(ReceivedForm("a.txt", b"text")))


def test_a_subclass_changes_a_step(storage: Storage) -> None:
    class Marked(UploadHandler):
        async def process_file(self, file: object) -> UploadResult:
            facts: FileFacts = await self.validate_file_content(file)
            key = await self.store_with_hash(file, facts)
            await self.apply_watermark(key, "logo.png", position="bottom-right", opacity=0.7)
            return UploadResult(key, await self.generate_url(key), {}, self.extract_metadata(facts))

    logo = io.BytesIO()
    Image.new("RGBA", (40, 40), "white").save(logo, "PNG")
    storage.put("logo.png", logo.getvalue())
    result = asyncio.run(Marked(storage=storage).process_file(ReceivedForm("a.jpg", jpeg())))
    with Image.open(io.BytesIO(storage.get(result.file_path))) as image:
        corner = image.crop((200, 150, 400, 300)).getchannel("R").getextrema()
        rest = image.crop((0, 0, 200, 150)).getchannel("R").getextrema()
    assert corner[1] > 100 > rest[1]


def test_fastapi_answers_with_the_sentence(storage: Storage) -> None:
    upload = create_upload_dependency(
        storage=storage, disk="s3", allowed_extensions=[".jpg"], max_file_size=MB
    )
    given, api = Depends(upload), FastAPI()

    @api.post("/photos")
    async def photos(result: UploadResult = given) -> dict[str, Any]:
        return {"key": result.file_path, "size": result.metadata["size"]}

    client = TestClient(api)
    sent = client.post("/photos", files={"file": ("a.jpg", jpeg(), "image/jpeg")})
    assert sent.status_code == 200, sent.text
    assert storage.get(sent.json()["key"]) == jpeg()
    refused = client.post("/photos", files={"file": ("a.jpg", b"MZ" + bytes(99), "image/jpeg")})
    assert refused.status_code == 415
    assert "promises something else" in refused.json()["detail"]
    assert client.post("/photos").status_code == 422
