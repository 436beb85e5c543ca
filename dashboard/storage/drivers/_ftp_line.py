"""Connecting to an FTP server, with TLS or without, and signing in."""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.connecting import bad_certificate, connect, resolve, trust
from dashboard.storage.drivers._ftp_errors import not_signed_in
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Secret

CONNECT_SECONDS = 5.0
"""For each connection for data."""
SIGN_IN_SECONDS = 15.0
"""For each answer until we are signed in; servers look names up and make wrong passwords wait."""
TIMEOUT_SECONDS = 60.0
"""How long the server may stay silent while something is asked of it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where to sign in, as whom, and how. ``tls`` is ``none``, ``explicit`` or ``implicit``."""

    host: str
    port: int
    user: str
    password: Secret
    tls: str
    tls_verify: bool
    ca_certificate: str
    encoding: str


class Line(ftplib.FTP_TLS):
    """ftplib's client over a connection of ours. Text is Latin-1, which is bytes one by one."""

    def __init__(self, account: Account, context: ssl.SSLContext) -> None:
        super().__init__(context=context, encoding="latin-1")
        self.account = account
        # ftplib takes this for data connections only; the control connection has its own.
        self.timeout = CONNECT_SECONDS

    def open(self) -> None:
        """Connect, encrypt, sign in. Raises ``OSError``, ``EOFError``, ``ftplib.Error``, ``StorageError``."""
        account = self.account
        raw = connect(account.host, account.port, resolve(account.host, account.port))
        self.sock: socket.socket = raw
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Nothing goes over this connection while a large file goes over another one.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.settimeout(SIGN_IN_SECONDS)
        self.host, self.port, self.af = account.host, account.port, raw.family
        if account.tls == "implicit":
            self.sock = self.context.wrap_socket(raw, server_hostname=account.host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self._hear_greeting()
        if account.tls == "explicit":
            self.auth()
        # Not ftplib's own: it turns an empty password into an e-mail address.
        reply = self.sendcmd(f"USER {self._text(account.user)}")
        if reply.startswith("3"):
            reply = self.sendcmd(f"PASS {self._text(account.password.reveal())}")
        if not reply.startswith("2"):
            raise ftplib.error_perm(reply)
        if account.tls == "explicit":
            self.prot_p()
        elif account.tls == "implicit":
            # Some know no other than encrypted data and refuse to talk of it; we speak nothing else.
            with suppress(ftplib.error_perm):
                self.prot_p()
        self.sock.settimeout(TIMEOUT_SECONDS)

    def _hear_greeting(self) -> None:
        """Not as ftplib does it, which waits for the rest of what another protocol says."""
        line = first = self.getline()
        if not first[:3].isdigit():
            raise ftplib.error_proto(first)
        while line[:3] != first[:3] or line[3:4] == "-":
            line = self.getline()
        if not first.startswith("2"):
            raise ftplib.error_perm(first) if first.startswith("5") else ftplib.error_temp(first)

    def _text(self, typed: str) -> str:
        """In the server's encoding, or in UTF-8 where it has no such letters."""
        try:
            return typed.encode(self.account.encoding).decode("latin-1")
        except UnicodeEncodeError:
            return typed.encode("utf-8").decode("latin-1")

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        """As ftplib's, but the TLS session of the control connection goes on in the data connection: many
        servers demand that, to be sure that both come from the same client."""
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        try:
            conn.settimeout(TIMEOUT_SECONDS)
            if self.account.tls != "none":
                assert isinstance(self.sock, ssl.SSLSocket)
                conn = self.context.wrap_socket(
                    conn, server_hostname=self.account.host, session=self.sock.session
                )
        except BaseException:
            conn.close()
            raise
        return conn, size

    def says_something(self) -> bool:
        """Whether an answer waits to be read. With TLS what waits may be none, and this does not tell."""
        return not isinstance(self.sock, ssl.SSLSocket) and bool(readable([self.sock], 0))

    def hang_up(self) -> None:
        """Without a word. Idempotent."""
        with suppress(OSError):
            self.close()


def readable(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Which of these have something to read, or have ended; waits so long for the first."""
    # Not select(), which knows only the first 1,024 files of a process.
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    found = {number for number, _ in poll.poll(seconds * 1000)}
    return [each for each in sockets if each.fileno() in found]


def open_line(account: Account) -> Line:
    """A line that is signed in. Raises ``StorageError``."""
    line = Line(account, trust(tls_verify=account.tls_verify, authority=account.ca_certificate))
    try:
        line.open()
    except ftplib.error_proto as error:
        line.hang_up()
        raise _no_ftp(account) from error
    except ftplib.Error as error:
        line.hang_up()
        if account.tls == "explicit" and str(error)[:3] in ("500", "502", "504", "534"):
            raise _no_tls(account) from error
        raise not_signed_in(error, account.user, account.host) from error
    except ssl.SSLCertVerificationError as error:
        line.hang_up()
        raise bad_certificate(error, account.host) from error
    except (OSError, EOFError) as error:
        line.hang_up()
        raise _no_answer(error, account) from error
    except BaseException:
        line.hang_up()
        raise
    return line


def _no_ftp(account: Account) -> StorageError:
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” does not speak FTP on port {account.port}.",
        operation="connect",
        subject=account.host,
        remedy="Check the port: 22 is usually SFTP, which has a provider of its own here.",
        retryable=False,
    )


def _no_tls(account: Account) -> StorageError:
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” does not offer TLS on port {account.port}.",
        operation="connect",
        subject=account.host,
        remedy="Choose implicit TLS if the server has it on another port; without encryption the password "
        "can be read on the way.",
        retryable=False,
    )


def _no_answer(error: Exception, account: Account) -> StorageError:
    host, port = account.host, account.port
    kind = Kind.UNREACHABLE
    if isinstance(error, TimeoutError):
        kind, reason = Kind.TIMEOUT, f"“{host}” took the connection on port {port} but did not go on."
        remedy = "Check the port and the encryption; implicit TLS is usually on port 990."
    elif isinstance(error, ssl.SSLError):
        reason = f"“{host}” and this machine could not agree on TLS on port {port}."
        remedy = "Check the port and the encryption: explicit TLS is usually on port 21, implicit on 990."
    else:
        reason = f"“{host}” closed the connection on port {port} before we were signed in."
        remedy = "Check the port; the server may also take no more connections from this machine."
    return StorageError(kind, reason, operation="connect", subject=host, remedy=remedy)
