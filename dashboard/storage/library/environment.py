"""A backend from the environment variables that other programs already use.

Which server a secret belongs to is never guessed: key, secret and endpoint come from variables of one family,
so that no key is sent to the wrong server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.library.configuring import BackendConfig, describe
from dashboard.storage.library.environment_variables import (
    KINDS,
    SAME_FAMILY,
    SECRETS,
    SELECTORS,
    VARIABLES,
    BackendKind,
    Variable,
)
from dashboard.storage.library.option_names import read_text_file
from dashboard.storage.registry import PRESETS


@dataclass(frozen=True, slots=True)
class EnvironmentBackend:
    """The backend that the environment describes. ``used``: option to variable; ``ignored``: known variables
    that are set and were not needed."""

    described: BackendConfig
    used: Mapping[str, str]
    ignored: tuple[str, ...]


def parse_environment(environ: Mapping[str, str]) -> EnvironmentBackend:
    """Return the backend that the variables describe. Raises ``InvalidInput`` naming a variable that is
    missing, invalid or contradicts another. Values are not checked further here. If a variable names a key
    file, that file is read."""
    given = {variable: environ[variable.name].strip() for variable in VARIABLES if environ.get(variable.name)}
    kind = _select_kind(environ, given)
    chosen = _chosen(kind, given)
    values = {option: given[variable] for option, variable in chosen.items()}
    with naming_variables({option: variable.name for option, variable in chosen.items()}):
        preset, options = _as_preset(kind, values)
    used = {
        option.removesuffix("_file"): variable.name
        for option, variable in chosen.items()
        if _has_effect(option, values, options)
    }
    ignored = tuple(variable.name for variable in given if variable.name not in used.values())
    return EnvironmentBackend(describe(preset, options), MappingProxyType(used), ignored)


def _has_effect(option: str, values: Mapping[str, str], options: Mapping[str, str]) -> bool:
    """Whether a variable that is set had any effect."""
    match option:
        case "secure":
            return "://" not in values.get("endpoint", "://")
        case "path_style" | "profile":
            return option in options
        case "address":
            return "public_url" in options or ("cdn_domain" in options and "cdn_domain" not in values)
    return True


@contextmanager
def naming_variables(used: Mapping[str, str]) -> Iterator[None]:
    """Errors about an option name the variable that it came from."""
    try:
        yield
    except InvalidInput as error:
        variable = used.get(error.subject)
        if variable is None:
            raise
        raise InvalidInput(variable, f"{variable}: {error.reason}", remedy=error.remedy) from error


def _select_kind(environ: Mapping[str, str], given: Mapping[Variable, str]) -> BackendKind:
    """Return the kind that was named, or the only one that is described."""
    for selector in SELECTORS:
        if named := environ.get(selector, "").strip().lower():
            for kind in KINDS:
                if named == kind.name or named in kind.words:
                    return kind
            if named in PRESETS:
                return BackendKind(named, named)
            known = ", ".join(dict.fromkeys((*(kind.name for kind in KINDS), *PRESETS)))
            raise InvalidInput(
                selector,
                f"{selector} is “{named}”, which is no kind of storage.",
                remedy=f"Known: {known}.",
            )
    described = [kind for kind in KINDS if _is_described(kind, given)]
    with_key = [kind for kind in described if kind.signs_in]
    if len(with_key) > 1:
        families = " and ".join(f"{kind.family}_*" for kind in with_key)
        raise InvalidInput(
            SELECTORS[0],
            f"The variables {families} describe different backends.",
            remedy=f"Set {SELECTORS[0]} to {', '.join(kind.name for kind in KINDS)}.",
        )
    for kind in (*with_key, *described):
        return kind
    for kind in KINDS:
        if _of_machine(kind, given):
            return kind
    raise InvalidInput(
        SELECTORS[0],
        "The environment describes no backend.",
        remedy="Set MEDIA_ROOT, or the AWS_*, S3_*, S3_COMPATIBLE_*, MINIO_*, AZURE_*, GCS_* or SFTP_* "
        "variables.",
    )


def _is_described(kind: BackendKind, given: Mapping[Variable, str]) -> bool:
    """Whether the variables of its own family alone describe such a backend."""
    chosen = _of_family(kind.family, given)
    if not kind.signs_in:
        return all(option in chosen for option in kind.required)
    # Many machines have a key of Google's for something else.
    return _secret(chosen) is not None and (kind.family != "GCS" or "bucket" in chosen)


def _secret(chosen: Mapping[str, Variable]) -> Variable | None:
    return next((chosen[option] for option in SECRETS if option in chosen), None)


def _chosen(kind: BackendKind, given: Mapping[Variable, str]) -> dict[str, Variable]:
    """Return the variable of each option. Raises ``InvalidInput`` naming one that is missing or contradicts
    another."""
    order = kind.families
    if not kind.signs_in:
        chosen = _of_family(kind.family, given)
        _check_required(kind, chosen, kind.family, given)
        return chosen
    if of_machine := _of_machine(kind, given):
        return of_machine
    with_secret = [name for name in order if _secret(_of_family(name, given)) is not None]
    if not with_secret:
        names = [v.name for v in VARIABLES if v.family == order[0] and v.option in SECRETS]
        usual = f"{order[0]}_SECRET_ACCESS_KEY"
        raise InvalidInput(
            usual if usual in names else names[0],
            f"No key is set for “{kind.name}”.",
            remedy=f"Set the {' or '.join(f'{name}_*' for name in order)} variables.",
        )
    own = _of_family(with_secret[0], given)
    secret = _secret(own)
    chosen = {o: v for o, v in own.items() if o in SAME_FAMILY and (o not in SECRETS or v is secret)}
    for family in (with_secret[0], *order, "MEDIA"):
        for option, variable in _of_family(family, given).items():
            if option not in SAME_FAMILY and not (family == "MEDIA" and option == "root"):
                chosen.setdefault(option, variable)
    if kind.any_server and "endpoint" not in chosen:
        _check_foreign_server(given, order, with_secret)
    _check_required(kind, chosen, with_secret[0], given)
    return chosen


def _of_machine(kind: BackendKind, given: Mapping[Variable, str]) -> dict[str, Variable]:
    """Return the variables of a bucket without a complete key, for which the cloud's own programs would use
    this machine's credentials. Empty otherwise."""
    own = _of_family(kind.keyless, given)
    of_a_key = ("endpoint", "access_key_id", *SECRETS)
    if "bucket" not in own or any(v.family in kind.families and v.option in of_a_key for v in given):
        return {}
    return {option: variable for option, variable in own.items() if option not in SAME_FAMILY}


def _check_foreign_server(
    given: Mapping[Variable, str], order: tuple[str, ...], with_secret: list[str]
) -> None:
    """Refuse a server without a key of its own, which may have been meant for the key of another family. A
    server that has its own key is another backend."""
    for variable in given:
        if variable.option == "endpoint" and variable.family in order and variable.family not in with_secret:
            raise InvalidInput(
                variable.name,
                f"{variable.name} names a server, but the key is in {with_secret[0]}_* variables.",
                remedy="Key, secret and endpoint must be variables of one family, so that no key is sent to "
                "another's server.",
            )


def _check_required(
    kind: BackendKind, chosen: Mapping[str, Variable], family: str, given: Mapping[Variable, str]
) -> None:
    for option in kind.required:
        if option in chosen or (option == "account" and _account(given[chosen["credential"]])):
            continue
        names = [v.name for v in VARIABLES if v.family == family and v.option == option]
        raise InvalidInput(names[0], f"{names[0]} is not set.", remedy=f"Understood: {', '.join(names)}.")


def _account(connection_string: str) -> str:
    """Return the account in an Azure connection string."""
    parts = (part.partition("=") for part in connection_string.split(";"))
    return next((value for name, _, value in parts if name.strip() == "AccountName"), "")


def _of_family(family: str, given: Mapping[Variable, str]) -> dict[str, Variable]:
    chosen: dict[str, Variable] = {}
    for variable in given:
        if variable.family == family:
            chosen.setdefault(variable.option, variable)
    return chosen


def _as_preset(kind: BackendKind, found: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the preset and its options, with other programs' notations converted to ours."""
    options = {name: value for name, value in found.items() if name not in ("secure", "address")}
    for name in [name for name in options if name.endswith("_file")]:
        options[name.removesuffix("_file")] = read_text_file(name, options.pop(name))
    if kind.keyless and "access_key_id" not in options:
        options["sign_in"] = "machine"
    else:
        options.pop("profile", None)
    if "account" in kind.required:
        options.setdefault("account", _account(options["credential"]))
    preset = kind.elsewhere if kind.elsewhere and "endpoint" in options else kind.preset
    if "://" not in options.get("endpoint", "://"):
        plain = found.get("secure", "true").lower() in ("false", "0", "no", "off")
        options["endpoint"] = f"{'http' if plain else 'https'}://{options['endpoint']}"
    _spell_path_style(preset, options)
    address = found.get("address", "")
    if kind.address == "cdn_domain":
        address = _domain(address)
    if kind.address and address:
        options.setdefault(kind.address, address)
    return preset, options


def _spell_path_style(preset: str, options: dict[str, str]) -> None:
    style = options.get("path_style", "").lower()
    if style in ("path", "virtual", "auto"):
        del options["path_style"]
        if style != "auto":
            options["path_style"] = "true" if style == "path" else "false"
    if "path_style" in PRESETS[preset].defaults:
        # What the provider needs is known; a variable that says otherwise was meant for another client.
        options.pop("path_style", None)


def _domain(address: str) -> str:
    """Return the host of a media URL that is a bare https:// one; any other is not a CDN domain."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme == "https" and parts.path in ("", "/") and not parts.query else ""
