"""The settings file beneath the process's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.services.backends.importing import importable
from dashboard.settings import Settings, SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.touch(mode=0o600)
    return path


def test_the_process_overrides_the_file_and_the_file_the_defaults(file: Path, tmp_path: Path) -> None:
    file.write_text("STOWAGE_PORT=9000\nexport STOWAGE_HOST='::1'\nSTOWAGE_INSTANCE=/elsewhere\n")
    settings = Settings.from_env({"STOWAGE_PORT": "9001"}, instance=tmp_path)
    assert (settings.port, settings.host, settings.instance) == (9001, "::1", tmp_path)
    assert Settings.from_env({"STOWAGE_INSTANCE": str(tmp_path)}).port == 9000
    assert Settings.from_env({}, instance=tmp_path, port=9002).port == 9002


def test_the_file_may_be_elsewhere(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.env"
    other.touch(mode=0o600)
    other.write_text("STOWAGE_PORT=9003\n")
    settings = Settings.from_env({"STOWAGE_ENV_FILE": str(other)}, instance=tmp_path)
    assert settings.port == 9003
    assert settings.environment is not None
    assert settings.environment.file == other


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("STOWAGE_PORT=x", "whole number"),
        ("A='", "Line 1 of .* never closed"),
        ("A=1\nB", "Line 2 of .* neither"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(file: Path, tmp_path: Path, text: str, why: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=why):
        Settings.from_env({}, instance=tmp_path)


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir(mode=0o700)
    (tmp_path / "instance" / ".env").symlink_to(file)
    with pytest.raises(SettingsError, match="symbolic link"):
        Settings.from_env({}, instance=tmp_path / "instance")


def test_the_files_secrets_are_printed_nowhere(file: Path, tmp_path: Path) -> None:
    file.write_text("AWS_SECRET_ACCESS_KEY=canary-in-file\n")
    settings = Settings.from_env({"MINIO_SECRET_KEY": "canary-in-process"}, instance=tmp_path)
    assert "canary" not in repr(settings)


def test_an_import_never_mixes_the_file_with_the_process(file: Path, tmp_path: Path) -> None:
    file.write_text("AWS_ENDPOINT_URL=https://evil.example.net\n")
    mixed = Settings.from_env({"AWS_SECRET_ACCESS_KEY": "s"}, instance=tmp_path)
    assert importable(mixed.environment) == {"AWS_SECRET_ACCESS_KEY": "s"}
    alone = Settings.from_env({"HOME": "/"}, instance=tmp_path)
    assert "AWS_ENDPOINT_URL" in importable(alone.environment)
    assert importable(None) == {}
