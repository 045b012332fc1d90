-- Running counts hold what was known when their day began, no more and no less. Checked on the last recomputed day.
{{ daily_counts_differ('user') }}
