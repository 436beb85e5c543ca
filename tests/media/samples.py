"""Images and other files for tests, made as they are needed: small, and the same every time."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms

from dashboard.media.decoding.frames import Values
from dashboard.media.recipes import RECIPES

SECRET = "do not pass this on"
"""In every piece of metadata of :func:`tagged`."""


def corners(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Image.Image:
    """Red, green, blue and white quarters: what is where survives resizing."""
    image = Image.new("RGB", size, "white")
    width, height = size[0] // 2, size[1] // 2
    for colour, at in (("red", (0, 0)), ("lime", (width, 0)), ("blue", (0, height))):
        image.paste(colour, (*at, at[0] + width, at[1] + height))
    return image.convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    """The image in a file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def camera(orientation: int = 1) -> Image.Exif:
    """EXIF as a telephone writes it."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Acme", "Phone 7", orientation
    exif[0x010E] = SECRET
    exif.get_ifd(0x8769).update({0x9003: "2026:11:21 12:30:00", 0x9011: "+02:00", 0x8827: 200})
    position = {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 36.0)}
    exif.get_ifd(0x8825).update(position)
    return exif


def profile(*, swapped: bool = False) -> bytes:
    """The ICC profile of sRGB; ``swapped``: of a device that shows red where it is told blue."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if swapped:
        count = struct.unpack_from(">I", data, 128)[0]
        table, body = data[132 : 132 + 12 * count], data[132 + 12 * count :]
        table = table.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
        data = data[:132] + table + body
    return data


def tagged(form: str) -> bytes:
    """An image with every metadata that the format can hold."""
    options: dict[str, Any] = {"exif": camera(), "icc_profile": profile()}
    if form in ("JPEG", "GIF"):
        options["comment"] = SECRET
    if form in ("JPEG", "WEBP", "PNG"):
        options["xmp"] = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{SECRET}</x:xmpmeta>".encode()
    return encoded(corners(), form, **options)


def sixteen_bit_grey(size: tuple[int, int] = (60, 40)) -> bytes:
    """A 16-bit PNG: black on the left, white on the right."""
    row = b"".join(struct.pack(">H", 65535 * x // (size[0] - 1)) for x in range(size[0]))
    return png(size, 16, 0, row)


def png(size: tuple[int, int], bits: int, colours: int, row: bytes) -> bytes:
    """A PNG with every row alike, compressed as far as it goes."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" + row) for _ in range(size[1])) + packer.flush()
    header = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb() -> bytes:
    """About 20 kB that are 169 megapixels."""
    return png((13_000, 13_000), 1, 0, bytes(13_000 // 8))


def deep_bomb() -> bytes:
    """The same with 16 bits for each of three colours: 121 megapixels, 726 MB."""
    return png((11_000, 11_000), 16, 2, bytes(66_000))


def animated(form: str = "GIF") -> bytes:
    """Two pictures."""
    return encoded(corners(), form, save_all=True, append_images=[Image.new("RGB", (60, 40))], duration=100)


def order(kind: str, **more: Any) -> Values:
    """Arguments of the task ``image``, with the three usual thumbnails."""
    return {"type": kind, "max_pixels": 50_000_000, "recipes": fields_of(*RECIPES), "gps": False, **more}


def fields_of(*names: str) -> list[Values]:
    """Recipes as the sandbox gets them."""
    return [RECIPES[name].as_dict() for name in names]
