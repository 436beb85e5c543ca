"""Uploads as they arrive: offsets that hold after a kill, one writer, and limits before the first byte."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dashboard.app import open_services
from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.catalogue import uploads as table
from dashboard.services.backends.values import Draft
from dashboard.services.files.receiving import quarantine as quarantine_module
from dashboard.services.files.receiving import receiver as receiver_module
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.quarantine import Quarantine
from dashboard.services.files.receiving.receiver import ChecksumMismatch, parse_checksum
from dashboard.services.files.receiving.upload_names import clean_folder, clean_name, numbered, unique_name
from dashboard.services.files.receiving.upload_rows import UploadState
from dashboard.services.services import Services
from dashboard.settings import Settings
from tests.services.console import ADMIN, OPERATOR, VIEWER
from tests.services.files.conftest import send


def kind_of(error: pytest.ExceptionInfo[StowageError]) -> Kind:
    return error.value.kind


def begin(services: Services, size: int | None = 10, name: str = "a.txt", **options: Any) -> str:
    return services.uploads.create(OPERATOR, NewUpload(name, size, **options)).id


def write(services: Services, upload_id: str, offset: int, data: bytes, **options: Any) -> int:
    with services.uploads.append(OPERATOR, upload_id, offset=offset, **options) as receiver:
        receiver.write(data)
        return receiver.finish().received


def on_disk(services: Services, upload_id: str) -> Path:
    return services.settings.instance / "uploads" / upload_id


def test_bytes_arrive_in_pieces_and_the_last_one_completes(services: Services) -> None:
    upload_id = begin(services)
    assert write(services, upload_id, 0, b"01234") == 5
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 5
    assert services.uploads.get(OPERATOR, upload_id).percent == 40
    assert write(services, upload_id, 5, b"56789") == 10
    done = services.uploads.get(OPERATOR, upload_id)
    assert done.state is UploadState.CHECKING
    assert on_disk(services, upload_id).read_bytes() == b"0123456789"


def test_an_empty_file_is_complete_at_once(services: Services) -> None:
    assert services.uploads.get(OPERATOR, begin(services, 0)).state is UploadState.CHECKING


def test_the_quarantine_is_closed_to_others_and_to_backends(services: Services) -> None:
    path = on_disk(services, begin(services))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for folder in (path.parent, path.parent / "below"):
        with pytest.raises(InvalidInput):
            services.backends.add(ADMIN, Draft("inside", "local", {"root": str(folder)}, {}))


def test_a_wrong_offset_is_a_conflict(services: Services) -> None:
    upload_id = begin(services)
    write(services, upload_id, 0, b"01234")
    for offset in (0, 4, 6):
        with pytest.raises(StowageError) as error:
            services.uploads.append(OPERATOR, upload_id, offset=offset)
        assert kind_of(error) is Kind.CONFLICT


def test_a_cut_keeps_what_arrived(services: Services) -> None:
    upload_id = begin(services)
    with services.uploads.append(OPERATOR, upload_id, offset=0) as receiver:
        receiver.write(b"012")
    upload, offset = services.uploads.offset(OPERATOR, upload_id)
    assert (upload.received, offset) == (3, 3)


def killed_while_writing(services: Services, upload_id: str, data: bytes) -> None:
    """What a killed process leaves: bytes that no row mentions. The test of kills really kills."""
    with on_disk(services, upload_id).open("ab") as file:
        file.write(data)


def test_writers_of_other_processes_are_locked_out(services: Services) -> None:
    upload_id = begin(services)
    with services.uploads.append(OPERATOR, upload_id, offset=0):
        elsewhere = Quarantine(services.settings.instance / "uploads")
        with pytest.raises(StowageError) as error:
            elsewhere.append(upload_id, known=0)
        assert kind_of(error) is Kind.LOCKED
    elsewhere.append(upload_id, known=0).close()


def test_after_a_kill_the_length_of_the_file_decides(services: Services) -> None:
    upload_id = begin(services)
    write(services, upload_id, 0, b"012")
    killed_while_writing(services, upload_id, b"34")
    upload, offset = services.uploads.offset(OPERATOR, upload_id)
    assert (upload.received, offset) == (3, 5)
    assert write(services, upload_id, 5, b"56789") == 10
    assert on_disk(services, upload_id).read_bytes() == b"0123456789"


def test_after_a_kill_bytes_without_their_checksum_are_not_kept(services: Services) -> None:
    upload_id = begin(services)
    first = ("sha256", hashlib.sha256(b"012").digest())
    write(services, upload_id, 0, b"012", checksum=first)
    killed_while_writing(services, upload_id, b"34")
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3
    assert write(services, upload_id, 3, b"3456789") == 10
    assert on_disk(services, upload_id).read_bytes() == b"0123456789"


def test_after_a_power_failure_only_what_was_synced_counts(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begin(services)
    write(services, upload_id, 0, b"012")
    with on_disk(services, upload_id).open("ab") as file:
        file.write(b"\0\0")
    monkeypatch.setattr(quarantine_module, "_before_boot", lambda found: True)
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3
    write(services, upload_id, 3, b"3456789")
    assert on_disk(services, upload_id).read_bytes() == b"0123456789"


def test_a_wrong_checksum_leaves_nothing_of_its_request(services: Services) -> None:
    upload_id = begin(services)
    write(services, upload_id, 0, b"012")
    with pytest.raises(ChecksumMismatch):
        write(services, upload_id, 3, b"xxx", checksum=("sha256", hashlib.sha256(b"345").digest()))
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3
    assert on_disk(services, upload_id).read_bytes() == b"012"
    for algorithm, digest in (("md4", b"x" * 16), ("sha1", b"short"), ("", b"")):
        with pytest.raises(InvalidInput):
            parse_checksum(algorithm, digest)


def test_of_two_writers_the_second_has_to_wait_until_the_first_is_silent(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begin(services)
    first = services.uploads.append(OPERATOR, upload_id, offset=0)
    first.write(b"012")
    for attempt in (
        lambda: services.uploads.append(OPERATOR, upload_id, offset=3),
        lambda: services.uploads.offset(OPERATOR, upload_id),
    ):
        with pytest.raises(StowageError) as error:
            attempt()
        assert kind_of(error) is Kind.LOCKED
    monkeypatch.setattr(receiver_module, "STALE_SECONDS", -1.0)
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3
    write(services, upload_id, 3, b"345")
    with pytest.raises(StowageError):
        first.write(b"late")
    with pytest.raises(StowageError):
        first.finish()
    assert on_disk(services, upload_id).read_bytes() == b"012345"


def test_more_than_was_announced_is_refused(services: Services) -> None:
    upload_id = begin(services, 4)
    with pytest.raises(StowageError) as error:
        services.uploads.append(OPERATOR, upload_id, offset=0, length=5)
    assert kind_of(error) is Kind.OVER_LIMIT
    with services.uploads.append(OPERATOR, upload_id, offset=0) as receiver:
        receiver.write(b"012")
        with pytest.raises(StowageError) as error:
            receiver.write(b"34")
    assert kind_of(error) is Kind.OVER_LIMIT
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3


def test_an_upload_belongs_to_its_owner(services: Services) -> None:
    upload_id = begin(services)
    with pytest.raises(StowageError) as error:
        services.uploads.get(VIEWER, upload_id)
    assert kind_of(error) is Kind.NOT_FOUND
    assert services.uploads.get(ADMIN, upload_id).owner == OPERATOR.name
    with pytest.raises(StowageError):
        services.uploads.append(ADMIN, upload_id, offset=0)
    with pytest.raises(StowageError) as error:
        services.uploads.create(VIEWER, NewUpload("a.txt", 1))
    assert kind_of(error) is Kind.FORBIDDEN
    assert [each.id for each in services.uploads.list(OPERATOR)] == [upload_id]
    assert services.uploads.list(ADMIN) == ()


def test_a_removed_upload_is_gone(services: Services) -> None:
    upload_id = begin(services)
    write(services, upload_id, 0, b"012")
    services.uploads.terminate(OPERATOR, upload_id)
    assert not on_disk(services, upload_id).exists()
    with pytest.raises(StowageError) as error:
        services.uploads.offset(OPERATOR, upload_id)
    assert kind_of(error) is Kind.NOT_FOUND


def test_one_that_is_being_stored_cannot_be_removed(services: Services) -> None:
    upload_id = send(services, b"0123")
    with pytest.raises(StowageError) as error:
        services.uploads.terminate(OPERATOR, upload_id)
    assert kind_of(error) is Kind.CONFLICT
    with pytest.raises(StowageError) as error:
        services.uploads.append(OPERATOR, upload_id, offset=4)
    assert kind_of(error) is Kind.CONFLICT


@pytest.fixture
def limited(tmp_path: Path, services: Services) -> Iterator[Services]:
    """The same console with limits."""
    settings = Settings.from_env(
        {}, instance=services.settings.instance, max_upload_size=100, upload_quota=150
    )
    opened = open_services(settings)
    yield opened
    opened.close()


def test_limits_hold_before_the_first_byte(limited: Services) -> None:
    with pytest.raises(StowageError) as error:
        begin(limited, 101)
    assert kind_of(error) is Kind.OVER_LIMIT
    begin(limited, 100)
    with pytest.raises(StowageError) as error:
        begin(limited, 51)
    assert kind_of(error) is Kind.FULL
    begin(limited, 50)


def test_a_stream_of_unknown_size_is_stopped_at_the_limit(limited: Services) -> None:
    with pytest.raises(StowageError) as error:
        limited.uploads.receive(OPERATOR, NewUpload("a.txt", None), iter([b"x" * 60, b"x" * 60]))
    assert kind_of(error) is Kind.OVER_LIMIT
    begin(limited, 100)
    with pytest.raises(StowageError) as error:
        limited.uploads.receive(OPERATOR, NewUpload("a.txt", None), iter([b"x" * 30, b"x" * 30]))
    assert kind_of(error) is Kind.FULL, "of the quota"
    for upload in limited.uploads.list(OPERATOR):
        limited.uploads.terminate(OPERATOR, upload.id)
    assert list((limited.settings.instance / "uploads").iterdir()) == []
    assert limited.uploads.list(OPERATOR) == ()


def test_a_full_disk_is_said_before_and_while_receiving(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begin(services)
    with monkeypatch.context() as patch:
        patch.setattr(quarantine_module, "RESERVED_BYTES", 2**60)
        with pytest.raises(StowageError) as error:
            begin(services, 1)
        assert kind_of(error) is Kind.FULL

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with services.uploads.append(OPERATOR, upload_id, offset=0) as receiver:
        receiver.write(b"012")
        with monkeypatch.context() as patch:
            patch.setattr(quarantine_module.os, "write", full)
            with pytest.raises(StowageError) as error:
                receiver.write(b"345")
    assert kind_of(error) is Kind.FULL
    assert services.uploads.offset(OPERATOR, upload_id)[1] == 3


def test_read_only_and_unknown_backends_are_refused(services: Services, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    options = {"root": str(tmp_path / "kept"), "read_only": "true"}
    services.backends.add(ADMIN, Draft("kept", "local", options, {}))
    for backend, kind in (("kept", Kind.CONFLICT), ("nowhere", Kind.NOT_FOUND)):
        with pytest.raises(StowageError) as error:
            begin(services, backend=backend)
        assert kind_of(error) is kind


def test_a_row_whose_file_is_gone_is_no_upload(services: Services) -> None:
    upload_id = begin(services)
    on_disk(services, upload_id).unlink()
    for attempt in (
        lambda: services.uploads.offset(OPERATOR, upload_id),
        lambda: services.uploads.append(OPERATOR, upload_id, offset=0),
    ):
        with pytest.raises(StowageError) as error:
            attempt()
        assert kind_of(error) is Kind.NOT_FOUND


def test_only_failed_uploads_are_tried_again(services: Services) -> None:
    upload_id = send(services, b"0123")
    with pytest.raises(StowageError):
        services.uploads.retry(OPERATOR, upload_id)
    with services.database.work_write() as connection:
        connection.execute(update(table).values(state="failed", kind="timeout", reason="Late."))
    failed = services.uploads.get(OPERATOR, upload_id)
    assert failed.error is not None
    assert (failed.state, failed.error.reason) == (UploadState.FAILED, "Late.")
    assert services.uploads.retry(OPERATOR, upload_id).state is UploadState.CHECKING


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\photo.jpg", "photo.jpg"),
        (".htaccess", "htaccess"),
        ("...", "file"),
        ("", "file"),
        ("a\x00b\r\nc.txt", "abc.txt"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("con.txt", "_con.txt"),
        ('a<b>:"|?*.txt', "a_b______.txt"),
        ("cafe\u0301.txt", "café.txt"),
        ("ü" * 300 + ".tar.gz", "ü" * 96 + ".tar.gz"),
        ("\ud800.txt", "txt"),
    ],
)
def test_names_are_made_safe(sent: str, kept: str) -> None:
    assert clean_name(sent) == kept
    assert len(unique_name(kept).encode()) <= 255


def test_folders_are_checked() -> None:
    assert clean_folder("/2026//photos/") == "2026/photos"
    for bad in ("a/../b", ".", "a\\b", " a", "a\nb", "x" * 701):
        with pytest.raises(InvalidInput):
            clean_folder(bad)
    assert numbered("a/photo.jpg", 2) == "a/photo (2).jpg"


def test_a_process_that_is_being_started_keeps_no_upload_locked(services: Services) -> None:
    """It has the descriptors of all threads until it executes its program."""
    upload = services.uploads.create(OPERATOR, NewUpload("a.txt", 3))
    receiver = services.uploads.append(OPERATOR, upload.id, offset=0)
    inherited = os.dup(receiver._appending._descriptor)
    try:
        receiver.write(b"a")
        receiver.finish()
        with services.uploads.append(OPERATOR, upload.id, offset=1) as again:
            again.write(b"bc")
            assert again.finish().state is UploadState.CHECKING
    finally:
        os.close(inherited)
