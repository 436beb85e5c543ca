"""What is known about a driver before any of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dashboard.storage.options import Option, Preset
from dashboard.storage.types import Secret

Options = Mapping[str, str]
Check = Callable[[Options, Preset, Sequence[str]], dict[str, str]]
CheckSecrets = Callable[[Options, Mapping[str, Secret]], None]


def unchanged(values: Options, preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Return the options unchanged: the check of a driver whose options need none beyond their types."""
    return dict(values)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the objects of a configured backend are, as far as its options say.

    ``server`` is everything that decides whose objects are seen: host and port, and the account or user if
    each may have its own objects. ``path`` leads to the objects there; the bucket and each folder end in “/”.
    It is empty for everything that the server shows.
    """

    server: str
    path: str


@dataclass(frozen=True, slots=True)
class RcloneRemote:
    """A backend as rclone knows it: ``values`` of its section, among them the type; ``path`` behind its name;
    ``secrets``, the values that are missing because they are secret."""

    values: Mapping[str, str]
    path: str
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DriverType:
    """Everything the rest of the program knows about a driver. Nothing of the driver is loaded for it.

    ``factory`` is ``package.module:Class.method``, imported when the first backend needs it. It is called
    with the checked options and the secrets, makes no network call and returns a ``Driver``. ``check`` is
    called with every option, its value already of the option's type, and returns them normalized, or raises
    ``InvalidInput`` naming the option; it makes no network call either. Its third argument contains the
    console's own paths, which no backend may contain.

    ``summary`` and ``location`` get stored options, which an older version may have written: any of them can
    be missing.
    """

    name: str
    factory: str
    options: tuple[Option, ...]
    check: Check = unchanged
    check_secrets: CheckSecrets | None = None
    """Checks the secrets together with the checked options, if their form can be checked."""
    unusable: str = ""
    """Why the driver cannot be used, as a sentence."""
    presets: tuple[Preset, ...] = ()
    """Its providers, in the order of their cards."""
    noun: str = "folder"
    """What contains the objects, in the provider's own word: bucket, container, folder."""
    icon: str = "bucket"
    """A symbol of ``static/icons.svg``, for presets without one of their own."""
    family: str = "Other kinds"
    """The title below which forms offer its presets."""
    summary: Callable[[Options], str] | None = None
    """Returns one line that tells its backends apart, such as a bucket and its host. No secret. Without it:
    the values of the required options."""
    location: Callable[[Options], Location] | None = None
    """Decides whether two backends are the same container, or one is inside the other. Makes no network call.
    Without it only backends with the same options are the same, and ``prefix`` is the folder inside."""
    own_key: tuple[str, str] | None = None
    """An option and the choice with which objects are encrypted with a key that the provider does not keep.
    An edit cannot undo that choice, and objects wait only where no provider can read them."""
    machine_credentials_to: Callable[[Options], tuple[str, ...]] | None = None
    """Returns the names of the server that receives this machine's credentials with these options, its host
    last; empty if no server does."""
    rclone: Callable[[Options], RcloneRemote] | None = None
    """Returns how rclone reaches the same objects, without secrets. Without it: rclone does not know them."""
    free_bytes: Callable[[Options], int | None] | None = None
    """Returns how many bytes can still be stored, or None if that is not known. Asks this machine only.
    Without it that is never known."""
    in_process: bool = False
    """Whether every process has objects of its own that no other process sees."""

    def uses_own_key(self, options: Options) -> bool:
        """Whether a backend with these stored options encrypts with a key that the provider does not keep."""
        return self.own_key is not None and options.get(self.own_key[0]) == self.own_key[1]
