"""What kind of file something is, from its content type if that is known, else from the end of its name.

Only for people who search: nothing about safety may be decided by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class FileKind(StrEnum):
    """What people search for."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    TEXT = "text"
    ARCHIVE = "archive"
    OTHER = "other"


_ENDINGS = {
    FileKind.IMAGE: "avif bmp gif heic heif ico jfif jpe jpeg jpg png psd raw svg tif tiff webp cr2 dng nef",
    FileKind.VIDEO: "3gp avi m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv flv",
    FileKind.AUDIO: "aac aif aiff amr flac m4a mid midi mp3 oga ogg opus wav wma",
    FileKind.DOCUMENT: "doc docx dot dotx epub key numbers odp ods odt pages pdf pot potx pps ppsx ppt pptx "
    "rtf xls xlsb xlsm xlsx",
    FileKind.TEXT: "bat c cfg conf cpp css csv diff go h htm html ini java js json jsonl log lua md ndjson "
    "php pl properties py rb rs rst sh sql srt svelte tex toml ts tsv txt vtt vue xml yaml yml",
    FileKind.ARCHIVE: "7z bz2 cab deb dmg gz iso jar lz4 rar rpm tar tbz tgz txz war xz zip zst",
}
_BY_ENDING: Mapping[str, FileKind] = MappingProxyType(
    {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}
)
_BY_TYPE: Mapping[str, FileKind] = MappingProxyType(
    {
        "application/epub+zip": FileKind.DOCUMENT,
        "application/gzip": FileKind.ARCHIVE,
        "application/javascript": FileKind.TEXT,
        "application/json": FileKind.TEXT,
        "application/msword": FileKind.DOCUMENT,
        "application/pdf": FileKind.DOCUMENT,
        "application/rtf": FileKind.DOCUMENT,
        "application/vnd.rar": FileKind.ARCHIVE,
        "application/x-7z-compressed": FileKind.ARCHIVE,
        "application/x-bzip2": FileKind.ARCHIVE,
        "application/x-tar": FileKind.ARCHIVE,
        "application/x-xz": FileKind.ARCHIVE,
        "application/xml": FileKind.TEXT,
        "application/zip": FileKind.ARCHIVE,
        "application/zstd": FileKind.ARCHIVE,
    }
)
_DOCUMENT_FAMILIES = (
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.ms-",
)


def kind_of(key: str, content_type: str = "") -> FileKind:
    """Return the kind of a file."""
    if content_type:
        plain = content_type.partition(";")[0].strip().lower()
        family = plain.partition("/")[0]
        if family in ("image", "video", "audio", "text"):
            return FileKind(family)
        if plain in _BY_TYPE:
            return _BY_TYPE[plain]
        if plain.startswith(_DOCUMENT_FAMILIES):
            return FileKind.DOCUMENT
    # A folder's name may contain a dot as well, but then this is no ending that is known.
    _, dot, ending = key.rpartition(".")
    return _BY_ENDING.get(ending.lower(), FileKind.OTHER) if dot else FileKind.OTHER
