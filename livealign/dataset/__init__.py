"""Marts to arrays: impressions, histories, features, content.

Read `corpus` first (all that one retrain reads), then `examples` (the columns of an impression), `features` and
`histories`. `marts` publishes and reads what dbt built. `recent_content` and `room_outcomes` compute one thing in
batch and incrementally, so that training and serving agree. Imports the ground modules only; no torch.
"""
