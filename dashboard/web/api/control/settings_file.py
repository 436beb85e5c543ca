"""The settings file: what it sets, changing it, and having it read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from dashboard.envfile.backups import Backup
from dashboard.envfile.env_document import MAX_VALUE
from dashboard.errors import InvalidInput
from dashboard.services.environment.environment_values import EnvironmentState, Plan, VariableState
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services
from dashboard.web.hosts import lockout

resource = Resource("Environment", "The settings file, and the variables that the console knows.")

MAX_CHANGES = 200


@dataclass(frozen=True, slots=True)
class EnvironmentSetting:
    """A variable. `value` is what counts, with secrets masked (“set, ends in 4f2c”); `source` is `process`,
    `file` or `default`. `counts`: a change counts `now`, after a `restart`, or at the next `import` of a
    backend. `locked`: why it cannot be changed here, empty if it can. `pending`: its value counts after a
    restart."""

    name: str
    category: str
    about: str
    value: str
    default: str
    secret: bool
    source: str
    in_file: bool
    counts: str
    locked: str
    pending: bool


@dataclass(frozen=True, slots=True)
class OtherConsole:
    """Another console on the same database. `behind`: it has not read the file as it is now. `pending`: what
    waits for its restart; `error`: why it did not read the file again."""

    name: str
    behind: bool
    pending: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """The settings file and every variable. `pending`: what waits for a restart, of a web server or the
    runner. `error`: why the file was not read again; the settings of before still count. `consoles`: the
    others on the same database, which is on a server."""

    file: str
    exists: bool
    version: str
    pending: tuple[str, ...]
    runner_is_behind: bool
    warning: str
    error: str
    problem: str
    variables: tuple[EnvironmentSetting, ...]
    consoles: tuple[OtherConsole, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """What to set and what to remove. `version`: of the file that you have seen; if it has changed since,
    nothing is saved. `dry_run`: say what would change. `password`: that of the user, where a secret changes
    and no API token is used."""

    set: Annotated[
        Mapping[str, Secret], Field("Values by name.", maximum_length=MAX_VALUE, maximum_items=MAX_CHANGES)
    ] = field(default_factory=dict)
    unset: Annotated[tuple[str, ...], Field(maximum_length=128, maximum_items=MAX_CHANGES)] = ()
    version: Annotated[str, Field(maximum_length=64)] = ""
    dry_run: bool = False
    password: Annotated[Secret | None, Field(maximum_length=1024)] = None


@dataclass(frozen=True, slots=True)
class ChangedSetting:
    """A variable before and after, masked; null where it is not set. `when`: when it counts."""

    name: str
    before: str | None
    after: str | None
    when: str


@dataclass(frozen=True, slots=True)
class EnvironmentChanged:
    """What was changed, or would be. `version`: of the file before."""

    saved: bool
    version: str
    changes: tuple[ChangedSetting, ...]


@dataclass(frozen=True, slots=True)
class SettingsBackup:
    """An earlier content of the settings file. `before`: the change that followed; `by`: who made it."""

    id: str
    at: float
    by: str
    before: str
    size: int


@dataclass(frozen=True, slots=True)
class SettingsBackups:
    """Newest first."""

    backups: tuple[SettingsBackup, ...]


@dataclass(frozen=True, slots=True)
class SettingsRestore:
    """As for a change: the version that you have seen, and the password where a secret changes."""

    version: Annotated[str, Field(maximum_length=64)] = ""
    dry_run: bool = False
    password: Annotated[Secret | None, Field(maximum_length=1024)] = None


@resource.route("GET", "/environment", Permission.ENVIRONMENT, returns=EnvironmentSettings)
def show() -> EnvironmentSettings:
    """Return the settings file and every variable. Secrets are masked."""
    return _settings(services().environment.state(actor()))


@resource.route(
    "PATCH",
    "/environment",
    Permission.ENVIRONMENT,
    body=EnvironmentChange,
    returns=EnvironmentChanged,
    errors={409: "The file has changed since, or cannot be edited.", 429: "Too many wrong passwords."},
)
def change(body: EnvironmentChange) -> EnvironmentChanged:
    """Change the settings file.

    All changes are checked first and saved together or not at all; what was there is backed up. What counts
    at once is applied in this process at once and in the runner within a second.
    """
    if both := sorted(set(body.set).intersection(body.unset)):
        raise InvalidInput(both[0], f"“{both[0]}” cannot be set and removed at once.")
    changes: dict[str, str | None] = {name: value.reveal() for name, value in body.set.items()}
    changes |= dict.fromkeys(body.unset)
    editor = services().environment
    if body.dry_run:
        plan = editor.plan(actor(), changes, guard=lockout)
        if plan.errors:
            raise plan.errors[0]
    else:
        plan = editor.save(actor(), changes, version=body.version, password=body.password, guard=lockout)
    return _changed(plan, saved=not body.dry_run)


@resource.route("POST", "/environment/reload", Permission.ENVIRONMENT, returns=EnvironmentSettings)
def reload() -> EnvironmentSettings:
    """Read the settings file again now, and return it. Changes are also noticed within a second by
    themselves."""
    return _settings(services().environment.reload(actor()))


@resource.route("GET", "/environment/backups", Permission.ENVIRONMENT, returns=SettingsBackups)
def list_backups() -> SettingsBackups:
    """List earlier contents of the settings file, newest first."""
    return SettingsBackups(tuple(map(_backup, services().environment.backups(actor()))))


@resource.route("POST", "/environment/backups", Permission.ENVIRONMENT, returns=SettingsBackup, status=201)
def back_up() -> Reply:
    """Save what the settings file holds now, without changing it."""
    id = services().environment.back_up(actor())
    return Reply(_backup(services().environment.compare(actor(), id).backup), 201)


@resource.route(
    "POST",
    "/environment/backups/<id>/restore",
    Permission.ENVIRONMENT,
    body=SettingsRestore,
    returns=EnvironmentChanged,
    errors={409: "The file has changed since, or cannot be edited.", 429: "Too many wrong passwords."},
)
def restore(id: str, body: SettingsRestore) -> EnvironmentChanged:
    """Put an earlier content of the settings file back, byte for byte.

    What is there now is backed up first.
    """
    editor = services().environment
    if body.dry_run:
        return _changed(editor.compare(actor(), id).plan, saved=False)
    plan = editor.restore(actor(), id, version=body.version, password=body.password, guard=lockout)
    return _changed(plan, saved=True)


def _backup(found: Backup) -> SettingsBackup:
    return SettingsBackup(found.id, found.at, found.by, found.before, found.size)


def _settings(state: EnvironmentState) -> EnvironmentSettings:
    return EnvironmentSettings(
        state.file,
        state.exists,
        state.version,
        state.pending,
        state.runner_is_behind,
        state.warning,
        state.error,
        state.problem,
        tuple(map(_setting, state.variables)),
        tuple(OtherConsole(each.name, each.behind, each.pending, each.error) for each in state.consoles),
    )


def _setting(each: VariableState) -> EnvironmentSetting:
    about = each.variable
    return EnvironmentSetting(
        about.name,
        about.category,
        about.about,
        each.shown,
        about.default,
        about.secret,
        each.source,
        each.in_file,
        about.effect.value,
        each.locked,
        each.pending,
    )


def _changed(plan: Plan, *, saved: bool) -> EnvironmentChanged:
    changes = tuple(ChangedSetting(each.name, each.before, each.after, each.when) for each in plan.changes)
    return EnvironmentChanged(saved, plan.version, changes)
