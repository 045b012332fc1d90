"""The multi-task ranker, users' tastes for codes, and the variants it is compared with.

Read `ranker` first, then `training`, `inputs`, `network`, `tastes`, `calibration` and `variants`. Imports `alignment`,
`codes`, `dataset` and the ground.
"""
