"""Many objects deleted with one request, which holds a request for each.
https://cloud.google.com/storage/docs/batch"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from email.message import Message
from email.parser import BytesParser

from dashboard.errors import Kind
from dashboard.storage.drivers.common.deleting import delete_together
from dashboard.storage.drivers.gcs.client import ATTEMPTS, Client, failure_in
from dashboard.storage.drivers.gcs.errors import ERRORS, Scene, translate
from dashboard.storage.drivers.gcs.objects import Objects
from dashboard.storage.drivers.gcs.place import Place, check
from dashboard.storage.errors import ContainerMissing, NotFound, StorageError, Unsupported
from dashboard.storage.net.retrying import patiently
from dashboard.storage.net.server import Answer

AT_ONCE = 100
_LONGEST = 1024 * 1024
_MOST_PARTS = 1000
"""Bounds of an answer that answers that many requests."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_ANSWERS = re.compile(r"<?response-[0-9a-f]{32}\+([0-9]{1,3})>?\Z")


class DeletesManyOnGcs:
    """``DeletesMany`` for a driver that has these parts."""

    _place: Place
    _client: Client
    _objects: Objects

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``: a hundred with each request."""
        return delete_together(
            keys,
            at_once=AT_ONCE,
            check=lambda key: check(key, self._place.prefix + key),
            together=self._together,
            alone=self._objects.delete,
        )

    def _together(self, keys: list[str]) -> dict[str, StorageError]:
        scene = self._client.scene("delete")
        answers = self._answers(patiently(lambda: self._asked(keys, scene), ATTEMPTS), scene)
        failed: dict[str, StorageError] = {}
        for number, key in enumerate(keys):
            # Google answers in any order, and perhaps not at all.
            answer = answers.get(number, Answer(503, {}, b""))
            if answer.status < 300:
                continue
            error = translate(failure_in(answer), self._client.scene("delete", key))
            if isinstance(error, ContainerMissing):
                raise error
            if error.kind is Kind.BAD_CREDENTIALS:
                # The token may have been withdrawn, and a single request asks for another one.
                raise _not_together(scene) from error
            if not isinstance(error, NotFound):
                failed[key] = error
        return failed

    def _asked(self, keys: list[str], scene: Scene) -> Answer:
        mark = secrets.token_hex(16)
        parts = [
            f"--{mark}\r\ncontent-type: application/http\r\ncontent-id: <{mark}+{number}>\r\n\r\n"
            f"DELETE {self._objects.target(key)} HTTP/1.1\r\n\r\n"
            for number, key in enumerate(keys)
        ]
        body = "\r\n".join([*parts, f"--{mark}--\r\n"]).encode()
        headers = {"content-type": f"multipart/mixed; boundary={mark}"}
        try:
            return self._client.ask("POST", "/batch/storage/v1", scene, headers=headers, body=body)
        except ContainerMissing as error:
            # Of the address itself: a server that speaks only the rest of the protocol.
            raise _not_together(scene) from error

    def _answers(self, answer: Answer, scene: Scene) -> dict[int, Answer]:
        """The answers in an answer, by the number of the request."""
        head = b"content-type: " + answer.headers.get("content-type", "").encode() + b"\r\n\r\n"
        with ERRORS.reading(scene):
            if len(answer.body) > _LONGEST or answer.body.count(b"\n--") > _MOST_PARTS:
                raise ValueError("too many answers")
            whole = BytesParser().parsebytes(head + answer.body)
            if not whole.is_multipart():
                raise ValueError("not several answers")
            parts = (part for part in whole.walk() if part.get_content_type() == "application/http")
            return dict(map(_numbered, parts))


def _numbered(part: Message) -> tuple[int, Answer]:
    number, inner = _ANSWERS.match(str(part.get("content-id", ""))), part.get_payload(decode=True)
    if number is None or not isinstance(inner, bytes):
        raise ValueError("no answer")
    status = _STATUS_LINE.match(inner)
    if status is None:
        raise ValueError("no status")
    return int(number[1]), Answer(int(status[1]), {}, _BLANK_LINE.split(inner, maxsplit=1)[-1])


def _not_together(scene: Scene) -> Unsupported:
    return Unsupported("delete", f"{scene.host} deletes one object after the other.")
