"""Every wrapper keeps the powers of what it wraps, or says why it does not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import ssl
from typing import Any

import pytest

from dashboard.services.migrations.as_of import AsOf
from dashboard.services.migrations.keeping_replaced import KeepsReplaced
from dashboard.storage import driver as protocols
from dashboard.storage import object_powers, wrappers
from dashboard.storage.checks.wrappers import WRAPPERS
from dashboard.storage.driver import (
    Connects,
    CopiesWithin,
    CreatesBuckets,
    Driver,
    Links,
    ProvesByParts,
    Purges,
    Reading,
    TellsParts,
    Writing,
)
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.inspection import powers as place_powers
from dashboard.storage.wrappers.fallback.circuit_driver import BehindCircuitBreaker
from dashboard.storage.wrappers.fallback.hiding_waiting import HidingWaiting
from dashboard.storage.wrappers.fallback.including_waiting import IncludingWaiting
from dashboard.storage.wrapping import Wrapper, unwrap_transparent

OF_ONE_OPEN = {
    object_powers.HasFile,
    object_powers.HashesParts,
    object_powers.PassesBytes,
    object_powers.Prepared,
    object_powers.TakesChecksum,
    ProvesByParts,
    TellsParts,
}
POWERS = {
    each
    for module in (protocols, object_powers, place_powers)
    for _, each in inspect.getmembers(module, inspect.isclass)
    if each.__module__ == module.__name__
    and getattr(each, "_is_protocol", False)
    and each not in {Driver, Reading, Writing} | OF_ONE_OPEN
}


def wrapper_kinds() -> list[type[Wrapper]]:
    found = set()
    for info in pkgutil.iter_modules(wrappers.__path__):
        if info.name == "common":
            continue
        inner = f"{info.name}.driver" if info.ispkg else info.name
        module = importlib.import_module(f"{wrappers.__name__}.{inner}")
        own = [
            each
            for _, each in inspect.getmembers(module, inspect.isclass)
            if issubclass(each, Wrapper)
            and each.__module__ == module.__name__
            and not each.__name__.startswith("_")
        ]
        assert len(own) == 1, f"{info.name} holds one wrapper"
        found.add(own[0])
    return sorted(found, key=lambda each: each.__name__)


KINDS = wrapper_kinds()
EVERY = [*KINDS, BehindCircuitBreaker, IncludingWaiting, HidingWaiting, KeepsReplaced, AsOf]
"""Those that the services put around a driver by themselves, too."""


class Everything(MemoryDriver):
    """A place in memory that claims every power there is and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []


def _remembering(name: str) -> Any:
    def call(self: Everything, *args: Any, **more: Any) -> tuple[str, str]:
        self.asked.append((name, args, more))
        return "answer of", name

    return call


for _power in POWERS:
    for _name, _member in vars(_power).items():
        if not _name.startswith("_") and callable(_member):
            setattr(Everything, _name, _remembering(_name))


def bare(kind: type[Wrapper], inner: Driver) -> Wrapper:
    """A wrapper as far as its powers go; what else it is told does not matter to them."""
    made = kind.__new__(kind, inner)
    made.inner, made.name, made.ordered = inner, inner.name, inner.ordered
    return made


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("power", sorted(POWERS, key=lambda power: power.__name__), ids=lambda p: p.__name__)
def test_a_wrapper_keeps_every_power_or_says_why_not(kind: type[Wrapper], power: type) -> None:
    said = [power in each for each in (kind.forwards, kind.adapts, kind.withholds, kind.common_powers)]
    own = issubclass(kind, power)
    assert sum(said) + own == 1, f"{kind.__name__} must forward, adapt or withhold {power.__name__}"
    inner = Everything()
    wrapped = bare(kind, inner)
    assert isinstance(wrapped, kind)
    assert isinstance(wrapped, power) is (power not in kind.withholds)
    assert not kind.withholds.get(power, "why.").endswith(" ")
    if power in kind.forwards:
        for name, member in vars(power).items():
            if not name.startswith("_") and callable(member):
                assert getattr(wrapped, name)("some", what="thing") == ("answer of", name)
                assert inner.asked.pop() == (name, ("some",), {"what": "thing"})
                assert getattr(type(wrapped), name).__doc__ == member.__doc__
    assert isinstance(bare(kind, Wrapper(MemoryDriver())), power) is own


def test_a_power_of_the_wrapped_driver_only_is_the_wrappers_too() -> None:
    class Linked(MemoryDriver):
        def url(self, key: str) -> str:
            return f"https://example.com/{key}"

        def temporary_url(self, key: str, *, seconds: int) -> str:
            return f"https://example.com/{key}?{seconds}"

    class Passing(Wrapper):
        forwards = frozenset({Links, Connects, CopiesWithin, CreatesBuckets})

    wrapped = Passing(Passing(Linked()))
    assert isinstance(wrapped, Links)
    assert isinstance(wrapped, CopiesWithin)
    assert not isinstance(wrapped, Connects | CreatesBuckets)
    assert wrapped.temporary_url("a", seconds=3) == "https://example.com/a?3"
    assert repr(wrapped).startswith("Passing(Passing(")
    assert type(wrapped) is type(Passing(Linked()))


def test_what_is_stored_is_seen_through_transparent_wrappers_only() -> None:
    class Glass(Wrapper):
        transparent = True

    class Paint(Wrapper):
        pass

    place = MemoryDriver()
    painted = Paint(Glass(place))
    assert unwrap_transparent(place) is place
    assert unwrap_transparent(Glass(Glass(place))) is place
    assert unwrap_transparent(Glass(painted)) is painted


def test_every_wrapper_can_be_switched_on() -> None:
    # What stands in, and what counts, is composed by the services.
    assert {
        each.factory.partition(":")[0].removesuffix(".driver").rpartition(".")[2] for each in WRAPPERS
    } | {"counted", "fallback"} == {
        kind.__module__.removesuffix(".driver").rpartition(".")[2] for kind in KINDS
    }


def test_the_stand_in_has_every_power() -> None:
    for power in POWERS:
        assert isinstance(Everything(), power)
    assert ssl.SSLContext  # the one power that speaks of it is among them
    assert protocols.SecuresConnections in POWERS


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_what_a_wrapper_calls_its_own_hides_no_forwarded_power(kind: type[Wrapper]) -> None:
    forwarded = {name for power in kind.forwards for name in vars(power) if not name.startswith("_")}
    assert not forwarded & set(dir(kind))


class _PassesOn:
    """Has what the one behind it has."""

    def __init__(self, behind: object) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


def test_a_power_is_a_matter_of_the_class_unless_it_passes_attributes_on() -> None:
    class Purging:
        def purge(self, keys: list[str]) -> None:
            """Do nothing."""

    class Plain:
        """Has no power."""

    for _ in range(2):
        assert isinstance(Purging(), Purges)
        assert not isinstance(Plain(), Purges)
        assert isinstance(_PassesOn(Purging()), Purges)
        assert not isinstance(_PassesOn(Plain()), Purges)
