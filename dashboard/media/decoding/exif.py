"""What an image says about itself: camera, exposure, when and where it was taken. Runs in the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from PIL import ExifTags, Image

_MAX_TEXT = 200
_TEXTS = {
    "make": ExifTags.Base.Make,
    "model": ExifTags.Base.Model,
    "software": ExifTags.Base.Software,
    "artist": ExifTags.Base.Artist,
    "copyright": ExifTags.Base.Copyright,
    "description": ExifTags.Base.ImageDescription,
}
_EXPOSURE = {
    "exposure_seconds": ExifTags.Base.ExposureTime,
    "aperture": ExifTags.Base.FNumber,
    "iso": ExifTags.Base.ISOSpeedRatings,
    "focal_length_mm": ExifTags.Base.FocalLength,
}
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)\Z", re.ASCII)


def describe(image: Image.Image, *, gps: bool) -> dict[str, Any]:
    """Return ``taken_at`` (seconds since the epoch, or None), ``details``, and ``gps`` only if asked for.

    Cameras write the local time, most without its offset: that is read as UTC. Metadata that cannot be read
    is left out, for it says nothing about the image.
    """
    found: dict[str, Any] = {"taken_at": None, "details": {}}
    try:
        exif = image.getexif()
        camera = exif.get_ifd(ExifTags.IFD.Exif)
        place = exif.get_ifd(ExifTags.IFD.GPSInfo) if gps else {}
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError, ArithmeticError):
        return found
    details: dict[str, str | float] = {
        name: text for name, tag in _TEXTS.items() if (text := _text(exif.get(tag)))
    }
    if lens := _text(camera.get(ExifTags.Base.LensModel)):
        details["lens"] = lens
    for name, tag in _EXPOSURE.items():
        value = _number(camera.get(tag))
        if value is not None:
            details[name] = value
    found["details"] = details
    taken = _text(camera.get(ExifTags.Base.DateTimeOriginal)) or _text(exif.get(ExifTags.Base.DateTime))
    found["taken_at"] = _time(taken, _text(camera.get(ExifTags.Base.OffsetTimeOriginal)))
    if place and (where := _position(place)):
        found["gps"] = where
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return "".join(each for each in value[: 2 * _MAX_TEXT] if each.isprintable()).strip()[:_MAX_TEXT]


def _number(value: object) -> float | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        number = float(value)  # type: ignore[arg-type]
        # Not a number and infinity are no JSON.
        if 0 <= number < 1e9:
            return round(number, 6)
    return None


def _time(text: str, offset: str) -> float | None:
    found = _TIME.match(text)
    if found is None:
        return None
    with suppress(ValueError, OverflowError):
        year, month, day, hour, minute, second = map(int, found.groups())
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
        if away := _OFFSET.match(offset):
            seconds = int(away[2]) * 3600 + int(away[3]) * 60
            local -= -seconds if away[1] == "-" else seconds
        return local
    return None


def _position(place: Mapping[int, Any]) -> dict[str, float] | None:
    """Degrees, south and west negative."""
    latitude = _degrees(place.get(ExifTags.GPS.GPSLatitude), place.get(ExifTags.GPS.GPSLatitudeRef))
    longitude = _degrees(place.get(ExifTags.GPS.GPSLongitude), place.get(ExifTags.GPS.GPSLongitudeRef))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return {"latitude": latitude, "longitude": longitude}


def _degrees(value: object, reference: object) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    parts = [_number(each) for each in value]
    if any(each is None for each in parts):
        return None
    total = sum(each / (60.0**power) for power, each in enumerate(parts) if each is not None)
    return round(-total if _text(reference) in ("S", "W") else total, 7)
