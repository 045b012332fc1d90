"""Parquet logs of any engine, in the columns of the landing tables."""
