"""The held-out day: metrics, slices, ceilings, report.

Read `frame` first (the held-out impressions with their labels and slices), then `report` (metrics and intervals) and
`html`. `ceilings` and `text_oracle` say what could be won on a simulated day; `highlights` is KuaiLive-M3's task; the
other modules draw. Imports `simulation` (its truth), `llm` (texts), `dataset` and the ground. It never decides
anything: that is `release`.
"""
