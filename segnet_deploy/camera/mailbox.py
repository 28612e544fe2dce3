"""A slot for one item between two threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Keeps the newest item, so that a slow reader gets recent items and skips the others.

    With `wait` the writer waits until the slot is empty, and nothing is dropped.
    """

    def __init__(self, wait: bool = False):
        self._wait = wait
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    @property
    def finished(self) -> bool:
        """Whether the mailbox is closed and empty."""
        with self._changed:
            return self._closed and self._item is None

    def put(self, item: T) -> bool:
        """Store an item; return whether one was dropped: the previous, or this one if closed."""
        with self._changed:
            while self._wait and self._item is not None and not self._closed:
                self._changed.wait()
            if self._closed:
                return True
            dropped = self._item is not None
            self._item = item
            self._changed.notify_all()
            return dropped

    def take(self, timeout: float | None = None) -> T | None:
        """Wait for an item; None after `timeout` seconds, or if the mailbox is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self, discard: bool = False) -> None:
        """Accept no further items and wake waiting threads; `discard` drops the stored item."""
        with self._changed:
            self._closed = True
            if discard:
                self._item = None
            self._changed.notify_all()
