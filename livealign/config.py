"""One frozen dataclass for each stage, and the three profiles that fill them.

A stage's config is saved beside what the stage makes, and rebuilt from there when it is loaded.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from livealign.errors import LiveAlignError


@dataclass(frozen=True)
class SegmentConfig:
    """What the LLM reads of one 30-second window."""

    window_seconds: int = 30
    token_budget: int = 64  # tokens of one segment text, the tokenizer's truncation limit
    context_windows: int = 2  # earlier windows of the room that fade in as context
    max_characters: int = 1_000  # of one text, before the tokenizer sees it


@dataclass(frozen=True)
class EncoderConfig:
    """How one forward pass becomes one embedding.

    The layers below `first_adapted_layer` are frozen and shared by the raw and the tuned encoder; the pass stops after
    `exit_layer` layers.
    """

    exit_layer: int = 6
    first_adapted_layer: int = 2
    pooling: str = "mean"  # mean | last | telling (`livealign.pooling`)
    half_share: float = 3e-4  # of all tokens: one that is so frequent counts half in a telling mean
    batch_tokens: int = 0  # of one packed batch; 0: what suits the processor (livealign.backbone)


@dataclass(frozen=True)
class FinetuneConfig:
    """LoRA tuning on segments: contrastive, and where asked for a language model of a description of the moment."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    learning_rate: float = 5e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    batch_size: int = 32
    steps: int = 200
    temperature: float = 0.2
    whitening_floor: float = 3.0  # variance added to every direction that the loss looks at, in units of one dimension's
    max_gradient_norm: float = 1.0
    warm_steps: int = 0  # instead of `steps`, from an earlier adapter on; 0: it is kept, and so are the vectors that it made
    chunk_tokens: int = 8_192  # of texts whose graph is held at once; larger batches are read twice (GradCache)
    checkpoint_layers: bool = False  # keep only each layer's input for the backward pass: less memory, a third more work
    save_every: int = 10  # steps after which a killed run can go on
    validation_share: float = 0.1  # of pairs, from the last day alone; of a single day: of its rooms
    validate_every: int = 40  # steps
    patience: int = 3  # validations without a better loss before tuning stops and the best adapter is kept
    near_windows: int = 20  # two moments of one room closer than this (10 minutes) are never negatives of each other
    engagement_days: float = 1.0  # two long views of one user at most this far apart make a pair
    engagement_share: float = 0.2  # of pairs: long views of one user in different rooms
    neighbour_share: float = 0.4  # of pairs: windows of one room within `neighbour_windows`; the rest: two views of one window
    neighbour_windows: int = 4
    broadcast_windows: int = 0  # a side of pairs of whole broadcasts (livealign.broadcast_pairs), instead of the above; 0: none
    title_share: float = 0.5  # of pairs of broadcasts: the title against what was said; the rest: one half against the other
    description_weight: float = 0.0  # of the language-model loss beside the contrastive one
    description_texts: int = 8  # a step
    seed: int = 17


@dataclass(frozen=True)
class RetuneConfig:
    """When the LLM is tuned anew; on other days it goes on from the champion's adapter (livealign.retune)."""

    policy: str = "on_drift"  # daily | weekly | on_drift; the last two also when the last full tune is too old
    max_age_days: int = 7  # between two full tunes

    def __post_init__(self) -> None:
        if self.policy not in RETUNE_POLICIES:
            raise LiveAlignError(f"there is no retune policy '{self.policy}'; choose one of {', '.join(RETUNE_POLICIES)}")


RETUNE_POLICIES = ("daily", "weekly", "on_drift")


@dataclass(frozen=True)
class DatasetConfig:
    """Which part of the marts is learned from."""

    train_days: int = 7
    history_length: int = 20
    min_author_impressions: int = 1  # authors below are "unknown" to id embeddings
    half_life_seconds: float = 20.0  # of a window's part in what its room is about; 0: each window for itself


@dataclass(frozen=True)
class AlignmentConfig:
    """Gated two-tower model."""

    dim: int = 64
    hidden: int = 128
    epochs: int = 6
    batch_size: int = 1_024
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    content_rank: int = 64  # principal components of the content vectors that are kept
    id_dropout: float = 0.1
    content_dropout: float = 0.1
    user_l2: float = 0.05  # prior of the user embeddings, in the loss, for each impression
    author_l2: float = 0.01
    contrastive_weight: float = 0.05  # of the in-batch softmax beside the loss on shown impressions
    run: int = 128  # impressions that follow each other in time and stay together in a batch: co-live negatives
    negative_minutes: float = 10.0  # rooms clicked further apart are no negatives of each other
    positions: int = 32  # places of a list with a bias of their own
    initial_temperature: float = 0.3
    warm_epochs: int = 1  # instead of `epochs`, from the towers of the release before on
    warm_rate_share: float = 0.1  # … and of the learning rates
    gate_bias: float = 1.5  # sigmoid(1.5) = 0.82: the gate starts near the author ID alone, content earns its share
    gate_learning_rate: float = 3e-2  # the gates start with no weights
    check: bool = True  # first of all: does content tell more than the ID, and with which authors? (livealign.content_check)
    seed: int = 17


@dataclass(frozen=True)
class CodesConfig:
    """Residual k-means."""

    levels: int = 3
    codes_per_level: int = 32
    iterations: int = 25
    warm_iterations: int = 5  # where the champion's codes carry over
    restarts: int = 2
    most_churn: float = 0.05  # share of known segments whose first code may change at a retrain; more is a warning
    balance: float = 0.0  # 1: codes are made equally full; 0: each vector has its nearest centroid
    seed: int = 17


@dataclass(frozen=True)
class RankerConfig:
    """Multi-task ranker."""

    tasks: tuple[str, ...] = ("click", "long_view", "like", "comment", "gift")
    id_dim: int = 8
    code_dim: int = 32
    hidden: tuple[int, ...] = (32,)
    epochs: int = 4
    batch_size: int = 2_048
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    dropout: float = 0.3
    user_l2: float = 0.02  # prior of the user factors and room embeddings, in the loss, for each impression
    user_l2_with_tastes: float = 1.0  # the same with codes: the tastes (livealign.tastes) know nearly all of it already
    taste_days_share: float = 0.34  # of the training days, the first ones, that only the tastes learn from
    calibration_share: float = 0.1  # of the requests, kept out of training to calibrate on (livealign.calibration)
    task_weights: tuple[float, ...] = (1.0, 1.0, 0.3, 0.3, 0.3)  # of each task's loss
    positions: int = 32  # places of a list with a bias of their own
    seed: int = 17


@dataclass(frozen=True)
class HighlightConfig:
    """Gradient-boosted trees that foresee a room's next window (livealign.highlights)."""

    trees: int = 60
    learning_rate: float = 0.08
    leaves: int = 15
    least_in_leaf: int = 40
    components: int = 32  # of the content that the trees see
    seed: int = 17


@dataclass(frozen=True)
class EvaluationConfig:
    """Offline evaluation on the held-out day."""

    comparison: tuple[str, ...] = ("popularity", "id_only", "raw_llm")  # trained beside the release (livealign.variants)
    bootstrap_samples: int = 500
    confidence: float = 0.95  # of the intervals, two-sided
    list_k: int = 10  # NDCG@k
    head_share: float = 0.5  # the most shown authors that together have this share of training impressions are "head" ...
    torso_share: float = 0.8  # ... up to this share "torso", the rest "tail"; none in training: "unseen"
    much_text_characters: int = 80  # segments with less text are "little", without any "none"
    early_minutes: tuple[float, float] = (5.0, 20.0)  # first minutes of a broadcast, and where its later part begins
    calibration_bins: int = 15
    seed: int = 17


@dataclass(frozen=True)
class LiveConfig:
    """The running service: how it keeps its state, and what a list is made of."""

    lateness_seconds: float = 2.0  # a window is encoded so long after its end; what comes later than that is logged only
    tick_budget_seconds: float = 24.0  # of the LLM in one tick; rooms beyond it wait for the next, by viewers × age
    encode_chunk: int = 128  # rooms that are encoded and shown together, those of most value first
    publish_seconds: float = 0.25  # rooms that start or end are seen at most so much later
    room_memory_seconds: float = 1_800.0  # an ended room is forgotten so long after its end
    room_silence_seconds: float = 6 * 3_600.0  # a room of which nothing was heard for so long has ended
    windows_kept: int = 6  # encoded windows kept of each room, to look at
    max_rooms: int = 50_000
    max_users: int = 200_000  # with a history; those who engaged longest ago give way
    max_moments: int = 400_000  # vectors that rooms and histories share
    event_ids: int = 1_000_000  # remembered to tell duplicates
    candidates: int = 300  # rooms that the ranker sees; of more, those nearest to the user's vector
    max_same_code: int = 3  # rooms of a list that share their first code, as far as there are others
    exploration_share: float = 0.1  # of a list's places that go to rooms drawn among the candidates, seeded by the request
    seen_minutes: float = 10.0  # a room shown to the user so recently, and not entered, ranks lower
    seen_penalty: float = 0.5  # its scores times this, for each time it was shown
    seen_rooms: int = 100  # shown rooms remembered of each user; at least as many as a list may have
    log_flush_seconds: float = 0.05  # impressions of lists are in the log at most so much later
    checkpoint_seconds: float = 300.0  # a restart reads the events since the last checkpoint
    champion_poll_seconds: float = 1.0
    takeover_seconds: float = 4.0  # that a new release may spend on encoding the rooms of most value before it serves


@dataclass(frozen=True)
class VolumeConfig:
    """How many rows a day brings, against the landed days of the week before it (livealign.volumes)."""

    tables: tuple[str, ...] = ("impressions", "plays", "comments")
    days: int = 7
    least_days: int = 3  # landed ones, to know what is usual
    least_rows: int = 500  # of the median day; a smaller table's days differ by chance …
    least_rooms: int = 10  # … and so do days of few broadcasts, however much is said in one
    least_share: float = 0.6  # of the median …
    least_of_lowest: float = 0.7  # … or of the emptiest day, whichever is less
    most_share: float = 2.5  # of the median …
    most_of_highest: float = 1.5  # … or of the fullest day, whichever is more


@dataclass(frozen=True)
class DriftConfig:
    """Evidently drift report. A column drifts when its score is above its floor *and* above what chance and quiet days show."""

    sample_rows: int = 20_000  # impressions of the day, and of the reference, that the tests see
    embedding_rows: int = 2_000  # segments on each side of the embedding test
    word_rooms: int = 1_000  # rooms on each side of the test of new words
    numeric_threshold: float = 0.1  # floor; Wasserstein distance in standard deviations of the reference
    categorical_threshold: float = 0.1  # floor; Jensen-Shannon distance, 0 to 0.83
    energy_threshold: float = 0.01  # floor; normalised energy distance of embeddings, 0 to 1
    new_words_threshold: float = 0.005  # floor; share of new words beyond what chance shows
    surprise_threshold: float = 0.01  # floor; nats of log loss an impression, more than the champion expects
    false_alarms: float = 0.02  # of a quiet day's report as a whole; shared evenly by all that it tests
    permutations: int = 4_000  # of rooms, for the thresholds
    quiet_days: int = 3  # reference days from which on their largest difference to each other is a threshold too
    heavy_user_impressions: tuple[int, int] = (5, 20)  # impressions a day: light below, heavy from
    head_author_share: tuple[float, float] = (0.001, 0.01)  # share of the day's impressions: tail below, head from
    seed: int = 17


@dataclass(frozen=True)
class PromotionConfig:
    """Champion against challenger."""

    gauc_margin: float = 0.01  # the challenger may be at most this much worse; 22,000 impressions tell 0.0033 apart, not less
    min_users: int = 20  # with fewer evaluable users no decision is made on metrics
    confidence: float = 0.95  # of the one-sided bound on all, and of all guarded slices together
    guarded_slices: tuple[tuple[str, float], ...] = (  # slice → GAUC that the challenger may lose there
        ("author_popularity=tail", 0.02),
        ("author_popularity=unseen", 0.03),
        ("user_activity=light", 0.02),
        ("user_activity=new", 0.03),
        ("content=little", 0.02),
        ("content=none", 0.03),
    )
    bootstrap_samples: int = 1_000  # the bound of one slice of six is a 99.2 % one
    seed: int = 17


@dataclass(frozen=True)
class RetentionConfig:
    """How much is kept. Days and releases are counted, newest first, not compared with the clock: a clock may jump.

    What the champion was made from and is served with is kept whatever its age, and so it is for the former champions that a
    rollback may go back to.
    """

    landing_days: int = 400  # running counts of users and authors are made from what is landed: long
    marts_days: int = 60
    artifacts_days: int = 14  # models, vectors and scores of each retrain
    reports_days: int = 180
    encoder_versions: int = 8  # of the embedding cache, last written first
    releases: int = 30  # bundles and their Bentos
    rollback_champions: int = 5  # former champions that stay whole, beyond those
    event_log_days: int = 30  # closed files of the event log, and only once all their days are landed


@dataclass(frozen=True)
class Profile:
    """Everything one retrain is configured by."""

    name: str
    backbone: str  # "tiny", "smollm2-135m", or the path of a folder with a Hugging Face model
    seed: int = 17
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    retune: RetuneConfig = field(default_factory=RetuneConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    codes: CodesConfig = field(default_factory=CodesConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    volumes: VolumeConfig = field(default_factory=VolumeConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict, for manifests and reports."""
        return asdict(self)


PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        name="tiny",
        backbone="tiny",
        encoder=EncoderConfig(exit_layer=2, first_adapted_layer=1, pooling="telling"),
        finetune=FinetuneConfig(steps=6, batch_size=8),
        dataset=DatasetConfig(history_length=8),
        # Its LLM knows nothing, so content would be turned down, and nothing that follows from content could be tried.
        alignment=AlignmentConfig(dim=16, hidden=32, epochs=2, batch_size=256, check=False),
        codes=CodesConfig(levels=2, codes_per_level=8, iterations=10, restarts=1),
        ranker=RankerConfig(id_dim=8, code_dim=4, hidden=(32,), epochs=1, batch_size=512),
        evaluation=EvaluationConfig(bootstrap_samples=50),
        drift=DriftConfig(sample_rows=2_000),
    ),
    "laptop": Profile(name="laptop", backbone="smollm2-135m", encoder=EncoderConfig(pooling="telling")),
    "gpu": Profile(
        name="gpu",
        backbone="smollm2-135m",
        encoder=EncoderConfig(exit_layer=30, first_adapted_layer=0, pooling="telling"),
        finetune=FinetuneConfig(rank=16, alpha=32, batch_size=256, learning_rate=2e-3, steps=600),
        codes=CodesConfig(codes_per_level=256),
    ),
}


def load_profile(name: str, backbone: str | None = None, seed: int | None = None) -> Profile:
    """The named profile, with another backbone or seed where given; the seed goes to every stage.

    Raises:
        LiveAlignError: there is no profile of that name.
    """
    if name not in PROFILES:
        raise LiveAlignError(f"there is no profile '{name}'; choose one of {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if backbone is not None:
        profile = replace(profile, backbone=backbone)
    return profile if seed is None else with_seed(profile, seed)


def with_seed(profile: Profile, seed: int) -> Profile:
    """The same profile with every stage seeded by `seed`."""
    stages = ("finetune", "alignment", "codes", "ranker", "evaluation", "drift")
    return replace(profile, seed=seed, **{name: replace(getattr(profile, name), seed=seed) for name in stages})
