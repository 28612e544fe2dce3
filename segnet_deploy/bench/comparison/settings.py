"""How the networks of a comparison are measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.types import DEFAULT_SIZE, Size


@dataclass(frozen=True)
class ComparisonSettings:
    """How each network is measured; results under other settings are not comparable.

    `runtime` auto is the fastest one for the first ONNX file, and is used for all. In each of
    `rounds` rounds, a network makes one discarded call and `runs` timed ones; a discarded
    warm-up round comes first. The frame is `image` if given, else a drawn one of `size`
    (height, width). `warm_ups` is the maximum number of warm-up calls after loading.
    """

    runtime: str = "auto"
    threads: int | None = None
    rounds: int = 9
    runs: int = 2
    size: Size = DEFAULT_SIZE
    image: str | None = None
    warm_ups: int = 6

    def __post_init__(self) -> None:
        for name in ("rounds", "runs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}; expected 1 or more")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return {**asdict(self), "size": list(self.size)}

    def open_arguments(self, runtime: str, rebuild: bool) -> dict[str, Any]:
        """Return the arguments of the worker's `open`, without `engine`."""
        arguments = self.to_json()
        shared = {name: arguments[name] for name in ("threads", "size", "image", "warm_ups")}
        return {**shared, "runtime": runtime, "rebuild": rebuild}


@dataclass(frozen=True, kw_only=True)
class ComparisonExtras:
    """What is measured after the rounds, and whether stale engines are built again.

    `layers`: time per layer. `power`: energy per frame. `ceilings`: what this CPU reaches in
    matrix products and copies, for the report's roofline; it takes seconds, once per comparison.
    `rebuild`: build an engine again that was built for another version or GPU.
    """

    layers: bool = False
    power: bool = False
    ceilings: bool = True
    rebuild: bool = False
