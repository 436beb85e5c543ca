"""The same journey with a mouse, on a phone, and with the keyboard alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.screens.keys import STOP

MAX_TABS = 400


@dataclass(frozen=True)
class Way:
    """How somebody uses a page."""

    name: str
    width: int
    height: int
    keyboard: bool = False
    dark: bool = False


WAYS = (
    Way("mouse", 1280, 860),
    Way("phone", 390, 760, dark=True),
    Way("keyboard", 1280, 760, keyboard=True),
)


class Hands:
    """Presses, types and chooses on one page. With the keyboard alone nothing is clicked: Tab is pressed
    until the element has the focus, which has to be seen there, then Enter, Space or arrows."""

    def __init__(self, page: Page, way: Way, address: str) -> None:
        self.page = page
        self.way = way
        self.address = address

    def go(self, path: str) -> None:
        """Open a page of the console."""
        self.page.goto(self.address + path)

    def reach(self, element: Locator) -> None:
        """Have the focus on an element."""
        expect(element).to_be_visible()
        for _ in range(MAX_TABS):
            if element.evaluate("each => each === document.activeElement"):
                break
            self.page.keyboard.press("Tab")
        else:
            raise AssertionError(f"Tab never comes to {element}")
        stop: dict[str, Any] = self.page.evaluate(STOP)
        assert all(stop[each] for each in ("ringed", "inside", "seen")), stop

    def press(self, element: Locator, *, key: str = "Enter") -> None:
        """Press a button, follow a link, open what folds."""
        if not self.way.keyboard:
            element.click()
            return
        self.reach(element)
        self.page.keyboard.press(key)

    def fill(self, field: Locator, text: str) -> None:
        """Type into a field, replacing what it holds."""
        if not self.way.keyboard:
            field.fill(text)
            return
        self.reach(field)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.insert_text(text)

    def tick(self, box: Locator) -> None:
        """Tick a box, or switch it on."""
        if not self.way.keyboard:
            box.check()
            return
        self.reach(box)
        if not box.is_checked():
            self.page.keyboard.press("Space")
        expect(box).to_be_checked()

    def choose(self, field: Locator, value: str) -> None:
        """Take an option of a list."""
        if not self.way.keyboard:
            field.select_option(value)
            return
        self.reach(field)
        self.page.keyboard.press("Home")
        for _ in range(field.locator("option").count()):
            if field.input_value() == value:
                break
            self.page.keyboard.press("ArrowDown")
        expect(field).to_have_value(value)

    def pick(self, button: Locator) -> None:
        """Choose a radio button."""
        if not self.way.keyboard:
            button.check()
            return
        name = button.get_attribute("name")
        chosen = self.page.locator(f"input[type=radio][name='{name}']:checked")
        self.reach(chosen if chosen.count() else button)
        for _ in range(20):
            if button.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"no arrow comes to {button}")
