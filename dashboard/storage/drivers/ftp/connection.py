"""Connecting to an FTP server, with TLS or without, and signing in."""

from __future__ import annotations

import ftplib
import select
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.drivers.ftp.errors import login_error, reply_code
from dashboard.storage.drivers.ftp.replies import ReplyReader
from dashboard.storage.errors import StorageError
from dashboard.storage.net.connecting import ConnectError, connect, make_tls_context, resolve, speaks_tls
from dashboard.storage.net.transport_errors import classify_error
from dashboard.storage.types import Secret

CONNECT_SECONDS = 5.0
"""For each connection for data."""
SIGN_IN_SECONDS = 15.0
"""For each answer until we are signed in; servers look names up and make wrong passwords wait."""
_MAX_REPLY_BYTES = 256 * 1024
"""Bytes of all lines of a reply. The longest of honest servers are greetings."""
_GREETINGS = ("220", "230")
_COMPLETE = ("226", "250")
_PROT_UNSUPPORTED = (500, 501, 502, 503, 504)
"""Replies to PROT of servers that encrypt everything anyway and do not talk of it."""
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


class FtpConnection(ftplib.FTP_TLS):
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
        self._reader = ReplyReader(self.sock, self.encoding)
        self._read_greeting()
        if account.tls == "explicit":
            self._start_tls()
        # Not ftplib's own: it turns an empty password into an e-mail address.
        reply = self.sendcmd(f"USER {self._text(account.user)}")
        if reply.startswith("3"):
            reply = self.sendcmd(f"PASS {self._text(account.password.reveal())}")
        if not reply.startswith("2"):
            raise ftplib.error_perm(reply)
        if account.tls != "none":
            self._encrypt_data()
        self.sock.settimeout(TIMEOUT_SECONDS)

    def _read_greeting(self) -> None:
        first = self.getmultiline()
        if "smtp" in first.lower() or (first.startswith("2") and first[:3] not in _GREETINGS):
            # Mail and news servers greet alike.
            raise ftplib.error_proto(first)
        if not first.startswith("2"):
            raise ftplib.error_perm(first) if first.startswith("5") else ftplib.error_temp(first)

    def _start_tls(self) -> None:
        """AUTH TLS, https://www.rfc-editor.org/rfc/rfc4217#section-4."""
        try:
            self.voidcmd("AUTH TLS")
        except (ftplib.error_temp, ftplib.error_perm, ftplib.error_reply) as error:
            # Some answer that they want a user name first: what they do not want is TLS.
            if reply_code(error) == 421:
                raise
            raise _no_tls_error(self.account) from error
        if self._reader.has_pending_data:
            # Somebody on the way may have put it there, to be taken for a reply that was encrypted.
            raise ftplib.error_proto("more than the reply")
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.account.host)
        self._reader = ReplyReader(self.sock, self.encoding)

    def _encrypt_data(self) -> None:
        """PROT P. With TLS from the start some know nothing else, and refuse to talk of it."""
        try:
            self.prot_p()
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if reply_code(error) == 421:
                raise
            if self.account.tls == "explicit" or reply_code(error) not in _PROT_UNSUPPORTED:
                raise unencrypted_data_error(self.account) from error

    def putcmd(self, line: str) -> None:
        """As ftplib's, unless something waits to be read: the answers would come to the wrong questions."""
        if self.has_pending_reply():
            raise ftplib.error_proto("a reply that nobody asked for")
        super().putcmd(line)

    def getline(self) -> str:
        """One line without its end, of at most 8 KiB."""
        line = self._reader.readline(self.maxline + 1)
        if not line:
            raise EOFError
        if len(line) > self.maxline:
            raise ftplib.error_proto("a line without end")
        return line.rstrip("\r\n")

    def getmultiline(self) -> str:
        """As ftplib's, within bounds (RFC 959, section 4.2)."""
        self._reader.start_reply()
        line = self.getline()
        lines, length, code = [line], 0, line[:3]
        if not code.isdigit():
            # Another protocol, whose next line may never come.
            raise ftplib.error_proto(line)
        while line[:3] != code or line[3:4] == "-":
            line = self.getline()
            lines.append(line)
            length += len(line) + 1
            if length > _MAX_REPLY_BYTES:
                raise ftplib.error_proto("a reply without end")
        return "\n".join(lines)

    def read_final_reply(self) -> None:
        """Take the reply to a transfer. Raises unless it says that all of it was moved."""
        reply = self.getresp()
        if not reply.startswith(_COMPLETE):
            raise ftplib.error_proto(reply)

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
            if self.account.tls != "none":
                assert isinstance(self.sock, ssl.SSLSocket)
                conn.settimeout(SIGN_IN_SECONDS)
                conn = self.context.wrap_socket(
                    conn, server_hostname=self.account.host, session=self.sock.session
                )
            conn.settimeout(TIMEOUT_SECONDS)
        except ssl.SSLCertVerificationError:
            conn.close()
            raise
        except ssl.SSLError as error:
            conn.close()
            if error.reason == "WRONG_VERSION_NUMBER":
                raise unencrypted_data_error(self.account) from error
            raise
        except BaseException:
            conn.close()
            raise
        return conn, size

    def has_pending_reply(self) -> bool:
        """Whether an answer waits to be read. With TLS what comes may be none, so only what is already
        decrypted counts."""
        if self._reader.has_pending_data:
            return True
        return not isinstance(self.sock, ssl.SSLSocket) and bool(readable([self.sock], 0))

    def disconnect(self) -> None:
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


def open_connection(account: Account) -> FtpConnection:
    """A line that is signed in. Raises ``StorageError``."""
    connection = FtpConnection(
        account, make_tls_context(tls_verify=account.tls_verify, authority=account.ca_certificate)
    )
    try:
        connection.open()
    except ftplib.error_proto as error:
        connection.disconnect()
        raise _not_ftp_error(account) from error
    except ftplib.Error as error:
        connection.disconnect()
        raise login_error(error, account.user, account.host) from error
    except ssl.SSLCertVerificationError as error:
        connection.disconnect()
        raise ConnectError(classify_error(error), "connect", account.host) from error
    except (OSError, EOFError) as error:
        connection.disconnect()
        raise _connect_error(error, account) from error
    except BaseException:
        connection.disconnect()
        raise
    return connection


def _not_ftp_error(account: Account) -> StorageError:
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” does not speak FTP on port {account.port}.",
        operation="connect",
        subject=account.host,
        remedy="Check the port: 22 is usually SFTP, which has a provider of its own here.",
        retryable=False,
    )


def _no_tls_error(account: Account) -> StorageError:
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” does not offer TLS on port {account.port}.",
        operation="connect",
        subject=account.host,
        remedy="Have TLS switched on there, or choose implicit TLS if the server has it on another port; "
        "without encryption the password and all files can be read on the way.",
        retryable=False,
    )


def unencrypted_data_error(account: Account) -> StorageError:
    """Only the control connection would be encrypted, as ``rclone serve ftp`` does it."""
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” encrypts the sign-in but not the files: it would send and take them in clear.",
        operation="connect",
        subject=account.host,
        remedy="Use another server, SFTP, or WebDAV with https://; “rclone serve ftp” encrypts no files.",
        retryable=False,
    )


def _connect_error(error: Exception, account: Account) -> StorageError:
    host, port = account.host, account.port
    kind = Kind.UNREACHABLE
    if account.tls != "implicit" and speaks_tls(host, port):
        reason = f"“{host}” speaks TLS from the start on port {port}."
        remedy = "Choose implicit TLS under “Encryption”, if it is an FTP server."
        return StorageError(kind, reason, operation="connect", subject=host, remedy=remedy, retryable=False)
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
