"""A signed-in control connection to an FTP server, with TLS or without."""

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
"""Timeout of connecting a data connection."""
SIGN_IN_SECONDS = 15.0
"""Timeout of each reply until sign-in. Servers resolve names and delay wrong passwords."""
_MAX_REPLY_BYTES = 256 * 1024
"""All lines of a reply together. The longest replies of ordinary servers are greetings."""
_GREETINGS = ("220", "230")
_COMPLETE = ("226", "250")
_PROT_UNSUPPORTED = (500, 501, 502, 503, 504)
"""Replies to PROT from servers that always encrypt and do not implement it."""
TIMEOUT_SECONDS = 60.0
"""How long the server may take to send the next bytes of a reply or a transfer."""


@dataclass(frozen=True, slots=True)
class Account:
    """Server, credentials and encryption. ``tls`` is ``none``, ``explicit`` or ``implicit``."""

    host: str
    port: int
    user: str
    password: Secret
    tls: str
    tls_verify: bool
    ca_certificate: str
    encoding: str


class FtpConnection(ftplib.FTP_TLS):
    """ftplib's client over our socket. Text is Latin-1, which maps to bytes one to one."""

    def __init__(self, account: Account, context: ssl.SSLContext) -> None:
        super().__init__(context=context, encoding="latin-1")
        self.account = account
        # ftplib applies this to data connections only.
        self.timeout = CONNECT_SECONDS

    def open(self) -> None:
        """Connect, start TLS and sign in. Raises ``OSError``, ``EOFError``, ``ftplib.Error``,
        ``StorageError``."""
        account = self.account
        raw = connect(account.host, account.port, resolve(account.host, account.port))
        self.sock: socket.socket = raw
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # This connection is idle while a large file is transferred over another one.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.settimeout(SIGN_IN_SECONDS)
        self.host, self.port, self.af = account.host, account.port, raw.family
        if account.tls == "implicit":
            self.sock = self.context.wrap_socket(raw, server_hostname=account.host)
        self._reader = ReplyReader(self.sock, self.encoding)
        self._read_greeting()
        if account.tls == "explicit":
            self._start_tls()
        # Not ftplib's login(): it replaces an empty password by an e-mail address.
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
            # Mail and news servers send similar greetings.
            raise ftplib.error_proto(first)
        if not first.startswith("2"):
            raise ftplib.error_perm(first) if first.startswith("5") else ftplib.error_temp(first)

    def _start_tls(self) -> None:
        """Send AUTH TLS, https://www.rfc-editor.org/rfc/rfc4217#section-4."""
        try:
            self.voidcmd("AUTH TLS")
        except (ftplib.error_temp, ftplib.error_perm, ftplib.error_reply) as error:
            # Some servers without TLS reply that they need a user name first.
            if reply_code(error) == 421:
                raise
            raise _no_tls_error(self.account) from error
        if self._reader.has_pending_data:
            # An attacker may have injected it, to pass it off as an encrypted reply.
            raise ftplib.error_proto("more than the reply")
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.account.host)
        self._reader = ReplyReader(self.sock, self.encoding)

    def _encrypt_data(self) -> None:
        """Send PROT P. Some servers with implicit TLS always encrypt and refuse the command."""
        try:
            self.prot_p()
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if reply_code(error) == 421:
                raise
            if self.account.tls == "explicit" or reply_code(error) not in _PROT_UNSUPPORTED:
                raise unencrypted_data_error(self.account) from error

    def putcmd(self, line: str) -> None:
        """Like ftplib's, but refuse to send while a reply is pending, which would be taken for the reply to
        this command."""
        if self.has_pending_reply():
            raise ftplib.error_proto("an unexpected reply")
        super().putcmd(line)

    def getline(self) -> str:
        """Read one line of at most 8 KiB, without its line break."""
        line = self._reader.readline(self.maxline + 1)
        if not line:
            raise EOFError
        if len(line) > self.maxline:
            raise ftplib.error_proto("a line without end")
        return line.rstrip("\r\n")

    def getmultiline(self) -> str:
        """Like ftplib's, but bounded (RFC 959, section 4.2)."""
        self._reader.start_reply()
        line = self.getline()
        lines, length, code = [line], 0, line[:3]
        if not code.isdigit():
            # Another protocol, which may never send a second line.
            raise ftplib.error_proto(line)
        while line[:3] != code or line[3:4] == "-":
            line = self.getline()
            lines.append(line)
            length += len(line) + 1
            if length > _MAX_REPLY_BYTES:
                raise ftplib.error_proto("a reply without end")
        return "\n".join(lines)

    def read_final_reply(self) -> None:
        """Read the reply that ends a transfer. Raises unless it reports success."""
        reply = self.getresp()
        if not reply.startswith(_COMPLETE):
            raise ftplib.error_proto(reply)

    def _text(self, text: str) -> str:
        """Encode text in the server's encoding, or in UTF-8 if that encoding lacks a character."""
        try:
            return text.encode(self.account.encoding).decode("latin-1")
        except UnicodeEncodeError:
            return text.encode("utf-8").decode("latin-1")

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        """Like ftplib's, but resume the TLS session of the control connection on the data connection. Many
        servers require that, to be sure that both belong to the same client."""
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
        """Whether a reply is waiting to be read. With TLS only decrypted bytes count, because others may not
        be part of a reply."""
        if self._reader.has_pending_data:
            return True
        return not isinstance(self.sock, ssl.SSLSocket) and bool(readable([self.sock], 0))

    def disconnect(self) -> None:
        """Close the connection without QUIT. Idempotent."""
        with suppress(OSError):
            self.close()


def readable(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait at most ``seconds`` and return the sockets that have bytes to read or were closed."""
    # Not select(), which supports only the first 1,024 file descriptors.
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    found = {number for number, _ in poll.poll(seconds * 1000)}
    return [each for each in sockets if each.fileno() in found]


def open_connection(account: Account) -> FtpConnection:
    """Return a signed-in connection. Raises ``StorageError``."""
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
        remedy="Enable TLS on the server, or choose implicit TLS if the server offers it on another port. "
        "Without encryption anyone on the network path can read the password and all files.",
        retryable=False,
    )


def unencrypted_data_error(account: Account) -> StorageError:
    """The error for a server that encrypts only the control connection, such as ``rclone serve ftp``."""
    return StorageError(
        Kind.UNREACHABLE,
        f"“{account.host}” encrypts the sign-in but not the files.",
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
        kind, reason = Kind.TIMEOUT, f"“{host}” accepted the connection on port {port} but did not respond."
        remedy = "Check the port and the encryption; implicit TLS is usually on port 990."
    elif isinstance(error, ssl.SSLError):
        reason = f"“{host}” and this machine could not agree on TLS on port {port}."
        remedy = "Check the port and the encryption: explicit TLS is usually on port 21, implicit on 990."
    else:
        reason = f"“{host}” closed the connection on port {port} before sign-in."
        remedy = "Check the port; the server may also accept no more connections from this machine."
    return StorageError(kind, reason, operation="connect", subject=host, remedy=remedy)
