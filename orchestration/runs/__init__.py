"""What every run has: days, locks, cost, code versions, the failure webhook, report pages."""
