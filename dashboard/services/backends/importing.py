"""Drafts of backends from the environment variables that other programs use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.backends.values import Draft
from dashboard.settings import Environment
from dashboard.storage.library.environment import parse_environment
from dashboard.storage.library.environment_variables import SELECTORS, VARIABLES


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


def importable(environment: Environment | None) -> Mapping[str, str]:
    """The variables to import from: those of the process, or those of the settings file if the process has
    none.

    Never some of both: who may edit the file must not decide where the process's secrets are sent.
    """
    if environment is None:
        return {}
    known = {*SELECTORS, *(variable.name for variable in VARIABLES)}
    return environment.process if known & environment.process.keys() else environment.from_file


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
