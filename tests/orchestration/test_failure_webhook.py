"""The note of a failed run, against a real HTTP server on this machine."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from dagster import DagsterInstance, SkipReason, build_run_status_sensor_context, job, op

from livealign.errors import LiveAlignError
from livealign.retrain.preflight import refuse_variables
from orchestration.runs.failure_webhook import NoteError, failed_run_note, note_of, post_note, slack_message

SECRET = "s3cret-path"  # noqa: S105 — part of a webhook's URL, looked for in what is shown


class Webhook(ThreadingHTTPServer):
    """Keeps what it is sent; answers with the statuses that it was given, then 200."""

    def __init__(self, *answers: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.notes = list(answers), list[dict]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.notes.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def webhook(request: pytest.FixtureRequest) -> Iterator[Webhook]:
    with Webhook(*getattr(request, "param", ())) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@op
def breaks() -> None:
    raise ValueError("the warehouse is on fire")


@job
def daily_retrain() -> None:
    breaks()


def failed_context(instance: DagsterInstance):
    result = daily_retrain.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/partition": "2025-06-09"})
    return build_run_status_sensor_context(
        "failed_run_note", result.get_run_failure_event(), instance, result.dagster_run
    ).for_run_failure()


def test_a_failed_run_leaves_a_note_with_its_job_day_and_reason(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_WEBHOOK_URL", webhook.url)
    with DagsterInstance.ephemeral() as instance:
        failed_run_note(failed_context(instance))
    note = webhook.notes[0]
    assert (note["job"], note["day"]) == ("daily_retrain", "2025-06-09")
    assert "failed" in note["text"]
    assert "2025-06-09" in note["text"]


def test_a_note_in_slacks_form_is_a_message_whose_markup_is_ours(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_WEBHOOK_URL", webhook.url)
    monkeypatch.setenv("LIVEALIGN_WEBHOOK_FORMAT", "slack")
    with DagsterInstance.ephemeral() as instance:
        failed_run_note(failed_context(instance))
    (message,) = webhook.notes
    assert set(message) == {"text", "blocks"}, "Slack refuses fields that it does not know"
    assert "2025-06-09" in message["text"]
    assert [block["type"] for block in message["blocks"]] == ["header", "section", "section"]
    assert ["daily_retrain" in field["text"] for field in message["blocks"][1]["fields"]] == [True, False, False]
    said = slack_message(note_of("job", "run", {}, "<!channel> a & b " + "<" * 3_000))
    assert "<" not in json.dumps(said)
    assert "&lt;!channel&gt; a &amp; b" in said["blocks"][2]["text"]["text"]
    assert len(said["blocks"][2]["text"]["text"]) <= 3_000


def test_an_unknown_form_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_WEBHOOK_FORMAT", "teams")
    with pytest.raises(LiveAlignError, match="json or slack"):
        refuse_variables()


def test_without_a_webhook_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVEALIGN_WEBHOOK_URL", raising=False)
    with DagsterInstance.ephemeral() as instance:
        assert isinstance(failed_run_note(failed_context(instance)), SkipReason)


@pytest.mark.parametrize("webhook", [(503, 503)], indirect=True)
def test_a_webhook_that_is_down_for_a_moment_is_tried_again(webhook: Webhook) -> None:
    post_note(webhook.url, note_of("daily_retrain", "r1", {}, "why"), pause_seconds=0)
    assert len(webhook.notes) == 3


@pytest.mark.parametrize("webhook", [(404, 200)], indirect=True)
def test_a_note_that_is_refused_is_not_sent_again_and_the_error_does_not_tell_the_url(webhook: Webhook) -> None:
    with pytest.raises(NoteError, match="answered 404") as raised:
        post_note(webhook.url, {"text": "x"}, pause_seconds=0)
    assert len(webhook.notes) == 1
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url", [f"file:///{SECRET}", f"http://127.0.0.1:1/{SECRET}", f"http://[{SECRET}", f"http://a b/{SECRET}"]
)
def test_a_url_that_cannot_be_reached_is_an_error_that_keeps_it_secret(url: str) -> None:
    with pytest.raises(NoteError) as raised:
        post_note(url, {"text": "x"}, pause_seconds=0)
    assert SECRET not in str(raised.value)


def test_a_long_reason_is_cut() -> None:
    assert len(note_of("daily_retrain", "r1", {}, "x" * 100_000)["text"]) < 3_000
