"""Sampled negatives: only what was on, at most so many, uniform, the same for a play whatever it is landed with."""

import numpy as np
import pytest

from livealign.platforms.negatives import Candidates, sample_negatives


def world(seed=3, rooms=400, plays=300):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 10_000, rooms)
    ends = starts + np.maximum(0, rng.lognormal(5, 1.5, rooms)).astype(np.int64)
    owners = rng.integers(0, rooms // 2, rooms)
    ids = rng.integers(0, 2**62, plays)
    return (starts, ends, owners), ids, rng.integers(0, 11_000, plays), rng.integers(0, rooms // 2, plays)


def sampled(candidates, ids, at, chosen, k, seed=0):
    built = Candidates.build(*candidates)
    found = {int(play): [] for play in range(len(ids))}
    for _, plays, rooms in sample_negatives(ids, at, chosen, built, k, seed):
        for play, room in zip(plays.tolist(), rooms.tolist(), strict=True):
            found[play].append(room)
    return found


@pytest.mark.parametrize("k", [0, 1, 10])
def test_only_rooms_on_at_that_moment_and_of_other_owners_each_once_and_no_more_than_asked_for(k):
    (starts, ends, owners), ids, at, chosen = world()
    for play, rooms in sampled((starts, ends, owners), ids, at, chosen, k).items():
        assert len(rooms) <= k
        assert len(set(rooms)) == len(rooms)
        assert all(starts[room] <= at[play] < ends[room] and owners[room] != chosen[play] for room in rooms)


def test_where_few_are_on_every_one_of_them_comes():
    (starts, ends, owners), ids, at, chosen = world(rooms=12, plays=200)
    for play, rooms in sampled((starts, ends, owners), ids, at, chosen, 20).items():
        on = np.flatnonzero((starts <= at[play]) & (ends > at[play]) & (owners != chosen[play]))
        assert sorted(rooms) == on.tolist()


def test_every_room_that_is_on_is_equally_likely_however_long_it_runs():
    lengths = np.repeat([10, 1_000, 100_000], 40)
    starts = np.concatenate(
        [np.full(40, 5_000 - 5), np.linspace(4_001, 5_000, 40).astype(int), np.linspace(-90_000, 5_000, 40).astype(int)]
    )
    ids = np.arange(20_000) * 7_919
    at, chosen = np.full(20_000, 5_000), np.full(20_000, -1)
    found = sampled((starts, starts + lengths, np.arange(120)), ids, at, chosen, 5)
    counts = np.bincount(np.concatenate(list(found.values())), minlength=120)
    expected = counts.sum() / 120
    assert counts.sum() > 0.98 * 5 * 20_000
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_a_plays_sample_does_not_depend_on_the_other_plays_and_another_seed_gives_another():
    candidates, ids, at, chosen = world(rooms=2_000)
    whole = sampled(candidates, ids, at, chosen, 5)
    part = sampled(candidates, ids[100:], at[100:], chosen[100:], 5)
    assert [part[i] for i in part] == [whole[i + 100] for i in part]
    assert sampled(candidates, ids, at, chosen, 5, seed=1) != whole


def test_rows_grow_with_plays_and_not_with_the_rooms_that_are_on():
    starts, owners = np.zeros(5_000, np.int64), np.arange(5_000)
    ids = np.arange(3_000)
    found = sampled((starts, starts + 100, owners), ids, np.full(3_000, 50), ids % 5_000, 10)
    assert {len(rooms) for rooms in found.values()} == {10}


def test_no_candidates_and_no_plays_are_fine():
    empty = np.zeros(0, np.int64)
    assert sampled((empty, empty, empty), np.arange(3), np.arange(3), np.arange(3), 5) == {0: [], 1: [], 2: []}
    assert sampled((np.arange(3), np.arange(3) + 1, np.arange(3)), empty, empty, empty, 5) == {}


def test_a_play_gets_as_many_as_are_on_where_most_rooms_that_began_lately_have_ended():
    ended, on = 5_000, 7
    starts = np.zeros(ended + on, np.int64)
    ends = np.concatenate([np.full(ended, 600), np.full(on, 1_000)])  # one class: both are from 512 to 1,024 long
    ids = np.arange(200)
    at, chosen = np.full(200, 700), np.full(200, -1)
    few = sampled((starts, ends, np.arange(ended + on)), ids, at, chosen, 20)
    assert {tuple(sorted(rooms)) for rooms in few.values()} == {tuple(range(ended, ended + on))}
    many = sampled((starts, ends, np.arange(ended + on)), np.arange(2_000), np.full(2_000, 700), np.full(2_000, -1), 3)
    assert {len(rooms) for rooms in many.values()} == {3}
    counts = np.bincount(np.concatenate(list(many.values())), minlength=ended + on)[ended:]
    assert np.abs(counts - 6_000 / on).max() < 5 * np.sqrt(6_000 / on)
