"""A backend out of the environment variables that other programs already use.

One table says which names are understood; docs/library.md shows it. What a secret belongs to is never
guessed: key, secret and endpoint come from variables of one family, so no key is sent to another's server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.configuring import Described, describe
from dashboard.storage.presets import PRESETS

SELECTORS = ("STORAGE_BACKEND", "STORAGE_TYPE", "MEDIA_STORAGE_BACKEND")
"""Which kind of backend; the first that is set decides."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "local": "local",
        "file": "local",
        "filesystem": "local",
        "disk": "local",
        "django.core.files.storage.filesystemstorage": "local",
        "aws": "aws",
        "aws_s3": "aws",
        "amazon": "aws",
        "s3": "s3",
        "s3_compatible": "s3",
        "s3-compatible": "s3",
        "storages.backends.s3.s3storage": "s3",
        "storages.backends.s3boto3.s3boto3storage": "s3",
        "minio": "minio",
    }
)
"""What may stand in a selector beside the names of presets; capitals do not matter."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One understood name: its family, and the option it fills."""

    name: str
    family: str
    option: str


def _family(family: str, **options: str) -> tuple[Variable, ...]:
    return tuple(
        Variable(name, family, option) for option, names in options.items() for name in names.split()
    )


VARIABLES: tuple[Variable, ...] = (
    *_family(
        "MINIO",
        endpoint="MINIO_ENDPOINT MINIO_ENDPOINT_URL MINIO_URL",
        access_key_id="MINIO_ACCESS_KEY MINIO_ACCESS_KEY_ID MINIO_ROOT_USER",
        secret_access_key="MINIO_SECRET_KEY MINIO_SECRET_ACCESS_KEY MINIO_ROOT_PASSWORD",
        bucket="MINIO_BUCKET MINIO_BUCKET_NAME",
        region="MINIO_REGION",
        secure="MINIO_SECURE MINIO_USE_SSL MINIO_USE_HTTPS",
    ),
    *_family(
        "S3_COMPATIBLE",
        endpoint="S3_COMPATIBLE_ENDPOINT S3_COMPATIBLE_ENDPOINT_URL",
        access_key_id="S3_COMPATIBLE_ACCESS_KEY S3_COMPATIBLE_ACCESS_KEY_ID",
        secret_access_key="S3_COMPATIBLE_SECRET_KEY S3_COMPATIBLE_SECRET_ACCESS_KEY",
        bucket="S3_COMPATIBLE_BUCKET S3_COMPATIBLE_BUCKET_NAME",
        region="S3_COMPATIBLE_REGION",
        prefix="S3_COMPATIBLE_PREFIX",
        path_style="S3_COMPATIBLE_PATH_STYLE",
    ),
    *_family(
        "S3",
        endpoint="S3_ENDPOINT S3_ENDPOINT_URL",
        access_key_id="S3_ACCESS_KEY S3_ACCESS_KEY_ID",
        secret_access_key="S3_SECRET_KEY S3_SECRET_ACCESS_KEY",
        session_token="S3_SESSION_TOKEN",
        bucket="S3_BUCKET S3_BUCKET_NAME",
        region="S3_REGION S3_REGION_NAME",
        prefix="S3_PREFIX",
        path_style="S3_PATH_STYLE S3_FORCE_PATH_STYLE",
        cdn_domain="S3_CUSTOM_DOMAIN",
    ),
    *_family(
        "AWS",
        endpoint="AWS_S3_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL AWS_ENDPOINT",
        access_key_id="AWS_S3_ACCESS_KEY_ID AWS_ACCESS_KEY_ID",
        secret_access_key="AWS_S3_SECRET_ACCESS_KEY AWS_SECRET_ACCESS_KEY",
        session_token="AWS_SESSION_TOKEN",
        bucket="AWS_STORAGE_BUCKET_NAME AWS_S3_BUCKET AWS_S3_BUCKET_NAME AWS_BUCKET AWS_BUCKET_NAME",
        region="AWS_S3_REGION_NAME AWS_REGION AWS_DEFAULT_REGION",
        prefix="AWS_LOCATION",
        path_style="AWS_USE_PATH_STYLE_ENDPOINT AWS_S3_ADDRESSING_STYLE",
        cdn_domain="AWS_S3_CUSTOM_DOMAIN",
    ),
    *_family("MEDIA", root="MEDIA_ROOT", address="MEDIA_URL"),
)
"""Every understood variable. Within a family and option the first that is set counts."""

_FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "local": ("MEDIA",),
        "minio": ("MINIO", "S3_COMPATIBLE", "S3", "AWS"),
        "s3": ("S3_COMPATIBLE", "S3", "AWS", "MINIO"),
        "aws": ("AWS", "S3"),
    }
)
_BOUND = ("endpoint", "access_key_id", "secret_access_key", "session_token", "path_style", "secure")
"""What must come from one family; the rest may come from others."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the environment describes. ``used``: option to variable; ``ignored``: understood variables that
    are set and were not needed."""

    described: Described
    used: Mapping[str, str]
    ignored: tuple[str, ...]


def described_by(environ: Mapping[str, str]) -> Found:
    """The backend the variables describe. Raises ``InvalidInput`` naming the variable that is missing,
    contradicts another or makes no sense. Values are not checked further here."""
    given = {variable: environ[variable.name].strip() for variable in VARIABLES if environ.get(variable.name)}
    preset = _selected(environ, given)
    chosen = _local(given) if preset == "local" else _object_store(preset, given)
    options = {option: given[variable] for option, variable in chosen.items()}
    if preset == "local":
        preset, options = "local", {"root": options["root"], **_public_url(options)}
    else:
        preset, options = _as_preset(preset, options)
    used = {option: variable.name for option, variable in chosen.items()}
    ignored = tuple(variable.name for variable in given if variable.name not in used.values())
    return Found(describe(preset, options), MappingProxyType(used), ignored)


@contextmanager
def naming_variables(used: Mapping[str, str]) -> Iterator[None]:
    """An option that cannot be used is called by the variable it came from."""
    try:
        yield
    except InvalidInput as error:
        variable = used.get(error.subject)
        if variable is None:
            raise
        raise InvalidInput(variable, f"{variable}: {error.reason}", remedy=error.remedy) from error


def _selected(environ: Mapping[str, str], given: Mapping[Variable, str]) -> str:
    """The kind that was named, or the only one that is described."""
    for selector in SELECTORS:
        if named := environ.get(selector, "").strip().lower():
            kind = KINDS.get(named, named)
            if kind not in PRESETS:
                known = ", ".join(dict.fromkeys((*KINDS.values(), *PRESETS)))
                raise InvalidInput(
                    selector,
                    f"{selector} is “{named}”, which is no kind of storage.",
                    remedy=f"Known: {known}.",
                )
            return kind
    families = list(dict.fromkeys(v.family for v in given if v.option == "secret_access_key"))
    if len(families) > 1:
        described = " and ".join(f"{family}_*" for family in families)
        raise InvalidInput(
            SELECTORS[0],
            f"The variables {described} describe different backends.",
            remedy=f"Set {SELECTORS[0]} to local, aws, s3 or minio.",
        )
    if families:
        return {"MINIO": "minio", "AWS": "aws"}.get(families[0], "s3")
    if any(variable.option == "root" for variable in given):
        return "local"
    raise InvalidInput(
        SELECTORS[0],
        "The environment describes no backend.",
        remedy="Set MEDIA_ROOT, or the AWS_*, S3_*, S3_COMPATIBLE_* or MINIO_* variables.",
    )


def _local(given: Mapping[Variable, str]) -> dict[str, Variable]:
    chosen = _of_family("MEDIA", given)
    if "root" not in chosen:
        raise InvalidInput(
            "MEDIA_ROOT", "MEDIA_ROOT is not set.", remedy="It names the folder with the files."
        )
    return chosen


def _object_store(kind: str, given: Mapping[Variable, str]) -> dict[str, Variable]:
    order = _FAMILIES.get(kind, ("S3_COMPATIBLE", "S3", "AWS"))
    with_secret = [name for name in order if "secret_access_key" in _of_family(name, given)]
    if not with_secret:
        raise InvalidInput(
            f"{order[0]}_SECRET_ACCESS_KEY",
            f"No secret key is set for “{kind}”.",
            remedy=f"Set the {' or '.join(f'{name}_*' for name in order)} variables.",
        )
    chosen = {o: v for o, v in _of_family(with_secret[0], given).items() if o in _BOUND}
    for family in (with_secret[0], *order, "MEDIA"):
        for option, variable in _of_family(family, given).items():
            if option not in (*_BOUND, "root"):
                chosen.setdefault(option, variable)
    strangers = [v for v in given if v.option == "endpoint" and v.family in order]
    if kind == "s3" and strangers and "endpoint" not in chosen:
        raise InvalidInput(
            strangers[0].name,
            f"{strangers[0].name} names a server, but the key is in {with_secret[0]}_* variables.",
            remedy="Key, secret and endpoint must be variables of one family, so that no key is sent to "
            "another's server.",
        )
    for option in ("access_key_id", "bucket", *(("endpoint",) if kind == "minio" else ())):
        if option not in chosen:
            names = [v.name for v in VARIABLES if v.family == with_secret[0] and v.option == option]
            raise InvalidInput(names[0], f"{names[0]} is not set.", remedy=f"Understood: {', '.join(names)}.")
    return chosen


def _of_family(family: str, given: Mapping[Variable, str]) -> dict[str, Variable]:
    chosen: dict[str, Variable] = {}
    for variable in given:
        if variable.family == family:
            chosen.setdefault(variable.option, variable)
    return chosen


def _as_preset(kind: str, found: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """In the words of the preset: what other programs write in their own way is written in ours."""
    options = {name: value for name, value in found.items() if name not in ("secure", "address")}
    if kind == "aws" and "endpoint" in options:
        kind = "s3"
    elif kind == "s3" and "endpoint" not in options:
        kind = "aws"
    if "endpoint" in options and "://" not in options["endpoint"]:
        plain = found.get("secure", "true").lower() in ("false", "0", "no", "off")
        options["endpoint"] = f"{'http' if plain else 'https'}://{options['endpoint']}"
    style = options.get("path_style", "").lower()
    if style in ("path", "virtual", "auto"):
        del options["path_style"]
        if style != "auto":
            options["path_style"] = "true" if style == "path" else "false"
    if kind in ("aws", "minio") and "path_style" in PRESETS[kind].defaults:
        # What the provider needs is known; a variable that says otherwise was meant for another client.
        options.pop("path_style", None)
    if "cdn_domain" not in options and (domain := _domain(found.get("address", ""))):
        options["cdn_domain"] = domain
    return kind, options


def _domain(address: str) -> str:
    """The host of a media address that is a bare https:// one; any other is no CDN domain."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme == "https" and parts.path in ("", "/") and not parts.query else ""


def _public_url(options: Mapping[str, str]) -> dict[str, str]:
    address = options.get("address", "")
    return {"public_url": address} if address else {}


def table() -> Iterator[tuple[str, str, str]]:
    """Rows for people: family, option, names in the order they count."""
    for family in dict.fromkeys(variable.family for variable in VARIABLES):
        options = dict.fromkeys(v.option for v in VARIABLES if v.family == family)
        for option in options:
            names = [v.name for v in VARIABLES if (v.family, v.option) == (family, option)]
            yield family, option, ", ".join(f"`{name}`" for name in names)
