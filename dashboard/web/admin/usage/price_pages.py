"""Settings, Prices: what a GB costs at each provider."""

from __future__ import annotations

import math
from datetime import datetime

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.permissions import Permission
from dashboard.services.usage.prices import ESTIMATED, PRICED, Price
from dashboard.storage.registry import PRESETS
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.language import localized

MAX_FIELD = 20


class PricePages(Page):
    """``/settings/prices``"""

    path = "/settings/prices"
    endpoint_name = "prices"
    menu_parent = "Settings"

    @route("", Permission.CONFIGURE)
    def index(self) -> str:
        """The table."""
        return self._page(None)

    @route("", Permission.CONFIGURE, methods=("POST",))
    def save(self) -> Response:
        """Change it."""
        try:
            prices = {name: _price(name) for name in PRESETS if f"storage.{name}" in request.form}
            downloads = _number("downloads")
            services().usage.prices.save(
                actor(), currency=request.form.get("currency", ""), downloads=downloads or 0.0, prices=prices
            )
        except InvalidInput as error:
            return make_response(self._page(error), 400)
        flash_done("The prices are saved.")
        return see_other(url_for("prices.index"))

    @route("/restore", Permission.CONFIGURE, methods=("POST",))
    def restore(self) -> Response:
        """Go back to the estimates."""
        services().usage.prices.restore(actor())
        flash_done("The prices are the estimates again.")
        return see_other(url_for("prices.index"))

    def _page(self, error: InvalidInput | None) -> str:
        return str(
            self.render(
                "admin/usage/prices.html",
                table=services().usage.prices.table(),
                estimated=localized.month(datetime.strptime(ESTIMATED, "%B %Y")),  # noqa: DTZ007  # no day
                presets=PRESETS,
                typed=request.form,
                error=error,
            )
        )


def _price(name: str) -> Price | None:
    values = {field: _number(f"{field}.{name}") for field in PRICED}
    if all(value is None for value in values.values()):
        return None
    return Price(**{field: value or 0.0 for field, value in values.items()})


def _number(name: str) -> float | None:
    text = request.form.get(name, "").strip().replace(",", ".")[:MAX_FIELD]
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInput(name, f"“{text}” is no number.", remedy="Write it like 0.023.")
    return value
