"""Drivers around drivers. One file each; none knows another, nor any driver. See ``storage.wrapping``."""
