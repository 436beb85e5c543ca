"""SSH connections with an open SFTP channel. The only module that imports paramiko.

The server proves its identity before it receives credentials: without a pinned host key, or with another one,
the connection ends.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import paramiko
from paramiko.packet import Packetizer

from dashboard.errors import Kind
from dashboard.storage.drivers.sftp import protocol
from dashboard.storage.drivers.sftp.options import fingerprint
from dashboard.storage.errors import StorageError
from dashboard.storage.net.connecting import connect, resolve
from dashboard.storage.types import Secret

CONNECT_SECONDS = 5.0
"""Timeout of each step of the handshake."""
SIGN_IN_SECONDS = 15.0
"""Timeout of one authentication method. Servers delay wrong passwords."""
KEEPALIVE_SECONDS = 20

_WINDOW_BYTES = 8 << 20
"""Bytes that the server may send before we acknowledge them."""
_MAX_PACKET_BYTES = 512 * 1024
_MAX_BANNER_BYTES = 64 * 1024

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_UNSUPPORTED_FORMATS = ("-----BEGIN PRIVATE KEY-----", "-----BEGIN ENCRYPTED PRIVATE KEY-----")
_WEAK_DIGESTS = ("md5",)
# A separate logger keeps paramiko's tracebacks of lost connections out of the log.
_LOG = "dashboard.storage.ssh"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


class _Packets(Packetizer):
    """Bounds paramiko's reader, which accepts packets and banners of any length, and more data than the
    window allows."""

    channel: paramiko.Channel | None = None
    _banner = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Like paramiko's, but refuse packets that are too long."""
        if n > _MAX_PACKET_BYTES:
            raise paramiko.SSHException("an endless packet")
        return bytes(super().read_all(n, check_rekey))

    def _read_timeout(self, timeout: float) -> bytes:
        data: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self._banner += len(data)
        if self._banner > _MAX_BANNER_BYTES:
            raise paramiko.SSHException("an endless banner")
        return data

    def read_message(self) -> tuple[int, paramiko.Message]:
        """Like paramiko's, but fail if the server has sent more than the window allows."""
        channel = self.channel
        if channel is not None and len(channel.in_buffer) + len(channel.in_stderr_buffer) > 2 * _WINDOW_BYTES:
            raise paramiko.SSHException("more data than was allowed")
        return super().read_message()


class PrivateKey:
    """A pasted private key. Decrypted on first use and then kept, because testing a passphrase is slow by
    design. Thread-safe."""

    def __init__(self, text: Secret, passphrase: Secret) -> None:
        self._text = text
        self._passphrase = passphrase
        self._lock = threading.Lock()
        self._key: paramiko.PKey | None = None

    def __bool__(self) -> bool:
        return bool(self._text)

    def load(self) -> paramiko.PKey:
        """Return the key. Raises ``StorageError`` if it cannot be read."""
        with self._lock:
            if self._key is None:
                self._key = self._read()
            return self._key

    def _read(self) -> paramiko.PKey:
        text = self._text.reveal().replace("\r\n", "\n").strip() + "\n"
        first, _, rest = text.partition("\n")
        if "PuTTY" in first or first in _UNSUPPORTED_FORMATS:
            raise _credentials_error(
                "The private key is in an unsupported format.",
                "Convert it: PuTTYgen, Conversions, Export OpenSSH key; or ssh-keygen -p -f FILE.",
            )
        if not first.startswith("-----BEGIN") or "-----END" not in rest:
            raise _credentials_error(
                "The private key is not complete.",
                "Paste the complete file, including the lines with dashes.",
            )
        passphrase = self._passphrase.reveal() or None
        try:
            return _key_class(first, rest).from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException as error:
            raise _credentials_error(
                "The private key has a passphrase.", "Enter it under “Passphrase”."
            ) from error
        except (paramiko.SSHException, ValueError, IndexError, TypeError) as error:
            if passphrase:
                raise _credentials_error(
                    "The passphrase does not open the private key.", "Check both."
                ) from error
            raise _unreadable_key_error() from error


def _key_class(first: str, rest: str) -> type[paramiko.PKey]:
    """Return the class of a key, from its first line or its unencrypted public half."""
    try:
        head = base64.b64decode("".join(rest.partition("-----END")[0].split())[:400])
    except binascii.Error as error:
        raise _unreadable_key_error() from error
    if " RSA " in first or b"ssh-rsa" in head:
        return paramiko.RSAKey
    if " EC " in first or b"ecdsa-sha2-" in head:
        return paramiko.ECDSAKey
    if b"ssh-ed25519" in head:
        return paramiko.Ed25519Key
    raise _unreadable_key_error()


def _unreadable_key_error() -> StorageError:
    return _credentials_error(
        "The private key cannot be read.", "Paste an Ed25519, ECDSA or RSA key as written by ssh-keygen."
    )


@dataclass(frozen=True, slots=True)
class Account:
    """Server, credentials and accepted host keys (``SHA256:…``)."""

    host: str
    port: int
    user: str
    password: Secret
    private_key: PrivateKey
    host_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SshConnection:
    """An open SFTP channel and the transport below it."""

    channel: paramiko.Channel
    transport: paramiko.Transport

    def is_active(self) -> bool:
        """Whether transport and channel are open, as far as is known without a request."""
        return self.transport.is_active() and not self.channel.closed

    def disconnect(self) -> None:
        """Close the connection. Idempotent."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self.transport.close()


def open_connection(account: Account) -> SshConnection:
    """Connect, verify the host key, sign in and open the channel. Raises ``StorageError``."""
    transport = _verified_transport(account)
    try:
        _sign_in(transport, account)
        channel = transport.open_session(window_size=_WINDOW_BYTES, timeout=SIGN_IN_SECONDS)
        if isinstance(transport.packetizer, _Packets):
            transport.packetizer.channel = channel
        channel.settimeout(protocol.TIMEOUT_SECONDS)
        channel.invoke_subsystem("sftp")
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise _channel_error(error, account.host) from error
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(KEEPALIVE_SECONDS)
    return SshConnection(channel, transport)


def _verified_transport(account: Account) -> paramiko.Transport:
    """Return a transport to a server with an accepted key. A server may have several keys and shows one of
    the type that we prefer, so try the types one by one."""
    transport, offered = _handshake(account, ())
    if offered in account.host_keys:
        return transport
    kinds = [[name] for name in transport.get_security_options().key_types if account.host_keys]
    shown = transport.get_remote_server_key().get_name()
    transport.close()
    if not account.host_keys:
        raise _unknown_host_key_error(account.host, offered)
    for kind in kinds:
        if _key_type(kind[0]) == _key_type(shown):
            continue
        try:
            transport, other = _handshake(account, kind)
        except StorageError:
            continue
        if other in account.host_keys:
            return transport
        transport.close()
    raise _changed_host_key_error(account.host, offered)


def _key_type(name: str) -> str:
    return "rsa" if "rsa" in name else name


def _handshake(account: Account, kinds: Sequence[str]) -> tuple[paramiko.Transport, str]:
    """Return an unauthenticated transport and the fingerprint of the key that the server proved."""
    host, port = account.host, account.port
    raw = connect(host, port, resolve(host, port))
    try:
        # Nagle's algorithm limits transfers to 1-5 MB/s instead of 60-135.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(raw, packetizer_class=_Packets)
    except (OSError, paramiko.SSHException) as error:
        raw.close()
        raise _not_ssh_error(error, host, port) from error
    transport.set_log_channel(_LOG)
    transport.banner_timeout = CONNECT_SECONDS
    transport.handshake_timeout = CONNECT_SECONDS
    transport.auth_timeout = SIGN_IN_SECONDS
    options = transport.get_security_options()
    options.ciphers = [name for name in _CIPHERS if name in transport.preferred_ciphers]
    options.digests = [name for name in options.digests if not any(weak in name for weak in _WEAK_DIGESTS)]
    if kinds:
        options.key_types = list(kinds)
    try:
        transport.start_client(timeout=2 * CONNECT_SECONDS)
        return transport, fingerprint(transport.get_remote_server_key().asbytes())
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise _not_ssh_error(error, host, port) from error


def _sign_in(transport: paramiko.Transport, account: Account) -> None:
    """Sign in with the private key, the password, or both if the server requires both."""
    if not account.private_key and not account.password:
        raise _credentials_error("There is neither a password nor a private key.", "Enter one of them.")
    try:
        left: list[str] = ["password"]
        if account.private_key:
            left = transport.auth_publickey(account.user, account.private_key.load())
        if left and account.password and not transport.is_authenticated():
            left = transport.auth_password(account.user, account.password.reveal())
    except paramiko.BadAuthenticationType as error:
        ways = ", ".join(sorted(error.allowed_types)) or "nothing"
        tried = "private key" if account.private_key else "password"
        raise _credentials_error(
            f"The server did not accept the {tried} of “{account.user}”; it accepts: {ways}.",
            "Sign in another way, or ask the server's administrator to allow this one.",
        ) from error
    except paramiko.AuthenticationException as error:
        if not transport.is_active() or "timeout" in str(error).lower():
            raise _channel_error(error, account.host) from error
        what = "user name, private key or passphrase" if account.private_key else "user name or password"
        raise _credentials_error(f"The server refused the {what}.", "Check them, then try again.") from error
    if not transport.is_authenticated():
        raise _credentials_error(
            f"The server requires more to sign “{account.user}” in: {', '.join(left)}.",
            "Enter the password as well. One-time codes are not supported.",
        )


def _credentials_error(reason: str, remedy: str) -> StorageError:
    return StorageError(Kind.BAD_CREDENTIALS, reason, operation="authenticate", remedy=remedy)


def _unknown_host_key_error(host: str, offered: str) -> StorageError:
    return StorageError(
        Kind.BAD_CREDENTIALS,
        f"“{host}” showed the host key {offered}, which has not been accepted yet. Nothing secret was sent.",
        operation="authenticate",
        subject=host,
        remedy=f"Compare it with the one that the server's administrator gives you, then "
        f"copy {offered} into “Host key” (on the command line: --option host_key={offered}).",
    )


def _changed_host_key_error(host: str, offered: str) -> StorageError:
    return StorageError(
        Kind.BAD_CREDENTIALS,
        f"WARNING: “{host}” showed the host key {offered}, not the one that was accepted. This may be "
        "a man-in-the-middle attack. Nothing secret was sent.",
        operation="authenticate",
        subject=host,
        remedy="Ask the server's administrator whether its key was changed. Only if so, enter "
        "the new one under “Host key” (on the command line: --option host_key=…).",
    )


def _not_ssh_error(error: Exception, host: str, port: int) -> StorageError:
    text = str(error).lower()
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        reason = f"“{host}” and this machine have no encryption algorithm in common."
        remedy = "The server's SSH may be too old."
    elif isinstance(error, paramiko.SSHException) and "banner" not in text:
        reason = f"“{host}” closed the connection on port {port} during the SSH handshake."
        remedy = "It may be busy or block this machine. Try again, or use fewer connections."
    else:
        reason = f"“{host}” does not speak SSH on port {port}, or accepts no more connections."
        remedy = "Check the port; if it is right, use fewer connections or try again later."
    return StorageError(Kind.UNREACHABLE, reason, operation="connect", subject=host, remedy=remedy)


def _channel_error(error: Exception, host: str) -> StorageError:
    if isinstance(error, paramiko.ChannelException):
        return StorageError(
            Kind.DENIED,
            f"“{host}” accepted the sign-in but opens no channel.",
            operation="connect",
            subject=host,
            remedy="Use fewer connections, or ask the server's administrator.",
            retryable=True,
        )
    if isinstance(error, TimeoutError):
        reason, kind = f"“{host}” did not respond in time during sign-in.", Kind.TIMEOUT
    elif "Channel closed" in str(error) or "rejected" in str(error):
        return StorageError(
            Kind.UNSUPPORTED,
            f"“{host}” accepted the sign-in but does not offer SFTP.",
            operation="connect",
            subject=host,
            remedy="Ask the server's administrator to enable the sftp subsystem.",
        )
    else:
        reason, kind = f"“{host}” closed the connection during sign-in.", Kind.UNREACHABLE
    return StorageError(
        kind,
        reason,
        operation="connect",
        subject=host,
        remedy="Try again; if it keeps happening, ask the server's administrator.",
    )
