"""How a bucket is set up: may browsers upload, and who tidies up behind uploads that broke off?

CORS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html. Lifecycle:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html. A rule of ours is added to
those that are there; the others are sent back as they came.
"""

from __future__ import annotations

from xml.etree import ElementTree

from dashboard.storage.drivers.s3.client import digest_header, parsed
from dashboard.storage.drivers.s3.errors import NothingConfigured
from dashboard.storage.drivers.s3.unfinished import KeepsS3Unfinished
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


class ChecksS3Settings(KeepsS3Unfinished):
    """``ChecksSettings`` for a driver that has these parts."""

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``: CORS for uploads from ``origin``, and what lifecycle rules do here. With
        SSE-C browsers upload nothing."""
        uploads = [] if self._place.own_key else self._cors_findings(origin)
        leftovers = self.leftovers_finding()
        return (*uploads, *self._lifecycle_findings(), *([leftovers] if leftovers else []))

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``."""
        if name == CORS:
            self._allow(origin)
        elif name == UNFINISHED:
            self._drop_unfinished()
        elif name == LEFTOVERS:
            self.abort_leftovers()
        else:
            raise unknown_finding_error(name)

    # ---- CORS

    def _cors_findings(self, origin: str) -> list[Finding]:
        try:
            rules = self._document("CORS", "cors", "CORSConfiguration")
        except StorageError as error:
            return [unavailable_cors(error)]
        return [cors_finding(origin, _refused(rules, origin))]

    def _allow(self, origin: str) -> None:
        rules = self._document("CORS", "cors", "CORSConfiguration")
        if _refused(rules, origin) == ():
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
        self._write("CORS", "cors", rules)

    # ---- lifecycle

    def _lifecycle_findings(self) -> list[Finding]:
        try:
            rules = self._document("lifecycle", "lifecycle", "LifecycleConfiguration")
        except StorageError as error:
            return [unavailable_unfinished(error)]
        enabled = [rule for rule in rules.iterfind("Rule") if rule.findtext("Status") == "Enabled"]
        found = [each for rule in enabled for each in self._expiry(rule)]
        return [*found, unfinished_finding(dropped=any(map(self._drops_unfinished, enabled)))]

    def _drop_unfinished(self) -> None:
        rules = self._document("lifecycle", "lifecycle", "LifecycleConfiguration")
        for rule in rules.findall("Rule"):
            if rule.findtext("Status") == "Enabled" and self._drops_unfinished(rule):
                return
            if rule.findtext("ID") == RULE:
                rules.remove(rule)
        rule = ElementTree.SubElement(rules, "Rule")
        ElementTree.SubElement(rule, "ID").text = RULE
        ElementTree.SubElement(ElementTree.SubElement(rule, "Filter"), "Prefix").text = self._place.prefix
        ElementTree.SubElement(rule, "Status").text = "Enabled"
        abort = ElementTree.SubElement(rule, "AbortIncompleteMultipartUpload")
        ElementTree.SubElement(abort, "DaysAfterInitiation").text = str(DAYS)
        self._write("lifecycle", "lifecycle", rules)

    def _drops_unfinished(self, rule: ElementTree.Element) -> bool:
        covers = self._place.prefix.startswith(_prefix(rule)) and not _is_partial(rule)
        return covers and rule.find("AbortIncompleteMultipartUpload") is not None

    def _expiry(self, rule: ElementTree.Element) -> list[Finding]:
        """What a rule deletes of this place, if anything."""
        prefix = _prefix(rule)
        days, date = rule.findtext("Expiration/Days"), rule.findtext("Expiration/Date")
        if not (days or date) or not overlaps(prefix, self._place.prefix):
            return []
        when = f"{days} days after they were written" if days else f"on {(date or '')[:10]}"
        some = "that have certain tags or sizes" if _is_partial(rule) else ""
        return [expiry_finding(prefix, when, some=some)]

    # ---- both

    def _document(self, what: str, query: str, empty: str) -> ElementTree.Element:
        context = self._client.context(f"look at {what}")
        try:
            answer = self._client.send("GET", context, query={query: ""}, attempts=1, idle=SETTINGS_SECONDS)
            return parsed(answer.body, context)
        except NothingConfigured:
            return ElementTree.Element(empty)

    def _write(self, what: str, query: str, document: ElementTree.Element) -> None:
        body = ElementTree.tostring(document, encoding="utf-8")
        headers = {"content-type": "application/xml", **digest_header(body)}
        self._client.send(
            "PUT", self._client.context(f"change {what}"), query={query: ""}, headers=headers, body=body
        )


def _refused(rules: ElementTree.Element, origin: str) -> tuple[str, ...] | None:
    read = [
        CorsRule(
            _texts(rule, "AllowedOrigin"),
            _texts(rule, "AllowedMethod"),
            tuple(each.lower() for each in _texts(rule, "AllowedHeader")),
        )
        for rule in rules.iterfind("CORSRule")
    ]
    # A signed upload sends its type at least.
    return blocked_headers(read, origin, ("content-type",), patterns=True, first_only=False)


def _texts(rule: ElementTree.Element, name: str) -> tuple[str, ...]:
    return tuple(each.text or "" for each in rule.iterfind(name))


def _prefix(rule: ElementTree.Element) -> str:
    paths = ("Filter/Prefix", "Filter/And/Prefix", "Prefix")
    return next((text for path in paths if (text := rule.findtext(path))), "")


def _is_partial(rule: ElementTree.Element) -> bool:
    inner = [
        child.tag
        for each in (rule.find("Filter"), rule.find("Filter/And"))
        if each is not None
        for child in each
    ]
    return any(tag not in ("Prefix", "And") for tag in inner)
