"""Changing files on the Files page: each change has a page of its own, or done with a way back."""

from __future__ import annotations

from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.folder_changes import FolderAction
from dashboard.services.files.changing.moving_objects import OnTaken, Transfer
from dashboard.services.files.changing.outcomes import FileRef, Outcome
from dashboard.services.permissions import Permission
from dashboard.web.admin.files.browser_view import FilesView, read_view, to_token
from dashboard.web.admin.files.file_selection import Selection, Undo, read_selection, refs, report
from dashboard.web.admin.files.folder_jobs import begin_folder_change
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

TAKEN_CHOICES = (
    (OnTaken.REFUSE.value, "Leave that file where it is, and report it"),
    (OnTaken.KEEP_BOTH.value, "Keep both: the new one gets a number"),
    (OnTaken.REPLACE.value, "Replace the file there"),
)
_WORDS = {"move": ("Move", "moved"), "copy": ("Copy", "copied")}


class FileQuestions(Page):
    """``/browse/<name>/rename`` and its neighbours"""

    path = "/browse"
    endpoint_name = "file_changes"
    menu_parent = "Files"
    default_view = "rename"

    @route("/<name>/new-folder", Permission.WRITE_FILES, methods=("GET", "POST"))
    def new_folder(self, name: str) -> Any:
        """Ask for the name of a folder, and make it."""
        view, to = _view(name), request.form.get("to", "")
        error = None
        if request.method == "POST":
            try:
                folder = view.folder + to.strip().strip("/")
                flash_done(services().file_changes.make_folder(actor(), view.backend, folder))
                return see_other(view.url())
            except StowageError as problem:
                error = _askable(problem)
        return self._ask("ask_folder", view, error, to=to)

    @route("/<name>/rename", Permission.WRITE_FILES, methods=("GET", "POST"))
    def rename(self, name: str) -> Any:
        """Ask for a new name, and give it."""
        view = _view(name)
        chosen = read_selection(view.backend, expand=request.method == "POST")
        old = chosen.keys[0].removesuffix("/")
        folder, current = old[: old.rfind("/") + 1], old.rpartition("/")[2]
        to, error = request.form.get("to", current), None
        if request.method == "POST":
            try:
                if chosen.is_large_folder:
                    return begin_folder_change(view, FolderAction.MOVE, chosen.keys[0], f"{folder}{to}/")
                outcomes = self._rename(view, chosen, folder + to)
            except StowageError as problem:
                error = _askable(problem)
            else:
                if len(outcomes) > 1 or outcomes[0].done:
                    report(outcomes, f"renamed to “{to}”" if len(outcomes) == 1 else f"moved to “{to}”")
                    return see_other(view.url(after=view.after, file=""))
                error = _error_of(outcomes[0])
        stem = len(to) if chosen.keys[0].endswith("/") or "." not in to[1:] else to.rfind(".")
        version = request.form.get("version", "") or _version(view, chosen)
        return self._ask("ask_rename", view, error, chosen, version=version, to=to, stem=stem)

    def _rename(self, view: FilesView, chosen: Selection, to: str) -> tuple[Outcome, ...]:
        if len(chosen.keys) != 1 or not to.rpartition("/")[2]:
            raise InvalidInput("to", "A file needs a name.", remedy="Type one and try again.")
        new = chosen.renamed(view, to)
        transfers = [Transfer(file, new[file.key]) for file in refs(chosen, request.form.get("version", ""))]
        return services().file_changes.move(actor(), view.backend, transfers)

    @route("/<name>/move", Permission.WRITE_FILES, methods=("GET", "POST"))
    def move(self, name: str) -> Any:
        """Ask for a folder, and move files into it."""
        return self._transfer(name, "move")

    @route("/<name>/copy", Permission.WRITE_FILES, methods=("GET", "POST"))
    def copy(self, name: str) -> Any:
        """Ask for a folder, and copy files into it."""
        return self._transfer(name, "copy")

    def _transfer(self, name: str, verb: str) -> Any:
        view, error = _view(name), None
        shown_first = request.method == "GET" or "to" not in request.form
        chosen = read_selection(view.backend, expand=not shown_first)
        to, taken = request.form.get("to", view.folder.removesuffix("/")), request.form.get("on_taken", "")
        on_taken = OnTaken(taken) if taken in list(OnTaken) else OnTaken.REFUSE
        to_backend = request.form.get("to_backend", view.backend)
        if not shown_first:
            folder = f"{to.strip('/')}/" if to.strip("/") else ""
            try:
                if to_backend != view.backend:
                    _require_same_folder(view, folder)
                    return self._to_backend(view, to_backend, chosen, on_taken, move=verb == "move")
                if chosen.is_large_folder:
                    target = folder + chosen.keys[0].removesuffix("/").rpartition("/")[2] + "/"
                    return begin_folder_change(
                        view, FolderAction(verb), chosen.keys[0], target, on_taken=on_taken
                    )
                transfers = [Transfer(FileRef(key), new) for key, new in chosen.moved(folder).items()]
                change = services().file_changes.move if verb == "move" else services().file_changes.copy
                outcomes = change(actor(), view.backend, transfers, on_taken=on_taken)
            except StowageError as problem:
                error = _askable(problem)
            else:
                if any(outcome.done for outcome in outcomes):
                    report(outcomes, f"{_WORDS[verb][1]} to “{folder or view.backend}”")
                    return see_other(view.url(after=view.after))
                error = _error_of(outcomes[0])
        folders = () if error else _folders(view)
        return self._ask(
            "ask_where",
            view,
            error,
            chosen,
            action=f"file_changes.{verb}",
            verb=_WORDS[verb][0],
            to=to,
            folders=folders,
            backends=services().backends.choices() if actor().may(Permission.MIGRATE) else (),
            to_backend=to_backend,
            on_taken=on_taken.value,
            on_taken_choices=TAKEN_CHOICES,
        )

    def _to_backend(
        self, view: FilesView, to_backend: str, chosen: Selection, on_taken: OnTaken, *, move: bool
    ) -> Response:
        """Copy or move to another backend: a migration of its own, which has a page."""
        number = services().across.begin(
            actor(), view.backend, to_backend, chosen.keys, move=move, on_taken=on_taken
        )
        return see_other(url_for("migrations.show", id=number))

    @route("/<name>/delete", Permission.WRITE_FILES, methods=("GET", "POST"))
    def delete(self, name: str) -> Any:
        """Delete files. Where that cannot be undone, their number has to be typed first."""
        view, error = _view(name), None
        chosen = read_selection(view.backend)
        final = not services().deletions.can_undo(actor(), view.backend)
        number = len(chosen.files)
        if chosen.is_large_folder:
            number = services().folder_changes.count(actor(), view.backend, chosen.keys[0])
        confirmed = parse_integer(request.form, "confirmed")
        if request.method == "POST" and (not final or "confirmed" in request.form):
            confirmed = confirmed or (0 if final else None)
            try:
                if chosen.is_large_folder:
                    return begin_folder_change(view, FolderAction.DELETE, chosen.keys[0], confirmed=confirmed)
                return self._deleted(view, chosen, confirmed)
            except StowageError as problem:
                error = _askable(problem)
        return self._ask(
            "ask_delete", view, error, chosen, action="file_changes.delete", final=final, number=number
        )

    def _deleted(self, view: FilesView, chosen: Selection, confirmed: int | None) -> Response:
        version = request.form.get("version", "")
        done = services().deletions.delete(actor(), view.backend, refs(chosen, version), confirmed=confirmed)
        undo = None
        if done.undo_id:
            url = url_for("file_changes.undo", name=view.backend)
            fields = {**dict(view.fields()), "undo": done.undo_id}
            undo = Undo(url, fields)
        report(done.outcomes, "deleted", undo=undo)
        return see_other(view.url(after=view.after, file=""))

    @route("/<name>/undo", Permission.WRITE_FILES, methods=("POST",))
    def undo(self, name: str) -> Response:
        """Restore what was deleted."""
        view = _view(name)
        report(services().deletions.undo(actor(), request.form.get("undo", "")), "restored")
        return see_other(view.url(after=view.after))

    @route("/<name>/selected", Permission.READ_FILES, methods=("POST",))
    def selected(self, name: str) -> Any:
        """What the buttons over the list do with the selected files."""
        action = request.form.get("act", "")
        if action in ("move", "copy", "delete"):
            actor().require(Permission.WRITE_FILES)
            return getattr(self, action)(name)
        if action == "link":
            chosen = read_selection(_view(name).backend, expand=False)
            return see_other(url_for("links.new", backend=name, file=to_token(chosen.keys[0])))
        if action == "zip":
            return _zip(_view(name))
        raise InvalidInput("act", "This button is not known.", remedy="Reload the page and try again.")

    def _ask(
        self,
        template: str,
        view: FilesView,
        error: StowageError | None,
        chosen: Selection | None = None,
        *,
        action: str = "",
        **values: Any,
    ) -> tuple[str, int]:
        """Render a question; with the status of the error if an answer was refused."""
        keys = chosen.keys if chosen else ()
        page = self.render(
            f"admin/files/{template}.html",
            **{"version": "", **values},
            view=view,
            error=error,
            names=[key.removesuffix("/").rpartition("/")[2] or key for key in keys],
            tokens=[to_token(key) for key in keys],
            action_url=url_for(action or request.endpoint or "", name=view.backend),
        )
        return str(page), STATUS[error.kind] if error else 200


def _require_same_folder(view: FilesView, folder: str) -> None:
    """Refuse another folder than the files are in: a migration pairs both backends by their keys."""
    if folder != view.folder:
        raise InvalidInput(
            "to",
            "On the way to another backend files keep their names and folders.",
            remedy="Leave the folder as it was, and move the files once they are there.",
        )


def _zip(view: FilesView) -> Response:
    """The selected files and folders as one download."""
    keys = read_selection(view.backend, expand=False).keys
    files = [key for key in keys if not key.endswith("/")]
    folders = [key for key in keys if key.endswith("/")]
    token = services().zips.select(actor(), view.backend, files=files, folders=folders)
    return see_other(url_for("zips.download", token=token))


def _view(name: str) -> FilesView:
    return read_view(services().backends.get(name).name, request.values)


def _askable(error: StowageError) -> StowageError:
    """Return an error that the question shows. Raises the others again."""
    if error.kind in (Kind.SEALED, Kind.FORBIDDEN, Kind.INTERNAL):
        raise error
    return error


def _error_of(outcome: Outcome) -> StowageError:
    kind = outcome.kind or Kind.INTERNAL
    return StowageError(kind, outcome.reason, subject=outcome.key, remedy=outcome.remedy)


def _version(view: FilesView, chosen: Selection) -> str:
    """What the file is now, so that a change by somebody else is noticed."""
    if len(chosen.keys) != 1 or chosen.keys[0].endswith("/"):
        return ""
    driver = services().backends.driver_with_waiting(view.backend, label=LABEL)
    return driver.stat(chosen.keys[0]).version or ""


def _folders(view: FilesView) -> tuple[str, ...]:
    """Folders to choose from: those above, and those in the one that is shown."""
    page = services().browse.folder(actor(), view.backend, view.folder, limit=200)
    paths = [crumb.prefix for crumb in page.crumbs]
    paths += [entry.key for entry in page.entries if entry.folder]
    return tuple(path.removesuffix("/") for path in paths if path)
