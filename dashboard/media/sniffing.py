"""What a file contains, from its first bytes and, for archives, its directory; and whether its name agrees.

The table of types is in ``kinds``. Sniffing never fails and never decodes: whether an image is whole is found
out later, in the sandbox.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import BinaryIO

from dashboard.media.kinds import (
    AMBIGUOUS_ENDINGS,
    BY_ENDING,
    EMPTY,
    TEXT,
    TYPES,
    UNKNOWN,
    WRITTEN_AS_TEXT,
    FileKind,
    FileType,
    ending_of,
)
from dashboard.media.zip_members import end_of_archive, read_members

HEAD = 64 * 1024
"""Bytes at the beginning that decide."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"\0\0\1\0", "ico"),
    (0, b"\0\0\2\0", "ico"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg2000"),
    (0, b"\xff\x0a", "jxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (0, b"8BPS", "psd"),
    (0, b"%PDF-", "pdf"),
    (0, b"%!PS", "postscript"),
    (0, b"\xc5\xd0\xd3\xc6", "postscript"),
    (0, b"{\\rtf", "rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (257, b"ustar", "tar"),
    (0, b"\x7fELF", "elf"),
    (0, b"\xfe\xed\xfa\xce", "macho"),
    (0, b"\xfe\xed\xfa\xcf", "macho"),
    (0, b"\xce\xfa\xed\xfe", "macho"),
    (0, b"\xcf\xfa\xed\xfe", "macho"),
    (0, b"\0asm", "wasm"),
    (0, b"L\0\0\0\x01\x14\x02\0", "lnk"),
    (0, b"SQLite format 3\0", "sqlite"),
    (0, b"fLaC", "flac"),
    (0, b"ID3", "mp3"),
    (0, b"MThd", "midi"),
    (0, b"#!AMR", "amr"),
    (0, b"FLV\1", "flv"),
    (0, b"\0\0\1\xba", "mpeg"),
    (0, b"\0\0\1\xb3", "mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"wOFF", "woff"),
    (0, b"wOF2", "woff2"),
    (0, b"OTTO", "otf"),
    (0, b"\0\1\0\0\0", "ttf"),
    (0, b"ttcf", "ttf"),
    (0, b"PAR1", "parquet"),
    (0, b"ffconcat version", "playlist"),
    (0, b"#EXTM3U", "playlist"),
)
_RIFF = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "heic"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "m4a"),
    **dict.fromkeys((b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso8", b"iso9"), "mp4"),
    **dict.fromkeys((b"mp41", b"mp42", b"avc1", b"dash", b"M4V ", b"M4VH", b"M4VP", b"MSNV"), "mp4"),
    **dict.fromkeys((b"f4v ", b"F4V ", b"XAVC", b"mmp4", b"mp71", b"hvc1", b"av01"), "mp4"),
    b"qt  ": "mov",
}
_OPENDOCUMENT = {"text": "odt", "spreadsheet": "ods", "presentation": "odp", "graphics": "odg"}
_OFFICE = {"word/": ("docx", "docm"), "xl/": ("xlsx", "xlsm"), "ppt/": ("pptx", "pptm")}
_HTML = frozenset(
    ("html", "head", "body", "script", "iframe", "title", "meta", "link", "style", "object", "embed", "form")
)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([a-z][\w-]*)[\s/>]")
_OPENING = re.compile(r"<!--.*?-->|<\?.*?\?>|<!doctype\s+([\w:.-]+)[^<>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f]")


def sniff(content: BinaryIO) -> FileType:
    """Return the row of the table for this content: ``UNKNOWN`` if none fits. Moves the position; reads at
    most about 64 KiB, and the directory of an archive."""
    content.seek(0)
    head = content.read(HEAD)
    if not head:
        return EMPTY
    name = _binary(head)
    if name is None and head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        name = _zip(content, head)
    if name is None:
        name = _text(head)
    return TYPES[name] if name else UNKNOWN


def sniff_bytes(content: bytes) -> FileType:
    """As :func:`sniff`."""
    return sniff(BytesIO(content))


def hides_an_archive(content: BinaryIO, found: FileType) -> bool:
    """Whether the file is of this type and a ZIP archive at once: it begins as the one and ends as the other.
    Moves the position."""
    if found.kind in (FileKind.ARCHIVE, FileKind.PROGRAM, FileKind.OTHER) or _made_of_members(found):
        return False
    archive = end_of_archive(content)
    if archive is None:
        return False
    content.seek(archive[0])
    return content.read(4) == b"PK\x01\x02"


def compare(name: str, found: FileType) -> FileType | None:
    """Return what a file of this name and content is, or None if the two contradict each other.

    An ending that the table does not know promises nothing. Of content that is any text, the ending tells
    what it is for: ``.csv``, ``.css``.
    """
    ending = ending_of(name)
    claimed = BY_ENDING.get(ending, ())
    if ending in found.endings:
        # .m4a of brand isom is audio; the same endings in two rows mean the same container.
        return next((row for row in claimed if row.endings[0] == ending and found.name == "mp4"), found)
    if found.name == "ole" and ending in TYPES["msi"].endings:
        return TYPES["msi"]
    if found in (TEXT, EMPTY):
        textual = [row for row in claimed if row.name in WRITTEN_AS_TEXT or row.name == "script"]
        if textual:
            return textual[0]
    if not claimed or ending in AMBIGUOUS_ENDINGS:
        return found
    return None


def _binary(head: bytes) -> str | None:
    for at, magic, row in _MAGIC:
        if head.startswith(magic, at):
            return row
    for recognise in (_chunks, _containers, _programs, _frames):
        if name := recognise(head):
            return name
    return None


def _chunks(head: bytes) -> str | None:
    form = head[8:12]
    if head.startswith((b"RIFF", b"RF64")):
        return _RIFF.get(form)
    if head.startswith(b"FORM"):
        return "aiff" if form in (b"AIFF", b"AIFC") else None
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    return "mov" if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot") else None


def _iso_media(head: bytes) -> str | None:
    """ISO/IEC 14496-12: the major brand, then the compatible ones."""
    length = min(int.from_bytes(head[:4], "big"), 4096)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] in (b"mif1", b"msf1") and {b"avif", b"avis"} & set(brands):
        return "avif"
    for brand in brands:
        if brand[:3] in (b"3gp", b"3g2", b"3ge"):
            return "3gp"
        if brand in _BRANDS:
            return _BRANDS[brand]
    return None


def _containers(head: bytes) -> str | None:
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head[:4096] else "matroska"
    if head.startswith(b"OggS"):
        return "ogv" if b"theora" in head[:512] or b"fishead" in head[:512] else "ogg"
    # A byte every packet, of 188 bytes, or of 192 with a time stamp in front.
    for first, step in ((0, 188), (4, 192)):
        if len(head) > first + 4 * step and all(head[first + n * step] == 0x47 for n in range(5)):
            return "mpegts"
    return None


def _programs(head: bytes) -> str | None:
    if head.startswith(b"MZ") and len(head) >= 64:
        return "pe"
    if head.startswith(b"\xca\xfe\xba\xbe") and len(head) >= 8:
        # A class has its version where a universal binary has the number of its architectures.
        return "macho" if int.from_bytes(head[4:8], "big") < 40 else "class"
    if head.startswith(b"BM") and len(head) >= 26 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    return None


def _frames(head: bytes) -> str | None:
    """MPEG audio without tags, from two frames in a row."""
    first = head[:7]
    if len(first) < 7 or first[0] != 0xFF:
        return None
    if first[1] & 0xF6 == 0xF0:
        length = (first[3] & 3) << 11 | first[4] << 3 | first[5] >> 5
        return "aac" if length > 7 and head[length : length + 1] == b"\xff" else None
    if first[1] & 0xE0 == 0xE0 and (first[1] >> 1 & 3) == 1:
        rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
        low = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
        version = first[1] >> 3 & 3
        rate = (rates if version == 3 else low)[first[2] >> 4] * 1000
        frequency = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}.get(version)
        if rate and frequency and first[2] >> 2 & 3 != 3:
            samples = 144 if version == 3 else 72
            length = samples * rate // frequency[first[2] >> 2 & 3] + (first[2] >> 1 & 1)
            if head[length : length + 1] == b"\xff":
                return "mp3"
    return None


def _zip(content: BinaryIO, head: bytes) -> str:
    """Which format made of ZIP members it is; the first bytes name ``mimetype`` for OpenDocument and EPUB."""
    if head[30:38] == b"mimetype":
        declared = head[38:128].decode("latin-1")
        if declared.startswith("application/epub+zip"):
            return "epub"
        prefix = "application/vnd.oasis.opendocument."
        if declared.startswith(prefix):
            for part, name in _OPENDOCUMENT.items():
                if declared.startswith(prefix + part):
                    return name
    members = read_members(content)
    names = members.names if members is not None else ()
    if "AndroidManifest.xml" in names:
        return "apk"
    if "META-INF/MANIFEST.MF" in names:
        return "jar"
    if "[Content_Types].xml" in names:
        for folder, (plain, macros) in _OFFICE.items():
            if any(member.startswith(folder) for member in names):
                return macros if any(member.endswith("vbaProject.bin") for member in names) else plain
    return "zip"


def _made_of_members(found: FileType) -> bool:
    return found.name in {
        "epub",
        *_OPENDOCUMENT.values(),
        *(name for pair in _OFFICE.values() for name in pair),
    }


def _text(head: bytes) -> str | None:
    """``text``, a kind of markup, or None if it is no text."""
    text = _decode(head)
    if text is None:
        return None
    text = text.lstrip("\ufeff \t\r\n\f")
    if text.startswith(("#!", "<?php")):
        return "script"
    if text.startswith("ffconcat version"):
        return "playlist"
    return _markup(text.lower()) or "text"


def _decode(head: bytes) -> str | None:
    encodings = ["utf-8", "latin-1"]
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encodings = ["utf-32"]
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif head[1:2] == b"\0" and head[:1] != b"\0":
        encodings = ["utf-32-le" if head[2:4] == b"\0\0" else "utf-16-le"]
    elif head[:1] == b"\0" and head[1:2] != b"\0":
        encodings = ["utf-16-be"]
    elif head[:3] == b"\0\0\0":
        encodings = ["utf-32-be"]
    for encoding in encodings:
        # A character may be cut at the end of the head; without the end, more than that is wrong.
        for cut in range(4):
            try:
                text = head[: len(head) - cut].decode(encoding)
            except UnicodeDecodeError:
                continue
            return None if _CONTROLS.search(text) else text
    return None


def _markup(text: str) -> str | None:
    """HTML, SVG or other XML, whatever comments, instructions and declarations come before its root."""
    declared = text.startswith("<?xml")
    is_html = False
    while found := _OPENING.match(text):
        is_html = is_html or found[1] == "html"
        declared = declared or found[1] is not None
        text = text[found.end() :].lstrip()
    root = _ROOT.match(text)
    if root is not None and root[1] == "svg":
        return "svg"
    if is_html or (root is not None and root[1] in _HTML):
        return "html"
    # Something that begins as markup and hides its root behind more than the head is not called text.
    if declared or text.startswith(("<!--", "<?", "<!doctype")):
        return "xml"
    if root is not None and "xmlns" in text[:1000]:
        return "xml"
    return None
