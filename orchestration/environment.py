"""The environment variables of the graph itself, checked before anything starts."""

import os
import re
import urllib.parse
from datetime import date
from pathlib import Path

from dagster._utils.schedules import is_valid_cron_schedule

from livealign.errors import LiveAlignError
from orchestration.runs.failure_webhook import note_format

DBT_TARGETS = ("local", "shared")
_MOTHERDUCK = re.compile(r"md:[A-Za-z0-9_-]+")
_SIZE = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B|B|%)", re.IGNORECASE)


def nightly_cron() -> str:
    """LIVEALIGN_NIGHTLY: the cron of the schedule in UTC, 03:00 if it is not set."""
    cron = os.environ.get("LIVEALIGN_NIGHTLY") or "0 3 * * *"
    if not is_valid_cron_schedule(cron):
        raise LiveAlignError(f"LIVEALIGN_NIGHTLY={_short(cron)}: not a cron of five parts; write it as '0 3 * * *'")
    return cron


def first_day() -> str:
    """LIVEALIGN_FIRST_DAY: the first partition, YYYY-MM-DD; 2020-01-01 if it is not set."""
    day = os.environ.get("LIVEALIGN_FIRST_DAY") or "2020-01-01"
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError as error:
        raise LiveAlignError(f"LIVEALIGN_FIRST_DAY={_short(day)}: {error}; write a day as 2020-01-01") from None


def port_of(variable: str, usual: int) -> int:
    """The port in an environment variable, or `usual` if it is not set."""
    text = os.environ.get(variable) or str(usual)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise LiveAlignError(f"{variable}={_short(text)}: a port is a whole number from 1 to 65535")
    return int(text)


def check_environment() -> None:
    """Check every variable of the graph before anything starts.

    Raises:
        LiveAlignError: a variable has an impossible value.
    """
    nightly_cron()
    first_day()
    port_of("LIVEALIGN_REPORTS_PORT", 3004)
    port_of("DAGSTER_POSTGRES_PORT", 5432)
    target = os.environ.get("LIVEALIGN_DBT_TARGET", "local")
    if target not in DBT_TARGETS:
        raise LiveAlignError(f"LIVEALIGN_DBT_TARGET={_short(target)}: it is {' or '.join(DBT_TARGETS)}")
    if target == "shared":
        _check_shared(os.environ.get("LIVEALIGN_SHARED_WAREHOUSE", "md:livealign"))
    for variable in ("LIVEALIGN_WAREHOUSE_THREADS", "LIVEALIGN_WAREHOUSE_MODELS_AT_ONCE"):
        text = os.environ.get(variable, "2")
        if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1 and len(text) < 5):
            raise LiveAlignError(f"{variable}={_short(text)}: it takes a whole number from 1 to 9999")
    memory = os.environ.get("LIVEALIGN_WAREHOUSE_MEMORY", "4GB")
    if not _SIZE.fullmatch(memory):
        raise LiveAlignError(f"LIVEALIGN_WAREHOUSE_MEMORY={_short(memory)}: it takes a size such as 4GB")
    _check_webhook(os.environ.get("LIVEALIGN_WEBHOOK_URL", ""))
    note_format()


def _check_shared(warehouse: str) -> None:
    """A database of MotherDuck, or a DuckDB file whose name dbt can write into its ATTACH."""
    is_file = warehouse.isprintable() and not set(warehouse) & set("'\"{}%") and warehouse.strip(" ./") != ""
    if _MOTHERDUCK.fullmatch(warehouse):
        return
    if not is_file or warehouse.startswith("md:") or not os.access(Path(warehouse).parent, os.W_OK):
        raise LiveAlignError(
            f"LIVEALIGN_SHARED_WAREHOUSE={_short(warehouse)}: it takes a DuckDB file in a folder that can be written, "
            "without quotes and braces in its path, or md:<name> of MotherDuck"
        )


def _check_webhook(url: str) -> None:
    """The URL may hold a secret, so the message does not show it."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        parts = None
    if url and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
        raise LiveAlignError("LIVEALIGN_WEBHOOK_URL is no URL; write https://host/path, or unset it")


def _short(text: str) -> str:
    return repr(text[:60])
