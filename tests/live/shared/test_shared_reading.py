"""Several cores on one Redis log: each window is read once, rankers follow, and releases are never mixed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from livealign.errors import BackboneError, EventLogError
from livealign.events.redis_log import RedisLog
from livealign.live.answers import Role, SegmentText
from livealign.live.lane import Lane
from livealign.live.shared.leases import Reader
from livealign.live.shared.reading import SharedReading
from livealign.live.shared.release import SharedRelease, Step
from livealign.live.shared.vector_log import KEY
from livealign.release.challengers import Challenger, Challengers, serve
from livealign.release.registry import promote
from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, STRANGER, USER, Stage
from tests.support.redis_server import RedisServer

ROOMS = range(1, 25)
Opens = Callable[..., Stage]


@pytest.fixture
def opens(redis_server: RedisServer, log: RedisLog, releases: list[PlantedRelease], tmp_path: Path) -> Iterator[Opens]:
    """Opens a core of a role on the log; their clocks go together."""
    stages: list[Stage] = []
    with ExitStack() as stack:

        def open_stage(role: Role, number: int = 0, **settings: float) -> Stage:
            config, client = replace(CONFIG, **settings), RedisLog.open(redis_server.url)
            clock_of = [stages[0].clock] if stages else []
            shared = SharedReading(client.client, role, config, lambda: clock_of[0].now if clock_of else 0.0)
            stage = Stage.open(releases[number], tmp_path / str(len(stages)), config, client, shared)
            if stages:
                stage.clock.now = stages[0].clock.now
            clock_of[:] = [stage.clock]
            stage.platform.number = 1_000 * len(stages)
            stack.callback(stage.core.stop)
            stages.append(stage)
            return stage

        yield open_stage


def with_read_rooms(opens: Opens, **settings: float) -> tuple[Stage, Stage]:
    """A reader and a ranker of these settings; a window of each room was read."""
    reader, ranker = opens("reader"), opens("ranker", **settings)
    reader.start_rooms(*ROOMS)
    talk(reader, ranker)
    window(reader, ranker)
    return reader, ranker


def step(*stages: Stage) -> None:
    """The journals and the shared reading of these cores go on until all have what any of them has."""
    for _ in range(2):
        for stage in stages:
            stage.core._journal.follow()
            shared_release(stage)._looked = None  # a second has passed
            stage.core.share()


def window(*stages: Stage) -> list[int]:
    """The next window ends; how many rooms each core has read of it."""
    now = stages[0].clock.now
    for stage in stages:
        stage.clock.now = now + 30 - now % 30 + 2.5
    reports = [stage.core.tick() for stage in stages]
    step(*stages)
    return [report.encoded for report in reports]


def talk(stage: Stage, *others: Stage, word: str = "chess") -> None:
    events = [event for room in ROOMS for event in stage.platform.comments(room, f"{word} {room}")]
    assert len(stage.core.ingest(events).accepted) == len(ROOMS)
    step(stage, *others)


def vectors(stage: Stage) -> np.ndarray:
    """The vectors of the rooms by id, as lists see them."""
    view = stage.core.state.publish()
    return view.vectors[np.argsort(view.room_id)][np.isin(np.sort(view.room_id), list(ROOMS))]


def shared_release(stage: Stage) -> SharedRelease:
    assert stage.core._shared is not None
    return stage.core._shared.of(stage.core.serving.release_id)


def test_two_readers_read_each_window_once_and_all_have_the_same_vectors(opens: Opens) -> None:
    one, two, ranker = opens("reader"), opens("both"), opens("ranker")
    one.start_rooms(*ROOMS)
    step(one, two, ranker)
    for word in ("chess", "goal", "boss"):
        talk(ranker, one, two, word=word)
        read = window(one, two, ranker)
        assert sum(read) == len(ROOMS)
        assert min(read[:2]) > 0
        assert read[2] == 0
        assert np.array_equal(vectors(one), vectors(two))
        assert np.array_equal(vectors(one), vectors(ranker))
    listed = ranker.core.recommend(STRANGER, 100)
    assert {room.content_age_seconds for room in listed.rooms if room.room_id in ROOMS} == {2.5}
    assert "old_content" not in listed.fallbacks
    room = ranker.core.room(1)
    assert room is not None
    assert room.waiting == 0
    assert [one.text.split("chat: ")[1].split(" |")[0] for one in room.windows] == ["boss 1", "goal 1", "chess 1"]
    statuses = [stage.core.status() for stage in (one, two, ranker)]
    assert [status.role for status in statuses] == ["reader", "both", "ranker"]
    assert [status.readers for status in statuses] == [2, 2, 2]
    assert [status.degraded for status in statuses] == [False] * 3
    owned = [status.rooms_owned for status in statuses]
    assert owned[2] == 0
    assert sum(owned) == statuses[0].rooms  # type: ignore[arg-type]  # a number where reading is shared


def test_a_shared_room_has_the_content_that_one_process_alone_gives_it(opens: Opens, stage: Stage) -> None:
    one, two = opens("reader"), opens("reader")
    for world in ((one, two), (stage,)):
        world[0].start_rooms(*ROOMS)
        for word in ("chess", "goal"):
            talk_in(world, word)
    assert np.allclose(vectors(one), vectors(stage), atol=1e-5)  # passes of other sizes


def talk_in(world: tuple[Stage, ...], word: str) -> None:
    first = world[0]
    first.core.ingest([event for room in ROOMS for event in first.platform.comments(room, f"{word} {room}")])
    if len(world) == 1:
        first.next_window()
    else:
        step(*world)
        window(*world)


def test_a_reader_counts_from_the_first_window_that_ends_well_after_it_joined(opens: Opens) -> None:
    stage = opens("reader")
    stage.start_rooms(*ROOMS)
    shared, rooms, ended_at = shared_release(stage), list(stage.core.state.rooms.values()), 1_000_000
    (me,) = shared.readers
    old, fresh = Reader(me.name, ended_at - 60_000), Reader("fresh", ended_at - 4_999)
    shared.readers = (fresh, old)
    assert shared.own(stage.core.state, rooms, ended_at) == rooms
    assert 0 < len(shared.own(stage.core.state, rooms, ended_at + 30_000)) < len(rooms)
    shared.readers = (fresh._replace(name=me.name), old._replace(name="old"))
    assert shared.own(stage.core.state, rooms, ended_at) == []
    shared.readers = (fresh._replace(name=me.name),)  # the first of all
    assert shared.own(stage.core.state, rooms, ended_at) == rooms
    shared.readers = ()  # nobody was seen yet
    assert shared.own(stage.core.state, rooms, ended_at) == rooms
    shared.readers = (old._replace(name="old"),)  # its own lease has ended
    assert shared.own(stage.core.state, rooms, ended_at) == []


def test_a_ranker_has_no_language_model_and_says_so(opens: Opens) -> None:
    ranker = opens("ranker")
    assert ranker.core.serving.refresher is None
    assert not ranker.core.version().encodes
    with pytest.raises(BackboneError, match="ask a reader"):
        ranker.core.embed([SegmentText(title="chess")])
    (problem,) = ranker.core.status().problems
    assert "no reader" in problem
    assert "no_refresh" in ranker.core.recommend(USER, 3).fallbacks
    reader = opens("reader")
    step(reader, ranker)
    assert ranker.core.status().problems == ()
    assert "no_refresh" not in ranker.core.recommend(USER, 3).fallbacks


def test_a_dead_readers_rooms_are_read_by_the_other_with_their_averages_and_no_room_twice(opens: Opens) -> None:
    dies, stays, ranker = opens("reader"), opens("reader"), opens("ranker")
    dies.start_rooms(*ROOMS)
    step(dies, stays, ranker)
    talk(dies, stays, ranker)
    assert sum(window(dies, stays, ranker)) == len(ROOMS)
    read_by_it = [room.room_id for room in shared_release(dies).own(dies.core.state, list(dies.core.state.rooms.values()))]
    ranker.core.recommend(USER, 100)  # shown windows are averaged over
    ranker.core._journal.flush()
    talk(stays, dies, ranker, word="goal")
    half = window(stays, ranker)[0]  # the other is dead, and its lease is not over
    assert 0 < half < len(ROOMS)
    shared_release(dies).leave()  # what the end of the lease does
    talk(stays, ranker, word="boss")
    assert window(stays, ranker) == [len(ROOMS), 0]
    assert np.array_equal(vectors(stays), vectors(ranker))
    moved = stays.core.state.rooms[next(room_id for room_id in read_by_it if room_id in ROOMS)]
    assert moved.content is not None
    assert moved.content.before is not None, "the average goes on where the dead reader left it"
    assert moved.content.before.weight == 1.0


def test_rooms_that_no_reader_reads_are_late_at_the_ranker(opens: Opens) -> None:
    reader, ranker = opens("reader"), opens("ranker")
    reader.start_rooms(*ROOMS)
    step(reader, ranker)
    talk(reader, ranker)
    window(reader, ranker)
    talk(ranker, word="goal")
    for late in (0, len(ROOMS)):
        ranker.clock.now += 30
        report = ranker.core.tick()
        assert (report.windows_waiting, report.degraded) == (late, late > 0)
    assert "old_content" in ranker.core.recommend(STRANGER, 100).fallbacks
    reader.core._journal.follow()
    assert window(reader, ranker) == [len(ROOMS), 0]
    assert "old_content" not in ranker.core.recommend(STRANGER, 100).fallbacks
    assert ranker.core.status().degraded is False


def test_a_process_that_starts_has_what_was_read_and_reads_nothing_again(opens: Opens) -> None:
    reader = opens("reader")
    reader.start_rooms(*ROOMS)
    talk(reader)
    window(reader)
    fresh, ranker = opens("reader"), opens("ranker")
    for stage in (fresh, ranker):
        stage.clock.now = reader.clock.now
        assert np.array_equal(vectors(stage), vectors(reader))
    assert fresh.core.tick().encoded == 0


def test_vectors_wait_for_a_server_that_is_gone_and_are_published_then(opens: Opens, redis_server: RedisServer) -> None:
    reader, ranker = opens("reader"), opens("ranker")
    reader.start_rooms(*ROOMS)
    talk(reader, ranker)
    redis_server.kill()
    try:
        reader.clock.now += 30 - reader.clock.now % 30 + 2.5
        assert reader.core.tick().encoded == len(ROOMS)
        with pytest.raises(EventLogError, match="look at the Redis server"):
            reader.core.share()
    finally:
        redis_server.start("--appendonly", "yes", "--appendfsync", "always")
    step(reader, ranker)
    assert np.array_equal(vectors(ranker), vectors(reader))


def test_what_was_followed_counts_once_though_the_server_dies_before_the_step_has_published(
    opens: Opens, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, other = opens("reader"), opens("reader")
    reader.start_rooms(*ROOMS)
    step(reader, other)
    talk(reader, other)
    for stage in (reader, other):
        stage.clock.now += 30 - stage.clock.now % 30 + 2.5
    read = [stage.core.tick().encoded for stage in (reader, other)]
    assert min(read) > 0
    reader.core.share()
    follow = SharedRelease.follow

    def last_answer(self: SharedRelease, lane: Lane) -> Step:
        followed = follow(self, lane)
        redis_server.kill()
        return followed

    with monkeypatch.context() as while_dying:
        while_dying.setattr(SharedRelease, "follow", last_answer)
        with pytest.raises(EventLogError, match="look at the Redis server"):
            other.core.share()
    redis_server.start("--appendonly", "yes", "--appendfsync", "always")
    for _ in range(2):
        other.core.share()
    after = other.told.steps[-2:]
    assert [report.followed for report in after] == [read[0], 0]
    assert [len(report.delays_seconds) for report in after] == [read[0], 0]
    assert [report.published for report in after] == [read[1], 0]


def test_a_reader_loads_no_release_while_it_cannot_join_its_readers(
    opens: Opens, releases: list[PlantedRelease], folder: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = opens("reader")
    promote(folder, releases[1].bundle.name)
    loaded: list[Path] = []
    opened = reader.core._opened
    monkeypatch.setattr(reader.core, "_opened", lambda bundle: (loaded.append(bundle), opened(bundle))[1])
    redis_server.kill()
    try:
        for _ in range(2):
            with pytest.raises(EventLogError, match="look at the Redis server"):
                reader.core.follow_champion(folder)
    finally:
        redis_server.start("--appendonly", "yes", "--appendfsync", "always")
    assert loaded == []
    assert reader.core.follow_champion(folder)
    assert len(loaded) == 1


def test_a_damaged_vector_is_a_problem_and_the_others_are_taken(opens: Opens, log: RedisLog) -> None:
    reader, ranker = opens("reader"), opens("ranker")
    reader.start_rooms(*ROOMS)
    talk(reader, ranker)
    reader.clock.now += 30 - reader.clock.now % 30 + 2.5
    reader.core.tick()
    reader.core.share()
    log.client.hset(f"{KEY}:{reader.core.serving.release_id}", "1", b"\x00nonsense")
    ranker.core._journal.follow()
    ranker.core.share()
    assert any("cannot be read" in problem for problem in ranker.told.steps[-1].problems)
    assert ranker.told.steps[-1].followed == len(ROOMS) - 1
    ranker.core.share()  # without news
    assert any("cannot be read" in problem for problem in ranker.core.status().problems)
    talk(reader, ranker, word="goal")
    window(reader, ranker)
    assert ranker.core.status().problems == ()


def test_rooms_that_are_over_leave_redis_and_a_ranker(opens: Opens, log: RedisLog) -> None:
    reader, ranker = with_read_rooms(opens)
    assert set(ROOMS) <= shared_release(ranker)._known
    key = f"{KEY}:{reader.core.serving.release_id}"
    assert log.client.hlen(key) >= len(ROOMS)
    reader.core.ingest([reader.platform.event("room_ended", room) for room in ROOMS])
    step(reader, ranker)
    for stage in (reader, ranker):
        stage.clock.now = reader.clock.now + 2 * CONFIG.room_memory_seconds * (stage is reader)
        stage.core.tick()
    step(reader, ranker)
    assert not {str(room).encode() for room in ROOMS} & set(log.client.hkeys(key))  # type: ignore[arg-type]
    assert not set(ROOMS) & shared_release(ranker)._known


def test_a_reader_without_its_backbone_leaves_all_rooms_to_others(
    opens: Opens, releases: list[PlantedRelease], redis_server: RedisServer, tmp_path: Path
) -> None:
    (plain,) = (releases[0].bundle.parent.parent / "plain" / "releases").glob("2*-*")
    log = RedisLog.open(redis_server.url)
    stage = Stage.open(
        releases[0]._replace(bundle=plain), tmp_path / "plain", CONFIG, log, SharedReading(log.client, "reader", CONFIG)
    )
    assert stage.core.status().readers == 0
    assert "no_refresh" in stage.core.recommend(STRANGER, 3).fallbacks
    stage.core.stop()


def test_a_reader_whose_model_fails_leaves_its_rooms_to_others_and_alone_goes_on_trying(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = opens("reader"), opens("reader")
    broken.start_rooms(*ROOMS)
    talk(broken, sound)
    assert broken.core.serving.refresher is not None

    def fails(texts: Sequence[str], pictures: object = None) -> np.ndarray:
        raise RuntimeError("the GPU is gone")

    monkeypatch.setattr(broken.core.serving.refresher, "encode", fails)
    first = window(broken, sound)
    assert first[0] == 0
    assert 0 < first[1] < len(ROOMS)
    talk(sound, broken, word="goal")
    assert window(broken, sound) == [0, len(ROOMS)]
    assert [stage.core.status().readers for stage in (broken, sound)] == [1, 1]
    sound.core.stop()
    talk(broken, word="boss")
    broken.clock.now += 30
    report = broken.core.tick()
    assert (report.rooms_with_news, report.error) == (len(ROOMS), "RuntimeError: the GPU is gone")


def test_max_rooms_counts_for_each_reader(opens: Opens) -> None:
    one, ranker = opens("reader", max_rooms=20), opens("ranker", max_rooms=20)
    one.start_rooms(*ROOMS)
    step(one, ranker)
    assert (len(one.core.state.rooms), len(ranker.core.state.rooms)) == (20, 20)
    two = opens("reader", max_rooms=20)
    step(one, two, ranker)
    one.start_rooms(*range(30, 50))
    step(one, two, ranker)
    assert [len(stage.core.state.rooms) for stage in (one, two, ranker)] == [40, 40, 40]


def test_a_ranker_takes_a_release_over_when_its_rooms_are_read_and_mixes_no_vectors(
    opens: Opens, releases: list[PlantedRelease], folder: Path
) -> None:
    reader, ranker = with_read_rooms(opens)
    old = vectors(ranker)
    promote(folder, releases[1].bundle.name)
    assert not ranker.core.follow_champion(folder), "no room has been read with it"
    assert ranker.core.serving.release_id == releases[0].bundle.name
    assert reader.core.follow_champion(folder)
    assert np.array_equal(vectors(ranker), old)
    step(reader, ranker)  # the reader publishes; the ranker still ranks with the old release
    assert np.array_equal(vectors(ranker), old)
    talk(ranker, reader, word="goal")
    window(reader, ranker)
    assert np.array_equal(vectors(ranker), old), "what is read with the new release is not shown with the old"
    assert ranker.core.follow_champion(folder)
    assert ranker.core.serving.release_id == releases[1].bundle.name
    assert np.array_equal(vectors(ranker), vectors(reader)), "from the first list on"
    assert not np.allclose(vectors(ranker), old)
    talk(ranker, reader, word="boss")
    assert window(reader, ranker) == [len(ROOMS), 0]
    assert np.array_equal(vectors(ranker), vectors(reader))


def test_a_ranker_that_waits_in_vain_takes_the_release_over_all_the_same(
    opens: Opens, releases: list[PlantedRelease], folder: Path
) -> None:
    reader, ranker = with_read_rooms(opens, release_wait_seconds=0.0)
    promote(folder, releases[1].bundle.name)
    assert ranker.core.follow_champion(folder)
    listed = ranker.core.recommend(STRANGER, 100)
    assert listed.model_version == releases[1].bundle.name
    assert {"author_only", "no_refresh"} <= set(listed.fallbacks)
    assert reader.core.follow_champion(folder)
    step(reader, ranker)
    assert np.array_equal(vectors(ranker), vectors(reader))


def test_the_wait_for_a_release_begins_again_when_it_is_wanted_again(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ranker = with_read_rooms(opens)
    shared, now = ranker.core._shared, 1_000.0
    assert shared is not None
    monkeypatch.setattr("livealign.live.shared.reading.time", SimpleNamespace(monotonic=lambda: now))
    asked = []
    for seconds in (0, 30, 31, 3_600):
        now += seconds
        asked.append(shared.may_take_over("another", ranker.core._main))
    assert asked == [False, False, True, False]


def test_all_challengers_of_a_ranker_wait_at_the_same_time(
    opens: Opens, releases: list[PlantedRelease], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = opens("ranker")
    asked: list[str] = []
    monkeypatch.setattr(ranker.core._shared, "may_take_over", lambda release, _: asked.append(release))
    two = tuple(Challenger(name, 0.1, shadow=True) for name in ("b", "c"))
    about = Challengers(releases[0].bundle.name, "experiment", "salt", 0, two)
    assert not ranker.core._are_read(about)
    assert asked == ["b", "c"]


def test_a_challenger_is_read_and_followed_beside_the_champion(
    opens: Opens, releases: list[PlantedRelease], folder: Path
) -> None:
    reader, ranker = with_read_rooms(opens)
    serve(folder, releases[1].bundle.name, 0.5)
    assert not ranker.core.follow_challengers(folder)
    assert reader.core.follow_challengers(folder)
    step(reader, ranker)
    talk(ranker, reader, word="goal")
    window(reader, ranker)
    assert ranker.core.follow_challengers(folder)
    lanes = [stage.core._experiment.lanes[releases[1].bundle.name] for stage in (reader, ranker)]
    views = [lane.state.publish() for lane in lanes]
    assert np.array_equal(views[0].vectors, views[1].vectors)
    assert np.array_equal(vectors(ranker), vectors(reader))
    assert not np.allclose(views[1].vectors, ranker.core.state.publish().vectors)
