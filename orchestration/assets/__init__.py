"""The assets, one module for each group, in the order in which a day flows through them."""
