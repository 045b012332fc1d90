"""A sensor that posts a note of every failed run to the webhook `LIVEALIGN_WEBHOOK_URL`.

`LIVEALIGN_WEBHOOK_FORMAT` chooses its form: `json` (default) has the facts in fields, `slack` is a message of Slack's incoming
webhooks, which Mattermost takes too. The URL often holds a secret, so it is never logged, shown or put into an error.
"""

import html
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from dagster import DefaultSensorStatus, RunFailureSensorContext, SkipReason, run_failure_sensor

from livealign.errors import LiveAlignError
from livealign.retrain.graph_variables import WEBHOOK, is_http_url, note_format

TIMEOUT_SECONDS = 10
ATTEMPTS = 3
LONGEST_REASON = 2_000  # characters
SLACK_CHARACTERS = 3_000  # of a section


class NoteError(LiveAlignError):
    """The note could not be delivered."""


@run_failure_sensor(
    name="failed_run_note",
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description=f"Posts a note of every failed run to the webhook in {WEBHOOK}; does nothing if it is not set.",
)
def failed_run_note(context: RunFailureSensorContext) -> SkipReason | None:
    """Post a note of the failed run to the webhook, if one is set."""
    url = os.environ.get(WEBHOOK)
    if not url:
        return SkipReason(f"{WEBHOOK} is not set")
    run = context.dagster_run
    note = note_of(run.job_name, run.run_id, run.tags, context.failure_event.message or "no reason was given")
    post_note(url, slack_message(note) if note_format() == "slack" else note)
    return None


def note_of(job: str, run_id: str, tags: Mapping[str, str], reason: str) -> dict[str, str]:
    """The note: `text` for chat services, and the same facts in fields."""
    day = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start") or "no day"
    reason = reason.strip()[:LONGEST_REASON]
    text = f"LiveAlign: {job} for {day} failed ({run_id}). {reason} The champion serves on; `make ui` shows the run's log."
    return {"text": text, "job": job, "day": day, "run": run_id, "reason": reason}


def slack_message(note: Mapping[str, str]) -> dict[str, Any]:
    """The note as a message of Slack: a heading, the facts, the reason.

    `text` is what a notification shows. Slack reads &, < and > as markup, so they are escaped: a reason may hold them.
    """
    said = {name: html.escape(value, quote=False) for name, value in note.items()}
    facts = [{"type": "mrkdwn", "text": f"*{name}*\n{said[name]}"} for name in ("job", "day", "run")]
    return {
        "text": said["text"],
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "LiveAlign: a run failed"}},
            {"type": "section", "fields": facts},
            {"type": "section", "text": {"type": "mrkdwn", "text": said["reason"][:SLACK_CHARACTERS]}},
        ],
    }


def post_note(url: str, note: Mapping[str, Any], pause_seconds: float = 1.0) -> None:
    """POST the note as JSON, with up to ATTEMPTS attempts.

    Raises:
        NoteError: the URL is not an HTTP URL, or no attempt was answered with 2xx.
    """
    if not is_http_url(url):
        raise NoteError(f"{WEBHOOK} is no http or https URL; correct it or unset it")
    headers = {"content-type": "application/json", "user-agent": "livealign"}
    outcome = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_seconds * 2 ** (attempt - 1))
        try:
            request = urllib.request.Request(url, json.dumps(dict(note)).encode(), headers)  # noqa: S310 — http(s) by the check above
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            outcome = f"it answered {error.code}"
            if error.code < 500 and error.code != 429:
                break  # the same note will be refused again
        except (OSError, HTTPException, ValueError) as error:
            outcome = type(error).__name__  # the text of the error may hold the URL
    raise NoteError(f"the webhook in {WEBHOOK} did not take the note: {outcome}; check the URL and that its server is up")
