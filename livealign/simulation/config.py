"""Settings of the simulated platform: its size, its evening, and what decides a click."""

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from livealign.errors import LiveAlignError

MANIFEST = "simulator.json"  # of an archive: its settings
WINDOW_MS = 30_000
NEW_WORDS = 0.1  # benchmarks.quality.new_words on four Twitch channels
BROADCASTS_PER_AUTHOR_DAY = 350 / (200 * 8)  # the density of the laptop's default, for platforms of all sizes


@dataclass(frozen=True)
class SimulationConfig:
    """One simulated platform. The defaults are the laptop's; `tiny` is for tests.

    What can be learned of a user depends on how much they do. The defaults give each about 90 impressions and 11 clicks a
    day. KuaiLive counts 9.8 clicks a user and day (4.9 million by 23,772 users in 21 days), KuaiLive-M3 127 million
    impressions and 35 million plays of 22,000 users, 5,800 and 1,600 each.

    Logits are natural-log odds. Days are counted from 0; times of day are minutes after 00:00 UTC.

    Raises:
        LiveAlignError: no platform can be made with a value.
    """

    users: int = 400
    authors: int = 200
    days: int = 8
    broadcasts: int | None = None  # in all days together; None: in proportion to authors and days
    first_day: date = date(2025, 6, 2)
    seed: int = 17
    shift_day: int = 5  # from this day on a tenth of the users have another taste, and a new topic trends

    # The evening: everybody streams and watches around prime time.
    min_minutes: float = 20.0  # of a broadcast
    max_minutes: float = 90.0
    mean_minutes: float = 34.0
    prime_minute: float = 750.0  # 12:30 UTC, 20:30 in China
    early_minutes: float = 50.0  # prime-time broadcasts begin from so long before prime time …
    late_minutes: float = 12.0  # … to so long after it
    session_spread_minutes: float = 4.0  # standard deviation of the sessions' beginnings around prime time
    session_limit_minutes: float = 30.0
    off_peak_share: float = 0.006  # of sessions; at any time between 08:00 and 18:00 UTC
    off_peak_broadcast_share: float = 0.12

    # Demand and the logging policy.
    requests_per_user_day: float = 25.0
    max_requests: int = 60  # of one user in a day
    cards: int = 10  # rooms in one list
    popular_share: float = 0.5  # of the policy's weight; the rest is spread evenly over live rooms
    followed_boost: float = 3.0  # how many times likelier a followed author's room is listed
    pool_size: int = 96  # rooms that the policy considers in one window

    # Taste and click.
    base_logit: float = -2.4
    loved: float = 2.6  # a loved topic
    disliked: float = -2.0
    loved_genre: float = 1.2
    taste_noise: float = 0.2
    beloved_author: float = 0.9
    author_appeal: float = 0.3  # standard deviation over authors
    highlight: float = 0.6
    low_quality: float = -1.0
    position: float = -0.35  # times log(1 + position)
    stay: float = -1.2  # of watching on for another half minute, where the topic is neither to the user's taste nor distaste
    drift: float = 0.05  # standard deviation of each taste's daily step
    changed_share: float = 0.1  # of users at `shift_day`
    trend_share: float = 0.4  # of authors who take up the new topic

    # Text.
    utterances: float = 2.3  # of the host in a window, on average
    chat_messages: float = 2.2  # of viewers in a window, on average
    chat_limit: int = 8  # messages of one window, not counting the panel's own comments and bots
    off_topic_share: float = 0.0  # of authors in whose rooms people do not talk about what is aired
    frames: bool = False  # whether rooms have pictures (livealign.simulation.frames)
    new_words: float = NEW_WORDS  # share of broadcasts whose topics' members no day before had; 0: a closed vocabulary

    def __post_init__(self) -> None:
        least = {"users": 1, "authors": 1, "days": 1, "cards": 1, "pool_size": self.cards, "seed": 0, "shift_day": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise LiveAlignError(f"a simulation needs {name} of at least {minimum}, not {getattr(self, name)}")
        if not 0 <= self.off_topic_share <= 1:
            raise LiveAlignError(f"off_topic_share is a share of the authors, 0 to 1, not {self.off_topic_share}")
        if not 0 <= self.new_words <= 1:
            raise LiveAlignError(f"new_words is a share of the broadcasts, 0 to 1, not {self.new_words}")
        if not 2 <= self.min_minutes <= self.mean_minutes <= self.max_minutes <= 180:
            raise LiveAlignError("broadcasts last 2 to 180 minutes: min_minutes <= mean_minutes <= max_minutes <= 180")
        if self.broadcasts is not None and not self.days <= self.broadcasts <= self.authors * self.days:
            raise LiveAlignError(
                f"{self.broadcasts} broadcasts do not fit {self.days} days of {self.authors} authors: every day has at least"
                f" one, and an author streams at most once a day"
            )

    @classmethod
    def tiny(cls, seed: int = 17) -> "SimulationConfig":
        """Three crowded days, simulated in a second or two; the shift comes on the last."""
        return cls(
            users=140,
            authors=24,
            days=3,
            broadcasts=63,
            seed=seed,
            shift_day=2,
            mean_minutes=30.0,
            max_minutes=50.0,
            early_minutes=22.0,
            late_minutes=2.0,
            session_spread_minutes=3.0,
            session_limit_minutes=16.0,
            requests_per_user_day=2.0,
            max_requests=8,
            stay=0.3,
            off_peak_share=0.0,
            off_peak_broadcast_share=0.05,
        )

    @property
    def broadcasts_per_day(self) -> list[int]:
        """The number of broadcasts of each day, as even as can be."""
        total = self.broadcasts or max(self.days, round(BROADCASTS_PER_AUTHOR_DAY * self.authors * self.days))
        return [total * (day + 1) // self.days - total * day // self.days for day in range(self.days)]

    @property
    def dates(self) -> list[date]:
        """The simulated UTC days, in order."""
        return [self.first_day + timedelta(days=day) for day in range(self.days)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `simulator.json`.

        A closed world has no `new_words`, and one without pictures no `frames`: their archives are those of versions that
        knew no other.
        """
        unnamed = {name for name in ("new_words", "frames") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in unnamed} | {
            "first_day": self.first_day.isoformat()
        }
