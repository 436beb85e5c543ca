"""A server of the sandbox whose tasks do what an exploited or broken decoder would: a program of its own."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
    sys.path += [folder for folder in json.loads(sys.argv[2]) if folder not in sys.path]

from dashboard.media.decoding import sandbox_server


def attempt(action: Callable[[], object]) -> str:
    """What comes of an action: ``done``, or the number of the error."""
    try:
        action()
    except OSError as error:
        return str(error.errno)
    return "done"


def attempts(arguments: dict[str, Any], parts: Sequence[bytearray], file: int | None) -> Any:
    """Everything that a decoder has no business doing."""
    path = arguments["path"]
    parent = os.getppid()
    found = {
        "read": attempt(lambda: open("/etc/hostname").close()),
        "create": attempt(lambda: open(path, "w").close()),
        "remove": attempt(lambda: os.remove(path)),
        "list": attempt(lambda: os.listdir("/")),
        "connect": attempt(lambda: socket.socket().connect(("127.0.0.1", arguments["port"]))),
        "local socket": attempt(lambda: socket.socket(socket.AF_UNIX)),
        "run": attempt(lambda: os.execv("/bin/true", ["true"])),
        "fork": attempt(os.fork),
        "signal": attempt(lambda: os.kill(parent, 0)),
        "duplicate": attempt(lambda: os.dup(3)),
        "trace": "done" if ctypes.CDLL(None).ptrace(16, parent, 0, 0) == 0 else "refused",
        "environment": ",".join(sorted(os.environ)),
    }
    return found, []


def endless(*_: Any) -> Any:
    while True:
        pass


def asleep(*_: Any) -> Any:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    time.sleep(3600)


def greedy(*_: Any) -> Any:
    return {"length": len(bytearray(4 * 1024**3))}, []


def crashing(*_: Any) -> Any:
    ctypes.string_at(0)


def exiting(*_: Any) -> Any:
    os._exit(0)


def shouting(*_: Any) -> Any:
    while True:
        os.write(3, b"\0\0\0\2\0\0\0\1{}" + b"\x7f" * 100_000)


def lying(*_: Any) -> Any:
    os.write(3, b"\xff" * 64)
    os._exit(0)


def nested(*_: Any) -> Any:
    text = b"[" * 100_000
    os.write(3, len(text).to_bytes(4, "big") + bytes(4) + text)
    os._exit(0)


def odd(*_: Any) -> Any:
    os.write(3, b"\0\0\0\2\0\0\0\0[]")
    os._exit(0)


def reading(_: dict[str, Any], parts: Sequence[bytearray], file: int | None) -> Any:
    """What arrived."""
    assert file is not None
    return {"file": os.read(file, 100).decode(), "parts": [len(part) for part in parts]}, [bytes(parts[0])]


HOSTILE = (attempts, endless, asleep, greedy, crashing, exiting, shouting, lying, nested, odd, reading)

if __name__ == "__main__":
    sandbox_server.TASKS = {each.__name__: each for each in HOSTILE}
    sandbox_server.load = lambda task: None
    sandbox_server.preload = lambda: None
    sandbox_server.main()
