"""Open a live core from the settings and warm it up; imports the models.

Only the serving process imports this module.
"""

import logging
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from bentos.live_recommender.json_logs import log
from bentos.live_recommender.settings import Settings
from livealign.errors import BackboneError, BundleError
from livealign.events.log import EventLog, Log
from livealign.events.redis_log import RedisLog
from livealign.live.answers import Observer, SegmentText
from livealign.live.core import LiveCore
from livealign.live.shared.reading import SharedReading
from livealign.live.steady_clock import SteadyClock
from livealign.release.registry import champion_path
from livealign.settings import load_settings


def open_core(settings: Settings, observer: Observer) -> LiveCore:
    """A live core with its rooms and histories, not yet ticking.

    If the first release is damaged, the champion takes its place. From then on numpy's products stay in the calling thread:
    those of a list are small, and a second thread of BLAS spins for its core while the LLM has it (18 ms a list beside a
    refresh instead of 6).

    Raises:
        LiveAlignError: a setting does not exist, or its value is not allowed.
        BundleError: no release can be served.
        EventLogError: another process has the log, or it cannot be read.
    """
    threadpool_limits(1, user_api="blas")
    config = load_settings().profile.live
    redis = RedisLog.open(settings.redis_url) if settings.redis_url else None
    events: Log = redis or EventLog(settings.event_log)

    def opened(bundle: Path) -> LiveCore:
        clock = SteadyClock()
        shared = None if redis is None else SharedReading(redis.client, settings.role, config, clock)
        return LiveCore.open(
            bundle, events, settings.models, config, clock, observer, checkpoint=settings.checkpoint, shared=shared
        )

    try:
        return opened(settings.bundle)
    except BundleError as error:
        if settings.releases is None:
            events.close()
            raise
        log("failure", logging.ERROR, what="bundle", detail=str(error))
    try:
        return opened(champion_path(settings.releases))
    except BundleError:
        events.close()
        raise


def warm_up(core: LiveCore) -> float:
    """Run every model once, so that the first request is not slow; returns the seconds it took."""
    started = time.perf_counter()
    core.warm_up()
    if core.serving.followed:
        return round(time.perf_counter() - started, 3)
    try:
        core.embed([SegmentText(title="warm up")])
    except BackboneError as error:  # it serves with the codes it has; /version and /status show it
        log("failure", logging.WARNING, what="backbone", detail=str(error))
    return round(time.perf_counter() - started, 3)
