"""How an image is derived from another one: a recipe as a value.

The same source and the same recipe always give the same image, so that a derivative is named by the SHA-256
of its source and the ``key`` of its recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from dashboard.errors import InvalidInput

REVISION = 1
"""Part of every ``key``: raised when the same recipe makes other images than before."""
MAX_SIDE = 8192
_WRITTEN = re.compile(r"(\d{1,5})x(\d{1,5})(-crop)?(?:-(jpeg|png|webp|avif))?\Z")


class ImageFormat(StrEnum):
    """What images can be written as."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"


CONTENT_TYPES = {each: f"image/{each}" for each in ImageFormat}


@dataclass(frozen=True, slots=True)
class Recipe:
    """``width`` and ``height``: the box in pixels that the image fits into; with ``crop`` it fills the box
    and what sticks out is cut off evenly. Smaller images are not enlarged. ``format``: None keeps JPEG, PNG
    and WebP, and makes others JPEG, or PNG if they are transparent. ``quality``: 1 to 100; PNG ignores it.
    """

    name: str
    width: int
    height: int
    crop: bool = False
    format: ImageFormat | None = None
    quality: int = 82

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise InvalidInput("size", f"Width and height must be between 1 and {MAX_SIDE} pixels.")
        if not 1 <= self.quality <= 100:
            raise InvalidInput("quality", "Quality must be between 1 and 100.")

    @property
    def key(self) -> str:
        """Letters, digits and dashes that name everything that decides about the result, but not ``name``."""
        kind = "crop" if self.crop else "fit"
        return f"{self.width}x{self.height}-{kind}-{self.format or 'same'}-q{self.quality}-r{REVISION}"

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as :meth:`from_dict` and the sandbox read them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these fields."""
        chosen = values["format"]
        return cls(**{**values, "format": None if chosen is None else ImageFormat(chosen)})


RECIPES = {
    "small": Recipe("small", 150, 150),
    "medium": Recipe("medium", 300, 300),
    "large": Recipe("large", 800, 600),
}
"""Every file has these, made ahead or on demand."""


def parse_recipe(text: str, *, field: str = "recipe") -> Recipe:
    """Return a recipe by its name, or from a size: ``400x300``, ``200x200-crop``, ``400x300-webp``.

    Raises ``InvalidInput`` for ``field``.
    """
    if text in RECIPES:
        return RECIPES[text]
    found = _WRITTEN.match(text)
    if found is None:
        raise InvalidInput(
            field,
            f"“{text}” is neither a known thumbnail nor a size.",
            remedy=f"Write {', '.join(RECIPES)}, 400x300 or 200x200-crop.",
        )
    chosen = ImageFormat(found[4]) if found[4] else None
    return Recipe(text, int(found[1]), int(found[2]), found[3] is not None, chosen)
