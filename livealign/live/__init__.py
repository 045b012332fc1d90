"""The running service without HTTP: events in, lists out, a refresh each 30 seconds.

Read `core` first, then `state/` (rooms and users right now), `tick` and `refresh` (closed windows to vectors and codes) and
`recommender` (rank for one user). `journal` and `checkpoint` keep state and log in step; `takeover` swaps releases.
Never imports `retrain`: what both need lies below them.
"""
