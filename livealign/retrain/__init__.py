"""One day's retrain: a module for each group of the asset graph.

In the order of the graph: `content`, `corpus`, `alignment`, `recommenders`, `evaluation`, `champion`, `release`.
`artifacts` names the files of a day; `tuning_policy` decides how the language model is tuned today. Never imports
`live`: what both need lies below them.
"""
