"""An FTP server that replies to each command as a script says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

OPENING, DONE = "150 Here it comes", "226 Done"
FOLDER = "250-Here\r\n type=dir; /\r\n250 End"


Reply = str | Iterator[str] | Callable[[str], str | Iterator[str]]
"""Lines, or a function from the argument of a command to lines."""


class FtpScript:
    """A scripted server. ``replies`` are by command; ``data`` is sent over the data connections of MLSD, LIST
    and RETR, and ``after`` is the reply at their end."""

    def __init__(
        self,
        *,
        data: bytes | Callable[[], Iterator[bytes]] = b"",
        after: str = DONE,
        features: str = "211-Features\r\n MLST type*;size*;modify*;\r\n211 End",
        greeting: Reply = "220 Ready",
        **replies: Reply,
    ) -> None:
        self.data = data
        self.after = after
        self.commands: list[str] = []
        self.sent = 0
        self._replies: dict[str, Reply] = {
            "greeting": greeting,
            "USER": "331 Password",
            "PASS": "230 In",
            "FEAT": features,
            "PWD": '257 "/"',
            "MLST": FOLDER,
            **replies,
        }

    def __call__(self, control: socket.socket) -> None:
        self._reply(control, self._replies["greeting"])
        with control.makefile("rb") as lines, ExitStack() as stack:
            listener = None
            for line in lines:
                command, _, argument = line.decode("latin-1").strip().partition(" ")
                self.commands.append(command)
                if command in ("PASV", "EPSV"):
                    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                    port = listener.getsockname()[1]
                    control.sendall(f"227 Mode (127,0,0,1,{port >> 8},{port & 255})\r\n".encode())
                elif command in ("MLSD", "LIST", "RETR", "STOR") and command not in self._replies:
                    assert listener is not None
                    control.sendall(f"{OPENING}\r\n".encode())
                    self._transfer(listener, receives=command == "STOR")
                    self._reply(control, self.after)
                else:
                    self._reply(control, self._replies.get(command, "200 Fine"), argument)

    def _transfer(self, listener: socket.socket, *, receives: bool) -> None:
        connection = listener.accept()[0]
        with connection, suppress(OSError):
            if receives:
                while connection.recv(65536):
                    pass
            for piece in (self.data,) if isinstance(self.data, bytes) else self.data():
                connection.sendall(piece)
                self.sent += len(piece)

    def _reply(self, control: socket.socket, reply: Reply, argument: str = "") -> None:
        if callable(reply):
            reply = reply(argument)
        for line in (reply,) if isinstance(reply, str) else reply:
            if line:
                control.sendall(f"{line}\r\n".encode("latin-1"))
                self.sent += len(line)
