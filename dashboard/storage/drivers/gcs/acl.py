"""The visibility of an object: its access control list.

https://cloud.google.com/storage/docs/json_api/v1/objectAccessControls. Changes only public access; grants to
named people and groups stay.
"""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import quote

from dashboard.storage.drivers.gcs.client import JSON, GcsClient
from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.drivers.gcs.errors import ERRORS
from dashboard.storage.drivers.gcs.objects import Objects
from dashboard.storage.errors import NotFound
from dashboard.storage.types import Visibility

_ALL_USERS = "allUsers"
_PUBLIC_ENTITIES = (_ALL_USERS, "allAuthenticatedUsers")


class GcsVisibilityMixin:
    """``SetsVisibility`` for a driver that has these parts."""

    _config: GcsConfig
    _client: GcsClient
    _objects: Objects

    def visibility(self, key: str) -> Visibility:
        """See ``SetsVisibility``. Reads the object's own list; roles on the bucket may allow more."""
        is_public = _ALL_USERS in self._public_entities(key, "visibility")
        return Visibility.PUBLIC if is_public else Visibility.PRIVATE

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """See ``SetsVisibility``. Raises ``Unsupported`` if the bucket has uniform access, as new ones have,
        and kind ``denied`` if it prevents public access. Private also excludes all other Google accounts."""
        if visibility is Visibility.PUBLIC:
            context = self._client.context("set visibility", key)
            body = json.dumps({"entity": _ALL_USERS, "role": "READER"}).encode()
            self._client.send("POST", self._acl_path(key), context, headers=JSON, body=body)
            return
        for entity in self._public_entities(key, "set visibility"):
            # Another client may have deleted it first.
            with suppress(NotFound):
                self._client.send(
                    "DELETE", f"{self._acl_path(key)}/{entity}", self._client.context("set visibility", key)
                )

    def _public_entities(self, key: str, operation: str) -> tuple[str, ...]:
        """The public entities that may read the object. Raises ``NotFound``."""
        context = self._client.context(operation, key)
        target = f"{self._acl_path(key)}?fields={quote('items(entity,role)', safe='')}"
        document = self._client.parse_document(self._client.send("GET", target, context), context)
        with ERRORS.translate_parse_errors(context):
            listed = {item["entity"] for item in document.get("items") or ()}
        return tuple(entity for entity in _PUBLIC_ENTITIES if entity in listed)

    def _acl_path(self, key: str) -> str:
        check_key(key, self._config.prefix + key)
        return f"{self._objects.target(key)}/acl"
