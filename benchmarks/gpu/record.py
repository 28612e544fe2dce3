"""What a part found: tables, facts and goals, saved to a file after each entry."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from segnet_deploy.files import atomic_write

SAVING_INTERVAL = 0.5  # s between two saves of tables


class Record:
    """The result of one part; `path` None keeps it in memory.

    A goal that is not judged, such as a speed in a dry run, has `met` None.
    """

    def __init__(self, path: Path | None = None, *, judges_speed: bool = True):
        self._path, self._judges_speed, self._saved = path, judges_speed, 0.0
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.facts: dict[str, Any] = {}
        self.goals: list[dict[str, Any]] = []

    def row(self, table: str, **values: Any) -> None:
        """Add a row to a table."""
        self.tables.setdefault(table, []).append(values)
        if time.monotonic() - self._saved > SAVING_INTERVAL:
            self.save()

    def fact(self, name: str, value: Any) -> None:
        """Set a single value."""
        self.facts[name] = value
        self.save()

    def speed_goal(self, name: str, value: float | None, at_least: float) -> None:
        """Add a goal that a figure reaches a limit; None if there is no figure."""
        met = None
        if self._judges_speed:
            met = value is not None and value >= at_least
        self.goals.append({"goal": name, "value": value, "at_least": at_least, "met": met})
        self.save()

    def must(self, name: str, met: bool, value: Any = None) -> None:
        """Add a goal whose failure fails the part: see `broken`."""
        self.goals.append({"goal": name, "value": value, "must": True, "met": bool(met)})
        self.save()

    def unjudged(self, name: str, reason: str) -> None:
        """Add a goal that must be met, but that a dry run cannot judge."""
        assert not self._judges_speed
        self.goals.append({"goal": name, "value": reason, "must": True, "met": None})
        self.save()

    @property
    def broken(self) -> list[str]:
        """The names of the goals that must be met and are not."""
        return [goal["goal"] for goal in self.goals if goal.get("must") and goal["met"] is False]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"facts": self.facts, "goals": self.goals, "tables": self.tables}

    def save(self) -> None:
        """Write everything to the file."""
        self._saved = time.monotonic()
        if self._path is not None:
            atomic_write(self._path, json.dumps(self.to_json()).encode())
