"""Decoding images and making others from them, with Pillow. Runs in a child of the sandbox.

Every function opens with a given list of formats, because Pillow would otherwise try more than forty.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms, ImageFile, ImageOps

from dashboard.media.decoding.exif import describe
from dashboard.media.decoding.frames import TaskError, Values
from dashboard.media.recipes import MAX_SIDE, ImageFormat, Recipe

_FORMATS = {
    "jpeg": ("JPEG",),
    "png": ("PNG",),
    "gif": ("GIF",),
    "webp": ("WEBP",),
    "avif": ("AVIF",),
    "heic": ("HEIF",),
    "tiff": ("TIFF",),
    "bmp": ("BMP", "DIB"),
    "ico": ("ICO",),
    "jpeg2000": ("JPEG2000",),
}
_KEPT = {"jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG, "webp": ImageFormat.WEBP}
_GAP = 1.5
"""How much larger than its thumbnails a JPEG is decoded: less shows, more costs."""
_ANY_SIDE = 1_000_000
_MAX_FRAMES_COUNTED = 10_000
_sRGB: list[Any] = []


def load_decoders() -> None:
    """Import every decoder and what they import when they are first used. Idempotent."""
    if _sRGB:
        return
    Image.init()
    # Sizes are checked here, against the policy, before anything is decoded.
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    _sRGB.append(ImageCms.createProfile("sRGB"))
    try:
        import pi_heif
    except ImportError:
        pass
    else:
        # One thread: the sandbox limits CPU time, not threads.
        pi_heif.options.DECODE_THREADS = 1
        pi_heif.register_heif_opener(thumbnails=False)
    for chosen in ImageFormat:
        tiny = BytesIO()
        _save(Image.new("RGB", (8, 8)), tiny, chosen, 50)
        Image.open(tiny, formats=[chosen.value.upper()]).load()


def can_decode(name: str) -> bool:
    """Whether images of this row of the table can be decoded here."""
    load_decoders()
    return any(each in Image.OPEN for each in _FORMATS.get(name, ()))


def examine(arguments: Values, content: bytes | bytearray) -> tuple[Values, list[bytes]]:
    """Decode an image to its end; return its facts and what each recipe makes of it, from one decode.

    ``arguments``: ``type`` (a row of the table), ``max_pixels``, ``recipes`` (their fields), ``gps``.
    """
    recipes = [Recipe.from_dict(each) for each in arguments["recipes"]]
    image = open_image(arguments["type"], content, arguments["max_pixels"])
    facts = _facts(image, gps=bool(arguments["gps"]))
    size = _upright_size(image)
    _draft(image, recipes)
    image = _decode(image)
    # Only of a JPEG, which may have been decoded smaller, the size is known before.
    facts["width"], facts["height"] = size or image.size
    made, results = derive(image, recipes, arguments["type"])
    return {**facts, "derived": made}, results


def edit(arguments: Values, parts: Sequence[bytes | bytearray]) -> tuple[Values, list[bytes]]:
    """Return the image in another size, format or quality, with a watermark if there is a second one.

    ``arguments``: ``type``, ``max_pixels``, ``max_width`` and ``max_height`` (or None), ``format`` (None
    keeps it), ``quality``; with a watermark ``mark_type``, ``position``, ``opacity``, ``scale``, ``margin``.
    """
    image = open_image(arguments["type"], parts[0], arguments["max_pixels"])
    if getattr(image, "n_frames", 1) > 1 and arguments["type"] != "tiff":
        raise TaskError("animated")
    box = (arguments["max_width"] or _ANY_SIDE, arguments["max_height"] or _ANY_SIDE)
    if min(box) < _ANY_SIDE:
        _draft(image, [Recipe("edit", min(box[0], MAX_SIDE), min(box[1], MAX_SIDE))])
        image = _fit(_decode(image), box, crop=False)
    else:
        image = _decode(image)
    if len(parts) > 1:
        mark = _decode(open_image(arguments["mark_type"], parts[1], arguments["max_pixels"]))
        image = _watermark(image, mark, arguments)
    chosen = _choose(arguments["format"], arguments["type"], image)
    data = BytesIO()
    image = _plain(image)
    _save(image, data, chosen, arguments["quality"])
    return {"format": chosen.value, "width": image.width, "height": image.height}, [data.getvalue()]


def open_image(kind: str, content: bytes | bytearray, max_pixels: int) -> Image.Image:
    """Read the header. Raises ``TaskError``: ``pixels`` before anything is decoded, ``unsupported``."""
    if not can_decode(kind):
        raise TaskError("unsupported")
    image = Image.open(BytesIO(content), formats=_FORMATS[kind])
    if image.width * image.height > max_pixels:
        raise TaskError("pixels", width=image.width, height=image.height)
    if image.width < 1 or image.height < 1:
        raise TaskError("broken")
    return image


def derive(
    image: Image.Image, recipes: Sequence[Recipe], kind: str
) -> tuple[list[tuple[str, int, int]], list[bytes]]:
    """Return what each recipe makes of a decoded image, without any of its metadata: format, width and height
    of each, and the images."""
    made, results = [], []
    for recipe in recipes:
        chosen = _choose(recipe.format, kind, image)
        plain = _plain(_fit(image, (recipe.width, recipe.height), crop=recipe.crop))
        data = BytesIO()
        _save(plain, data, chosen, recipe.quality)
        made.append((chosen.value, plain.width, plain.height))
        results.append(data.getvalue())
    return made, results


def _facts(image: Image.Image, *, gps: bool) -> Values:
    frames = getattr(image, "n_frames", 1)
    return {
        "frames": min(int(frames), _MAX_FRAMES_COUNTED),
        **describe(image, gps=gps),
    }


def _upright_size(image: Image.Image) -> tuple[int, int] | None:
    """Width and height of a JPEG as it is shown, before it is decoded; None for other formats."""
    if image.format not in ("JPEG", "MPO"):
        return None
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def _draft(image: Image.Image, recipes: Sequence[Recipe]) -> None:
    """Let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size if no recipe needs more."""
    size = _upright_size(image)
    if size is None or not recipes:
        return
    width, height = size
    needed = max((max if each.crop else min)(each.width / width, each.height / height) for each in recipes)
    if needed * _GAP < 1:
        image.draft(None, (round(image.width * needed * _GAP), round(image.height * needed * _GAP)))


def _decode(image: Image.Image) -> Image.Image:
    """Decode to the end, turn upright, reduce to 8 bits a channel; the colour profile stays in ``info``."""
    profile = image.info.get("icc_profile")
    image.load()
    image = ImageOps.exif_transpose(image)
    image = _eight_bits(image)
    image.info = {"icc_profile": profile} if profile else {}
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16"):
        # Converting would clip everything above 255: take the high byte.
        high = slice(0, None, 2) if mode.endswith("B") else slice(1, None, 2)
        return Image.frombytes("L", image.size, image.tobytes()[high])
    if mode in ("I", "F"):
        low, high_value = image.getextrema()
        factor = 255 / ((float(high_value) - float(low)) or 1)  # type: ignore[arg-type]
        shifted = image.convert("F").point(lambda value: value * factor - float(low) * factor)  # type: ignore[arg-type]
        return shifted.convert("L")
    transparent = "transparency" in image.info
    if mode in ("P", "PA") or (transparent and mode in ("1", "L", "RGB")):
        has_alpha = transparent or mode == "PA"
        return image.convert("RGBA" if has_alpha else "RGB")
    if mode in ("LA", "La", "RGBa"):
        return image.convert("RGBA")
    if mode == "1":
        return image.convert("L")
    return image if mode in ("L", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _fit(image: Image.Image, box: tuple[int, int], *, crop: bool) -> Image.Image:
    """Fit into the box, or fill it. Never enlarges."""
    width, height = image.size
    scale = (max if crop else min)(box[0] / width, box[1] / height)
    part: tuple[float, float, float, float] = (0, 0, width, height)
    if crop:
        # In the box's proportions, also if the image is smaller than the box.
        used = min(1.0, scale)
        across, down = min(width, box[0] / used), min(height, box[1] / used)
        if scale > 1:
            across = min(width, height * box[0] / box[1])
            down = min(height, width * box[1] / box[0])
        left, top = (width - across) / 2, (height - down) / 2
        part = (left, top, left + across, top + down)
    size = (
        max(1, round((part[2] - part[0]) * min(1.0, scale))),
        max(1, round((part[3] - part[1]) * min(1.0, scale))),
    )
    if size == image.size:
        return image
    resized = image.resize(size, Image.Resampling.LANCZOS, box=part, reducing_gap=2.0)
    resized.info = dict(image.info)
    return resized


def _plain(image: Image.Image) -> Image.Image:
    """The pixels alone, in sRGB: grey, RGB or RGBA, without profile, comment and metadata."""
    profile = image.info.get("icc_profile")
    wanted = image.mode if image.mode in ("L", "RGB", "RGBA") else "RGB"
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _sRGB[0], outputMode=wanted)
            image = converted if converted is not None else image
        except (ImageCms.PyCMSError, OSError, ValueError):
            # A profile that cannot be used says nothing about the colours.
            image = image.convert(wanted)
    elif image.mode != wanted:
        image = image.convert(wanted)
    pixels = Image.new(image.mode, image.size)
    pixels.paste(image)
    return pixels


def _choose(wanted: ImageFormat | str | None, kind: str, image: Image.Image) -> ImageFormat:
    if wanted is not None:
        return ImageFormat(wanted)
    return _KEPT.get(kind) or (ImageFormat.PNG if image.mode == "RGBA" else ImageFormat.JPEG)


def _save(image: Image.Image, file: BytesIO, chosen: ImageFormat, quality: int) -> None:
    if chosen is ImageFormat.JPEG:
        if image.mode == "RGBA":
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image.getchannel("A"))
            image = white
        image.save(
            file, "JPEG", quality=quality, optimize=True, progressive=image.width * image.height > 40_000
        )
    elif chosen is ImageFormat.PNG:
        image.save(file, "PNG", optimize=image.width * image.height < 1_000_000)
    elif chosen is ImageFormat.WEBP:
        image.save(file, "WEBP", quality=quality, method=4)
    else:
        image.convert("RGBA" if image.mode == "RGBA" else "RGB").save(
            file, "AVIF", quality=quality, speed=8, max_threads=1
        )


def _watermark(image: Image.Image, mark: Image.Image, arguments: Values) -> Image.Image:
    """Lay ``mark`` over the image: at most ``scale`` of its width and height, with ``margin`` of the shorter
    side around it."""
    image, mark = _plain(image), _plain(mark).convert("RGBA")
    room = (max(1, round(image.width * arguments["scale"])), max(1, round(image.height * arguments["scale"])))
    mark = _plain(_fit(mark, room, crop=False))
    opacity = float(arguments["opacity"])
    mark.putalpha(mark.getchannel("A").point([round(value * opacity) for value in range(256)]))
    margin = round(min(image.size) * arguments["margin"])
    vertical, horizontal = arguments["position"]
    places = {
        "left": margin,
        "top": margin,
        "center": None,
        "right": image.width - mark.width - margin,
        "bottom": image.height - mark.height - margin,
    }
    left, top = places[horizontal], places[vertical]
    at = (
        max(0, (image.width - mark.width) // 2 if left is None else left),
        max(0, (image.height - mark.height) // 2 if top is None else top),
    )
    result = image.convert("RGBA")
    result.alpha_composite(mark, at)
    return result if image.mode == "RGBA" else result.convert("RGB")
