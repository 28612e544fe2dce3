"""What the child process is asked and what it answers, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class BuildRequest:
    """`profiles` gives an input's least, usual and largest shape; `targets` are like sm86."""

    onnx: str
    plan: str
    answer: str
    kind: str
    targets: tuple[str, ...] = ()
    profiles: dict[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)
    workspace_bytes: int | None = None
    plugin: str | None = None
    embed_plugin: bool = False
    timing_cache: str | None = None

    def write(self, path: Path) -> None:
        """Write the request as JSON."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> BuildRequest:
        """Read what `write` wrote."""
        known = json.loads(path.read_text("utf-8"))
        known["targets"] = tuple(known["targets"])
        return cls(**known)


@dataclass
class BuildAnswer:
    """What was built, or the `error` that stopped it."""

    version: str = ""
    error: str = ""
    activation_bytes: int | None = None
    weights_bytes: int | None = None
    layers: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Write the answer as JSON."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> BuildAnswer:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))
