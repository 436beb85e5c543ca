"""Who may read one object: its access control list.

https://cloud.google.com/storage/docs/json_api/v1/objectAccessControls. Only what is open to everybody is
changed; what is granted to people and groups by name stays.
"""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import quote

from dashboard.storage.drivers.gcs.client import Client
from dashboard.storage.drivers.gcs.errors import ERRORS
from dashboard.storage.drivers.gcs.objects import Objects
from dashboard.storage.drivers.gcs.place import Place, check
from dashboard.storage.errors import NotFound
from dashboard.storage.types import Visibility

_EVERYBODY = "allUsers"
_STRANGERS = (_EVERYBODY, "allAuthenticatedUsers")
_HEADERS = {"content-type": "application/json; charset=utf-8"}


class OpensGcsObjects:
    """``SetsVisibility`` for a driver that has these parts."""

    _place: Place
    _client: Client
    _objects: Objects

    def visibility(self, key: str) -> Visibility:
        """See ``SetsVisibility``: by the object's own list; the bucket's roles may allow more."""
        return Visibility.PUBLIC if _EVERYBODY in self._strangers(key, "visibility") else Visibility.PRIVATE

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """See ``SetsVisibility``. Where a bucket has uniform access, as new ones have, ``Unsupported``; kind
        ``denied`` where public access is prevented. Private shuts out strangers with a Google account too."""
        if visibility is Visibility.PUBLIC:
            scene = self._client.scene("set visibility", key)
            body = json.dumps({"entity": _EVERYBODY, "role": "READER"}).encode()
            self._client.send("POST", self._list(key), scene, headers=_HEADERS, body=body)
            return
        for who in self._strangers(key, "set visibility"):
            # Somebody else may be faster.
            with suppress(NotFound):
                self._client.send(
                    "DELETE", f"{self._list(key)}/{who}", self._client.scene("set visibility", key)
                )

    def _strangers(self, key: str, operation: str) -> tuple[str, ...]:
        """Those of nobody in particular who may read the object. Raises ``NotFound``."""
        scene = self._client.scene(operation, key)
        target = f"{self._list(key)}?fields={quote('items(entity,role)', safe='')}"
        said = self._client.document(self._client.send("GET", target, scene), scene)
        with ERRORS.reading(scene):
            listed = {each["entity"] for each in said.get("items") or ()}
        return tuple(who for who in _STRANGERS if who in listed)

    def _list(self, key: str) -> str:
        check(key, self._place.prefix + key)
        return f"{self._objects.target(key)}/acl"
