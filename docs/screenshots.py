"""Screenshots of Dagster's UI for the documents, from a workspace after `make retrain`.

    .venv/bin/python docs/screenshots.py [--out docs/images]

Starts the UI on free ports, opens its pages in headless Chromium (Debian packages chromium and chromium-driver), and stops it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bentos.smoke import free_port
from livealign.files import read_json
from livealign.home import Home
from orchestration.runs.instance import open_instance

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
SETTLE_SECONDS = 8.0  # the graph is laid out and pictures are decoded after the page says that it is loaded
UI_SECONDS = 120.0


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    home = Home.from_environment()
    summary = home.reports / "latest" / "summary.json"
    if not summary.exists():
        sys.exit(f"{summary} is missing; run `make retrain` first")
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        sys.exit("no Chromium here: apt-get install chromium chromium-driver")
    day, run_id = read_json(summary)["data_window"]["end"], _last_run(home)
    with dagster_ui() as (ui, reports), browser() as driver:
        pages = {
            "asset_graph": (f"{ui}/asset-groups", (1900, 700)),
            "asset_page": (f"{ui}/assets/offline_report?view=overview", (1700, 1500)),
            "run": (f"{ui}/runs/{run_id}", (1700, 1100)),
            "drift": (f"{reports}/{day}/drift.html", (1500, 1100)),
        }
        for name, (url, size) in pages.items():
            driver.set_window_size(*size)
            driver.get(url)
            time.sleep(SETTLE_SECONDS)
            if not driver.save_screenshot(str(out / f"{name}.png")):
                sys.exit(f"{out / name}.png cannot be written")
            print(f"{out / name}.png  {url}", flush=True)


@contextmanager
def dagster_ui() -> Iterator[tuple[str, str]]:
    """Addresses of the UI and of the report pages, while both run."""
    port, reports = free_port(), free_port()
    environment = {**os.environ, "LIVEALIGN_REPORTS_PORT": str(reports)}
    command = [sys.executable, "-m", "orchestration.ui", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/server_info")
        _until_it_answers(f"http://127.0.0.1:{reports}/")
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{reports}"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def _last_run(home: Home) -> str:
    with open_instance(home) as instance:
        return next(run.run_id for run in instance.get_runs() if run.job_name == "daily_retrain")


def _until_it_answers(url: str) -> None:
    started = time.monotonic()
    while time.monotonic() - started < UI_SECONDS:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own URL
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{url} does not answer")


if __name__ == "__main__":
    main()
