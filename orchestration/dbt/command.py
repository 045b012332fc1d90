"""The arguments of dbt for building days. This module imports nothing.

The graph and the benchmarks share them.
"""

# Unit tests and tests of the keys of views check the SQL, not a day: `make test` runs them. The graph excludes them from the
# asset checks too (`exclude`): such a check would be planned for every day and never run, which the gate counts as failed.
PROVES_SQL = "tag:proves_sql"
BUILD = ("build", "--exclude-resource-type", "unit_test")
BUILD_A_DAY = (*BUILD, "--exclude", PROVES_SQL)
