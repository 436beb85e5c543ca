"""Calls on a class, answered by one instance for the whole process: ``Storage.put("a", "text")``."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from types import FunctionType, MethodType
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


class _ClassLevelMethod:
    """A method that a class answers too, on behalf of its instance for the process."""

    def __init__(self, method: Callable[..., Any], process_instance: Callable[[], Any]) -> None:
        self._method = method
        self._process_instance = process_instance
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type) -> MethodType:
        return MethodType(self._method, self._process_instance() if instance is None else instance)


def answer_at_class_level(cls: C) -> C:
    """Decorate a class so that its public methods can be called on it: one instance, made without arguments
    by the first such call, is used for the whole process. Subclasses share it. Calls on instances stay as
    they are. Type checkers see only the methods of instances."""
    lock, made = Lock(), list[Any]()

    def process_instance() -> Any:
        with lock:
            if not made:
                made.append(cls())
            return made[0]

    for base in reversed(cls.__mro__):
        for name, method in tuple(vars(base).items()):
            if isinstance(method, FunctionType) and not name.startswith("_"):
                setattr(cls, name, _ClassLevelMethod(method, process_instance))
    return cls
