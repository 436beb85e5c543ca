"""Option specifications: one table drives forms, command line, docs and redaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from dashboard.storage.types import EMPTY


class OptionType(StrEnum):
    """How an option is typed in and checked."""

    TEXT = "text"
    SECRET = "secret"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    URL = "url"
    PATH = "path"
    MULTILINE = "multiline"


class SecretForm(StrEnum):
    """What a secret looks like, and so how it is typed in and checked."""

    KEY = "key"
    """Made by a machine: ASCII, without spaces around it. Only of these the last characters are shown."""
    PASSWORD = "password"
    """Chosen by a person: any text in one line."""
    TEXT = "text"
    """A pasted file of several lines, such as a private key."""
    ADDRESS = "address"
    """An address with a password in it: ASCII, without spaces."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a driver.

    ``advanced`` options hide behind a fold, that of their ``group`` or the one called Advanced.
    ``required_with`` names another option and its value with which this one is required, ``unused_with``
    those with which a secret is neither opened nor sent. ``guards_secret`` marks an option that decides
    *where* a secret is sent (endpoint, host, port, TLS verification): changing it demands the secret again.
    ``form`` matters for secrets only. ``place`` marks an option that decides which objects the backend
    means or how they read. Without a secret that ``encrypts_objects`` objects cannot be read: it can be made
    in the form, and once stored it is not replaced by another. ``guarded_by`` names the options that decide
    where this secret is sent, where those that guard the driver's secrets do not; none for one that is sent
    nowhere, or names its recipient itself.
    """

    name: str
    label: str
    type: OptionType = OptionType.TEXT
    hint: str = ""
    required: bool = False
    advanced: bool = False
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""
    guards_secret: bool = False
    form: SecretForm = SecretForm.KEY
    place: bool = False
    encrypts_objects: bool = False
    group: str = ""
    guarded_by: tuple[str, ...] | None = None
    required_with: tuple[str, str] | None = None
    unused_with: tuple[str, str] | None = None

    def is_required(self, options: Mapping[str, str], defaults: Mapping[str, str]) -> bool:
        """Whether it must be set beside these options, of which those that are missing have their default."""
        if self.required_with is None:
            return self.required
        other, value = self.required_with
        return self.required or options.get(other, defaults[other]) == value

    @property
    def secret(self) -> bool:
        """Whether the value is sealed and write-only."""
        return self.type is OptionType.SECRET


@dataclass(frozen=True, slots=True)
class Preset:
    """A named provider on top of a driver: default options and help text, nothing else.

    ``defaults`` may hold ``{region}`` and similar placeholders naming other options.
    ``help`` answers "where do I find these?" in a few plain-text lines. ``labels`` renames options
    in the provider's own words ("Application key" for Backblaze B2). ``hidden`` options take the
    preset's default and are not shown; ``extra`` ones exist only to fill its placeholders. ``choices`` keeps
    of an option's choices those the provider has.
    """

    name: str
    label: str
    driver: str
    help: str = ""
    help_url: str = ""
    defaults: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    hidden: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    hints: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    placeholders: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    extra: tuple[Option, ...] = ()
    choices: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    last: bool = False
