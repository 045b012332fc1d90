"""The one partition definition: UTC days."""

from dagster import DailyPartitionsDefinition

from orchestration.environment import first_day

days = DailyPartitionsDefinition(start_date=first_day())
