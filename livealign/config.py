"""Settings: one frozen dataclass for each stage that trains, measures or serves models.

A stage's config is saved beside what the stage makes, and rebuilt from there when it is loaded. `livealign.operation_config`
has the stages that watch, promote and clean up, `livealign.profiles` the profiles that hold a value for every setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from livealign.bounds import AMOUNT, BELOW_ONE, COUNT, PART, POSITIVE, SEED, SHARE, Bounds, setting
from livealign.errors import LiveAlignError

RETUNE_POLICIES = ("daily", "weekly", "on_drift")
POOLINGS = ("mean", "last", "telling")
SOURCE_NAMES = ("llm", "lexical", "frames")


def pictures_last(sources: Sequence[str]) -> tuple[str, ...]:
    """Sources of content in the order in which their vectors lie side by side."""
    return tuple(sorted(sources, key=lambda source: source == "frames"))


TASK_NAMES = ("click", "long_view", "like", "comment", "gift")
VARIANT_NAMES = (
    *("popularity", "id_only", "raw_llm", "tuned_llm", "hour_weekday", "no_gate", "aligned", "aligned_codes", "static_room"),
    *("shuffled", "llm_codes", "lexical_codes", "llm_lexical_codes", "raw_codes", "raw_llm_codes", "tfidf", "minilm"),
    *("text_only", "frames_only", "text_frames", "frames_shuffled"),
)


@dataclass(frozen=True)
class SegmentConfig:
    """The settings of the text that the LLM reads of one 30-second window."""

    # The mart `segments` has 30-second windows, and ids are made of them: another length needs another warehouse.
    window_seconds: int = setting(30, "length of a window, as the warehouse cuts it", Bounds(30, 30), unit="seconds")
    token_budget: int = setting(64, "tokens of one segment text, where the tokenizer cuts it", Bounds(1, 8_192), unit="tokens")
    context_windows: int = setting(2, "earlier windows of the room that fade in as context", Bounds(0, 100), unit="windows")
    max_characters: int = setting(1_000, "of one text, before the tokenizer reads it", COUNT, unit="characters")


LAYER = Bounds(0, 10_000)
ENCODER_CHOICES = (SET, AUTO) = ("set", "auto")
INT8 = "int8"
NUMBER_TYPES = (AUTO, INT8)


@dataclass(frozen=True)
class EncoderConfig:
    """The settings of the pass that makes one embedding.

    The layers below `first_adapted_layer` are frozen and shared by the raw and the tuned encoder; the pass stops after
    `exit_layer` layers. Each is a number of layers, or a share of the backbone's depth: 0.2, and 1.0 for all of it.
    """

    exit_layer: int | float = setting(6, "layers that are run; a share such as 0.2 is of the backbone's depth", LAYER)
    first_adapted_layer: int | float = setting(2, "layers below the first with an adapter, or a share of the depth", LAYER)
    pooling: str = setting("mean", "how the vectors of a text's tokens become one (livealign.llm.pooling)", choices=POOLINGS)
    half_share: float = setting(3e-4, "share of all tokens at which one counts half in a telling mean", PART)
    batch_tokens: int = setting(0, "tokens of one packed batch; 0: what suits the processor", AMOUNT, unit="tokens")
    choice: str = setting(
        SET, "set: layers and pooling as they are set; auto: a full tune chooses them on its days", choices=ENCODER_CHOICES
    )
    # int8: about 1.4 times as many texts a second on a CPU with VNNI, other vectors (docs/performance.md).
    number_type: str = setting(AUTO, "of products; auto: bfloat16 where the processor has it", choices=NUMBER_TYPES)


@dataclass(frozen=True)
class FinetuneConfig:
    """LoRA tuning of the LLM on segments: contrastive, and on request with descriptions.

    The second objective is a language model of a text that describes the moment (livealign.tuning.descriptions).
    """

    rank: int = setting(8, "rank of the adapter", Bounds(1, 1_024))
    alpha: int = setting(16, "scale of the adapter, divided by its rank", COUNT)
    dropout: float = setting(0.0, "dropout within the adapter", BELOW_ONE)
    target_modules: tuple[str, ...] = setting(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "matrices of a layer that are adapted; names that the backbone lacks are left out",
    )
    learning_rate: float = setting(5e-3, "highest learning rate", POSITIVE)
    warmup_share: float = setting(0.1, "share of the steps over which the learning rate rises", SHARE)
    weight_decay: float = setting(0.01, "of AdamW", AMOUNT)
    batch_size: int = setting(32, "pairs of a step", Bounds(2), unit="pairs")
    steps: int = setting(200, "steps of a full tune", COUNT, unit="steps")
    # Pairs are chosen all the same: a telling mean weighs tokens by their texts.
    frozen: bool = setting(False, "take no step: the LLM stays as it was pretrained")
    temperature: float = setting(0.2, "of the contrastive loss", POSITIVE)
    whitening_floor: float = setting(3.0, "variance added to every direction of the loss, in those of one dimension", AMOUNT)
    max_gradient_norm: float = setting(1.0, "longer gradients are cut to this length", POSITIVE)
    warm_steps: int = setting(0, "steps from an earlier adapter; 0: it and its vectors are kept", AMOUNT, unit="steps")
    # Larger batches are read twice (GradCache).
    chunk_tokens: int = setting(8_192, "tokens of texts whose graph is held at once", COUNT, unit="tokens")
    checkpoint_layers: bool = setting(False, "keep only each layer's input for the backward pass: less memory, more work")
    save_every: int = setting(10, "steps between two checkpoints that a killed run continues from", COUNT, unit="steps")
    # Of several days: pairs of the last day alone; of a single day: of its rooms.
    validation_share: float = setting(0.1, "share of pairs kept for validation", BELOW_ONE)
    validate_every: int = setting(40, "steps between two validations", COUNT, unit="steps")
    patience: int = setting(3, "validations without a better loss before tuning stops", COUNT, unit="validations")
    near_windows: int = setting(20, "windows of one room closer than this are never negatives", AMOUNT, unit="windows")
    engagement_days: float = setting(1.0, "days that two long views of a pair lie apart at most", AMOUNT, unit="days")
    engagement_share: float = setting(0.2, "share of pairs: long views of one user in different rooms", SHARE)
    # What these two shares leave is for two views of one window.
    neighbour_share: float = setting(0.4, "share of pairs: windows of one room within neighbour_windows", SHARE)
    neighbour_windows: int = setting(4, "windows between two neighbours at most", COUNT, unit="windows")
    # Instead of the pairs above (livealign.tuning.broadcast_pairs).
    broadcast_windows: int = setting(0, "windows on each side of pairs of whole broadcasts; 0: none", AMOUNT, unit="windows")
    title_share: float = setting(0.5, "share of pairs of broadcasts with the title on one side", SHARE)
    description_weight: float = setting(0.0, "weight of the language-model loss beside the contrastive one", AMOUNT)
    description_texts: int = setting(8, "descriptions of a step", COUNT, unit="texts")
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class RetuneConfig:
    """The days on which the LLM is tuned fully (livealign.retrain.tuning_policy).

    On other days the champion's adapter is kept, or the tuning warm-starts from it.
    """

    # weekly and on_drift also tune fully when the last full tune is too old.
    policy: str = setting("on_drift", "when the LLM is tuned fully", choices=RETUNE_POLICIES)
    max_age_days: int = setting(7, "days between two full tunes at most", COUNT, unit="days")

    def __post_init__(self) -> None:
        if self.policy not in RETUNE_POLICIES:
            raise LiveAlignError(f"retune.policy: there is no '{self.policy}'; set one of {', '.join(RETUNE_POLICIES)}")


@dataclass(frozen=True)
class DatasetConfig:
    """The settings of the part of the marts that is learned from."""

    train_days: int = setting(7, "days before the held-out one that are learned from", Bounds(1, 3_650), unit="days")
    history_length: int = setting(20, "last engagements of a user that the models see", Bounds(1, 1_000), unit="engagements")
    min_author_impressions: int = setting(1, "authors shown less are unknown to ID embeddings", COUNT, unit="impressions")
    half_life_seconds: float = setting(
        20.0, "of a window's part in its room's content; 0: windows alone", AMOUNT, unit="seconds"
    )


@dataclass(frozen=True)
class LexicalConfig:
    """Counted words as a source of content (livealign.llm.lexical)."""

    width: int = setting(128, "dimensions of the vectors of counted words", Bounds(1, 4_096))
    least_rooms: int = setting(2, "a word counts if so many broadcasts of the training days have it", COUNT, unit="rooms")
    most_words: int = setting(20_000, "words kept, those that most broadcasts have", COUNT, unit="words")
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class FramesConfig:
    """Pictures of the rooms: a source of content, or tokens that the LLM reads.

    They are a source where `alignment.sources` names it.
    """

    backbone: str = setting("efficientnet-lite0", "efficientnet-lite0, pixels, org/name@revision, or an image model folder")
    prefix_tokens: int = setting(
        0, "tokens of a picture that the LLM reads before the text; 0: it reads text alone", Bounds(0, 256), unit="tokens"
    )


@dataclass(frozen=True)
class AlignmentConfig:
    """Gated two-tower model."""

    sources: tuple[str, ...] = setting(
        ("llm", "lexical"), "content beside the author ID, each behind a gate of its own", choices=SOURCE_NAMES
    )
    dim: int = setting(64, "dimensions of the aligned vectors", Bounds(1, 4_096))
    hidden: int = setting(128, "width of the towers' hidden layer", Bounds(1, 65_536))
    epochs: int = setting(6, "passes over the training days", COUNT, unit="epochs")
    batch_size: int = setting(1_024, "impressions of a step", COUNT, unit="impressions")
    learning_rate: float = setting(3e-3, "of the towers", POSITIVE)
    weight_decay: float = setting(1e-4, "of AdamW", AMOUNT)
    content_rank: int = setting(64, "principal components of the content vectors that are kept", COUNT)
    even_dimensions: float = setting(
        0.0, "1: dimensions of large variance count no more than others; 0: as they are; for content of an LLM", SHARE
    )
    id_dropout: float = setting(0.1, "share of rows whose author ID is hidden in training", BELOW_ONE)
    content_dropout: float = setting(0.1, "share of rows whose content is hidden in training", BELOW_ONE)
    source_dropout: float = setting(
        0.5, "share of rows in training of which one source is hidden, where several are used", BELOW_ONE
    )
    user_l2: float = setting(0.05, "prior of the user embeddings, in the loss, for each impression", AMOUNT)
    author_l2: float = setting(0.01, "prior of the author embeddings, in the loss, for each impression", AMOUNT)
    contrastive_weight: float = setting(0.05, "of the in-batch softmax beside the loss on shown impressions", AMOUNT)
    run: int = setting(128, "impressions in order of time that stay together in a batch", COUNT, unit="impressions")
    negative_minutes: float = setting(
        10.0, "rooms clicked further apart are no negatives of each other", AMOUNT, unit="minutes"
    )
    positions: int = setting(32, "places of a list with a bias of their own", COUNT, unit="places")
    initial_temperature: float = setting(0.3, "of the softmax at the start", POSITIVE)
    warm_epochs: int = setting(1, "epochs when the towers warm-start from the previous release", COUNT, unit="epochs")
    warm_rate_share: float = setting(0.1, "share of the learning rates when they do", POSITIVE)
    # sigmoid(1.5) = 0.82: the gate starts near the author ID alone, and content earns its share.
    gate_bias: float = setting(1.5, "where the gate starts: the logit of the author ID's share", Bounds(-20, 20))
    gate_learning_rate: float = setting(3e-2, "of the gates, which start with no weights", POSITIVE)
    check: bool = setting(
        True, "first test whether content adds to the ID, and for which authors (livealign.alignment.content_check)"
    )
    seed: int = setting(17, "seed of this stage", SEED)

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) < len(self.sources) or not {*self.sources} <= {*SOURCE_NAMES}:
            raise LiveAlignError(
                f"alignment.sources: {list(self.sources)} is no choice; name each of {', '.join(SOURCE_NAMES)} once at most, "
                "and at least one of them"
            )


@dataclass(frozen=True)
class CodesConfig:
    """Residual k-means."""

    levels: int = setting(3, "codes of a vector", Bounds(1, 8))
    codes_per_level: int = setting(32, "centroids of a level", Bounds(2, 65_536))
    iterations: int = setting(25, "of k-means", COUNT, unit="iterations")
    warm_iterations: int = setting(5, "of k-means where the champion's codes carry over", COUNT, unit="iterations")
    restarts: int = setting(2, "starts of k-means, of which the best is kept", COUNT, unit="starts")
    most_churn: float = setting(0.05, "share of known segments whose first code may change before a warning", SHARE)
    balance: float = setting(0.0, "1: codes are made equally full; 0: each vector has its nearest centroid", SHARE)
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class RankerConfig:
    """Multi-task ranker."""

    tasks: tuple[str, ...] = setting(TASK_NAMES, "what is predicted: always these five", choices=TASK_NAMES)
    id_dim: int = setting(8, "dimensions of ID embeddings", Bounds(1, 4_096))
    code_dim: int = setting(32, "dimensions of code embeddings", Bounds(1, 4_096))
    hidden: tuple[int, ...] = setting((32,), "widths of the hidden layers", Bounds(1, 65_536))
    epochs: int = setting(4, "passes over the training days", COUNT, unit="epochs")
    batch_size: int = setting(2_048, "impressions of a step", COUNT, unit="impressions")
    learning_rate: float = setting(2e-3, "of the ranker", POSITIVE)
    weight_decay: float = setting(1e-5, "of AdamW", AMOUNT)
    dropout: float = setting(0.3, "of the hidden layers", BELOW_ONE)
    user_l2: float = setting(0.02, "prior of user factors and room embeddings, in the loss, for each impression", AMOUNT)
    # The tastes (livealign.ranking.tastes) hold nearly all of it already.
    user_l2_with_tastes: float = setting(1.0, "the same where codes give tastes", AMOUNT)
    taste_days_share: float = setting(
        0.34, "share of the training days, the first ones, that only tastes learn from", BELOW_ONE
    )
    calibration_share: float = setting(0.1, "share of requests kept to calibrate on (livealign.ranking.calibration)", BELOW_ONE)
    task_weights: tuple[float, ...] = setting((1.0, 1.0, 0.3, 0.3, 0.3), "weight of each task's loss", AMOUNT)
    positions: int = setting(32, "places of a list with a bias of their own", COUNT, unit="places")
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class HighlightConfig:
    """Gradient-boosted trees that predict a room's next window (evaluation.highlights)."""

    trees: int = 60
    learning_rate: float = 0.08
    leaves: int = 15
    least_in_leaf: int = 40
    components: int = 32  # of the content that the trees see
    seed: int = 17


@dataclass(frozen=True)
class EvaluationConfig:
    """Offline evaluation on the held-out day."""

    comparison: tuple[str, ...] = setting(
        ("popularity", "id_only", "raw_llm"),
        "variants trained beside the release (livealign.ranking.variants)",
        choices=VARIANT_NAMES,
    )
    bootstrap_samples: int = setting(500, "of users, for the intervals", Bounds(1, 100_000), unit="samples")
    confidence: float = setting(0.95, "of the two-sided intervals", PART)
    list_k: int = setting(10, "places that NDCG@k looks at", COUNT, unit="places")
    # In order of impressions: "head" up to the first share, "torso" up to the second, the rest "tail"; without any: "unseen".
    head_share: float = setting(0.5, "share of training impressions of the most shown authors, the head", SHARE)
    torso_share: float = setting(0.8, "share of training impressions up to which authors are the torso", SHARE)
    much_text_characters: int = setting(80, "segments with less text are in the slice little", COUNT, unit="characters")
    early_minutes: tuple[float, float] = setting(
        (5.0, 20.0), "end of a broadcast's first part, and start of its later part", AMOUNT, unit="minutes"
    )
    calibration_bins: int = setting(15, "bins of the calibration error", Bounds(1, 10_000), unit="bins")
    # Earlier days are scored by models trained on the days before each (livealign.retrain.rolling).
    least_users: int = setting(
        100, "users with both a click and a skip that are needed to judge; earlier days are added for them", COUNT, unit="users"
    )
    least_days: int = setting(1, "held-out days that are judged even if fewer have enough users", COUNT, unit="days")
    most_days: int = setting(14, "held-out days that are judged at most; 1: only the retrain's own", COUNT, unit="days")
    seed: int = setting(17, "seed of this stage", SEED)


@dataclass(frozen=True)
class LiveConfig:
    """The running service: how it keeps its state, and what a list is made of."""

    lateness_seconds: float = setting(2.0, "a window is encoded this long after its end", AMOUNT, unit="seconds")
    tick_budget_seconds: float = setting(24.0, "of the LLM in a tick; other rooms wait for the next", POSITIVE, unit="seconds")
    encode_chunk: int = setting(
        128, "rooms that are encoded and shown together, those of most value first", COUNT, unit="rooms"
    )
    publish_seconds: float = setting(0.25, "rooms that start or end are seen this much later at most", AMOUNT, unit="seconds")
    room_memory_seconds: float = setting(1_800.0, "an ended room is forgotten this long after its end", AMOUNT, unit="seconds")
    room_quiet_seconds: float = setting(
        900.0, "a room without any event for so long is not live until the next", POSITIVE, unit="seconds"
    )
    room_silence_seconds: float = setting(
        6 * 3_600.0, "a room without any event for so long has ended", POSITIVE, unit="seconds"
    )
    windows_kept: int = setting(6, "encoded windows kept of each room, to look at", COUNT, unit="windows")
    max_rooms: int = setting(50_000, "rooms kept at most, for each reader that shares them", COUNT, unit="rooms")
    max_users: int = setting(200_000, "users with a history; those who engaged longest ago give way", COUNT, unit="users")
    max_coded_windows: int = setting(400_000, "vectors that rooms and histories share", COUNT, unit="vectors")
    event_ids: int = setting(1_000_000, "event ids remembered, to find duplicates", COUNT, unit="ids")
    candidates: int = setting(300, "rooms that the ranker sees, those nearest to the user's vector", COUNT, unit="rooms")
    max_same_code: int = setting(
        3, "rooms of a list that share their first code, as far as there are others", COUNT, unit="rooms"
    )
    exploration_share: float = setting(0.1, "share of a list's places for rooms drawn among the candidates", SHARE)
    seen_minutes: float = setting(10.0, "a room shown so recently, and not entered, ranks lower", AMOUNT, unit="minutes")
    seen_penalty: float = setting(0.5, "factor of its scores, for each time it was shown", SHARE)
    seen_rooms: int = setting(100, "shown rooms remembered of each user; a list has at most 100", Bounds(100), unit="rooms")
    log_flush_seconds: float = setting(0.05, "impressions are in the log this much later at most", AMOUNT, unit="seconds")
    checkpoint_seconds: float = setting(
        300.0, "between two checkpoints; a restart reads the events since", POSITIVE, unit="seconds"
    )
    reader_lease_seconds: float = setting(
        10.0, "a reader that shares the rooms of a Redis log counts as gone after so long", Bounds(2, 25), unit="seconds"
    )
    release_wait_seconds: float = setting(
        60.0, "a ranker waits at most so long until the readers have read a new release's rooms", AMOUNT, unit="seconds"
    )
    champion_poll_seconds: float = setting(1.0, "between two looks at the champion pointer", POSITIVE, unit="seconds")
    experiment_level: float = setting(
        0.05, "probability that an experiment ever finds a difference where there is none, all its metrics together", PART
    )
    experiment_effect: float = setting(0.1, "size of the differences that are found soonest, as a share of the mean", POSITIVE)
    takeover_seconds: float = setting(4.0, "a new release spends on encoding rooms before it serves", AMOUNT, unit="seconds")
