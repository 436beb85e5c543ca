"""Settings of the blob service of an account, which apply to all of its containers.

https://learn.microsoft.com/rest/api/storageservices/set-blob-service-properties
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests
from azure.storage.blob import BlobServiceClient
from azure.storage.blob import CorsRule as SdkRule

from dashboard.storage.drivers.azure.config import AzureConfig
from dashboard.storage.drivers.azure.errors import ErrorContext
from dashboard.storage.drivers.azure.wire import client_options, translate_errors
from dashboard.storage.inspection.findings import SETTINGS_SECONDS, CorsRule

_QUICK: Mapping[str, Any] = {"retry_total": 0, "read_timeout": SETTINGS_SECONDS}


class AzureService:
    """A client for the settings of the account. Thread-safe; connects on first use."""

    def __init__(self, config: AzureConfig, session: requests.Session) -> None:
        self._client = BlobServiceClient(config.endpoint, **client_options(config, session))

    def cors(self, context: ErrorContext) -> list[tuple[CorsRule, Any]]:
        """The rules in order, each with the SDK's object for it."""
        with translate_errors(context):
            rules = self._client.get_service_properties(**_QUICK)["cors"]
        return [(_to_cors_rule(rule), rule) for rule in rules]

    def set_cors(self, rules: Sequence[Any], context: ErrorContext) -> None:
        """Replace the rules; all other settings stay. Azure supports no condition here: a concurrent change
        of the rules is lost."""
        with translate_errors(context):
            self._client.set_service_properties(cors=list(rules))


def new_rule(origin: str, methods: Sequence[str], headers: Sequence[str]) -> SdkRule:
    """Create a rule for the SDK. Browsers cache it for an hour."""
    return SdkRule(
        [origin],
        list(methods),
        allowed_headers=list(headers),
        exposed_headers=["ETag"],
        max_age_in_seconds=3600,
    )


def _to_cors_rule(rule: SdkRule) -> CorsRule:
    return CorsRule(
        _split(rule.allowed_origins),
        _split(rule.allowed_methods),
        _split(rule.allowed_headers.lower()),
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
