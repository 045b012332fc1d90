"""A landed day through the live core, compared with the batch pipeline.

`events` translates a landed day to events; `compare` replays them and measures the deviations.
"""
