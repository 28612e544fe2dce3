"""A program: ncnn nets, and the steps of the host between their blobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from segnet_deploy.types import Array


@dataclass(frozen=True)
class HostStep:
    """An operation of the host on blobs.

    `kind` is pool, unpool, transfer (from one net to the next), labels, cast or output.
    """

    kind: str
    sources: tuple[str, ...]
    results: tuple[str, ...]
    ceil_mode: bool = False
    dtype: Any = None


@dataclass
class Net:
    """An ncnn net: the lines of its .param file, its blobs, and its weights in the order of .bin.

    `keeps_ties`: a pool follows, so equal neighbourhoods must give equal values.
    """

    keeps_ties: bool
    lines: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)

    @property
    def param(self) -> str:
        """The content of the .param file, ncnn's text form of the structure."""
        return "\n".join(["7767517", f"{len(self.lines)} {len(self.blobs)}", *self.lines, ""])


@dataclass
class Program:
    """The nets and the steps of the host.

    `channel_order` and `normalisation` (ufuncs and their operands) are applied to the image before
    the nets, `steps` between them.
    """

    input_blob: str = ""
    channel_order: tuple[int, ...] | None = None  # of frames: the channel of each plane
    normalisation: list[tuple[Any, Array]] = field(default_factory=list)
    nets: list[Net] = field(default_factory=list)
    steps: list[HostStep] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)  # graph output -> blob
    indices: dict[str, str] = field(default_factory=dict)  # graph output -> codes
