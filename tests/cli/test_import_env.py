"""``stowage backend import-env``."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.storage.library.environment_variables import SELECTORS, VARIABLES
from tests.cli.conftest import Cli, command_line, set_up

SECRET = "a-secret-of-forty-letters-0123456789abcd"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_STORAGE_BUCKET_NAME": "photos",
    "AWS_REGION": "eu-central-1",
}


@pytest.fixture
def console(instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name in (*SELECTORS, *(variable.name for variable in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    return set_up(command_line(instance), tmp_path / "other")


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_it_shows_what_it_found_and_saves_nothing(console: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **AWS, MINIO_BUCKET="unneeded")
    answer = console("backend", "import-env")
    assert answer.code == 0, answer.err
    assert "AWS_STORAGE_BUCKET_NAME" in answer.out
    assert "photos" in answer.out
    assert "***" in answer.out
    assert "MINIO_BUCKET" in answer.err
    assert "Nothing was saved" in answer.err
    assert SECRET not in answer.out + answer.err
    assert console("backend", "show", "media").code == 2


def test_with_yes_it_is_a_backend(console: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **AWS)
    answer = console("backend", "import-env", "pictures", "--yes", "--json")
    assert answer.code == 0, answer.err
    assert (answer.document["name"], answer.document["preset"], answer.document["saved"]) == (
        "pictures",
        "aws",
        True,
    )
    assert SECRET not in answer.out + answer.err
    shown = console("backend", "show", "pictures", "--json").document
    assert shown["options"]["bucket"] == "photos"
    assert shown["secrets"] == {"secret_access_key": SECRET[-4:]}
    again = console("backend", "import-env", "pictures", "--yes")
    assert again.code == 2
    assert "already" in again.err


def test_a_media_folder_is_tested_before_it_is_saved(
    console: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, STORAGE_TYPE="filesystem", MEDIA_ROOT=str(tmp_path / "media"), MEDIA_URL="/media/")
    refused = console("backend", "import-env", "--yes", "--test")
    assert refused.code == 1
    assert console("backend", "show", "media").code == 2
    (tmp_path / "media").mkdir()
    assert console("backend", "import-env", "--yes", "--test").code == 0
    shown = console("backend", "show", "media", "--json").document
    assert shown["options"]["public_url"] == "/media/"


def test_what_cannot_be_used_is_called_by_its_variable(console: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "STORAGE_BACKEND" in console("backend", "import-env", "--json").document["error"]["subject"]
    given(monkeypatch, **AWS | {"AWS_ENDPOINT_URL": f"https://ada:{SECRET}@s3.example.com"})
    answer = console("backend", "import-env")
    assert answer.code == 2
    assert "AWS_ENDPOINT_URL" in answer.err
    assert SECRET not in answer.out + answer.err
