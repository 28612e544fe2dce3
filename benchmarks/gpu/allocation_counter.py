"""Count the calls of CUDA's runtime that create something."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

CREATING = ("Malloc", "HostAlloc", "Create", "Instantiate", "HostRegister")
COUNTED = (*CREATING, "EventRecord", "GraphLaunch", "MemcpyAsync")


class Counts(collections.Counter[str]):
    """The number of calls by name."""

    def created(self) -> int:
        """Return how many calls created memory, a stream, an event or a graph."""
        return sum(n for name, n in self.items() if any(word in name for word in CREATING))


@contextlib.contextmanager
def counted(runtime: ModuleType) -> Iterator[Counts]:
    """Count the calls of the functions of `runtime`, a module, inside the block."""
    counts = Counts()
    originals = {
        name: getattr(runtime, name)
        for name in dir(runtime)
        if name.startswith("cuda") and any(word in name for word in COUNTED)
    }
    originals = {name: value for name, value in originals.items() if not isinstance(value, type)}

    def counting(name: str, function: Any) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return function(*arguments)

        return call

    for name, function in originals.items():
        if callable(function):
            setattr(runtime, name, counting(name, function))
    try:
        yield counts
    finally:
        for name, function in originals.items():
            setattr(runtime, name, function)
