"""The environment editor: what it shows, what it changes, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.environment.editor import EnvironmentEditor
from dashboard.services.environment.environment_values import VariableState
from dashboard.services.environment.live_settings import runner_report
from dashboard.services.environment.variables import AT_START, KNOWN, LIVE, OWN, Where
from dashboard.services.permissions import Permission
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.services.console import ADMIN, OPERATOR, PASSWORD, VIEWER, started

CLI = replace(ADMIN, via="cli", address="")
SECRET = "canary/SECRET+value=0123456789"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with started(tmp_path / "instance") as console:
        console.services.setup.complete(None, ADMIN.name, PASSWORD, actor=CLI)
        yield console.services


@pytest.fixture
def editor(services: Services) -> EnvironmentEditor:
    return services.environment


@pytest.fixture
def file(services: Services) -> Path:
    return services.settings.instance / ".env"


def shown(editor: EnvironmentEditor, name: str) -> VariableState:
    return next(each for each in editor.state(ADMIN).variables if each.variable.name == name)


def test_every_setting_is_in_the_table_and_says_when_it_counts() -> None:
    fields = {f"STOWAGE_{name.upper()}" for name in Settings.__dataclass_fields__ if name != "environment"}
    assert {each.name for each in OWN} == fields | {"STOWAGE_ENV_FILE"}
    assert {*LIVE, *AT_START} | {each.name for each in OWN if each.where is Where.PROCESS} == {
        each.name for each in OWN
    }
    assert all(each.about.endswith(".") and each.category for each in KNOWN.values())


@pytest.mark.parametrize("actor", [OPERATOR, VIEWER])
def test_only_admins_see_or_change_it(editor: EnvironmentEditor, actor: object) -> None:
    calls = (
        lambda who: editor.state(who),
        lambda who: editor.plan(who, {}),
        lambda who: editor.save(who, {}),
        lambda who: editor.backups(who),
        lambda who: editor.back_up(who),
        lambda who: editor.compare(who, "x"),
        lambda who: editor.restore(who, "x"),
        lambda who: editor.reload(who),
    )
    for call in calls:
        with pytest.raises(StowageError) as caught:
            call(actor)
        assert caught.value.kind is Kind.FORBIDDEN


def test_a_change_counts_at_once_is_backed_up_and_recorded(
    services: Services, editor: EnvironmentEditor, file: Path
) -> None:
    file.write_text("# mine\nSTOWAGE_MAX_UPLOAD_SIZE=100 # small\nOTHER=keep\n")
    file.chmod(0o600)
    seen = editor.state(ADMIN)
    assert (seen.others, seen.exists) == (1, True)
    plan = editor.save(ADMIN, {"STOWAGE_MAX_UPLOAD_SIZE": "200"}, version=seen.version)
    assert [(c.before, c.after, c.when) for c in plan.changes] == [("100", "200", "counts at once")]
    assert file.read_text() == "# mine\nSTOWAGE_MAX_UPLOAD_SIZE=200 # small\nOTHER=keep\n"
    assert services.settings.max_upload_size == 200
    assert services.uploads.limits.max_size("default") == 200
    (backup,) = editor.backups(ADMIN)
    assert (backup.by, backup.before) == (ADMIN.name, "1 change in Uploads")
    entry = services.audit.rows(action="environment.change")[0]
    assert entry.detail["STOWAGE_MAX_UPLOAD_SIZE"] == "100 → 200"


def test_whatever_is_live_is_applied(services: Services, editor: EnvironmentEditor) -> None:
    values = {
        "STOWAGE_LOG_LEVEL": "warning",
        "STOWAGE_MAX_WORKERS": "3",
        "STOWAGE_PUBLIC_URL": "https://files.example.com",
        "STOWAGE_HOSTS": "files.example.com",
        "STOWAGE_API_REQUESTS_PER_MINUTE": "60",
        "STOWAGE_UPLOAD_QUOTA": "7",
        "STOWAGE_CLAMAV": "127.0.0.1:3310",
        "STOWAGE_MAX_UPLOAD_SIZE": "9",
        "STOWAGE_LANGUAGE": "de",
        "STOWAGE_TIME_ZONE": "Asia/Tokyo",
        "STOWAGE_CARRIERS": "2",
        "STOWAGE_BANDWIDTH_LIMIT": "5M",
        "STOWAGE_OBJECTS_PER_SECOND": "50",
    }
    assert values.keys() == set(LIVE)
    editor.save(ADMIN, values)
    now = services.settings
    assert (now.log_level, now.max_workers, now.upload_quota, now.clamav) == (
        "warning",
        3,
        7,
        "127.0.0.1:3310",
    )
    assert (now.language, now.time_zone) == ("de", "Asia/Tokyo")
    assert services.pipeline.scanner is not None
    assert editor.state(ADMIN).pending == ()
    editor.save(ADMIN, dict.fromkeys(values))
    assert services.settings == services.live.started
    assert services.pipeline.scanner is None


def test_what_needs_a_restart_says_so_until_then(services: Services, editor: EnvironmentEditor) -> None:
    plan = editor.save(ADMIN, {"STOWAGE_PORT": "9000"})
    assert plan.changes[0].when == "counts after a restart of Stowage"
    assert services.settings.port == 8080
    assert editor.state(ADMIN).pending == ("STOWAGE_PORT",)
    assert shown(editor, "STOWAGE_PORT").pending
    editor.save(ADMIN, {"STOWAGE_PORT": None})
    assert editor.state(ADMIN).pending == ()


def test_an_edit_by_hand_is_noticed_and_a_mistake_changes_nothing(
    services: Services, editor: EnvironmentEditor, file: Path
) -> None:
    editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "3"})
    file.write_text("STOWAGE_MAX_WORKERS=4\n")
    services.live.reload()
    assert services.settings.max_workers == 4
    file.write_text("STOWAGE_MAX_WORKERS=nonsense\n")
    assert "whole number" in editor.reload(ADMIN).error
    assert services.settings.max_workers == 4
    file.write_text("STOWAGE_MAX_WORKERS='5\n")
    state = editor.reload(ADMIN)
    assert "never closed" in state.error
    assert state.problem == "Line 1 has a quote that is never closed."
    with pytest.raises(StowageError, match="Line 1 of the settings file"):
        editor.save(ADMIN, {"STOWAGE_PORT": "1"})
    file.unlink()
    assert (editor.reload(ADMIN).error, services.settings.max_workers) == ("", 256)


def test_a_secret_is_shown_and_recorded_nowhere_and_takes_the_password(
    services: Services, editor: EnvironmentEditor, file: Path
) -> None:
    changes = {
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "SFTP_PASSWORD": SECRET,
        "AWS_ENDPOINT_URL": f"http://u:{SECRET}@h",
    }
    plan = editor.plan(ADMIN, changes)
    assert plan.needs_password
    assert SECRET not in repr(plan)
    for password in (None, Secret("wrong")):
        with pytest.raises(InvalidInput) as caught:
            editor.save(ADMIN, changes, password=password)
        assert caught.value.subject == "confirm"
        assert not file.exists()
    editor.save(ADMIN, changes, password=Secret(PASSWORD))
    assert shown(editor, "AWS_SECRET_ACCESS_KEY").shown == "set, ends in 6789"
    assert shown(editor, "SFTP_PASSWORD").shown == "set"
    assert shown(editor, "AWS_ENDPOINT_URL").shown == "set, holds a password"
    assert SECRET not in repr(editor.state(ADMIN))
    editor.save(replace(ADMIN, via="api"), {"AWS_SECRET_ACCESS_KEY": SECRET * 2})
    editor.save(CLI, {"AWS_SECRET_ACCESS_KEY": None})
    rows = services.audit.rows(action="environment.change")
    assert [row.detail["AWS_SECRET_ACCESS_KEY"] for row in rows] == ["removed", "replaced", "set"]
    assert SECRET not in repr(rows)
    assert SECRET not in repr([editor.compare(ADMIN, each.id) for each in editor.backups(ADMIN)])


def test_guesses_of_the_password_are_throttled(editor: EnvironmentEditor) -> None:
    kinds = []
    for _ in range(7):
        with pytest.raises(StowageError) as caught:
            editor.save(ADMIN, {"AWS_SECRET_ACCESS_KEY": SECRET}, password=Secret("wrong"))
        kinds.append(caught.value.kind)
    assert kinds[-1] is Kind.THROTTLED


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("STOWAGE_PORT", "99999", "between 0 and 65535"),
        ("STOWAGE_MAX_WORKERS", "many", "whole number"),
        ("STOWAGE_LOG_LEVEL", "loud", "one of debug"),
        ("STOWAGE_CLAMAV", "clamav:331O", "takes the path"),
        ("STOWAGE_PUBLIC_URL", "example.com", "console's address"),
        ("STOWAGE_PORT", "1\n2", "one line"),
        ("STORAGE_BACKEND", "floppy", "no kind of backend"),
        ("SFTP_PORT", "0", "port from 1"),
        ("MINIO_SECURE", "maybe", "true or false"),
        ("AWS_ENDPOINT_URL", "two words", "no blanks"),
        ("LD_PRELOAD", "/tmp/x.so", "not a variable of Stowage"),
        ("PATH", "/tmp", "not a variable of Stowage"),
        ("STOWAGE_INSTANCE", "/tmp", "cannot be changed here"),
        ("STOWAGE_LOCAL_ROOTS", "/", "cannot be changed here"),
        ("STOWAGE_MACHINE_CREDENTIALS", "aws", "cannot be changed here"),
        ("STOWAGE_KEY_FILE", "/tmp/key", "cannot be changed here"),
        ("STOWAGE_ACCEL_REDIRECTS", "/=/x", "cannot be changed here"),
        ("STOWAGE_SENDFILE_ROOTS", "/", "cannot be changed here"),
    ],
)
def test_a_wrong_value_is_a_sentence_and_nothing_is_saved(
    editor: EnvironmentEditor, file: Path, name: str, value: str, why: str
) -> None:
    changes = {"STOWAGE_UPLOAD_QUOTA": "1", name: value}
    assert why in str(editor.plan(ADMIN, changes).error(name))
    with pytest.raises(InvalidInput) as caught:
        editor.save(ADMIN, changes)
    assert caught.value.subject == name
    assert not file.exists()


def test_what_limits_admins_is_changed_on_the_machine(editor: EnvironmentEditor, tmp_path: Path) -> None:
    editor.save(CLI, {"STOWAGE_LOCAL_ROOTS": str(tmp_path)})
    assert "stowage env set" in shown(editor, "STOWAGE_LOCAL_ROOTS").locked
    with pytest.raises(InvalidInput):
        editor.save(ADMIN, {"STOWAGE_LOCAL_ROOTS": None})
    # Nor by restoring a backup from before.
    (backup,) = editor.backups(ADMIN)
    with pytest.raises(InvalidInput, match="STOWAGE_LOCAL_ROOTS"):
        editor.restore(ADMIN, backup.id)
    editor.restore(CLI, backup.id)
    assert not shown(editor, "STOWAGE_LOCAL_ROOTS").is_set


def test_two_editors_do_not_overwrite_each_other(editor: EnvironmentEditor, file: Path) -> None:
    version = editor.state(ADMIN).version
    editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "3"}, version=version)
    with pytest.raises(StowageError, match="changed meanwhile") as caught:
        editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "4"}, version=version)
    assert caught.value.kind is Kind.CONFLICT
    with pytest.raises(StowageError, match="changed meanwhile"):
        editor.restore(ADMIN, editor.backups(ADMIN)[0].id, version=version)
    assert file.read_text() == "STOWAGE_MAX_WORKERS=3\n"


def test_a_restore_is_shown_first_backed_up_and_byte_for_byte(editor: EnvironmentEditor, file: Path) -> None:
    before = b"\xef\xbb\xbf# \xff odd\r\nSTOWAGE_MAX_WORKERS = '3'\r\nOTHER=a"
    file.write_bytes(before)
    file.chmod(0o600)
    editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "4"})
    file.write_bytes(file.read_bytes().replace(b"OTHER=a", b"OTHER=b"))
    (backup,) = editor.backups(ADMIN)
    plan = editor.compare(ADMIN, backup.id).plan
    assert [(c.name, c.before, c.after) for c in plan.changes] == [("STOWAGE_MAX_WORKERS", "4", "3")]
    assert plan.others == ("OTHER",)
    editor.restore(ADMIN, backup.id, version=plan.version)
    assert file.read_bytes() == before
    assert [each.before for each in editor.backups(ADMIN)] == ["a restore", "1 change in General"]
    with pytest.raises(StowageError) as caught:
        editor.compare(ADMIN, "0" * 19 + "-" + "0" * 16)
    assert caught.value.kind is Kind.NOT_FOUND


def test_what_the_process_sets_overrides_the_file_and_says_so(tmp_path: Path) -> None:
    from dashboard.app import open_services

    instance = tmp_path / "instance"
    services = open_services(Settings.from_env({"STOWAGE_MAX_WORKERS": "5"}, instance=instance))
    try:
        editor = services.environment
        state = shown(editor, "STOWAGE_MAX_WORKERS")
        assert (state.source, state.shown) == ("process", "5")
        assert "process" in state.locked
        with pytest.raises(InvalidInput):
            editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "6"})
        plan = editor.save(CLI, {"STOWAGE_MAX_WORKERS": "6"})
        assert "no effect" in plan.changes[0].when
        assert services.settings.max_workers == 5
        # A line without effect may go.
        editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": None})
    finally:
        services.close()


def test_nothing_is_written_that_is_not_recorded(
    services: Services, editor: EnvironmentEditor, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StowageError(Kind.FULL, "The disk with the database is full.")

    monkeypatch.setattr(services.audit, "record", full)
    with pytest.raises(StowageError, match="full"):
        editor.save(ADMIN, {"STOWAGE_MAX_WORKERS": "3"})
    assert not file.exists()


def test_the_runner_learns_of_a_change_and_says_what_it_waits_for(
    services: Services, editor: EnvironmentEditor
) -> None:
    assert editor.state(ADMIN).runner is None
    with started(services.settings.instance) as other:
        other.services.live.publish(other.database)
        assert not editor.state(ADMIN).runner_is_behind
        editor.save(ADMIN, {"STOWAGE_PORT": "9000", "STOWAGE_MAX_WORKERS": "3"})
        assert editor.state(ADMIN).runner_is_behind
        other.services.live.reload()
        other.services.live.publish(other.database)
        assert other.services.settings.max_workers == 3
    report = runner_report(services.database)
    assert report is not None
    assert report.pending == ("STOWAGE_PORT",)
    assert not editor.state(ADMIN).runner_is_behind


def test_a_guard_can_refuse(editor: EnvironmentEditor, file: Path) -> None:
    error = InvalidInput("STOWAGE_HOSTS", "This would lock you out.")
    with pytest.raises(InvalidInput, match="lock you out"):
        editor.save(ADMIN, {"STOWAGE_HOSTS": "other.example.com"}, guard=lambda _: error)
    assert not file.exists()


def test_the_new_permission_is_for_admins() -> None:
    assert ADMIN.may(Permission.ENVIRONMENT)
    assert not OPERATOR.may(Permission.ENVIRONMENT)
