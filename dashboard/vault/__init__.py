"""Sealing of secrets: keys, the cipher, the text form of a sealed value. Never logs."""
