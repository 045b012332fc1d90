"""dbt inside the graph: its project, its command, its DuckDB plugin, its metadata."""
