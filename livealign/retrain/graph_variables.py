"""Environment variables of a retrain and its graph, checked before anything starts."""

import importlib.util
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from livealign.errors import LiveAlignError
from livealign.ids import secret_key
from livealign.retrain.captions import captions_file
from livealign.retrain.cron import is_cron
from livealign.retrain.findings import Finding, raised

FIRST_DAY, NIGHTLY = "LIVEALIGN_FIRST_DAY", "LIVEALIGN_NIGHTLY"
REPORTS_PORT, POSTGRES_PORT = "LIVEALIGN_REPORTS_PORT", "DAGSTER_POSTGRES_PORT"
_USUAL_PORTS = {REPORTS_PORT: 3004, POSTGRES_PORT: 5432}
POSTGRES_HOST = "DAGSTER_POSTGRES_HOST"
POSTGRES_OTHERS = ("DAGSTER_POSTGRES_USER", "DAGSTER_POSTGRES_PASSWORD", "DAGSTER_POSTGRES_DB")
WEBHOOK, WEBHOOK_FORMAT, NOTE_FORMATS = "LIVEALIGN_WEBHOOK_URL", "LIVEALIGN_WEBHOOK_FORMAT", ("json", "slack")
DBT_TARGETS = ("local", "shared")
LEAST_MEMORY = 100_000_000  # bytes; DuckDB opens no database in less than some megabytes and joins no day in less than this
_MOTHERDUCK = re.compile(r"md:[A-Za-z0-9_-]+")
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(?:([KMGT])(I?)B|(B)|(%))", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def nightly_cron() -> str:
    """LIVEALIGN_NIGHTLY: the cron of the schedule in UTC, 03:00 if it is not set.

    Raises:
        LiveAlignError: it is no cron, or one that never comes.
    """
    cron = os.environ.get(NIGHTLY) or "0 3 * * *"
    if not is_cron(cron):
        raise LiveAlignError(
            f"{NIGHTLY}={_short(cron)}: not a cron that comes; write five parts of *, n, n-m and /step, such as '0 3 * * *'"
        )
    return cron


def first_day() -> str:
    """LIVEALIGN_FIRST_DAY: the first partition, YYYY-MM-DD; 2020-01-01 if it is not set.

    Raises:
        LiveAlignError: it is no day.
    """
    day = os.environ.get(FIRST_DAY) or "2020-01-01"
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError as error:
        raise LiveAlignError(f"{FIRST_DAY}={_short(day)}: {error}; write a day as 2020-01-01") from None


def before_first_day(day: date) -> str | None:
    """Why the graph has no partition of this day; None if it has."""
    if day.isoformat() >= first_day():
        return None
    return f"{FIRST_DAY}={first_day()} is after {day}; set it to {day} or earlier to retrain for that day"


def port_of(variable: str) -> int:
    """The port in REPORTS_PORT or POSTGRES_PORT, or the usual one if it is not set.

    Raises:
        LiveAlignError: it is no port.
    """
    text = os.environ.get(variable) or str(_USUAL_PORTS[variable])
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise LiveAlignError(f"{variable}={_short(text)}: it takes a port; write a whole number from 1 to 65535")
    return int(text)


def note_format() -> str:
    """LIVEALIGN_WEBHOOK_FORMAT: the form of the note of a failed run, json if it is not set.

    Raises:
        LiveAlignError: it is no known form.
    """
    name = os.environ.get(WEBHOOK_FORMAT) or NOTE_FORMATS[0]
    if name not in NOTE_FORMATS:
        raise LiveAlignError(f"{WEBHOOK_FORMAT}={_short(name)}: it is {' or '.join(NOTE_FORMATS)}; correct it or unset it")
    return name


def variable_findings() -> Iterator[Finding]:
    """A finding for each variable with an impossible value."""
    checks: tuple[Callable[[], object], ...] = (
        nightly_cron,
        first_day,
        lambda: port_of(REPORTS_PORT),
        check_postgres,
        _check_warehouse,
        *(lambda variable=variable: _check_count(variable) for variable in _COUNTS),
        _check_memory,
        _check_webhook,
        note_format,
        captions_file,
        secret_key,
    )
    for check in checks:
        yield from raised(check)


_COUNTS = ("LIVEALIGN_WAREHOUSE_THREADS", "LIVEALIGN_WAREHOUSE_MODELS_AT_ONCE")


def _check_count(variable: str) -> None:
    text = os.environ.get(variable, "2")
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1 and len(text) < 5):
        raise LiveAlignError(f"{variable}={_short(text)}: it takes a whole number from 1 to 9999; correct it or unset it")


def check_postgres() -> None:
    """Check the variables of a PostgreSQL server for Dagster.

    Raises:
        LiveAlignError: a server is named, and one of its other variables or the package is missing, or the port is none.
    """
    port_of(POSTGRES_PORT)
    if not os.environ.get(POSTGRES_HOST):
        return
    missing = [name for name in POSTGRES_OTHERS if not os.environ.get(name)]
    if missing:
        raise LiveAlignError(f"{POSTGRES_HOST} is set and {', '.join(missing)} not; set all of them, or none for SQLite")
    if importlib.util.find_spec("dagster_postgres") is None:
        raise LiveAlignError(
            f"{POSTGRES_HOST} is set, and the package dagster-postgres is missing; install the extra `postgres`"
        )


def _check_warehouse() -> None:
    target = os.environ.get("LIVEALIGN_DBT_TARGET", "local")
    if target not in DBT_TARGETS:
        raise LiveAlignError(f"LIVEALIGN_DBT_TARGET={_short(target)}: it is {' or '.join(DBT_TARGETS)}; correct it or unset it")
    if target == "shared":
        _check_shared(os.environ.get("LIVEALIGN_SHARED_WAREHOUSE", "md:livealign"))


def _check_shared(warehouse: str) -> None:
    """A database of MotherDuck, or a DuckDB file whose name dbt can write into its ATTACH."""
    is_file = warehouse.isprintable() and not set(warehouse) & set("'\"{}%") and warehouse.strip(" ./") != ""
    if _MOTHERDUCK.fullmatch(warehouse):
        return
    if not is_file or warehouse.startswith(("md:", "~")) or not os.access(Path(warehouse).parent, os.W_OK):
        raise LiveAlignError(
            f"LIVEALIGN_SHARED_WAREHOUSE={_short(warehouse)}: it takes a DuckDB file in a folder that can be written, "
            "without quotes and braces in its path, or md:<name> of MotherDuck; correct it or unset it"
        )


def _check_memory() -> None:
    text = os.environ.get("LIVEALIGN_WAREHOUSE_MEMORY", "4GB")
    match = _SIZE.fullmatch(text)
    if match is None:
        raise LiveAlignError(f"LIVEALIGN_WAREHOUSE_MEMORY={_short(text)}: it takes a size; write it as 4GB")
    number, unit, binary, _, percent = match.groups()
    size = float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()] if unit else float(number)
    if percent and not 1 <= size <= 100:
        raise LiveAlignError(f"LIVEALIGN_WAREHOUSE_MEMORY={_short(text)}: a share is from 1% to 100%; write it as 80% or 4GB")
    if not percent and size < LEAST_MEMORY:
        raise LiveAlignError(f"LIVEALIGN_WAREHOUSE_MEMORY={_short(text)}: dbt needs 100MB or more; write it as 4GB")


def _check_webhook() -> None:
    """The URL may hold a secret, so the message does not show it."""
    url = os.environ.get(WEBHOOK, "")
    if url and not is_http_url(url):
        raise LiveAlignError(f"{WEBHOOK} is no URL; write https://host/path, or unset it")


def is_http_url(url: str) -> bool:
    """Whether the text is a URL of HTTP with a host and, if any, a possible port."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return url.isprintable() and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _short(text: str) -> str:
    return repr(text[:60])
