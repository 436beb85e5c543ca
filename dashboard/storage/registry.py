"""Which drivers exist, what each can be told, and how one is built.

Drivers are named by dotted path and imported when the first one is built, so that importing
``dashboard.storage`` loads no vendor SDK.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from types import MappingProxyType

from dashboard.errors import InvalidInput
from dashboard.storage.checks.wrappers import WRAPPER_OPTIONS, WRAPPERS, check_wrappers
from dashboard.storage.driver import Driver
from dashboard.storage.driver_types import DriverType
from dashboard.storage.drivers.azure.options import AZURE_OPTIONS, check_azure, check_credential
from dashboard.storage.drivers.ftp.options import FTP_OPTIONS, check_ftp
from dashboard.storage.drivers.gcs.options import GCS_OPTIONS, check_gcs, check_key
from dashboard.storage.drivers.local.options import LOCAL_OPTIONS, check_local
from dashboard.storage.drivers.local.policy import FolderPolicy, UsesFolders
from dashboard.storage.drivers.s3.options import S3_OPTIONS, check_s3, check_s3_secrets
from dashboard.storage.drivers.sftp.options import SFTP_OPTIONS, check_sftp
from dashboard.storage.drivers.vercel_blob.options import VERCEL_OPTIONS, check_token, check_vercel
from dashboard.storage.drivers.webdav.options import WEBDAV_OPTIONS, check_webdav
from dashboard.storage.options import Option, OptionType, Preset, SecretForm
from dashboard.storage.own_drivers import REMEDY, Extended, built
from dashboard.storage.presets import PRESETS, find_preset
from dashboard.storage.types import Secret

_LONGEST = 16 * 1024


def _wrapped(kind: DriverType) -> DriverType:
    """What every driver can be told beside its own options."""
    return replace(kind, options=(*kind.options, *WRAPPER_OPTIONS))


DRIVERS: Extended[DriverType] = Extended(
    {
        kind.name: _wrapped(kind)
        for kind in (
            DriverType(
                "local",
                "dashboard.storage.drivers.local.driver:LocalDriver.from_options",
                LOCAL_OPTIONS,
                check_local,
            ),
            # No preset leads to it: neither the runner nor a restarted console would see its objects.
            DriverType(
                "memory",
                "dashboard.storage.drivers.memory:MemoryDriver.from_options",
                (),
            ),
            DriverType(
                "s3",
                "dashboard.storage.drivers.s3.driver:S3Driver.from_options",
                S3_OPTIONS,
                check_s3,
                check_s3_secrets,
            ),
            DriverType(
                "azure",
                "dashboard.storage.drivers.azure.driver:AzureDriver.from_options",
                AZURE_OPTIONS,
                check_azure,
                check_credential,
            ),
            DriverType(
                "gcs",
                "dashboard.storage.drivers.gcs.driver:GcsDriver.from_options",
                GCS_OPTIONS,
                check_gcs,
                check_key,
            ),
            DriverType(
                "vercel_blob",
                "dashboard.storage.drivers.vercel_blob.driver:VercelBlobDriver.from_options",
                VERCEL_OPTIONS,
                check_vercel,
                check_token,
            ),
            DriverType(
                "webdav",
                "dashboard.storage.drivers.webdav.driver:WebDAVDriver.from_options",
                WEBDAV_OPTIONS,
                check_webdav,
            ),
            DriverType(
                "sftp",
                "dashboard.storage.drivers.sftp.driver:SftpDriver.from_options",
                SFTP_OPTIONS,
                check_sftp,
            ),
            DriverType(
                "ftp", "dashboard.storage.drivers.ftp.driver:FtpDriver.from_options", FTP_OPTIONS, check_ftp
            ),
        )
    },
    lambda own: _wrapped(own.type),
)
"""Every driver by name, those of other packages last."""


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
    if driver in DRIVERS.built_in:
        made = _factory(kind.factory)(options, secrets)
    else:
        made = built(driver, lambda: _factory(kind.factory)(options, secrets))
    if folders is not None and isinstance(made, UsesFolders):
        made.keep_to(folders)
    everything = {**options, **told}
    for wrapper in WRAPPERS:
        if wrapper.wanted(everything, secrets):
            made = _factory(wrapper.factory)(made, everything, secrets)
    return made


@cache
def _factory(path: str) -> Callable[..., Driver]:
    module, _, names = path.partition(":")
    target: object = import_module(module)
    for name in names.split("."):
        target = getattr(target, name)
    return target  # type: ignore[return-value]  # a dotted path has no static type


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


def summary(driver: str, options: Mapping[str, str]) -> str:
    """One line that tells backends apart, such as a folder or a bucket and its host. No secret."""
    if driver == "local":
        return options.get("root", "")
    if driver in ("ftp", "sftp"):
        return f"{options.get('root') or 'home folder'} of {options.get('user', '')} on {options['host']}"
    address = options.get("endpoint", "").partition("://")[2]
    if driver == "webdav":
        return f"{address}/{options.get('prefix', '')}".rstrip("/")
    host = address.partition("/")[0]
    if driver == "azure":
        host = options.get("account", "")
    bucket = options.get("bucket") or options.get("container") or options.get("store", "")
    if driver not in DRIVERS.built_in:
        return _telling(driver, options)
    place = "/".join(part for part in (bucket, options.get("prefix", "").rstrip("/")) if part)
    return f"{place} on {host}" if host else place


def _telling(driver: str, options: Mapping[str, str]) -> str:
    """Of a driver Stowage does not know: what a person had to fill in."""
    kind = DRIVERS.get(driver)
    names = [option.name for option in kind.options if option.required] if kind is not None else []
    return " ".join(options[name] for name in names if options.get(name))
