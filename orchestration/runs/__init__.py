"""Parts that every run shares: days, locks, cost, code versions, failures, report pages."""
