"""The settings of a storage account's blob service, which hold for all of its containers.

https://learn.microsoft.com/rest/api/storageservices/set-blob-service-properties
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests
from azure.storage.blob import BlobServiceClient
from azure.storage.blob import CorsRule as Held

from dashboard.storage.drivers.azure.errors import Scene
from dashboard.storage.drivers.azure.place import Place
from dashboard.storage.drivers.azure.wire import client_options, neutral
from dashboard.storage.inspection.findings import SETTINGS_SECONDS, CorsRule

_IMPATIENT: Mapping[str, Any] = {"retry_total": 0, "read_timeout": SETTINGS_SECONDS}


class Service:
    """Thread-safe; connects on first use."""

    def __init__(self, place: Place, session: requests.Session) -> None:
        self._client = BlobServiceClient(place.endpoint, **client_options(place, session))

    def cors(self, scene: Scene) -> list[tuple[CorsRule, Any]]:
        """The rules in their order, each with the SDK's own word for it."""
        with neutral(scene):
            held = self._client.get_service_properties(**_IMPATIENT)["cors"]
        return [(_read(rule), rule) for rule in held]

    def set_cors(self, rules: Sequence[Any], scene: Scene) -> None:
        """Replace the rules; all other settings stay. Azure takes no condition: a change of the rules that
        somebody else makes in the same moment is lost."""
        with neutral(scene):
            self._client.set_service_properties(cors=list(rules))


def new_rule(origin: str, methods: Sequence[str], headers: Sequence[str]) -> Held:
    """A rule in the SDK's words, good for an hour in a browser's memory."""
    return Held(
        [origin],
        list(methods),
        allowed_headers=list(headers),
        exposed_headers=["ETag"],
        max_age_in_seconds=3600,
    )


def _read(rule: Held) -> CorsRule:
    return CorsRule(
        _listed(rule.allowed_origins),
        _listed(rule.allowed_methods),
        _listed(rule.allowed_headers.lower()),
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())
