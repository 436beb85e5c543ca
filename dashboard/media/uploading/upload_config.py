"""What a program allows people to upload, under the names that such settings have elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dashboard.errors import InvalidInput
from dashboard.media.policy import DEFAULT_KINDS, Scan, UploadPolicy
from dashboard.media.recipes import RECIPES
from dashboard.media.sizes import MB, parse_bytes
from dashboard.storage.types import EMPTY

VARIABLES: Mapping[str, str] = {
    "MAX_UPLOAD_SIZE": "max_file_size",
    "MAX_IMAGE_SIZE_MB": "max_file_size",
    "SUPPORTED_IMAGE_TYPES": "allowed_extensions",
    "IMAGE_STORAGE_PATH": "upload_path",
    "ENABLE_IMAGE_PROCESSING": "generate_thumbnails",
    "IMAGE_THUMBNAIL_SIZE": "thumbnail_sizes",
}
"""Environment variables of other programs, and the field that each one sets."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_SIDES = re.compile(r"[(\s]*(\d{1,5})\s*(?:[x,×]\s*(\d{1,5}))?[)\s]*")


@dataclass(frozen=True, slots=True)
class UploadConfig:
    """``max_file_size``: bytes. ``allowed_extensions``: with or without their dot; empty allows every kind
    that a policy allows. ``upload_path``: the folder of the backend ``disk``, which is the default one if
    empty. ``organize_by_date``: below folders by day. ``generate_thumbnails``: of images, in
    ``thumbnail_sizes``. ``virus_scan``: files that cannot be scanned are refused. Raises ``InvalidInput``."""

    max_file_size: int = 20 * MB
    allowed_extensions: Iterable[str] = ()
    upload_path: str = ""
    organize_by_date: bool = True
    generate_thumbnails: bool = False
    thumbnail_sizes: tuple[str, ...] = tuple(RECIPES)
    virus_scan: bool = False
    disk: str = ""

    def __post_init__(self) -> None:
        self.policy()

    def policy(self) -> UploadPolicy:
        """The same as a policy."""
        return UploadPolicy.from_dict(
            {
                "max_size": self.max_file_size,
                "kinds": list(DEFAULT_KINDS),
                "endings": sorted(self.allowed_extensions),
                "scan": Scan.REQUIRED if self.virus_scan else Scan.OFF,
                "organise_by_date": self.organize_by_date,
                "unique_names": True,
                "thumbnails": list(self.thumbnail_sizes) if self.generate_thumbnails else [],
            }
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = EMPTY) -> UploadConfig:
        """Create from the variables in ``VARIABLES``. Raises ``InvalidInput`` naming the variable."""
        given: dict[str, object] = {}
        for name, field in VARIABLES.items():
            text = environ.get(name, "").strip()
            if text:
                given[field] = _parse(name, text)
        return cls(**given)  # type: ignore[arg-type]


def _parse(name: str, text: str) -> object:
    match name:
        case "MAX_UPLOAD_SIZE":
            return int(text) if text.isdecimal() else parse_bytes(text, field=name)
        case "MAX_IMAGE_SIZE_MB":
            return parse_bytes(f"{text} MB", field=name)
        case "SUPPORTED_IMAGE_TYPES":
            words = re.split(r"[\s,;]+", text.strip("[]").replace("'", "").replace('"', ""))
            return tuple(f".{word.rpartition('/')[2].lstrip('.').lower()}" for word in words if word)
        case "ENABLE_IMAGE_PROCESSING":
            if text.lower() not in (*_TRUE, *_FALSE):
                raise InvalidInput(name, f"{name} is neither true nor false.")
            return text.lower() in _TRUE
        case "IMAGE_THUMBNAIL_SIZE":
            found = _SIDES.fullmatch(text)
            if found is None:
                raise InvalidInput(name, f"{name} is not a size.", remedy="Write 300x300.")
            return (f"{found[1]}x{found[2] or found[1]}",)
    return text
