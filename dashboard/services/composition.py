"""What the composition root hands to the command line, which may not import it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.services.services import Services


@dataclass(frozen=True, slots=True)
class Composition:
    """The ways to put the program together; the Click group finds one as ``ctx.obj``.

    ``open_services(settings)``: the instance folder, databases and key made where missing, nothing
    served, no network call. ``serve(settings, announce)``: everything ``stowage run`` does; returns
    after SIGTERM or SIGINT; ``announce`` is called with each line a person is to read (the address, the
    setup code). Both raise ``StowageError`` with a sentence, such as for a port that is in use.
    """

    open_services: Callable[[Settings], Services]
    serve: Callable[[Settings, Callable[[str], None]], None]
