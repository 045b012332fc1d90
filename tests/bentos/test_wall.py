"""The live wall in a real browser: new text at the next tick, shown as text, and two lists."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bentos.smoke import Server
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import release_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ARTIFACTS = Path(os.environ.get("LIVEALIGN_TEST_ARTIFACTS") or ROOT / ".test-artifacts")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1000",
)
MARKUP = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
ROOMS = 8
TICK_SECONDS = 45  # a window, its lateness, and time for a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (release,) = plant_live_releases(tmp_path_factory.mktemp("live"))
    with release_server(release.bundle) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def speech_events(text: str, batch: int) -> list[dict[str, Any]]:
    """Something is said in every room now: the tick at the end of the window reads it."""
    at = int(time.time() * 1000)
    return [
        {
            "kind": "speech",
            "event_id": f"{batch}-{room}",
            "at": at,
            "ended_at": at + 1_000,
            "room_id": room,
            "author_id": 900 + room,
            "text": f"{text} {room} {MARKUP}",
        }
        for room in range(1, ROOMS + 1)
    ]


def test_the_wall_shows_rooms_as_they_change_and_lists_side_by_side(server: Server, browser: Any) -> None:
    started = int(time.time() * 1000) - 10 * 60_000
    begin = [
        {
            "kind": "room_started",
            "event_id": f"start-{room}",
            "at": started,
            "room_id": room,
            "author_id": 900 + room,
            "title": f"broadcast {room} {MARKUP}",
            "category": "games",
        }
        for room in range(1, ROOMS + 1)
    ]
    assert server.request("POST", "/events", {"events": begin + speech_events("the host plays chess", 1)})[0] == 200

    def script(code: str) -> Any:
        return browser.execute_script(f"return {code}")

    def texts(selector: str) -> list[str]:
        found: list[str] = script(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")
        return found

    browser.get(f"http://127.0.0.1:{server.port}/")
    until(lambda: len(texts("#rooms .room")) == ROOMS, 20, "a card for each room")
    assert sorted(texts("#rooms h3")) == [f"broadcast {room} {MARKUP}" for room in range(1, ROOMS + 1)]
    until(lambda: all("plays chess" in text for text in texts("#rooms blockquote")), TICK_SECONDS, "what is said in each room")
    assert all(" s old" in text for text in texts("#rooms .age"))
    assert all(script("[...document.querySelectorAll('#rooms .path')].map((one) => one.children.length)"))
    assert server.request("POST", "/events", {"events": speech_events("the host bakes bread", 2)})[0] == 200
    until(lambda: all("bakes bread" in text for text in texts("#rooms blockquote")), TICK_SECONDS, "what is said now")

    user = browser.find_element("id", "user")
    user.clear()
    user.send_keys("500")
    user.submit()
    until(lambda: len(texts("#by-content > li")) == len(texts("#by-author > li")) > 3, 10, "two lists")
    assert all(texts("#by-content > li em"))
    assert script("document.getElementById('live-rooms').textContent") == str(ROOMS)
    until(lambda: texts("#staleness-p99")[0].endswith(" s"), 5, "staleness")
    many = [event for batch in range(3, 43) for event in speech_events("the host sings", batch)]
    assert server.request("POST", "/events", {"events": many})[0] == 200
    until(lambda: int(texts("#events-rate")[0]) >= len(many) // 30, 10, "throughput of the last half minute")

    assert browser.title == "LiveAlign · live wall"  # no markup of a user's was read
    assert script("document.querySelectorAll('main img:not(.frame), main script').length") == 0
    hosts = script("performance.getEntriesByType('resource').map((one) => new URL(one.name).host)")
    assert set(hosts) == {f"127.0.0.1:{server.port}"}
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    for label in script("[...document.querySelectorAll('input')].map((one) => one.labels.length)"):
        assert label >= 1  # every field can be named by a screen reader
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(ARTIFACTS / "wall.png"))


def test_when_the_service_goes_away_the_wall_says_so(server: Server, browser: Any) -> None:
    browser.get(f"http://127.0.0.1:{server.port}/")
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    until(lambda: "no answer" in browser.find_element("id", "state").text, 10, "a word about it")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**conditions, "offline": False})
    until(lambda: not browser.find_element("id", "state").is_displayed(), 10, "that it is back")
