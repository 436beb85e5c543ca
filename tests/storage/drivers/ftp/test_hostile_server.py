"""What an FTP server may say that is not true, and that none of it passes for the truth."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, count, repeat

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common import walking
from dashboard.storage.drivers.ftp import connection as ftp_connection
from dashboard.storage.errors import ContainerMissing, Damaged, StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.hostile.ftp import DONE, FOLDER, FtpScript
from tests.servers.hostile.http import HostileServer
from tests.storage.objects import get


@contextmanager
def telling(script: FtpScript, **options: str) -> Iterator[Driver]:
    """A driver of such a server."""
    with HostileServer(script) as server:
        chosen = {"host": "127.0.0.1", "port": str(server.port), "user": "u", "tls": "none", **options}
        driver = build("ftp", check_options("ftp", chosen), {"password": Secret("p")})
        try:
            yield driver
        finally:
            driver.close()


def fails(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.reason.endswith(".")
    return caught.value


def keys_of(driver: Driver) -> list[str]:
    return [entry.key for entry in driver.list()]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "backoff", lambda attempt: None)


# Listings

A = b"type=file;size=1;modify=20261121081500; a\r\n"
B = b"type=file;size=2;modify=20261121081500; b\r\n"
UNIX = b"-rw-r--r--   1 ada  staff     1 Nov 21 08:15 a\r\n"


def test_an_honest_listing_is_read() -> None:
    with telling(FtpScript(data=B + A)) as driver:
        assert keys_of(driver) == ["a", "b"]


BROKEN_LISTINGS = {
    "cut, and no word": FtpScript(data=A, after=""),
    "cut, and a word of it": FtpScript(data=A, after="426 Connection closed"),
    "given up": FtpScript(data=A, after="451 Local error"),
    "refused at the end": FtpScript(data=A, after="550 Failed to read the folder"),
    "a reply to another question": FtpScript(data=A, after="200 Type set to I"),
    "a reply that is none": FtpScript(data=A, after="Done"),
    "cut in a name": FtpScript(data=A + b"type=file;size=2; long-na"),
    "cut in the facts": FtpScript(data=A + B[:20]),
    "a page in place of a list": FtpScript(data=b"<html>\r\n<body>Sign in</body>\r\n</html>\r\n"),
    "no type": FtpScript(data=A + b"size=2; b\r\n"),
    "no size": FtpScript(data=A + b"type=file; b\r\n"),
    "a size that is none": FtpScript(data=A + b"type=file;size=" + b"9" * 5000 + b"; b\r\n"),
    "no name": FtpScript(data=A + b"type=file;size=1; \r\n"),
    "a path": FtpScript(data=A + b"type=file;size=1; ../b\r\n"),
    "a name longer than any": FtpScript(data=A + b"type=file;size=1; " + b"x" * 5000 + b"\r\n"),
    "a name that comes twice": FtpScript(data=A + B + A),
    "a line without end": FtpScript(data=A + b"type=file;size=1; " + b"x" * 70_000 + b"\r\n"),
    "an old listing nobody can read": FtpScript(data=UNIX + b"FILE;1  12/24\r\n", features="502 No"),
    "an old listing, cut": FtpScript(data=UNIX + UNIX[:-3], features="502 No"),
}


@pytest.mark.parametrize("lie", BROKEN_LISTINGS)
def test_a_listing_is_whole_or_an_error(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_connection, "TIMEOUT_SECONDS", 0.3)
    script = BROKEN_LISTINGS[lie]
    with telling(script) as driver:
        seen: list[str] = []
        fails(lambda: seen.extend(keys_of(driver)))
        assert not seen
    assert 1 <= sum(each in ("MLSD", "LIST") for each in script.commands) <= 6


def test_a_listing_that_was_cut_once_is_asked_for_again() -> None:
    script = FtpScript(data=A + B, after="426 Connection closed")
    answers = iter([A + B[:9], A + B[:30], A + B])

    def data() -> Iterator[bytes]:
        script.after = DONE
        yield next(answers)

    script.data = data
    with telling(script) as driver:
        assert keys_of(driver) == ["a", "b"]


def test_folders_that_lead_back_into_themselves_come_to_an_end() -> None:
    name = b"round" * 50
    with telling(FtpScript(data=b"type=cdir; .\r\ntype=pdir; ..\r\ntype=dir; " + name + b"\r\n")) as driver:
        assert "circle" in fails(lambda: keys_of(driver)).reason


ENDLESS: dict[str, Callable[[], Iterator[bytes]]] = {
    "files": lambda: (
        b"".join(b"type=file;size=1; %s%d\r\n" % (b"x" * 200, number) for number in range(at, at + 500))
        for at in count(0, 500)
    ),
    "a line": lambda: repeat(b"type=file;size=1; " + b"x" * 10_000),
    "the folder itself": lambda: repeat(b"type=cdir; .\r\n" * 1000),
    "empty lines": lambda: repeat(b"\r\n" * 1000),
}


@pytest.mark.parametrize("lie", ENDLESS)
def test_a_listing_without_end_costs_little(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "RUN_LENGTH", 500)
    monkeypatch.setattr(walking, "MAX_RUNS", 8)
    monkeypatch.setattr(walking, "MAX_LISTED", 6_000)
    script = FtpScript(data=ENDLESS[lie])
    with telling(script) as driver:
        tracemalloc.start()
        try:
            for look in (lambda: keys_of(driver), lambda: driver.folders("")):  # type: ignore[attr-defined]
                fails(look)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert script.sent < 64 * 1024 * 1024


# Replies

WITHOUT_END = {
    "greeting in lines": FtpScript(greeting=repeat("220-Welcome" + " to the show" * 50)),
    "greeting in one line": FtpScript(greeting=repeat("220 " + "x" * 9000)),
    "features": FtpScript(FEAT=chain(["211-Features"], repeat(" MLST" * 100, 100_000))),
    "a line that never ends": FtpScript(PWD="257 " + "x" * 100_000),
}


@pytest.mark.parametrize("lie", WITHOUT_END)
def test_a_reply_without_end_costs_little(lie: str) -> None:
    script = WITHOUT_END[lie]
    with telling(script) as driver:
        tracemalloc.start()
        try:
            fails(lambda: driver.stat("a"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
    assert script.sent < 16 * 1024 * 1024


@pytest.mark.parametrize("said", ["250-Here\r\n250 End", "250-Here\r\n nonsense\r\n250 End", "250 Yes"])
def test_a_look_that_tells_nothing_is_no_missing_file(said: str) -> None:
    with telling(FtpScript(MLST=said)) as driver:
        error = fails(lambda: driver.stat("a"))
        assert error.kind is Kind.UNSUPPORTED


def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    with telling(FtpScript(TYPE="200 Fine\r\n250 Renamed\r\n250 Renamed")) as driver:
        error = fails(lambda: driver.put("a", b"x"))
        assert error.kind is Kind.UNREACHABLE


def test_what_comes_in_clear_after_the_word_to_encrypt_is_not_taken_for_encrypted() -> None:
    script = FtpScript(AUTH="234 Go on\r\n331 Password\r\n230 In")
    with telling(script, tls="explicit", tls_verify="false") as driver:
        fails(lambda: driver.stat("a"))
    assert "PASS" not in script.commands


# Files

FILE = "250-Here\r\n type=file;size=10;modify=20261121081500; /a\r\n250 End"


@pytest.mark.parametrize(("sent", "after"), [(9, DONE), (11, DONE), (10, "426 Cut"), (10, "200 Fine")])
def test_another_file_than_was_announced_is_an_error(sent: int, after: str) -> None:
    script = FtpScript(data=bytes(sent), after=after, MLST=FILE)
    with telling(script) as driver:
        error = fails(lambda: get(driver, "a"))
        assert error.retryable
        if after == DONE:
            assert isinstance(error, Damaged)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    script = FtpScript(data=lambda: repeat(bytes(65536)), MLST=FILE)
    with telling(script) as driver:
        assert isinstance(fails(lambda: get(driver, "a")), Damaged)
    assert script.sent < 16 * 1024 * 1024


def test_a_write_without_a_word_that_it_arrived_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_connection, "TIMEOUT_SECONDS", 0.3)
    for after in ("", "200 Fine", "426 Cut"):
        with telling(FtpScript(after=after, MLST=FOLDER)) as driver:
            assert fails(lambda: driver.put("a", b"x")).retryable


@pytest.mark.parametrize(
    "said",
    [
        "451 Failure writing to local file.",
        "451 Error during write to file",
        "452 Transfer aborted. No space left on device",
        "452-Disk full\r\n452 Sorry",
        "451 Transfer aborted. Input/output error",
        "552 Transfer aborted. Disk quota exceeded",
        "426 Failed: not enough space on the disk",
    ],
)
def test_a_full_disk_is_told_however_the_server_says_it(said: str) -> None:
    with telling(FtpScript(after=said)) as driver:
        error = fails(lambda: driver.put("a", b"x"))
        assert (error.kind, error.retryable) == (Kind.FULL, False)
        assert "Free some space" in error.remedy


def test_names_in_a_reply_are_not_taken_for_the_servers_words() -> None:
    for key in ("disk full/permission denied.txt", "quota", "no space"):
        with telling(FtpScript(MLST=lambda path: f"550 {path}: No such file or directory")) as driver:
            assert isinstance(fails(partial(driver.stat, key)), ContainerMissing)
        with telling(FtpScript(after=f"553 {key}: Not allowed")) as driver:
            assert fails(partial(driver.put, key, b"x")).kind is Kind.DENIED


# Encryption


@pytest.mark.parametrize(
    "said",
    [
        "530 Please login with USER and PASS.",
        "550 Action not taken",
        "503 Bad sequence",
        "431 Unavailable",
    ],
)
def test_a_server_without_tls_is_told_as_such_and_gets_no_password(said: str) -> None:
    script = FtpScript(AUTH=said)
    with telling(script, tls="explicit") as driver:
        error = fails(lambda: driver.stat("a"))
    assert "does not offer TLS" in error.reason
    assert not error.retryable
    assert "PASS" not in script.commands


@pytest.mark.parametrize("greeting", ["220 mail.example.com ESMTP Postfix", "200 news.example.com ready"])
def test_a_mail_or_news_server_is_no_ftp_server(greeting: str) -> None:
    with telling(FtpScript(greeting=greeting)) as driver:
        assert "does not speak FTP" in fails(lambda: driver.stat("a")).reason
