"""What forgets its oldest entries takes as many operations for the last one as for the first."""

import ast
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bentos.live_recommender import rate_limits
from livealign.events import intake
from livealign.live.state import sessions, state, users, wishes
from tests.live.test_state import empty_state
from tests.support.counted_operations import KINDS, counted

ROOT = Path(__file__).parents[2]
SIZE, BLOCK = 50, 200
Step = Callable[[int], Any]


def _ids() -> Step:
    ids = intake.RecentIds(SIZE)
    return lambda number: ids.add([f"event {number}"])


def _users() -> Step:
    table = users.Users(3, 5, SIZE)
    room = np.array([1])
    return lambda number: table.show(number, None, room, room, 1_000 + number)


def _early_ends() -> Step:
    table = sessions.Sessions(30_000, 3_600_000, 60_000)
    return lambda number: table.end(f"play {number}", number)


def _rooms() -> Step:
    live = empty_state(max_rooms=SIZE)
    return lambda number: live.start_room(number, 1, 2_000 + number, None, None, None)


def _wishing_users() -> Step:
    table = wishes.Wishes(SIZE)
    return lambda number: table.block(number, 1)


def _wishes() -> Step:
    table = wishes.Wishes(SIZE)
    return lambda number: table.block(1, number)


def _senders() -> Step:
    limit = rate_limits.RateLimit(1.0, clock=lambda: 0.0)
    limit._buckets = rate_limits.OrderedDict()  # the class made its own before it was counted
    return lambda number: limit.wait(f"sender {number}")


CASES = [
    (intake, {}, _ids),
    (users, {}, _users),
    (sessions, {"_EARLY_ENDS": SIZE}, _early_ends),
    (state, {}, _rooms),
    (wishes, {}, _wishing_users),
    (wishes, {"MOST": SIZE}, _wishes),
    (rate_limits, {"SENDERS": SIZE}, _senders),
]


@pytest.mark.parametrize(("module", "sizes", "make"), CASES, ids=[make.__name__[1:] for _, _, make in CASES])
def test_forgetting_takes_the_same_number_of_operations_for_ever(
    module: ModuleType, sizes: dict[str, int], make: Callable[[], Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    operations: Counter[str] = Counter()
    for name, kind in KINDS.items():
        monkeypatch.setattr(module, name, counted(kind, operations), raising=False)
    for name, size in sizes.items():
        monkeypatch.setattr(module, name, size)
    step, spent = make(), []
    for block in range(10):
        operations.clear()
        for number in range(BLOCK * block, BLOCK * (block + 1)):
            step(number)
        spent.append(sum(operations.values()))
    assert spent[1] == spent[-1], "the first block with a full structure, and the last"
    assert 0 < spent[-1] <= 10 * BLOCK


def test_the_count_sees_a_dict_that_is_emptied_from_its_front() -> None:
    operations: Counter[str] = Counter()
    full = counted(dict, operations)(dict.fromkeys(range(SIZE)))
    del full[next(iter(full))]
    assert operations["dict"] == SIZE + 1


def test_nothing_is_deleted_by_searching_for_the_first_key() -> None:
    found = []
    for path in [*(ROOT / "livealign").rglob("*.py"), *(ROOT / "bentos").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            takes = isinstance(node, ast.Delete) or (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and any(word in node.func.attr for word in ("pop", "forget", "remove", "discard"))
            )
            if takes and "next(iter(" in ast.unparse(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_the_room_that_was_heard_of_longest_ago_gives_way_also_after_a_restart() -> None:
    live = empty_state(max_rooms=3)
    for number in (1, 2, 3):
        live.start_room(number, 1, 2_000, None, None, None)
    live.happened(1, 40_000)
    live.start_room(4, 1, 50_000, None, None, None)
    assert sorted(live.rooms) == [1, 3, 4]
