"""What a platform sends while it runs, and the durable log in which it is kept.

Read `models` first (one model per kind of event), then `intake` (validate, deduplicate, append) and `log`
(checksummed lines on disk). `redis_log` is the same log shared by several machines; `redis_export` writes it to files
that can be landed. Imports the ground modules only; no torch, no web framework.
"""
