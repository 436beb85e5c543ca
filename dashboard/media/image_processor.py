"""Images of a program's storage, made smaller, converted or marked, without a console.

Decoding happens in the sandbox, as it does for uploads. What is made is stored complete or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.media.kinds import FileKind, FileType, ending_of
from dashboard.media.pipeline import MAX_IN_MEMORY, FileFacts, Pipeline
from dashboard.media.policy import DEFAULT, UploadPolicy
from dashboard.media.recipes import CONTENT_TYPES, RECIPES, ImageFormat, Recipe
from dashboard.media.sandbox import Limits, MediaError, Outcome, Sandbox, shared_sandbox
from dashboard.media.sniffing import sniff_bytes
from dashboard.storage import Attributes, Storage
from dashboard.storage.errors import Unsupported
from dashboard.storage.library.operations import Operations

_SIZES = tuple((recipe.width, recipe.height) for recipe in RECIPES.values())
_ENDINGS = {
    ImageFormat.JPEG: ".jpg",
    ImageFormat.PNG: ".png",
    ImageFormat.WEBP: ".webp",
    ImageFormat.AVIF: ".avif",
}
_FORMATS = {ending: chosen for chosen, ending in _ENDINGS.items()} | {".jpeg": ImageFormat.JPEG}
_DECODABLE = ("jpeg", "png", "gif", "webp", "avif", "heic", "tiff", "bmp", "ico", "jpeg2000")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that was made and stored. ``width`` and ``height`` in pixels, ``size`` in bytes."""

    key: str
    width: int
    height: int
    size: int
    content_type: str


class ImageProcessor:
    """Makes images from images of one storage. Every call can be awaited and runs in a thread; cancelling it
    does not undo what it stores. Safe for many tasks.

    ``storage``: a ``Storage`` or one of its backends; by default the ``Storage`` of the process.
    ``max_pixels``: of an image that is read. ``sandbox``: by default one for the process.

    Raises ``MediaError`` for a file that cannot be decoded, ``SandboxError`` if nothing can, ``NotFound`` and
    whatever else the storage raises, and ``InvalidInput`` for values that make no sense.
    """

    def __init__(
        self,
        storage: Operations | None = None,
        *,
        sandbox: Sandbox | None = None,
        max_pixels: int = DEFAULT.max_pixels,
    ) -> None:
        self._storage = storage
        self._sandbox = sandbox or shared_sandbox()
        self._max_pixels = max_pixels

    async def generate_thumbnails(
        self,
        image_path: str,
        sizes: Sequence[tuple[int, int]] = _SIZES,
        crop: bool = False,
        quality: int = 82,
        *,
        image_format: str | None = None,
    ) -> Mapping[str, StoredImage]:
        """Store one thumbnail for each size, from one decode, beside the image: ``a/b.jpg`` gives
        ``a/b-150x150.jpg``. Replaces earlier ones. Returns them by ``150x150``.

        They fit into the size, or fill it with ``crop``; smaller images are not enlarged. ``image_format``:
        ``jpeg``, ``png``, ``webp`` or ``avif``; JPEG, PNG and WebP stay what they are without it.
        """
        chosen = None if image_format is None else _format(image_format)
        recipes = [Recipe(f"{w}x{h}", w, h, crop, chosen, quality) for w, h in sizes]
        return await asyncio.to_thread(self._thumbnails, image_path, recipes)

    async def optimize_image(
        self,
        source: str,
        destination: str,
        max_width: int | None = None,
        max_height: int | None = None,
        quality: int = 82,
    ) -> StoredImage:
        """Store the image without its metadata, upright, in sRGB, at most as large as given.

        The ending of ``destination`` decides about the format: ``.jpg``, ``.png``, ``.webp`` or ``.avif``.
        Replaces what is there. Animated images are refused: only their first picture would be left.
        """
        chosen = _format(destination)
        _check_side("max_width", max_width)
        _check_side("max_height", max_height)
        arguments = {"max_width": max_width, "max_height": max_height, "quality": _quality(quality)}
        return await asyncio.to_thread(self._edit, source, None, destination, {**arguments, "format": chosen})

    async def add_watermark(
        self,
        image: str,
        watermark: str,
        position: str = "bottom-right",
        opacity: float = 0.7,
        *,
        destination: str = "",
        scale: float = 0.25,
        margin: float = 0.02,
        quality: int = 90,
    ) -> StoredImage:
        """Store the image with another one over it, beside it: ``a/b.jpg`` gives ``a/b-watermarked.jpg``.
        The original stays, unless ``destination`` names it.

        ``position``: ``top``, ``center`` or ``bottom``, and ``left``, ``center`` or ``right``, such as
        ``top-left``, or ``center``. ``opacity``: above 0, at most 1. ``scale``: the largest part of the width
        and height that it covers. ``margin``: around it, as a part of the shorter side.
        """
        vertical, _, horizontal = position.partition("-")
        place = (vertical, horizontal or vertical)
        if place[0] not in ("top", "center", "bottom") or place[1] not in ("left", "center", "right"):
            raise InvalidInput("position", f"“{position}” is not a position.", remedy="Write bottom-right.")
        for name, value, least in (
            ("opacity", opacity, 0.0),
            ("scale", scale, 0.0),
            ("margin", margin, -1.0),
        ):
            if not least < value <= 1:
                raise InvalidInput(name, f"“{name}” must be a part of 1, not {value}.")
        stem, ending = _split(image)
        target = destination or f"{stem}-watermarked{ending if ending in _FORMATS else '.png'}"
        arguments: dict[str, Any] = {"max_width": None, "max_height": None, "quality": _quality(quality)}
        arguments |= {"format": _format(target), "position": place, "opacity": opacity}
        arguments |= {"scale": scale, "margin": max(0.0, margin)}
        return await asyncio.to_thread(self._edit, image, watermark, target, arguments)

    async def metadata(self, image_path: str, *, gps: bool = False) -> FileFacts:
        """Return what the image is and says about itself; with ``gps`` where it was taken. Stores nothing."""
        return await asyncio.to_thread(self._metadata, image_path, gps=gps)

    def _backend(self) -> Operations:
        return self._storage if self._storage is not None else Storage.backend()  # type: ignore[call-arg]

    def _read(self, key: str) -> tuple[bytes, FileType]:
        with self._backend().read_stream(key) as reading:
            if reading.info.size > MAX_IN_MEMORY:
                raise Unsupported("process", f"“{key}” is too large to be decoded.")
            data = b"".join(reading.chunks())
        found = sniff_bytes(data)
        if found.kind is not FileKind.IMAGE or found.name not in _DECODABLE:
            raise MediaError("unsupported", limits=self._sandbox.limits)
        return data, found

    def _thumbnails(self, key: str, recipes: Sequence[Recipe]) -> dict[str, StoredImage]:
        data, found = self._read(key)
        made = Pipeline(self._sandbox).derive(BytesIO(data), found, recipes, max_pixels=self._max_pixels)
        stem, _ = _split(key)
        stored = {}
        for each in made:
            target = f"{stem}-{each.recipe.name}{_ENDINGS[each.format]}"
            stored[each.recipe.name] = self._store(target, each.data, each.format, (each.width, each.height))
        return stored

    def _edit(self, key: str, mark: str | None, target: str, arguments: dict[str, Any]) -> StoredImage:
        data, found = self._read(key)
        parts = [data]
        request = {**arguments, "type": found.name, "max_pixels": self._max_pixels}
        if mark is not None:
            overlay, kind = self._read(mark)
            parts.append(overlay)
            request["mark_type"] = kind.name
        outcome = self._sandbox.run("edit", request, parts)
        chosen, result, size = _checked(outcome, arguments["format"], self._sandbox.limits)
        return self._store(target, result, chosen, size)

    def _metadata(self, key: str, *, gps: bool) -> FileFacts:
        data, found = self._read(key)
        policy = UploadPolicy(max_pixels=self._max_pixels, thumbnails=())
        facts = Pipeline(self._sandbox).inspect(BytesIO(data), f"x{found.endings[0]}", policy, gps=gps)
        if not isinstance(facts, FileFacts):
            raise MediaError("broken", limits=self._sandbox.limits)
        return facts

    def _store(self, key: str, data: bytes, chosen: ImageFormat, size: tuple[int, int]) -> StoredImage:
        content_type = CONTENT_TYPES[chosen]
        self._backend().put(key, data, attributes=Attributes(content_type=content_type))
        return StoredImage(key, size[0], size[1], len(data), content_type)


def _checked(
    outcome: Outcome, wanted: ImageFormat, limits: Limits
) -> tuple[ImageFormat, bytes, tuple[int, int]]:
    """The image that a child has made, if it is one."""
    width, height = outcome.values.get("width"), outcome.values.get("height")
    sane = len(outcome.parts) == 1 and isinstance(width, int) and isinstance(height, int)
    if not sane or sniff_bytes(outcome.parts[0]).name != wanted:
        raise MediaError("crashed", limits=limits)
    return wanted, outcome.parts[0], (int(width or 0), int(height or 0))


def _split(key: str) -> tuple[str, str]:
    """The key without its ending, and the ending in lower case."""
    ending = ending_of(key)
    return (key[: -len(ending)], ending) if ending and key.lower().endswith(ending) else (key, "")


def _format(name: str) -> ImageFormat:
    """The format by its name or by the ending of a key."""
    chosen = _FORMATS.get(ending_of(name) or f".{name.lower()}")
    if chosen is None:
        known = ", ".join(sorted(_FORMATS))
        raise InvalidInput("format", f"“{name}” is no image that can be made.", remedy=f"End it in {known}.")
    return chosen


def _check_side(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InvalidInput(name, f"“{name}” must be at least 1 pixel, not {value}.")


def _quality(value: int) -> int:
    if not 1 <= value <= 100:
        raise InvalidInput("quality", f"Quality must be between 1 and 100, not {value}.")
    return value
