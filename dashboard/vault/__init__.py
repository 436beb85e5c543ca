"""Sealing secrets: the key file, the cipher and the text form of a sealed value. Never logs."""
