"""What travels between the sandbox and its children: a JSON object and byte strings, each with its length.

Either end may be hostile, so that every length is compared with a limit before anything is read.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Values = dict[str, Any]
"""What JSON has."""

_HEAD = struct.Struct(">II")
WINDOW = 1024 * 1024
MESSAGE = 64
"""Bytes of each message on the control socket: JSON, padded with spaces."""
MAX_HEADER = 256 * 1024
MAX_PARTS = 64


class TaskError(Exception):
    """A failure that the task foresees. ``kind``: ``broken``, ``pixels``, ``unsupported``, ``encrypted``,
    ``active`` ``animated`` or
    ``out_of_memory``; ``details`` are values for the sentence."""

    def __init__(self, kind: str, **details: Any) -> None:
        super().__init__(kind)
        self.kind = kind
        self.details = details


class FrameError(Exception):
    """The other end ended early, or sent what no program of ours sends."""


def pack_header(values: dict[str, Any], sizes: Sequence[int]) -> bytes:
    """What announces byte strings of these ``sizes``."""
    text = json.dumps(values).encode()
    return _HEAD.pack(len(text), len(sizes)) + text + struct.pack(f">{len(sizes)}Q", *sizes)


def read_frame(receive: Callable[[int], bytes], *, limit: int) -> tuple[dict[str, Any], list[bytearray]]:
    """Return the object and the byte strings, together at most ``limit`` bytes.

    ``receive`` returns at most as many bytes as asked for, none at the end. Raises ``FrameError``.
    """
    length, count = _HEAD.unpack(_exactly(receive, _HEAD.size))
    if length > MAX_HEADER or count > MAX_PARTS:
        raise FrameError("a header beyond its limit")
    try:
        values = json.loads(bytes(_exactly(receive, length)))
    except (ValueError, RecursionError) as error:
        raise FrameError("no JSON") from error
    if not isinstance(values, dict):
        raise FrameError("no JSON object")
    sizes = struct.unpack(f">{count}Q", _exactly(receive, 8 * count))
    if sum(sizes) > limit:
        raise FrameError("more bytes than allowed")
    return values, [_exactly(receive, size) for size in sizes]


def _exactly(receive: Callable[[int], bytes], size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        chunk = receive(min(size - len(data), WINDOW))
        if not chunk:
            raise FrameError("ended early")
        data += chunk
    return data


def write_frame(descriptor: int, values: dict[str, Any], parts: Sequence[bytes]) -> None:
    """Write a frame to a file descriptor."""
    for block in (pack_header(values, [len(part) for part in parts]), *parts):
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view[:WINDOW]) :]


def windows(blocks: Iterable[bytes]) -> Iterator[memoryview]:
    """The bytes of these blocks, at most ``WINDOW`` at a time."""
    for block in blocks:
        view = memoryview(block)
        for at in range(0, len(view), WINDOW):
            yield view[at : at + WINDOW]
