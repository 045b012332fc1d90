"""The one partition definition: UTC days."""

import os

from dagster import DailyPartitionsDefinition

FIRST_DAY = os.environ.get("LIVEALIGN_FIRST_DAY", "2020-01-01")
days = DailyPartitionsDefinition(start_date=FIRST_DAY)
