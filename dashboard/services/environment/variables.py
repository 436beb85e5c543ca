"""The variables that may be edited: what each is for, where it may be changed, and when a change counts.

One table for the page, the API and the command line. A variable that is not here is kept in the settings file
as it is, and never shown.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from dashboard.errors import InvalidInput
from dashboard.settings import FALSE, LANGUAGES, LOG_LEVELS, TRUE, Settings, SettingsError
from dashboard.storage.library.environment_variables import KINDS, SECRETS, SELECTORS, VARIABLES
from dashboard.storage.registry import PRESETS

MIN_SHOWN_ENDING = 12
"""Characters of a secret from which on its last four are shown."""
_PASSWORD_IN_URL = re.compile(r"://.*@", re.DOTALL)
_MULTILINE = frozenset({"credential", "private_key"})


class Effect(StrEnum):
    """When a change counts."""

    NOW = "now"
    RESTART = "restart"
    IMPORT = "import"


class Where(StrEnum):
    """Where a variable can be changed: on the page and by the API too, by the command line only, or only in
    the environment of the process."""

    PAGE = "page"
    COMMAND = "command"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class KnownVariable:
    """A variable of the allowlist. ``about``: a sentence; ``default``: what counts without it, as text."""

    name: str
    category: str
    about: str
    effect: Effect
    where: Where = Where.PAGE
    secret: bool = False
    chosen_by_people: bool = False
    multiline: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""

    def mask(self, value: str) -> str:
        """The value as it may be shown. Of a secret at most its last four characters, and none of a short one
        or of one that a person chose."""
        if self.secret:
            hidden = self.chosen_by_people or len(value) < MIN_SHOWN_ENDING
            return "set" if hidden else f"set, ends in {value[-4:]}"
        return "set, holds a password" if _PASSWORD_IN_URL.search(value) else value

    def shows(self, value: str) -> bool:
        """Whether the value itself may be shown."""
        return self.mask(value) == value

    def check(self, value: str) -> None:
        """Raise ``InvalidInput`` naming the variable for a value that cannot be used."""
        if not self.multiline and ("\n" in value or "\r" in value):
            raise InvalidInput(self.name, f"{self.name} has one line.")
        if self.effect is Effect.IMPORT:
            _check_import(self, value)
            return
        if value.strip() and self.choices and value.strip().lower() not in self.choices:
            raise InvalidInput(self.name, f"{self.name} is one of {', '.join(self.choices)}.")
        try:
            Settings.parse({self.name: value}, Path("/"))
        except SettingsError as error:
            raise InvalidInput(self.name, str(error)) from error


_DEFAULTS = {
    field.name: str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    for field in dataclasses.fields(Settings)
    if isinstance(field.default, str | int)
}


def _own(
    field: str,
    category: str,
    about: str,
    effect: Effect,
    *,
    where: Where = Where.PAGE,
    choices: tuple[str, ...] = (),
) -> KnownVariable:
    name, default = f"STOWAGE_{field.upper()}", _DEFAULTS.get(field, "")
    return KnownVariable(name, category, about, effect, where, choices=choices, default=default)


_NOW, _RESTART, _COMMAND = Effect.NOW, Effect.RESTART, Where.COMMAND
_BOOLEAN = ("true", "false")

OWN: tuple[KnownVariable, ...] = (
    _own("log_level", "General", "How detailed the log is.", _NOW, choices=LOG_LEVELS),
    _own(
        "demo",
        "General",
        "Demo users whom anyone signs in as, without a password.",
        _RESTART,
        where=_COMMAND,
        choices=_BOOLEAN,
    ),
    _own(
        "language",
        "General",
        "The language of pages where neither the person nor the browser asks for one.",
        _NOW,
        choices=LANGUAGES,
    ),
    _own(
        "time_zone",
        "General",
        "The time zone of pages, such as Europe/Berlin. Empty for the machine's.",
        _NOW,
    ),
    dataclasses.replace(
        _own(
            "database_url",
            "General",
            "The PostgreSQL database that holds everything. Empty for files in the instance folder.",
            _RESTART,
            where=_COMMAND,
        ),
        secret=True,
        chosen_by_people=True,
    ),
    _own(
        "database_password_file",
        "General",
        "A file with the password for that database.",
        _RESTART,
        where=_COMMAND,
    ),
    dataclasses.replace(
        _own(
            "broker_url",
            "General",
            "The Redis server that tells workers on any machine of jobs. Empty for the console's own runner.",
            _RESTART,
            where=_COMMAND,
        ),
        secret=True,
        chosen_by_people=True,
    ),
    _own("max_workers", "General", "How many objects a migration copies at once at most, 1 to 256.", _NOW),
    _own(
        "carriers",
        "General",
        "How many processes copy one migration, 1 to 64; 0 for up to one for each processor core.",
        _NOW,
    ),
    _own(
        "bandwidth_limit",
        "General",
        "Bytes per second of each migration without a limit of its own, such as 10M, off, or a timetable.",
        _NOW,
    ),
    _own(
        "objects_per_second",
        "General",
        "Objects per second of each migration without a limit of its own. Empty for any number.",
        _NOW,
    ),
    _own("host", "Network", "The address to listen on; 0.0.0.0 is every interface.", _RESTART),
    _own("port", "Network", "The port to listen on.", _RESTART),
    _own(
        "public_url", "Network", "How people reach this console, such as https://stowage.example.com.", _NOW
    ),
    _own("hosts", "Network", "The host names it answers to, separated by commas. Empty for any.", _NOW),
    _own("secure_cookies", "Network", "Send cookies over HTTPS only.", _RESTART, choices=_BOOLEAN),
    _own("trusted_proxies", "Network", "How many reverse proxies in front are trusted, 0 to 10.", _RESTART),
    _own("api_requests_per_minute", "Network", "Requests one API token may send in a minute.", _NOW),
    _own("max_upload_size", "Uploads", "The largest upload, in bytes.", _NOW),
    _own("upload_quota", "Uploads", "Bytes one person may have uploaded; 0 is no limit.", _NOW),
    _own("clamav", "Uploads", "Where clamd is reached: a socket's path, or host and port.", _NOW),
    _own(
        "local_roots", "Machine", "Folders of this machine that backends may use.", _RESTART, where=_COMMAND
    ),
    _own(
        "machine_credentials",
        "Machine",
        "Servers that backends may sign in to with the cloud credentials of this machine.",
        _RESTART,
        where=_COMMAND,
    ),
    _own("accel_redirects", "Machine", "Folders whose files nginx sends itself.", _RESTART, where=_COMMAND),
    _own(
        "sendfile_roots",
        "Machine",
        "Folders whose files the server in front sends.",
        _RESTART,
        where=_COMMAND,
    ),
    _own("key_file", "Machine", "The path of the key file.", _RESTART, where=_COMMAND),
    _own("instance", "Machine", "The folder with the databases.", _RESTART, where=Where.PROCESS),
    _own("env_file", "Machine", "The path of the settings file.", _RESTART, where=Where.PROCESS),
)
"""The console's own. Those of the machine limit what admins of the console may do, or say where its secrets
are, so that admins cannot change them in a browser."""

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "AWS": "Amazon S3",
        "S3": "S3",
        "S3_COMPATIBLE": "S3-compatible",
        "MINIO": "MinIO",
        "AZURE": "Azure Blob Storage",
        "GCS": "Google Cloud Storage",
        "SFTP": "SFTP",
        "MEDIA": "Media folder",
    }
)
IMPORTING = "Import: which kind"
OPTION_WORDS: Mapping[str, str] = MappingProxyType(
    {"access_key_id": "access key ID", "cdn_domain": "public domain", "path_style": "addressing style"}
)


def _words(option: str) -> str:
    return OPTION_WORDS.get(option, option.replace("_", " "))


def _imports() -> tuple[KnownVariable, ...]:
    words = sorted({*PRESETS, *(word for kind in KINDS for word in (kind.name, *kind.words))})
    selectors = tuple(
        KnownVariable(name, IMPORTING, "The kind of backend to import, such as s3 or local.", Effect.IMPORT)
        for name in SELECTORS
        if words
    )
    return selectors + tuple(
        KnownVariable(
            each.name,
            f"Import: {FAMILIES[each.family]}",
            f"Sets the {_words(each.option)} of an imported backend.",
            Effect.IMPORT,
            secret=each.option in {*SECRETS, "session_token", "passphrase"}
            and not each.option.endswith("_file"),
            chosen_by_people="PASS" in each.name or each.option == "private_key" or "JSON" in each.name,
            multiline=each.option in _MULTILINE,
        )
        for each in VARIABLES
    )


KNOWN: Mapping[str, KnownVariable] = MappingProxyType({each.name: each for each in (*OWN, *_imports())})
"""The allowlist, in the order of the page."""
LIVE = tuple(each.name for each in OWN if each.effect is Effect.NOW)
AT_START = tuple(
    each.name for each in OWN if each.effect is Effect.RESTART and each.where is not Where.PROCESS
)


def known(name: str) -> KnownVariable:
    """The variable of a name. Raises ``InvalidInput``."""
    found = KNOWN.get(name)
    if found is None:
        raise InvalidInput(
            name,
            f"“{name}” is not a variable of Stowage.",
            remedy="See: stowage env list --all. Other variables are edited in the file by hand.",
        )
    return found


def _check_import(variable: KnownVariable, value: str) -> None:
    name, option = variable.name, next((v.option for v in VARIABLES if v.name == variable.name), "preset")
    text = value.strip().lower()
    if option == "preset":
        words = {*PRESETS, *(word for kind in KINDS for word in (kind.name, *kind.words))}
        if text not in words:
            raise InvalidInput(
                name, f"{name} names no kind of backend.", remedy="For example: s3, local, azure."
            )
    elif option == "port" and not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65_536):
        raise InvalidInput(name, f"{name} is a port from 1 to 65535.")
    elif option == "secure" and text not in TRUE | FALSE:
        raise InvalidInput(name, f"{name} must be true or false.")
    elif option == "endpoint" and re.search(r"\s", value.strip()):
        raise InvalidInput(name, f"{name} is an address and holds no blanks.")
