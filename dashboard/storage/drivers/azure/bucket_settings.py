"""How the account around a container is set up: may browsers upload?

CORS: https://learn.microsoft.com/rest/api/storageservices/cross-origin-resource-sharing--cors--support-for-the-azure-storage-services.
Lifecycle rules are told and changed only by Azure's management interface, which no key of an account opens.
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
    unavailable_cors,
    unknown_finding_error,
)
from dashboard.storage.inspection.powers import Finding

_MAX_RULES = 5
_HEADERS = ("content-type", "x-ms-blob-type")
"""What our signed uploads send."""
_CORS_IN_PORTAL = "in the portal, under Settings, Resource sharing (CORS)"
_LIFECYCLE_IN_PORTAL = (
    "Whether lifecycle rules delete objects is told only in the portal, under Data management."
)


class AzureBucketSettingsMixin:
    """``ChecksSettings`` for a driver that has these parts."""

    _config: AzureConfig
    _client: AzureClient

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``. CORS is a setting of the whole account, which only its key sees, or a SAS
        token for its service."""
        try:
            cors = self._cors_finding(origin)
        except StorageError as error:
            cors = unavailable_cors(error)
        tidied = "Unfinished uploads are tidied away by Azure itself, a week after they began."
        return cors, Finding(UNFINISHED, tidied, _LIFECYCLE_IN_PORTAL, good=True)

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``. The rule holds for all containers of the account. Azure takes no condition:
        a change of the rules that somebody else makes in the same moment is lost."""
        if name != CORS:
            raise unknown_finding_error(name)
        pairs = self._cors("change settings")
        blocked = _blocked_headers([rule for rule, _ in pairs], origin)
        if blocked == ():
            return
        if len(pairs) >= _MAX_RULES:
            raise StorageError(
                Kind.CONFLICT,
                f"The account “{self._config.account}” has {_MAX_RULES} CORS rules, and Azure takes no more.",
                operation="change settings",
                subject=self._config.account,
                remedy=f"Change or remove one {_CORS_IN_PORTAL}.",
            )
        ours = new_rule(origin, ("GET", "HEAD", "PUT") if blocked is None else ("PUT",), ("*",))
        # Rules are tried in order; where an earlier one would refuse our headers, ours goes before it.
        decides = (rule.is_for(origin, "PUT", patterns=False) for rule, _ in pairs)
        position = next((number for number, matches in enumerate(decides) if matches), len(pairs))
        rules = [rule for _, rule in pairs]
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
            f"The account has {_MAX_RULES} CORS rules and Azure takes no more: change one {_CORS_IN_PORTAL}."
        )
        return replace(finding, fixable=False, remedy=message)

    def _cors(self, operation: str) -> list[tuple[CorsRule, object]]:
        if not self._token_covers_service():
            raise StorageError(
                Kind.DENIED,
                "CORS is a setting of the whole account, and this SAS token does not reach that far.",
                operation=operation,
                subject=self._config.account,
                remedy=f"Sign in with the account's key, or look {_CORS_IN_PORTAL}.",
            )
        return self._client.service.cors(self._client.context(operation))

    def _token_covers_service(self) -> bool:
        """Whether asking is of any use: of a token for a container Azure says only that it is wrong.
        https://learn.microsoft.com/rest/api/storageservices/create-account-sas"""
        token = self._config.credential.sas_token
        kinds = parse_qs(token.reveal().removeprefix("?")).get("srt", [""]) if token else ["s"]
        return "s" in kinds[0]


def _blocked_headers(rules: list[CorsRule], origin: str) -> tuple[str, ...] | None:
    return blocked_headers(rules, origin, _HEADERS)
