"""Rooms and users right now, in columns that readers may share.

Read `state` first; the other modules are its parts: `windows`, `sessions`, `moments` (coded windows), `users`,
`counts`, `columns`.
"""
