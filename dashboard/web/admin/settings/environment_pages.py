"""The environment editor: variables by category, the difference before it is saved, and earlier contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.environment.environment_values import (
    BackupPlan,
    EnvironmentState,
    Plan,
    VariableState,
)
from dashboard.services.environment.sealed_drafts import Draft
from dashboard.services.environment.variables import Effect
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS, add_retry_after
from dashboard.web.hosts import lockout

SHOWN_ERRORS = (Kind.INVALID, Kind.CONFLICT, Kind.DENIED, Kind.THROTTLED, Kind.LOCKED)
SET = "set"
"""The filter for variables that something sets."""


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """A variable on the page. ``typed``: what its field holds; ``kept``: whether a new secret is in the
    draft."""

    state: VariableState
    typed: str
    changed: bool
    kept: bool
    error: InvalidInput | None

    @property
    def open(self) -> bool:
        """Whether it is shown without unfolding anything."""
        own = self.state.variable.effect is not Effect.IMPORT
        return own or self.state.is_set or self.state.in_file or self.changed or self.error is not None


@dataclass(frozen=True, slots=True)
class EnvironmentSection:
    """One category: the rows that are shown, and those that are folded because nothing sets them."""

    name: str
    rows: tuple[EnvironmentRow, ...]
    folded: tuple[EnvironmentRow, ...]


class EnvironmentPages(Page):
    """``/settings/environment``"""

    path = "/settings/environment"
    endpoint_name = "environment"
    menu_parent = "Settings"
    menu_permission = Permission.ENVIRONMENT

    @route("", Permission.ENVIRONMENT)
    def index(self) -> str:
        """All variables, or those of a category or a search."""
        return self._page(services().environment.state(actor()))

    @route("", Permission.ENVIRONMENT, methods=("POST",))
    def change(self) -> Response:
        """Show what would change; or save it, if exactly this was shown before."""
        editor, drafts = services().environment, services().environment.drafts
        draft = drafts.from_text(actor(), request.form.get("draft", ""))
        state = editor.state(actor())
        changes = _typed(state, draft)
        plan, error = Plan(state.version, ()), None
        try:
            plan = editor.plan(actor(), changes, guard=lockout)
            if _was_shown(draft, changes, plan) and draft is not None:
                password = Secret(request.form.get("confirm", ""))
                saved = editor.save(actor(), changes, version=draft.version, password=password, guard=lockout)
                flash_done(_told(saved))
                return see_other(url_for("environment.index"))
        except StowageError as failure:
            if failure.kind not in SHOWN_ERRORS:
                raise
            error = failure
        sealed = drafts.to_text(actor(), Draft(changes, plan.version)) if not plan.errors else ""
        page = self._page(state, plan=plan, changes=changes, draft=sealed, error=error)
        status = STATUS[error.kind] if error else STATUS[Kind.INVALID] if plan.errors else 200
        return add_retry_after(make_response(page, status), error)

    @route("/backup", Permission.ENVIRONMENT, methods=("POST",))
    def back_up(self) -> Response:
        """Keep what the file holds now."""
        services().environment.back_up(actor())
        flash_done("What the settings file holds now is kept.")
        return see_other(url_for("environment.index"))

    @route("/backups/<id>", Permission.ENVIRONMENT)
    def backup(self, id: str) -> str:
        """What restoring a backup would change."""
        return self._restore_page(services().environment.compare(actor(), id), None)

    @route("/backups/<id>", Permission.ENVIRONMENT, methods=("POST",))
    def restore(self, id: str) -> Response:
        """Put a backup's content back."""
        editor = services().environment
        try:
            plan = editor.restore(
                actor(),
                id,
                version=request.form.get("version", ""),
                password=Secret(request.form.get("confirm", "")),
                guard=lockout,
            )
        except StowageError as error:
            if error.kind not in SHOWN_ERRORS:
                raise
            page = self._restore_page(editor.compare(actor(), id), error)
            return add_retry_after(make_response(page, STATUS[error.kind]), error)
        flash_done(_told(plan))
        return see_other(url_for("environment.index"))

    def _restore_page(self, compared: BackupPlan, error: StowageError | None) -> str:
        return str(
            self.render(
                "admin/settings/environment_backup.html",
                backup=compared.backup,
                plan=compared.plan,
                error=error,
                field=error.subject if error else "",
            )
        )

    def _page(
        self,
        state: EnvironmentState,
        *,
        plan: Plan | None = None,
        changes: dict[str, str | None] | None = None,
        draft: str = "",
        error: StowageError | None = None,
    ) -> str:
        chosen, search = request.values.get("category", ""), request.values.get("q", "").strip()[:100]
        rows = [_row(each, plan, changes or {}) for each in state.variables]
        shown = [row for row in rows if _matches(row, chosen, search)]
        return str(
            self.render(
                "admin/settings/environment.html",
                state=state,
                sections=_sections(shown, folds=not (chosen or search)),
                categories=_categories(rows),
                chosen=chosen,
                search=search,
                number=len(rows),
                set_number=sum(row.state.is_set for row in rows),
                plan=plan,
                draft=draft,
                error=error,
                field=error.subject if error else "",
                backups=services().environment.backups(actor()),
            )
        )


def _typed(state: EnvironmentState, draft: Draft | None) -> dict[str, str | None]:
    """The changes that the form asks for. An empty field of a secret keeps it; one of another variable
    removes it. Secrets that were shown before are in the draft."""
    changes: dict[str, str | None] = {}
    removed = set(request.form.getlist("remove"))
    for each in state.variables:
        name = each.variable.name
        typed = request.form.get(f"v.{name}")
        if typed is not None:
            typed = typed.replace("\r\n", "\n")
        if each.locked:
            continue
        if name in removed and each.in_file:
            changes[name] = None
        elif _is_hidden(each):
            kept = draft.changes.get(name) if draft else None
            if typed or kept:
                changes[name] = typed or kept
        elif typed is not None and typed.strip() != each.value:
            changes[name] = typed.strip() or None
    return {n: v for n, v in changes.items() if v is not None or any(s.in_file for s in _named(state, n))}


def _named(state: EnvironmentState, name: str) -> Sequence[VariableState]:
    return [each for each in state.variables if each.variable.name == name]


def _is_hidden(each: VariableState) -> bool:
    """Whether its field is empty although it is set."""
    return each.variable.secret or (each.in_file and not each.value and each.shown != "")


def _was_shown(draft: Draft | None, changes: dict[str, str | None], plan: Plan) -> bool:
    """Whether this is what the person has seen, so that nothing is saved unseen."""
    saving = request.form.get("action") == "save"
    return (
        saving and draft is not None and bool(changes) and dict(draft.changes) == changes and not plan.errors
    )


def _row(each: VariableState, plan: Plan | None, changes: dict[str, str | None]) -> EnvironmentRow:
    name = each.variable.name
    typed = changes.get(name, each.value) or ""
    hidden = _is_hidden(each)
    return EnvironmentRow(
        each,
        "" if hidden else typed,
        name in changes,
        hidden and bool(changes.get(name)),
        plan.error(name) if plan else None,
    )


def _matches(row: EnvironmentRow, chosen: str, search: str) -> bool:
    about = row.state.variable
    if search and search.lower() not in f"{about.name} {about.about} {about.category}".lower():
        return False
    return not chosen or about.category == chosen or (chosen == SET and row.state.is_set)


def _sections(rows: list[EnvironmentRow], *, folds: bool) -> tuple[EnvironmentSection, ...]:
    names = dict.fromkeys(row.state.variable.category for row in rows)
    return tuple(
        EnvironmentSection(
            name,
            tuple(row for row in rows if row.state.variable.category == name and (row.open or not folds)),
            tuple(row for row in rows if row.state.variable.category == name and folds and not row.open),
        )
        for name in names
    )


def _categories(rows: list[EnvironmentRow]) -> list[tuple[str, int]]:
    names = dict.fromkeys(row.state.variable.category for row in rows)
    return [(name, sum(row.state.variable.category == name for row in rows)) for name in names]


def _told(plan: Plan) -> str:
    if not plan.count:
        return "Nothing changed."
    later = [each.name for each in plan.changes if "restart" in each.when]
    saved = f"{plan.count} change{' is' if plan.count == 1 else 's are'} saved."
    return f"{saved} After a restart of Stowage: {', '.join(later)}." if later else saved
