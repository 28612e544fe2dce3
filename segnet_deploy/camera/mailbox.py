"""One slot between two threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Keeps the newest item: a slow reader gets fresh ones, not all of them.

    With `wait` the writer waits until the slot is empty, and nothing is dropped.
    """

    def __init__(self, wait: bool = False):
        self._wait = wait
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    @property
    def finished(self) -> bool:
        """Tell whether it is closed and empty."""
        with self._changed:
            return self._closed and self._item is None

    def put(self, item: T) -> bool:
        """Leave an item; return whether one that nobody took was dropped for it."""
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
        """Wait for an item; None after `timeout` seconds, or where it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self, discard: bool = False) -> None:
        """Let nothing more in and wake whoever waits; what is inside stays unless discarded."""
        with self._changed:
            self._closed = True
            if discard:
                self._item = None
            self._changed.notify_all()
