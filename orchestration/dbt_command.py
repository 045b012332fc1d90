"""What dbt is asked for when days are built, here and in benchmarks; no imports, so that it costs nothing to know."""

# Unit tests and keys of views prove the SQL, not the day: `make test` runs them.
BUILD_A_DAY = ("build", "--exclude-resource-type", "unit_test", "--exclude", "tag:proves_sql")
