"""Progress on stderr: a bar on a terminal, else one line at the start and one at the end."""

from __future__ import annotations

import sys
from typing import Any, TextIO


class TerminalProgress:
    """Fits the `progress` of library functions: messages, and the state of counted loops."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False):
        self._stream, self._quiet = stream, quiet
        self._bars: dict[str, Any] = {}

    def __call__(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show a message, or with `done` the state of the loop called `text`.

        If quiet, only warnings and errors are shown.
        """
        if self._quiet and not text.startswith(("warning: ", "error: ")):
            return
        if done is None:
            self._write(text)
        elif self._out.isatty():
            self._draw(text, done, total)
        elif done == 0:
            self._write(f"{text} ..." if total is None else f"{text} (0 of {total}) ...")
        elif done == total:
            self._write(f"{text}: done")

    def print_result(self, text: str) -> None:
        """Print a line on stdout, without the bars, which may be on the same terminal."""
        self._write(text, sys.stdout)

    def close(self) -> None:
        """Remove the bars of loops that did not end."""
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()

    @property
    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def _write(self, text: str, stream: TextIO | None = None) -> None:
        for bar in self._bars.values():
            bar.clear()
        print(text, file=stream or self._out, flush=True)
        for bar in self._bars.values():
            bar.refresh()

    def _draw(self, text: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if text not in self._bars:
            self._bars[text] = tqdm(total=total, desc=text, file=self._out, leave=False)
        bar = self._bars[text]
        bar.total, bar.n = total, done
        bar.refresh()
        if done == total:
            self._bars.pop(text).close()
