"""What dbt is asked for when days are built, here and in benchmarks; no imports, so that it costs nothing to know."""

# Unit tests and keys of views prove the SQL, not the day: `make test` runs them. In the graph such a test must be no check
# either (`exclude` of its assets): it would be planned for every day and come to no end, which the gate takes for a failure.
PROVES_SQL = "tag:proves_sql"
BUILD = ("build", "--exclude-resource-type", "unit_test")
BUILD_A_DAY = (*BUILD, "--exclude", PROVES_SQL)
