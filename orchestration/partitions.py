"""The one partition definition: UTC days."""

from dagster import DailyPartitionsDefinition

from livealign.retrain.graph_variables import first_day

days = DailyPartitionsDefinition(start_date=first_day())
