"""The requests and answers of the live service as types.

`python -m bentos.client_types` writes this module.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class AuthorBlocked(TypedDict):
    """A user does not want to see any room of this author."""

    event_id: str
    at: int
    room_id: NotRequired[int]
    author_id: int
    user_id: int
    kind: Literal["author_blocked"]


class AuthorUnblocked(TypedDict):
    """A user takes a block back."""

    event_id: str
    at: int
    room_id: NotRequired[int]
    author_id: int
    user_id: int
    kind: Literal["author_unblocked"]


class Comment(TypedDict):
    """A viewer's message in the room's chat."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["comment"]
    text: str
    is_bot: NotRequired[bool]


class DeletedUser(TypedDict):
    """A user who was deleted."""

    user_id: int
    # Records that were erased from the event log.
    erased_records: int


class EmbeddedSegment(TypedDict):
    """The embedding, vector and codes of one segment."""

    # From the tuned LLM and, behind it, from counted words.
    embedding: list[float]
    # Aligned with the author, of unit length.
    vector: list[float]
    codes: list[int]
    # A name for each code; empty where no words tell it from its siblings.
    code_names: list[str]


class ErrorBody(TypedDict):
    """The reason for a refusal."""

    error: str
    # The wrong fields and what is wrong with each.
    detail: list[dict[str, Any]] | None


class OnlineMetric(TypedDict):
    """One metric of an arm with its confidence sequence, which holds at every look."""

    # Null without any list.
    value: float | None
    # Null while the arm has too few users, and outside of an experiment.
    low: float | None
    high: float | None


class OutcomeCounts(TypedDict):
    """What followed the lists of an arm."""

    lists: int
    impressions: int
    clicks: int
    long_views: int
    # Clicks that led to a gift.
    gifts: int


class ExperimentArm(TypedDict):
    """The outcomes of one release."""

    release_id: str
    challenger: bool
    # Of the users.
    share: float
    # Of its first list.
    since: str
    # Null outside of an experiment, where users are not counted.
    users: int | None
    counts: OutcomeCounts
    # By name: ctr, long_views_per_list, gifts_per_list.
    metrics: dict[str, OnlineMetric]


class ExperimentDifference(TypedDict):
    """One metric of a challenger minus the champion's."""

    challenger: str
    metric: str
    difference: float | None
    # Of the confidence sequence; null while there are too few users.
    low: float | None
    high: float | None
    # Always valid; compare it with the level divided by the number of differences.
    p_value: float
    # The two differ, at the level of the whole experiment.
    decided: bool


class ShadowLists(TypedDict):
    """The lists that a challenger in the shadow has ranked too."""

    lists: int
    # Lists that came faster than they could be compared.
    left_out: int
    # Mean share of a list that the challenger would have shown too; null before any.
    overlap: float | None
    # Mean of Kendall's tau, of the rooms that were shown; null while `ranked` is 0.
    rank_correlation: float | None
    # Lists with at least two rooms, which have a rank correlation.
    ranked: int


class ServedChallenger(TypedDict):
    """A release that is served beside the champion."""

    release_id: str
    share: float
    # It ranks, and nobody sees its lists.
    shadow: bool
    # False while it is loaded, or if it cannot be: its users get the champion's lists.
    loaded: bool
    # Windows that it has not encoded yet.
    windows_waiting: int
    # Of a challenger in the shadow.
    compared: ShadowLists | None


class Experiments(TypedDict):
    """What is served side by side, and what came of it so far."""

    champion: str
    # Null while no user sees a challenger. Another one with each change of shares.
    experiment: str | None
    since: str | None
    # Lists are counted: every challenger is loaded, or cannot be.
    begun: bool
    # Probability of any false decision, all differences and all looks together.
    level: float
    challengers: list[ServedChallenger]
    # Of the experiment, the champion first.
    arms: list[ExperimentArm]
    differences: list[ExperimentDifference]
    # Releases while each was served alone.
    alone: list[ExperimentArm]


class Explanation(TypedDict):
    """The reasons for a room's rank for a user."""

    room_id: int
    user_id: int
    at: str
    # Probability by task.
    scores: dict[str, float]
    # 1 is first, before diversity and exploration; null if it is not live, filtered out or not near enough.
    rank: int | None
    # Rooms that were ranked.
    of_rooms: int
    # The sentence of the list.
    reason: str
    # Lately, without an entry; each lowers the rank.
    times_shown: int
    # Of a click.
    log_odds: float
    # Log-odds of a click that the room's content, its counts and the user's history add, all else known.
    shares: dict[str, float]


class Filter(TypedDict):
    """Conditions on the rooms of a list; upper and lower case are the same."""

    # Rooms of these only.
    categories: NotRequired[list[str]]
    # Rooms of these only, and rooms whose language is not known.
    languages: NotRequired[list[str]]
    # Rooms of these only.
    authors: NotRequired[list[int]]
    # No rooms of these.
    blocked_authors: NotRequired[list[int]]
    # No rooms with these in title or category.
    blocked_words: NotRequired[list[str]]


class Follow(TypedDict):
    """The author was followed from this room."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["follow"]


class FrameResponse(TypedDict):
    """The outcome of a picture, which is on disk."""

    outcome: Literal["accepted", "duplicate"]


class Gift(TypedDict):
    """One or more gifts at once; `value` is their price together, where it is known."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["gift"]
    count: NotRequired[int]
    value: NotRequired[float | None]


class ImpressionShown(TypedDict):
    """A room was shown to a user in the list `request_id`."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["impression"]
    request_id: NotRequired[str | None]
    position: NotRequired[int | None]
    surface: NotRequired[str | None]
    score: NotRequired[float | None]
    model_version: NotRequired[str | None]


class RejectedEvent(TypedDict):
    """An event that was rejected, and why."""

    # Position in the batch, from 0.
    place: int
    event_id: str | None
    # A code to count by: invalid, in_future, too_late, …
    reason: str
    detail: str


class IngestResponse(TypedDict):
    """The outcome of a batch; accepted, duplicate and rejected add up to its size."""

    accepted: int
    # Of the accepted: their windows were closed, so they change no room.
    late: int
    duplicate: int
    rejected: int
    rejections: list[RejectedEvent]


class KnownUser(TypedDict):
    """A user with a history."""

    user_id: int
    # In the history that the service keeps.
    engagements: int
    # Of the last engagement.
    newest_at: str
    # Names of the codes that the user entered most, most often first.
    entered: list[str]


class KnownUsers(TypedDict):
    """Users with a history, the latest active first."""

    users: list[KnownUser]


class Like(TypedDict):
    """One or more likes at once."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["like"]
    count: NotRequired[int]


class NotInterested(TypedDict):
    """A user does not want to see this room; it is not recommended to them again."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["not_interested"]


class PlayEnded(TypedDict):
    """A user leaves a room; `play_id` is the `event_id` with which they entered."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["play_ended"]
    play_id: str


class PlayStarted(TypedDict):
    """A user enters a room; `request_id` names the list it was chosen from."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["play_started"]
    request_id: NotRequired[str | None]
    source: NotRequired[str | None]


class UserContext(TypedDict):
    """What the app knows of a viewer; it counts for one who has entered nothing yet."""

    # As the rooms name theirs, in any case; empty: not known.
    language: NotRequired[str]
    # As the profiles of viewers name theirs; empty: not known.
    country: NotRequired[str]


class RecommendManyRequest(TypedDict):
    """Viewers to recommend live rooms to, each a list of their own."""

    # Rooms wanted at most.
    k: NotRequired[int]
    # Rooms not to be recommended.
    exclude: NotRequired[list[int]]
    # The only rooms to rank, e.g. of another retriever; null ranks all.
    among: NotRequired[list[int] | None]
    filter: NotRequired[Filter]
    context: NotRequired[UserContext]
    # Where the list will be shown.
    surface: NotRequired[str | None]
    # The time to recommend for, UTC if it has no zone; now if it is left out.
    at: NotRequired[str | None]
    # False logs no impressions, for a client that shows the list to no viewer.
    record: NotRequired[bool]
    # False ranks without content, by the author alone: for comparison, never logged.
    content: NotRequired[bool]
    # The viewers.
    user_ids: list[int]


class RecommendedRoom(TypedDict):
    """One recommended room."""

    room_id: int
    author_id: int
    title: str | None
    # The order of the list: the probability of a click, lowered if the room was shown lately.
    score: float
    # Probability by task.
    scores: dict[str, float]
    # Semantic codes of the room's newest coded window, coarse to fine.
    codes: list[int]
    # A name for each code; empty where no words tell it from its siblings.
    code_names: list[str]
    # Age of what the codes describe; null before the first window.
    content_age_seconds: float | None
    # The deepest named level of a clear code path that the user's history shares, or what is new.
    reason: str
    # Has a place that is reserved for rooms outside the ranked list.
    explored: bool
    # The probability, over the draws of the exploration, that this room is in the list.
    propensity: float


class UserList(TypedDict):
    """The list of one viewer of many."""

    # To be sent with the events that follow from this list.
    request_id: str
    # Release id of the bundle that ranked.
    model_version: str
    # The time that the list was made for, UTC.
    at: str
    rooms: list[RecommendedRoom]
    # What the answer lacks; empty if it is complete.
    fallbacks: list[
        Literal["unknown_user", "no_history", "no_live_rooms", "all_excluded", "author_only", "old_content", "no_refresh"]
    ]
    # Whether the rooms are logged as impressions, which needs a key that may write and an event before.
    logged: bool
    user_id: int


class RecommendManyResponse(TypedDict):
    """One list for each viewer, in their order."""

    lists: list[UserList]


class RecommendRequest(TypedDict):
    """A viewer to recommend live rooms to, and the number of rooms."""

    # Rooms wanted at most.
    k: NotRequired[int]
    # Rooms not to be recommended.
    exclude: NotRequired[list[int]]
    # The only rooms to rank, e.g. of another retriever; null ranks all.
    among: NotRequired[list[int] | None]
    filter: NotRequired[Filter]
    context: NotRequired[UserContext]
    # Where the list will be shown.
    surface: NotRequired[str | None]
    # The time to recommend for, UTC if it has no zone; now if it is left out.
    at: NotRequired[str | None]
    # False logs no impressions, for a client that shows the list to no viewer.
    record: NotRequired[bool]
    # False ranks without content, by the author alone: for comparison, never logged.
    content: NotRequired[bool]
    # The viewer, also one never seen before.
    user_id: int


class RecommendResponse(TypedDict):
    """Rooms that are live, best first."""

    # To be sent with the events that follow from this list.
    request_id: str
    # Release id of the bundle that ranked.
    model_version: str
    # The time that the list was made for, UTC.
    at: str
    rooms: list[RecommendedRoom]
    # What the answer lacks; empty if it is complete.
    fallbacks: list[
        Literal["unknown_user", "no_history", "no_live_rooms", "all_excluded", "author_only", "old_content", "no_refresh"]
    ]
    # Whether the rooms are logged as impressions, which needs a key that may write and an event before.
    logged: bool


class SaidWords(TypedDict):
    """The last words of a room: users' text, to be shown as text only."""

    ended_at: str
    # The host's.
    speech: str
    # Viewers' different messages, newest first.
    chat: list[str]


class Window(TypedDict):
    """One encoded window of a room."""

    segment_id: int
    ended_at: str
    # The text that the LLM read: users' words, to be shown as text only.
    text: str
    codes: list[int]
    # A name for each code; empty where no words tell it from its siblings.
    code_names: list[str]
    counts: dict[str, float]


class Room(TypedDict):
    """The state of a broadcast in the service."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: str
    ended_at: str | None
    # By an operator: in no list and no page.
    hidden: bool
    codes: list[int]
    # A name for each code; empty where no words tell it from its siblings.
    code_names: list[str]
    # By level: 0 at the border to the next code, 1 at the code's centre.
    code_certainty: list[float]
    # Null before anything was said, and in rooms of the release's snapshot.
    said: SaidWords | None
    content_age_seconds: float | None
    viewers: int
    # Windows with new text that are not encoded yet.
    waiting: int
    # Newest first.
    windows: list[Window]
    # Name of the newest picture, which GET /rooms/{room_id}/frame gives.
    frame: str | None


class RoomEnded(TypedDict):
    """A broadcast ends at `at`."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    kind: Literal["room_ended"]


class RoomHidden(TypedDict):
    """An operator takes a room out of all lists, pages and similar rooms."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    kind: Literal["room_hidden"]


class RoomPage(TypedDict):
    """Live rooms, those with most viewers first."""

    at: str
    # Rooms that are live and have the words of `search`.
    total: int
    # No event has come yet: rooms and `at` are those of the release's snapshot.
    from_snapshot: bool
    rooms: list[Room]


class RoomStarted(TypedDict):
    """A broadcast begins at `at`."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    kind: Literal["room_started"]
    title: NotRequired[str | None]
    category: NotRequired[str | None]
    language: NotRequired[str | None]


class RoomUnhidden(TypedDict):
    """An operator takes the hiding of a room back."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    kind: Literal["room_unhidden"]


class Segment(TypedDict):
    """One segment of a broadcast, as text."""

    title: NotRequired[str]
    category: NotRequired[str]
    # The host's words.
    speech: NotRequired[str]
    # Viewers', in time order.
    chat: NotRequired[list[str]]
    # Since the broadcast began.
    minute: NotRequired[int]
    # Left out: an unknown author.
    author_id: NotRequired[int | None]


class Share(TypedDict):
    """The room was shared."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    user_id: int
    kind: Literal["share"]


class SimilarRoomItem(TypedDict):
    """A room with similar content, and how similar it is."""

    # Cosine of the aligned vectors, -1 to 1.
    similarity: float
    room: Room


class SimilarRooms(TypedDict):
    """The live rooms most similar to a room, most similar first."""

    room_id: int
    rooms: list[SimilarRoomItem]


class SimilarUserItem(TypedDict):
    """A user with a similar taste, and how similar it is."""

    # Cosine of the vectors of the user tower, -1 to 1.
    similarity: float
    user: KnownUser


class SimilarUsers(TypedDict):
    """The users most similar to a user, most similar first."""

    user_id: int
    users: list[SimilarUserItem]


class Speech(TypedDict):
    """The host's words from `at` to `ended_at`, transcribed."""

    event_id: str
    at: int
    room_id: int
    author_id: int
    kind: Literal["speech"]
    ended_at: int
    text: str


class Status(TypedDict):
    """The health of the service."""

    release_id: str
    ready: bool
    # The refresh cannot keep up or fails: some rooms keep older codes.
    degraded: bool
    # What a person should look into.
    problems: list[str]
    live_rooms: int
    rooms: int
    users: int
    windows_waiting: int
    last_tick_at: str | None
    last_tick_seconds: float | None
    staleness_p50_seconds: float | None
    staleness_p99_seconds: float | None
    # Impressions that are not in the log yet.
    log_behind_records: int
    # No event has come yet: rooms and time are those of the release's snapshot.
    from_snapshot: bool
    # A reader makes the vectors of rooms, a ranker has them from readers, and one that is both does both.
    role: Literal["both", "reader", "ranker"]
    # Alive that share the rooms; null: this process reads every room itself.
    readers: int | None
    # Rooms that this process reads, where several share them.
    rooms_owned: int | None
    # Since vectors of other readers came; null before the first.
    vectors_age_seconds: float | None
    # Accepted, over the last half minute.
    events_per_second: float
    # Recommendations, over the last half minute.
    lists_per_second: float


class Version(TypedDict):
    """The release in service."""

    release_id: str
    livealign: str
    platform: str
    profile: str
    data_window: dict[str, str]
    codebook_version: str
    backbone: str
    # False if the backbone is not on this machine: rooms keep their codes.
    encodes: bool


SentEvent: TypeAlias = (
    RoomStarted
    | RoomEnded
    | Speech
    | Comment
    | Like
    | Gift
    | Share
    | Follow
    | PlayStarted
    | PlayEnded
    | ImpressionShown
    | NotInterested
    | AuthorBlocked
    | AuthorUnblocked
    | RoomHidden
    | RoomUnhidden
)
