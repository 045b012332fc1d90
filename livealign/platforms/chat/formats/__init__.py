"""The formats of chat archives, one module each."""
