"""Residual k-means: vectors to semantic codes, coarse to fine.

Read `codebook` first, then `names` (a few words for each code), `health` (usage and churn) and `segment_codes` (what
lets the next codebook be numbered alike). Imports `dataset` and the ground.
"""
