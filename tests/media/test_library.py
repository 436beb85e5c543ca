"""``ImageProcessor`` and ``FileValidator``, as programs without a console use them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from dashboard.errors import InvalidInput
from dashboard.media.file_validator import FileRefused, FileValidator
from dashboard.media.image_processor import ImageProcessor
from dashboard.media.kinds import FileKind
from dashboard.media.policy import UploadPolicy
from dashboard.media.sandbox import MediaError, Sandbox, close_shared_sandbox
from dashboard.media.scan import EICAR, ScanResult, ScanState
from dashboard.storage import Storage
from dashboard.storage.errors import NotFound
from tests.media import samples
from tests.media.samples import SECRET, corners, encoded, opened


@pytest.fixture(scope="module", autouse=True)
def _one_sandbox() -> Iterator[None]:
    yield
    close_shared_sandbox()


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as storage:
        storage.configure("media", "memory")
        storage.put("a/photo.jpg", encoded(corners((600, 400)), "JPEG", comment=SECRET))
        storage.put("logo.png", encoded(Image.new("RGBA", (300, 300), "black"), "PNG"))
        storage.put("moving.gif", samples.animated())
        storage.put("letter.txt", "text")
        yield storage


def test_thumbnails_are_stored_beside_the_image(storage: Storage) -> None:
    processor = ImageProcessor(storage)
    sizes = [(150, 150), (300, 300), (800, 600)]
    made = asyncio.run(
        processor.generate_thumbnails(image_path="a/photo.jpg", sizes=sizes, crop=True, quality=85)
    )
    assert {name: (each.width, each.height) for name, each in made.items()} == {
        "150x150": (150, 150), "300x300": (300, 300), "800x600": (533, 400),
    }  # fmt: skip
    assert [each.key for each in made.values()] == [f"a/photo-{name}.jpg" for name in made]
    for each in made.values():
        data = storage.get(each.key)
        assert (len(data), opened(data).size) == (each.size, (each.width, each.height))
        assert storage.stat(each.key).attributes.content_type == each.content_type == "image/jpeg"
    fit = asyncio.run(processor.generate_thumbnails("a/photo.jpg", image_format="webp"))
    assert next((each.key, each.width) for each in fit.values()) == ("a/photo-150x150.webp", 150)
    assert asyncio.run(processor.generate_thumbnails("moving.gif", [(20, 20)]))["20x20"].key.endswith(".jpg")


def test_images_are_optimised_and_converted(storage: Storage) -> None:
    processor = ImageProcessor(storage)
    small = asyncio.run(
        processor.optimize_image(source="a/photo.jpg", destination="k2.webp", max_width=300, quality=80)
    )
    assert (small.key, small.width, small.height, small.content_type) == ("k2.webp", 300, 200, "image/webp")
    assert SECRET.encode() not in storage.get("k2.webp")
    assert asyncio.run(processor.optimize_image("a/photo.jpg", "k3.jpg")).width == 600
    with pytest.raises(MediaError) as raised:
        asyncio.run(processor.optimize_image("moving.gif", "still.png"))
    assert raised.value.cause == "animated"
    assert not storage.exists("still.png")


def test_a_watermark_leaves_the_original(storage: Storage) -> None:
    processor, before = ImageProcessor(storage.backend()), storage.get("a/photo.jpg")
    made = asyncio.run(
        processor.add_watermark(
            image="a/photo.jpg", watermark="logo.png", position="bottom-right", opacity=0.7
        )
    )
    assert (made.key, made.width, made.height) == ("a/photo-watermarked.jpg", 600, 400)
    pixel = opened(storage.get(made.key)).getpixel((560, 360))
    assert pixel == pytest.approx((76, 76, 76), abs=6)
    assert storage.get("a/photo.jpg") == before
    replaced = asyncio.run(
        processor.add_watermark("a/photo.jpg", "logo.png", "center", destination="a/photo.jpg")
    )
    assert replaced.key == "a/photo.jpg"
    assert storage.get("a/photo.jpg") != before


def test_the_facts_of_an_image(storage: Storage) -> None:
    storage.put("tagged.jpg", samples.tagged("JPEG"))
    facts = asyncio.run(ImageProcessor(storage).metadata("tagged.jpg"))
    assert (facts.width, facts.height, facts.details["model"]) == (60, 40, "Phone 7")
    assert "gps" not in facts.details


def test_what_cannot_be_done_is_said(storage: Storage) -> None:
    processor = ImageProcessor(storage, max_pixels=1000)
    with pytest.raises(NotFound):
        asyncio.run(processor.metadata("nothing.jpg"))
    with pytest.raises(MediaError, match="cannot decode"):
        asyncio.run(processor.generate_thumbnails("letter.txt"))
    with pytest.raises(MediaError, match="600 × 400"):
        asyncio.run(processor.generate_thumbnails("a/photo.jpg"))
    for call in (
        processor.optimize_image("a/photo.jpg", "k2.gif"),
        processor.optimize_image("a/photo.jpg", "k2.jpg", max_width=0),
        processor.optimize_image("a/photo.jpg", "k2.jpg", quality=0),
        processor.generate_thumbnails("a/photo.jpg", [(0, 5)]),
        processor.add_watermark("a/photo.jpg", "logo.png", "somewhere"),
        processor.add_watermark("a/photo.jpg", "logo.png", opacity=2),
    ):
        with pytest.raises(InvalidInput):
            asyncio.run(call)


def test_the_storage_of_the_process_is_the_default(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = storage.backend()
    monkeypatch.setattr(Storage, "backend", lambda *_: backend)
    assert asyncio.run(ImageProcessor().metadata("a/photo.jpg")).width == 600


@dataclass
class ReceivedUpload:
    """As FastAPI hands it over."""

    filename: str
    file: BinaryIO


@dataclass
class FixedScanner:
    """Has one answer."""

    result: ScanResult

    def scan(self, content: BinaryIO, size: int, *, unpacked: int = 0) -> ScanResult:
        return self.result


def test_types_are_checked_by_content(tmp_path: Path) -> None:
    validator, photo = FileValidator(), encoded(corners(), "JPEG")
    assert validator.validate_file_type(photo, allowed_types=["image/jpeg"]).name == "jpeg"
    assert validator.validate_file_type(photo, allowed_types=["image/*"]).name == "jpeg"
    upload = ReceivedUpload("a.jpg", io.BytesIO(photo))
    upload.file.seek(3)
    assert validator.validate_file_type(upload).name == "jpeg"
    assert upload.file.tell() == 3
    path = tmp_path / "a.png"
    path.write_bytes(photo)
    cases = (
        (photo, ["image/png"], ""),
        (path, [], ""),
        (photo, [], "a.gif"),
        (ReceivedUpload("a.pdf", upload.file), [], ""),
    )
    for file, allowed, name in cases:
        with pytest.raises(FileRefused) as raised:
            validator.validate_file_type(file, allowed, name=name)
        assert raised.value.refusal.status == 415
    with pytest.raises(FileRefused):
        FileValidator(UploadPolicy(kinds=(FileKind.TEXT,), thumbnails=())).validate_file_type(photo)


def test_content_is_decoded() -> None:
    validator, photo = FileValidator(), encoded(corners(), "JPEG")
    facts = validator.validate_file_content(photo)
    assert (facts.width, facts.height, facts.derived) == (60, 40, ())
    with pytest.raises(FileRefused, match="damaged"):
        validator.validate_file_content(ReceivedUpload("a.jpg", io.BytesIO(photo[:200])))


def test_files_are_scanned() -> None:
    for result, status in (
        (ScanResult(ScanState.INFECTED, "Eicar"), 422),
        (ScanResult(ScanState.NOT_SCANNED, "Gone.", retryable=True), 503),
    ):
        with pytest.raises(FileRefused) as raised:
            asyncio.run(FileValidator(scanner=FixedScanner(result)).scan_for_viruses(EICAR))
        assert (raised.value.refusal.status, raised.value.retryable) == (status, status == 503)
    asyncio.run(FileValidator(scanner=FixedScanner(ScanResult(ScanState.CLEAN))).scan_for_viruses(b"x"))
    with pytest.raises(FileRefused, match="no virus scanner"):
        asyncio.run(FileValidator(sandbox=Sandbox()).scan_for_viruses(b"x"))
