"""Drafts of backends from the environment variables that other programs use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.backends.values import Draft
from dashboard.storage.library.environment import parse_environment


@dataclass(frozen=True, slots=True)
class Imported:
    """The backend that the variables describe. ``used``: option or secret to variable; ``ignored``: known
    variables that were not needed. Contains secrets and prints none."""

    draft: Draft
    used: Mapping[str, str]
    ignored: tuple[str, ...]

    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """Rows for people: variable, what it became, its value; secrets as ``***``."""
        values = dict(self.draft.options) | dict.fromkeys(self.draft.secrets, "***")
        return tuple((self.used.get(name, ""), name, value) for name, value in values.items())


def import_environment(environ: Mapping[str, str], name: str) -> Imported:
    """A draft called ``name``. Raises ``InvalidInput`` naming the variable. Nothing is saved."""
    found = parse_environment(environ)
    described = found.described
    used = {_option(option, described.options): variable for option, variable in found.used.items()}
    draft = Draft(name, described.kind, described.options, described.secrets)
    return Imported(draft, used, found.ignored)


def _option(option: str, options: Mapping[str, str]) -> str:
    """A media address becomes one of two options."""
    if option == "address":
        return "public_url" if "public_url" in options else "cdn_domain"
    return option
