"""A landed day played through the live core and compared with the batch pipeline.

`events` translates a landed day to events; `compare` runs them and lists every deviation.
"""
