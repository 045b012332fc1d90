"""Evidently reports on a day's drift, with thresholds calibrated on earlier days.

Read `report` first, then `day` and `columns` (what is compared), and the tests: `words`, `surprise`, `embeddings`,
`scores`, `chance`.
"""
