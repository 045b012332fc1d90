"""The check of the service's needs in the supervisor, before a worker loads a model."""

import os
import time

from bentos.live_recommender.admission import Limits
from bentos.live_recommender.cross_origin import allowed_origins
from bentos.live_recommender.path_prefix import path_prefix
from bentos.live_recommender.settings import Settings
from bentos.live_recommender.trusted_proxies import TrustedProxies
from livealign.errors import BundleError, LiveAlignError
from livealign.events.log import refuse_held_log
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path
from livealign.settings import load_settings

WAIT_SECONDS = 10.0  # for the log and the port of a service that was just killed


def check_start() -> None:
    """Check variables, settings, the event log and the release.

    Raises:
        LiveAlignError: the service could not start; the message is one line.
    """
    settings = Settings.from_environment()
    load_settings()
    Limits()
    allowed_origins()
    path_prefix()
    TrustedProxies.from_environment()
    if settings.releases is not None and not os.path.isdir(settings.releases):  # noqa: PTH112  false for a name too long, too
        raise LiveAlignError(
            f"LIVEALIGN_RELEASES={settings.releases} is no folder, so no champion could be followed; "
            "name the releases folder of a workspace, or unset it"
        )
    if settings.redis_url is None:
        refuse_held_log(settings.event_log, time.monotonic() + WAIT_SECONDS)
    try:
        open_bundle(settings.bundle)
    except BundleError:
        if settings.releases is None:
            raise
        open_bundle(champion_path(settings.releases))
