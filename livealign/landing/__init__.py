"""The landing contract: every platform's logs as the same tables, checked row by row.

Read `schema` first (tables, columns, units), then `run` (one landing run), `rules` (the checks of a row) and
`partitions` (how a day is written whole or not at all). `validate` checks a finished landing folder,
whichever program wrote it. Imports the ground modules only; no torch.
"""
