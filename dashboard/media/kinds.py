"""The table of content: which kinds of files there are, what each is called, and how its names may end.

Nothing else decides what a file is. ``sniffing`` finds the row for given content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class FileKind(StrEnum):
    """What a file is good for. Policies allow kinds."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    TEXT = "text"
    MARKUP = "markup"
    """What a browser would run: HTML, SVG, XML, JavaScript, CSS."""
    PROGRAM = "program"
    """What an operating system would run."""
    OTHER = "other"


KIND_LABELS = {
    FileKind.IMAGE: "images",
    FileKind.VIDEO: "videos",
    FileKind.AUDIO: "audio",
    FileKind.DOCUMENT: "documents",
    FileKind.ARCHIVE: "archives",
    FileKind.TEXT: "text files",
    FileKind.MARKUP: "web pages, drawings and scripts",
    FileKind.PROGRAM: "programs",
    FileKind.OTHER: "files of other kinds",
}


@dataclass(frozen=True, slots=True)
class FileType:
    """A row: ``label`` with its article, for sentences; ``endings`` in lower case with their dot, the usual
    one first."""

    name: str
    kind: FileKind
    content_type: str
    label: str
    endings: tuple[str, ...]


_TABLE = {
    FileKind.IMAGE: """
        jpeg | image/jpeg | a JPEG image | .jpg .jpeg .jpe .jfif
        png | image/png | a PNG image | .png .apng
        gif | image/gif | a GIF image | .gif
        webp | image/webp | a WebP image | .webp
        avif | image/avif | an AVIF image | .avif
        heic | image/heic | a HEIC image | .heic .heif .hif
        tiff | image/tiff | a TIFF image | .tif .tiff
        bmp | image/bmp | a BMP image | .bmp .dib
        ico | image/vnd.microsoft.icon | an icon | .ico .cur
        jpeg2000 | image/jp2 | a JPEG 2000 image | .jp2 .j2k .jpf .jpx
        jxl | image/jxl | a JPEG XL image | .jxl
        psd | image/vnd.adobe.photoshop | a Photoshop image | .psd
        """,
    FileKind.VIDEO: """
        mp4 | video/mp4 | an MP4 video | .mp4 .m4v .m4a .f4v
        mov | video/quicktime | a QuickTime video | .mov .qt
        3gp | video/3gpp | a 3GP video | .3gp .3g2 .mp4
        webm | video/webm | a WebM video | .webm
        matroska | video/x-matroska | a Matroska video | .mkv .mka .mk3d
        avi | video/x-msvideo | an AVI video | .avi
        mpeg | video/mpeg | an MPEG video | .mpg .mpeg .vob .m2v
        mpegts | video/mp2t | an MPEG transport stream | .ts .mts .m2ts .m2t
        asf | video/x-ms-wmv | a Windows Media file | .wmv .wma .asf
        flv | video/x-flv | a Flash video | .flv
        ogv | video/ogg | an Ogg video | .ogv .ogg .ogx
        """,
    FileKind.AUDIO: """
        mp3 | audio/mpeg | an MP3 file | .mp3 .mp2 .mpga
        m4a | audio/mp4 | an MPEG-4 audio file | .m4a .m4b .m4p .mp4
        aac | audio/aac | an AAC audio file | .aac .adts
        ogg | audio/ogg | an Ogg audio file | .ogg .oga .opus .spx
        flac | audio/flac | a FLAC audio file | .flac
        wav | audio/wav | a WAV audio file | .wav .wave
        aiff | audio/aiff | an AIFF audio file | .aiff .aif .aifc
        midi | audio/midi | a MIDI file | .mid .midi
        amr | audio/amr | an AMR audio file | .amr
        """,
    FileKind.DOCUMENT: """
        pdf | application/pdf | a PDF document | .pdf .ai
        docx | application/vnd.openxmlformats-officedocument.wordprocessingml.document | a Word document |
            .docx .dotx
        xlsx | application/vnd.openxmlformats-officedocument.spreadsheetml.sheet | an Excel workbook |
            .xlsx .xltx
        pptx | application/vnd.openxmlformats-officedocument.presentationml.presentation | a presentation |
            .pptx .ppsx .potx
        odt | application/vnd.oasis.opendocument.text | an OpenDocument text | .odt .ott
        ods | application/vnd.oasis.opendocument.spreadsheet | an OpenDocument spreadsheet | .ods .ots
        odp | application/vnd.oasis.opendocument.presentation | an OpenDocument presentation | .odp .otp
        odg | application/vnd.oasis.opendocument.graphics | an OpenDocument drawing | .odg .otg
        epub | application/epub+zip | an e-book | .epub
        rtf | application/rtf | an RTF document | .rtf .doc
        ole | application/x-ole-storage | an old Office document | .doc .dot .xls .xlt .ppt .pps .msg
            .vsd
        """,
    FileKind.ARCHIVE: """
        zip | application/zip | a ZIP archive | .zip .cbz .kmz .usdz .3mf .sketch .whl .pages .numbers
            .key .xpi
        gzip | application/gzip | a gzip archive | .gz .tgz .svgz
        bzip2 | application/x-bzip2 | a bzip2 archive | .bz2 .tbz .tbz2
        xz | application/x-xz | an xz archive | .xz .txz
        zstd | application/zstd | a Zstandard archive | .zst .tzst
        7z | application/x-7z-compressed | a 7-Zip archive | .7z
        rar | application/vnd.rar | a RAR archive | .rar .cbr
        tar | application/x-tar | a tar archive | .tar
        """,
    FileKind.TEXT: """
        playlist | text/plain | a list of other files | .m3u .m3u8 .ffconcat .ffcat .pls
        json | application/json | a JSON file | .json .geojson .ipynb .webmanifest .map
        csv | text/csv | a table of values | .csv .tsv
        markdown | text/markdown | a Markdown text | .md .markdown
        text | text/plain | a text | .txt .text .log
        calendar | text/calendar | a calendar | .ics
        vcard | text/vcard | an address card | .vcf
        mail | message/rfc822 | an e-mail | .eml .mht .mhtml
        """,
    FileKind.MARKUP: """
        html | text/html | a web page | .html .htm .xhtml .xht .shtml .hta
        svg | image/svg+xml | an SVG drawing | .svg
        xml | application/xml | an XML file | .xml .xsl .xsd .rss .atom .gpx .kml .plist .xaml .xlf .dae
            .tcx
        javascript | text/javascript | a script | .js .mjs .cjs .jsx .ts .tsx
        css | text/css | a style sheet | .css
        """,
    FileKind.PROGRAM: """
        docm | application/vnd.ms-word.document.macroEnabled.12 | a document with macros | .docm .dotm
        xlsm | application/vnd.ms-excel.sheet.macroEnabled.12 | a workbook with macros | .xlsm .xltm
        pptm | application/vnd.ms-powerpoint.presentation.macroEnabled.12 | a presentation with macros |
            .pptm .ppsm .potm
        postscript | application/postscript | a PostScript file | .ps .eps .ai
        elf | application/x-executable | a Linux program | .so .bin .elf .o .ko .run .appimage
        pe | application/vnd.microsoft.portable-executable | a Windows program | .exe .dll .sys .scr .com
            .ocx .cpl .efi
        macho | application/x-mach-binary | a macOS program | .dylib .bundle .macho
        msi | application/x-msi | a Windows installer | .msi .msp
        class | application/java-vm | a Java class | .class
        jar | application/java-archive | a Java program | .jar .war .ear
        apk | application/vnd.android.package-archive | an Android app | .apk .aab
        wasm | application/wasm | a WebAssembly program | .wasm
        script | text/x-shellscript | a script | .sh .bash .zsh .fish .command .py .pl .rb .php .lua .tcl
            .awk .bat .cmd .ps1 .vbs .wsf .run
        lnk | application/x-ms-shortcut | a Windows shortcut | .lnk
        """,
    FileKind.OTHER: """
        sqlite | application/vnd.sqlite3 | an SQLite database | .db .sqlite .sqlite3 .gpkg .mbtiles
        woff | font/woff | a font | .woff
        woff2 | font/woff2 | a font | .woff2
        ttf | font/ttf | a font | .ttf .ttc
        otf | font/otf | a font | .otf
        parquet | application/vnd.apache.parquet | a Parquet file | .parquet
        empty | application/octet-stream | an empty file |
        unknown | application/octet-stream | content of an unknown kind |
        """,
}
"""Name, content type, label and endings of each row; a line that begins with an ending goes on."""


def _rows() -> Iterator[FileType]:
    for kind, table in _TABLE.items():
        for line in re.sub(r"\n\s+\.", " .", table.strip()).splitlines():
            name, content_type, label, endings = line.split("|")
            yield FileType(name.strip(), kind, content_type.strip(), label.strip(), tuple(endings.split()))


TYPES = {row.name: row for row in _rows()}
UNKNOWN, EMPTY, TEXT = TYPES["unknown"], TYPES["empty"], TYPES["text"]

BY_ENDING: dict[str, tuple[FileType, ...]] = {}
for _row in TYPES.values():
    for _ending in _row.endings:
        BY_ENDING[_ending] = (*BY_ENDING.get(_ending, ()), _row)


WRITTEN_AS_TEXT = frozenset(
    ("playlist", "json", "csv", "markdown", "text", "calendar", "vcard", "mail", "xml", "javascript", "css")
)
"""Rows whose content is any text: the ending of the name decides between them."""

AMBIGUOUS_ENDINGS = frozenset(
    (".bin", ".bundle", ".com", ".db", ".elf", ".key", ".map", ".numbers", ".o", ".pages", ".run", ".sketch")
)
"""Endings that many programs use for content of their own, so that they promise nothing."""


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case with its dot, or an empty text. A name that only
    begins with a dot has none; spaces and dots at the end, which Windows ignores, do not count."""
    last = name.replace("\\", "/").rpartition("/")[2].rstrip(" .")
    stem, dot, ending = last.rpartition(".")
    return f".{ending.lower()}" if dot and stem.strip(".") else ""
