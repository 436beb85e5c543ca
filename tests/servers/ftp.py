"""An FTP server (pyftpdlib) in a thread of its own, with users who may do different things, as little or as
odd as a test wants it, and with faults that a test switches on."""

from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL

with warnings.catch_warnings():
    # It stands on asyncore, which Python 3.11 calls old.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER = "keeper"
READER = "reader"
PASSWORD = "pässword-secret-not-for-use"

_log = logging.getLogger("pyftpdlib")
# With a handler of ours it does not make its own, which would print every command.
_log.addHandler(logging.NullHandler())
_log.propagate = False


@dataclass
class FtpFaults:
    """Faults for all users, counted in bytes since they were set."""

    full_after: int | None = None
    drop_after: int | None = None
    """The data connection breaks."""
    lose_after: int | None = None
    """Later bytes are discarded, and the server claims to have stored them."""
    cut_after: int | None = None
    """Reading ends here, and the server claims that the file is complete."""
    stall: bool = False
    bytes: int = 0
    locked: str = ""
    """The name of a folder that no user may read."""


class _Files(AbstractedFS):
    """Files whose metadata may be reported incorrectly."""

    def listdir(self, path: str) -> list[str]:
        server: FtpServer = self.cmd_channel.server.ours
        if server.faults.locked and os.path.basename(path) == server.faults.locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        names: list[str] = super().listdir(path)
        return names

    def rename(self, src: str, dst: str) -> None:
        server: FtpServer = self.cmd_channel.server.ours
        if not server.replaces and os.path.lexists(dst):
            raise FileExistsError(errno.EEXIST, "File exists")
        super().rename(src, dst)

    def format_list(self, basedir: str, listing: list[str], ignore_err: bool = True) -> Any:
        server: FtpServer = self.cmd_channel.server.ours
        if not server.windows:
            yield b"total 0\r\n"
            yield from super().format_list(basedir, listing, ignore_err)
            return
        for name in listing:
            path = os.path.join(basedir, name)
            what = "<DIR>         " if os.path.isdir(path) else f"{os.path.getsize(path):>14}"
            yield f"11-21-26  08:15AM       {what} {name}\r\n".encode()


class _Data:
    """A data connection with the server's faults."""

    cmd_channel: Any
    file_obj: Any
    sent = 0

    def recv(self, buffer_size: int) -> bytes:
        chunk: bytes = super().recv(buffer_size)  # type: ignore[misc]
        faults: FtpFaults = self.cmd_channel.server.ours.faults
        before, faults.bytes = faults.bytes, faults.bytes + len(chunk)
        if faults.full_after is not None and faults.bytes > faults.full_after:
            self._resp = ("552 No space left on device.", logging.debug)
            self.close()  # type: ignore[attr-defined]
            return b""
        if faults.drop_after is not None and faults.bytes > faults.drop_after:
            self.cmd_channel.server.ours.break_off(self.cmd_channel, self)
            return b""
        if faults.lose_after is not None:
            # An empty chunk would be the end.
            kept = chunk[: max(0, faults.lose_after - before)]
            self.file_obj.write(kept)
            if chunk:
                self.file_obj.flush()
                self.file_obj = _DiscardingFile(self.file_obj)
        return chunk

    def send(self, data: bytes) -> int:
        faults: FtpFaults = self.cmd_channel.server.ours.faults
        sent: int = super().send(data)  # type: ignore[misc]
        faults.bytes += sent
        if self.cmd == "RETR" and faults.drop_after is not None and faults.bytes > faults.drop_after:  # type: ignore[attr-defined]
            self.cmd_channel.server.ours.break_off(self.cmd_channel, self)
        if self.cmd == "RETR" and faults.cut_after is not None and faults.bytes > faults.cut_after:  # type: ignore[attr-defined]
            self.producer_fifo.clear()  # type: ignore[attr-defined]
            self._resp = ("226 Transfer complete.", logging.debug)
            self.close()  # type: ignore[attr-defined]
        return sent


class _DiscardingFile:
    """A file that discards what is written."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self.name = file.name

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        self._file.close()


class _PlainData(_Data, DTPHandler):
    def use_sendfile(self) -> bool:
        return False


class _SecureData(_Data, TLS_DTPHandler):
    def use_sendfile(self) -> bool:
        return False

    def handle_ssl_established(self) -> None:
        """Check that the data connection resumes the TLS session of the control connection, as many servers
        require."""
        reused = bool(SSL._lib.SSL_session_reused(self.socket._ssl))
        self.cmd_channel.server.ours.reused.append(reused)


class _Handler:
    """One connection."""

    server: Any

    def on_connect(self) -> None:
        ours: FtpServer = self.server.ours
        ours.sessions += 1
        if ours.tls == "implicit":
            self.secure_connection(self.ssl_context)  # type: ignore[attr-defined]

    def handle(self) -> None:
        if self.server.ours.tls == "implicit":
            # Nothing is said in clear.
            self.on_connect()
            self._greet_later = True
        else:
            super().handle()  # type: ignore[misc]

    def handle_ssl_established(self) -> None:
        if getattr(self, "_greet_later", False):
            self.respond("220 Ready.")  # type: ignore[attr-defined]

    def process_command(self, cmd: str, *args: Any, **more: Any) -> None:
        ours: FtpServer = self.server.ours
        ours.commands.append(cmd)
        if ours.faults.stall and cmd in ("RETR", "STOR", "MLST", "SIZE"):
            return
        super().process_command(cmd, *args, **more)  # type: ignore[misc]

    def ftp_LIST(self, path: str) -> Any:
        ours: FtpServer = self.server.ours
        if not ours.takes_switches and self.last_line.upper().startswith("LIST -"):  # type: ignore[attr-defined]
            self.push_dtp_data(b"", cmd="LIST")  # type: ignore[attr-defined]
            return path
        if ours.strange:
            self.push_dtp_data(b"FILE;1  12/24  21-NOV-2026\r\n", cmd="LIST")  # type: ignore[attr-defined]
            return path
        return super().ftp_LIST(path)  # type: ignore[misc]

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        self.last_line = line
        super().pre_process_command(line, cmd, arg)  # type: ignore[misc]


class FtpServer:
    """A server of the folder ``root`` on a free port of 127.0.0.1.

    ``tls`` is ``none``, ``explicit`` (and then demanded) or ``implicit``; ``lacks`` names commands it does
    not know, ``more`` sets attributes of pyftpdlib's handler.
    """

    def __init__(
        self, root: Path, tls: str = "none", *, lacks: tuple[str, ...] = (), tls13: bool = True, **more: Any
    ) -> None:
        self.root = root
        self.tls = tls
        self.faults = FtpFaults()
        self.replaces = self.takes_switches = True
        self.windows = self.strange = False
        self.sessions = 0
        self.commands: list[str] = []
        self.reused: list[bool] = []
        self.authority = trustme.CA()
        self._more = more
        self._lacks = lacks
        self._tls13 = tls13
        self._stop = threading.Event()
        self._loop = IOLoop()
        self.port = 0
        self._start()

    @property
    def authority_pem(self) -> str:
        """The certificate of the authority that signed the server's."""
        return self.authority.cert_pem.bytes().decode()

    def _start(self) -> None:
        self.server = FTPServer(("127.0.0.1", self.port), self._handler(), ioloop=self._loop)
        self.server.ours = self
        self.port = self.server.address[1]
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, name="ftp-server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._loop.loop(timeout=0.02, blocking=False)
        self._loop.close()

    def _handler(self) -> type[FTPHandler]:
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(self.root), perm="elradfmwMT")
        authorizer.add_user(READER, PASSWORD, str(self.root), perm="elr")
        secure = self.tls != "none"
        base = TLS_FTPHandler if secure else FTPHandler
        settings: dict[str, Any] = {
            "authorizer": authorizer,
            "abstracted_fs": _Files,
            "dtp_handler": _SecureData if secure else _PlainData,
            "proto_cmds": {name: what for name, what in base.proto_cmds.items() if name not in self._lacks},
            "auth_failed_timeout": 0,
            "timeout": 120,
        }
        if secure:
            settings |= {
                "tls_control_required": True,
                "tls_data_required": True,
                "ssl_context": self._context(),
            }
        return type("Handler", (_Handler, base), settings | self._more)

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        context.set_session_id(b"stowage-tests")
        if not self._tls13:
            context.set_options(SSL.OP_NO_TLSv1_3)
        return context

    def break_off(self, control: Any, data: Any) -> None:
        """Close both connections without a reply."""
        for each in (data, control):
            each.socket.close()
            each.del_channel()
            each.connected = False
            each._closed = True
        if data.file_obj is not None:
            data.file_obj.close()

    def reset(self) -> None:
        """Remove all faults."""
        self.faults = FtpFaults()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def start(self) -> None:
        """Listen again, on the same port."""
        self._loop = IOLoop()
        self._start()

    def close(self) -> None:
        """Stop the server for good."""
        self.stop()
