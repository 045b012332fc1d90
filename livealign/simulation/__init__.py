"""A made-up live-streaming platform whose truth is known.

Read in this order: config, world (who lives there), moments (what happens in the rooms), behaviour (what users do),
vocabulary and grammar and text (what is said), tables, platform (the archive).
"""
