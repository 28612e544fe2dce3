"""How libraries report progress: they call a `progress` callable; only commands print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Receives what a library reports; `print` fits."""

    def __call__(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Receive a message, or with `done` of `total` the state of a counted loop."""


def silent(text: str, done: int | None = None, total: int | None = None) -> None:
    """Ignore every report: the default `progress` of library functions."""


def naming(progress: Progress, temporary: object, path: object) -> Progress:
    """Return a `progress` that names the file `path` where a report names `temporary`."""

    def report(text: str, done: int | None = None, total: int | None = None) -> None:
        progress(text.replace(str(temporary), str(path)), done, total)

    return report


def track(items: Sequence[T], title: str, progress: Progress) -> Iterator[T]:
    """Yield `items`, reporting `title` with the number done: once at the start and after each."""
    progress(title, 0, len(items))
    for done, item in enumerate(items, start=1):
        yield item
        progress(title, done, len(items))
