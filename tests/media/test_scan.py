"""Scanning for viruses: with a real clamd, and with one that lies."""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.media.scan import EICAR, ClamdScanner, ScanState
from tests.servers.clamd import clamd_server, scripted_clamd

CLEAN, INFECTED, NOT_SCANNED = ScanState.CLEAN, ScanState.INFECTED, ScanState.NOT_SCANNED


@pytest.fixture(scope="module")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("clamd")
    with clamd_server(folder, MaxFileSize="2M", MaxScanSize="8M", StreamMaxLength="4M") as path:
        yield path


def scan(scanner: ClamdScanner, content: bytes, *, unpacked: int = 0) -> tuple[ScanState, str]:
    result = scanner.scan(io.BytesIO(content), len(content), unpacked=unpacked)
    return result.state, result.detail


def test_eicar_is_found_and_other_files_are_clean(clamd: str) -> None:
    scanner = ClamdScanner(f"unix:{clamd}")
    assert scanner.check() == ""
    assert scan(scanner, EICAR) == (INFECTED, "Eicar-Test.UNOFFICIAL")
    assert scan(scanner, b"nothing special") == (CLEAN, "")
    assert scan(scanner, b"") == (CLEAN, "")
    assert scan(scanner, EICAR + bytes(1_500_000))[0] is INFECTED


def test_signatures_may_be_checksums_of_whole_files(tmp_path: Path) -> None:
    signature = f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Eicar-Checksum"
    with clamd_server(tmp_path, signature=signature, ending=".hdb", MaxFileSize="2M") as path:
        scanner = ClamdScanner(path)
        assert scan(scanner, bytes(1_000_000)) == (CLEAN, "")
        assert scan(scanner, EICAR)[0] is INFECTED
        assert scan(scanner, bytes(3_000_000))[0] is NOT_SCANNED


@pytest.mark.parametrize("size", [2_500_000, 5_000_000])
def test_what_clamd_does_not_look_at_is_not_clean(clamd: str, size: int) -> None:
    """Above MaxFileSize it says “OK”, above StreamMaxLength it breaks the connection."""
    scanner = ClamdScanner(clamd)
    state, reason = scan(scanner, EICAR + bytes(size))
    assert state is NOT_SCANNED
    assert "does not look at files of" in reason
    # Remembered, without hiding smaller ones; and the other way round.
    assert scan(scanner, bytes(1_000_000)) == (CLEAN, "")
    assert scan(scanner, bytes(size))[0] is NOT_SCANNED
    assert scan(scanner, bytes(1_900_000)) == (CLEAN, "")


def test_what_is_packed_counts_too(clamd: str) -> None:
    scanner = ClamdScanner(clamd)
    assert scan(scanner, b"small", unpacked=1_000_000)[0] is CLEAN
    assert scan(scanner, b"small", unpacked=50_000_000)[0] is NOT_SCANNED
    assert scan(scanner, b"small", unpacked=50_000_000_000)[0] is NOT_SCANNED


def test_a_scanner_that_is_not_there_has_scanned_nothing(tmp_path: Path) -> None:
    scanner = ClamdScanner(str(tmp_path / "no-socket"))
    assert scan(scanner, b"x") == (NOT_SCANNED, "The virus scanner cannot be reached.")
    assert "cannot be reached" in scanner.check()


def receive(connection: socket.socket) -> bytes:
    """A whole INSTREAM request: its content."""
    file = connection.makefile("rb")
    assert file.read(10) == b"zINSTREAM\0"
    content = b""
    while length := int.from_bytes(file.read(4), "big"):
        content += file.read(length)
    return content


def knows_eicar(answer: bytes) -> Callable[[socket.socket], None]:
    """Finds the test file, and answers otherwise as told."""

    def behave(connection: socket.socket) -> None:
        found = EICAR in receive(connection)
        connection.sendall(b"stream: Test FOUND\0" if found else answer)

    return behave


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b"stream: OK\0", CLEAN),
        (b"stream: OK\n", CLEAN),
        (b"stream: OK", NOT_SCANNED),
        (b"OK\0", NOT_SCANNED),
        (b"stream: OK but\0", NOT_SCANNED),
        (b"", NOT_SCANNED),
        (b"\0", NOT_SCANNED),
        (b"stream: Can't allocate memory ERROR\0", NOT_SCANNED),
        (b"INSTREAM size limit exceeded. ERROR\0", NOT_SCANNED),
        (b"stream: Win.Evil\x1b[31m FOUND\0", INFECTED),
        (b"stream: a FOUND stream: OK\0", NOT_SCANNED),
        (b"x" * 100_000, NOT_SCANNED),
    ],
)
def test_only_one_answer_means_clean(answer: bytes, state: ScanState) -> None:
    with scripted_clamd(knows_eicar(answer)) as address:
        found, detail = scan(ClamdScanner(address), b"content")
    assert found is state
    assert detail.isprintable()


def test_a_scanner_that_finds_nothing_at_all_has_scanned_nothing() -> None:
    def blind(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"stream: OK\0")

    with scripted_clamd(blind) as address:
        scanner = ClamdScanner(address)
        assert scan(scanner, b"content")[0] is NOT_SCANNED
        assert "no signatures" in scanner.check()


def test_an_answer_before_the_end_is_none() -> None:
    def hasty(connection: socket.socket) -> None:
        head = connection.recv(200, socket.MSG_WAITALL)
        if EICAR in head:
            connection.sendall(b"stream: Test FOUND\0")
        else:
            connection.sendall(b"stream: OK\0")
        while connection.recv(1_000_000):
            pass

    with scripted_clamd(hasty) as address:
        scanner = ClamdScanner(address)
        assert scan(scanner, bytes(3_000_000))[0] is NOT_SCANNED


def test_an_answer_is_read_although_the_connection_broke() -> None:
    def breaking(connection: socket.socket) -> None:
        connection.recv(200, socket.MSG_WAITALL)
        connection.sendall(b"stream: Early FOUND\0")

    with scripted_clamd(breaking) as address:
        scanner = ClamdScanner(address)
        assert scan(scanner, bytes(20_000_000)) in (
            (INFECTED, "Early"),
            # The reset may overtake the answer: then it is not scanned, and never clean.
            (NOT_SCANNED, "The virus scanner did not finish."),
            (NOT_SCANNED, "The virus scanner cannot be reached."),
        )


def test_a_scanner_that_never_answers_has_scanned_nothing() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1_000_000):
            pass

    with scripted_clamd(silent) as address:
        scanner = ClamdScanner(address, idle_seconds=0.2, answer_seconds=0.2)
        assert scan(scanner, b"x") == (NOT_SCANNED, "The virus scanner does not answer in time.")


def test_a_file_that_became_shorter_is_not_clean() -> None:
    with scripted_clamd(knows_eicar(b"stream: OK\0")) as address:
        result = ClamdScanner(address).scan(io.BytesIO(b"short"), 1000)
    assert result.state is NOT_SCANNED


def test_probes_are_repeated_after_a_while() -> None:
    seen: list[int] = []
    now = [0.0]

    def behave(connection: socket.socket) -> None:
        content = receive(connection)
        seen.append(len(content))
        connection.sendall(b"stream: Test FOUND\0" if EICAR in content else b"stream: OK\0")

    with scripted_clamd(behave) as address:
        scanner = ClamdScanner(address, clock=lambda: now[0])
        for _ in range(3):
            assert scan(scanner, b"content")[0] is CLEAN
        assert len(seen) == 4
        assert seen[0] == pytest.approx(64 * 1024 * 2, abs=300)
        now[0] = 601.0
        assert scan(scanner, b"content")[0] is CLEAN
    assert len(seen) == 6


@pytest.mark.parametrize("address", ["", "clamd", "host:", "host:99999", ":3310", "tcp://host"])
def test_addresses_are_checked(address: str) -> None:
    with pytest.raises(InvalidInput):
        ClamdScanner(address)
