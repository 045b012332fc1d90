"""Bundles, the champion pointer, the promotion rule, retention.

Read `bundle` first (one directory that proves itself), then `registry` (champion, history, rollback) and `promotion`
(the rule, a pure function). `contents`, `models` and `snapshot` read and write what lies inside a bundle.
"""
