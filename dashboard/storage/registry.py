"""Which drivers and presets exist, which options they have, and how a driver is built.

Drivers are named by dotted path and imported when the first one is built, so that importing
``dashboard.storage`` loads no vendor SDK.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

from dashboard.errors import InvalidInput
from dashboard.storage.checks.folders import UNRESTRICTED, FolderPolicy, UsesLocalFolders
from dashboard.storage.checks.typed import check_typed
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS, WRAPPERS, check_wrappers
from dashboard.storage.driver import Driver
from dashboard.storage.driver_types import DriverType, Location, Options, RcloneRemote
from dashboard.storage.options import Option, Preset
from dashboard.storage.own_drivers import REMEDY, call_factory, describe_or, find_driver, names_of_plugins
from dashboard.storage.types import Secret

T = TypeVar("T")

BUILT_IN = {
    "local": "dashboard.storage.drivers.local.type:LOCAL",
    "memory": "dashboard.storage.drivers.memory:MEMORY",
    "s3": "dashboard.storage.drivers.s3.type:S3",
    "azure": "dashboard.storage.drivers.azure.type:AZURE",
    "gcs": "dashboard.storage.drivers.gcs.type:GCS",
    "vercel_blob": "dashboard.storage.drivers.vercel_blob.type:VERCEL_BLOB",
    "webdav": "dashboard.storage.drivers.webdav.type:WEBDAV",
    "sftp": "dashboard.storage.drivers.sftp.type:SFTP",
    "ftp": "dashboard.storage.drivers.ftp.type:FTP",
}
"""Where the type of each driver is, in the order of their cards. A new driver is a package and a row here."""


class _Drivers(Mapping[str, DriverType]):
    """Stowage's own drivers, followed by those of installed packages. Stowage's own always win."""

    def __getitem__(self, name: str) -> DriverType:
        if name in BUILT_IN:
            return _built_in(BUILT_IN[name])
        found = find_driver(name)
        if found is None:
            raise KeyError(name)
        return _with_wrappers(found)

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from (name for name in names_of_plugins() if name not in BUILT_IN)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Presets(Mapping[str, Preset]):
    """The presets of Stowage's own drivers, followed by one for each driver of an installed package, of its
    name."""

    def __getitem__(self, name: str) -> Preset:
        presets = _built_in_presets(tuple(BUILT_IN.values()))
        if name in presets:
            return presets[name]
        if name in BUILT_IN or (found := find_driver(name)) is None:
            raise KeyError(name)
        return found.presets[0]

    def __iter__(self) -> Iterator[str]:
        presets = _built_in_presets(tuple(BUILT_IN.values()))
        yield from presets
        yield from (name for name in names_of_plugins() if name not in presets and name not in BUILT_IN)

    def __len__(self) -> int:
        return sum(1 for _ in self)


DRIVERS: Mapping[str, DriverType] = _Drivers()
"""Every driver by name, those of other packages last."""
PRESETS: Mapping[str, Preset] = _Presets()
"""Every preset by name, in the order the cards are shown; those of other packages last."""


@cache
def _built_in(path: str) -> DriverType:
    kind = _at(path)
    assert isinstance(kind, DriverType)
    return _with_wrappers(kind)


@cache
def _built_in_presets(paths: tuple[str, ...]) -> Mapping[str, Preset]:
    presets = [preset for path in paths for preset in _built_in(path).presets]
    return {preset.name: preset for preset in sorted(presets, key=lambda preset: preset.last)}


def _with_wrappers(kind: DriverType) -> DriverType:
    """Add the options of the wrappers, which every driver has, to the driver's own."""
    return replace(kind, options=(*kind.options, *WRAPPER_OPTIONS))


@cache
def _at(path: str) -> Any:
    """Return the object at a dotted path; it has no static type."""
    module, _, names = path.partition(":")
    target: object = import_module(module)
    for name in names.split("."):
        target = getattr(target, name)
    return target


def find_preset(name: str) -> Preset:
    """Return the preset of this name. Raises ``InvalidInput`` for the field ``preset``."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidInput(
            "preset", f"There is no kind of backend called “{name}”.", remedy=f"Known: {', '.join(PRESETS)}."
        ) from None


def label_of(name: str) -> str:
    """Return the label of a saved backend's preset, or its bare name if the package that added it is gone."""
    preset = PRESETS.get(name)
    return preset.label if preset is not None else name


def icon_of(name: str) -> str:
    """Return the symbol of a saved backend's preset in ``static/icons.svg``; a plain one if the package that
    added it is gone."""
    preset = PRESETS.get(name)
    return (preset.icon or driver_type(preset.driver).icon) if preset is not None else "bucket"


def driver_type(name: str) -> DriverType:
    """Return the registered driver. Raises ``InvalidInput`` for the field ``driver``."""
    try:
        return DRIVERS[name]
    except KeyError:
        raise InvalidInput(
            "driver", f"There is no driver “{name}”.", remedy=f"Known: {', '.join(DRIVERS)}."
        ) from None


@dataclass(frozen=True, slots=True)
class MachinePolicy:
    """What backends may use of this machine. The default is meant for programs that use the library.

    ``folders``: the folders that they may use. ``credentials``: which servers may receive this machine's
    cloud credentials: ``aws`` and ``google`` stand for the clouds themselves, ``host`` and ``host:port`` for
    any server.
    """

    folders: FolderPolicy = UNRESTRICTED
    credentials: frozenset[str] = frozenset({"aws", "google"})

    def check_credentials(self, driver: str, options: Options) -> None:
        """Raise ``InvalidInput`` for ``sign_in`` if these options would send this machine's credentials to a
        server that may not have them."""
        kind = driver_type(driver)
        shown_to = kind.machine_credentials_to(options) if kind.machine_credentials_to is not None else ()
        if shown_to and not self.credentials & set(shown_to):
            raise InvalidInput(
                "sign_in",
                f"The credentials of this machine may not be shown to {shown_to[-1]}.",
                remedy="Choose another way to sign in. Stowage's administrator can allow this with "
                f"STOWAGE_MACHINE_CREDENTIALS={shown_to[0]}",
            )


def build(
    driver: str,
    options: Mapping[str, str],
    secrets: Mapping[str, Secret] = MappingProxyType({}),
    *,
    internal_options: Mapping[str, str] = MappingProxyType({}),
    machine: MachinePolicy | None = None,
    innermost: Callable[[Driver], Driver] = lambda driver: driver,
) -> Driver:
    """Build a driver, and the wrappers around it, from options that :func:`check_options` returned. No
    network call.

    ``internal_options``: options of wrappers that the program sets and not a person, such as the folder for a
    cache; without one nothing is stored on this disk. ``machine``: what it may use of this machine.
    ``innermost``: put around the driver itself, below its wrappers. Raises ``InvalidInput`` for credentials
    of this machine that it may not use.
    """
    kind = driver_type(driver)
    if kind.unusable:
        raise InvalidInput("driver", kind.unusable, remedy=REMEDY)
    machine = machine or MachinePolicy()
    machine.check_credentials(driver, options)
    made: Driver
    if driver in BUILT_IN:
        made = _at(kind.factory)(options, secrets)
    else:
        made = call_factory(driver, lambda: _at(kind.factory)(options, secrets))
    if isinstance(made, UsesLocalFolders):
        made.restrict_to(machine.folders)
    return wrap(innermost(made), {**options, **internal_options}, secrets)


def wrap(driver: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Driver:
    """Put the wrappers around a driver that checked options switch on. No network call."""
    for wrapper in WRAPPERS:
        if wrapper.wanted(options, secrets):
            driver = _at(wrapper.factory)(driver, options, secrets)
    return driver


def all_options(preset: Preset) -> tuple[Option, ...]:
    """Return all options of a preset, in form order and in the provider's words, with its defaults and hints;
    including those that the preset sets and hides."""
    options = preset.extra + driver_type(preset.driver).options
    relabeled = tuple(_relabel(option, preset) for option in options)
    # What the preset decides may settle that another option is required.
    decided = {each.name: each.default for each in relabeled if each.name in preset.hidden}
    unset = dict.fromkeys((each.name for each in relabeled), "")
    return tuple(replace(each, required=each.is_required(decided, unset)) for each in relabeled)


def options_of(preset: Preset) -> tuple[Option, ...]:
    """Return the options that a person sees under this preset."""
    return tuple(option for option in all_options(preset) if option.name not in preset.hidden)


def _relabel(option: Option, preset: Preset) -> Option:
    name = option.name
    return replace(
        option,
        label=preset.labels.get(name, option.label),
        hint=preset.hints.get(name, option.hint),
        placeholder=preset.placeholders.get(name, option.placeholder),
        default=preset.defaults.get(name, option.default),
        choices=tuple(
            each for each in option.choices if name not in preset.choices or each[0] in preset.choices[name]
        ),
    )


def check_options(
    preset: Preset | str,
    options: Mapping[str, str],
    secrets: Mapping[str, Secret] = MappingProxyType({}),
    *,
    forbidden_roots: Sequence[str] = (),
) -> Mapping[str, str]:
    """Check what a person typed and return every option of the driver, normalised and complete.

    Options the preset decides (an endpoint pattern, say) are worked out again from the others, so the
    result of an earlier call may be edited and handed in. Missing options take their defaults. ``preset``
    may be its name. ``forbidden_roots``: the console's own files, which no local backend may hold. Touches
    the network never, the file system only to resolve a local root. Raises ``InvalidInput`` naming the
    option.
    """
    if isinstance(preset, str):
        preset = find_preset(preset)
    kind = driver_type(preset.driver)
    if kind.unusable:
        raise InvalidInput("preset", kind.unusable, remedy=REMEDY)
    values = check_typed(preset, all_options(preset), options, secrets)
    checked = kind.check(values, preset, forbidden_roots)
    if kind.check_secrets is not None:
        kind.check_secrets(checked, secrets)
    return MappingProxyType(check_wrappers(checked, secrets))


def guarding(preset: Preset) -> frozenset[str]:
    """The options, hidden ones included, whose change demands every secret again."""
    return frozenset(option.name for option in all_options(preset) if option.guards_secret)


def summary(driver: str, options: Options) -> str:
    """Return one line that tells backends apart, such as a folder, or a bucket and its host. No secret; empty
    if the driver is no longer installed."""
    kind = DRIVERS.get(driver)
    if kind is None:
        return ""
    required = (options.get(option.name) for option in kind.options if option.required)
    return _described(kind, kind.summary, options, " ".join(value for value in required if value))


def location(driver: str, options: Options) -> Location:
    """Return where the objects of a saved backend are. No network call."""
    kind = DRIVERS.get(driver)
    known = _described(kind, kind.location, options, None) if kind is not None else None
    if known is not None:
        return known
    not_a_place = {"prefix", *(option.name for option in WRAPPER_OPTIONS)}
    values = sorted((name, value) for name, value in options.items() if name not in not_a_place)
    return Location(json.dumps(values), options.get("prefix", ""))


def free_bytes(driver: str, options: Options) -> int | None:
    """Return how many bytes a saved backend can still store, None if that is not known. No network call."""
    kind = DRIVERS.get(driver)
    return _described(kind, kind.free_bytes, options, None) if kind is not None else None


def uses_own_key(driver: str, options: Options) -> bool:
    """Whether a saved backend's objects are encrypted with a key that its provider does not keep."""
    kind = DRIVERS.get(driver)
    return kind is not None and kind.uses_own_key(options)


def rclone_remote(driver: str, options: Options) -> RcloneRemote | None:
    """Return how rclone reaches the objects of a saved backend, or None if it does not know their kind."""
    kind = DRIVERS.get(driver)
    return kind.rclone(options) if kind is not None and kind.rclone is not None else None


def noun_of(driver: str) -> str:
    """Return what contains the objects of this driver, in the provider's word: bucket, container, folder."""
    kind = DRIVERS.get(driver)
    return kind.noun if kind is not None else "place"


def _described(
    kind: DriverType,
    describe: Callable[[Mapping[str, str]], T] | None,
    options: Mapping[str, str],
    default: T,
) -> T:
    if describe is None:
        return default
    if kind.name in BUILT_IN:
        return describe(options)
    return describe_or(kind.name, partial(describe, options), default)
