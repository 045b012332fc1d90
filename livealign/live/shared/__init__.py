"""The reading of rooms, shared by several processes on one Redis log."""
