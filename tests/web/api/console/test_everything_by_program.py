"""What a person does on a page, a program does through the API: each of the console's changes has its
operation in the document, or a reason why not."""

from __future__ import annotations

from dashboard.web.context import API_DOCUMENT
from dashboard.web.guards import access_of
from tests.web.conftest import WebConsole

SAME = {
    "activation.activate": "POST /backends/{name}/activate",
    "activation.compare": "POST /backends/{name}/comparison",
    "audit.retention": "PUT /audit/retention",
    "audit.verify": "POST /audit/verify",
    "backend_form.add": "POST /backends",
    "backend_form.save": "PATCH /backends/{name}",
    "backends.fallback": "PUT /fallback-order",
    "backends.read_only": "PUT /backends/{name}/read-only",
    "backends.refresh": "POST /backends/{name}/refresh",
    "backends.refresh_all": "POST /refresh",
    "backends.remove": "DELETE /backends/{name}",
    "backups.change": "PUT /backups/schedule",
    "backups.create": "POST /backups",
    "bucket_settings.fix": "POST /backends/{name}/findings/{finding}/fix",
    "bucket_settings.look": "POST /backends/{name}/findings",
    "environment.back_up": "POST /environment/backups",
    "environment.change": "PATCH /environment",
    "environment.restore": "POST /environment/backups/{id}/restore",
    "file_changes.copy": "POST /backends/{name}/files/copy",
    "file_changes.delete": "POST /backends/{name}/files/delete",
    "file_changes.move": "POST /backends/{name}/files/move",
    "file_changes.new_folder": "POST /backends/{name}/files/folder",
    "file_changes.rename": "POST /backends/{name}/files/move",
    "file_changes.undo": "POST /deletions/{undo_id}/undo",
    "file_edits.edit": "PATCH /backends/{name}/files",
    "file_edits.restore": "POST /backends/{name}/files/restore",
    "file_searches.delete": "DELETE /searches/{id}",
    "file_searches.save": "POST /searches",
    "folder_jobs.press": "POST /folder-changes/{change_id}/cancel",
    "health_page.check": "POST /refresh",
    "keys.restore": "POST /key/restore",
    "keys.rotate": "POST /key/rotate",
    "ledger.retry": "POST /migrations/{id}/objects/retry",
    "links.create": "POST /links",
    "links.revoke": "DELETE /links/{id}",
    "migration_new.create": "POST /migrations",
    "migrations.cancel": "POST /migrations/{id}/cancel",
    "migrations.check": "POST /migrations/{id}/check",
    "migrations.limit": "PATCH /migrations/{id}",
    "migrations.pause": "POST /migrations/{id}/pause",
    "migrations.resume": "POST /migrations/{id}/resume",
    "migrations.retry": "POST /migrations/{id}/retry",
    "migrations.start": "POST /migrations/{id}/approve",
    "notifications.add": "POST /notifications/channels",
    "notifications.mute": "POST /notifications/channels/{name}/mute",
    "notifications.remove": "DELETE /notifications/channels/{name}",
    "notifications.save": "PUT /notifications/channels/{name}",
    "notifications.send_again": "POST /notifications/deliveries/{id}/send-again",
    "notifications.test_draft": "POST /notifications/tests",
    "notifications.test_saved": "POST /notifications/channels/{name}/test",
    "old_files.delete": "POST /old-files/deletions",
    "preferences.save": "PATCH /account/preferences",
    "preferences.theme": "PATCH /account/preferences",
    "prices.restore": "DELETE /usage/prices",
    "prices.save": "PATCH /usage/prices",
    "probes.create_for_saved": "POST /backends/{name}/container",
    "probes.test_draft": "POST /tests",
    "probes.test_saved": "POST /backends/{name}/test",
    "scheduled_copies.add": "POST /schedules",
    "scheduled_copies.change": "PATCH /schedules/{name}",
    "scheduled_copies.remove": "DELETE /schedules/{name}",
    "scheduled_copies.restore": "POST /schedules/{name}/restore",
    "scheduled_copies.run": "POST /schedules/{name}/run",
    "scheduled_copies.switch": "PATCH /schedules/{name}",
    "schedules.change": "PATCH /schedules/{name}",
    "schedules.run": "POST /schedules/{name}/run",
    "sessions.begin": "POST /account/two-factor",
    "sessions.codes": "POST /account/two-factor/codes",
    "sessions.confirm": "POST /account/two-factor/confirm",
    "sessions.end": "DELETE /sessions/{id}",
    "sessions.end_others": "POST /sessions/end-others",
    "sessions.off": "POST /account/two-factor/off",
    "settings.password": "PUT /account/password",
    "tokens.create": "POST /tokens",
    "tokens.revoke": "DELETE /tokens/{id}",
    "upload_policies.change": "POST /upload-policies",
    "upload_policies.create": "POST /upload-policies",
    "upload_policies.load": "POST /upload-policies",
    "upload_policies.remove": "DELETE /upload-policies/{name}",
    "usage.delete": "POST /usage/duplicates/{id}/delete",
    "users.add": "POST /users",
    "users.disabled": "PATCH /users/{username}",
    "users.password": "PATCH /users/{username}",
    "users.role": "PATCH /users/{username}",
    "users.two_factor": "POST /users/{username}/two-factor/reset",
}
NO_OPERATION = {
    "backends.stop_count": "of use to a person who waits; a program asks for no count that it does not want",
    "file_changes.selected": "shows the question for a selection; what is answered has its operations",
    "overview.dismiss": "what one person has seen of a page; programs read the causes",
    "overview.show_dismissed": "the same, the other way round",
    "probes.create_for_draft": "save the backend first: then POST /backends/{name}/container",
    "setup.complete": "there is nobody yet who could have a token; stowage user add does it in a shell",
    "setup.download": "the recovery key is shown to the person who set the console up, once",
    "shared.download": "for people without an account, who have a link",
    "sign_in.enter": "a session is for browsers; programs have tokens",
    "sign_in.enter_code": "the same",
    "sign_in.enter_demo": "the same",
    "sign_in.leave": "the same: DELETE /sessions/{id} ends one",
}


def changes(console: WebConsole) -> set[str]:
    rules = console.app.url_map.iter_rules()
    found = {rule.endpoint for rule in rules if rule.methods and "POST" in rule.methods}
    return {each for each in found if not each.startswith("api_v1.")}


def test_every_change_of_the_console_has_its_operation(console: WebConsole) -> None:
    found = changes(console)
    assert found - SAME.keys() - NO_OPERATION.keys() == set(), "give each its operation, or a reason"
    assert (SAME.keys() | NO_OPERATION.keys()) - found == set(), "these are gone"
    assert SAME.keys() & NO_OPERATION.keys() == set()


def test_every_operation_is_in_the_document_and_needs_the_same(console: WebConsole) -> None:
    paths = console.app.extensions[API_DOCUMENT]()["paths"]
    for endpoint, operation in SAME.items():
        method, path = operation.split()
        described = paths[f"/api/v1{path}"][method.lower()]
        rule = access_of(console.app, endpoint)
        if endpoint == "scheduled_copies.run":
            # One address runs jobs and copies.
            continue
        assert f"Requires `{rule}`." in described["description"], (endpoint, operation)
