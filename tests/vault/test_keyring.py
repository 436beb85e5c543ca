"""The key file: made once, read only by its owner, replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.vault.keyring import KeyFile
from dashboard.vault.keys import Key, Keyring


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "stowage.key")


def test_a_missing_file_is_not_made_by_looking(file: KeyFile) -> None:
    assert file.read() is None
    assert file.signature() is None
    assert not file.path.exists()


def test_a_new_file_is_readable_by_its_owner_only(file: KeyFile) -> None:
    ring = Keyring(Key.new())
    file.create(ring)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o400
    assert KeyFile(file.path).read() == ring
    assert os.listdir(file.path.parent) == ["stowage.key"]


def test_an_existing_file_is_never_overwritten_by_creating(file: KeyFile) -> None:
    first = Keyring(Key.new())
    file.create(first)
    with pytest.raises(StowageError) as caught:
        file.create(Keyring(Key.new()))
    assert caught.value.kind is Kind.CONFLICT
    assert file.read() == first
    assert os.listdir(file.path.parent) == ["stowage.key"]


def test_a_link_to_a_key_file_is_not_one(file: KeyFile, tmp_path: Path) -> None:
    elsewhere = KeyFile(tmp_path / "elsewhere.key")
    elsewhere.create(Keyring(Key.new()))
    file.path.symlink_to(elsewhere.path)
    with pytest.raises(StowageError, match="is a symbolic link") as caught:
        file.read()
    assert caught.value.kind is Kind.SEALED
    assert "STOWAGE_KEY_FILE" in caught.value.remedy
    assert file.signature() != elsewhere.signature()


def test_a_replacement_is_noticed_by_others_at_once(file: KeyFile) -> None:
    old = Key.new()
    file.create(Keyring(old))
    other = KeyFile(file.path)
    assert other.read() == Keyring(old)
    new = Keyring(Key.new(), (old,))
    file.replace(new)
    assert other.read() == new
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o400


def test_what_a_crash_left_beside_it_is_in_nobodys_way(file: KeyFile) -> None:
    left = file.path.with_name(".stowage.key.new")
    left.write_text("half a ke")
    left.chmod(0o400)
    ring = Keyring(Key.new())
    file.create(ring)
    assert file.read() == ring
    assert not left.exists()


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o640, 0o600 | 0o020])
def test_a_file_that_others_may_use_is_refused_with_the_command_to_mend_it(file: KeyFile, mode: int) -> None:
    file.create(Keyring(Key.new()))
    file.path.chmod(mode)
    with pytest.raises(StowageError) as caught:
        file.read()
    assert caught.value.kind is Kind.SEALED
    assert "can be read by others" in caught.value.reason
    assert f"chmod 400 {file.path}" in caught.value.remedy


@pytest.mark.parametrize(
    "content", [b"", b"# only words\n", b"v1 abcdefgh c2hvcnQ=\n", b"\xff\xfe\x00", b"v2 x y\n", b"v1 a\n"]
)
def test_a_damaged_file_is_refused_and_left_alone(file: KeyFile, content: bytes) -> None:
    file.path.write_bytes(content)
    file.path.chmod(0o600)
    with pytest.raises(StowageError) as caught:
        file.read()
    assert "damaged" in caught.value.reason
    assert file.path.read_bytes() == content


def test_a_key_under_another_keys_name_is_damage(file: KeyFile) -> None:
    file.create(Keyring(Key.new()))
    text = file.path.read_text()
    file.path.chmod(0o600)
    file.path.write_text(text.replace("v1 ", "v1 q", 1))
    with pytest.raises(StowageError, match="damaged"):
        file.read()


def test_a_folder_in_its_place_is_refused(file: KeyFile) -> None:
    file.path.mkdir()
    with pytest.raises(StowageError) as caught:
        file.read()
    assert caught.value.kind is Kind.SEALED


def test_a_file_that_does_not_help_is_kept_aside(file: KeyFile) -> None:
    ring = Keyring(Key.new())
    file.create(ring)
    aside = file.set_aside()
    assert aside is not None
    assert KeyFile(aside).read() == ring
    assert file.read() is None
    assert file.set_aside() is None
