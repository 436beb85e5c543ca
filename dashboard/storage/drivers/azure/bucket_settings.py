"""CORS rules, which in Azure are a setting of the account.

CORS: https://learn.microsoft.com/rest/api/storageservices/cross-origin-resource-sharing--cors--support-for-the-azure-storage-services.
Lifecycle rules are only available in Azure's management API, which the keys of an account cannot use.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

from dashboard.errors import Kind
from dashboard.storage.drivers.azure.client import AzureClient
from dashboard.storage.drivers.azure.config import AzureConfig
from dashboard.storage.drivers.azure.service import new_rule
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.findings import (
    CORS,
    UNFINISHED,
    CorsRule,
    blocked_headers,
    cors_finding,
    rule_position,
    unavailable_cors,
    unknown_finding_error,
)
from dashboard.storage.inspection.powers import Finding

_MAX_RULES = 5
_HEADERS = ("content-type", "x-ms-blob-type")
"""Headers of our signed uploads."""
_CORS_IN_PORTAL = "in the portal, under Settings, Resource sharing (CORS)"
_LIFECYCLE_IN_PORTAL = "Check the portal for lifecycle rules that delete objects, under Data management."


class AzureBucketSettingsMixin:
    """``ChecksSettings`` for a driver that has these parts."""

    _config: AzureConfig
    _client: AzureClient

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``. CORS is a setting of the whole account: reading it needs the account's key
        or a SAS token for the service."""
        try:
            cors = self._cors_finding(origin)
        except StorageError as error:
            cors = unavailable_cors(error)
        sentence = "Azure itself deletes incomplete uploads a week after they started."
        return cors, Finding(UNFINISHED, sentence, _LIFECYCLE_IN_PORTAL, good=True)

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``. The rule applies to all containers of the account. Azure supports no
        condition here: a concurrent change of the rules is lost."""
        if name != CORS:
            raise unknown_finding_error(name)
        pairs = self._cors("change settings")
        current = [rule for rule, _ in pairs]
        blocked = _blocked_headers(current, origin)
        if blocked == ():
            return
        if len(pairs) >= _MAX_RULES:
            raise StorageError(
                Kind.CONFLICT,
                f"The account “{self._config.account}” has {_MAX_RULES} CORS rules; Azure allows no more.",
                operation="change settings",
                subject=self._config.account,
                remedy=f"Change or remove one {_CORS_IN_PORTAL}.",
            )
        ours = new_rule(origin, ("GET", "HEAD", "PUT") if blocked is None else ("PUT",), ("*",))
        position, rules = rule_position(current, origin), [rule for _, rule in pairs]
        self._client.service.set_cors(
            [*rules[:position], ours, *rules[position:]], self._client.context("change settings")
        )

    def _cors_finding(self, origin: str) -> Finding:
        rules = [rule for rule, _ in self._cors("settings")]
        reach = f" in all containers of the account “{self._config.account}”"
        finding = cors_finding(origin, _blocked_headers(rules, origin), reach=reach)
        if finding.good or len(rules) < _MAX_RULES:
            return finding
        message = (
            f"The account has {_MAX_RULES} CORS rules and Azure allows no more: change one {_CORS_IN_PORTAL}."
        )
        return replace(finding, fixable=False, remedy=message)

    def _cors(self, operation: str) -> list[tuple[CorsRule, object]]:
        if not self._token_covers_service():
            raise StorageError(
                Kind.DENIED,
                "CORS is a setting of the whole account, which this SAS token may not read.",
                operation=operation,
                subject=self._config.account,
                remedy=f"Sign in with the account's key, or check {_CORS_IN_PORTAL}.",
            )
        return self._client.service.cors(self._client.context(operation))

    def _token_covers_service(self) -> bool:
        """Whether the credential may read the account's settings. With a token for a container, Azure would
        only report a wrong sign-in.
        https://learn.microsoft.com/rest/api/storageservices/create-account-sas"""
        token = self._config.credential.sas_token
        kinds = parse_qs(token.reveal().removeprefix("?")).get("srt", [""]) if token else ["s"]
        return "s" in kinds[0]


def _blocked_headers(rules: list[CorsRule], origin: str) -> tuple[str, ...] | None:
    return blocked_headers(rules, origin, _HEADERS)
