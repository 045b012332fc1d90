"""The Prometheus series of the service, in the registry that BentoML shows at /metrics.

When `prometheus_client` is imported it decides whether its values are shared between processes, by a variable that BentoML
sets as a worker starts. So it is imported when the first service is made, never with this module.
"""

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from threading import Lock
from typing import Any

from bentos.live_recommender.experiment_metrics import ExperimentMetrics
from bentos.live_recommender.json_logs import log
from livealign.events.parsing import Rejection
from livealign.live.answers import Outcome, ShadowComparison, SharedReport, TickReport

_MILLISECONDS = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 5.0)
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 25.0, 30.0, 45.0, 60.0)
_STALENESS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 32.5, 35.0, 37.5, 40.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0)
_TEXTS = (1.0, 4.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Rate:
    """Counts per second over the last `window` seconds; safe in threads."""

    def __init__(self, window: float = 30.0) -> None:
        self._window, self._lock = window, Lock()
        self._seconds: deque[list[float]] = deque()  # [whole second, count], oldest first

    def add(self, count: float) -> None:
        """Count some events now."""
        now = int(time.monotonic())
        with self._lock:
            if self._seconds and self._seconds[-1][0] == now:
                self._seconds[-1][1] += count
            else:
                self._seconds.append([now, count])
            self._forget(now)

    def per_second(self) -> float:
        """The mean rate over the window."""
        with self._lock:
            self._forget(int(time.monotonic()))
            return sum(count for _, count in self._seconds) / self._window

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - self._window:
            self._seconds.popleft()


class Metrics:
    """The series of one process.

    The live core (`livealign.live.answers.Observer`) and the HTTP side report to it.
    """

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def gauge(name: str, description: str, labels: Sequence[str] = ()) -> Any:
            return Gauge(name, description, labels, multiprocess_mode="livemostrecent")

        self._staleness = Histogram(
            "livealign_room_staleness_seconds",
            "Age of what a live room's codes describe, seen at each tick",
            buckets=_STALENESS,
        )
        self._waiting = gauge("livealign_windows_waiting", "Windows with news that are not encoded yet")
        self._degraded = gauge("livealign_degraded", "1 while the refresh cannot keep up or fails")
        self._live = gauge("livealign_live_rooms", "Live rooms with content at the last tick")
        self._batch = Histogram("livealign_encode_batch_texts", "Texts in one pass of the LLM", buckets=_TEXTS)
        self._encode = Histogram("livealign_encode_seconds", "Seconds in the LLM, each tick", buckets=_SECONDS)
        self._tick = Histogram("livealign_tick_seconds", "Seconds of a whole tick", buckets=_SECONDS)
        self._rooms = Counter("livealign_refreshed_rooms_total", "Rooms with news at a tick", ["outcome"])
        self._dropped = Counter("livealign_windows_dropped_total", "Windows that came too late or gave way to newer ones")
        self._recommend = Histogram(
            "livealign_recommend_seconds", "Seconds of one list, by stage", ["stage"], buckets=_MILLISECONDS
        )
        self._fallbacks = Counter("livealign_fallbacks_total", "What lists had to do without", ["kind"])
        self._contexts = Counter("livealign_list_contexts_total", "Lists whose request gave a field of the context", ["field"])
        self._events = Counter("livealign_events_total", "Events received", ["kind", "outcome"])
        self._late = Counter("livealign_late_events_total", "Accepted events whose windows were closed: they change no room")
        self._rejections = Counter("livealign_rejections_total", "Events that were not taken", ["reason"])
        self._takeovers = Counter("livealign_takeovers_total", "Releases taken over while running")
        self._release = gauge("livealign_release", "1 for the release in service", ["release_id"])
        self._readers = gauge("livealign_readers", "Readers alive that share the rooms of a Redis log")
        self._owned = gauge("livealign_rooms_owned", "Rooms that this process reads, at its last tick")
        self._published = Counter("livealign_vectors_published_total", "Windows that this process has read and published")
        self._followed = Counter("livealign_vectors_followed_total", "Windows that other processes have read and rooms have")
        self._delays = Histogram(
            "livealign_vectors_delay_seconds", "From the end of a followed window until its vector came", buckets=_STALENESS
        )
        self.experiments = ExperimentMetrics(gauge)
        self._failures = Counter("livealign_failures_total", "What went wrong and was survived", ["what"])
        self._requests = Counter("livealign_http_requests_total", "HTTP requests", ["route", "status"])
        self._seconds = Histogram("livealign_http_seconds", "Seconds of an HTTP request", ["route"], buckets=_MILLISECONDS)
        self._served = ""
        self.events_rate, self.lists_rate = Rate(), Rate()

    # Reported by the live core

    def events(self, outcomes: Mapping[tuple[str, Outcome], int]) -> None:
        """Record a batch: number of events by (kind, outcome)."""
        for (kind, outcome), count in outcomes.items():
            if outcome == "late":  # they are counted as accepted already
                self._late.inc(count)
                continue
            self._events.labels(kind, outcome).inc(count)
            if outcome == "accepted":
                self.events_rate.add(count)

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Record the rejected items of a batch."""
        for rejection in rejections:
            self._rejections.labels(rejection.reason).inc()

    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None:
        """Record one list."""
        for stage, spent in seconds.items():
            self._recommend.labels(stage).observe(spent)
        for kind in fallbacks:
            self._fallbacks.labels(kind).inc()
        self.lists_rate.add(1)

    def ticked(self, report: TickReport) -> None:
        """Record one finished refresh."""
        for age in report.staleness_seconds.tolist():
            self._staleness.observe(age)
        for texts in report.batch_sizes:
            self._batch.observe(texts)
        self._waiting.set(report.windows_waiting)
        self._degraded.set(float(report.degraded))
        self._live.set(len(report.staleness_seconds))
        self._encode.observe(report.encode_seconds)
        self._tick.observe(report.seconds)
        self._rooms.labels("encoded").inc(report.encoded)
        self._rooms.labels("deferred").inc(report.deferred)
        self._dropped.inc(report.windows_dropped)
        not_logged = ("at", "staleness_seconds", "batch_sizes")
        log("tick", **{name: value for name, value in report._asdict().items() if name not in not_logged})

    def took_over(self, release_id: str, seconds: float) -> None:
        """Record a takeover: another release is in service."""
        self._takeovers.inc()
        self.serving(release_id)
        log("takeover", release_id=release_id, seconds=seconds)

    def challenged(self, releases: Sequence[str]) -> None:
        """Record the challengers in service."""
        self.experiments.challenged(releases)
        log("challengers", release_ids=list(releases))

    def shadowed(self, comparison: ShadowComparison) -> None:
        """Record the list of a challenger in the shadow."""
        self.experiments.shadowed(comparison)
        log("shadow", **comparison._asdict())

    def shared(self, report: SharedReport) -> None:
        """Record one step in which vectors were published and followed."""
        self._readers.set(report.readers)
        self._owned.set(report.rooms_owned)
        self._published.inc(report.published)
        self._followed.inc(report.followed)
        for delay in report.delays_seconds:
            self._delays.observe(delay)

    def failed(self, what: str, detail: str) -> None:
        """Record a failure that the core survives."""
        self._failures.labels(what).inc()
        log("failure", 40, what=what, detail=detail)

    # Reported by the HTTP side

    def serving(self, release_id: str) -> None:
        """Record the release in service."""
        if self._served and self._served != release_id:
            self._release.labels(self._served).set(0)
        self._served = release_id
        self._release.labels(release_id).set(1)

    def context(self, fields: Sequence[str]) -> None:
        """Record the fields of the viewer's context that the request of a list gave."""
        for field in fields:
            self._contexts.labels(field).inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Record one answered request.

        `route` is a template, so that the number of series does not grow with the rooms asked for.
        """
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)


@cache
def process_metrics() -> Metrics:
    """The one set of series of this process: a registry accepts each name once."""
    return Metrics()


def exposition() -> tuple[bytes, str]:
    """All series of BentoML's registry as text, and its media type."""
    import prometheus_client
    from bentoml._internal.configuration.containers import BentoMLContainer

    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # under `bentoml serve`: values live in files that workers share
        return BentoMLContainer.metrics_client.get().generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
    return prometheus_client.generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
