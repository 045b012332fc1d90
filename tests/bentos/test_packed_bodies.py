"""Bodies packed with gzip are unpacked in bounds before a handler sees them."""

import gzip
from typing import Any

import pytest

from bentos.live_recommender.admission import (
    MAX_BYTES,
    Refused,
    plain_body,
)
from tests.support.admission_client import client_of


def packed(content: bytes) -> dict[str, Any]:
    """A gzip body with its header, as keywords of a request."""
    return {"content": content, "headers": {"content-encoding": "gzip", "content-type": "application/json"}}


def test_a_body_that_is_packed_with_gzip_is_read_as_if_it_were_plain() -> None:
    body = b'{"user_id": 1, "k": 5}'
    answer = client_of().post("/recommend", **packed(gzip.compress(body, mtime=0)))
    assert answer.status_code == 200
    assert answer.json() == {"decoded": {"user_id": 1, "k": 5}, "read": body.decode()}


def test_a_small_body_that_unpacks_to_a_large_one_is_refused_without_unpacking_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b'"' + b" " * 50_000_000 + b'"', mtime=0)
    assert len(bomb) < MAX_BYTES["/recommend"]
    answer = client_of().post("/recommend", **packed(bomb))
    assert answer.status_code == 413
    assert "unpacked" in answer.json()["error"]
    with pytest.raises(Refused) as refused:
        plain_body(bomb, [(b"content-encoding", b"gzip")], 1_000)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b'{"user_id": 1}', "gzip", 400),
        (gzip.compress(b'{"user_id": 1}', mtime=0)[:-5], "gzip", 400),
        (gzip.compress(b"{}", mtime=0) + b"more", "gzip", 400),
        (b"", "gzip", 400),
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (b"{}", "identity", 200),
        (gzip.compress(b"{}", mtime=0), "x-gzip", 200),
    ],
)
def test_an_encoding_that_is_not_what_it_says_is_refused(body: bytes, encoding: str, status: int) -> None:
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    assert client_of().post("/recommend", content=body, headers=headers).status_code == status
