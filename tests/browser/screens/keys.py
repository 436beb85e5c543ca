"""A walk through a page with Tab alone."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

STOP = """
() => {
  const here = document.activeElement;
  if (!here || here === document.body || here === document.documentElement) return null;
  const box = here.getBoundingClientRect();
  const style = getComputedStyle(here);
  const skipped = here.classList.contains('to-content');
  const shown = here.type === 'radio' || here.type === 'checkbox' || here.type === 'file';
  const ringed = each => {
    const style = getComputedStyle(each);
    return style.boxShadow !== 'none'
      || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1);
  };
  const labels = here.labels ? [...here.labels] : [];
  const around = here.closest('label, .choice, .provider, li, .drop');
  const visible = ringed(here) || (shown && around && ringed(around)) || labels.some(ringed);
  /* Of a grid of points, how many show the element itself and not what lies above it. */
  let seen = 0;
  const points = 5;
  for (let across = 0; across < points; across++)
    for (let down = 0; down < points; down++) {
      const x = box.left + box.width * (across + .5) / points;
      const y = box.top + box.height * (down + .5) / points;
      const top = document.elementFromPoint(x, y);
      if (top && (here.contains(top) || top.contains(here) || labels.some(l => l.contains(top)))) seen++;
    }
  if (!here.dataset.stop) here.dataset.stop = String(++window.stops || (window.stops = 1));
  return {
    stop: here.dataset.stop,
    what: here.tagName + (here.id ? '#' + here.id : '') + ' ' +
      (here.getAttribute('aria-label') || here.textContent || here.name || '').trim().slice(0, 40),
    ringed: visible, seen, skipped,
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}
"""
MAX_STOPS = 600


def walk(page: Page) -> list[str]:
    """Press Tab until the browser's own buttons have the focus; what is wrong with any stop: no visible ring,
    outside of the screen, or covered by something that stays (WCAG 2.4.7, 2.4.11)."""
    faults: list[str] = []
    known: set[str] = set()
    page.evaluate("document.activeElement && document.activeElement.blur(); scrollTo(0, 0); window.stops = 0")
    for _ in range(MAX_STOPS):
        page.keyboard.press("Tab")
        stop: dict[str, Any] | None = page.evaluate(STOP)
        if stop is None or stop["stop"] in known:
            break
        known.add(stop["stop"])
        if not stop["ringed"]:
            faults.append(f"no ring: {stop['what']}")
        if not stop["inside"]:
            faults.append(f"not on the screen: {stop['what']}")
        elif not stop["seen"]:
            faults.append(f"covered: {stop['what']}")
    else:
        faults.append(f"more than {MAX_STOPS} stops")
    return faults if known else [*faults, "nothing takes the focus"]
