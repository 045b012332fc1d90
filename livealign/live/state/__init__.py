"""Rooms and users right now, in columns that readers may share.

Read `rooms` (one room, and the view of all rooms) and `state` first. The other modules are its parts: `windows` (still
open), `coded_windows`, `sessions`, `users`, `counts`, `columns`.
"""
