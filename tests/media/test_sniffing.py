"""The table of content types: what is recognised by its first bytes, and what may be called what."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest

from dashboard.media.kinds import TYPES, FileKind
from dashboard.media.sniffing import compare, hides_an_archive, sniff, sniff_bytes
from dashboard.media.zip_members import read_members


def zipped(*names: str, content: bytes = b"x", prefix: bytes = b"") -> bytes:
    file = io.BytesIO()
    file.write(prefix)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def opendocument(kind: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", f"application/{kind}")
        archive.writestr("content.xml", "<x/>")
    return file.getvalue()


def ftyp(major: bytes, *others: bytes) -> bytes:
    body = major + b"\0\0\0\0" + b"".join(others)
    return struct.pack(">I4s", 8 + len(body), b"ftyp") + body + b"\0\0\0\x08moov"


SVG = '<?xml version="1.0"?><!-- made by --><svg xmlns="http://www.w3.org/2000/svg"/>'
MP3 = b"\xff\xfb\x90\0" + b"\0" * 413
CONTENT = [
    ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
    ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    ("gif", b"GIF89a/*"),
    ("webp", b"RIFF\0\0\0\0WEBPVP8 "),
    ("wav", b"RIFF\0\0\0\0WAVEfmt "),
    ("avi", b"RIFF\0\0\0\0AVI LIST"),
    ("unknown", b"RIFF\0\0\0\0ABCD\0\0"),
    ("avif", ftyp(b"avif", b"mif1")),
    ("avif", ftyp(b"mif1", b"avif")),
    ("heic", ftyp(b"heic", b"mif1")),
    ("heic", ftyp(b"mif1", b"heic")),
    ("mp4", ftyp(b"isom", b"iso2", b"mp41")),
    ("mp4", ftyp(b"wxyz", b"mp42")),
    ("m4a", ftyp(b"M4A ", b"isom")),
    ("mov", ftyp(b"qt  ")),
    ("3gp", ftyp(b"3gp5")),
    ("unknown", ftyp(b"wxyz")),
    ("webm", b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm"),
    ("matroska", b"\x1a\x45\xdf\xa3\x9fB\x82\x88matroska"),
    ("ogg", b"OggS\0\x02" + b"\0" * 22 + b"OpusHead"),
    ("ogv", b"OggS\0\x02" + b"\0" * 22 + b"\x80theora"),
    ("mpegts", (b"\x47" + b"\0" * 187) * 6),
    ("mp3", MP3 + MP3),
    ("mp3", b"ID3\x03\0"),
    ("flac", b"fLaC\0"),
    ("pdf", b"%PDF-1.7\n"),
    ("html", b"  <!DOCTYPE html><html>"),
    ("html", b"<!-- hello --><script>alert(1)</script>"),
    ("html", "\ufeff<HTML>".encode()),
    ("svg", SVG.encode()),
    ("svg", SVG.encode("utf-16")),
    ("svg", SVG.encode("utf-16-le")),
    ("svg", SVG.encode("utf-16-be")),
    ("svg", SVG.encode("utf-32")),
    ("svg", b'<!DOCTYPE svg PUBLIC "x" "y" [<!ENTITY a "b">]>\n<s:svg xmlns:s="http://www.w3.org/2000/svg"/>'),
    ("xml", b"<!--" + b"x" * 70_000 + b"--><svg/>"),
    ("xml", b"<?xml version='1.0'?><feed/>"),
    ("playlist", b"ffconcat version 1.0\nfile '/etc/hostname'\n"),
    ("playlist", "\ufeffffconcat version 1.0\n".encode()),
    ("playlist", b"#EXTM3U\n"),
    ("script", b"#!/bin/sh\n"),
    ("script", b"<?php echo 1;"),
    ("text", "Grüße\n".encode()),
    ("text", "Grüße\n".encode("latin-1")),
    ("text", "Grüße".encode()[:3]),
    ("text", ("a" * 65_535 + "ü").encode()),
    ("text", b"# Title\n<script> in the middle"),
    ("zip", zipped("a.txt")),
    ("zip", b"PK\x05\x06" + b"\0" * 18),
    ("docx", zipped("[Content_Types].xml", "word/document.xml")),
    ("docm", zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")),
    ("xlsx", zipped("[Content_Types].xml", "xl/workbook.xml")),
    ("jar", zipped("META-INF/MANIFEST.MF", "A.class")),
    ("apk", zipped("META-INF/MANIFEST.MF", "AndroidManifest.xml")),
    ("odt", opendocument("vnd.oasis.opendocument.text")),
    ("epub", opendocument("epub+zip")),
    ("pe", b"MZ" + b"\0" * 100),
    ("elf", b"\x7fELF\x02"),
    ("class", b"\xca\xfe\xba\xbe\0\0\0\x41"),
    ("macho", b"\xca\xfe\xba\xbe\0\0\0\x02"),
    ("empty", b""),
    ("unknown", bytes(range(256)) * 4),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), CONTENT, ids=[f"{n}-{c[:8]!r}" for n, c in CONTENT])
def test_content_is_recognised(name: str, content: bytes) -> None:
    assert sniff_bytes(content) == TYPES[name]


@pytest.mark.parametrize(
    ("name", "content", "result"),
    [
        ("a.jpg", "jpeg", "jpeg"),
        ("a.JPEG", "jpeg", "jpeg"),
        ("a.png", "jpeg", None),
        ("a", "jpeg", "jpeg"),
        ("a.unheard", "jpeg", "jpeg"),
        ("a.txt", "jpeg", None),
        ("a.mp4", "playlist", None),
        ("a.mp4", "mp4", "mp4"),
        ("a.m4a", "mp4", "m4a"),
        ("a.mp4", "m4a", "m4a"),
        ("a.mov", "mp4", None),
        ("a.csv", "text", "csv"),
        ("a.css", "text", "css"),
        ("a.js", "text", "javascript"),
        ("a.ts", "text", "javascript"),
        ("a.ts", "mpegts", "mpegts"),
        ("a.py", "text", "script"),
        ("a.m3u8", "text", "playlist"),
        ("a.jpg", "text", None),
        ("a.txt", "html", None),
        ("a.jpg", "svg", None),
        ("a.txt", "svg", None),
        ("a.svg", "svg", "svg"),
        ("a.svg", "text", None),
        ("a.unheard", "text", "text"),
        ("a.doc", "ole", "ole"),
        ("a.msi", "ole", "msi"),
        ("a.jpg", "empty", None),
        ("a.txt", "empty", "text"),
        ("a.jpg", "unknown", None),
        ("a.blend", "unknown", "unknown"),
        ("a.bin", "unknown", "unknown"),
        ("a.docx", "zip", None),
        ("a.zip", "docx", None),
        ("a.jpg.exe", "jpeg", None),
    ],
)
def test_name_and_content_agree_or_not(name: str, content: str, result: str | None) -> None:
    found = compare(name, TYPES[content])
    assert (found.name if found is not None else None) == result


def test_a_file_that_is_an_archive_as_well_is_found() -> None:
    jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 100
    both = io.BytesIO(zipped("evil.txt", prefix=jpeg))
    assert sniff(both) == TYPES["jpeg"]
    assert hides_an_archive(both, TYPES["jpeg"])
    assert not hides_an_archive(io.BytesIO(jpeg), TYPES["jpeg"])
    office = io.BytesIO(zipped("[Content_Types].xml", "word/document.xml"))
    assert not hides_an_archive(office, sniff(office))


def test_bombs_are_recognised_by_what_they_declare() -> None:
    honest = read_members(io.BytesIO(zipped("a", "b", content=b"0" * 1_000_000)))
    assert honest is not None
    assert (honest.names, honest.unpacked, honest.is_bomb) == (("a", "b"), 2_000_000, False)
    bomb = bytearray(zipped("a"))
    at = bomb.rindex(b"PK\x01\x02")
    struct.pack_into("<L", bomb, at + 24, 4_000_000_000)
    found = read_members(io.BytesIO(bytes(bomb)))
    assert found is not None
    assert found.is_bomb
    twice = bytearray(zipped("a", "b", content=b"0" * 10_000))
    struct.pack_into("<L", twice, twice.rindex(b"PK\x01\x02") + 42, 0)
    found = read_members(io.BytesIO(bytes(twice)))
    assert found is not None
    assert found.overlapping


def test_no_content_makes_sniffing_fail() -> None:
    dice = random.Random(10)
    whole = [content for _, content in CONTENT if content]
    for _ in range(3000):
        content = bytearray(dice.choice(whole)[: dice.randrange(1, 400)])
        for _ in range(dice.randrange(4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        file = io.BytesIO(bytes(content) + bytes(dice.randrange(4)))
        found = sniff(file)
        assert found.kind in FileKind
        hides_an_archive(file, found)
        read_members(file)
