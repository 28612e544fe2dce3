"""What an output is: anything with these three methods."""

from __future__ import annotations

from typing import Protocol

from segnet_deploy.camera.result import Result, Status


class Output(Protocol):
    """Receives results and status; the loop calls it from its own thread.

    No call may wait for a slow consumer: wrap a slow output in
    `segnet_deploy.camera.outputs.background.Background`.

    >>> class Counter:
    ...     def show(self, result): print(result.sequence)
    ...     def report(self, status): print(status.state)
    ...     def close(self): pass
    >>> output: Output = Counter()
    """

    def show(self, result: Result) -> None:
        """Receive the newest result."""

    def report(self, status: Status) -> None:
        """Receive the status: at each change of state, and about once per second."""

    def close(self) -> None:
        """Finish files and connections; called once, at the end."""
