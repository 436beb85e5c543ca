"""The audit log, newest first."""

from __future__ import annotations

from flask import request

from dashboard.services.permissions import Permission
from dashboard.web.admin.page import MenuItem, Page, route
from dashboard.web.context import services
from dashboard.web.numbers import parse_integer

PAGE = 50
AREAS = ("backend", "migration", "link", "user", "token", "keys", "setup", "sign_in", "sign_out")


class AuditPages(Page):
    """``/audit``"""

    path = "/audit"
    endpoint_name = "audit"
    menu_item = MenuItem("Audit", "audit")
    menu_permission = Permission.AUDIT

    @route("", Permission.AUDIT)
    def index(self) -> str:
        """One page of the log, optionally filtered by action and person."""
        action, person = request.args.get("action", "")[:64], request.args.get("actor", "").strip()[:64]
        before = parse_integer(request.args, "before")
        rows = services().audit.rows(before_id=before, limit=PAGE + 1, action=action, actor=person)
        return str(
            self.render(
                "admin/audit.html",
                rows=rows[:PAGE],
                older=rows[PAGE - 1].id if len(rows) > PAGE else None,
                before=before,
                action=action,
                person=person,
                areas=AREAS,
            )
        )
