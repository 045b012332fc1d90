"""Containers of the standard library that count their operations, for tests of complexity."""

from collections import Counter, OrderedDict, deque
from typing import Any

_CONSTANT = (
    *("__contains__", "__getitem__", "__setitem__", "__delitem__", "get", "pop", "popitem", "move_to_end", "setdefault"),
    *("add", "discard", "remove", "append", "popleft"),
)
_LINEAR = ("__iter__", "keys", "values", "items", "copy")


def counted(kind: type, operations: Counter[str]) -> type:
    """A subclass of a container that adds each operation to `operations`.

    An operation whose time does not depend on the size counts 1. Beginning to iterate counts the size: of a dict or a set
    that is emptied from its front, finding the first key passes all deleted ones.
    """

    def method(name: str, linear: bool) -> Any:
        original = getattr(kind, name)

        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            operations[kind.__name__] += len(self) if linear else 1
            return original(self, *arguments, **named)

        return call

    linear_here = (*_LINEAR, "remove") if kind is deque else _LINEAR
    names = [name for name in (*_CONSTANT, *_LINEAR) if hasattr(kind, name)]
    return type(f"Counted{kind.__name__}", (kind,), {name: method(name, name in linear_here) for name in names})


KINDS: dict[str, type] = {"OrderedDict": OrderedDict, "deque": deque, "set": set, "dict": dict}
