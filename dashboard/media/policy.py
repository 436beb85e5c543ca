"""What may be uploaded, and what is done to it: a policy as a value.

``as_dict`` and ``from_dict`` use values that JSON and TOML have. A file that a policy does not accept gets a
``Refusal``: what is wrong and what to do, with the HTTP status that says the same to programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from dashboard.errors import InvalidInput
from dashboard.media.kinds import BY_ENDING, KIND_LABELS, FileKind, FileType, ending_of
from dashboard.media.recipes import RECIPES, Recipe, parse_recipe
from dashboard.media.sizes import GB, format_size, parse_bytes

MAX_PIXELS = 250_000_000
"""What a policy may allow at most: an image is decoded in memory, three or four bytes a pixel."""
_MAX_ENDING = 16
_MAX_NAME_BYTES = 255
_MAX_THUMBNAILS = 12
_Choice = TypeVar("_Choice", bound=StrEnum)


class Scan(StrEnum):
    """Whether uploads are scanned for viruses."""

    OFF = "off"
    OPTIONAL = "optional"
    """Scan if the scanner can be reached, and accept the file if it cannot."""
    REQUIRED = "required"
    """Refuse every file that was not scanned to its end and found clean."""


class OnConflict(StrEnum):
    """What happens if there is already a file of that name."""

    REFUSE = "refuse"
    RENAME = "rename"
    """Store the new file under a name with a number or random characters added."""
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is not accepted. ``status``: the HTTP status that means the same; 409, 413, 415, 422, 423,
    503 or 507. ``reason`` and ``remedy`` are sentences. ``retryable``: the file may be accepted later."""

    status: int
    reason: str
    remedy: str = ""
    retryable: bool = False


DEFAULT_KINDS = (
    *(FileKind.IMAGE, FileKind.VIDEO, FileKind.AUDIO, FileKind.DOCUMENT),
    *(FileKind.ARCHIVE, FileKind.TEXT, FileKind.OTHER),
)
"""Everything but what a browser or an operating system would run."""


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """What may be uploaded, and what is done to it. Immutable; raises ``InvalidInput`` when it is made from
    values that contradict themselves.

    ``max_size``: bytes. ``kinds``: which kinds of content; empty allows none. ``endings``: which endings of
    names, in lower case with their dot; empty allows every ending of the kinds. ``max_pixels``: width times
    height of an image. ``scan``: for viruses. ``organise_by_date``: store below a folder of the day (UTC).
    ``unique_names``: add random characters to every name. ``thumbnails``: names of recipes that are made as
    soon as an image arrives, or sizes such as ``400x300`` or ``200x200-crop``; others are made on demand.
    ``on_conflict``: what happens if the name is taken. ``direct``: large files may go directly to the bucket,
    from where the console reads them to check them.
    """

    max_size: int = 5 * GB
    kinds: tuple[FileKind, ...] = DEFAULT_KINDS
    endings: tuple[str, ...] = ()
    max_pixels: int = 100_000_000
    scan: Scan = Scan.OFF
    organise_by_date: bool = False
    unique_names: bool = False
    thumbnails: tuple[str, ...] = tuple(RECIPES)
    on_conflict: OnConflict = OnConflict.REFUSE
    direct: bool = False

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise InvalidInput("max_size", "The largest size must be at least one byte.")
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise InvalidInput(
                "max_pixels", f"Images may have between 1 and {MAX_PIXELS:,} pixels, not {self.max_pixels:,}."
            )
        if not self.kinds:
            raise InvalidInput("kinds", "A policy that allows no kind of file accepts nothing.")
        for ending in self.endings:
            self._check_ending(ending)
        if len(self.thumbnails) > _MAX_THUMBNAILS:
            raise InvalidInput("thumbnails", f"At most {_MAX_THUMBNAILS} thumbnails are made of one image.")
        self.recipes()

    def _check_ending(self, ending: str) -> None:
        if not ending.startswith(".") or not 2 <= len(ending) <= _MAX_ENDING or ending != ending.lower():
            raise InvalidInput(
                "endings", f"“{ending}” is no ending of a name.", remedy="Write .jpg or .tar.gz."
            )
        rows = BY_ENDING.get(ending, ())
        if rows and not any(row.kind in self.kinds for row in rows):
            kinds = KIND_LABELS[rows[0].kind]
            raise InvalidInput(
                "endings",
                f"“{ending}” is allowed, but {kinds} are not.",
                remedy=f"Allow {kinds} too, or remove “{ending}”.",
            )

    def recipes(self) -> tuple[Recipe, ...]:
        """What is made of an image as soon as it arrives."""
        return tuple(parse_recipe(text, field="thumbnails") for text in self.thumbnails)

    def check_name(self, name: str, size: int | None = None) -> Refusal | None:
        """Return why a file of this name and announced size is not accepted, before a byte of it is read, or
        None. ``name`` is the file's own name, without a folder."""
        if not name.strip(" .") or any(ord(character) < 32 for character in name) or "\x7f" in name:
            return Refusal(422, "The file has no usable name.", "Rename it and upload it again.")
        if len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
            return Refusal(
                422, f"The name is longer than {_MAX_NAME_BYTES} bytes.", "Give it a shorter name."
            )
        if self.endings and not name.lower().rstrip(" .").endswith(self.endings):
            accepted = ", ".join(self.endings)
            return Refusal(415, f"“{name}” does not end as allowed here.", f"Accepted are {accepted}.")
        rows = BY_ENDING.get(ending_of(name), ())
        if rows and not any(row.kind in self.kinds for row in rows):
            return self._refuse_kind(name, rows[0])
        return None if size is None else self.check_size(size)

    def check_size(self, size: int) -> Refusal | None:
        """Return why a file of ``size`` bytes is not accepted, or None."""
        if size <= self.max_size:
            return None
        return Refusal(
            413,
            f"The file has {format_size(size)}; at most {format_size(self.max_size)} are accepted here.",
            "Upload a smaller file, or ask an administrator for a higher limit.",
        )

    def check_type(self, name: str, found: FileType) -> Refusal | None:
        """Return why content of this type is not accepted, or None."""
        return None if found.kind in self.kinds else self._refuse_kind(name, found)

    def _refuse_kind(self, name: str, found: FileType) -> Refusal:
        accepted = ", ".join(KIND_LABELS[kind] for kind in self.kinds)
        return Refusal(
            415, f"“{name}” is {found.label}, which is not accepted here.", f"Accepted are {accepted}."
        )

    def check_pixels(self, width: int, height: int) -> Refusal | None:
        """Return why an image of this size is not accepted, or None."""
        if width * height <= self.max_pixels:
            return None
        return Refusal(
            422,
            f"The image has {width:,} × {height:,} pixels; at most {self.max_pixels / 1e6:,.4g} megapixels "
            "are accepted here.",
            "Upload it in a smaller size.",
        )

    def as_dict(self) -> dict[str, Any]:
        """The policy in values that JSON and TOML have; :meth:`from_dict` reads it again."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                value = [str(each) for each in value]
            values[field.name] = str(value) if isinstance(value, StrEnum) else value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UploadPolicy:
        """Return the policy that these values describe; what is missing has its default.

        ``max_size`` may be text, such as ``20 MB``; ``thumbnails`` may be true or false. Raises
        ``InvalidInput`` with the name of the field that cannot be used.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise InvalidInput(
                    name, f"A policy has no “{name}”.", remedy=f"It has {', '.join(sorted(known))}."
                )
        read: dict[str, Any] = {}
        for name, value in values.items():
            if name == "max_size":
                read[name] = parse_bytes(value, field=name)
            elif name == "max_pixels":
                read[name] = _whole_number(name, value)
            elif name == "thumbnails" and isinstance(value, bool):
                read[name] = tuple(RECIPES) if value else ()
            elif name in ("endings", "thumbnails"):
                read[name] = _unique(_text(name, each) for each in _list(name, value))
            elif name == "kinds":
                read[name] = tuple(
                    dict.fromkeys(_choice(name, each, FileKind) for each in _list(name, value))
                )
            elif name == "scan":
                read[name] = _choice(name, value, Scan)
            elif name == "on_conflict":
                read[name] = _choice(name, value, OnConflict)
            else:
                read[name] = _yes_or_no(name, value)
        if "endings" in read:
            read["endings"] = tuple(each if each.startswith(".") else f".{each}" for each in read["endings"])
        return cls(**read)


DEFAULT = UploadPolicy()
"""Any size up to 5 GB and any kind of content but markup and programs; never replaces a file."""


def _list(name: str, value: Any) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidInput(name, f"“{name}” must be a list.")
    return sorted(value) if isinstance(value, set | frozenset) else list(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, f"“{name}” must be a list of texts.")
    return value.strip().lower()


def _whole_number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(name, f"“{name}” must be a whole number.")
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(name, f"“{name}” must be true or false.")
    return value


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _choice(name: str, value: Any, choices: type[_Choice]) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(choices)
        raise InvalidInput(name, f"“{value}” is no value of “{name}”.", remedy=f"Choose {known}.") from None
