"""Powers over objects as they are stored, for wrappers that change the bytes and so mark their versions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dashboard.storage.object_powers import HasTrash, SetsAttributes
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.common.content_view import unmark_token
from dashboard.storage.wrapping import Wrapper


def stored_powers(mark: str) -> Mapping[type, type]:
    """Return the classes to mix in for ``HasTrash`` and ``SetsAttributes``; ``mark`` is the prefix of the
    wrapper's versions."""

    class Trash(Wrapper):
        """``HasTrash``: what is stored is set aside as it is."""

        def move_to_trash(self, key: str, name: str, *, if_version: str | None = None) -> None:
            """See ``HasTrash``."""
            assert isinstance(self.inner, HasTrash)
            self.inner.move_to_trash(key, name, if_version=unmark_token(if_version, mark))

        def restore_from_trash(self, name: str, key: str) -> None:
            """See ``HasTrash``."""
            assert isinstance(self.inner, HasTrash)
            self.inner.restore_from_trash(name, key)

        def remove_from_trash(self, name: str, key: str) -> None:
            """See ``HasTrash``."""
            assert isinstance(self.inner, HasTrash)
            self.inner.remove_from_trash(name, key)

    class StoredAttributes(Wrapper):
        """``SetsAttributes``: they are stored as they are."""

        def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
            """See ``SetsAttributes``."""
            assert isinstance(self.inner, SetsAttributes)
            self.inner.set_attributes(key, attributes, if_version=unmark_token(if_version, mark))

    return MappingProxyType({HasTrash: Trash, SetsAttributes: StoredAttributes})
