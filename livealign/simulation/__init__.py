"""A made-up live-streaming platform whose truth is known.

Read in this order: config, world (authors and users), moments (what happens in the rooms), behaviour (what users do),
vocabulary, topics, grammar and text (what is said), lexicon, members, carriers and open_text (in an open world), tables,
archive (what is written). `truth` reads the truth of an archive.
Imports `landing` (the contract) and the ground.
"""
