"""``stowage backend`` and the accounts and keys around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import PASSWORD, Cli
from tests.servers.seaweedfs import SeaweedFS

NEW_PASSWORD = "another long pass phrase"


def test_list_and_show_for_people_and_programs(console: Cli) -> None:
    listed = console("backend", "list")
    assert "local-disk" in listed.out
    assert "active" in listed.out
    names = [one["name"] for one in console("backend", "list", "--json").document["backends"]]
    assert names == ["local-disk", "other"]
    shown = console("backend", "show", "other", "--json").document
    assert shown["preset"] == "local"
    assert not shown["active"]
    assert shown["options"]["root"] in console("backend", "show", "other").out


def test_presets_name_their_options(untouched: Cli) -> None:
    names = [one["name"] for one in untouched("backend", "presets", "--json").document["presets"]]
    assert {"local", "aws", "b2", "minio", "r2", "spaces", "wasabi", "supabase", "s3"} <= set(names)
    assert "account_id" in untouched("backend", "presets", "r2").out
    assert untouched("backend", "presets", "nope").code == 2


def test_edit_keeps_what_is_not_given(console: Cli, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    edited = console("backend", "edit", "other", "--option", f"root={moved}", "--rename", "third", "--json")
    assert edited.code == 0, edited.err
    assert edited.document["name"] == "third"
    assert edited.document["options"]["root"] == str(moved)
    assert console("backend", "show", "other").code == 2


def test_remove_asks_first(console: Cli) -> None:
    refused = console("backend", "remove", "other")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert console("backend", "remove", "other", "--yes", "--json").document["removed"] is True
    assert console("backend", "show", "other").code == 2


def test_a_test_goes_step_by_step_and_can_make_the_folder(console: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").rmdir()
    failed = console("backend", "test", "other", "--json")
    assert failed.code == 1
    assert failed.document["passed"] is False
    assert "--create-bucket" in failed.err
    passed = console("backend", "test", "other", "--create-bucket")
    assert passed.code == 0, passed.err
    assert "Delete" in passed.err
    assert not list((tmp_path / "other").iterdir())


def test_a_place_that_another_backend_has_is_named(console: Cli, tmp_path: Path) -> None:
    (tmp_path / "other" / "within").mkdir()
    option = f"root={tmp_path / 'other' / 'within'}"
    added = console("backend", "add", "inner", "--preset", "local", "--option", option)
    assert (added.code, added.out.count("holds the same")) == (0, 0)
    assert "inner holds the same files as other" in added.err
    alone = tmp_path / "alone"
    alone.mkdir()
    edited = console("backend", "edit", "inner", "--option", f"root={alone}")
    assert edited.code == 0, edited.err
    assert "holds the same" not in edited.err


def test_add_with_test_saves_nothing_that_does_not_work(
    console: Cli, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIGHT", seaweedfs.admin.secret_key)
    monkeypatch.setenv("WRONG", "not-the-secret-of-this-server")
    base = ["backend", "add", "bucket", "--preset", "s3", "--test", "--json"]
    for option in (
        f"endpoint={seaweedfs.endpoint}",
        "region=us-east-1",
        f"bucket={seaweedfs.new_bucket()}",
        f"access_key_id={seaweedfs.admin.access_key}",
        "path_style=true",
    ):
        base += ["--option", option]
    wrong = console(*base, "--secret", "secret_access_key=env:WRONG")
    assert wrong.code == 1
    assert wrong.document["passed"] is False
    assert console("backend", "show", "bucket").code == 2
    right = console(*base, "--secret", "secret_access_key=env:RIGHT")
    assert right.code == 0, right.err
    assert right.document["name"] == "bucket"
    for answer in (wrong, right):
        assert seaweedfs.admin.secret_key not in answer.out + answer.err
        assert "not-the-secret" not in answer.out + answer.err


def test_count_works_without_a_console(console: Cli, files: Path) -> None:
    counted = console("backend", "count", "local-disk", "--json")
    assert counted.code == 0, counted.err
    assert counted.document["status"]["objects"] == 30
    assert counted.document["status"]["bytes"] == sum(p.stat().st_size for p in files.rglob("*.txt"))


def test_a_count_that_fails_is_exit_code_1(console: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").rmdir()
    answer = console("backend", "count", "other")
    assert answer.code == 1
    assert "could not be counted" in answer.err


def test_activate_says_what_is_missing_and_wants_a_yes(console: Cli, files: Path) -> None:
    assert files.exists()
    refused = console("backend", "activate", "other")
    assert refused.code == 2
    assert "0 of 30 objects are there" in refused.err
    assert console("backend", "show", "local-disk", "--json").document["active"]
    done = console("backend", "activate", "other", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.document["comparison"]["missing"] == 30
    assert console("backend", "show", "other", "--json").document["active"]
    again = console("backend", "activate", "other")
    assert again.code == 0
    assert "already" in again.err


def test_activate_refuses_what_takes_no_files_and_counts_what_goes_missing(
    console: Cli, files: Path, tmp_path: Path
) -> None:
    assert files.exists()
    uncounted = console("backend", "activate", "other", "--yes", "--no-fallback")
    assert (uncounted.code, "30 files that would not be found" in uncounted.err) == (2, True)
    (tmp_path / "other").rename(tmp_path / "away")
    refused = console("backend", "activate", "other", "--yes", "--no-compare")
    assert refused.code == 1
    assert "cannot take files now" in refused.err
    assert console("backend", "show", "local-disk", "--json").document["active"]
    done = console("backend", "activate", "other", "--yes", "--no-compare", "--untested", "other", "--json")
    assert (done.code, done.document["reads"]) == (0, ["other", "local-disk"])


def test_setup_works_once(cli: Cli) -> None:
    first = cli("setup", "--username", "ann", "--password-stdin", "--json", input=f"{PASSWORD}\n")
    assert first.code == 0, first.err
    assert first.document["recovery_key"]
    assert PASSWORD not in first.out + first.err
    second = cli("setup", "--username", "eve", "--password-stdin", "--json", input=f"{PASSWORD}\n")
    assert second.code == 1
    assert second.document["error"]["kind"] == "conflict"


def test_users_are_added_listed_and_given_passwords(console: Cli) -> None:
    added = console("user", "add", "bob", "--role", "operator", "--password-stdin", input=f"{PASSWORD}\n")
    assert added.code == 0, added.err
    users = console("user", "list", "--json").document["users"]
    assert [(user["username"], user["role"]) for user in users] == [("ann", "admin"), ("bob", "operator")]
    assert "operator" in console("user", "list").out
    changed = console("user", "passwd", "bob", "--password-stdin", input=f"{NEW_PASSWORD}\n")
    assert changed.code == 0, changed.err
    assert NEW_PASSWORD not in changed.out + changed.err
    assert console("user", "add", "bob", "--password-stdin", input=f"{PASSWORD}\n").code == 2
    weak = console("user", "add", "eve", "--password-stdin", input="short\n")
    assert weak.code == 2
    assert "short" not in weak.out


def test_keys_rotate_and_come_back_from_the_recovery_key(console: Cli, instance: Path) -> None:
    before = console("keys", "show-state", "--json").document
    assert not before["sealed"]
    rotated = console("keys", "rotate", "--yes", "--json").document
    assert rotated["key_id"] != before["key_id"]
    (instance / "stowage.key").unlink()
    sealed = console("keys", "show-state")
    assert sealed.code == 1
    assert "sealed" in sealed.out
    count = console("backend", "count", "local-disk", "--json")
    assert count.code == 1
    assert count.document["error"]["kind"] == "sealed"
    wrong = console("keys", "restore", "--recovery-key-stdin", input="ABCD-EFGH\n")
    assert wrong.code == 2
    assert "ABCD" not in wrong.out + wrong.err
    back = console("keys", "restore", "--recovery-key-stdin", input=f"{rotated['recovery_key']}\n")
    assert back.code == 0, back.err
    assert console("keys", "show-state", "--json").document == {
        "sealed": False,
        "reason": "",
        "remedy": "",
        "key_id": rotated["key_id"],
    }


def test_a_new_key_encrypts_a_backend(console: Cli, tmp_path: Path) -> None:
    key = console("backend", "new-key").out.strip()
    assert console("backend", "new-key", "--json").document["key"] != key
    (tmp_path / "key").write_text(key + "\n")
    secret = f"encryption_key=file:{tmp_path / 'key'}"
    edited = console("backend", "edit", "other", "--option", "encrypt=true", "--secret", secret, "--test")
    assert edited.code == 0, edited.err
    assert key not in edited.out + edited.err
    assert console("backend", "edit", "other", "--option", "encrypt=true", "--secret", secret).code == 0
    shown = console("backend", "show", "other")
    assert key not in shown.out + shown.err


def test_what_waits_elsewhere_is_listed_and_dismissed(console: Cli, tmp_path: Path) -> None:
    assert console("backend", "waiting", "--json").document == {"waiting": []}
    assert console("backend", "waiting").code == 0
    assert console("backend", "waiting", "--dismiss", "other").code == 0
    assert console("backend", "waiting", "--dismiss", "nobody").code == 2
