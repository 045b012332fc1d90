"""The daily retraining as one Dagster asset graph. Read `definitions.py` first."""
