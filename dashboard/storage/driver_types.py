"""What a driver says of itself before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dashboard.storage.driver import Driver
from dashboard.storage.options import Option, Preset
from dashboard.storage.types import Secret

Options = Mapping[str, str]
Check = Callable[[Options, Preset, Sequence[str]], dict[str, str]]
CheckSecrets = Callable[[Options, Mapping[str, Secret]], None]
Factory = Callable[[Options, Mapping[str, Secret]], Driver]


def unchanged(values: Options, preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """The check of a driver whose options need none beyond their types."""
    return dict(values)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the objects of a configured backend are, as far as its options say.

    ``server`` is everything that decides whose objects are seen: the host and port, and the account or user
    where each may have objects of their own. ``path`` leads to the objects there, each of its folders (and
    the bucket) with a “/” behind it; empty for all that the server shows.
    """

    server: str
    path: str


@dataclass(frozen=True, slots=True)
class DriverType:
    """Everything the rest of the program knows about a driver. Nothing of the driver is loaded for it.

    ``factory`` is ``package.module:Class.method``, imported when the first backend needs it; it is called
    with the checked options and the secrets, makes no network call and returns a ``Driver``. ``check`` is
    called with every option, typed values already of their types, and returns them normalised, or raises
    ``InvalidInput`` naming the option; it makes no network call either. Its third argument are paths of the
    console itself, which no backend may hold.

    ``summary`` and ``location`` get stored options, which an older version may have written: any of them can
    be missing.
    """

    name: str
    factory: str
    options: tuple[Option, ...]
    check: Check = unchanged
    check_secrets: CheckSecrets | None = None
    """Looks at the secrets beside the checked options, where their form can be told."""
    unusable: str = ""
    """Why nothing can be done with it, as a sentence."""
    presets: tuple[Preset, ...] = ()
    """Its providers, in the order of their cards."""
    noun: str = "folder"
    """What holds the objects, in the words of the provider: bucket, container, folder."""
    icon: str = "bucket"
    """A symbol of ``static/icons.svg``."""
    summary: Callable[[Options], str] | None = None
    """One line that tells its backends apart, such as a bucket and its host. No secret. Without it: the
    values of the required options."""
    location: Callable[[Options], Location] | None = None
    """Tells whether two backends are the same place, or one lies inside the other. Makes no network call.
    Without it only backends with the same options are one place, and ``prefix`` is the folder inside."""
    own_key: tuple[str, str] | None = None
    """An option and its choice by which objects are encrypted with a key that the provider does not keep. An
    edit cannot take that choice back, and objects wait only where no provider can read them."""
    machine_credentials_to: Callable[[Options], tuple[str, ...]] | None = None
    """By which names the server goes, its host last, to which these options show the credentials of this
    machine; none where they show it none."""
    in_process: bool = False
    """Whether every process has objects of its own, which nobody else sees."""

    def uses_own_key(self, options: Options) -> bool:
        """Whether a backend with these stored options encrypts with a key that the provider does not keep."""
        return self.own_key is not None and options.get(self.own_key[0]) == self.own_key[1]
