"""Headers and metadata of a stored object, changed in place.

https://cloud.google.com/storage/docs/json_api/v1/objects/patch. Two conditions hold at Google itself: the
content is the same generation, and nobody else has changed the attributes in between.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from dashboard.storage.drivers.gcs.client import JSON, GcsClient
from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.drivers.gcs.objects import ATTRIBUTE_FIELDS, Objects, check_attributes
from dashboard.storage.errors import Changed
from dashboard.storage.types import Attributes


class GcsAttributesMixin:
    """``SetsAttributes`` for a driver that has these parts."""

    _config: GcsConfig
    _client: GcsClient
    _objects: Objects

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """See ``SetsAttributes``. Atomic; the version stays the same, because it is that of the content."""
        check_key(key, self._config.prefix + key)
        check_attributes(attributes)
        before = self._objects.head(key, "attributes")
        if if_version is not None and before.info.version != if_version:
            raise Changed(key, operation="attributes")
        change: dict[str, Any] = {
            field: getattr(attributes, name) or None for field, name in ATTRIBUTE_FIELDS.items()
        }
        # What is not named would stay.
        metadata = dict.fromkeys(before.info.attributes.metadata) | dict(attributes.metadata)
        if metadata:
            change["metadata"] = metadata
        conditions = {
            "ifGenerationMatch": before.info.version,
            "ifMetagenerationMatch": before.metageneration,
        }
        context = self._client.context("attributes", key)
        target = f"{self._objects.target(key)}?{urlencode(conditions)}"
        try:
            self._client.send("PATCH", target, context, headers=JSON, body=json.dumps(change).encode())
        except Changed:
            # An earlier attempt may have done it, and only its response was lost.
            now = self._objects.head(key, "attributes").info
            if (now.version, now.attributes) != (before.info.version, attributes):
                raise
