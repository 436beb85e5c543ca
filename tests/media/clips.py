"""Videos, sound, documents and HEIC for tests, made by the libraries that read them."""

from __future__ import annotations

import base64
import io
import wave
from functools import cache

import av
from PIL import Image

from tests.media.samples import corners, encoded


@cache
def video(seconds: float = 1.0) -> bytes:
    """An MP4 of 160x120 pixels."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(int(seconds * 10)):
            frame = av.VideoFrame.from_image(corners((160, 120)))
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file.getvalue()


@cache
def sound() -> bytes:
    """A second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(16_000))
    return file.getvalue()


@cache
def pdf(pages: int = 2) -> bytes:
    """A document of pictures."""
    more = [Image.new("RGB", (200, 300), "red") for _ in range(pages - 1)]
    return encoded(corners((200, 300)), "PDF", save_all=True, append_images=more)


_HEIC = (
    b"AAAAGGZ0eXBoZWljAAAAAG1pZjFoZWljAAABKm1ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAHBpY3QAAAAAAAAAAAAAAAAAAAAADnBp"
    b"dG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABSgAAAF8AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAA"
    b"AK5pcHJwAAAAkWlwY28AAAB1aHZjQwEBYAAAAJAAAAAAAB7wAPz9+PgAAA8DIAABABhAAQwB//8BYAAAAwCQAAADAAADAB6VmAkh"
    b"AAEAKEIBAQFgAAADAJAAAAMAAAMAHqAggQWWVmkkyuaAgAAAAwCAAAADAIQiAAEAB0QBwXK0IkAAAAAUaXNwZQAAAAAAAABAAAAA"
    b"QAAAABVpcG1hAAAAAAAAAAEAAQKBAgAAAGdtZGF0AAAAWygBry7PerLzq/+1G/9j3y7VMaMYUEeAn5wlX63+1nQ3jh3X+bQf77DY"
    b"CBvmjrlpccicdKv/0l4rMi8sZKXZwzQIHEXDS6WYCkb/rISDQabQ7KEPqwaVWItX0BA="
)
"""The four quarters of ``samples.corners`` at 64x64 pixels, which no library here can write."""


def heic() -> bytes:
    """A HEIC image."""
    return base64.b64decode(_HEIC)


def locked_pdf() -> bytes:
    """A document that opens with a password only."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[]/Count 0>>",
        b"<</Filter/Standard/V 1/R 2/Length 40/P -4/O<%s>/U<%s>>>" % (b"41" * 32, b"42" * 32),
    ]
    document, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(document))
        document += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"<</Size 4/Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>"
    return (
        document + b"xref\n0 4\n" + table + b"trailer" + trailer + b"\nstartxref\n%d\n%%%%EOF" % len(document)
    )
