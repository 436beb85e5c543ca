"""Searching the whole console: a page, and with JavaScript a palette that Ctrl-K opens."""

from __future__ import annotations

from flask import request

from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, route
from dashboard.web.admin.palette.finder import MAX_QUERY, find
from dashboard.web.context import from_htmx


class SearchEverything(Page):
    """``/search``: the results as a page, or as the fragment that the palette shows."""

    path = "/search"
    endpoint_name = "search"

    @route("", Permission.VIEW)
    def index(self) -> str:
        """What was found for ``q``. Only reads."""
        query = request.args.get("q", "")[:MAX_QUERY].replace("\0", "")
        groups = find(query, self.admin.menu())
        template = "admin/palette/results.html" if from_htmx() else "admin/palette/search.html"
        return str(self.render(template, query=query, groups=groups, palette=from_htmx()))
