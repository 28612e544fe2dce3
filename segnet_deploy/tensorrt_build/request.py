"""What the builder's child process is asked to build, and its answer; both as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from segnet_deploy.runtimes.tensorrt.shape_ranges import Shape


@dataclass(frozen=True)
class BuildRequest:
    """One build.

    `profiles` gives the minimum, optimum and maximum shape of a dynamic input; `targets` are
    GPUs such as sm86; `plan` is the file to write; a `version_compatible` plan contains TensorRT's
    lean runtime.
    """

    onnx: str
    plan: str
    kind: str
    targets: tuple[str, ...] = ()
    profiles: dict[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)
    workspace_bytes: int | None = None
    plugin: str | None = None
    embed_plugin: bool = False
    timing_cache: str | None = None
    version_compatible: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> BuildRequest:
        """Read what `to_json` returned."""
        return cls(**values | {"targets": tuple(values["targets"])})


@dataclass
class BuildAnswer:
    """What was built: the builder's version, memory, layers as read back, ports and seconds."""

    version: str = ""
    activation_bytes: int | None = None
    weights_bytes: int | None = None
    layers: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
