"""The events that a platform sends while it runs, and their durable log.

Read `models` first (one model per kind of event), then `intake` (validate, deduplicate, append) and `log`
(checksummed lines on disk, in the files of `log_files`). `followed_log` reads the log of another process;
`redis_log` is a log shared by several machines, and `redis_export` writes it to files that can be landed.
Imports only the ground modules: no torch, no web framework.
"""
