"""E-mail over SMTP: addresses that the policy allows, certificates that are checked, bounded time."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dashboard.services.notifications.attempts import (
    ATTEMPT_SECONDS,
    IDLE_SECONDS,
    Answer,
    DeliveryError,
    PartlyRefused,
    Stage,
)
from dashboard.services.notifications.channel_rules import Resolved
from dashboard.services.notifications.notification_values import ChannelMessage
from dashboard.services.notifications.rendering import mail
from dashboard.storage.net.connecting import (
    ConnectError,
    classify_handshake_error,
    connect,
    make_tls_context,
    resolve,
)
from dashboard.storage.net.transport_errors import classify_error

MAX_REPLY_LINES = 500
"""Lines that a server may send in one conversation."""


class MailAttempt:
    """One attempt to send a message by mail. Used by one thread; the connection is closed at the end."""

    def __init__(self, channel: Resolved, message: ChannelMessage) -> None:
        self._channel = channel
        self._message = message
        options = channel.options
        self._host, self._port = options["host"], int(options["port"])
        self._security = options["security"]
        self._smtp: _Conversation | None = None
        self._addresses: tuple[str, ...] = ()
        self._sockets: list[socket.socket] = []
        self._watchdog: threading.Timer | None = None
        self.answer = Answer()

    def stages(self) -> tuple[Stage, ...]:
        """Everything from looking up the host to the message."""
        stages = [
            Stage("resolve", "Look up the host", self._resolve),
            Stage("connect", "Connect", self._connect),
        ]
        if self._security != "none":
            stages.append(Stage("tls", "Encrypt, and check the certificate", self._encrypt))
        if self._channel.options["username"]:
            stages.append(Stage("sign_in", "Sign in", self._sign_in))
        stages.append(Stage("send", "Send a message", self._send))
        return tuple(stages)

    def send(self) -> str:
        """All stages without telling about them."""
        for stage in self.stages():
            detail = stage.run()
        return detail

    def close(self) -> None:
        """End the conversation. Idempotent."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._smtp is not None:
            self._smtp.close()
        for sock in self._sockets:
            sock.close()

    def _resolve(self) -> str:
        self._addresses = resolve(self._host, self._port)
        return ""

    def _connect(self) -> str:
        raw = connect(self._host, self._port, self._addresses)
        raw.settimeout(IDLE_SECONDS)
        # A server that sends a byte now and then is never silent for long.
        lifeline = raw.dup()
        self._sockets = [raw, lifeline]
        self._watchdog = threading.Timer(ATTEMPT_SECONDS, _interrupt, (lifeline,))
        self._watchdog.daemon = True
        self._watchdog.start()
        if self._security == "tls":
            # The greeting comes after the handshake, which is the next step.
            return ""
        self._greet(raw)
        if self._security == "none":
            return "Without encryption: whoever is on the way can read messages."
        return ""

    def _greet(self, sock: socket.socket) -> None:
        self._smtp = _Conversation(self._host, sock)
        with self._errors("connect"):
            code, text = self._smtp.begin()
            if code != 220:
                raise smtplib.SMTPConnectError(code, text)
            self._smtp.ehlo_or_helo_if_needed()

    def _encrypt(self) -> str:
        context = make_tls_context(tls_verify=True, authority=self._channel.options["authority"])
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self._security == "tls":
                self._greet(context.wrap_socket(self._sockets[0], server_hostname=self._host))
            else:
                assert self._smtp is not None
                if not self._smtp.has_extn("starttls"):
                    raise DeliveryError(
                        f"{self._host} offers no STARTTLS on port {self._port}.",
                        "Nothing is sent without encryption. Choose “TLS from the start” with port 465, or "
                        "another port.",
                    )
                with self._errors("tls"):
                    self._smtp.starttls(context=context)
                    self._smtp.ehlo_or_helo_if_needed()
        except (ssl.SSLError, ConnectionError, TimeoutError) as error:
            raise _tls_error(error, self._host, self._port) from error
        assert self._smtp is not None
        assert isinstance(self._smtp.sock, ssl.SSLSocket)
        return self._smtp.sock.version() or "TLS"

    def _sign_in(self) -> str:
        assert self._smtp is not None
        with self._errors("sign_in"):
            self._smtp.login(self._channel.options["username"], self._channel.secrets["password"].reveal())
        return ""

    def _send(self) -> str:
        assert self._smtp is not None
        options = self._channel.options
        made = mail(self._message, options["from"], options["to"])
        with self._errors("send"):
            refused = self._smtp.send_message(made)
            code, text = self._smtp.last
            with suppress(smtplib.SMTPException, OSError):
                self._smtp.quit()
        if refused:
            first, (status, words) = next(iter(refused.items()))
            raise PartlyRefused(
                f"{self._host} refused the recipient {first}; the others have the message.",
                "Correct that address.",
                status=status,
                answer=words.decode("utf-8", "replace"),
            )
        reply = text.decode("utf-8", "replace")
        self.answer = Answer(code, reply)
        return f"It answered {code}."

    def _errors(self, step: str) -> _SmtpErrors:
        return _SmtpErrors(step, self._host, self._port)


class _Conversation(smtplib.SMTP):
    """``smtplib``'s client over a connection that was made elsewhere, with a bound on what it reads."""

    def __init__(self, host: str, sock: socket.socket) -> None:
        super().__init__(timeout=IDLE_SECONDS)
        # STARTTLS checks the certificate against it.
        self._host = host
        self.sock = sock
        self.last: tuple[int, bytes] = (0, b"")
        self._lines = 0

    def begin(self) -> tuple[int, bytes]:
        """Read the greeting."""
        return self.getreply()

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply. Raises ``SMTPServerDisconnected`` if the server sends too much."""
        if self.file is None:
            assert self.sock is not None
            self.file = _BoundedLines(self.sock.makefile("rb"))
        self.last = super().getreply()
        return self.last


class _BoundedLines:
    """The lines of a server, up to a number: a reply has no end of its own."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = MAX_REPLY_LINES

    def readline(self, limit: int = -1) -> bytes:
        """The next line."""
        self._left -= 1
        if self._left < 0:
            raise OSError("the server sends too many lines")
        line: bytes = self._file.readline(limit)
        return line

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


class _SmtpErrors:
    """Turns ``smtplib``'s errors into sentences with a remedy."""

    def __init__(self, step: str, host: str, port: int) -> None:
        self._step, self._host, self._port = step, host, port

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DeliveryError | ssl.SSLError):
            return
        if isinstance(error, smtplib.SMTPException | OSError | UnicodeError | ValueError):
            raise _explain(error, self._step, self._host, self._port) from error


def _explain(error: Exception, step: str, host: str, port: int) -> DeliveryError:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return _refusal(code, text, f"{host} did not accept the recipients", _RELAY)
    # What has no code is no reply of SMTP.
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code > 0:
        reason, remedy = _REFUSALS.get(type(error), ("refused to go on", "Look into the server's log."))
        return _refusal(error.smtp_code, error.smtp_error, f"{host} {reason}", remedy)
    if isinstance(error, smtplib.SMTPNotSupportedError) and step == "sign_in":
        remedy = "Leave the user name empty, or use the port that is for sending with a password (587)."
        return DeliveryError(f"{host} offers no sign-in on port {port}.", remedy)
    if isinstance(error, smtplib.SMTPException | ValueError):
        return DeliveryError(
            f"{host} closed the connection, or does not speak SMTP on port {port}.",
            "Check the port and the encryption: 587 with STARTTLS, 465 with TLS from the start.",
        )
    return DeliveryError.of_transport(classify_error(error), host, speaks="SMTP")


_RELAY = "It may send only for people who sign in: enter a user name and password. Check the addresses too."
_REFUSALS: Mapping[type[Exception], tuple[str, str]] = {
    smtplib.SMTPSenderRefused: (
        "did not accept the sender",
        "Use a sender that this server or this user may send as.",
    ),
    smtplib.SMTPAuthenticationError: (
        "did not accept the user name or the password",
        "Many providers want a password made for one app instead of the one for signing in.",
    ),
}


def _refusal(code: int, text: bytes | str, reason: str, remedy: str) -> DeliveryError:
    reply = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return DeliveryError(f"{reason} ({code}).", remedy, status=code, answer=reply, refused=code >= 500)


def _tls_error(error: OSError, host: str, port: int) -> DeliveryError:
    code = classify_handshake_error(error)
    if code == "not_tls":
        return DeliveryError(
            f"{host} speaks no TLS on port {port} from the start.",
            "Choose STARTTLS, which is usual on port 587, or the port that begins with TLS (465).",
        )
    return DeliveryError.of(ConnectError(code, "connect", host, port))


def _interrupt(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
