"""The environment editor: what the settings file has, and changing it after a look at the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from dashboard.envfile.backups import Backup, Backups
from dashboard.envfile.env_document import Document
from dashboard.envfile.store import Change, EnvFile, Snapshot
from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.process_identity import this_process
from dashboard.services.audit import AuditLog
from dashboard.services.consoles.console_processes import WEB, Processes
from dashboard.services.database import Database
from dashboard.services.environment.environment_values import (
    BackupPlan,
    Changes,
    ConsoleReport,
    EnvironmentState,
    Plan,
    VariableChange,
    VariableState,
)
from dashboard.services.environment.live_settings import LiveSettings, report_of, runner_report
from dashboard.services.environment.sealed_drafts import Drafts
from dashboard.services.environment.variables import KNOWN, Effect, KnownVariable, Where, known
from dashboard.services.people.accounts import Accounts
from dashboard.services.permissions import Actor, Permission
from dashboard.settings import Settings, SettingsError
from dashboard.storage.types import Secret

Guard = Callable[[Settings], InvalidInput | None]
"""Says why settings must not be saved by this actor, if they must not."""

WHEN: Mapping[Effect, str] = {
    Effect.NOW: "counts at once",
    Effect.RESTART: "counts after a restart of Stowage",
    Effect.IMPORT: "counts at the next import",
}


class EnvironmentEditor:
    """Thread-safe. Every change is checked as a whole, saved only for the version of the file that its author
    has seen, preceded by a backup, recorded in the audit log without values of secrets, and then applied."""

    def __init__(self, database: Database, audit: AuditLog, accounts: Accounts, live: LiveSettings) -> None:
        self._database = database
        self._audit = audit
        self._accounts = accounts
        self._live = live
        self._file = EnvFile(live.environment.file)
        self._backups = Backups(self._file)
        self.drafts = Drafts(accounts.session_secret)

    def state(self, actor: Actor) -> EnvironmentState:
        """The file and all variables, without a secret. Raises ``DENIED`` for a file that cannot be read."""
        actor.require(Permission.ENVIRONMENT)
        self._live.poll()
        snapshot = self._file.read()
        values = snapshot.document.values
        problem = next(iter(snapshot.document.problems), None)
        runner = runner_report(self._database)
        consoles = self._other_consoles(snapshot.version)
        pending = {*self._live.pending(), *(runner.pending if runner else ())}
        pending |= {name for each in consoles for name in each.pending}
        repeated = frozenset(snapshot.document.duplicates)
        return EnvironmentState(
            file=str(self._file.path),
            exists=snapshot.exists,
            version=snapshot.version,
            modified=snapshot.modified,
            variables=tuple(
                self._variable(
                    actor, each, values, pending=each.name in pending, repeated=each.name in repeated
                )
                for each in KNOWN.values()
            ),
            others=len(values.keys() - KNOWN.keys()),
            warning=snapshot.warning,
            error=self._live.error,
            problem=f"Line {problem.line} {problem.reason}." if problem else "",
            pending=tuple(name for name in KNOWN if name in pending),
            runner=runner,
            consoles=consoles,
        )

    def plan(self, actor: Actor, changes: Changes, *, guard: Guard | None = None) -> Plan:
        """What ``changes`` would do to the file as it is now; nothing is written. Values that cannot be used
        are in ``errors``, each with its variable. ``guard`` says which settings would shut the actor out."""
        actor.require(Permission.ENVIRONMENT)
        return self._plan(actor, self._file.read(), changes, guard)

    def save(
        self,
        actor: Actor,
        changes: Changes,
        *,
        version: str = "",
        password: Secret | None = None,
        guard: Guard | None = None,
    ) -> Plan:
        """Write the changes, back up what was there, and apply what counts at once. ``version``: of the file
        that the actor has seen, empty for any. In a browser, changing a secret takes the actor's
        ``password``.

        Returns what was changed. Raises the first error of the plan, ``CONFLICT`` if the file has changed,
        and what reading and writing it raise; then nothing was changed.
        """
        actor.require(Permission.ENVIRONMENT)
        self._confirm(actor, self._plan(actor, self._file.read(), changes, guard), password)
        with self._file.changing() as change:
            _require_version(change, version)
            plan = self._plan(actor, change.before, changes, guard)
            if plan.errors:
                raise plan.errors[0]
            document = change.before.document.edit(_effective(changes, change.before))
            self._write(actor, change, document, plan, _summary(plan))
        self._live.reload()
        return plan

    def backups(self, actor: Actor) -> tuple[Backup, ...]:
        """Earlier contents, newest first."""
        actor.require(Permission.ENVIRONMENT)
        return self._backups.list()

    def back_up(self, actor: Actor) -> str:
        """Save what the file has now, without changing it. Returns the backup's id."""
        actor.require(Permission.ENVIRONMENT)
        with self._file.changing() as change:
            id = self._backups.add(change, by=actor.name, before="asked for")
            with self._database.write() as session:
                self._audit.record(session, actor, "environment.backup", str(self._file.path), backup=id)
        return id

    def compare(self, actor: Actor, id: str) -> BackupPlan:
        """What restoring a backup would change. Raises ``NOT_FOUND``."""
        actor.require(Permission.ENVIRONMENT)
        found = next((each for each in self._backups.list() if each.id == id), None)
        document = self._backups.read(id)
        if found is None:
            raise StowageError(Kind.NOT_FOUND, "There is no such backup of the settings.", subject=id)
        return BackupPlan(found, self._plan_restore(actor, self._file.read(), document))

    def restore(
        self,
        actor: Actor,
        id: str,
        *,
        version: str = "",
        password: Secret | None = None,
        guard: Guard | None = None,
    ) -> Plan:
        """Put a backup's content back, byte for byte; what is there now is backed up first. Raises as
        :meth:`save`."""
        actor.require(Permission.ENVIRONMENT)
        document = self._backups.read(id)
        self._confirm(actor, self._plan_restore(actor, self._file.read(), document, guard), password)
        with self._file.changing() as change:
            _require_version(change, version)
            plan = self._plan_restore(actor, change.before, document, guard)
            if plan.errors:
                raise plan.errors[0]
            if document.problems:
                raise StowageError(
                    Kind.CONFLICT,
                    f"Line {document.problems[0].line} of this backup {document.problems[0].reason}.",
                    operation="restore settings",
                    remedy="Restore another one, or correct the file by hand.",
                )
            if document.data != change.before.document.data:
                self._write(actor, change, document, plan, "a restore")
        self._live.reload()
        return plan

    def reload(self, actor: Actor) -> EnvironmentState:
        """Read the file again now, in this process; the runner does so within a second by itself."""
        actor.require(Permission.ENVIRONMENT)
        self._live.reload()
        return self.state(actor)

    def _other_consoles(self, version: str) -> tuple[ConsoleReport, ...]:
        others = [each for each in Processes(self._database).list() if each.role == WEB and not each.late]
        return tuple(
            ConsoleReport(each.name, read.version != version, read.pending, read.error)
            for each in others
            if each.id != this_process() and (read := report_of(each.settings)) is not None
        )

    def _write(self, actor: Actor, change: Change, document: Document, plan: Plan, before: str) -> None:
        backup = self._backups.add(change, by=actor.name, before=before)
        with self._database.write() as session:
            self._audit.record(
                session,
                actor,
                "environment.change",
                str(self._file.path),
                **{each.name: _told(each) for each in plan.changes},
                **({"others": ", ".join(plan.others)} if plan.others else {}),
                backup=backup,
            )
            # Last, so that a change that is not recorded is not made either.
            change.replace(document.data)

    def _confirm(self, actor: Actor, plan: Plan, password: Secret | None) -> None:
        if plan.errors or actor.via != "web" or not plan.needs_password:
            return
        if not password:
            raise InvalidInput("confirm", "Enter your password to change a secret.")
        self._accounts.confirm_password(actor, password)

    def _plan(self, actor: Actor, snapshot: Snapshot, changes: Changes, guard: Guard | None) -> Plan:
        errors: list[InvalidInput] = []
        wanted: dict[str, str | None] = {}
        for name, value in _effective(changes, snapshot).items():
            try:
                variable = known(name)
                self._require_editable(actor, variable, value)
                if value is not None:
                    variable.check(value)
                wanted[name] = value
            except InvalidInput as error:
                errors.append(error)
        if snapshot.document.problems:
            snapshot.document.edit({})
        after = snapshot.document.edit(wanted)
        return self._difference(snapshot, after, errors, guard)

    def _plan_restore(
        self, actor: Actor, snapshot: Snapshot, document: Document, guard: Guard | None = None
    ) -> Plan:
        errors: list[InvalidInput] = []
        before, after = snapshot.document.values, document.values
        for name in KNOWN:
            if before.get(name) != after.get(name):
                try:
                    self._require_editable(actor, KNOWN[name], after.get(name))
                except InvalidInput as error:
                    errors.append(error)
        return self._difference(snapshot, document, errors, guard)

    def _difference(
        self, snapshot: Snapshot, document: Document, errors: list[InvalidInput], guard: Guard | None
    ) -> Plan:
        before, after = snapshot.document.values, document.values
        changed = [name for name in KNOWN if before.get(name) != after.get(name)]
        if not errors:
            errors = self._check_whole(document, changed, guard)
        others = sorted(n for n in {*before, *after} - KNOWN.keys() if before.get(n) != after.get(n))
        return Plan(
            snapshot.version,
            tuple(self._change(KNOWN[name], before.get(name), after.get(name)) for name in changed),
            tuple(errors),
            tuple(others),
        )

    def _check_whole(self, document: Document, changed: list[str], guard: Guard | None) -> list[InvalidInput]:
        source = self._live.environment
        merged = {**document.values, **source.process}
        try:
            settings = Settings.parse(merged, self._live.started.instance)
        except SettingsError as why:
            subject = next((name for name in changed if name in str(why)), "")
            return [InvalidInput(subject, str(why))]
        if guard is not None and changed and (error := guard(settings)):
            return [error]
        return []

    def _change(self, variable: KnownVariable, before: str | None, after: str | None) -> VariableChange:
        masked = [None if value is None else variable.mask(value) for value in (before, after)]
        secret = variable.secret or any(v is not None and not variable.shows(v) for v in (before, after))
        when = WHEN[variable.effect]
        if variable.name in self._live.environment.process:
            when = "has no effect: the process's environment sets it"
        return VariableChange(variable.name, variable.category, masked[0], masked[1], secret, when)

    def _variable(
        self,
        actor: Actor,
        variable: KnownVariable,
        values: Mapping[str, str],
        *,
        pending: bool,
        repeated: bool,
    ) -> VariableState:
        process, name = self._live.environment.process, variable.name
        in_file = name in values and variable.where is not Where.PROCESS
        source = "process" if name in process else "file" if in_file else "default"
        counts = process.get(name, values.get(name, "")) if source != "default" else ""
        value = values.get(name, "")
        return VariableState(
            variable,
            value if variable.shows(value) else "",
            variable.mask(counts) if source != "default" else self._found(name),
            source,
            in_file,
            self._why_locked(actor, variable),
            pending,
            repeated,
        )

    def _found(self, name: str) -> str:
        """Where the console's own files are, if nothing says so."""
        started = self._live.started
        paths = {
            "STOWAGE_INSTANCE": started.instance,
            "STOWAGE_ENV_FILE": self._file.path,
            "STOWAGE_KEY_FILE": started.key_file,
        }
        return str(paths.get(name, ""))

    def _why_locked(self, actor: Actor, variable: KnownVariable) -> str:
        name = variable.name
        if variable.where is Where.PROCESS:
            return "Only the process's environment can set it."
        if actor.via == "cli":
            return ""
        if variable.where is Where.COMMAND:
            return f"Changed on the machine only: stowage env set {name}=…"
        if name in self._live.environment.process:
            return "The process's environment sets it, which overrides the file."
        return ""

    def _require_editable(self, actor: Actor, variable: KnownVariable, value: str | None) -> None:
        # A line that has no effect may always be removed.
        shadowed = value is None and variable.where is Where.PAGE
        if not shadowed and (why := self._why_locked(actor, variable)):
            raise InvalidInput(variable.name, f"{variable.name} cannot be changed here.", remedy=why)


def _effective(changes: Changes, snapshot: Snapshot) -> dict[str, str | None]:
    """Without those that change nothing."""
    values = snapshot.document.values
    return {name: value for name, value in changes.items() if values.get(name) != value}


def _require_version(change: Change, version: str) -> None:
    if version and change.before.version != version:
        _refuse_stale()


def _refuse_stale() -> NoReturn:
    raise StowageError(
        Kind.CONFLICT,
        "The settings file was changed meanwhile; nothing was saved.",
        operation="edit settings",
        remedy="Review the changes again, then save them.",
    )


def _summary(plan: Plan) -> str:
    """“2 changes in Uploads”."""
    number = f"{plan.count} change{'' if plan.count == 1 else 's'}"
    categories = list(dict.fromkeys(change.category for change in plan.changes))
    return f"{number} in {categories[0]}" if len(categories) == 1 else number


def _told(change: VariableChange) -> str:
    """A change for the audit log: of a secret only that it was set, replaced or removed."""
    if change.secret:
        return "removed" if change.after is None else "set" if change.before is None else "replaced"
    return f"{'(none)' if change.before is None else change.before} → {change.after or '(none)'}"
