"""The live wall in a real browser: new words at the next tick, shown as text, and the lists of a user."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bentos.smoke import Server
from tests.support.browser import chromium, look_as, until
from tests.support.wall import MARKUP, ROOMS, TICK_SECONDS, hostile_wall, words

pytestmark = pytest.mark.slow
PAGE = 24  # cards


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with hostile_wall(tmp_path_factory.mktemp("live")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def wall(server: Server, browser: Any) -> "Wall":
    look_as(browser, 1440)
    wall = Wall(browser, server)
    wall.open()
    return wall


class Wall:
    """The page in the browser."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.browser, self.server = browser, server

    def open(self) -> None:
        """Load the page and wait for its rooms and its list."""
        self.browser.get(f"http://127.0.0.1:{self.server.port}/")
        until(lambda: len(self.texts("#rooms .room")) == PAGE, 20, "a page of cards")
        until(lambda: len(self.texts("#now-list > li")) > 3, 20, "a list for the first user")

    def script(self, code: str) -> Any:
        return self.browser.execute_script(f"return {code}")

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.script(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")
        return found

    def click(self, selector: str) -> None:
        self.script(f"document.querySelector({json.dumps(selector)}).click()")


def test_cards_show_what_is_said_and_no_prompt_and_follow_the_next_window(wall: Wall) -> None:
    assert not any(" | " in text or "host:" in text for text in wall.texts(".said"))
    assert all(text.startswith("Heard ") for text in wall.texts("#rooms .age-words"))
    assert set(wall.texts("#rooms .sure-words")) <= {"clear", "likely", "unsure"}
    assert all(wall.texts("#rooms .subject .path"))
    assert all(count <= 2 for count in wall.script("[...document.querySelectorAll('.chat')].map((one) => one.children.length)"))
    assert wall.server.request("POST", "/events", {"events": words(2, "the host bakes bread")})[0] == 200
    until(lambda: all("bakes bread" in text for text in wall.texts("#rooms .speech")), TICK_SECONDS, "what is said now")


def test_a_silent_room_is_not_heard_just_now(wall: Wall) -> None:
    """Its subject is new, for a silent room is read too; its words are old, or there are none."""
    said = """const done = arguments[0]; import("/wall/words.js").then(({ freshness }) =>
        done([freshness(2, null), freshness(2, 600), freshness(2, 3), freshness(90, 600), freshness(null, null)]));"""
    assert [(one["words"], one["state"]) for one in wall.browser.execute_async_script(said)] == [
        ("Nothing said yet", "fresh"),
        ("Heard 10 minutes ago", "fresh"),
        ("Heard just now", "fresh"),
        ("Heard 10 minutes ago", "old"),
        ("Known by its streamer alone", "none"),
    ]


def test_the_first_user_is_a_real_one_and_another_one_can_be_typed(wall: Wall) -> None:
    known = [str(user["user_id"]) for user in wall.server.request("GET", "/users?limit=40")[1]["users"]]
    assert wall.script("document.getElementById('user').value") in known
    assert wall.texts("#user-note")[0].startswith("Entered ")
    first = wall.script("document.getElementById('user').value")
    wall.click("#next-user")
    assert wall.script("document.getElementById('user').value") in {*known} - {first}
    wall.script("(user.value = 'other', user.dispatchEvent(new Event('change')))")
    until(lambda: wall.browser.find_element("id", "other").is_displayed(), 5, "a field for the id")
    wall.browser.find_element("id", "other").send_keys("9223372036854775807\n")
    until(lambda: "unknown user" in wall.texts("#list-note")[0], 10, "the list of a user nobody knows")
    assert len(wall.texts("#now-list > li")) > 3


def test_a_room_has_its_reason_and_its_shares(wall: Wall) -> None:
    assert all(wall.texts("#now-list .reason"))
    wall.click("#now-list .why")
    until(lambda: len(wall.texts("#now-list .bars li")) == 3, 10, "the three kinds of knowledge")
    (sentence,) = wall.texts("#now-list .sentence")
    assert sentence == wall.texts("#now-list .reason")[0]
    assert "Place " in wall.texts("#now-list .reasons .note")[0]
    wall.click("#rooms .why")
    until(lambda: len(wall.texts("#rooms .bars li")) == 3, 10, "the same of a card")


def test_the_list_before_the_refresh_stands_beside_the_one_after_it(wall: Wall) -> None:
    assert "shows with the next refresh" in wall.texts("#list-note")[0]
    wall.server.request("POST", "/events", {"events": words(3, "the host sings")})
    until(lambda: "Since the last refresh: " in wall.texts("#list-note")[0], TICK_SECONDS, "a refresh")
    note, *marks = wall.texts("#list-note, #now-list .moved")
    signs = "".join(mark[0] for mark in marks if mark)
    says = [f"{signs.count(sign)} {word}" for sign, word in (("▲", "up"), ("▼", "down"), ("n", "new")) if sign in signs]
    assert ", ".join(says or ["no room moved"]) in note
    wall.click("input[value=refresh]")
    until(lambda: len(wall.texts("#left-list > li")) == len(wall.texts("#right-list > li")) > 3, 5, "both lists")
    left, right = wall.texts("#left-list .name"), wall.texts("#right-list .name")
    marks = wall.texts("#right-list .moved")
    for place, (name, mark) in enumerate(zip(right, marks, strict=True)):
        if left.count(name) == right.count(name) == 1:
            by = left.index(name) - place
            assert mark == (f"▲ {by}" if by > 0 else f"▼ {-by}" if by < 0 else "")
    wall.click("input[value=author]")
    until(lambda: wall.texts("#left-title") == ["By who is streaming"], 5, "the list without the words")


def test_rooms_are_found_by_words_and_turned_page_by_page(wall: Wall) -> None:
    assert f"1 to {PAGE} of {ROOMS}" in wall.texts("#page-words")[0]
    wall.click("#next")
    until(lambda: len(wall.texts("#rooms .room")) == ROOMS - PAGE, 5, "the rest")
    assert wall.browser.find_element("id", "next").is_enabled() is False
    wall.browser.find_element("id", "search").send_keys("ORDINARY endgames")
    until(lambda: wall.texts("#rooms-count") == ["3 found"], 5, "the rooms of that title")
    assert set(wall.texts("#rooms h3")) == {"An ordinary title of a broadcast about chess endgames"}
    wall.browser.find_element("id", "search").clear()
    wall.browser.find_element("id", "search").send_keys("nothing like it")
    until(lambda: wall.texts("#empty") == ["No live room has these words."], 5, "that there is none")


def test_what_users_write_is_text(wall: Wall) -> None:
    assert MARKUP in wall.texts("#rooms h3")
    assert wall.browser.title == "LiveAlign · live wall"  # no markup of a user's was read
    assert wall.script("document.querySelectorAll('main img:not(.frame), main script').length") == 0
    hosts = wall.script("performance.getEntriesByType('resource').map((one) => new URL(one.name).host)")
    assert set(hosts) == {f"127.0.0.1:{wall.server.port}"}
    assert [line for line in wall.browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_the_theme_is_the_systems_until_another_is_chosen_and_the_choice_is_kept(wall: Wall) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = wall.script(ground)
    look_as(wall.browser, 1440, theme="dark")
    dark = wall.script(ground)
    assert dark != light
    wall.click("#theme")
    assert wall.script(ground) == light
    wall.open()
    assert wall.script(ground) == light
    wall.script("localStorage.clear()")


ARM = {"challenger": False, "share": 0.95, "users": 900, "counts": {"lists": 1200, "clicks": 120}}
EXPERIMENTS: dict[str, Any] = {
    "experiment": {
        "champion": "r" * 90,
        "arms": [
            {**ARM, "release_id": "r" * 90, "metrics": {"ctr": {"value": 0.12, "low": 0.1, "high": 0.14}}},
            {**ARM, "release_id": MARKUP, "share": 0.05, "metrics": {"ctr": {"value": None, "low": None, "high": None}}},
        ],
        "challengers": [
            {"release_id": MARKUP, "share": 0.05, "shadow": False, "compared": None},
            {"release_id": "behind", "share": 0.0, "shadow": True, "compared": {"lists": 1, "overlap": 0.5}},
        ],
    },
    "shadow": {
        "champion": "r" * 90,
        "arms": [],
        "alone": [{**ARM, "release_id": "r" * 90, "share": 1.0, "users": None, "metrics": {"ctr": {"value": 0.12}}}],
        "challengers": [{"release_id": "behind", "share": 1.0, "shadow": True, "compared": {"lists": 0, "overlap": None}}],
    },
    "loading": {
        "champion": "r" * 90,
        "arms": [],
        "alone": [],
        "challengers": [{"release_id": MARKUP, "share": 0.05, "shadow": False, "compared": None}],
    },
    "list": [
        {"release": "r" * 90, "share": 0.95, "shadow": False, "lists": 1200, "ctr": 0.12, "ctr_low": 0.1, "ctr_high": 0.14},
        {"release": MARKUP, "share": 0.05, "lists": None, "ctr": None, "more": {}},
        {"release": "behind", "shadow": True, "lists": 1, "overlap": 0.5},
        17,
        None,
    ],
}


THREE = (
    ["12 % clicks (10 % to 14 %)", "no clicks measured yet", "50 % of a list would be its own too"],
    ["95 % of the users · 1,200 lists", None, "in the shadow · 1 list"],
)
SHOWN: dict[str, tuple[list[str], list[str | None]]] = {
    "experiment": THREE,
    "list": THREE,
    "shadow": (["12 % clicks", "nobody sees its lists"], ["1,200 lists", "in the shadow · 0 lists"]),
    "loading": (["no clicks measured yet"] * 2, ["", "5.0 % of the users"]),
}


@pytest.mark.parametrize("form", EXPERIMENTS)
def test_releases_side_by_side_are_shown_in_each_form_and_break_nothing(form: str, wall: Wall) -> None:
    rates, shares = SHOWN[form]
    answers = {"docs.json": {"paths": {"/experiments": {}}}, "experiments": EXPERIMENTS[form]}
    source = f"""const answers = {json.dumps(answers)}, real = window.fetch;
        window.fetch = (path, ...more) => path in answers
          ? Promise.resolve(new Response(JSON.stringify(answers[path]), {{ status: 200 }})) : real(path, ...more);"""
    planted = wall.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        wall.open()
        until(lambda: len(wall.texts("#experiment-rows li")) == len(rates), 10, "a row for each release")
        assert wall.browser.find_element("id", "experiments").is_displayed()
        assert wall.texts("#experiment-rows .rate") == rates
        shown = wall.texts("#experiment-rows .share")
        assert [words for words, wanted in zip(shown, shares, strict=True) if wanted is not None] == [
            wanted for wanted in shares if wanted is not None
        ]
        assert wall.texts("#experiment-rows strong")[1] == ("behind" if form == "shadow" else MARKUP)
        assert wall.script("document.documentElement.scrollWidth") <= 1440
    finally:
        wall.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", planted)


def test_without_an_experiment_there_is_no_panel(wall: Wall) -> None:
    assert not wall.browser.find_element("id", "experiments").is_displayed()


def test_when_the_service_goes_away_the_wall_says_so(wall: Wall) -> None:
    wall.browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    wall.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    until(lambda: "no answer" in wall.browser.find_element("id", "state").text, 10, "a word about it")
    wall.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**conditions, "offline": False})
    until(lambda: not wall.browser.find_element("id", "state").is_displayed(), 10, "that it is back")
