"""The gate and the two towers: content and author IDs in one space.

Read `network` first (the gate, equation by equation), then `training`, `batches` and `towers` (the trained model).
`content_check` and `author_trust` measure how far content may be trusted; `warm_start` continues from the previous
release's towers; `gate_report` shows how open the gate is; `retrieval` searches the live rooms. Imports `dataset` and
the ground.
"""
