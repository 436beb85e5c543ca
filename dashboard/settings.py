"""Settings: one frozen value, read from the environment and the settings file.

What the process's environment has set counts; the settings file (``.env`` in the instance folder, or
``STOWAGE_ENV_FILE``) gives the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypedDict, Unpack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.envfile.store import EnvFile
from dashboard.errors import InvalidInput, StowageError
from dashboard.rates.bandwidth import Bandwidth, parse_objects

LOG_LEVELS = ("debug", "info", "warning", "error")
LANGUAGES = ("en", "de")
TRUE = frozenset({"1", "true", "yes", "on"})
_HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]*:[0-9a-f:.]*")
_LOCATION = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_SERVER = re.compile(r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:\d{1,5})?")
_DATABASE_URL = re.compile(r"(postgresql(\+psycopg)?|postgres)://[^\s\0]*/[^\s\0]+")
_BROKER_URL = re.compile(r"rediss?://[^\s\0]+")
_CLAMAV = re.compile(r"/[^\0\n]+|([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
MAX_UPLOAD_SIZE = 5 * 1024**3
MAX_BYTES = 2**62
FALSE = frozenset({"0", "false", "no", "off", ""})
PROCESS_ONLY = frozenset({"STOWAGE_INSTANCE", "STOWAGE_ENV_FILE"})
"""Where the settings file is found: in the file itself they have no effect."""


class SettingsError(ValueError):
    """An environment variable or command-line setting cannot be used; the text is a sentence."""


class Overrides(TypedDict, total=False):
    """Settings given on the command line; they win over the environment."""

    instance: Path
    host: str
    port: int
    secure_cookies: bool
    trusted_proxies: int
    hosts: tuple[str, ...]
    public_url: str | None
    key_file: Path
    database_url: str | None
    database_password_file: Path | None
    broker_url: str | None
    local_roots: tuple[Path, ...]
    machine_credentials: tuple[str, ...]
    max_workers: int
    carriers: int
    api_requests_per_minute: int
    max_upload_size: int
    upload_quota: int
    clamav: str | None
    log_level: str
    language: str
    time_zone: str | None
    demo: bool


@dataclass(frozen=True, slots=True)
class Environment:
    """Where settings come from: the process's variables, and those of the settings file. Holds secrets."""

    file: Path
    process: dict[str, str] = field(repr=False)
    from_file: Mapping[str, str] = field(repr=False)
    version: str

    def merged(self) -> Mapping[str, str]:
        """Every variable with the value that counts."""
        below = {name: value for name, value in self.from_file.items() if name not in PROCESS_ONLY}
        return MappingProxyType({**below, **self.process})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that must be known before the database is open.

    ``instance``: the folder with the databases, the key file and the local backend's files.
    ``secure_cookies``: send cookies over HTTPS only. ``trusted_proxies``: how many reverse proxies in
    front may set ``X-Forwarded-For``. ``hosts``: the names that requests may be for, ``.example.com`` with
    all names below it; empty for any. ``public_url``: how people reach the console, such as
    ``https://stowage.example.com``; None if only each request tells. ``database_url``: the PostgreSQL
    database that holds both of ours, with a password or without; None for files in the instance folder.
    ``database_password_file``: a file with that password alone. ``broker_url``: the Redis server that tells
    workers on any machine which jobs there are; None if the console's own runner does them.
    ``local_roots``: the folders of this machine that backends may be in; empty for any that is not the
    console's, a program's or the system's. ``machine_credentials``: to whom backends may show its cloud
    credentials. ``accel_redirects``: folders whose files nginx sends, each with its internal address there.
    ``sendfile_roots``: folders whose files another server in front sends. ``max_workers``: most threads a
    migration may use. ``bandwidth_limit`` (see ``Bandwidth``), ``objects_per_second`` (0: any number): of
    migrations without their own. ``carriers``: processes that copy one migration together, 0 for up to one
    for each core, where they help. ``api_requests_per_minute``: of one API token. ``max_upload_size``: bytes
    of the largest upload. ``upload_quota``: bytes that one person may have uploaded in total, 0 for any
    number. ``clamav``: the address of the virus scanner. ``language``: of pages for people who chose none and
    whose browser asks for none of ours. ``time_zone``: of pages for people who chose none, by its IANA name;
    None for the machine's. ``demo``: anyone who can open the console can sign in as one of its demo users.
    ``environment``: what they were read from, None if a program has made them."""

    instance: Path
    key_file: Path
    host: str = "127.0.0.1"
    port: int = 8080
    secure_cookies: bool = False
    trusted_proxies: int = 0
    hosts: tuple[str, ...] = ()
    public_url: str | None = None
    database_url: str | None = field(default=None, repr=False)
    database_password_file: Path | None = None
    broker_url: str | None = field(default=None, repr=False)
    local_roots: tuple[Path, ...] = ()
    machine_credentials: tuple[str, ...] = ()
    accel_redirects: tuple[tuple[Path, str], ...] = ()
    sendfile_roots: tuple[Path, ...] = ()
    max_workers: int = 256
    carriers: int = 0
    bandwidth_limit: str = "off"
    objects_per_second: float = 0.0
    api_requests_per_minute: int = 1200
    max_upload_size: int = MAX_UPLOAD_SIZE
    upload_quota: int = 0
    clamav: str | None = None
    log_level: str = "info"
    language: str = "en"
    time_zone: str | None = None
    demo: bool = False
    environment: Environment | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _between("STOWAGE_PORT", self.port, 0, 65535)
        _between("STOWAGE_TRUSTED_PROXIES", self.trusted_proxies, 0, 10)
        _between("STOWAGE_MAX_WORKERS", self.max_workers, 1, 256)
        _between("STOWAGE_CARRIERS", self.carriers, 0, 64)
        _between("STOWAGE_API_REQUESTS_PER_MINUTE", self.api_requests_per_minute, 1, 1_000_000)
        _between("STOWAGE_MAX_UPLOAD_SIZE", self.max_upload_size, 1, MAX_BYTES)
        _between("STOWAGE_UPLOAD_QUOTA", self.upload_quota, 0, MAX_BYTES)
        if self.clamav and not _CLAMAV.fullmatch(self.clamav):
            raise SettingsError(
                f"STOWAGE_CLAMAV is “{self.clamav}”; it takes the path of clamd's socket, or a host and a "
                "port, such as: /run/clamav/clamd.ctl, or 127.0.0.1:3310"
            )
        for host in self.hosts:
            if not _HOST.fullmatch(host) or host in (".", ""):
                raise SettingsError(
                    f"STOWAGE_HOSTS holds “{host}”; it takes host names and addresses, separated by commas, "
                    "without https:// and without a port, such as: stowage.example.com, .example.org"
                )
        if self.public_url and not _PUBLIC_URL.fullmatch(self.public_url):
            raise SettingsError(
                f"STOWAGE_PUBLIC_URL is “{self.public_url}”; it takes the console's address without a path, "
                "such as: https://stowage.example.com"
            )
        # Without what it is: it may hold a password.
        if self.database_url and not _DATABASE_URL.fullmatch(self.database_url):
            raise SettingsError(
                "STOWAGE_DATABASE_URL takes the address of a PostgreSQL database, such as: "
                "postgresql://stowage@db.example.com/stowage"
            )
        self._check_broker()
        for server in self.machine_credentials:
            if not _SERVER.fullmatch(server):
                raise SettingsError(
                    f"STOWAGE_MACHINE_CREDENTIALS holds “{server}”; it takes “aws”, “google” and servers, "
                    "separated by commas, such as: aws, minio.example.com:9000"
                )
        for root in self.local_roots:
            if not root.is_absolute():
                raise SettingsError(
                    f"STOWAGE_LOCAL_ROOTS holds “{root}”; it takes absolute paths, separated by colons, "
                    "such as: /srv/files:/mnt/nas"
                )
        self._check_sent_by_proxy()
        if self.log_level not in LOG_LEVELS:
            raise SettingsError(
                f"STOWAGE_LOG_LEVEL is “{self.log_level}”; it must be one of {', '.join(LOG_LEVELS)}."
            )
        self._check_pages()
        if not self.host:
            raise SettingsError("STOWAGE_HOST is empty; use 127.0.0.1, or 0.0.0.0 for every interface.")

    def _check_broker(self) -> None:
        if not self.broker_url:
            return
        # Without what it is: it may hold a password.
        if not _BROKER_URL.fullmatch(self.broker_url):
            raise SettingsError(
                "STOWAGE_BROKER_URL takes the address of a Redis server, such as: "
                "redis://:password@redis.example.com:6379/0"
            )
        if not self.database_url:
            raise SettingsError(
                "STOWAGE_BROKER_URL needs STOWAGE_DATABASE_URL: workers on other machines cannot use "
                "database files in the instance folder. Move them with stowage db move, or leave out "
                "STOWAGE_BROKER_URL."
            )

    def _check_pages(self) -> None:
        if self.language not in LANGUAGES:
            raise SettingsError(
                f"STOWAGE_LANGUAGE is “{self.language}”; it must be one of {', '.join(LANGUAGES)}."
            )
        try:
            if self.time_zone:
                ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(
                f"STOWAGE_TIME_ZONE is “{self.time_zone}”; it takes a name of the IANA list, such as: "
                "Europe/Berlin"
            ) from error

    def _check_sent_by_proxy(self) -> None:
        for root, address in self.accel_redirects:
            if not root.is_absolute() or not _LOCATION.fullmatch(address):
                raise SettingsError(
                    f"STOWAGE_ACCEL_REDIRECTS holds “{root}={address}”; it takes absolute paths, each with "
                    "an internal address of nginx, separated by colons, such as: /srv/files=/stowage-files"
                )
        for root in self.sendfile_roots:
            if not root.is_absolute():
                raise SettingsError(
                    f"STOWAGE_SENDFILE_ROOTS holds “{root}”; it takes absolute paths, separated by colons, "
                    "such as: /srv/files:/mnt/nas"
                )

    @property
    def database(self) -> Path:
        """The main database: people, backends, audit, migrations. Only without ``database_url``."""
        return self.instance / "stowage.db"

    @property
    def work_database(self) -> Path:
        """Ledgers and counters, in a file of their own so that a busy migration delays nobody."""
        return self.instance / "work.db"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[Overrides]) -> Self:
        """Read ``STOWAGE_*``; ``overrides`` win. Raises :class:`SettingsError` with a sentence."""
        process = os.environ if environ is None else environ
        instance = find_instance(process, overrides.get("instance"))
        found = read_environment(instance, environ)
        return cls.parse(found.merged(), instance, found, **overrides)

    @classmethod
    def parse(
        cls,
        env: Mapping[str, str],
        folder: Path,
        source: Environment | None = None,
        **overrides: Unpack[Overrides],
    ) -> Self:
        """The settings of the instance in ``folder`` that variables describe; no file is read. Raises
        :class:`SettingsError`."""
        key_file = overrides.get("key_file") or _file(env, "STOWAGE_KEY_FILE") or folder / "stowage.key"
        return cls(
            instance=folder,
            key_file=key_file.expanduser().absolute(),
            host=overrides.get("host", env.get("STOWAGE_HOST", "127.0.0.1")),
            port=overrides.get("port", _integer(env, "STOWAGE_PORT", 8080)),
            secure_cookies=overrides.get("secure_cookies", _boolean(env, "STOWAGE_SECURE_COOKIES", False)),
            trusted_proxies=overrides.get("trusted_proxies", _integer(env, "STOWAGE_TRUSTED_PROXIES", 0)),
            hosts=overrides.get("hosts", _names(env, "STOWAGE_HOSTS")),
            public_url=overrides.get(
                "public_url", env.get("STOWAGE_PUBLIC_URL", "").strip().rstrip("/") or None
            ),
            database_url=overrides.get("database_url", env.get("STOWAGE_DATABASE_URL", "").strip() or None),
            database_password_file=overrides.get(
                "database_password_file", _file(env, "STOWAGE_DATABASE_PASSWORD_FILE")
            ),
            broker_url=overrides.get("broker_url", env.get("STOWAGE_BROKER_URL", "").strip() or None),
            local_roots=overrides.get("local_roots", _paths(env, "STOWAGE_LOCAL_ROOTS")),
            machine_credentials=overrides.get(
                "machine_credentials", _listed(env, "STOWAGE_MACHINE_CREDENTIALS")
            ),
            accel_redirects=_redirects(env, "STOWAGE_ACCEL_REDIRECTS"),
            sendfile_roots=_paths(env, "STOWAGE_SENDFILE_ROOTS"),
            max_workers=overrides.get("max_workers", _integer(env, "STOWAGE_MAX_WORKERS", 256)),
            carriers=overrides.get("carriers", _integer(env, "STOWAGE_CARRIERS", 0)),
            bandwidth_limit=str(_limit(env, "STOWAGE_BANDWIDTH_LIMIT", Bandwidth.parse)),
            objects_per_second=_limit(env, "STOWAGE_OBJECTS_PER_SECOND", parse_objects),
            api_requests_per_minute=overrides.get(
                "api_requests_per_minute", _integer(env, "STOWAGE_API_REQUESTS_PER_MINUTE", 1200)
            ),
            max_upload_size=overrides.get(
                "max_upload_size", _integer(env, "STOWAGE_MAX_UPLOAD_SIZE", MAX_UPLOAD_SIZE)
            ),
            upload_quota=overrides.get("upload_quota", _integer(env, "STOWAGE_UPLOAD_QUOTA", 0)),
            clamav=overrides.get("clamav", env.get("STOWAGE_CLAMAV", "").strip() or None),
            log_level=overrides.get("log_level", env.get("STOWAGE_LOG_LEVEL", "info").lower()),
            language=overrides.get("language", env.get("STOWAGE_LANGUAGE", "").strip().lower() or "en"),
            time_zone=overrides.get("time_zone", env.get("STOWAGE_TIME_ZONE", "").strip() or None),
            demo=overrides.get("demo", _boolean(env, "STOWAGE_DEMO", _boolean(env, "DEMO", False))),
            environment=source,
        )


def read_environment(instance: Path, environ: Mapping[str, str] | None = None) -> Environment:
    """The process's variables, and those of the instance's settings file. ``environ`` stands for the
    process's.

    Raises :class:`SettingsError` for a file that cannot be used, or has a line that cannot be read.
    """
    process = dict(os.environ if environ is None else environ)
    file = env_file(instance, process)
    try:
        snapshot = EnvFile(file).read()
    except StowageError as error:
        raise SettingsError(f"{error.reason} {error.remedy}".strip()) from error
    for problem in snapshot.document.problems:
        raise SettingsError(
            f"Line {problem.line} of {file} {problem.reason}. Correct it, or put # before it."
        )
    return Environment(file, process, snapshot.document.values, snapshot.version)


def env_file(instance: Path, environ: Mapping[str, str]) -> Path:
    """The path of the settings file: ``STOWAGE_ENV_FILE``, else ``.env`` in the instance folder."""
    named = environ.get("STOWAGE_ENV_FILE", "").strip()
    return Path(named).expanduser().absolute() if named else instance / ".env"


def find_instance(environ: Mapping[str, str], named: Path | None = None) -> Path:
    """The instance folder: the one that is named, else ``STOWAGE_INSTANCE``, else the default."""
    variable = environ.get("STOWAGE_INSTANCE", "")
    chosen = named or (Path(variable) if variable else default_instance(environ))
    return chosen.expanduser().absolute()


def default_instance(env: Mapping[str, str]) -> Path:
    """``instance/`` of the checkout that this package runs from, else the user's data folder."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "instance").is_dir():
        return checkout / "instance"
    data = env.get("XDG_DATA_HOME", "")
    return (Path(data) if data.startswith("/") else Path("~/.local/share").expanduser()) / "stowage"


def _names(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Lowercase names; an IPv6 address may have brackets."""
    return tuple(part.removeprefix("[").removesuffix("]") for part in _listed(env, name))


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", env.get(name, "").lower()) if part)


def _paths(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    parts = (part.strip() for part in env.get(name, "").split(os.pathsep))
    return tuple(Path(part).expanduser() for part in parts if part)


def _file(env: Mapping[str, str], name: str) -> Path | None:
    path = env.get(name, "").strip()
    return Path(path).expanduser().absolute() if path else None


def _redirects(env: Mapping[str, str], name: str) -> tuple[tuple[Path, str], ...]:
    parts = (part.strip().partition("=") for part in env.get(name, "").split(os.pathsep))
    return tuple((Path(path).expanduser(), address) for path, _, address in parts if path or address)


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name} is “{text}”; it must be a whole number.")
    return int(text[:20])


def _limit(env: Mapping[str, str], name: str, parse: Callable[..., Any]) -> Any:
    try:
        return parse(env.get(name, "").strip() or "off", field=name)
    except InvalidInput as error:
        raise SettingsError(f"{name}: {error.reason} {error.remedy}") from error


def _boolean(env: Mapping[str, str], name: str, default: bool) -> bool:
    text = env.get(name, "").strip().lower()
    if name not in env:
        return default
    if text not in TRUE | FALSE:
        raise SettingsError(f"{name} is “{text}”; it must be true or false.")
    return text in TRUE


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}; it must be between {low} and {high}.")
