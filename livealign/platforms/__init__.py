"""Adapters: archives of other platforms and formats, translated into the landing tables."""
