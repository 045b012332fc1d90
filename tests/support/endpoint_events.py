"""Events and requests as the tests of the endpoints send them."""

import time
from typing import Any

from starlette.testclient import TestClient

from tests.support.service_client import KEY

WRITER = {"Authorization": f"Bearer {KEY}"}
MINUTE = 60_000


def now() -> int:
    return int(time.time() * 1000)


def started(room: int, **more: Any) -> dict[str, Any]:
    about = {"kind": "room_started", "event_id": f"start-{room}", "at": now(), "room_id": room, "author_id": 900 + room}
    return {**about, "title": f"room {room}", "category": "games", **more}


def comment(event_id: str, room: int = 1, **more: Any) -> dict[str, Any]:
    about = {"kind": "comment", "event_id": event_id, "at": now(), "room_id": room, "author_id": 900 + room, "user_id": 500}
    return {**about, "text": "the host plays chess while viewers cheer", **more}


def send(client: TestClient, *events: Any) -> Any:
    return client.post("/events", json={"events": list(events)}, headers=WRITER)
