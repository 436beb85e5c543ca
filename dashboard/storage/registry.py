"""Which drivers and presets exist, what each can be told, and how a driver is built.

Drivers are named by dotted path and imported when the first one is built, so that importing
``dashboard.storage`` loads no vendor SDK.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

from dashboard.errors import InvalidInput
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS, WRAPPERS, check_wrappers
from dashboard.storage.driver import Driver
from dashboard.storage.driver_types import DriverType, Location, Options
from dashboard.storage.drivers.local.policy import FolderPolicy, UsesFolders
from dashboard.storage.options import Option, OptionType, Preset, SecretForm
from dashboard.storage.own_drivers import REMEDY, built, described, find, offered
from dashboard.storage.types import Secret

_LONGEST = 16 * 1024

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
    """Stowage's own, and after those what installed packages add. Its own always win."""

    def __getitem__(self, name: str) -> DriverType:
        if name in BUILT_IN:
            return _built_in(BUILT_IN[name])
        found = find(name)
        if found is None:
            raise KeyError(name)
        return _with_wrappers(found)

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from (name for name in offered() if name not in BUILT_IN)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Presets(Mapping[str, Preset]):
    """Those of Stowage's own drivers, and after those one of each installed package's driver, of its name."""

    def __getitem__(self, name: str) -> Preset:
        presets = _built_in_presets(tuple(BUILT_IN.values()))
        if name in presets:
            return presets[name]
        if name in BUILT_IN or (found := find(name)) is None:
            raise KeyError(name)
        return found.presets[0]

    def __iter__(self) -> Iterator[str]:
        presets = _built_in_presets(tuple(BUILT_IN.values()))
        yield from presets
        yield from (name for name in offered() if name not in presets and name not in BUILT_IN)

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
    """What every driver can be told beside its own options."""
    return replace(kind, options=(*kind.options, *WRAPPER_OPTIONS))


@cache
def _at(path: str) -> Any:
    """What a dotted path leads to; it has no static type."""
    module, _, names = path.partition(":")
    target: object = import_module(module)
    for name in names.split("."):
        target = getattr(target, name)
    return target


def find_preset(name: str) -> Preset:
    """The preset of this name. Raises ``InvalidInput`` for the field ``preset``."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidInput(
            "preset", f"There is no kind of backend called “{name}”.", remedy=f"Known: {', '.join(PRESETS)}."
        ) from None


def label_of(name: str) -> str:
    """How a saved backend's kind is called; by its bare name where the package that brought it is gone."""
    preset = PRESETS.get(name)
    return preset.label if preset is not None else name


def driver_type(name: str) -> DriverType:
    """The registered driver. Raises ``InvalidInput`` for the field ``driver``."""
    try:
        return DRIVERS[name]
    except KeyError:
        raise InvalidInput(
            "driver", f"There is no driver “{name}”.", remedy=f"Known: {', '.join(DRIVERS)}."
        ) from None


def build(
    driver: str,
    options: Mapping[str, str],
    secrets: Mapping[str, Secret] = MappingProxyType({}),
    *,
    told: Mapping[str, str] = MappingProxyType({}),
    folders: FolderPolicy | None = None,
) -> Driver:
    """Make a driver, and the wrappers around it, from options that :func:`check_options` returned. No
    network call. ``told``: what wrappers are told by the program and not by a person, such as the folder
    for a cache; without one nothing is kept on this disk. ``folders``: which folders of this machine it may
    touch; any where not given."""
    kind = driver_type(driver)
    if kind.unusable:
        raise InvalidInput("driver", kind.unusable, remedy=REMEDY)
    made: Driver
    if driver in BUILT_IN:
        made = _at(kind.factory)(options, secrets)
    else:
        made = built(driver, lambda: _at(kind.factory)(options, secrets))
    if folders is not None and isinstance(made, UsesFolders):
        made.keep_to(folders)
    everything = {**options, **told}
    for wrapper in WRAPPERS:
        if wrapper.wanted(everything, secrets):
            made = _at(wrapper.factory)(made, everything, secrets)
    return made


@cache
def options_of(preset: str) -> tuple[Option, ...]:
    """The options a person sees under this preset, in form order: in the provider's words, with its
    defaults and hints, without what the preset decides. Raises ``InvalidInput`` for ``preset``."""
    chosen = find_preset(preset)
    return tuple(_worded(option, chosen) for option in _all(chosen) if option.name not in chosen.hidden)


def options_shown(preset: str) -> tuple[Option, ...]:
    """The options of a saved backend: none where its kind is no longer installed."""
    return options_of(preset) if preset in PRESETS else ()


def _all(preset: Preset) -> tuple[Option, ...]:
    return preset.extra + driver_type(preset.driver).options


def _worded(option: Option, preset: Preset) -> Option:
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
    preset: str,
    options: Mapping[str, str],
    secrets: Mapping[str, Secret] = MappingProxyType({}),
    *,
    forbidden_roots: Sequence[str] = (),
) -> Mapping[str, str]:
    """Check what a person typed and return every option of the driver, normalised and complete.

    Options the preset decides (an endpoint pattern, say) are worked out again from the others, so the
    result of an earlier call may be edited and handed in. Missing options take their defaults.
    ``forbidden_roots``: the console's own files, which no local backend may hold. Touches the network
    never, the file system only to resolve a local root. Raises ``InvalidInput`` naming the option.
    """
    chosen = find_preset(preset)
    if unusable := driver_type(chosen.driver).unusable:
        raise InvalidInput("preset", unusable, remedy=REMEDY)
    known = {option.name: _worded(option, chosen) for option in _all(chosen)}
    _refuse_unknown(options, secrets, known, chosen)
    values: dict[str, str] = {}
    for option in known.values():
        if not option.secret and option.name not in chosen.hidden:
            values[option.name] = _typed(option, options.get(option.name, ""))
    for name in sorted(chosen.hidden):
        if not known[name].secret:
            values[name] = _decided(known[name], options.get(name, ""), values)
    for option in known.values():
        if option.secret:
            _check_secret(option, secrets.get(option.name))
    kind = driver_type(chosen.driver)
    checked = kind.check(values, chosen, forbidden_roots)
    if kind.check_secrets is not None:
        kind.check_secrets(checked, secrets)
    return MappingProxyType(check_wrappers(checked, secrets))


def _refuse_unknown(
    options: Mapping[str, str], secrets: Mapping[str, Secret], known: Mapping[str, Option], preset: Preset
) -> None:
    for name in (*options, *secrets):
        if name not in known:
            shown = ", ".join(n for n in known if n not in preset.hidden)
            raise InvalidInput(name, f"{preset.label} has no option “{name}”.", remedy=f"Known: {shown}.")
    for name in options:
        if known[name].secret:
            raise InvalidInput(name, f"“{known[name].label}” is a secret and is not given among the options.")
    for name in secrets:
        if not known[name].secret:
            raise InvalidInput(name, f"“{known[name].label}” is not a secret.")


def _typed(option: Option, text: str) -> str:
    """One value, trimmed and of its type."""
    value = text.strip() or option.default
    if not value:
        if option.required:
            raise InvalidInput(option.name, f"“{option.label}” is missing.", remedy=option.hint)
        return "false" if option.type is OptionType.BOOLEAN else ""
    if len(value) > _LONGEST:
        raise InvalidInput(option.name, f"“{option.label}” is longer than {_LONGEST:,} characters.")
    if option.type is not OptionType.MULTILINE and any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise InvalidInput(option.name, f"“{option.label}” holds control characters or line breaks.")
    if option.type is OptionType.BOOLEAN:
        return _boolean(option, value)
    if option.type is OptionType.CHOICE and value not in {choice for choice, _ in option.choices}:
        allowed = ", ".join(f"“{choice}”" for choice, _ in option.choices)
        raise InvalidInput(
            option.name, f"“{value}” is not a choice for “{option.label}”.", remedy=f"Choose {allowed}."
        )
    return value


def _boolean(option: Option, value: str) -> str:
    if value.lower() in ("true", "on", "yes", "1"):
        return "true"
    if value.lower() in ("false", "off", "no", "0"):
        return "false"
    raise InvalidInput(option.name, f"“{option.label}” is either “true” or “false”.")


def _decided(option: Option, given: str, values: Mapping[str, str]) -> str:
    """What the preset says for a hidden option, its placeholders filled from the visible ones."""
    pattern = option.default
    names = [name for _, name, _, _ in string.Formatter().parse(pattern) if name]
    # Stored options hold the endpoint of *before* an edit; anything else was typed and must not be ignored.
    earlier = "".join(
        re.escape(text) + ("" if name is None else "[A-Za-z0-9.-]*")
        for text, name, _, _ in string.Formatter().parse(pattern)
    )
    if given and not re.fullmatch(earlier, given):
        raise InvalidInput(
            option.name,
            f"“{option.label}” is decided by the provider and cannot be set.",
            remedy="Choose “Any S3-compatible” to set everything yourself.",
        )
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9.-]*", values[name]):
            raise InvalidInput(name, f"“{values[name]}” holds more than letters, digits, dots and hyphens.")
    return pattern.format_map(values)


def _check_secret(option: Option, secret: Secret | None) -> None:
    if not secret:
        if option.required:
            raise InvalidInput(option.name, f"“{option.label}” is missing.", remedy=option.hint)
        return
    plain = secret.reveal()
    machine_made = option.form in (SecretForm.KEY, SecretForm.ADDRESS)
    if not machine_made:
        _check_typed_secret(option, plain)
    elif plain != plain.strip() or any(ord(c) < 32 or ord(c) == 127 for c in plain):
        raise InvalidInput(
            option.name,
            f"“{option.label}” begins or ends with a space, or holds a line break.",
            remedy="Copy it again, without what stands around it.",
        )
    if len(plain) > _LONGEST or (machine_made and not plain.isascii()):
        raise InvalidInput(
            option.name, f"“{option.label}” does not look like a key.", remedy="Copy it again."
        )


def _check_typed_secret(option: Option, plain: str) -> None:
    lines = "\r\n\t" if option.form is SecretForm.TEXT else ""
    if any((ord(c) < 32 and c not in lines) or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in plain):
        raise InvalidInput(
            option.name, f"“{option.label}” holds control characters or line breaks.", remedy="Type it again."
        )


def guarding(preset: str) -> frozenset[str]:
    """The options, hidden ones included, whose change demands every secret again."""
    return frozenset(option.name for option in _all(find_preset(preset)) if option.guards_secret)


def summary(driver: str, options: Options) -> str:
    """One line that tells backends apart, such as a folder or a bucket and its host. No secret; empty where
    the driver is no longer installed."""
    kind = DRIVERS.get(driver)
    if kind is None:
        return ""
    required = (options.get(option.name) for option in kind.options if option.required)
    return _described(kind, kind.summary, options, " ".join(value for value in required if value))


def location(driver: str, options: Options) -> Location:
    """Where the objects of a saved backend are. Makes no network call."""
    not_a_place = {"prefix", *(option.name for option in WRAPPER_OPTIONS)}
    values = sorted((name, value) for name, value in options.items() if name not in not_a_place)
    unknown = Location(json.dumps(values), options.get("prefix", ""))
    kind = DRIVERS.get(driver)
    return _described(kind, kind.location, options, unknown) if kind is not None else unknown


def noun_of(driver: str) -> str:
    """What holds the objects of this driver, in the words of the provider: bucket, container, folder."""
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
    return described(kind.name, partial(describe, options), default)
