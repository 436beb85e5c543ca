"""What comes of each kind of file that is uploaded, honest and hostile: one table.

Every row goes through the pipeline as uploads do, with the sandbox.
"""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from dashboard.media.kinds import FileKind
from dashboard.media.pipeline import FileFacts, Pipeline, Step
from dashboard.media.policy import Refusal, Scan, UploadPolicy
from dashboard.media.recipes import RECIPES
from dashboard.media.sandbox import Limits, Outcome, Sandbox
from dashboard.media.scan import EICAR, ClamdScanner, ScanResult, ScanState
from dashboard.media.sniffing import sniff_bytes
from tests.media import clips, samples
from tests.media.samples import corners, encoded, opened
from tests.servers.clamd import clamd_server

EVERYTHING = UploadPolicy(kinds=tuple(FileKind), thumbnails=("small",))
PHOTO = encoded(corners((640, 480)), "JPEG")
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h9"/></svg>'
SCRIPTED = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(Limits(cpu_seconds=5, seconds=120))
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def pipeline(sandbox: Sandbox) -> Pipeline:
    return Pipeline(sandbox)


def zipped(content: bytes, *, prefix: bytes = b"", name: str = "a.txt") -> bytes:
    file = io.BytesIO(prefix)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def declared_bomb() -> bytes:
    """A small archive that unpacks to 4 GB, as the famous one in its inner layers."""
    data = bytearray(zipped(b"0" * 100))
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 24, 4_000_000_000)
    return bytes(data)


def commented_script() -> bytes:
    """Begins as a GIF, is a script."""
    return b"GIF89a/*" + b"\0" * 5 + b"*/=1;alert(document.domain);"


def truncated(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


# Name, content, and what comes of it: a status, or the content type; in the end what the sentence mentions.
Row = tuple[str, bytes | Callable[[], bytes], int | str, str]
HONEST: list[Row] = [
    ("photo.jpg", PHOTO, "image/jpeg", ""),
    ("print.jpg", encoded(corners((640, 480), "CMYK"), "JPEG"), "image/jpeg", ""),
    ("deep.png", samples.sixteen_bit_grey(), "image/png", ""),
    ("palette.png", encoded(corners().quantize(4), "PNG", transparency=0), "image/png", ""),
    ("animated.gif", samples.animated("GIF"), "image/gif", ""),
    ("animated.webp", samples.animated("WEBP"), "image/webp", ""),
    ("photo.avif", encoded(corners((64, 64)), "AVIF"), "image/avif", ""),
    ("photo.heic", clips.heic(), "image/heic", ""),
    ("paper.pdf", clips.pdf(), "application/pdf", ""),
    ("locked.pdf", clips.locked_pdf(), "application/pdf", "password"),
    ("clip.mp4", clips.video(), "video/mp4", ""),
    ("sound.wav", clips.sound(), "audio/wav", ""),
    ("drawing.svg", SVG.encode(), "image/svg+xml", ""),
    ("drawing16.svg", SVG.encode("utf-16"), "image/svg+xml", ""),
    ("table.csv", b"a,b\n1,2\n", "text/csv", ""),
    ("letter.txt", "Grüße\n".encode(), "text/plain", ""),
    ("page.html", b"<!doctype html><script>alert(1)</script>", "text/html", ""),
    ("files.zip", zipped(b"hello"), "application/zip", ""),
    ("data.blend", bytes(range(256)), "application/octet-stream", ""),
    ("empty.txt", b"", "text/plain", ""),
]
HOSTILE: list[Row] = [
    ("fake.jpg", b"MZ" + bytes(100), 415, "Windows program"),
    ("fake.png", PHOTO, 415, "JPEG"),
    ("invoice.pdf", zipped(b"x"), 415, "ZIP"),
    ("movie.mp4", b"ffconcat version 1.0\nfile 'secret.mp4'\n", 415, "list of other files"),
    ("movie.mov", b"#EXTM3U\nhttp://169.254.169.254/\n", 415, "list of other files"),
    ("drawing.svg", SCRIPTED.encode(), 422, "<script>"),
    ("drawing.svg", SCRIPTED.encode("utf-16"), 422, "<script>"),
    ("drawing.svg", SCRIPTED.encode("utf-16-le"), 422, "<script>"),
    ("drawing.svg", SVG.replace("d=", "onload=").encode(), 422, "onload"),
    ("drawing.svg", SVG.replace("<path", "<use href='http://x/#a'").encode(), 422, "href"),
    ("drawing.svg", f'<!DOCTYPE svg [<!ENTITY a "b">]>{SVG}'.encode(), 422, "entity"),
    ("picture.jpg", SCRIPTED.encode(), 415, "SVG"),
    ("notes.txt", SCRIPTED.encode("utf-16-be"), 415, "SVG"),
    ("script.gif", commented_script(), 422, "damaged"),
    ("both.jpg", zipped(b"evil", prefix=PHOTO), 422, "ZIP archive at the same time"),
    ("both.gif", zipped(b"evil", prefix=samples.animated()), 422, "ZIP archive at the same time"),
    ("both.pdf", zipped(b"evil", prefix=clips.pdf()), 422, "ZIP archive at the same time"),
    ("bomb.zip", declared_bomb(), 422, "4.0 GB"),
    ("bomb.png", samples.bomb, 422, "13,000 × 13,000"),
    ("bomb16.png", samples.deep_bomb, 422, "11,000 × 11,000"),
    ("half.jpg", truncated(PHOTO), 422, "damaged or incomplete"),
    ("half.png", truncated(encoded(corners((200, 200)), "PNG")), 422, "damaged or incomplete"),
    ("half.webp", truncated(encoded(corners((200, 200)), "WEBP")), 422, "damaged or incomplete"),
    ("half.avif", truncated(encoded(corners((200, 200)), "AVIF")), 422, "damaged or incomplete"),
    ("half.pdf", clips.pdf()[:60], 422, "damaged or incomplete"),
    ("half.mp4", clips.video()[:300], 422, "damaged or incomplete"),
    ("head.jpg", PHOTO[:12], 422, "damaged or incomplete"),
    ("empty.jpg", b"", 415, "empty"),
    ("noise.png", b"\x89PNG\r\n\x1a\n" + bytes(500), 422, "damaged or incomplete"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "result", "mentions"),
    [*HONEST, *HOSTILE],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_comes_of_each_file(
    pipeline: Pipeline,
    name: str,
    content: bytes | Callable[[], bytes],
    result: int | str,
    mentions: str,
) -> None:
    if not isinstance(content, bytes):
        content = content()
    found = pipeline.inspect(io.BytesIO(content), name, EVERYTHING)
    if isinstance(found, Refusal):
        assert found.status == result, found
        assert mentions in found.reason
        assert found.remedy
        return
    assert found.content_type == result
    assert (found.size, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert mentions in " ".join(found.notes)
    assert bool(found.notes) == bool(mentions)
    shown = found.type.kind in (FileKind.IMAGE, FileKind.VIDEO) or found.type.name == "pdf"
    assert len(found.derived) == (1 if shown and not mentions else 0)
    for each in found.derived:
        assert opened(each.data).size[0] <= 150
        assert sniff_bytes(each.data).content_type == each.content_type


def test_the_facts_of_each_kind(pipeline: Pipeline) -> None:
    def facts(name: str, content: bytes) -> FileFacts:
        found = pipeline.inspect(io.BytesIO(content), name, gps=True)
        assert isinstance(found, FileFacts)
        return found

    photo = facts("a.jpg", samples.tagged("JPEG"))
    assert (photo.width, photo.height, photo.taken_at) == (60, 40, 1795257000.0)
    assert photo.details["gps"] == {"latitude": -33.86, "longitude": 151.21}
    assert [each.recipe for each in photo.derived] == list(RECIPES.values())
    assert facts("a.gif", samples.animated()).details["frames"] == 2
    assert facts("a.pdf", clips.pdf(3)).pages == 3
    video = facts("a.mp4", clips.video())
    assert (video.width, video.height, video.duration) == (160, 120, pytest.approx(1.0, abs=0.1))
    assert facts("a.wav", clips.sound()).duration == pytest.approx(1.0, abs=0.1)


def test_videos_are_read_from_the_file_that_is_open(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clips.video())
    with path.open("rb") as file:
        found = pipeline.inspect(file, "a.mp4")
    assert isinstance(found, FileFacts)
    assert len(found.derived) == 3


def test_a_decoder_that_was_taken_over_is_not_believed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "width": "1",
        "height": -5,
        "taken_at": float("nan"),
        "details": {"a": [1], "b": "x\0", "c": "y" * 999, "d": 1.5, **{str(n): n for n in range(99)}},
        "gps": "somewhere",
        "derived": [["jpeg", 10, 10]] * 3,
    }
    html = b"<!doctype html><script>alert(1)</script>"
    monkeypatch.setattr(pipeline.sandbox, "run", lambda *_, **__: Outcome(values, [html] * 3))
    found = pipeline.inspect(io.BytesIO(PHOTO), "a.jpg")
    assert isinstance(found, FileFacts)
    assert (found.width, found.height, found.taken_at, found.derived) == (None, None, None, ())
    assert (len(found.details), found.details["c"], found.details["d"]) == (38, "y" * 200, 1.5)


@dataclass
class Answering:
    """A scanner with one answer."""

    result: ScanResult
    unpacked: int = -1

    def scan(self, content: BinaryIO, size: int, *, unpacked: int = 0) -> ScanResult:
        self.unpacked = unpacked
        return self.result


@pytest.mark.parametrize(
    ("mode", "result", "status", "scanned"),
    [
        (Scan.OFF, ScanResult(ScanState.INFECTED, "x"), None, False),
        (Scan.OPTIONAL, ScanResult(ScanState.CLEAN), None, True),
        (Scan.OPTIONAL, ScanResult(ScanState.NOT_SCANNED, "Too large."), None, False),
        (Scan.OPTIONAL, ScanResult(ScanState.INFECTED, "x"), 422, False),
        (Scan.OPTIONAL, None, None, False),
        (Scan.REQUIRED, ScanResult(ScanState.CLEAN), None, True),
        (Scan.REQUIRED, ScanResult(ScanState.INFECTED, "x"), 422, False),
        (Scan.REQUIRED, ScanResult(ScanState.NOT_SCANNED, "Too large."), 422, False),
        (Scan.REQUIRED, ScanResult(ScanState.NOT_SCANNED, "Gone.", retryable=True), 503, False),
        (Scan.REQUIRED, None, 503, False),
    ],
)
def test_a_required_scan_fails_closed(
    sandbox: Sandbox, mode: Scan, result: ScanResult | None, status: int | None, scanned: bool
) -> None:
    scanner = None if result is None else Answering(result)
    found = Pipeline(sandbox, scanner).inspect(io.BytesIO(b"text"), "a.txt", UploadPolicy(scan=mode))
    if status is None:
        assert isinstance(found, FileFacts)
        assert found.scanned is scanned
        assert bool(found.notes) == (mode is Scan.OPTIONAL and not scanned)
    else:
        assert isinstance(found, Refusal)
        assert (found.status, found.retryable) == (status, result is not None and result.retryable)


def test_what_an_archive_unpacks_to_is_what_the_scanner_must_see(sandbox: Sandbox) -> None:
    scanner = Answering(ScanResult(ScanState.CLEAN))
    policy = UploadPolicy(scan=Scan.REQUIRED)
    archive = zipped(b"0" * 50_000_000)
    assert isinstance(Pipeline(sandbox, scanner).inspect(io.BytesIO(archive), "a.zip", policy), FileFacts)
    assert scanner.unpacked == 50_000_000
    locked = bytearray(zipped(b"secret"))
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    found = Pipeline(sandbox, scanner).inspect(io.BytesIO(bytes(locked)), "a.zip", policy)
    assert isinstance(found, Refusal)
    assert "password" in found.reason


def test_eicar_is_refused_by_a_real_clamd(sandbox: Sandbox, tmp_path: Path) -> None:
    policy = UploadPolicy(scan=Scan.REQUIRED)
    with clamd_server(tmp_path, MaxFileSize="1M") as path:
        pipeline = Pipeline(sandbox, ClamdScanner(path))
        cases = {
            "a.txt": (EICAR, 422, "Eicar-Test"),
            "b.zip": (zipped(EICAR), 422, "Eicar-Test"),
            "c.txt": (b"harmless", None, ""),
            "d.txt": (EICAR + b" " * 2_000_000, 422, "does not look at files of"),
            # Inside is more than clamd looks at, so that it says “OK”.
            "e.zip": (zipped(EICAR + bytes(3_000_000)), 422, "does not look at files of"),
            "f.jpg": (PHOTO, None, ""),
        }
        for name, (content, status, mentions) in cases.items():
            found = pipeline.inspect(io.BytesIO(content), name, policy)
            assert getattr(found, "status", None) == status, found
            assert mentions in getattr(found, "reason", "")
            assert status or getattr(found, "scanned", False)


def test_steps_are_announced_and_a_known_checksum_is_used(pipeline: Pipeline) -> None:
    steps: list[Step] = []
    found = pipeline.inspect(io.BytesIO(b"text"), "a.txt", sha256="0" * 64, on_step=steps.append)
    assert steps == list(Step)
    assert isinstance(found, FileFacts)
    assert found.sha256 == "0" * 64


def fuzz(pipeline: Pipeline, count: int, seed: int) -> dict[str, int]:
    """Damage images in every way that a seed decides. Returns how many were accepted and refused."""
    dice = random.Random(seed)
    image = corners((120, 80))
    originals = [
        (form.lower(), encoded(image, form))
        for form in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "ICO")
    ]
    originals += [("heic", clips.heic()), ("jpeg", samples.tagged("JPEG")), ("png", samples.tagged("PNG"))]
    endings = {"jpeg2000": ".jp2", "jpeg": ".jpg"}
    outcomes = {"accepted": 0, "refused": 0}
    for number in range(count):
        kind, data = originals[number % len(originals)]
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(damaged))
            action = dice.randrange(4)
            if action == 0:
                damaged[at] = dice.randrange(256)
            elif action == 1:
                damaged[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"))
            elif action == 2:
                del damaged[at : at + dice.randrange(1, 64)]
            else:
                damaged[at:at] = dice.randbytes(dice.randrange(1, 64))
            damaged = damaged or bytearray(b"x")
        found = pipeline.inspect(io.BytesIO(bytes(damaged)), f"a{endings.get(kind, f'.{kind}')}", EVERYTHING)
        outcomes["refused" if isinstance(found, Refusal) else "accepted"] += 1
    return outcomes


def test_damaged_images_are_refused_or_shown_and_nothing_else(pipeline: Pipeline) -> None:
    outcomes = fuzz(pipeline, 36, seed=42)
    assert sum(outcomes.values()) == 36
    assert min(outcomes.values()) > 3


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_two_thousand_damaged_images(pipeline: Pipeline) -> None:
    outcomes = fuzz(pipeline, 2000, seed=2026)
    assert sum(outcomes.values()) == 2000
    print(f"2,000 damaged images: {outcomes}")
