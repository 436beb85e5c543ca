"""Checks and fixes of a bucket's settings: CORS rules for uploads by browsers, and lifecycle rules.

CORS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html. Lifecycle:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html. A fix adds one rule and
sends the existing ones back unchanged.
"""

from __future__ import annotations

from xml.etree import ElementTree

from dashboard.storage.drivers.s3.client import content_md5_header, parse_document
from dashboard.storage.drivers.s3.errors import NotConfigured
from dashboard.storage.drivers.s3.multipart_uploads import S3MultipartUploadsMixin
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.findings import (
    CORS,
    DAYS,
    LEFTOVERS,
    SETTINGS_SECONDS,
    UNFINISHED,
    CorsRule,
    blocked_headers,
    cors_finding,
    expiry_finding,
    overlaps,
    unavailable_cors,
    unavailable_unfinished,
    unfinished_finding,
    unknown_finding_error,
)
from dashboard.storage.inspection.powers import Finding

RULE = "stowage-drop-unfinished-uploads"


class S3BucketSettingsMixin(S3MultipartUploadsMixin):
    """``ChecksSettings`` for the driver."""

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``: CORS for uploads from ``origin`` (not with SSE-C, as browsers have no key),
        and lifecycle rules."""
        uploads = [] if self._config.customer_key else self._check_cors(origin)
        leftovers = self.incomplete_uploads_finding()
        return (*uploads, *self._check_lifecycle(), *([leftovers] if leftovers else []))

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``."""
        if name == CORS:
            self._allow_uploads_from(origin)
        elif name == UNFINISHED:
            self._add_abort_rule()
        elif name == LEFTOVERS:
            self.abort_old_uploads()
        else:
            raise unknown_finding_error(name)

    # ---- CORS

    def _check_cors(self, origin: str) -> list[Finding]:
        try:
            rules = self._get_document("CORS", "cors", "CORSConfiguration")
        except StorageError as error:
            return [unavailable_cors(error)]
        return [cors_finding(origin, _blocked_headers(rules, origin))]

    def _allow_uploads_from(self, origin: str) -> None:
        rules = self._get_document("CORS", "cors", "CORSConfiguration")
        if _blocked_headers(rules, origin) == ():
            return
        rule = ElementTree.SubElement(rules, "CORSRule")
        for tag, texts in (
            ("AllowedOrigin", (origin,)),
            ("AllowedMethod", ("GET", "HEAD", "PUT")),
            ("AllowedHeader", ("*",)),
            ("ExposeHeader", ("ETag",)),
            ("MaxAgeSeconds", ("3600",)),
        ):
            for text in texts:
                ElementTree.SubElement(rule, tag).text = text
        self._put_document("CORS", "cors", rules)

    # ---- lifecycle

    def _check_lifecycle(self) -> list[Finding]:
        try:
            rules = self._get_document("lifecycle", "lifecycle", "LifecycleConfiguration")
        except StorageError as error:
            return [unavailable_unfinished(error)]
        enabled = [rule for rule in rules.iterfind("Rule") if rule.findtext("Status") == "Enabled"]
        found = [each for rule in enabled for each in self._expiration(rule)]
        return [*found, unfinished_finding(dropped=any(map(self._aborts_incomplete, enabled)))]

    def _add_abort_rule(self) -> None:
        rules = self._get_document("lifecycle", "lifecycle", "LifecycleConfiguration")
        for rule in rules.findall("Rule"):
            if rule.findtext("Status") == "Enabled" and self._aborts_incomplete(rule):
                return
            if rule.findtext("ID") == RULE:
                rules.remove(rule)
        rule = ElementTree.SubElement(rules, "Rule")
        ElementTree.SubElement(rule, "ID").text = RULE
        ElementTree.SubElement(ElementTree.SubElement(rule, "Filter"), "Prefix").text = self._config.prefix
        ElementTree.SubElement(rule, "Status").text = "Enabled"
        abort = ElementTree.SubElement(rule, "AbortIncompleteMultipartUpload")
        ElementTree.SubElement(abort, "DaysAfterInitiation").text = str(DAYS)
        self._put_document("lifecycle", "lifecycle", rules)

    def _aborts_incomplete(self, rule: ElementTree.Element) -> bool:
        covers = self._config.prefix.startswith(_prefix(rule)) and not _has_extra_filter(rule)
        return covers and rule.find("AbortIncompleteMultipartUpload") is not None

    def _expiration(self, rule: ElementTree.Element) -> list[Finding]:
        """Return a finding if the rule deletes objects of this backend."""
        prefix = _prefix(rule)
        days, date = rule.findtext("Expiration/Days"), rule.findtext("Expiration/Date")
        if not (days or date) or not overlaps(prefix, self._config.prefix):
            return []
        when = f"{days} days after they were written" if days else f"on {(date or '')[:10]}"
        some = "that have certain tags or sizes" if _has_extra_filter(rule) else ""
        return [expiry_finding(prefix, when, some=some)]

    # ---- both

    def _get_document(self, what: str, query: str, empty: str) -> ElementTree.Element:
        context = self._client.context(f"look at {what}")
        try:
            response = self._client.send("GET", context, query={query: ""}, attempts=1, idle=SETTINGS_SECONDS)
            return parse_document(response.body, context)
        except NotConfigured:
            return ElementTree.Element(empty)

    def _put_document(self, what: str, query: str, document: ElementTree.Element) -> None:
        body = ElementTree.tostring(document, encoding="utf-8")
        headers = {"content-type": "application/xml", **content_md5_header(body)}
        self._client.send(
            "PUT", self._client.context(f"change {what}"), query={query: ""}, headers=headers, body=body
        )


def _blocked_headers(rules: ElementTree.Element, origin: str) -> tuple[str, ...] | None:
    read = [
        CorsRule(
            _child_texts(rule, "AllowedOrigin"),
            _child_texts(rule, "AllowedMethod"),
            tuple(each.lower() for each in _child_texts(rule, "AllowedHeader")),
        )
        for rule in rules.iterfind("CORSRule")
    ]
    # A signed upload sends at least its content type.
    return blocked_headers(read, origin, ("content-type",), patterns=True, first_only=False)


def _child_texts(rule: ElementTree.Element, name: str) -> tuple[str, ...]:
    return tuple(each.text or "" for each in rule.iterfind(name))


def _prefix(rule: ElementTree.Element) -> str:
    paths = ("Filter/Prefix", "Filter/And/Prefix", "Prefix")
    return next((text for path in paths if (text := rule.findtext(path))), "")


def _has_extra_filter(rule: ElementTree.Element) -> bool:
    inner = [
        child.tag
        for each in (rule.find("Filter"), rule.find("Filter/And"))
        if each is not None
        for child in each
    ]
    return any(tag not in ("Prefix", "And") for tag in inner)
