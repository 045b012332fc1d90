"""Settings of the stages that watch, promote and clean up, one frozen dataclass each."""

from dataclasses import dataclass

from livealign.bounds import AMOUNT, COUNT, PART, SEED, SHARE, Bounds, setting

VOLUME_TABLES = ("impressions", "plays", "comments")
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class LandingConfig:
    """The settings of a landing: the largest share of rejects, and inferred negatives."""

    max_rejected_share: float = setting(0.2, "of a table's rows that may be rejected; more is an archive misread", SHARE)
    negatives_per_play: int = setting(
        20, "rooms beside the entered one in a list inferred from a play", Bounds(0, 1_000), unit="rooms"
    )


@dataclass(frozen=True)
class VolumeConfig:
    """Check of a day's row counts against the week before it (livealign.landing.volumes)."""

    tables: tuple[str, ...] = setting(VOLUME_TABLES, "landing tables that are counted", choices=VOLUME_TABLES)
    days: int = setting(7, "days before that are compared with", COUNT, unit="days")
    least_days: int = setting(3, "landed days that are needed to compare", COUNT, unit="days")
    # A smaller table's days differ by chance, and so do days of few broadcasts, however much is said in one.
    least_rows: int = setting(500, "rows of the median day; smaller tables are not compared", AMOUNT, unit="rows")
    least_rooms: int = setting(10, "broadcasts of the median day; with fewer nothing is compared", AMOUNT, unit="broadcasts")
    # Too few is below both, too many above both.
    least_share: float = setting(0.6, "lower limit, a share of the median", SHARE)
    least_of_lowest: float = setting(0.7, "lower limit, a share of the emptiest day", SHARE)
    most_share: float = setting(2.5, "upper limit, a multiple of the median", Bounds(1))
    most_of_highest: float = setting(1.5, "upper limit, a multiple of the fullest day", Bounds(1))


@dataclass(frozen=True)
class DriftConfig:
    """The drift report: sizes of its samples and thresholds of its tests.

    A column drifts when its score is above its floor *and* above what chance and quiet days show.
    """

    sample_rows: int = setting(20_000, "impressions of the day, and of the reference, that are tested", COUNT, unit="rows")
    embedding_rows: int = setting(2_000, "segments on each side of the embedding test", COUNT, unit="rows")
    word_rooms: int = setting(1_000, "rooms on each side of the test of new words", COUNT, unit="rooms")
    numeric_threshold: float = setting(0.1, "floor: Wasserstein distance in the reference's standard deviations", AMOUNT)
    categorical_threshold: float = setting(0.1, "floor: Jensen-Shannon distance", Bounds(0, 0.84))
    energy_threshold: float = setting(0.01, "floor: normalised energy distance of embeddings", SHARE)
    new_words_threshold: float = setting(0.005, "floor: share of new words beyond chance", SHARE)
    surprise_threshold: float = setting(
        0.01, "floor: log loss beyond what the champion expects", AMOUNT, unit="nats an impression"
    )
    false_alarms: float = setting(0.02, "chance of an alarm on a quiet day, over all tests together", PART)
    permutations: int = setting(4_000, "of rooms, for the thresholds", COUNT, unit="permutations")
    quiet_days: int = setting(3, "reference days from which on their own differences are a threshold too", COUNT, unit="days")
    heavy_user_impressions: tuple[int, int] = setting(
        (5, 20), "impressions a day: light users below the first, heavy from the second", AMOUNT, unit="impressions"
    )
    head_author_share: tuple[float, float] = setting(
        (0.001, 0.01), "share of the day's impressions: tail authors below the first, head from the second", SHARE
    )
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class PromotionConfig:
    """Champion against challenger."""

    # 22,000 impressions can show a difference of 0.0033, not a smaller one.
    gauc_margin: float = setting(0.01, "GAUC that the challenger may be worse at most", SHARE)
    min_users: int = setting(20, "evaluable users below which a guarded slice does not block", COUNT, unit="users")
    confidence: float = setting(0.95, "of the one-sided bound on all, and of all guarded slices together", PART)
    guarded_slices: tuple[tuple[str, float], ...] = setting(
        (
            ("author_popularity=tail", 0.02),
            ("author_popularity=unseen", 0.03),
            ("user_activity=light", 0.02),
            ("user_activity=new", 0.03),
            ("content=little", 0.02),
            ("content=none", 0.03),
        ),
        "slices, and the GAUC that the challenger may lose in each",
        SHARE,
    )
    most_unscored_days: int = setting(
        3, "held-out days in a row on which a champion whose backbone or marts are missing stays", COUNT, unit="days"
    )
    # The bound of one slice of six is at 99.2 %.
    bootstrap_samples: int = setting(1_000, "of users, for the bounds", Bounds(1, 100_000), unit="samples")
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class RetentionConfig:
    """The numbers of days and releases that are kept.

    Days and releases are counted, newest first, not compared with the clock: a clock may jump. What the champion was made
    from and is served with is kept whatever its age. The same holds for the former champions that a rollback may return to.
    """

    # Running counts of users and authors are made from what is landed.
    landing_days: int = setting(400, "landed days", COUNT, unit="days")
    marts_days: int = setting(60, "days of the warehouse and the marts", COUNT, unit="days")
    artifacts_days: int = setting(14, "days with models, vectors and scores of their retrain", COUNT, unit="days")
    reports_days: int = setting(180, "days with reports", COUNT, unit="days")
    encoder_versions: int = setting(8, "encoders in the embedding cache, last written first", COUNT, unit="versions")
    releases: int = setting(30, "bundles and their Bentos", COUNT, unit="releases")
    rollback_champions: int = setting(5, "former champions that stay whole, beyond those", AMOUNT, unit="releases")
    event_log_days: int = setting(30, "closed files of the event log, once all their days are landed", COUNT, unit="days")


@dataclass(frozen=True)
class ReadingConfig:
    """How much of a day the language model reads (livealign.retrain.reading_budget)."""

    windows_per_day: int = setting(
        0,
        "windows read of each day, the most shown first; the others have their room's last vector; 0: all",
        AMOUNT,
        unit="windows",
    )
    seconds_per_day: int = setting(
        0, "of reading each day's windows on all cores or workers, likewise; 0: no bound", AMOUNT, unit="seconds"
    )

    @property
    def is_bounded(self) -> bool:
        """Whether some windows may be left unread."""
        return self.windows_per_day > 0 or self.seconds_per_day > 0


@dataclass(frozen=True)
class MachinesConfig:
    """The machines that embed and tune, and the store of finished things (docs/scaling.md).

    No vector depends on the engine or on the number of workers.
    """

    engine: str = setting("local", "what runs the LLM: this process, or actors of Ray", choices=ENGINES)
    # local starts a cluster on loopback that ends with the stage; auto joins the one of this machine.
    address: str = setting("local", "Ray's cluster: local, auto, or host:port of its head")
    workers: int = setting(2, "Ray's actors that embed, of one core or one GPU each", Bounds(1, 10_000), unit="actors")
    ranks: int = setting(1, "processes that tune the LLM together, by Ray; 1: this one", Bounds(1, 1_024), unit="processes")
    shard: bool = setting(False, "ranks share out the backbone's weights (FSDP): for one that does not fit a card in tuning")
    store: str = setting("home", "where finished things are copied to: home for nowhere else, a folder, or s3://bucket/prefix")
