"""``stowage env``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli

SECRET = "canary/SECRET+value=0123456789"


def test_variables_are_set_compared_restored_and_removed(cli: Cli, instance: Path) -> None:
    assert cli("env", "diff", "--json").document == {"backup": None, "changes": []}
    done = cli("env", "set", "STOWAGE_PORT=9000", "STOWAGE_LOCAL_ROOTS=/srv/files", "--yes")
    assert done.code == 0, done.err
    assert "+ STOWAGE_PORT=9000" in done.err
    assert "counts after a restart" in done.err
    assert (instance / ".env").read_text() == "STOWAGE_PORT=9000\nSTOWAGE_LOCAL_ROOTS=/srv/files\n"
    listed = cli("env", "list")
    assert "STOWAGE_PORT" in listed.out
    assert "STOWAGE_HOSTS" not in listed.out
    assert "STOWAGE_HOSTS" in cli("env", "list", "--all").out
    assert cli("env", "set", "STOWAGE_PORT=9000", "--yes", "--json").document["saved"] is False
    removed = cli("env", "unset", "STOWAGE_PORT", "--yes", "--json")
    assert removed.document["changes"][0]["after"] is None
    newest = cli("env", "backups", "--json").document["backups"][0]
    assert newest["before"] == "1 change in Network"
    assert "+ STOWAGE_PORT=9000" in cli("env", "diff").err
    assert cli("env", "restore", newest["id"], "--yes").code == 0
    assert "STOWAGE_PORT=9000" in (instance / ".env").read_text()


def test_a_secret_is_no_argument_and_shown_nowhere(cli: Cli, instance: Path, tmp_path: Path) -> None:
    refused = cli("env", "set", f"AWS_SECRET_ACCESS_KEY={SECRET}", "--yes")
    assert refused.code == 2
    assert SECRET not in refused.out + refused.err
    path = tmp_path / "secret"
    path.write_text(SECRET)
    done = cli("env", "set", "--secret", f"AWS_SECRET_ACCESS_KEY=file:{path}", "--yes", "--json")
    assert done.code == 0, done.err
    shown = [done, cli("env", "list", "--json"), cli("env", "diff", "--json"), cli("env", "list")]
    assert all(SECRET not in each.out + each.err for each in shown)
    assert "set, ends in 6789" in shown[-1].out
    assert (instance / ".env").read_text() == f"AWS_SECRET_ACCESS_KEY={SECRET}\n"


def test_wrong_use_is_a_sentence_and_a_broken_file_an_exit_code(cli: Cli, instance: Path) -> None:
    for wrong in (("LD_PRELOAD=/x",), ("STOWAGE_PORT=x",), (), ("STOWAGE_INSTANCE=/x",)):
        assert cli("env", "set", *wrong, "--yes").code == 2
    assert cli("env", "restore", "nonsense", "--yes").code == 2
    assert cli("env", "set", "STOWAGE_PORT=1").code == 2, "there is no terminal to ask on"
    (instance / ".env").write_text("broken")
    failed = cli("env", "list")
    assert failed.code == 2
    assert "Line 1 of" in failed.err
