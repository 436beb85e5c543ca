"""Duration, size and a still of videos and sound, with FFmpeg through PyAV (extra ``video``). Runs in a child
of the sandbox.

The demuxer is the one that sniffing found, never FFmpeg's guess: by guess, a text that names other files
passes for a video.
"""

from __future__ import annotations

import os
from typing import Any

from dashboard.media.decoding.frames import TaskError, Values
from dashboard.media.decoding.images import derive
from dashboard.media.decoding.images import load_decoders as load_images
from dashboard.media.recipes import Recipe

_DEMUXERS = {
    **dict.fromkeys(("mp4", "mov", "3gp", "m4a"), "mov"),
    **dict.fromkeys(("webm", "matroska"), "matroska"),
    **dict.fromkeys(("ogg", "ogv"), "ogg"),
    "avi": "avi",
    "mpeg": "mpeg",
    "mpegts": "mpegts",
    "asf": "asf",
    "flv": "flv",
    "mp3": "mp3",
    "aac": "aac",
    "flac": "flac",
    "wav": "wav",
    "aiff": "aiff",
    "amr": "amr",
}
_STILL_AFTER = 1.0
"""Seconds: the first picture of many videos is black."""
_MAX_FRAMES = 60
_library: list[Any] = []


def load_decoders() -> None:
    """Import PyAV, if it is installed. Idempotent."""
    load_images()
    if not _library:
        try:
            import av
            import av.error
            import av.logging
            import av.subtitles.stream  # which av imports when it opens the first file
        except ImportError:
            return
        av.logging.set_level(None)
        _library.append(av)


class _File:
    """An open file without a buffer, as PyAV reads it. What lies outside of it does not exist."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.lseek(descriptor, 0, os.SEEK_END)
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        os.lseek(self._descriptor, self._at, os.SEEK_SET)
        data = os.read(self._descriptor, min(size, self._size - self._at)) if self._at < self._size else b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at


def examine(arguments: Values, file: int) -> tuple[Values, list[bytes]]:
    """Return duration (seconds), width and height, and what each recipe makes of a still.

    Raises ``TaskError``: ``unsupported`` without PyAV or for other formats, ``pixels``, ``broken``.
    """
    demuxer = _DEMUXERS.get(arguments["type"])
    if not _library or demuxer is None:
        raise TaskError("unsupported")
    av = _library[0]
    try:
        with av.open(_File(file), format=demuxer, metadata_errors="replace", options=_options()) as container:
            return _read(av, container, arguments)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise TaskError("broken") from error


def _options() -> dict[str, str]:
    return {"protocol_whitelist": "none", "enable_drefs": "0", "use_absolute_path": "0"}


def _read(av: Any, container: Any, arguments: Values) -> tuple[Values, list[bytes]]:
    duration = container.duration / av.time_base if container.duration else None
    facts: Values = {
        "duration": duration,
        "has_video": False,
        "has_audio": bool(container.streams.audio),
    }
    stream = next((each for each in container.streams.video if not _is_cover(each)), None)
    if stream is None:
        if not facts["has_audio"] and not container.streams.video:
            raise TaskError("broken")
        return facts, []
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > arguments["max_pixels"]:
        raise TaskError("pixels", width=width, height=height)
    facts.update(has_video=True, width=width, height=height)
    recipes = [Recipe.from_dict(each) for each in arguments["recipes"]]
    if not recipes:
        return facts, []
    stream.codec_context.thread_count = 1
    if duration and duration > 2 * _STILL_AFTER:
        container.seek(int(_STILL_AFTER * av.time_base), backward=True)
    frame = _still(container, stream)
    if frame is None:
        raise TaskError("broken")
    image = frame.to_image()
    # Phones store how they were held beside the pictures.
    turned = round(getattr(frame, "rotation", 0) / 90) % 4
    if turned:
        image = image.rotate(turned * 90, expand=True)
        facts["width"], facts["height"] = (width, height) if turned == 2 else (height, width)
    facts["derived"], results = derive(image, recipes, "video")
    return facts, results


def _is_cover(stream: Any) -> bool:
    """Whether it is the picture of an album and no video."""
    return bool(int(getattr(stream, "disposition", 0) or 0) & 0x400)


def _still(container: Any, stream: Any) -> Any:
    """The first picture at or after the place that was sought, or the last one before it."""
    last = None
    for number, frame in enumerate(container.decode(stream)):
        last = frame
        if (frame.time or 0) >= _STILL_AFTER or number >= _MAX_FRAMES:
            break
    return last
