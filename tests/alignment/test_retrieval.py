"""The index of live rooms against a plain sort."""

import numpy as np

from livealign.alignment.retrieval import RoomIndex

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(500, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
USERS = RNG.normal(size=(5, 16)).astype(np.float32)
ROOMS = 1_000 + np.arange(500)


def test_the_nearest_rooms_are_found_in_order() -> None:
    found = RoomIndex.build(ROOMS, VECTORS).search(USERS, 10)
    assert (found.room_ids == ROOMS[np.argsort(-USERS @ VECTORS.T, axis=1)[:, :10]]).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_excluded_rooms_make_room_for_the_next() -> None:
    index = RoomIndex.build(ROOMS, VECTORS)
    best = index.search(USERS, 12).room_ids
    without = index.search(USERS[:1], 10, exclude={int(best[0, 0]), int(best[0, 3]), 77}).room_ids[0]
    assert without.tolist() == [room for place, room in enumerate(best[0].tolist()) if place not in (0, 3)]


def test_fewer_rooms_than_asked_for_end_in_none() -> None:
    found = RoomIndex.build(ROOMS[:3], VECTORS[:3]).search(USERS, 5)
    assert (found.room_ids[:, 3:] == -1).all()
    assert np.isneginf(found.scores[:, 3:]).all()
    assert (np.sort(found.room_ids[:, :3]) == ROOMS[:3]).all()
    assert (RoomIndex.build(ROOMS[:0], VECTORS[:0]).search(USERS, 2).room_ids == -1).all()


def test_the_graph_index_finds_almost_what_the_exact_one_does() -> None:
    exact = RoomIndex.build(ROOMS, VECTORS).search(USERS, 10).room_ids
    graph = RoomIndex.build(ROOMS, VECTORS, exact_below=100).search(USERS, 10).room_ids
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), graph.tolist(), strict=True)]) > 0.9
