"""Drivers around drivers, each independent of the others and of all drivers. See ``storage.wrapping``."""
